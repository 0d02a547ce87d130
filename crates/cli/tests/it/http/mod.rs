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
mod examples;
mod execute;
mod many;
mod overload;
mod protocol;
mod reading;
mod rootless;
mod same_as_cold;
mod shutdown;
mod siblings;
mod warm;
mod zygotes;
