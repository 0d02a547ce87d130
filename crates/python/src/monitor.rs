//! The owner of one execution: output, deadline, cancellation, usage, verdict.
//!
//! One task runs [`PythonExecutionMonitor::watch`] and holds all state. Streams are pumped by tasks of their own, so
//! that a flood or a slow reader never delays the deadline; they share nothing with the monitor but a counter.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aevatar_sandbox_contract::{
    CollectedFile, CollectedFiles, ExecutionPlan, LiveUsage, OutputStream, ProgramEnd, Progress, PythonError,
    ResourceLimits, ResourceUsage, RunningSandbox, SandboxError, SandboxEvent, SandboxExecutionResult, SandboxPipes,
    SkipReason, SkippedFile, Truncated,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    bars::Bars,
    feed::Feed,
    output::OutputCapture,
    progress::Listeners,
    report::ReportLines,
    verdict::{Facts, Intervention, judge},
};

/// Most often that CPU time is looked at.
const CPU_TIME_CHECK: Duration = Duration::from_millis(10);
/// How often it is told what a program uses.
const USAGE_PAUSE: Duration = Duration::from_secs(1);
/// How long a sandbox may take to begin, and to die. Both take milliseconds; past this something is broken.
const SUPERVISOR_PATIENCE: Duration = Duration::from_secs(30);
/// How long a slow reader of live output may take after a cancellation.
const READER_PATIENCE: Duration = Duration::from_secs(1);
/// Most often that a program's own word on its progress is read. The last one always is.
const PROGRESS_PAUSE: Duration = Duration::from_millis(20);
/// The report pipe is read so often in so much time without a pause.
const REPORT_READS: (u32, Duration) = (16, Duration::from_millis(50));
/// The pause between more reads. What a program writes waits in the pipe meanwhile, and the program with it once that is
/// full: the time that it takes to read it is ours, not the program's.
const REPORT_PAUSE: Duration = Duration::from_millis(2);
/// Refused system calls that are named in a result.
const MAX_NAMED_SYSCALLS: usize = 32;

/// Where streams come from and go to while a program runs, beside the result.
#[derive(Default)]
#[expect(missing_debug_implementations, reason = "streams of unnamed types")]
pub struct ExecutionStreams {
    /// Copied to the program's stdin after the request's own bytes.
    pub stdin: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Gets the program's stdout as it comes, all of it. A slow one slows the program, not the deadline.
    pub stdout: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Likewise.
    pub stderr: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Gets what the program tells by `sandbox.progress`, the newest in place of what nobody has looked at yet. Not what
    /// bars say that it draws: those are in its stderr.
    pub progress: Option<watch::Sender<Progress>>,
}

/// Watches one execution to its end.
#[derive(Debug)]
pub struct PythonExecutionMonitor {
    limits: ResourceLimits,
    cancelled: CancellationToken,
    interrupted: CancellationToken,
    queued_at: jiff::Timestamp,
    queued: Instant,
    feed: Option<Arc<Feed>>,
}

/// What came of an execution.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) result: SandboxExecutionResult,
    /// What the program left, with its content.
    pub(crate) files: Vec<CollectedFile>,
}

/// What a monitor collects until the end.
#[derive(Debug, Default)]
struct Observations {
    started: Option<(Instant, jiff::Timestamp)>,
    ended: Option<Instant>,
    end: Option<ProgramEnd>,
    intervention: Option<Intervention>,
    denied: Vec<String>,
    /// Whether every process was seen dead; else some of them were killed and are still dying.
    is_dead: bool,
}

impl PythonExecutionMonitor {
    /// A monitor of an execution that was asked for at `queued`; the caller cancels it, or the service interrupts it.
    pub(crate) const fn new(
        limits: ResourceLimits,
        cancelled: CancellationToken,
        interrupted: CancellationToken,
        queued_at: jiff::Timestamp,
        queued: Instant,
    ) -> Self {
        Self { limits, cancelled, interrupted, queued_at, queued, feed: None }
    }

    /// The same, telling what happens.
    pub(crate) fn with_feed(mut self, feed: Arc<Feed>) -> Self {
        self.feed = Some(feed);
        self
    }

    /// Watches `sandbox` to its end, removes it, and says what came of it.
    ///
    /// # Errors
    /// The sandbox itself failed. It is removed in that case too.
    pub(crate) async fn watch(
        mut self,
        mut sandbox: Box<dyn RunningSandbox>,
        plan: &ExecutionPlan,
        stdin: Vec<u8>,
        streams: ExecutionStreams,
    ) -> Result<Watched, SandboxError> {
        self.limits = sandbox.effective_limits().clone();
        let written = Arc::new(OutputMeter::new(self.limits.output_limit.bytes()));
        let pumps = sandbox
            .take_pipes()
            .map(|pipes| Pumps::start(pipes, &self.limits, &written, stdin, streams, self.feed.as_ref()));
        let observed = self.observe(sandbox.as_mut(), &written).await;

        let mut usage = sandbox.usage();
        let isolation = sandbox.isolation().clone();
        let start = sandbox.program_start();
        let disk_was_full = sandbox.disk_was_full();
        let collected = match (&observed, plan.output_files) {
            (Ok(observed), Some(_)) if observed.is_dead => sandbox.collect_files().await,
            // Nobody looks at files that may still change.
            (Ok(_), Some(_)) => CollectedFiles {
                files: Vec::new(),
                skipped: vec![SkippedFile { path: ".".to_owned(), reason: SkipReason::TimedOut }],
            },
            _ => CollectedFiles::default(),
        };
        // Before the streams: their readers may be slow, and what a sandbox holds is not to wait for them.
        let removed = sandbox.remove().await;
        let is_dead = observed.as_ref().is_ok_and(|observed| observed.is_dead);
        let outputs = match pumps {
            Some(pumps) if observed.is_ok() => tokio::select! {
                outputs = pumps.finish(is_dead) => Some(outputs),
                () = self.reader_is_given_up() => None,
            },
            _ => None,
        };
        let observed = observed?;
        // A program that makes its own death take long does not turn what is known of it into a failure of ours.
        if is_dead {
            removed?;
        }

        let outputs = outputs.unwrap_or_else(Outputs::lost);
        self.complete(&observed, &mut usage);
        usage.output_bytes = outputs.total;
        let facts = Facts {
            intervention: observed.intervention,
            end: observed.end,
            error: outputs.error.as_ref(),
            disk_was_full,
            usage: &usage,
            limits: &self.limits,
        };
        let verdict = judge(&facts);
        // An exit code of 0 is no uncaught exception, whatever was written to the report pipe.
        let failed_by_itself = matches!(observed.end, Some(ProgramEnd::Exited(code)) if code != 0);
        let error = outputs.error.filter(|_| failed_by_itself && observed.intervention.is_none());
        let result = SandboxExecutionResult {
            execution_id: plan.id,
            status: verdict.status,
            is_completed: verdict.status.is_completed(),
            exit_code: verdict.exit_code,
            stdout: outputs.stdout,
            stderr: outputs.stderr,
            truncated: outputs.truncated,
            error,
            termination: verdict.termination,
            hints: Vec::new(),
            warnings: Vec::new(),
            usage,
            limits: self.limits,
            isolation: Some(isolation),
            start: Some(start),
            files: collected.files.iter().map(|collected| collected.file.clone()).collect(),
            skipped_files: collected.skipped,
            environment: plan.environment.to_string(),
            queued_at: self.queued_at,
            started_at: observed.started.map(|(_, at)| at),
            finished_at: aevatar_sandbox_contract::now(),
        };
        Ok(Watched { result, files: collected.files })
    }

    /// Follows the sandbox until every process of it is dead, or has been dying for too long.
    async fn observe(
        &self,
        sandbox: &mut dyn RunningSandbox,
        written: &OutputMeter,
    ) -> Result<Observations, SandboxError> {
        let mut observed = Observations::default();
        let mut deadline = Instant::now() + SUPERVISOR_PATIENCE;
        let mut cpu_check = None;
        let mut usage_check = None;
        loop {
            let running = observed.intervention.is_none() && observed.end.is_none();
            tokio::select! {
                biased;
                event = sandbox.next_event() => match event? {
                    SandboxEvent::Started => {
                        let now = Instant::now();
                        let at = aevatar_sandbox_contract::now();
                        observed.started = Some((now, at));
                        usage_check = self.feed.is_some().then(|| now + USAGE_PAUSE);
                        if let Some(feed) = &self.feed {
                            feed.started(at);
                        }
                        deadline = now + self.limits.timeout;
                        cpu_check = self.next_cpu_check(Duration::ZERO);
                    }
                    SandboxEvent::MainEnded(end) => {
                        observed.end = Some(end);
                        observed.ended = Some(Instant::now());
                        deadline = Instant::now() + SUPERVISOR_PATIENCE;
                    }
                    SandboxEvent::OutOfMemory if running => {
                        deadline = intervene(&mut observed, sandbox, Intervention::OutOfMemory);
                    }
                    SandboxEvent::OutOfMemory => {}
                    SandboxEvent::SyscallDenied(name) => {
                        // The last one tells why a program ended, so a repeated one moves to the end.
                        observed.denied.retain(|known| *known != name);
                        if observed.denied.len() == MAX_NAMED_SYSCALLS {
                            observed.denied.remove(0);
                        }
                        observed.denied.push(name);
                    }
                    SandboxEvent::Gone => {
                        observed.ended = observed.ended.or_else(|| Some(Instant::now()));
                        observed.is_dead = true;
                        return Ok(observed);
                    }
                },
                () = self.cancelled.cancelled(), if running => {
                    deadline = intervene(&mut observed, sandbox, Intervention::Cancelled);
                }
                () = self.interrupted.cancelled(), if running => {
                    deadline = intervene(&mut observed, sandbox, Intervention::Interrupted);
                }
                () = written.exceeded(), if running => {
                    deadline = intervene(&mut observed, sandbox, Intervention::Output);
                }
                () = sleep_until(deadline) => {
                    if running && observed.started.is_some() {
                        deadline = intervene(&mut observed, sandbox, Intervention::WallTime);
                    } else {
                        sandbox.kill();
                        if running {
                            return Err(stuck());
                        }
                        observed.ended = observed.ended.or_else(|| Some(Instant::now()));
                        return Ok(observed);
                    }
                }
                () = sleep_until(cpu_check.unwrap_or(deadline)), if running && cpu_check.is_some() => {
                    let used = sandbox.cpu_time().unwrap_or_default();
                    if self.limits.cpu_time.is_some_and(|limit| used >= limit) {
                        deadline = intervene(&mut observed, sandbox, Intervention::CpuTime);
                    }
                    cpu_check = self.next_cpu_check(used);
                }
                () = sleep_until(usage_check.unwrap_or(deadline)), if running && usage_check.is_some() => {
                    self.tell_usage(&observed, sandbox, written);
                    usage_check = Some(Instant::now() + USAGE_PAUSE);
                }
            }
        }
    }

    /// Returns a moment after the caller or the service no longer waits for whoever reads the streams live.
    async fn reader_is_given_up(&self) {
        tokio::select! {
            () = self.cancelled.cancelled() => {}
            () = self.interrupted.cancelled() => {}
        }
        tokio::time::sleep(READER_PATIENCE).await;
    }

    /// When the CPU-time limit can be reached at the earliest: what is left, used by as many CPUs as there may be.
    fn next_cpu_check(&self, used: Duration) -> Option<Instant> {
        let left = self.limits.cpu_time?.saturating_sub(used);
        let fastest = left / self.limits.cpu_limit.whole_cpus();
        Some(Instant::now() + fastest.max(CPU_TIME_CHECK))
    }

    fn tell_usage(&self, observed: &Observations, sandbox: &mut dyn RunningSandbox, written: &OutputMeter) {
        let (Some(feed), Some((started, _))) = (&self.feed, observed.started) else { return };
        feed.usage(LiveUsage {
            wall_time: started.elapsed(),
            cpu_time: sandbox.cpu_time().unwrap_or_default(),
            memory_bytes: sandbox.memory(),
            output_bytes: written.written.load(Ordering::Relaxed),
        });
    }

    fn complete(&self, observed: &Observations, usage: &mut ResourceUsage) {
        if let Some((started, _)) = observed.started {
            usage.startup = started.saturating_duration_since(self.queued);
            usage.wall_time = observed.ended.map_or(Duration::ZERO, |ended| ended.saturating_duration_since(started));
        }
        usage.denied_syscalls.clone_from(&observed.denied);
    }
}

/// Ends the execution for a reason of ours. Returns by when it must be dead.
fn intervene(observed: &mut Observations, sandbox: &mut dyn RunningSandbox, reason: Intervention) -> Instant {
    observed.intervention = Some(reason);
    sandbox.kill();
    Instant::now() + SUPERVISOR_PATIENCE
}

fn stuck() -> SandboxError {
    SandboxError::new(
        aevatar_sandbox_contract::ErrorCode::SandboxFailure,
        format!("a sandbox did not answer within {} s", SUPERVISOR_PATIENCE.as_secs()),
    )
    .with_hint("the host is overloaded, or a process of the sandbox hangs in the kernel")
}

/// Counts output of both streams against the output limit.
#[derive(Debug)]
struct OutputMeter {
    limit: u64,
    written: AtomicU64,
    exceeded: Notify,
}

impl OutputMeter {
    const fn new(limit: u64) -> Self {
        Self { limit, written: AtomicU64::new(0), exceeded: Notify::const_new() }
    }

    fn add(&self, bytes: usize) {
        let before = self.written.fetch_add(bytes as u64, Ordering::Relaxed);
        if before + bytes as u64 > self.limit {
            self.exceeded.notify_one();
        }
    }

    async fn exceeded(&self) {
        self.exceeded.notified().await;
    }
}

/// The tasks that move a program's streams; they end when this is dropped.
#[derive(Debug)]
struct Pumps {
    /// Ends the pumps of the output at what has come so far.
    stop: CancellationToken,
    stdin: AbortOnDropHandle<()>,
    stdout: AbortOnDropHandle<OutputCapture>,
    stderr: AbortOnDropHandle<OutputCapture>,
    report: AbortOnDropHandle<Option<PythonError>>,
}

/// What came out of a program.
#[derive(Debug, Default)]
struct Outputs {
    stdout: String,
    stderr: String,
    truncated: Truncated,
    total: u64,
    error: Option<PythonError>,
}

impl Outputs {
    /// Of streams whose reader was given up.
    fn lost() -> Self {
        Self { truncated: Truncated { stdout: true, stderr: true }, ..Self::default() }
    }
}

impl Pumps {
    fn start(
        pipes: SandboxPipes,
        limits: &ResourceLimits,
        written: &Arc<OutputMeter>,
        stdin: Vec<u8>,
        streams: ExecutionStreams,
        feed: Option<&Arc<Feed>>,
    ) -> Self {
        let keep = usize::try_from(limits.max_output_bytes).unwrap_or(usize::MAX);
        let stop = CancellationToken::new();
        let listeners = Listeners { feed: feed.map(Arc::clone), caller: streams.progress };
        Self {
            stop: stop.clone(),
            stdin: AbortOnDropHandle::new(tokio::spawn(feed_stdin(pipes.stdin, stdin, streams.stdin))),
            stdout: AbortOnDropHandle::new(tokio::spawn(drain(
                pipes.stdout,
                keep,
                Arc::clone(written),
                (streams.stdout, feed.map(|feed| (Arc::clone(feed), OutputStream::Stdout))),
                stop.clone(),
            ))),
            stderr: AbortOnDropHandle::new(tokio::spawn(drain(
                pipes.stderr,
                keep,
                Arc::clone(written),
                (streams.stderr, feed.map(|feed| (Arc::clone(feed), OutputStream::Stderr))),
                stop.clone(),
            ))),
            report: AbortOnDropHandle::new(tokio::spawn(read_report(pipes.report, listeners, stop))),
        }
    }

    /// Waits for the end of the output, which comes when everything that could write is dead; else takes what there is.
    /// Stdin is nobody's business any more.
    async fn finish(self, is_dead: bool) -> Outputs {
        self.stdin.abort();
        if !is_dead {
            self.stop.cancel();
        }
        let empty = || OutputCapture::new(0);
        // A pump does not panic; if the runtime is shutting down, what it had is lost with everything else.
        let stdout = self.stdout.await.unwrap_or_else(|_| empty());
        let stderr = self.stderr.await.unwrap_or_else(|_| empty());
        let report = self.report.await.unwrap_or_default();
        let total = stdout.total() + stderr.total();
        let (stdout, stdout_truncated) = stdout.into_text();
        let (stderr, stderr_truncated) = stderr.into_text();
        let truncated = Truncated { stdout: stdout_truncated, stderr: stderr_truncated };
        Outputs { stdout, stderr, truncated, total, error: report }
    }
}

/// Feeds a program's stdin. A program that does not read, or closes it, is its own business.
async fn feed_stdin(
    mut pipe: Box<dyn AsyncWrite + Send + Unpin>,
    bytes: Vec<u8>,
    more: Option<Box<dyn AsyncRead + Send + Unpin>>,
) {
    if pipe.write_all(&bytes).await.is_err() {
        return;
    }
    if let Some(mut more) = more {
        // Ends when either side does; both are ordinary.
        drop(tokio::io::copy(&mut more, &mut pipe).await);
    }
}

/// Who is told of a stream, and which one it is.
type Follower = (Arc<Feed>, OutputStream);

/// Reads a stream to its end, keeps head and tail, and passes all of it on.
async fn drain(
    mut pipe: Box<dyn AsyncRead + Send + Unpin>,
    keep: usize,
    written: Arc<OutputMeter>,
    (mut sink, feed): (Option<Box<dyn AsyncWrite + Send + Unpin>>, Option<Follower>),
    stop: CancellationToken,
) -> OutputCapture {
    let mut capture = OutputCapture::new(keep);
    let mut bars = Bars::default();
    let mut buffer = vec![0_u8; 64 * 1024];
    while let Some(count) = read_some(&mut pipe, &mut buffer, &stop).await {
        let Some(bytes) = buffer.get(..count) else { break };
        capture.push(bytes);
        written.add(count);
        if let Some((feed, stream)) = &feed {
            feed.output(*stream, bytes);
            if *stream == OutputStream::Stderr
                && let Some(progress) = bars.push(bytes)
            {
                feed.progress(progress);
            }
        }
        if let Some(target) = sink.as_mut() {
            let passed = match target.write_all(bytes).await {
                Ok(()) => target.flush().await,
                Err(error) => Err(error),
            };
            // Whoever listened has left; the program need not know.
            if passed.is_err() {
                sink = None;
            }
        }
    }
    capture
}

/// The next bytes of a pipe; nothing at its end, or when it is to stop and nothing is there. An error is its end, too.
async fn read_some(
    pipe: &mut Box<dyn AsyncRead + Send + Unpin>,
    buffer: &mut [u8],
    stop: &CancellationToken,
) -> Option<usize> {
    tokio::select! {
        biased;
        count = pipe.read(buffer) => count.ok().filter(|count| *count > 0),
        () = stop.cancelled() => None,
    }
}

/// Reads the report pipe to its end, and tells `listeners` what comes of progress; the exception that was described.
async fn read_report(
    mut pipe: Box<dyn AsyncRead + Send + Unpin>,
    listeners: Listeners,
    stop: CancellationToken,
) -> Option<PythonError> {
    let mut lines = ReportLines::default();
    let mut buffer = vec![0_u8; 64 * 1024];
    let (mut reads, mut since) = (0, Instant::now());
    let mut next_progress = since;
    loop {
        let count = tokio::select! {
            biased;
            () = sleep_until(next_progress), if lines.has_progress() && !listeners.is_empty() => {
                if let Some(progress) = lines.take_progress() {
                    listeners.tell(progress);
                }
                next_progress = Instant::now() + PROGRESS_PAUSE;
                continue;
            }
            count = read_some(&mut pipe, &mut buffer, &stop) => count,
        };
        let Some(bytes) = count.and_then(|count| buffer.get(..count)) else { break };
        lines.push(bytes);
        reads += 1;
        if reads > REPORT_READS.0 {
            tokio::time::sleep(REPORT_PAUSE).await;
        }
        if since.elapsed() >= REPORT_READS.1 {
            (reads, since) = (0, Instant::now());
        }
    }
    if let Some(progress) = lines.take_progress() {
        listeners.tell(progress);
    }
    lines.into_error()
}

#[cfg(test)]
pub(crate) mod tests;
