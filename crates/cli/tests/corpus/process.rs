//! A child process with a hard time limit and bounded memory for its output.

use std::{
    io::{Read, Write},
    os::unix::process::CommandExt,
    process::{Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

/// Kept of each stream; the rest is counted.
const KEPT: usize = 64 << 20;
/// How long output may still come after the end of the child was forced.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What a child process did.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stdout_bytes: u64,
    pub(crate) stderr: Vec<u8>,
    pub(crate) took: Duration,
}

/// A stream that was read to its end: the first [`KEPT`] bytes, and how many there were.
type Collected = (Vec<u8>, u64);

/// Runs `command` with `stdin` until it has ended and everybody has closed its output. At `limit` its process group is
/// killed, and that is an error.
pub(crate) fn run(mut command: Command, stdin: &[u8], limit: Duration) -> Result<Finished, String> {
    let started = Instant::now();
    let input = if stdin.is_empty() { Stdio::null() } else { Stdio::piped() };
    command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child =
        command.spawn().map_err(|error| format!("cannot start {}: {error}", command.get_program().display()))?;
    if let Some(mut input) = child.stdin.take() {
        let stdin = stdin.to_owned();
        // A program may end without reading all of it.
        thread::spawn(move || drop(input.write_all(&stdin)));
    }
    let (stdout, stderr) = (child.stdout.take().map(collect), child.stderr.take().map(collect));
    let mut status = None;
    while status.is_none() && started.elapsed() < limit {
        status = child.try_wait().map_err(|error| format!("cannot wait: {error}"))?;
        thread::sleep(Duration::from_millis(if status.is_none() { 4 } else { 0 }));
    }
    if status.is_none() {
        // Not waited for yet, so its id is still its own.
        kill_process_group(Pid::from_child(&child), Signal::KILL).map_err(|error| format!("cannot kill: {error}"))?;
        child.wait().map_err(|error| format!("cannot wait: {error}"))?;
    }
    let left = if status.is_some() { limit.saturating_sub(started.elapsed()) } else { LAST_WORDS };
    let receive = |stream: Option<Receiver<Collected>>, left| stream.and_then(|stream| stream.recv_timeout(left).ok());
    let (stdout, stderr) = (receive(stdout, left), receive(stderr, left.min(LAST_WORDS)));
    match (status, stdout, stderr) {
        (Some(status), Some((stdout, stdout_bytes)), Some((stderr, _))) => {
            Ok(Finished { status, stdout, stdout_bytes, stderr, took: started.elapsed() })
        }
        (Some(_), _, _) => Err(format!("it has ended, and after {limit:?} somebody still holds its output open")),
        (None, stdout, stderr) => {
            let text = |stream: Option<Collected>| {
                let bytes = stream.unwrap_or_default().0;
                String::from_utf8_lossy(&bytes[..bytes.len().min(2000)]).into_owned()
            };
            Err(format!("still running after {limit:?}; killed\nstdout: {}\nstderr: {}", text(stdout), text(stderr)))
        }
    }
}

/// Reads `stream` to its end in a thread of its own.
fn collect(mut stream: impl Read + Send + 'static) -> Receiver<Collected> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let (mut kept, mut total, mut buffer) = (Vec::new(), 0_u64, vec![0; 1 << 16]);
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            total += length as u64;
            let room = KEPT - kept.len();
            kept.extend_from_slice(&buffer[..length.min(room)]);
        }
        // Nobody listens any more when the time was over.
        drop(sender.send((kept, total)));
    });
    receiver
}
