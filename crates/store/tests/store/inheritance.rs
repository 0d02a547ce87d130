//! Servers that die, and those that take over.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aevatar_sandbox_contract::{ExecutionId, ExecutionStatus, ExecutionStore, Inheritance};
use aevatar_sandbox_store::Store;
use sqlx::{AnyConnection, Row};

use crate::{
    data::{OWNER, at, ended, named, waiting},
    place::{Place, location_of},
};

/// Set to a location, this program is a server that records something and waits for its end.
pub(crate) const CHILD: &str = "SANDBOX_STORE_TEST_CHILD";

pub(crate) fn child(location: &str) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Store::open(location_of(location)).await.unwrap();
        for number in 0..4 {
            let mut execution = named(&format!("name {number} of {}", std::process::id()), "d1");
            execution.queued_at = at(number);
            store.enqueue(&execution).await.unwrap();
            if number == 1 {
                assert!(store.start(execution.id, at(9)).await.unwrap());
            }
            println!("{}", execution.id);
        }
        std::io::stdout().flush().unwrap();
        // The tests kill it long before.
        tokio::time::sleep(Duration::from_mins(1)).await;
    });
    ExitCode::FAILURE
}

/// A server in a process of its own, and its executions: the second one runs.
struct Server {
    process: Child,
    ids: Vec<ExecutionId>,
}

impl Server {
    fn start(place: &Place) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .env(CHILD, &place.text)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ids = lines.take(4).map(|line| line.unwrap().parse().unwrap()).collect();
        Self { process, ids }
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn ids_of(inheritance: &Inheritance) -> Vec<ExecutionId> {
    let queued = inheritance.queued.iter().map(|execution| execution.id);
    queued.chain(inheritance.running.iter().map(|(record, _)| record.id)).collect()
}

/// PostgreSQL notices a moment later that a client is gone.
async fn until_there_is_something(store: &Store) -> Inheritance {
    for _ in 0..500 {
        let inheritance = store.inherit().await.unwrap();
        if inheritance != Inheritance::default() {
            return inheritance;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nothing was taken over for ten seconds");
}

pub(crate) async fn what_a_killed_server_had_is_taken_over(place: Place) {
    let store = place.open().await;
    let mut server = Server::start(&place);
    assert_eq!(store.inherit().await.unwrap(), Inheritance::default(), "it lives");
    assert!(!store.start(server.ids[0], at(1)).await.unwrap());
    server.kill();

    let inheritance = until_there_is_something(&store).await;
    let queued: Vec<ExecutionId> = inheritance.queued.iter().map(|execution| execution.id).collect();
    assert_eq!(queued, [server.ids[0], server.ids[2], server.ids[3]], "the oldest first");
    let mut expected = named(&format!("name 2 of {}", server.process.id()), "d1");
    expected.id = server.ids[2];
    expected.queued_at = at(2);
    assert_eq!(inheritance.queued[1], expected);
    let [(record, request)] = &inheritance.running[..] else { panic!("{inheritance:?}") };
    assert_eq!((record.id, record.status, record.started_at), (server.ids[1], ExecutionStatus::Running, Some(at(9))));
    assert_eq!(*request, expected.request);

    assert_eq!(store.inherit().await.unwrap(), Inheritance::default(), "only once");
    assert!(store.start(server.ids[0], at(10)).await.unwrap());
    for id in &server.ids {
        assert!(store.finish(&ended(*id)).await.unwrap());
    }
}

pub(crate) async fn of_two_heirs_only_one_gets_an_execution(place: Place) {
    for _ in 0..3 {
        let stores: Vec<Arc<Store>> = vec![Arc::new(place.open().await), Arc::new(place.open().await)];
        let released = place.open().await;
        let mut expected = BTreeSet::new();
        for _ in 0..20 {
            let execution = waiting();
            expected.insert(execution.id);
            released.enqueue(&execution).await.unwrap();
        }
        released.release().await.unwrap();
        let mut servers = [Server::start(&place), Server::start(&place)];
        for server in &mut servers {
            expected.extend(&server.ids);
            server.kill();
        }
        let found = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..4)
            .map(|number| {
                let (store, found, all) = (Arc::clone(&stores[number % 2]), Arc::clone(&found), expected.len());
                tokio::spawn(async move {
                    let mut got = Vec::new();
                    for _ in 0..1000 {
                        // Once more after all were found: some might be found twice.
                        let is_last = found.load(Ordering::Relaxed) >= all;
                        let more = ids_of(&store.inherit().await.unwrap());
                        found.fetch_add(more.len(), Ordering::Relaxed);
                        got.extend(more);
                        if is_last {
                            break;
                        }
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    got
                })
            })
            .collect();
        let mut got = Vec::new();
        for task in tasks {
            got.extend(task.await.unwrap());
        }
        got.sort();
        assert_eq!(got, expected.into_iter().collect::<Vec<_>>(), "each once, and none is left out");
        for id in got {
            let mut ends = 0;
            for store in &stores {
                ends += u32::from(store.finish(&ended(id)).await.unwrap());
            }
            assert_eq!(ends, 1);
        }
    }
}

pub(crate) async fn what_was_let_go_is_taken_over_and_not_started(place: Place) {
    let (store, heir) = (place.open().await, place.open().await);
    let (running, queued) = (waiting(), waiting());
    store.enqueue(&running).await.unwrap();
    store.enqueue(&queued).await.unwrap();
    assert!(store.start(running.id, at(1)).await.unwrap());
    store.release().await.unwrap();
    assert!(!store.start(queued.id, at(1)).await.unwrap());
    assert!(!store.finish(&ended(queued.id)).await.unwrap());
    assert!(store.finish(&ended(running.id)).await.unwrap(), "what runs goes on here");
    let inheritance = heir.inherit().await.unwrap();
    assert_eq!(inheritance, Inheritance { queued: vec![queued.clone()], running: Vec::new() });
    assert!(heir.start(queued.id, at(1)).await.unwrap());
    assert!(heir.finish(&ended(queued.id)).await.unwrap());

    // The same store may take it back.
    let again = waiting();
    store.enqueue(&again).await.unwrap();
    store.release().await.unwrap();
    assert_eq!(ids_of(&store.inherit().await.unwrap()), [again.id]);
    assert!(store.start(again.id, at(1)).await.unwrap());
}

pub(crate) async fn a_server_that_lives_is_left_alone(place: Place) {
    let (store, other) = (place.open().await, place.open().await);
    let execution = waiting();
    store.enqueue(&execution).await.unwrap();
    for _ in 0..3 {
        assert_eq!(other.inherit().await.unwrap(), Inheritance::default());
        assert_eq!(store.inherit().await.unwrap(), Inheritance::default(), "its own is not inherited");
    }
    assert!(!other.finish(&ended(execution.id)).await.unwrap());
    assert!(store.start(execution.id, at(1)).await.unwrap());
}

pub(crate) async fn a_closed_store_is_a_dead_server(place: Place) {
    let store = place.open().await;
    let executions = [waiting(), waiting()];
    for execution in &executions {
        store.enqueue(execution).await.unwrap();
    }
    store.start(executions[1].id, at(1)).await.unwrap();
    store.close().await;
    assert!(store.record(OWNER, executions[0].id).await.is_err());
    let store = place.open().await;
    let inheritance = until_there_is_something(&store).await;
    let ids = executions.map(|execution| execution.id);
    assert_eq!(ids_of(&inheritance), ids);

    // An heir that dies, too, has heirs.
    store.close().await;
    let store = place.open().await;
    assert_eq!(ids_of(&until_there_is_something(&store).await), ids);
}

/// The processes of PostgreSQL that hold locks of servers.
async fn lock_holders(database: &mut AnyConnection) -> Vec<i32> {
    let query = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    sqlx::query(query).fetch_all(database).await.unwrap().iter().map(|row| row.get("pid")).collect()
}

async fn end_sessions(database: &mut AnyConnection, sessions: &[i32]) {
    for session in sessions {
        sqlx::query("SELECT pg_terminate_backend($1)").bind(session).execute(&mut *database).await.unwrap();
    }
}

async fn until_one_holds_a_lock(database: &mut AnyConnection, before: &[i32]) {
    for _ in 0..200 {
        let now = lock_holders(database).await;
        if now.len() == before.len() && now != before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no new session for ten seconds");
}

pub(crate) async fn a_lost_session_is_made_again(place: Place) {
    let store = place.open().await;
    let mut database = place.connect().await;
    let execution = waiting();
    store.enqueue(&execution).await.unwrap();
    let sessions = lock_holders(&mut database).await;
    assert_eq!(sessions.len(), 1);
    end_sessions(&mut database, &sessions).await;
    until_one_holds_a_lock(&mut database, &sessions).await;
    let other = place.open().await;
    assert_eq!(other.inherit().await.unwrap(), Inheritance::default());
    assert!(store.start(execution.id, at(1)).await.unwrap(), "nobody took it over meanwhile");
    store.close().await;
    assert_eq!(ids_of(&until_there_is_something(&other).await), [execution.id]);
}

pub(crate) async fn a_server_without_its_old_lock_is_a_new_one(place: Place) {
    let (store, heir) = (place.open().await, place.open().await);
    let mut database = place.connect().await;
    let (queued, running) = (waiting(), waiting());
    store.enqueue(&queued).await.unwrap();
    store.enqueue(&running).await.unwrap();
    store.start(running.id, at(1)).await.unwrap();
    let old: String =
        sqlx::query_scalar("SELECT server FROM sandbox_executions").fetch_one(&mut database).await.unwrap();

    // Somebody else has the lock as soon as the session ends.
    let (_, lock) = old.parse::<uuid::Uuid>().unwrap().as_u64_pair();
    let mut third = place.connect().await;
    let wait = tokio::spawn(async move {
        sqlx::query("SELECT pg_advisory_lock($1)").bind(lock.cast_signed()).execute(&mut third).await.unwrap();
        third
    });
    let sessions = lock_holders(&mut database).await;
    assert_eq!(sessions.len(), 1);
    end_sessions(&mut database, &sessions).await;
    let third = wait.await.unwrap();
    for _ in 0..200 {
        if lock_holders(&mut database).await.len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    assert!(!store.start(queued.id, at(1)).await.unwrap());
    assert!(!store.finish(&ended(running.id)).await.unwrap());
    let another = waiting();
    store.enqueue(&another).await.unwrap();
    assert_eq!(heir.inherit().await.unwrap(), Inheritance::default(), "the lock is somebody's");
    drop(third);
    assert_eq!(ids_of(&until_there_is_something(&heir).await), [queued.id, running.id]);
    assert!(heir.start(queued.id, at(1)).await.unwrap());
    assert!(store.start(another.id, at(1)).await.unwrap());
}
