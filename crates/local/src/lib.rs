//! The jail as a backend: sandboxes of this host's own kernel.

mod backend;
mod boxes;
mod bytecode;
mod collect;
mod layout;
mod media_type;
mod plan;
mod sandbox;
mod setup;
mod uids;
mod zygote;

pub use backend::{LocalBackend, LocalBackendOptions};
pub use zygote::{BARE, ZygoteOptions, ZygoteProfile};
