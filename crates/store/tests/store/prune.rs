//! What is removed.

use std::time::Duration;

use aevatar_sandbox_contract::{ExecutionId, ExecutionQuery, ExecutionStore, Recorded, Retention};
use aevatar_sandbox_store::Store;
use jiff::Timestamp;
use sqlx::Row;

use crate::{
    data::{OWNER, at, ended, ended_at, file, named, waiting},
    place::Place,
};

const FOREVER: Duration = Duration::MAX;

const MIB: usize = 1 << 20;

async fn listed(store: &Store) -> Vec<ExecutionId> {
    let query = ExecutionQuery { owner: OWNER.to_owned(), limit: 1000, ..ExecutionQuery::default() };
    store.list(&query).await.unwrap().into_iter().map(|record| record.id).collect()
}

pub(crate) async fn what_is_old_goes(place: Place) {
    let store = place.open().await;
    let mut young = ended(ExecutionId::generate());
    young.result.finished_at = Timestamp::now() - Duration::from_mins(30);
    store.finish(&young).await.unwrap();
    for number in 0..250 {
        store.finish(&ended_at(number)).await.unwrap();
    }
    let none = Retention { max_age: FOREVER, max_bytes: u64::MAX };
    assert_eq!(store.prune(none).await.unwrap(), 0);
    let hour = Retention { max_age: Duration::from_hours(1), max_bytes: u64::MAX };
    assert_eq!(store.prune(hour).await.unwrap(), 250);
    assert_eq!(store.prune(hour).await.unwrap(), 0);
    assert_eq!(listed(&store).await, [young.result.execution_id]);
    assert_eq!(store.prune(Retention { max_age: Duration::ZERO, ..hour }).await.unwrap(), 1);
}

pub(crate) async fn the_oldest_go_until_the_rest_fits(place: Place) {
    let store = place.open().await;
    let mut ids = Vec::new();
    // They end in another order than they were made in.
    for second in [3, 1, 2, 0] {
        let mut end = ended_at(second);
        ids.push(end.result.execution_id);
        end.files = vec![file("a", &vec![0; MIB])];
        store.finish(&end).await.unwrap();
    }
    let [third, first, second, zeroth] = ids[..] else { panic!() };
    let keep = |mebibytes: usize| Retention { max_age: FOREVER, max_bytes: (mebibytes * MIB + MIB / 2) as u64 };
    assert_eq!(store.prune(keep(4)).await.unwrap(), 0);
    assert_eq!(store.prune(keep(2)).await.unwrap(), 2);
    assert_eq!(store.record(OWNER, zeroth).await.unwrap(), None);
    assert_eq!(store.record(OWNER, first).await.unwrap(), None);
    assert_eq!(listed(&store).await, [second, third]);
    let mut database = place.connect().await;
    let files = sqlx::query("SELECT COUNT(*) AS files FROM sandbox_files").fetch_one(&mut database).await.unwrap();
    assert_eq!(files.get::<i64, _>("files"), 2, "files go with their execution");
    assert_eq!(store.prune(Retention { max_age: FOREVER, max_bytes: 0 }).await.unwrap(), 2);
}

pub(crate) async fn what_has_not_ended_stays(place: Place) {
    let store = place.open().await;
    let executions = [waiting(), waiting()];
    for execution in &executions {
        store.enqueue(execution).await.unwrap();
    }
    store.start(executions[0].id, at(1)).await.unwrap();
    store.finish(&ended_at(0)).await.unwrap();
    assert_eq!(store.prune(Retention { max_age: Duration::ZERO, max_bytes: 0 }).await.unwrap(), 1);
    assert_eq!(listed(&store).await.len(), 2);
}

pub(crate) async fn a_name_is_free_when_its_execution_is_gone(place: Place) {
    let store = place.open().await;
    let first = named("name", "d1");
    store.enqueue(&first).await.unwrap();
    store.finish(&ended(first.id)).await.unwrap();
    assert_eq!(store.enqueue(&named("name", "d2")).await.unwrap(), Recorded::Conflict(first.id));
    assert_eq!(store.prune(Retention { max_age: Duration::from_secs(1), max_bytes: u64::MAX }).await.unwrap(), 1);
    assert_eq!(store.enqueue(&named("name", "d2")).await.unwrap(), Recorded::New);
}

pub(crate) async fn the_file_gets_smaller(place: Place) {
    let store = place.open().await;
    for second in 0..6 {
        let mut end = ended_at(second);
        end.files = vec![file("a", &vec![0; 8 * MIB])];
        store.finish(&end).await.unwrap();
    }
    assert_eq!(store.prune(Retention { max_age: FOREVER, max_bytes: 0 }).await.unwrap(), 6);
    store.close().await;
    let length = fs_err::metadata(place.folder().join("executions.sqlite")).unwrap().len();
    assert!(length < MIB as u64, "{length}");
}
