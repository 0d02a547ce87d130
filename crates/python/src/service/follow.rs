//! Answering for executions: where they are, what came of them, what they wrote; and ending them.

use std::{collections::VecDeque, time::Duration};

use aevatar_sandbox_contract::{
    Caller, Cancellation, CollectedFile, ErrorCode, ExecutionEvent, ExecutionId, ExecutionQuery, ExecutionRecord,
    ExecutionState, ExecutionStatus, Occurrence, OutputPart, OutputPiece, OutputStream, SandboxError,
    SandboxExecutionResult, TerminationReason,
};
use futures_util::{Stream, StreamExt as _, stream};

use super::{
    Live, PythonSandboxService,
    accept::{broken_off, store_failed},
};
use crate::feed::{FeedReader, output_of};

/// How often it is looked at what another server does.
const ELSEWHERE_PAUSE: Duration = Duration::from_millis(250);
/// How long a cancelled execution may take to end before its cancellation is answered.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

/// Which part of a stream of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputRange {
    /// What comes after so many bytes.
    From(u64),
    /// The last so many bytes.
    Last(u64),
}

impl PythonSandboxService {
    /// Where an execution is.
    ///
    /// # Errors
    /// There is none, or the store failed.
    pub async fn get_status(&self, id: ExecutionId) -> Result<ExecutionState, SandboxError> {
        self.status_for(&Caller::default(), id).await
    }

    /// The same for `caller`.
    ///
    /// # Errors
    /// There is none of theirs, or the store failed.
    pub async fn status_for(&self, caller: &Caller, id: ExecutionId) -> Result<ExecutionState, SandboxError> {
        if let Some(live) = self.live.get(&caller.owner, id) {
            return Ok(self.live_state(&live));
        }
        Ok(recorded_state(&self.recorded(caller, id).await?))
    }

    /// What came of an execution; nothing when it has not ended within `wait`.
    ///
    /// # Errors
    /// There is none, or the store failed.
    pub async fn get_result(
        &self,
        id: ExecutionId,
        wait: Duration,
    ) -> Result<Option<SandboxExecutionResult>, SandboxError> {
        self.result_for(&Caller::default(), id, wait).await
    }

    /// The same for `caller`.
    ///
    /// # Errors
    /// There is none of theirs, or the store failed.
    pub async fn result_for(
        &self,
        caller: &Caller,
        id: ExecutionId,
        wait: Duration,
    ) -> Result<Option<SandboxExecutionResult>, SandboxError> {
        if wait.is_zero() {
            return self.result_now(caller, id).await;
        }
        match tokio::time::timeout(wait, self.await_result(caller, id)).await {
            Ok(result) => result.map(Some),
            Err(_) => self.result_now(caller, id).await,
        }
    }

    async fn result_now(
        &self,
        caller: &Caller,
        id: ExecutionId,
    ) -> Result<Option<SandboxExecutionResult>, SandboxError> {
        // One that has ended is known here for a moment more, and is in the store already.
        if self.live.get(&caller.owner, id).is_some_and(|live| !live.feed.state().is_completed) {
            return Ok(None);
        }
        if let Some(result) = self.store.result(&caller.owner, id).await.map_err(store_failed)? {
            return Ok(Some(result));
        }
        self.recorded(caller, id).await.map(|_| None)
    }

    pub(super) async fn await_result(
        &self,
        caller: &Caller,
        id: ExecutionId,
    ) -> Result<SandboxExecutionResult, SandboxError> {
        loop {
            if let Some(live) = self.live.get(&caller.owner, id) {
                // It is recorded before that.
                live.feed.ended().await;
            }
            if let Some(result) = self.store.result(&caller.owner, id).await.map_err(store_failed)? {
                return Ok(result);
            }
            self.recorded(caller, id).await?;
            tokio::select! {
                () = tokio::time::sleep(ELSEWHERE_PAUSE) => {}
                // What waited here is left to another server, and nobody waits for that here.
                () = self.draining.cancelled() => {
                    return Err(broken_off(ErrorCode::Interrupted, "the service stopped"));
                }
            }
        }
    }

    /// Ends an execution. The answer comes when it has ended, or a few seconds later.
    ///
    /// # Errors
    /// There is none, or the store failed.
    pub async fn cancel(&self, id: ExecutionId) -> Result<Cancellation, SandboxError> {
        self.cancel_for(&Caller::default(), id).await
    }

    /// The same for `caller`.
    ///
    /// # Errors
    /// There is none of theirs, or the store failed.
    pub async fn cancel_for(&self, caller: &Caller, id: ExecutionId) -> Result<Cancellation, SandboxError> {
        let of = |reason| match reason {
            Some(TerminationReason::Cancelled) => Cancellation::Cancelled,
            _ => Cancellation::AlreadyCompleted,
        };
        let ended = async {
            if let Some(live) = self.live.get(&caller.owner, id) {
                live.cancelled.cancel();
                live.feed.ended().await;
                let state = live.feed.state();
                // One that this server let go of has not ended: it waits for another one.
                return Ok(if state.is_completed { of(state.reason) } else { Cancellation::Requested });
            }
            let before = self.recorded(caller, id).await?;
            if before.status.is_completed() {
                return Ok(Cancellation::AlreadyCompleted);
            }
            self.store.request_cancel(&caller.owner, id).await.map_err(store_failed)?;
            loop {
                let record = self.recorded(caller, id).await?;
                if record.status.is_completed() {
                    return Ok(of(record.reason));
                }
                tokio::time::sleep(ELSEWHERE_PAUSE).await;
            }
        };
        tokio::time::timeout(CANCEL_PATIENCE, ended).await.unwrap_or(Ok(Cancellation::Requested))
    }

    /// What happened and happens to an execution after event number `after`, 0 for all; ends with its result.
    ///
    /// # Errors
    /// There is none, or the store failed.
    pub async fn events(
        &self,
        id: ExecutionId,
        after: u64,
    ) -> Result<impl Stream<Item = ExecutionEvent> + Send + use<>, SandboxError> {
        self.events_for(&Caller::default(), id, after).await
    }

    /// The same for `caller`.
    ///
    /// An execution that another server runs tells nothing before its end, and then everything.
    ///
    /// # Errors
    /// There is none of theirs, or the store failed.
    pub async fn events_for(
        &self,
        caller: &Caller,
        id: ExecutionId,
        after: u64,
    ) -> Result<impl Stream<Item = ExecutionEvent> + Send + use<>, SandboxError> {
        let source = match self.live.get(&caller.owner, id) {
            Some(live) => Source::Live(live.feed.reader(after)),
            None => match self.past_events(caller, id).await? {
                Some(events) => Source::Past(events),
                None => Source::Elsewhere,
            },
        };
        let follower = Follower { service: self.clone(), caller: caller.clone(), id, after, source };
        Ok(stream::unfold(follower, Follower::next).boxed())
    }

    /// All events of one that has ended; nothing when it has not.
    async fn past_events(
        &self,
        caller: &Caller,
        id: ExecutionId,
    ) -> Result<Option<VecDeque<ExecutionEvent>>, SandboxError> {
        let Some(result) = self.store.result(&caller.owner, id).await.map_err(store_failed)? else {
            return self.recorded(caller, id).await.map(|_| None);
        };
        let events = self.store.events(&caller.owner, id).await.map_err(store_failed)?.unwrap_or_default();
        let mut events = if events.is_empty() { made_up(&result) } else { events };
        let next = events.last().map_or(1, |event| event.id + 1);
        let at = result.finished_at;
        events.push(ExecutionEvent { id: next, at, what: Occurrence::Result(Box::new(result)) });
        Ok(Some(events.into()))
    }

    /// A part of what an execution wrote to a stream, as far as it is kept.
    ///
    /// # Errors
    /// There is none of the caller's, or the store failed.
    pub async fn output_for(
        &self,
        caller: &Caller,
        id: ExecutionId,
        stream: OutputStream,
        range: OutputRange,
    ) -> Result<OutputPart, SandboxError> {
        let (pieces, is_completed) = if let Some(live) = self.live.get(&caller.owner, id) {
            // In this order: what comes between is found the next time.
            let is_completed = live.feed.state().is_completed;
            (live.feed.output_pieces(stream), is_completed)
        } else {
            match self.past_events(caller, id).await? {
                Some(events) => (events.iter().filter_map(|event| output_of(event, stream)).cloned().collect(), true),
                None => (Vec::new(), false),
            }
        };
        let (offset, text) = part(&pieces, range);
        let next_offset = offset + text.len() as u64;
        Ok(OutputPart { execution_id: id, stream, offset, text, next_offset, is_completed })
    }

    /// A file that an execution left.
    ///
    /// # Errors
    /// There is none of the caller's, it has no such file, or the store failed.
    pub async fn file_for(&self, caller: &Caller, id: ExecutionId, path: &str) -> Result<CollectedFile, SandboxError> {
        // No file is called so, and PostgreSQL has no such texts.
        if !path.contains('\0')
            && let Some(file) = self.store.file(&caller.owner, id, path).await.map_err(store_failed)?
        {
            return Ok(file);
        }
        let state = self.status_for(caller, id).await?;
        let shown: String = path.chars().take(128).flat_map(char::escape_debug).collect();
        let error = SandboxError::new(ErrorCode::NotFound, format!("execution {id} has no file `{shown}`"));
        Err(error.with_hint(if state.is_completed {
            "`files` of its result names those that there are"
        } else {
            "files are there when the execution has ended"
        }))
    }

    /// Executions of `caller`, the newest first, that are older than `before`.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list_for(
        &self,
        caller: &Caller,
        status: Option<ExecutionStatus>,
        before: Option<ExecutionId>,
        limit: u32,
    ) -> Result<Vec<ExecutionState>, SandboxError> {
        let mut found: Vec<ExecutionState> = {
            let all = self.live.lock();
            let mine = all.values().filter(|live| live.owner == caller.owner);
            mine.filter(|live| before.is_none_or(|before| live.id < before)).cloned().collect::<Vec<_>>()
        }
        .iter()
        .map(|live| self.live_state(live))
        .collect();
        found.retain(|state| status.is_none_or(|status| state.status == status));
        // Where the two do not agree on one, it is just going from one status to the next, and either is right.
        let known: Vec<ExecutionId> = found.iter().map(|state| state.execution_id).collect();
        let query = ExecutionQuery { owner: caller.owner.clone(), status, before, limit };
        let records = self.store.list(&query).await.map_err(store_failed)?;
        // Of those that are here, more is known here.
        found.extend(records.iter().filter(|record| !known.contains(&record.id)).map(recorded_state));
        found.sort_by_key(|state| std::cmp::Reverse(state.execution_id));
        found.truncate(limit as usize);
        Ok(found)
    }

    fn live_state(&self, live: &Live) -> ExecutionState {
        let mut state = live.feed.state();
        if state.status == ExecutionStatus::Pending {
            state.queue_position = self.queue.position(&live.owner, live.ticket);
        }
        state
    }

    async fn recorded(&self, caller: &Caller, id: ExecutionId) -> Result<ExecutionRecord, SandboxError> {
        let record = self.store.record(&caller.owner, id).await.map_err(store_failed)?;
        record.ok_or_else(|| {
            SandboxError::new(ErrorCode::NotFound, format!("there is no execution {id}"))
                .with_hint("it was never accepted, belongs to another key, or is no longer kept")
        })
    }
}

/// From where events come.
enum Source {
    Live(FeedReader),
    Past(VecDeque<ExecutionEvent>),
    /// Another server has it.
    Elsewhere,
    Over,
}

/// A reader of the events of one execution.
struct Follower {
    service: PythonSandboxService,
    caller: Caller,
    id: ExecutionId,
    after: u64,
    source: Source,
}

impl Follower {
    async fn next(mut self) -> Option<(ExecutionEvent, Self)> {
        loop {
            match &mut self.source {
                Source::Live(reader) => {
                    let event = reader.next().await;
                    let is_last = matches!(&event, Some(event) if matches!(event.what, Occurrence::Result(_)));
                    if is_last || event.is_none() {
                        self.source = Source::Over;
                    }
                    return event.map(|event| (event, self));
                }
                Source::Past(events) => {
                    let event = events.pop_front()?;
                    if event.id > self.after {
                        return Some((event, self));
                    }
                }
                Source::Elsewhere => {
                    tokio::select! {
                        () = tokio::time::sleep(ELSEWHERE_PAUSE) => {}
                        // This server ends; whoever follows may ask another one.
                        () = self.service.draining.cancelled() => return None,
                    }
                    // A store that fails for a moment, and one that has forgotten it, are told apart by asking anew.
                    match self.service.past_events(&self.caller, self.id).await {
                        Ok(Some(events)) => self.source = Source::Past(events),
                        Ok(None) => {}
                        Err(_) => return None,
                    }
                }
                Source::Over => return None,
            }
        }
    }
}

/// The events of an execution that nobody followed, from its result.
fn made_up(result: &SandboxExecutionResult) -> Vec<ExecutionEvent> {
    let state = ExecutionState::waiting(result.execution_id, result.queued_at);
    let mut events = vec![(result.queued_at, Occurrence::Queued(state.clone()))];
    if let Some(at) = result.started_at {
        let elapsed = result.usage.startup;
        let started = ExecutionState { status: ExecutionStatus::Running, started_at: Some(at), elapsed, ..state };
        events.push((at, Occurrence::Started(started)));
    }
    let piece = |text: &String| OutputPiece { offset: 0, text: text.clone() };
    if !result.stdout.is_empty() {
        events.push((result.finished_at, Occurrence::Stdout(piece(&result.stdout))));
    }
    if !result.stderr.is_empty() {
        events.push((result.finished_at, Occurrence::Stderr(piece(&result.stderr))));
    }
    events.into_iter().zip(1..).map(|((at, what), id)| ExecutionEvent { id, at, what }).collect()
}

fn recorded_state(record: &ExecutionRecord) -> ExecutionState {
    let until = record.finished_at.unwrap_or_else(jiff::Timestamp::now);
    ExecutionState {
        status: record.status,
        is_completed: record.status.is_completed(),
        reason: record.reason,
        started_at: record.started_at,
        finished_at: record.finished_at,
        elapsed: Duration::try_from(until.duration_since(record.queued_at)).unwrap_or_default(),
        ..ExecutionState::waiting(record.id, record.queued_at)
    }
}

/// What `range` has of `pieces`, and where that begins.
fn part(pieces: &[OutputPiece], range: OutputRange) -> (u64, String) {
    let end = pieces.last().map_or(0, |piece| piece.offset + piece.text.len() as u64);
    let from = match range {
        OutputRange::From(offset) => offset,
        OutputRange::Last(bytes) => end.saturating_sub(bytes),
    };
    let mut text = String::new();
    let mut start = None;
    for piece in pieces {
        let skipped = usize::try_from(from.saturating_sub(piece.offset)).unwrap_or(usize::MAX);
        if skipped >= piece.text.len() {
            continue;
        }
        // A place within a character is that of the next one.
        let skipped =
            (skipped..=piece.text.len()).find(|place| piece.text.is_char_boundary(*place)).unwrap_or_default();
        start.get_or_insert(piece.offset + skipped as u64);
        text.push_str(piece.text.get(skipped..).unwrap_or_default());
    }
    (start.unwrap_or_else(|| from.min(end)), text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(texts: &[&str], first: u64) -> Vec<OutputPiece> {
        let mut offset = first;
        let mut piece = |text: &&str| {
            let piece = OutputPiece { offset, text: (*text).to_owned() };
            offset += text.len() as u64;
            piece
        };
        texts.iter().map(&mut piece).collect()
    }

    #[test]
    fn a_part_begins_where_it_is_asked_for() {
        let all = pieces(&["hello ", "wörld\n"], 0);
        assert_eq!(part(&all, OutputRange::From(0)), (0, "hello wörld\n".to_owned()));
        assert_eq!(part(&all, OutputRange::From(6)), (6, "wörld\n".to_owned()));
        assert_eq!(part(&all, OutputRange::From(8)), (9, "rld\n".to_owned()), "within a character");
        assert_eq!(part(&all, OutputRange::From(13)), (13, String::new()));
        assert_eq!(part(&all, OutputRange::From(99)), (13, String::new()));
        assert_eq!(part(&all, OutputRange::Last(4)), (9, "rld\n".to_owned()));
        assert_eq!(part(&all, OutputRange::Last(999)), (0, "hello wörld\n".to_owned()));
        assert_eq!(part(&[], OutputRange::From(7)), (0, String::new()));
    }

    #[test]
    fn what_is_no_longer_kept_is_skipped() {
        let rest = pieces(&["def"], 3);
        assert_eq!(part(&rest, OutputRange::From(0)), (3, "def".to_owned()));
    }

    proptest! {
        #[test]
        fn parts_fit_together(texts in proptest::collection::vec("[aé€𝄞]{1,4}", 0..6), cuts in proptest::collection::vec(0_u64..40, 0..6)) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let all = pieces(&texts, 0);
            let whole = texts.concat();
            for cut in cuts {
                let (offset, text) = part(&all, OutputRange::From(cut));
                prop_assert_eq!(whole.get(usize::try_from(offset).unwrap()..), Some(text.as_str()));
            }
        }
    }
}
