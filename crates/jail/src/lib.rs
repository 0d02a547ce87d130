//! Linux mechanism: what makes a process tree on this host a sandbox.
//!
//! Knows no Python, no service and no HTTP. The path of one sandbox, in the order of the files:
//! [`engine`] (the caller's side) starts the `keeper`, which clones the `launcher`, which clones one `init` per
//! sandbox, which starts the `program`. What each of them does is data before it is done: [`spec`].

pub mod cgroup;
pub mod disk;
pub mod engine;
pub mod failure;
mod init;
mod keeper;
mod landlock_ring;
mod launcher;
pub mod layers;
mod mount;
mod network;
mod privileges;
mod program;
pub mod protocol;
mod readiness;
mod root;
pub mod seccomp;
pub mod source;
pub mod spec;
mod sys;
#[path = "sys/worker/wire.rs"]
#[expect(dead_code, reason = "the native code uses the rest")]
mod wire;
pub mod zygote;

pub use engine::{Engine, EngineError, Keeper, LaunchFds, ProgramFds, SandboxHandle};
pub use failure::{SetupFailure, SetupStep};
pub use keeper::enter_if_requested;
pub use readiness::poll_now;
