//! Runs a short process of the host with a bound on its time and on what is read from it.

use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Why a process gave no usable answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunFailure {
    /// It could not be started.
    #[error("it cannot be started")]
    Start(#[source] io::Error),
    /// It could not be waited for.
    #[error("it cannot be waited for")]
    Wait(#[source] io::Error),
    /// It did not end in time and was killed.
    #[error("it did not end within {0:?}")]
    TimedOut(Duration),
    /// It ended, but not well; with the end of its standard error.
    #[error("it ended with {status}: {stderr}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// The end of its standard error.
        stderr: String,
    },
    /// Its answer is not what was expected.
    #[error("its answer is not understood: {0}")]
    Answer(String),
}

/// What a process said, cut at the limit.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

impl Answer {
    /// The answer's standard output, or a failure if the process did not end well.
    pub(super) fn into_stdout(self) -> Result<Vec<u8>, RunFailure> {
        if self.status.success() {
            return Ok(self.stdout);
        }
        let stderr = String::from_utf8_lossy(&self.stderr);
        let lines: Vec<_> = stderr.lines().rev().take(5).collect();
        let stderr = lines.into_iter().rev().collect::<Vec<_>>().join("\n");
        Err(RunFailure::Failed { status: self.status, stderr })
    }
}

/// Runs `command` to its end and reads up to `limit` bytes of each output; the rest is dropped.
pub(super) fn run(command: &mut Command, timeout: Duration, limit: usize) -> Result<Answer, RunFailure> {
    let deadline = Instant::now() + timeout;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(RunFailure::Start)?;
    let outcome = collect(&mut child, deadline, limit);
    if outcome.is_err() {
        // Either may fail only because the process has ended already.
        child.kill().ok();
        child.wait().ok();
    }
    outcome?.ok_or(RunFailure::TimedOut(timeout))
}

fn collect(child: &mut Child, deadline: Instant, limit: usize) -> Result<Option<Answer>, RunFailure> {
    let stdout = read_in_background(child.stdout.take(), limit);
    let stderr = read_in_background(child.stderr.take(), limit);
    let (Some(stdout), Some(stderr)) = (receive(&stdout, deadline), receive(&stderr, deadline)) else {
        child.kill().map_err(RunFailure::Wait)?;
        child.wait().map_err(RunFailure::Wait)?;
        return Ok(None);
    };
    // Outputs are closed: the process is about to end, unless it closed them and stays.
    loop {
        if let Some(status) = child.try_wait().map_err(RunFailure::Wait)? {
            return Ok(Some(Answer { status, stdout, stderr }));
        }
        if Instant::now() >= deadline {
            child.kill().map_err(RunFailure::Wait)?;
            child.wait().map_err(RunFailure::Wait)?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// A thread of its own for each pipe: a process that fills one while the other is read would never end. It is not
/// joined, because a grandchild may hold the pipe open after the process was killed.
fn read_in_background<R: Read + Send + 'static>(pipe: Option<R>, limit: usize) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    if let Some(mut pipe) = pipe {
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            let bound = u64::try_from(limit).unwrap_or(u64::MAX);
            if pipe.by_ref().take(bound).read_to_end(&mut kept).is_ok() {
                // Drained, so that the process is not stopped by a full pipe before it can end.
                io::copy(&mut pipe, &mut io::sink()).ok();
            }
            sender.send(kept).ok();
        });
    }
    receiver
}

fn receive(receiver: &mpsc::Receiver<Vec<u8>>, deadline: Instant) -> Option<Vec<u8>> {
    receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, timeout: Duration, limit: usize) -> Result<Answer, RunFailure> {
        run(Command::new("/bin/sh").args(["-c", script]), timeout, limit)
    }

    #[test]
    fn an_answer_has_both_outputs_and_the_status() {
        let answer = shell("echo one; echo two >&2; exit 3", Duration::from_secs(10), 100).unwrap();
        assert_eq!((answer.stdout.as_slice(), answer.stderr.as_slice()), (&b"one\n"[..], &b"two\n"[..]));
        assert_eq!(answer.status.code(), Some(3));
        assert!(answer.into_stdout().unwrap_err().to_string().contains("two"));
    }

    #[test]
    fn a_long_answer_is_cut_and_the_process_still_ends() {
        let answer = shell("head -c 1000000 /dev/zero", Duration::from_secs(10), 10).unwrap();
        assert_eq!(answer.stdout.len(), 10);
        assert!(answer.status.success());
    }

    #[test]
    fn a_process_that_stays_is_killed() {
        for script in ["exec sleep 60", "exec sleep 60 >/dev/null 2>&1", "sleep 2 & exit 0"] {
            let started = Instant::now();
            let failure = shell(script, Duration::from_millis(100), 10).unwrap_err();
            assert!(matches!(failure, RunFailure::TimedOut(_)), "{script}: {failure}");
            assert!(started.elapsed() < Duration::from_secs(2));
        }
    }

    #[test]
    fn a_program_that_is_not_there_cannot_be_started() {
        let failure = run(&mut Command::new("/nonexistent"), Duration::from_secs(1), 10).unwrap_err();
        assert!(matches!(failure, RunFailure::Start(_)));
    }
}
