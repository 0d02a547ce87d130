//! Integration tests of the binary: what a caller sees, and what is left on the host.
//!
//! They run in parallel, and beside other users of the sandbox on the same host: whatever they check on the host is
//! narrowed to what the test itself started (see [`place::Place`]). Tests that this host or this user cannot run are
//! skipped and say so; `SANDBOX_REQUIRE=all` makes that a failure.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests: a broken precondition ends the test, as it does in a test itself"
)]

#[path = "../corpus/process.rs"]
#[expect(dead_code, reason = "the corpora look at how long a program took")]
mod process;
#[path = "../corpus/site.rs"]
#[expect(dead_code, reason = "the corpora are found by it, too")]
mod site;

mod delegation;
mod host;
mod place;
mod require;
mod running;
mod user;

mod bench;
mod command_line;
mod concurrency;
mod embed;
mod environments;
mod faults;
mod files;
mod http;
mod imports;
mod leftovers;
mod output;
#[path = "../../../store/tests/store/postgres.rs"]
#[expect(dead_code, reason = "the store's tests use more of it")]
mod postgres;
mod programs;
mod progress;
mod refusals;
mod rootless;
mod signals;
