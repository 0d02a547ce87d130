//! The system calls a sandboxed program may make.
//!
//! [`rules`] is the reviewed table, [`mod@compile`] turns it into a filter for one architecture. The filter never kills
//! for a refused call: what it does not know looks like an older kernel (ENOSYS), what it refuses says EPERM, so that
//! libraries fall back and programs can report. Only a foreign architecture ends the process, because the numbers of
//! its calls mean something else.

pub mod compile;
pub mod rules;

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use crate::sys::notify;
use compile::{Architecture, compile};

/// A call without arguments that the filter answers itself, and with what: no kernel gives this answer to it, so whoever
/// gets it knows that the filter is there.
pub(crate) const PROBE: libc::c_long = libc::SYS_vhangup;
pub(crate) const PROBE_ANSWER: Errno = Errno::DOM;

/// Installs the filter in this process for good. Returns the listener of refused calls.
pub(crate) fn install() -> Result<OwnedFd, Errno> {
    let program = compile(Architecture::NATIVE);
    notify::install_filter(&program, true)?.ok_or(Errno::BADF)
}

/// Installs the filter of a zygote in this process for good.
pub(crate) fn install_for_zygote() -> Result<(), Errno> {
    notify::install_filter(&compile::compile_for_zygote(Architecture::NATIVE), false).map(drop)
}

/// The filter of a program as the kernel takes it, 8 bytes an instruction.
pub(crate) fn program_bytes() -> Vec<u8> {
    compile(Architecture::NATIVE).iter().flat_map(|instruction| instruction.to_bytes()).collect()
}

/// Takes the next refused call from the listener, answers it with EPERM, and returns its name.
///
/// Call it when the listener polls readable.
///
/// # Errors
/// `NOENT` when the caller died meanwhile; anything else means that the listener is of no more use.
pub fn refuse_next(listener: impl AsFd) -> Result<&'static str, Errno> {
    let (id, number) = notify::receive_notification(&listener)?;
    notify::refuse(&listener, id)?;
    Ok(Architecture::NATIVE.name(number.cast_unsigned()).unwrap_or("unknown"))
}
