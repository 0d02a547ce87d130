//! The monitor over a sandbox that plays a script, in paused time.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use aevatar_sandbox_contract::{
    DEFAULT_LIMITS, ErrorCode, ExecutionId, ExecutionStatus, IsolationReport, IsolationTier, ProgramStart,
    PythonEnvironment, PythonVersion, TerminationReason, ZygoteMode,
};
use proptest::prelude::*;
use tokio::io::DuplexStream;

use super::*;

/// One step of a script.
pub(crate) enum Step {
    Event(SandboxEvent),
    Fail,
    Wait(Duration),
    Print(&'static [u8]),
    Warn(&'static [u8]),
    Report(&'static [u8]),
    /// Nothing happens until it is killed.
    Hang,
}

/// Plays a script. After a kill, whatever is left of it is skipped and the sandbox is gone.
pub(crate) struct Scripted {
    script: VecDeque<Step>,
    killed: Arc<AtomicBool>,
    pub(crate) removed: Arc<AtomicBool>,
    /// A kill does not end it, and it keeps its streams open.
    dies_slowly: bool,
    pipes: Option<SandboxPipes>,
    stdout: Option<DuplexStream>,
    stderr: Option<DuplexStream>,
    report: Option<DuplexStream>,
    limits: ResourceLimits,
    isolation: IsolationReport,
    cpu_time: Duration,
    usage: ResourceUsage,
    waits_until: Option<Instant>,
}

impl Scripted {
    pub(crate) fn new(limits: ResourceLimits, script: impl IntoIterator<Item = Step>) -> Self {
        let (stdout, stdout_reader) = tokio::io::duplex(1 << 20);
        let (stderr, stderr_reader) = tokio::io::duplex(1 << 20);
        let (report, report_reader) = tokio::io::duplex(1 << 20);
        let pipes = SandboxPipes {
            stdin: Box::new(tokio::io::sink()),
            stdout: Box::new(stdout_reader),
            stderr: Box::new(stderr_reader),
            report: Box::new(report_reader),
        };
        Self {
            script: script.into_iter().collect(),
            killed: Arc::default(),
            removed: Arc::default(),
            dies_slowly: false,
            pipes: Some(pipes),
            stdout: Some(stdout),
            stderr: Some(stderr),
            report: Some(report),
            limits,
            isolation: IsolationReport { backend: "script".into(), tier: IsolationTier::Default, layers: Vec::new() },
            cpu_time: Duration::ZERO,
            usage: ResourceUsage::default(),
            waits_until: None,
        }
    }

    fn gone(&mut self) -> SandboxEvent {
        drop((self.stdout.take(), self.stderr.take(), self.report.take()));
        SandboxEvent::Gone
    }
}

#[async_trait::async_trait]
impl RunningSandbox for Scripted {
    fn take_pipes(&mut self) -> Option<SandboxPipes> {
        self.pipes.take()
    }

    fn effective_limits(&self) -> &ResourceLimits {
        &self.limits
    }

    fn isolation(&self) -> &IsolationReport {
        &self.isolation
    }

    fn program_start(&self) -> ProgramStart {
        ProgramStart::COLD
    }

    async fn next_event(&mut self) -> Result<SandboxEvent, SandboxError> {
        loop {
            if self.killed.load(Ordering::SeqCst) {
                if self.dies_slowly {
                    std::future::pending::<()>().await;
                }
                return Ok(self.gone());
            }
            match self.script.front() {
                None => return Ok(self.gone()),
                Some(Step::Hang) => std::future::pending().await,
                Some(Step::Wait(duration)) => {
                    // Also when it is asked for anew in the middle.
                    sleep_until(*self.waits_until.get_or_insert_with(|| Instant::now() + *duration)).await;
                    self.waits_until = None;
                }
                Some(Step::Print(bytes)) => {
                    if let Some(stdout) = &mut self.stdout {
                        stdout.write_all(bytes).await.unwrap();
                    }
                }
                Some(Step::Warn(bytes)) => {
                    if let Some(stderr) = &mut self.stderr {
                        stderr.write_all(bytes).await.unwrap();
                    }
                }
                Some(Step::Report(bytes)) => {
                    if let Some(report) = &mut self.report {
                        report.write_all(bytes).await.unwrap();
                    }
                }
                Some(Step::Fail) => {
                    self.script.pop_front();
                    return Err(SandboxError::new(ErrorCode::SandboxFailure, "scripted"));
                }
                Some(Step::Event(event)) => {
                    let event = event.clone();
                    self.script.pop_front();
                    return Ok(event);
                }
            }
            self.script.pop_front();
        }
    }

    fn cpu_time(&mut self) -> Option<Duration> {
        self.cpu_time += Duration::from_millis(10);
        Some(self.cpu_time)
    }

    fn kill(&mut self) {
        self.killed.store(true, Ordering::SeqCst);
    }

    fn usage(&mut self) -> ResourceUsage {
        self.usage.clone()
    }

    fn disk_was_full(&self) -> bool {
        false
    }

    async fn remove(self: Box<Self>) -> Result<(), SandboxError> {
        self.removed.store(true, Ordering::SeqCst);
        if self.dies_slowly {
            // Kept open for good.
            std::mem::forget((self.stdout, self.stderr, self.report));
            return Err(SandboxError::new(ErrorCode::SandboxFailure, "busy"));
        }
        Ok(())
    }
}

pub(crate) fn plan() -> ExecutionPlan {
    ExecutionPlan {
        id: ExecutionId::generate(),
        code: Vec::new(),
        args: Vec::new(),
        env: std::collections::BTreeMap::new(),
        limits: DEFAULT_LIMITS,
        disk_limit_is_default: true,
        environment: PythonEnvironment {
            name: "default".into(),
            key: "0123456789abcdef".into(),
            python: PythonVersion { major: 3, minor: 11, micro: 2 },
            interpreter: PathBuf::new(),
            standard_library: Vec::new(),
            hidden: Vec::new(),
            libraries: Vec::new(),
            needs_loader_cache: false,
            packages: PathBuf::new(),
            installed: Vec::new(),
            data: Vec::new(),
            fonts: Vec::new(),
            font_fallbacks: Vec::new(),
            font_list: None,
        },
        import_policy: None,
        imports: Vec::new(),
        zygote: ZygoteMode::On,
        files: Vec::new(),
        output_files: None,
    }
}

struct Watched {
    result: Result<SandboxExecutionResult, SandboxError>,
    killed: bool,
    removed: bool,
}

async fn watch(sandbox: Scripted, cancelled: CancellationToken, interrupted: CancellationToken) -> Watched {
    let (killed, removed) = (Arc::clone(&sandbox.killed), Arc::clone(&sandbox.removed));
    let monitor =
        PythonExecutionMonitor::new(DEFAULT_LIMITS, cancelled, interrupted, jiff::Timestamp::now(), Instant::now());
    let result = monitor
        .watch(Box::new(sandbox), &plan(), Vec::new(), ExecutionStreams::default())
        .await
        .map(|watched| watched.result);
    Watched { result, killed: killed.load(Ordering::SeqCst), removed: removed.load(Ordering::SeqCst) }
}

async fn run(script: impl IntoIterator<Item = Step>) -> Watched {
    let sandbox = Scripted::new(DEFAULT_LIMITS, script);
    watch(sandbox, CancellationToken::new(), CancellationToken::new()).await
}

pub(crate) const STARTED: Step = Step::Event(SandboxEvent::Started);

pub(crate) fn ended(code: i32) -> Step {
    Step::Event(SandboxEvent::MainEnded(ProgramEnd::Exited(code)))
}

#[tokio::test(start_paused = true)]
async fn a_program_that_ends_by_itself_is_not_killed() {
    let watched = run([STARTED, Step::Print(b"hello\n"), Step::Wait(Duration::from_secs(2)), ended(0)]).await;
    let result = watched.result.unwrap();
    assert_eq!(result.status, ExecutionStatus::Completed);
    assert_eq!(result.stdout, "hello\n");
    assert_eq!(result.usage.wall_time, Duration::from_secs(2));
    assert_eq!(result.usage.output_bytes, 6);
    assert!(watched.removed && !watched.killed);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_counts_from_the_start_of_the_program() {
    // 20 s of setting up are not the program's.
    let watched =
        run([Step::Wait(Duration::from_secs(20)), STARTED, Step::Wait(Duration::from_secs(29)), ended(0)]).await;
    let result = watched.result.unwrap();
    assert_eq!(result.termination.reason, TerminationReason::Exited);
    assert_eq!(result.usage.startup, Duration::from_secs(20));

    let watched = run([STARTED, Step::Print(b"so far"), Step::Hang]).await;
    let result = watched.result.unwrap();
    assert_eq!(result.termination.reason, TerminationReason::WallTimeLimit);
    assert_eq!(result.status, ExecutionStatus::TimedOut);
    assert_eq!(result.stdout, "so far", "what was written before the end is there");
    assert_eq!(result.usage.wall_time, DEFAULT_LIMITS.timeout);
    assert!(watched.removed && watched.killed);
}

#[tokio::test(start_paused = true)]
async fn a_slow_death_changes_no_verdict() {
    let slow = |script: Vec<Step>| async {
        let sandbox = Scripted { dies_slowly: true, ..Scripted::new(DEFAULT_LIMITS, script) };
        watch(sandbox, CancellationToken::new(), CancellationToken::new()).await
    };
    let watched = slow(vec![STARTED, Step::Print(b"so far"), Step::Hang]).await;
    let result = watched.result.unwrap();
    assert_eq!(result.termination.reason, TerminationReason::WallTimeLimit);
    assert_eq!(result.stdout, "so far");
    assert_eq!(result.usage.wall_time, DEFAULT_LIMITS.timeout + SUPERVISOR_PATIENCE);
    assert!(watched.removed && watched.killed);

    let watched = slow(vec![STARTED, Step::Print(b"all"), ended(3), Step::Hang]).await;
    let result = watched.result.unwrap();
    assert_eq!((result.termination.reason, result.exit_code), (TerminationReason::Exited, Some(3)));
    assert_eq!(result.stdout, "all");
    assert!(watched.removed && watched.killed);
}

#[tokio::test(start_paused = true)]
async fn cancelling_and_stopping_are_told_apart() {
    for (cancel, reason) in [(true, TerminationReason::Cancelled), (false, TerminationReason::Interrupted)] {
        let (cancelled, interrupted) = (CancellationToken::new(), CancellationToken::new());
        let sandbox = Scripted::new(DEFAULT_LIMITS, [STARTED, Step::Hang]);
        let watching = tokio::spawn(watch(sandbox, cancelled.clone(), interrupted.clone()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        if cancel {
            cancelled.cancel();
        } else {
            interrupted.cancel();
        }
        let watched = watching.await.unwrap();
        let result = watched.result.unwrap();
        assert_eq!((result.status, result.termination.reason), (ExecutionStatus::Cancelled, reason));
        assert!(watched.removed && watched.killed);
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_before_the_cancellation_stays_the_end() {
    let cancelled = CancellationToken::new();
    let sandbox = Scripted::new(DEFAULT_LIMITS, [STARTED, ended(0), Step::Wait(Duration::from_secs(5))]);
    let watching = tokio::spawn(watch(sandbox, cancelled.clone(), CancellationToken::new()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    cancelled.cancel();
    let result = watching.await.unwrap().result.unwrap();
    assert_eq!(result.status, ExecutionStatus::Completed);
}

#[tokio::test(start_paused = true)]
async fn cpu_time_and_output_have_limits() {
    let limits = ResourceLimits { cpu_time: Some(Duration::from_millis(100)), ..DEFAULT_LIMITS };
    let sandbox = Scripted::new(limits, [STARTED, Step::Hang]);
    let watched = watch(sandbox, CancellationToken::new(), CancellationToken::new()).await;
    assert_eq!(watched.result.unwrap().termination.reason, TerminationReason::CpuTimeLimit);

    let limits = ResourceLimits { output_limit: "10".parse().unwrap(), ..DEFAULT_LIMITS };
    let sandbox = Scripted::new(limits, [STARTED, Step::Print(b"more than ten bytes"), Step::Hang]);
    let watched = watch(sandbox, CancellationToken::new(), CancellationToken::new()).await;
    let result = watched.result.unwrap();
    assert_eq!(result.termination.reason, TerminationReason::OutputLimit);
    assert_eq!(result.stdout, "more than ten bytes");
}

#[tokio::test(start_paused = true)]
async fn a_killed_child_ends_the_whole() {
    let mut sandbox = Scripted::new(DEFAULT_LIMITS, [STARTED, Step::Event(SandboxEvent::OutOfMemory), Step::Hang]);
    sandbox.usage.oom_kills = 1;
    let watched = watch(sandbox, CancellationToken::new(), CancellationToken::new()).await;
    assert_eq!(watched.result.unwrap().termination.reason, TerminationReason::OutOfMemory);
    assert!(watched.killed);
}

#[tokio::test(start_paused = true)]
async fn a_report_describes_a_failure_and_cannot_make_or_unmake_one() {
    const REPORT: &[u8] =
        b"{\"error\": {\"name\":\"KeyError\",\"value\":\"'x'\",\"traceback\":\"Traceback\",\"line\":7}}\n";
    let result = run([STARTED, Step::Report(REPORT), ended(1)]).await.result.unwrap();
    assert_eq!(result.termination.reason, TerminationReason::Exception);
    assert_eq!(result.error.unwrap().line, Some(7));

    // It exits with 0: there was no uncaught exception, whatever it says.
    let result = run([STARTED, Step::Report(REPORT), ended(0)]).await.result.unwrap();
    assert_eq!((result.status, result.error), (ExecutionStatus::Completed, None));

    let result =
        run([STARTED, Step::Report(br#"{"status":"Completed","exitCode":0}"#), ended(1)]).await.result.unwrap();
    assert_eq!((result.termination.reason, result.error), (TerminationReason::Exited, None));
}

/// What a feed and a caller are told of progress in a script; the result.
async fn progress_of(
    script: impl IntoIterator<Item = Step>,
) -> (Vec<Option<f64>>, Option<Progress>, SandboxExecutionResult) {
    let feed = Arc::new(Feed::new(ExecutionId::generate(), jiff::Timestamp::now(), Instant::now(), 1 << 20));
    let (sender, receiver) = tokio::sync::watch::channel(Progress::default());
    let sandbox = Scripted::new(DEFAULT_LIMITS, script);
    let (cancelled, interrupted) = (CancellationToken::new(), CancellationToken::new());
    let result =
        PythonExecutionMonitor::new(DEFAULT_LIMITS, cancelled, interrupted, jiff::Timestamp::now(), Instant::now())
            .with_feed(Arc::clone(&feed))
            .watch(
                Box::new(sandbox),
                &plan(),
                Vec::new(),
                ExecutionStreams { progress: Some(sender), ..ExecutionStreams::default() },
            )
            .await
            .unwrap()
            .result;
    feed.finish(&result);
    let told = feed.history().into_iter().filter_map(|event| match event.what {
        aevatar_sandbox_contract::Occurrence::Progress(progress) => Some(progress.fraction),
        _ => None,
    });
    let told = told.collect();
    let last = receiver.borrow().clone();
    (told, (last != Progress::default()).then_some(last), result)
}

fn progress_line(fraction: f64) -> Step {
    let line = format!("{{\"progress\": {{\"fraction\": {fraction}, \"message\": \"m\"}}}}\n");
    Step::Report(line.into_bytes().leak())
}

#[tokio::test(start_paused = true)]
async fn progress_is_told_while_the_program_runs_and_an_exception_after_it() {
    let pause = || Step::Wait(Duration::from_secs(1));
    let script = [STARTED, progress_line(0.25), pause(), progress_line(0.5), pause(), ended(0)];
    let (told, last, result) = progress_of(script).await;
    assert_eq!(told, [Some(0.25), Some(0.5)]);
    assert_eq!(last, Some(Progress { fraction: Some(0.5), message: Some("m".to_owned()) }));
    assert_eq!(result.status, ExecutionStatus::Completed);

    let error = Step::Report(b"\n{\"error\": {\"name\":\"KeyError\",\"value\":\"\",\"traceback\":\"\",\"line\":7}}\n");
    let script = [STARTED, progress_line(0.25), Step::Report(b"\xFF garbage"), error, progress_line(0.75), ended(1)];
    let (told, last, result) = progress_of(script).await;
    assert_eq!(told.last(), Some(&Some(0.75)), "the last one is told");
    assert_eq!(last.unwrap().fraction, Some(0.75));
    assert_eq!(result.error.unwrap().line, Some(7));
}

#[tokio::test(start_paused = true)]
async fn bars_on_stderr_are_progress_but_not_the_callers() {
    let bar = |text: &'static str| Step::Warn(text.as_bytes());
    let script = [
        STARTED,
        bar("\rfit:  25%|██▌       | 1/4 [00:00<?, ?it/s]"),
        Step::Wait(Duration::from_secs(1)),
        bar("\rfit:  50%|█████     | 2/4 [00:00<?, ?it/s]"),
        Step::Wait(Duration::from_secs(1)),
        ended(0),
    ];
    let (told, last, result) = progress_of(script).await;
    assert_eq!((told, last), (vec![Some(0.25), Some(0.5)], None));
    assert!(result.stderr.starts_with("\rfit:  25%"));
}

#[tokio::test(start_paused = true)]
async fn being_done_is_told_at_once_and_not_again_and_again() {
    let bars = (0..50).flat_map(|number: u32| {
        let bar = format!("\rstep {number}: 100%|██████████| 1/1 [00:00<?, ?it/s]\n");
        [Step::Warn(bar.into_bytes().leak()), Step::Wait(Duration::from_millis(1))]
    });
    let start = [
        STARTED,
        Step::Warn("\r  0%|          | 0/1 [00:00<?, ?it/s]".as_bytes()),
        Step::Wait(Duration::from_millis(1)),
    ];
    let (told, _, _) = progress_of(start.into_iter().chain(bars).chain([ended(0)])).await;
    // The first one, and the last one.
    assert_eq!(told, [Some(0.0), Some(1.0), Some(1.0)]);
}

/// Tens of megabytes in a pipe cost little of ours: little is read of it, and the program waits.
#[tokio::test(start_paused = true)]
async fn a_flood_of_reports_is_slowed_down_and_an_exception_behind_it_is_told() {
    let lines: &[u8] = "{\"progress\": {\"fraction\": 0.5}}\n".repeat(30_000).into_bytes().leak();
    let noise: &[u8] = vec![b'x'; 1 << 20].leak();
    let mut script = vec![STARTED];
    script.extend((0..25).flat_map(|_| [Step::Report(lines), Step::Report(noise), Step::Report(b"\n")]));
    script.push(Step::Report(b"{\"error\": {\"name\":\"KeyError\",\"value\":\"\",\"traceback\":\"\"}}\n"));
    script.push(ended(1));
    let (told, _, result) = progress_of(script).await;
    assert_eq!(result.error.unwrap().name, "KeyError");
    assert!((500..20_000).contains(&result.usage.wall_time.as_millis()), "{:?}", result.usage.wall_time);
    assert_eq!(told, [Some(0.5)]);
}

#[tokio::test(start_paused = true)]
async fn denied_calls_are_named_once_and_the_last_one_last() {
    let denied = |name: &str| Step::Event(SandboxEvent::SyscallDenied(name.to_owned()));
    let result = run([STARTED, denied("mount"), denied("bpf"), denied("mount"), ended(0)]).await.result.unwrap();
    assert_eq!(result.usage.denied_syscalls, ["bpf", "mount"]);
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_fails_or_hangs_in_setting_up_is_removed() {
    for script in [vec![Step::Fail], vec![STARTED, Step::Fail], vec![Step::Hang]] {
        let watched = run(script).await;
        assert_eq!(watched.result.unwrap_err().code, ErrorCode::SandboxFailure);
        assert!(watched.removed);
    }
    // And the next one works.
    assert_eq!(run([STARTED, ended(0)]).await.result.unwrap().status, ExecutionStatus::Completed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever happens in whatever order, there is exactly one outcome, a final one, and the sandbox is removed.
    #[test]
    fn every_order_of_events_ends_once(kinds in proptest::collection::vec(0_u8..6, 0..12)) {
        let script: Vec<Step> = kinds.into_iter().map(|kind| match kind {
            0 => STARTED,
            1 => ended(0),
            2 => Step::Event(SandboxEvent::OutOfMemory),
            3 => Step::Event(SandboxEvent::SyscallDenied("mount".to_owned())),
            4 => Step::Wait(Duration::from_secs(7)),
            _ => Step::Print(b"x"),
        }).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let watched = runtime.block_on(run(script));
        prop_assert!(watched.removed);
        if let Ok(result) = watched.result {
            prop_assert!(result.is_completed);
        }
    }
}
