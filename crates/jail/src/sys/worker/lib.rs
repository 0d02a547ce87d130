//! The native half of a zygote: an extension module of the interpreter, compiled by the jail's build script, embedded in
//! the binary, and loaded by `_sandbox_zygote.py`. See docs/adr/0002 and 0009.
//!
//! A zygote is an interpreter that has imported things, has one thread and runs no program. It waits on a socket for
//! requests: to fork a worker into a box, or another zygote. It needs no C library of its own and no allocator.
#![no_std]
#![allow(clippy::pedantic, clippy::nursery)]

mod enter;
mod kernel;
mod python;
#[allow(dead_code)]
mod wire;

use enter::{Failure, Request};
use kernel::{EBADMSG, MAX_FDS, Outcome};
use wire::Step;

/// Where a zygote has the socket on which it is asked.
const REQUESTS: i32 = 3;
/// Where the first zygote finds the filter for workers, to be read once.
const FILTER: i32 = 4;
/// Where zygotes keep their own pid namespace.
const OWN_PIDS: i32 = 5;
/// Where they keep the other end of their stdout and stderr, so that writing there is no error.
const NOBODY: i32 = 6;

const CLONE_NEWPID: usize = 0x2000_0000;

/// The filter of system calls: at most what the kernel takes, 4096 instructions.
struct Filter {
    bytes: [u8; 32 * 1024],
    length: usize,
}

static mut FILTER_BYTES: Filter = Filter { bytes: [0; 32 * 1024], length: 0 };

fn filter() -> &'static [u8] {
    // SAFETY: written once by the first zygote before it forks, by its one thread; only read after that.
    let filter = unsafe { &*&raw const FILTER_BYTES };
    filter.bytes.get(..filter.length).unwrap_or_default()
}

/// The life of a zygote, and then of each worker that it forks. Does not return.
pub fn serve() -> ! {
    if let Err(reason) = prepare() {
        broken(reason);
    }
    grow(b"");
    loop {
        let mut bytes = [0_u8; wire::MAX_REQUEST];
        let mut fds = [-1; MAX_FDS];
        let (length, count) = match kernel::receive(REQUESTS, &mut bytes, &mut fds) {
            Ok((0, _)) => kernel::exit(0),
            Ok(received) => received,
            Err(EBADMSG) => continue,
            Err(_) => kernel::exit(1),
        };
        let bytes = bytes.get(..length).unwrap_or_default();
        let fds = fds.get(..count).unwrap_or_default();
        match bytes.split_first() {
            Some((&wire::FORK, _)) => fork(&Request { bytes, fds }),
            Some((&wire::GROW, modules)) => {
                if let Some(socket) = fds.first() {
                    fork_zygote(*socket, modules);
                }
            }
            _ => {}
        }
        for fd in fds {
            kernel::close(*fd);
        }
    }
}

/// What the first zygote needs beside the interpreter.
fn prepare() -> Result<(), &'static [u8]> {
    // In its box a worker is the second process. OpenSSL and tempfile notice a fork by the number only.
    if kernel::getpid() == enter::WORKER {
        return Err(b"a zygote with the number of a worker");
    }
    let own = kernel::open(b"/proc/self/ns/pid\0", 0o2_000_000).map_err(|_| &b"no pid namespace in /proc"[..])?;
    // SAFETY: as in `filter`: this is before the first fork.
    let filter = unsafe { &mut *&raw mut FILTER_BYTES };
    loop {
        let rest = filter.bytes.get_mut(filter.length..).unwrap_or_default();
        match kernel::read(FILTER, rest) {
            Ok(0) => break,
            Ok(count) => filter.length += count,
            Err(_) => return Err(b"no filter of system calls"),
        }
    }
    if filter.length < 8 || filter.length % 8 != 0 {
        return Err(b"no filter of system calls");
    }
    kernel::close(FILTER);
    let placed = kernel::place(own, OWN_PIDS).and_then(|()| kernel::close_on_execution(OWN_PIDS));
    if own != OWN_PIDS {
        kernel::close(own);
    }
    placed.map_err(|_| &b"no descriptors"[..])
}

fn broken(reason: &[u8]) -> ! {
    let mut answer = [0_u8; 256];
    let mut length = 0;
    for (place, byte) in answer.iter_mut().zip([wire::BROKEN].iter().chain(reason)) {
        *place = *byte;
        length += 1;
    }
    let _ = kernel::send(REQUESTS, answer.get(..length).unwrap_or_default(), None);
    kernel::exit(1)
}

/// Imports what `modules` names, makes the heap ready to be forked, and tells that it is.
fn grow(modules: &[u8]) {
    kernel::set_name(b"sandbox-zygote\0");
    let Some(problem) = python::call(c"grow", &[python::bytes(modules)]) else { broken(b"it cannot import") };
    let problem = python::as_bytes(problem);
    if !problem.is_empty() {
        broken(problem);
    }
    // A lock that another thread holds at the fork is held for ever in all workers.
    if kernel::threads() != Ok(1) {
        broken(b"an import left a thread behind");
    }
    if kernel::send(REQUESTS, &[wire::READY], None).is_err() {
        kernel::exit(1);
    }
}

/// Forks another zygote, which answers on `socket`.
fn fork_zygote(socket: i32, modules: &[u8]) {
    python::before_fork();
    match kernel::fork_beside(None) {
        Ok((0, _)) => {
            if kernel::place(socket, REQUESTS).and_then(|()| kernel::close_on_execution(REQUESTS)).is_err() {
                kernel::exit(1);
            }
            let _ = kernel::close_from(NOBODY + 1);
            python::after_fork_in_child();
            grow(modules);
        }
        Ok((_, pidfd)) => {
            python::after_fork_in_parent();
            let _ = kernel::send(socket, &[wire::MADE], Some(pidfd));
            kernel::close(pidfd);
        }
        // The closed socket tells it.
        Err(_) => python::after_fork_in_parent(),
    }
}

/// Forks a worker into a box. The box hears what goes wrong on its own socket.
fn fork(request: &Request<'_>) {
    if !request.is_whole() {
        return;
    }
    let events = request.fd(wire::EVENTS);
    if kernel::threads() != Ok(1) {
        // Whoever made the thread has broken this zygote for good: the server makes another.
        Failure::new(Step::Execute, b"a zygote with a thread", kernel::EINVAL).tell(events);
        broken(b"a thread came to be");
    }
    python::before_fork();
    match clone_into(request.fd(wire::PID), request.cgroup()) {
        Ok((0, _)) => {
            if let Err(failure) = enter::enter(request, filter()) {
                // Whichever number it still has.
                failure.tell(events);
                failure.tell(enter::EVENTS);
                kernel::exit(1);
            }
            python::after_fork_in_child();
            run(request.rehearse())
        }
        Ok((pid, pidfd)) => {
            python::after_fork_in_parent();
            let _ = kernel::send(request.fd(wire::LIFE), &pid.to_le_bytes(), Some(pidfd));
            kernel::close(pidfd);
        }
        Err(errno) => {
            python::after_fork_in_parent();
            Failure::new(Step::Execute, b"fork of the zygote", errno).tell(events);
        }
    }
}

/// Forks into another pid namespace and stays in its own; into a cgroup as well where there is one.
///
/// One attempt only: a fork that the kernel refuses late has used up the number that a worker has in its box.
fn clone_into(pids: i32, cgroup: Option<i32>) -> Outcome<(i32, i32)> {
    kernel::setns(pids, CLONE_NEWPID)?;
    let forked = kernel::fork_beside(cgroup);
    if !matches!(forked, Ok((0, _))) && kernel::setns(OWN_PIDS, CLONE_NEWPID).is_err() {
        // Whatever it forks from here on would be in a stranger's box.
        broken(b"the way back from a box");
    }
    forked
}

/// The life of a worker in its box: it parks, gets one program, runs it and ends.
fn run(rehearse: bool) -> ! {
    kernel::set_name(b"sandbox-worker\0");
    if rehearse && python::call(c"rehearse", &[]).is_none() {
        kernel::exit(1);
    }
    if kernel::send(enter::EVENTS, wire::PARKED, None).is_err() {
        kernel::exit(1);
    }
    let mut bytes = [0_u8; 8];
    let mut fds = [-1; MAX_FDS];
    let Ok((1.., 1..)) = kernel::receive(enter::CHECKOUT, &mut bytes, &mut fds) else { kernel::exit(0) };
    kernel::close(enter::CHECKOUT);
    kernel::set_name(b"python\0");
    let program = python::number(fds.first().copied().unwrap_or(-1));
    let Some(source) = python::call(c"prepare", &[program]) else { kernel::exit(1) };
    // The last act before the program: nobody listens after this.
    let started = kernel::send(enter::EVENTS, wire::STARTED, None);
    kernel::close(enter::EVENTS);
    if started.is_err() {
        kernel::exit(1);
    }
    kernel::exit(python::finish(python::run_main(python::as_bytes(source))))
}

/// Nothing here panics; the compiler cannot know.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    kernel::exit(101)
}

/// The prebuilt `core` refers to it. Nothing unwinds here.
#[unsafe(no_mangle)]
pub extern "C" fn rust_eh_personality() {}
