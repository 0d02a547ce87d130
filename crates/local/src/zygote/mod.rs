//! Warm interpreters.

mod options;

pub use options::{BARE, ZygoteOptions, ZygoteProfile};
