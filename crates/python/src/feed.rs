//! What is known of one execution while it waits and runs: its state, and what happened so far.
//!
//! One task writes, any number of readers follow, each at its own pace: none of them can slow the program down.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aevatar_sandbox_contract::{
    ExecutionEvent, ExecutionId, ExecutionState, ExecutionStatus, LiveUsage, LostEvents, Occurrence, OutputPiece,
    OutputStream, Progress, SandboxExecutionResult,
};
use tokio::{sync::watch, time::Instant};

use crate::output::incomplete_end;

/// What an event takes beside its text, in bytes; so that a great many small ones are counted for what they are.
const EVENT_SIZE: usize = 192;
/// Pieces of output up to this many bytes are put together, where nobody has read the last one yet.
const PIECE: usize = 8 << 10;
/// Progress is told once in this time, at most; the last one always.
const PROGRESS_PAUSE: Duration = Duration::from_millis(100);

/// The state of one execution and its events.
#[derive(Debug)]
pub(crate) struct Feed {
    inner: Mutex<Inner>,
    /// Woken at each change.
    changed: watch::Sender<()>,
    asked: Instant,
}

#[derive(Debug)]
struct Inner {
    state: ExecutionState,
    events: VecDeque<ExecutionEvent>,
    /// Number of the next event.
    next: u64,
    /// The highest number that a reader has had: from there on, events may still grow.
    read: u64,
    size: usize,
    capacity: usize,
    streams: [StreamState; 2],
    progress_told: Option<Instant>,
    is_over: bool,
}

/// Where one of the two streams is.
#[derive(Debug, Default)]
struct StreamState {
    /// Bytes of text that have been told.
    offset: u64,
    /// The beginning of a character whose rest has not come yet.
    rest: Vec<u8>,
}

impl Feed {
    /// Of an execution that waits from now on. Events of at most `capacity` bytes are kept.
    pub(crate) fn new(id: ExecutionId, queued_at: jiff::Timestamp, asked: Instant, capacity: usize) -> Self {
        let state = ExecutionState::waiting(id, queued_at);
        let feed = Self {
            inner: Mutex::new(Inner {
                state: state.clone(),
                events: VecDeque::new(),
                next: 1,
                read: 0,
                size: 0,
                capacity,
                streams: Default::default(),
                progress_told: None,
                is_over: false,
            }),
            changed: watch::Sender::new(()),
            asked,
        };
        feed.change(|inner| inner.push(Occurrence::Queued(state)));
        feed
    }

    /// Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.lock());
        self.changed.send_replace(());
    }

    /// Where it is.
    pub(crate) fn state(&self) -> ExecutionState {
        let mut state = self.lock().state.clone();
        if !state.is_completed {
            state.elapsed = self.asked.elapsed();
        }
        state
    }

    /// The program has started.
    pub(crate) fn started(&self, at: jiff::Timestamp) {
        self.change(|inner| {
            inner.state.status = ExecutionStatus::Running;
            inner.state.started_at = Some(at);
            inner.state.elapsed = self.asked.elapsed();
            inner.push(Occurrence::Started(inner.state.clone()));
        });
    }

    /// The program wrote `bytes`.
    pub(crate) fn output(&self, stream: OutputStream, bytes: &[u8]) {
        self.change(|inner| inner.output(stream, bytes));
    }

    /// The program told how far it is.
    pub(crate) fn progress(&self, progress: Progress) {
        let mut inner = self.lock();
        if inner.state.progress.as_ref() == Some(&progress) {
            return;
        }
        let soon = inner.progress_told.is_some_and(|told| told.elapsed() < PROGRESS_PAUSE);
        let is_full = |progress: &Progress| progress.fraction.is_some_and(|fraction| fraction >= 1.0);
        // Not each time that it says so: it may say so in other words as fast as it can.
        let is_done = is_full(&progress) && !inner.state.progress.as_ref().is_some_and(is_full);
        inner.state.progress = Some(progress.clone());
        if soon && !is_done {
            return;
        }
        inner.progress_told = Some(Instant::now());
        inner.push(Occurrence::Progress(progress));
        drop(inner);
        self.changed.send_replace(());
    }

    /// What the program uses now.
    pub(crate) fn usage(&self, usage: LiveUsage) {
        self.change(|inner| {
            inner.state.usage = Some(usage);
            inner.push(Occurrence::Usage(usage));
        });
    }

    /// It has ended. Nothing happens after this.
    pub(crate) fn finish(&self, result: &SandboxExecutionResult) {
        self.change(|inner| {
            inner.end_streams();
            let state = &mut inner.state;
            state.status = result.status;
            state.is_completed = true;
            state.reason = Some(result.termination.reason);
            state.queue_position = None;
            state.started_at = result.started_at;
            state.finished_at = Some(result.finished_at);
            state.elapsed = self.asked.elapsed();
            state.usage = None;
            inner.push(Occurrence::Result(Box::new(result.clone())));
            inner.is_over = true;
        });
    }

    /// It is not followed any further here: another server will run it.
    pub(crate) fn close(&self) {
        self.change(|inner| inner.is_over = true);
    }

    /// All events that are kept, but the result: for the store.
    pub(crate) fn history(&self) -> Vec<ExecutionEvent> {
        let inner = self.lock();
        inner.events.iter().filter(|event| !matches!(event.what, Occurrence::Result(_))).cloned().collect()
    }

    /// What is kept of a stream.
    pub(crate) fn output_pieces(&self, stream: OutputStream) -> Vec<OutputPiece> {
        self.lock().events.iter().filter_map(|event| output_of(event, stream)).cloned().collect()
    }

    /// A reader of what comes after event number `after`.
    pub(crate) fn reader(self: &std::sync::Arc<Self>, after: u64) -> FeedReader {
        FeedReader { feed: std::sync::Arc::clone(self), changed: self.changed.subscribe(), after }
    }

    /// Returns when it has ended.
    pub(crate) async fn ended(&self) {
        let mut changed = self.changed.subscribe();
        // The sender is this feed's own.
        while !self.lock().is_over && changed.changed().await.is_ok() {}
    }
}

impl Inner {
    fn push(&mut self, what: Occurrence) {
        if self.is_over {
            return;
        }
        let event = ExecutionEvent { id: self.next, at: aevatar_sandbox_contract::now(), what };
        self.next += 1;
        self.size += size(&event);
        self.events.push_back(event);
        self.shrink();
    }

    /// The oldest go first; the last one always stays.
    fn shrink(&mut self) {
        while self.size > self.capacity && self.events.len() > 1 {
            if let Some(event) = self.events.pop_front() {
                self.size -= size(&event);
            }
        }
    }

    fn output(&mut self, stream: OutputStream, bytes: &[u8]) {
        let place = stream_place(stream);
        let Some(state) = self.streams.get_mut(place) else { return };
        state.rest.extend_from_slice(bytes);
        let whole = state.rest.len() - incomplete_end(&state.rest);
        if whole == 0 {
            return;
        }
        let rest = state.rest.split_off(whole);
        let text = std::mem::replace(&mut state.rest, rest);
        self.piece(stream, &text);
    }

    fn piece(&mut self, stream: OutputStream, bytes: &[u8]) {
        let Some(state) = self.streams.get_mut(stream_place(stream)) else { return };
        let offset = state.offset;
        let text = String::from_utf8_lossy(bytes);
        state.offset += text.len() as u64;
        if let Some(ExecutionEvent { id, what, .. }) = self.events.back_mut()
            && *id > self.read
            && let (Occurrence::Stdout(piece), OutputStream::Stdout) | (Occurrence::Stderr(piece), OutputStream::Stderr) =
                (what, stream)
            && piece.text.len() + text.len() <= PIECE
        {
            piece.text.push_str(&text);
            self.size += text.len();
            self.shrink();
            return;
        }
        let piece = OutputPiece { offset, text: text.into_owned() };
        self.push(match stream {
            OutputStream::Stdout => Occurrence::Stdout(piece),
            OutputStream::Stderr => Occurrence::Stderr(piece),
        });
    }

    /// What was kept for the rest of a character is told: nothing more comes.
    fn end_streams(&mut self) {
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            let rest = self.streams.get_mut(stream_place(stream)).map(|state| std::mem::take(&mut state.rest));
            if let Some(rest) = rest.filter(|rest| !rest.is_empty()) {
                self.piece(stream, &rest);
            }
        }
        // The last one may not have been told.
        let told = self.events.iter().rev().find_map(|event| match &event.what {
            Occurrence::Progress(progress) => Some(progress),
            _ => None,
        });
        if let Some(last) = self.state.progress.clone()
            && told != Some(&last)
        {
            self.push(Occurrence::Progress(last));
        }
    }
}

/// The piece of `stream` that an event is, if it is one.
pub(crate) const fn output_of(event: &ExecutionEvent, stream: OutputStream) -> Option<&OutputPiece> {
    match (&event.what, stream) {
        (Occurrence::Stdout(piece), OutputStream::Stdout) | (Occurrence::Stderr(piece), OutputStream::Stderr) => {
            Some(piece)
        }
        _ => None,
    }
}

const fn stream_place(stream: OutputStream) -> usize {
    match stream {
        OutputStream::Stdout => 0,
        OutputStream::Stderr => 1,
    }
}

fn size(event: &ExecutionEvent) -> usize {
    EVENT_SIZE
        + match &event.what {
            Occurrence::Stdout(piece) | Occurrence::Stderr(piece) => piece.text.len(),
            Occurrence::Progress(progress) => progress.message.as_ref().map_or(0, String::len),
            // The last one, which stays: what it has is bounded elsewhere.
            _ => 0,
        }
}

/// Follows the events of one execution.
#[derive(Debug)]
pub(crate) struct FeedReader {
    feed: std::sync::Arc<Feed>,
    changed: watch::Receiver<()>,
    after: u64,
}

impl FeedReader {
    /// The next event; nothing after the last one. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<ExecutionEvent> {
        loop {
            // Before looking, so that what comes meanwhile wakes.
            self.changed.mark_unchanged();
            match self.look() {
                Look::Event(event) => return Some(*event),
                Look::Over => return None,
                // The sender is the feed's own, which this reader keeps.
                Look::Nothing => self.changed.changed().await.ok()?,
            }
        }
    }

    fn look(&mut self) -> Look {
        let mut inner = self.feed.lock();
        let first = inner.next - inner.events.len() as u64;
        // One that claims to know what has not happened yet knows all that has.
        self.after = self.after.min(inner.next - 1);
        if self.after + 1 < first {
            // Its number is that of the last one that is lost, so that a reader goes on after it.
            let lost = LostEvents { events: first - 1 - self.after };
            let at = inner.events.front().map_or_else(aevatar_sandbox_contract::now, |event| event.at);
            self.after = first - 1;
            return Look::Event(Box::new(ExecutionEvent { id: self.after, at, what: Occurrence::Lost(lost) }));
        }
        let place = usize::try_from(self.after + 1 - first).unwrap_or(usize::MAX);
        match inner.events.get(place).cloned() {
            Some(event) => {
                self.after = event.id;
                inner.read = inner.read.max(event.id);
                Look::Event(Box::new(event))
            }
            None if inner.is_over => Look::Over,
            None => Look::Nothing,
        }
    }
}

enum Look {
    Event(Box<ExecutionEvent>),
    Nothing,
    Over,
}

#[cfg(test)]
mod tests;
