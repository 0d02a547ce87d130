//! The service over sandboxes that play scripts and a store that may fail, in paused time.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use aevatar_sandbox_contract::{
    Allowance, Cancellation, ErrorCode, ExecutionEvent, ExecutionPlan, ExecutionQuery, ExecutionRecord,
    ExecutionStatus, FinishedExecution, Inheritance, IsolationTier, NewExecution, OutputStream, Recorded, Retention,
    RunningSandbox, SandboxEvent, StoreError, TerminationReason,
};
use futures_util::StreamExt as _;

use super::*;
use crate::monitor::tests::{STARTED, Scripted, Step, ended, plan};

/// Plays what the program's name says: `hang`, `slow`, `broken`, or anything else for a line of output.
#[derive(Default)]
struct Scripts {
    launched: Mutex<Vec<ExecutionId>>,
    removed: Mutex<Vec<Arc<AtomicBool>>>,
}

#[async_trait::async_trait]
impl SandboxBackend for Scripts {
    async fn launch(&self, plan: &ExecutionPlan) -> Result<Box<dyn RunningSandbox>, SandboxError> {
        self.launched.lock().unwrap().push(plan.id);
        let script = match plan.code.as_slice() {
            b"hang" => vec![STARTED, Step::Print(b"so far\n"), Step::Hang],
            b"slow" => vec![STARTED, Step::Print(b"so far\n"), Step::Wait(Duration::from_secs(5)), ended(0)],
            b"broken" => return Err(SandboxError::new(ErrorCode::IsolationUnavailable, "scripted")),
            b"fails" => vec![STARTED, Step::Fail],
            b"killed" => vec![STARTED, Step::Event(SandboxEvent::OutOfMemory), Step::Hang],
            _ => vec![STARTED, Step::Print(b"hello\n"), ended(0)],
        };
        let sandbox = Scripted::new(plan.limits.clone(), script);
        self.removed.lock().unwrap().push(Arc::clone(&sandbox.removed));
        Ok(Box::new(sandbox))
    }

    async fn probe(&self) -> Result<IsolationReport, SandboxError> {
        Ok(IsolationReport { backend: "script".into(), tier: IsolationTier::Default, layers: Vec::new() })
    }

    async fn shutdown(&self) {}
}

/// Records in memory, with faults.
#[derive(Debug, Default)]
struct Faulty {
    inner: MemoryStore,
    /// What fails, until it is taken out.
    fails: Mutex<BTreeSet<&'static str>>,
    /// Ends that are not recorded before one is.
    lost_ends: AtomicUsize,
    left: Mutex<Inheritance>,
    /// To be cancelled, because another server was asked to.
    wanted: Mutex<Vec<ExecutionId>>,
    released: AtomicBool,
    /// Another server has taken what waits.
    taken: AtomicBool,
}

impl Faulty {
    fn check(&self, action: &'static str) -> Result<(), StoreError> {
        let fails = self.fails.lock().unwrap().contains(action);
        if fails { Err(StoreError::new(action, "scripted")) } else { Ok(()) }
    }

    fn fail(&self, actions: &[&'static str]) {
        *self.fails.lock().unwrap() = actions.iter().copied().collect();
    }
}

#[async_trait::async_trait]
impl ExecutionStore for Faulty {
    async fn enqueue(&self, execution: &NewExecution) -> Result<Recorded, StoreError> {
        self.check("enqueue")?;
        self.inner.enqueue(execution).await
    }

    async fn start(&self, id: ExecutionId, at: jiff::Timestamp) -> Result<bool, StoreError> {
        self.check("start")?;
        if self.taken.load(Ordering::SeqCst) {
            return Ok(false);
        }
        self.inner.start(id, at).await
    }

    async fn finish(&self, execution: &FinishedExecution) -> Result<bool, StoreError> {
        self.check("finish")?;
        let lost = self.lost_ends.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if lost.is_ok() {
            return Err(StoreError::new("finish", "scripted"));
        }
        self.inner.finish(execution).await
    }

    async fn record(&self, owner: &str, id: ExecutionId) -> Result<Option<ExecutionRecord>, StoreError> {
        self.check("record")?;
        self.inner.record(owner, id).await
    }

    async fn result(&self, owner: &str, id: ExecutionId) -> Result<Option<SandboxExecutionResult>, StoreError> {
        self.check("result")?;
        self.inner.result(owner, id).await
    }

    async fn events(&self, owner: &str, id: ExecutionId) -> Result<Option<Vec<ExecutionEvent>>, StoreError> {
        self.check("events")?;
        self.inner.events(owner, id).await
    }

    async fn file(&self, owner: &str, id: ExecutionId, path: &str) -> Result<Option<CollectedFile>, StoreError> {
        self.check("file")?;
        self.inner.file(owner, id, path).await
    }

    async fn list(&self, query: &ExecutionQuery) -> Result<Vec<ExecutionRecord>, StoreError> {
        self.check("list")?;
        self.inner.list(query).await
    }

    async fn request_cancel(&self, _owner: &str, id: ExecutionId) -> Result<bool, StoreError> {
        self.check("request_cancel")?;
        self.wanted.lock().unwrap().push(id);
        Ok(true)
    }

    async fn cancel_requests(&self) -> Result<Vec<ExecutionId>, StoreError> {
        self.check("cancel_requests")?;
        Ok(self.wanted.lock().unwrap().clone())
    }

    async fn inherit(&self) -> Result<Inheritance, StoreError> {
        self.check("inherit")?;
        let left = std::mem::take(&mut *self.left.lock().unwrap());
        for execution in &left.queued {
            self.inner.enqueue(execution).await?;
        }
        Ok(left)
    }

    async fn release(&self) -> Result<(), StoreError> {
        self.check("release")?;
        self.released.store(true, Ordering::SeqCst);
        Ok(())
    }

    async fn prune(&self, retention: Retention) -> Result<u64, StoreError> {
        self.inner.prune(retention).await
    }
}

struct Bench {
    service: PythonSandboxService,
    scripts: Arc<Scripts>,
    store: Arc<Faulty>,
}

impl Bench {
    /// With one place.
    fn new() -> Self {
        let options = ServiceOptions { max_concurrent_executions: 1, ..ServiceOptions::default() };
        let (scripts, store) = (Arc::new(Scripts::default()), Arc::new(Faulty::default()));
        let environments = PythonEnvironmentManager::new(PathBuf::from("/none"));
        let backend: Arc<dyn SandboxBackend> = Arc::clone(&scripts) as _;
        let service = PythonSandboxService::new(backend, environments, options).with_store(Arc::clone(&store) as _);
        // No interpreter is needed here: the environment is ready, for as long as any test takes.
        let until = Instant::now() + Duration::from_hours(24);
        service.ready.lock().unwrap().insert("default".to_owned(), (until, plan().environment));
        Self { service, scripts, store }
    }

    async fn start(&self, code: &str) -> ExecutionId {
        self.service.start(SandboxExecutionRequest::new(code)).await.unwrap()
    }

    async fn running(&self, code: &str) -> ExecutionId {
        let id = self.start(code).await;
        while self.status(id).await != ExecutionStatus::Running {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        id
    }

    async fn status(&self, id: ExecutionId) -> ExecutionStatus {
        self.service.get_status(id).await.unwrap().status
    }

    async fn result(&self, id: ExecutionId) -> SandboxExecutionResult {
        self.service.get_result(id, Duration::from_mins(2)).await.unwrap().expect("it has ended")
    }

    async fn events(&self, id: ExecutionId, after: u64) -> Vec<ExecutionEvent> {
        self.service.events(id, after).await.unwrap().collect().await
    }

    fn launched(&self) -> usize {
        self.scripts.launched.lock().unwrap().len()
    }

    /// The next execution works, and everything before it was removed.
    async fn assert_next_works(&self) {
        let result = self.service.execute(SandboxExecutionRequest::new("next")).await.unwrap();
        assert_eq!((result.status, result.stdout.as_str()), (ExecutionStatus::Completed, "hello\n"));
        assert!(self.scripts.removed.lock().unwrap().iter().all(|removed| removed.load(Ordering::SeqCst)));
        self.assert_idle();
    }

    fn assert_idle(&self) {
        let state = self.service.queue_state();
        assert_eq!((state.running, state.waiting), (0, 0));
        assert!(self.service.live.lock().is_empty());
    }
}

fn names(events: &[ExecutionEvent]) -> Vec<&'static str> {
    events.iter().map(|event| event.what.name()).collect()
}

fn code<T>(outcome: Result<T, SandboxError>) -> ErrorCode {
    outcome.map_or_else(|error| error.code, |_| panic!("it did not fail"))
}

#[tokio::test(start_paused = true)]
async fn what_is_started_is_followed_to_its_end() {
    let bench = Bench::new();
    let id = bench.running("slow").await;
    assert_eq!(bench.service.get_result(id, Duration::ZERO).await.unwrap(), None);
    assert_eq!(bench.service.get_result(id, Duration::from_secs(1)).await.unwrap(), None);
    let live = bench.events(id, 0).await;
    let result = bench.result(id).await;
    assert_eq!((result.execution_id, result.stdout.as_str()), (id, "so far\n"));
    let (first, last) = (names(&live)[..2].to_vec(), *names(&live).last().unwrap());
    assert_eq!((first, last), (vec!["queued", "started"], "result"));
    assert!(names(&live).contains(&"usage"), "{live:?}");
    let past = bench.events(id, 0).await;
    assert_eq!(names(&past), names(&live));
    assert_eq!(past[..past.len() - 1], live[..live.len() - 1]);
    assert_eq!(names(&bench.events(id, live.len() as u64 - 1).await), ["result"]);
    assert_eq!(bench.status(id).await, ExecutionStatus::Completed);
    bench.assert_next_works().await;
}

#[tokio::test(start_paused = true)]
async fn what_runs_and_what_waits_can_be_cancelled() {
    let bench = Bench::new();
    let (running, waiting) = (bench.running("hang").await, bench.start("hang").await);
    assert_eq!(bench.service.get_status(waiting).await.unwrap().queue_position, Some(1));
    for id in [waiting, running] {
        assert_eq!(bench.service.cancel(id).await.unwrap(), Cancellation::Cancelled);
        assert_eq!(bench.result(id).await.termination.reason, TerminationReason::Cancelled);
        assert_eq!(bench.service.cancel(id).await.unwrap(), Cancellation::AlreadyCompleted);
    }
    assert_eq!(bench.launched(), 1);
    assert_eq!(code(bench.service.cancel(ExecutionId::generate()).await), ErrorCode::NotFound);
    bench.assert_next_works().await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_an_execution_hears_that_another_cancelled_it() {
    let bench = Bench::new();
    let running = bench.running("hang").await;
    let waiting = tokio::spawn({
        let service = bench.service.clone();
        async move { service.execute(SandboxExecutionRequest::new("waits")).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let listed = bench.service.list_for(&Caller::default(), Some(ExecutionStatus::Pending), None, 10).await.unwrap();
    assert_eq!(listed.len(), 1);
    let id = listed[0].execution_id;
    assert_eq!(bench.service.cancel(id).await.unwrap(), Cancellation::Cancelled);
    let result = waiting.await.unwrap().unwrap();
    assert_eq!((result.execution_id, result.status), (id, ExecutionStatus::Cancelled));
    assert_eq!(bench.result(id).await, result, "it is recorded");
    bench.service.cancel(running).await.unwrap();
    bench.assert_next_works().await;
}

#[tokio::test(start_paused = true)]
async fn a_name_is_of_one_execution() {
    let bench = Bench::new();
    let caller = Caller { owner: "mine".to_owned(), ..Caller::default() };
    let start = |code: &str, owner: &str| {
        let caller = Caller { owner: owner.to_owned(), ..Caller::default() };
        let (service, request) = (bench.service.clone(), SandboxExecutionRequest::new(code));
        async move { service.start_for(&caller, request, Some("name".to_owned())).await }
    };
    let (first, second, third) = tokio::join!(start("slow", "mine"), start("slow", "mine"), start("slow", "mine"));
    let id = first.unwrap();
    assert_eq!((second.unwrap(), third.unwrap()), (id, id));
    assert_eq!(code(start("other", "mine").await), ErrorCode::IdempotencyConflict);
    assert_ne!(start("slow", "another's").await.unwrap(), id);
    let options = ExecuteOptions { idempotency_key: Some("name".to_owned()), ..ExecuteOptions::default() };
    let outcome = bench.service.execute_for(&caller, SandboxExecutionRequest::new("slow"), options).await.unwrap();
    assert_eq!((outcome.result.execution_id, outcome.result.stdout.as_str()), (id, "so far\n"));
    assert_eq!(start("slow", "mine").await.unwrap(), id, "and after its end");
    bench.service.idle().await;
    assert_eq!(bench.launched(), 2);
    bench.assert_next_works().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_anothers_is_not_there() {
    let bench = Bench::new();
    let id = bench.running("slow").await;
    let other = Caller { owner: "other".to_owned(), allowance: Allowance::default() };
    for ended in [false, true] {
        let service = &bench.service;
        assert_eq!(code(service.status_for(&other, id).await), ErrorCode::NotFound);
        assert_eq!(code(service.result_for(&other, id, Duration::from_secs(1)).await), ErrorCode::NotFound);
        assert_eq!(code(service.cancel_for(&other, id).await), ErrorCode::NotFound);
        assert_eq!(code(service.events_for(&other, id, 0).await), ErrorCode::NotFound);
        assert_eq!(
            code(service.output_for(&other, id, OutputStream::Stdout, OutputRange::From(0)).await),
            ErrorCode::NotFound
        );
        assert_eq!(code(service.file_for(&other, id, "file").await), ErrorCode::NotFound);
        assert!(service.list_for(&other, None, None, 10).await.unwrap().is_empty());
        assert_eq!(service.list_for(&Caller::default(), None, None, 10).await.unwrap().len(), 1);
        if !ended {
            bench.result(id).await;
        }
    }
    bench.assert_next_works().await;
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_does_not_come_is_a_result_of_what_was_started() {
    let bench = Bench::new();
    let mut long = SandboxExecutionRequest::new("hang");
    long.timeout = Some(Duration::from_hours(1));
    let running = bench.service.start(long).await.unwrap();
    let waiting = bench.start("waits").await;
    let refused = bench.service.execute(SandboxExecutionRequest::new("waits_too")).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Busy);
    assert!(refused.retry_after.is_some());
    let result = bench.result(waiting).await;
    assert_eq!((result.status, result.termination.reason), (ExecutionStatus::Failed, TerminationReason::QueueTimeout));
    assert_eq!(names(&bench.events(waiting, 0).await), ["queued", "result"]);
    bench.service.cancel(running).await.unwrap();
    bench.assert_next_works().await;
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_cannot_be_made_is_a_result_of_what_was_started() {
    let bench = Bench::new();
    for (program, reason) in [
        ("broken", TerminationReason::NotStarted),
        ("fails", TerminationReason::SandboxFailure),
        ("killed", TerminationReason::OutOfMemory),
    ] {
        let id = bench.start(program).await;
        let result = bench.result(id).await;
        assert_eq!((result.status, result.termination.reason), (ExecutionStatus::Failed, reason), "{program}");
        assert_eq!(names(&bench.events(id, 0).await).last(), Some(&"result"));
    }
    // What is seen before is an error.
    assert_eq!(code(bench.service.start(SandboxExecutionRequest::new("import ctypes")).await), ErrorCode::CodeRejected);
    bench.assert_next_works().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_recorded_is_not_run() {
    let bench = Bench::new();
    bench.store.fail(&["enqueue"]);
    assert_eq!(code(bench.service.start(SandboxExecutionRequest::new("hang")).await), ErrorCode::StoreUnavailable);
    let named = ExecuteOptions { idempotency_key: Some("name".to_owned()), ..ExecuteOptions::default() };
    let outcome = bench.service.execute_for(&Caller::default(), SandboxExecutionRequest::new("hang"), named).await;
    assert_eq!(code(outcome), ErrorCode::StoreUnavailable);
    bench.assert_idle();
    assert_eq!(bench.launched(), 0);
    bench.store.fail(&["start"]);
    let id = bench.start("hang").await;
    assert_eq!(bench.result(id).await.termination.reason, TerminationReason::NotStarted);
    assert_eq!(bench.launched(), 0);
    bench.store.fail(&[]);
    bench.assert_next_works().await;
}

#[tokio::test(start_paused = true)]
async fn an_end_that_cannot_be_recorded_is_told_and_recorded_later() {
    let bench = Bench::new();
    bench.store.lost_ends.store(3, Ordering::SeqCst);
    // Who waits has the result at once.
    let asked = Instant::now();
    let result = bench.service.execute(SandboxExecutionRequest::new("print")).await.unwrap();
    assert!(asked.elapsed() < Duration::from_millis(100));
    assert_eq!(bench.service.get_status(result.execution_id).await.unwrap_err().code, ErrorCode::NotFound);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(bench.result(result.execution_id).await, result);

    bench.store.lost_ends.store(3, Ordering::SeqCst);
    let id = bench.start("slow").await;
    let events = bench.events(id, 0).await;
    assert_eq!(names(&events).last(), Some(&"result"), "whoever follows hears of it");
    assert_eq!(bench.result(id).await.stdout, "so far\n");
    assert_eq!(bench.status(id).await, ExecutionStatus::Completed);
    bench.assert_next_works().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_asked_is_told_from_what_is_unknown() {
    let bench = Bench::new();
    let id = bench.start("print").await;
    bench.result(id).await;
    bench.service.idle().await;
    bench.store.fail(&["record", "result", "events", "file", "list"]);
    let service = &bench.service;
    for id in [id, ExecutionId::generate()] {
        assert_eq!(code(service.get_status(id).await), ErrorCode::StoreUnavailable);
        assert_eq!(code(service.get_result(id, Duration::ZERO).await), ErrorCode::StoreUnavailable);
        assert_eq!(code(service.get_result(id, Duration::from_secs(1)).await), ErrorCode::StoreUnavailable);
        assert_eq!(code(service.cancel(id).await), ErrorCode::StoreUnavailable);
        assert_eq!(code(service.events(id, 0).await), ErrorCode::StoreUnavailable);
        assert_eq!(code(service.file_for(&Caller::default(), id, "a").await), ErrorCode::StoreUnavailable);
    }
    assert_eq!(code(service.list_for(&Caller::default(), None, None, 1).await), ErrorCode::StoreUnavailable);
    // What runs here is known without it.
    let running = bench.running("hang").await;
    assert_eq!(service.get_result(running, Duration::ZERO).await.unwrap(), None);
    assert_eq!(service.cancel(running).await.unwrap(), Cancellation::Cancelled);
    bench.store.fail(&[]);
    assert_eq!(bench.status(id).await, ExecutionStatus::Completed);
    bench.assert_next_works().await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_stops_lets_go_of_what_waits() {
    for release_fails in [false, true] {
        let bench = Bench::new();
        let running = bench.running("slow").await;
        let waiting = bench.start("waits").await;
        let follower = tokio::spawn(bench.service.events(waiting, 0).await.unwrap().collect::<Vec<_>>());
        let sync = tokio::spawn({
            let service = bench.service.clone();
            async move { service.execute(SandboxExecutionRequest::new("waits")).await }
        });
        let awaited = tokio::spawn({
            let service = bench.service.clone();
            async move { service.get_result(waiting, Duration::from_hours(1)).await }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        if release_fails {
            bench.store.fail(&["release"]);
        }
        bench.service.drain().await;
        assert_eq!(bench.store.released.load(Ordering::SeqCst), !release_fails);
        assert_eq!(code(sync.await.unwrap()), ErrorCode::Interrupted);
        assert_eq!(code(awaited.await.unwrap()), ErrorCode::Interrupted);
        assert_eq!(names(&follower.await.unwrap()), ["queued"]);
        assert_eq!(code(bench.service.execute(SandboxExecutionRequest::new("late")).await), ErrorCode::Interrupted);
        assert_eq!(bench.status(running).await, ExecutionStatus::Running, "what runs goes on");
        bench.service.idle().await;
        assert_eq!(bench.result(running).await.status, ExecutionStatus::Completed);
        assert_eq!(bench.status(waiting).await, ExecutionStatus::Pending, "another server will run it");
        assert_eq!(bench.launched(), 1);
        bench.assert_idle();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_just_ending_leaves_no_hole_in_a_list() {
    let bench = Bench::new();
    let old = bench.start("print").await;
    let result = bench.result(old).await;
    let running = bench.running("slow").await;
    // Its end is recorded a moment before it is told.
    let result = SandboxExecutionResult { execution_id: running, ..result };
    let finished = FinishedExecution {
        owner: String::new(),
        request_digest: String::new(),
        result,
        events: Vec::new(),
        files: Vec::new(),
        request: None,
    };
    assert!(bench.store.inner.finish(&finished).await.unwrap());
    let list = async |status, limit| {
        let listed = bench.service.list_for(&Caller::default(), status, None, limit).await.unwrap();
        listed.iter().map(|state| state.execution_id).collect::<Vec<_>>()
    };
    assert_eq!(list(Some(ExecutionStatus::Completed), 1).await, [running]);
    assert_eq!(list(Some(ExecutionStatus::Completed), 2).await, [running, old]);
    assert_eq!(list(None, 5).await, [running, old]);
    bench.service.idle().await;
    bench.assert_next_works().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_interrupted_has_a_result() {
    let bench = Bench::new();
    let running = bench.running("hang").await;
    bench.service.interrupt();
    bench.service.idle().await;
    assert_eq!(bench.result(running).await.termination.reason, TerminationReason::Interrupted);
    bench.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn one_that_another_server_has_is_not_run_here() {
    let bench = Bench::new();
    let running = bench.running("slow").await;
    let waiting = bench.start("waits").await;
    bench.store.taken.store(true, Ordering::SeqCst);
    bench.result(running).await;
    bench.service.idle().await;
    assert_eq!((bench.launched(), bench.status(waiting).await), (1, ExecutionStatus::Pending));
    // Its cancellation is the other one's business.
    assert_eq!(bench.service.cancel(waiting).await.unwrap(), Cancellation::Requested);
    assert_eq!(*bench.store.wanted.lock().unwrap(), [waiting]);
    bench.store.taken.store(false, Ordering::SeqCst);
    bench.assert_next_works().await;
}

fn left_behind(program: &str, timeout: Duration) -> NewExecution {
    let mut request = SandboxExecutionRequest::new(program);
    request.timeout = Some(timeout);
    NewExecution {
        id: ExecutionId::generate(),
        owner: String::new(),
        request_digest: "digest".to_owned(),
        idempotency_key: None,
        // Long ago: that it waited there is nothing that it is ended for here.
        queued_at: jiff::Timestamp::now() - jiff::SignedDuration::from_hours(5),
        request,
        allowance: Allowance::default(),
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_server_left_goes_on() {
    let bench = Bench::new();
    let second = Duration::from_secs(1);
    let queued: Vec<NewExecution> = ["one", "two", "import ctypes"].map(|program| left_behind(program, second)).into();
    // More than may wait are taken: they were accepted.
    let unlimited = left_behind("three", Duration::ZERO);
    let ran = left_behind("hang", second);
    let record = ExecutionRecord {
        id: ran.id,
        owner: ran.owner.clone(),
        request_digest: ran.request_digest.clone(),
        status: ExecutionStatus::Running,
        reason: None,
        queued_at: ran.queued_at,
        started_at: Some(ran.queued_at),
        finished_at: None,
    };
    *bench.store.left.lock().unwrap() = Inheritance {
        queued: [queued.clone(), vec![unlimited.clone()]].concat(),
        running: vec![(record, ran.request.clone())],
    };
    bench.store.fail(&["inherit"]);
    assert_eq!(code(bench.service.recover().await), ErrorCode::StoreUnavailable);
    bench.store.fail(&[]);
    assert_eq!(bench.service.recover().await.unwrap(), (4, 1));
    for execution in &queued[..2] {
        let result = bench.result(execution.id).await;
        assert_eq!((result.stdout.as_str(), result.queued_at), ("hello\n", execution.queued_at));
    }
    for refused in [&queued[2], &unlimited] {
        let result = bench.result(refused.id).await;
        assert_eq!(
            (result.status, result.termination.reason),
            (ExecutionStatus::Failed, TerminationReason::NotStarted)
        );
    }
    let lost = bench.result(ran.id).await;
    assert_eq!((lost.termination.reason, lost.started_at), (TerminationReason::Interrupted, Some(ran.queued_at)));
    assert_eq!(names(&bench.events(ran.id, 0).await), ["queued", "started", "result"]);
    assert_eq!(*bench.scripts.launched.lock().unwrap(), [queued[0].id, queued[1].id], "each once, in their order");
    assert_eq!(bench.service.recover().await.unwrap(), (0, 0));
    bench.service.idle().await;
    bench.assert_next_works().await;
}

#[tokio::test(start_paused = true)]
async fn what_another_server_was_asked_to_cancel_is_cancelled() {
    let bench = Bench::new();
    let running = bench.running("hang").await;
    let retention = Retention { max_age: Duration::from_hours(1), max_bytes: u64::MAX };
    let keeping_up = tokio::spawn({
        let service = bench.service.clone();
        async move { service.keep_up(retention).await }
    });
    // A store that fails for a while is asked again.
    bench.store.fail(&["cancel_requests", "inherit"]);
    bench.store.wanted.lock().unwrap().push(running);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(bench.status(running).await, ExecutionStatus::Running);
    bench.store.fail(&[]);
    assert_eq!(bench.result(running).await.termination.reason, TerminationReason::Cancelled);
    bench.assert_next_works().await;
    bench.service.drain().await;
    keeping_up.await.unwrap();
}
