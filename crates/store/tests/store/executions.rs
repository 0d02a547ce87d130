//! Records: written, ended once, and shown to their owner.

use std::{sync::Arc, time::Duration};

use aevatar_sandbox_contract::{
    ExecutionEvent, ExecutionId, ExecutionQuery, ExecutionRecord, ExecutionState, ExecutionStatus, ExecutionStore,
    FinishedExecution, LiveUsage, LostEvents, NewExecution, Occurrence, OutputPiece, Progress, Recorded,
    TerminationReason,
};
use sqlx::Row;

use crate::{
    data::{OWNER, at, ended, file, named, result, waiting},
    place::Place,
};

pub(crate) async fn what_waits_is_started_and_ended_once(place: Place) {
    let store = place.open().await;
    let execution = waiting();
    let id = execution.id;
    assert_eq!(store.enqueue(&execution).await.unwrap(), Recorded::New);
    let mut record = ExecutionRecord {
        id,
        owner: OWNER.to_owned(),
        request_digest: "d1".to_owned(),
        status: ExecutionStatus::Pending,
        reason: None,
        queued_at: at(0),
        started_at: None,
        finished_at: None,
    };
    assert_eq!(store.record(OWNER, id).await.unwrap(), Some(record.clone()));
    assert_eq!(store.result(OWNER, id).await.unwrap(), None);
    assert_eq!(store.events(OWNER, id).await.unwrap(), None);

    assert!(store.start(id, at(1)).await.unwrap());
    assert!(!store.start(id, at(3)).await.unwrap());
    record.status = ExecutionStatus::Running;
    record.started_at = Some(at(1));
    assert_eq!(store.record(OWNER, id).await.unwrap(), Some(record.clone()));

    assert!(store.finish(&ended(id)).await.unwrap());
    let mut other = ended(id);
    other.result.status = ExecutionStatus::Cancelled;
    other.files = vec![file("late", b"late")];
    assert!(!store.finish(&other).await.unwrap());
    assert!(!store.start(id, at(3)).await.unwrap());
    record.status = ExecutionStatus::Failed;
    record.reason = Some(TerminationReason::Exception);
    record.finished_at = Some(at(2));
    assert_eq!(store.record(OWNER, id).await.unwrap(), Some(record));
    assert_eq!(store.result(OWNER, id).await.unwrap(), Some(result(id)));
    assert_eq!(store.events(OWNER, id).await.unwrap(), Some(Vec::new()));
    assert_eq!(store.file(OWNER, id, "late").await.unwrap(), None);

    let unused = ExecutionId::generate();
    assert!(!store.start(unused, at(1)).await.unwrap());
    assert_eq!(store.record(OWNER, unused).await.unwrap(), None);
    assert!(store.enqueue(&execution).await.is_err(), "an id is there once");
}

pub(crate) async fn what_was_not_recorded_is_recorded_at_its_end(place: Place) {
    let store = place.open().await;
    let mut execution = ended(ExecutionId::generate());
    let id = execution.result.execution_id;
    execution.result.started_at = None;
    assert!(store.finish(&execution).await.unwrap());
    assert!(!store.finish(&execution).await.unwrap());
    let record = store.record(OWNER, id).await.unwrap().unwrap();
    assert_eq!((record.queued_at, record.started_at, record.finished_at), (at(0), None, Some(at(2))));
    assert_eq!(store.result(OWNER, id).await.unwrap(), Some(execution.result));
}

pub(crate) async fn of_two_ends_at_the_same_time_one_stands(place: Place) {
    let stores = [Arc::new(place.open().await), Arc::new(place.open().await)];
    for recorded in [false, true] {
        for _ in 0..10 {
            let execution = waiting();
            if recorded {
                stores[0].enqueue(&execution).await.unwrap();
                assert!(!stores[1].start(execution.id, at(1)).await.unwrap(), "it is the other server's");
                assert!(stores[0].start(execution.id, at(1)).await.unwrap());
            }
            let tasks: Vec<_> = (0..8)
                .map(|number| {
                    let store = Arc::clone(&stores[number % 2]);
                    let mut end = ended(execution.id);
                    end.result.stdout = number.to_string();
                    end.files = vec![file("a", b"a")];
                    tokio::spawn(async move { store.finish(&end).await.unwrap() })
                })
                .collect();
            let mut stood = Vec::new();
            for (number, task) in tasks.into_iter().enumerate() {
                if task.await.unwrap() {
                    stood.push(number);
                }
            }
            assert_eq!(stood.len(), 1, "{stood:?}");
            assert!(!recorded || stood[0] % 2 == 0, "only its server ends it");
            let result = stores[1].result(OWNER, execution.id).await.unwrap().unwrap();
            assert_eq!(result.stdout, stood[0].to_string());
        }
    }
}

pub(crate) async fn a_name_is_one_execution(place: Place) {
    let store = place.open().await;
    let first = named("name", "d1");
    assert_eq!(store.enqueue(&first).await.unwrap(), Recorded::New);
    assert_eq!(store.enqueue(&named("name", "d1")).await.unwrap(), Recorded::Same(first.id));
    assert_eq!(store.enqueue(&named("name", "d2")).await.unwrap(), Recorded::Conflict(first.id));
    assert_eq!(store.enqueue(&named("other", "d1")).await.unwrap(), Recorded::New);
    let others = NewExecution { owner: "k_other".to_owned(), ..named("name", "d1") };
    assert_eq!(store.enqueue(&others).await.unwrap(), Recorded::New);
    for _ in 0..2 {
        assert_eq!(store.enqueue(&waiting()).await.unwrap(), Recorded::New, "without a name, all are new");
    }
    store.finish(&ended(first.id)).await.unwrap();
    assert_eq!(store.enqueue(&named("name", "d1")).await.unwrap(), Recorded::Same(first.id));
}

pub(crate) async fn of_many_that_use_a_name_at_the_same_time_one_is_new(place: Place) {
    let stores = [Arc::new(place.open().await), Arc::new(place.open().await)];
    for round in 0..5 {
        let tasks: Vec<_> = (0..8)
            .map(|number| {
                let store = Arc::clone(&stores[number % 2]);
                tokio::spawn(async move {
                    let execution = named(&format!("name {round}"), "d1");
                    (execution.id, store.enqueue(&execution).await.unwrap())
                })
            })
            .collect();
        let (mut new, mut same) = (Vec::new(), Vec::new());
        for task in tasks {
            match task.await.unwrap() {
                (id, Recorded::New) => new.push(id),
                (_, Recorded::Same(id)) => same.push(id),
                (_, Recorded::Conflict(id)) => panic!("{id}"),
            }
        }
        assert_eq!(new.len(), 1);
        assert_eq!(same, [new[0]; 7]);
    }
}

pub(crate) async fn names_may_have_any_characters(place: Place) {
    let store = place.open().await;
    for key in ["\0", "", "ключ\u{fffd}", &"x".repeat(100_000)] {
        let execution = named(key, "d1");
        assert_eq!(store.enqueue(&execution).await.unwrap(), Recorded::New);
        assert_eq!(store.enqueue(&named(key, "d1")).await.unwrap(), Recorded::Same(execution.id));
    }
    store.close().await;
    let keys = place.open().await.inherit().await.unwrap().queued.into_iter().map(|found| found.idempotency_key);
    assert_eq!(keys.map(|key| key.unwrap().len()).collect::<Vec<_>>(), [1, 0, 11, 100_000]);
}

pub(crate) async fn what_belongs_to_somebody_else_is_not_there(place: Place) {
    let store = place.open().await;
    let execution = waiting();
    let id = execution.id;
    store.enqueue(&execution).await.unwrap();
    assert!(!store.request_cancel("k_other", id).await.unwrap());
    let mut end = ended(id);
    end.files = vec![file("a", b"a")];
    store.finish(&end).await.unwrap();
    for other in ["k_other", "", "k_owner "] {
        assert_eq!(store.record(other, id).await.unwrap(), None);
        assert_eq!(store.result(other, id).await.unwrap(), None);
        assert_eq!(store.events(other, id).await.unwrap(), None);
        assert_eq!(store.file(other, id, "a").await.unwrap(), None);
        let query = ExecutionQuery { owner: other.to_owned(), limit: 10, ..ExecutionQuery::default() };
        assert_eq!(store.list(&query).await.unwrap(), Vec::new());
    }
    assert!(store.file(OWNER, id, "a").await.unwrap().is_some());
}

pub(crate) async fn pages_are_listed_from_the_newest(place: Place) {
    let store = place.open().await;
    let mut ids = Vec::new();
    for number in 0..7 {
        let execution = waiting();
        ids.insert(0, execution.id);
        store.enqueue(&execution).await.unwrap();
        if number % 2 == 0 {
            store.finish(&ended(execution.id)).await.unwrap();
        }
    }
    let page = async |status: Option<ExecutionStatus>, before: Option<ExecutionId>, limit: u32| -> Vec<ExecutionId> {
        let query = ExecutionQuery { owner: OWNER.to_owned(), status, before, limit };
        store.list(&query).await.unwrap().into_iter().map(|record| record.id).collect()
    };
    assert_eq!(page(None, None, 100).await, ids);
    assert_eq!(page(None, None, 3).await, ids[..3]);
    assert_eq!(page(None, Some(ids[2]), 3).await, ids[3..6]);
    assert_eq!(page(None, Some(ids[5]), 3).await, ids[6..]);
    assert_eq!(page(None, Some(ids[6]), 3).await, []);
    assert_eq!(page(None, None, 0).await, []);
    assert_eq!(page(Some(ExecutionStatus::Pending), None, 10).await, [ids[1], ids[3], ids[5]]);
    assert_eq!(page(Some(ExecutionStatus::Failed), Some(ids[2]), 1).await, [ids[4]]);
}

pub(crate) async fn files_come_back_whatever_their_names(place: Place) {
    let store = place.open().await;
    let deep = vec!["x".repeat(255); 15].join("/");
    let paths = ["a.txt", "'; --\"", "ä/\u{202e}\u{1f600}\n\u{7f}", "%00 $1 \\x00", " ", &deep];
    let mut end = ended(ExecutionId::generate());
    let id = end.result.execution_id;
    let all: Vec<u8> = (0..=255).cycle().take(3 << 20).collect();
    end.files = paths.iter().map(|path| file(path, &all)).collect();
    end.files.push(file("empty", b""));
    assert!(store.finish(&end).await.unwrap());
    for expected in &end.files {
        assert_eq!(store.file(OWNER, id, &expected.file.path).await.unwrap().as_ref(), Some(expected));
    }
    assert_eq!(store.file(OWNER, id, "A.TXT").await.unwrap(), None);
    assert_eq!(store.file(OWNER, id, "a.txt\0").await.unwrap(), None);
    assert_eq!(store.file(OWNER, ExecutionId::generate(), "a.txt").await.unwrap(), None);
}

pub(crate) async fn all_characters_of_output_come_back(place: Place) {
    let store = place.open().await;
    let mut end = ended(ExecutionId::generate());
    let id = end.result.execution_id;
    end.result.stdout = "\0 \u{fffd} \\u0000 \u{1} \u{7f} \u{85} \u{feff} \u{10ffff} \r\n".repeat(100_000);
    end.result.stderr.push('\0');
    end.result.termination.message.push('\0');
    let piece = OutputPiece { offset: u64::MAX, text: "\0\u{fffd}".to_owned() };
    end.events = vec![ExecutionEvent { id: 1, at: at(0), what: Occurrence::Stdout(piece) }];
    assert!(store.finish(&end).await.unwrap());
    assert_eq!(store.result(OWNER, id).await.unwrap(), Some(end.result));
    assert_eq!(store.events(OWNER, id).await.unwrap(), Some(end.events));
}

pub(crate) async fn events_of_all_kinds_come_back(place: Place) {
    let store = place.open().await;
    let mut end = ended(ExecutionId::generate());
    let id = end.result.execution_id;
    let state = ExecutionState {
        execution_id: id,
        status: ExecutionStatus::Pending,
        is_completed: false,
        reason: None,
        queue_position: Some(3),
        queued_at: at(0),
        started_at: None,
        finished_at: None,
        elapsed: Duration::from_micros(1_001),
        progress: Some(Progress { fraction: Some(0.1), message: None }),
        usage: Some(LiveUsage { memory_bytes: Some(u64::MAX), ..LiveUsage::default() }),
    };
    let piece = OutputPiece { offset: 0, text: "text".to_owned() };
    let happened = [
        Occurrence::Queued(state.clone()),
        Occurrence::Started(state),
        Occurrence::Stdout(piece.clone()),
        Occurrence::Stderr(piece),
        // Not the nearest when it is read carelessly.
        Occurrence::Progress(Progress { fraction: Some(0.123_456_789_012_345_67), message: Some("half".to_owned()) }),
        Occurrence::Usage(LiveUsage::default()),
        Occurrence::Lost(LostEvents { events: 2 }),
        Occurrence::Result(Box::new(result(id))),
    ];
    end.events = (1..).zip(happened).map(|(id, what)| ExecutionEvent { id, at: at(0), what }).collect();
    assert!(store.finish(&end).await.unwrap());
    assert_eq!(store.events(OWNER, id).await.unwrap(), Some(end.events));
}

pub(crate) async fn programs_are_kept_only_where_they_are_to_be(place: Place) {
    let store = place.open().await;
    let mut database = place.connect().await;
    for keep in [false, true] {
        let execution = waiting();
        let id = execution.id.to_string();
        store.enqueue(&execution).await.unwrap();
        let mut request = async || -> Option<String> {
            let query = sqlx::query("SELECT request, bytes FROM sandbox_executions WHERE id = $1").bind(&id);
            let row = query.fetch_one(&mut database).await.unwrap();
            assert!(row.get::<i64, _>("bytes") > 100);
            row.get("request")
        };
        assert_eq!(request().await.unwrap(), serde_json::to_string(&execution.request).unwrap());
        assert!(store.start(execution.id, at(1)).await.unwrap());
        assert!(request().await.is_some());
        let end = FinishedExecution { request: keep.then_some(execution.request), ..ended(execution.id) };
        assert!(store.finish(&end).await.unwrap());
        assert_eq!(request().await.is_some(), keep);
    }
}

pub(crate) async fn a_cancellation_reaches_the_server_that_has_it(place: Place) {
    let (store, other) = (place.open().await, place.open().await);
    let executions = [waiting(), waiting(), waiting()];
    for execution in &executions {
        store.enqueue(execution).await.unwrap();
    }
    let [first, second, third] = executions.map(|execution| execution.id);
    store.start(first, at(1)).await.unwrap();
    store.finish(&ended(third)).await.unwrap();
    assert_eq!(store.cancel_requests().await.unwrap(), []);
    assert!(other.request_cancel(OWNER, first).await.unwrap());
    assert!(other.request_cancel(OWNER, second).await.unwrap());
    assert!(other.request_cancel(OWNER, second).await.unwrap());
    assert!(!other.request_cancel(OWNER, third).await.unwrap());
    assert!(!other.request_cancel(OWNER, ExecutionId::generate()).await.unwrap());
    assert_eq!(other.cancel_requests().await.unwrap(), []);
    assert_eq!(store.cancel_requests().await.unwrap(), [first, second]);
    store.finish(&ended(first)).await.unwrap();
    assert_eq!(store.cancel_requests().await.unwrap(), [second]);
    // It is not forgotten when the execution moves.
    store.close().await;
    other.inherit().await.unwrap();
    assert_eq!(other.cancel_requests().await.unwrap(), [second]);
}

pub(crate) async fn statements_in_values_are_values(place: Place) {
    let store = place.open().await;
    let hostile = "'; DROP TABLE sandbox_executions; --";
    let mut end = ended(ExecutionId::generate());
    let id = end.result.execution_id;
    hostile.clone_into(&mut end.owner);
    hostile.clone_into(&mut end.request_digest);
    hostile.clone_into(&mut end.result.stdout);
    assert!(store.finish(&end).await.unwrap());
    assert_eq!(store.record(hostile, id).await.unwrap().unwrap().request_digest, hostile);
    let query = ExecutionQuery { owner: hostile.to_owned(), limit: 5, ..ExecutionQuery::default() };
    assert_eq!(store.list(&query).await.unwrap().len(), 1);
    assert_eq!(store.record("' OR '1' = '1", id).await.unwrap(), None);
}
