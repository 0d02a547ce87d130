//! `aevatar-sandbox serve`, over real HTTP.
//!
//! Every answer is read by [`client::Connection`], which holds it against the `OpenAPI` document: a status that is not
//! documented, or a body that does not fit, fails the test.

mod client;
mod contract;
mod server;

mod bad_input;
mod configuration;
mod disconnect;
mod docs;
mod documented;
mod door;
mod endurance;
mod events;
mod examples;
mod execute;
mod executions;
mod files;
mod followers;
mod forms;
mod idempotency;
mod keys;
mod logs;
mod many;
mod overload;
mod platform;
mod protocol;
mod queue;
mod reading;
mod records;
mod rootless;
mod same_as_cold;
mod shutdown;
mod siblings;
mod traces;
mod warm;
mod watching;
mod zygotes;
