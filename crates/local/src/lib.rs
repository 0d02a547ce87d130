//! The jail as a backend: sandboxes of this host's own kernel.

mod backend;
mod boxes;
mod bytecode;
mod layout;
mod plan;
mod sandbox;
mod setup;
mod uids;
mod zygote;

pub use backend::{LocalBackend, LocalBackendOptions};
pub use zygote::{BARE, ZygoteOptions, ZygoteProfile};
