//! A command in the background.

use std::{
    io::Read,
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    host::{self, Process},
    place::Outcome,
    site,
};

/// How long a command that was told to end may take, on a busy machine.
const LIMIT: Duration = Duration::from_secs(40);

/// A child that is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    stdout: Stream,
    stderr: Stream,
}

/// What came out so far, and the thread that reads it.
struct Stream(Arc<Mutex<Vec<u8>>>, JoinHandle<()>);

impl Stream {
    fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let collected = Arc::new(Mutex::new(Vec::new()));
        let target = Arc::clone(&collected);
        let reader = std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                target.lock().unwrap().extend_from_slice(&buffer[..length]);
            }
        });
        Self(collected, reader)
    }

    fn so_far(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap();
        let stdout = Stream::of(child.stdout.take().unwrap());
        let stderr = Stream::of(child.stderr.take().unwrap());
        Self { stdin: child.stdin.take(), child, stdout, stderr }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // Not waited for yet, so the id is still its own.
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout.so_far()).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.so_far()).into_owned()
    }

    /// Waits until stdout has this text, and tells how it could be waited for.
    pub(crate) fn wait_for(&mut self, text: &str) {
        host::eventually(&format!("`{text}` on stdout"), || {
            let stdout = self.stdout();
            let ended = self.child.try_wait().unwrap();
            let stderr = String::from_utf8_lossy(&self.stderr.so_far()).into_owned();
            assert!(ended.is_none() || stdout.contains(text), "it has ended ({ended:?}): {stdout}\n{stderr}");
            stdout.contains(text).then_some(())
        });
    }

    /// The keeper, once it is there.
    pub(crate) fn keeper(&self) -> Process {
        host::eventually("the keeper", || {
            host::children(self.pid()).into_iter().find(|child| child.name() == "aevatar-sandbox-keeper")
        })
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the end, and for the end of the output.
    pub(crate) fn finish(mut self) -> Outcome {
        drop(self.stdin.take());
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(started.elapsed() < site::patience(LIMIT), "still running after {LIMIT:?}: {}", self.stdout());
            std::thread::sleep(Duration::from_millis(2));
        };
        host::eventually("the end of its output", || {
            (self.stdout.1.is_finished() && self.stderr.1.is_finished()).then_some(())
        });
        let stdout = self.stdout.so_far();
        Outcome::new(status, &stdout, stdout.len() as u64, &self.stderr.so_far())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // Only what this test started, by its own pid.
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}
