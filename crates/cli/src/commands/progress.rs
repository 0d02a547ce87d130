//! The bar that `run` shows on a terminal when a program tells how far it is.
//!
//! The program's own output goes to the same terminal, and no letter of it may be lost: the bar is taken away before
//! anything is written, and stands only where the output has ended a line.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use aevatar_sandbox::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::{
    io::AsyncWrite,
    sync::watch,
    time::{MissedTickBehavior, interval},
};

/// How often it is drawn, at most and at least.
const PAUSE: Duration = Duration::from_millis(100);
/// Steps of a whole bar.
const STEPS: u32 = 1000;

/// The bar, and what else is on the terminal.
#[derive(Clone, Debug)]
pub(crate) struct TerminalBar(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    since: Instant,
    progress: Option<Progress>,
    /// While it is shown, with what it says.
    bar: Option<(ProgressBar, Progress)>,
    /// Streams that have written what has not arrived yet.
    writing: usize,
    /// Whether the last letter that was written ended its line.
    is_line_over: bool,
    is_finished: bool,
}

impl TerminalBar {
    /// It shows nothing before there is progress.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            since: Instant::now(),
            progress: None,
            bar: None,
            writing: 0,
            is_line_over: true,
            is_finished: false,
        })))
    }

    /// Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows what comes until there is no more to come.
    pub(crate) async fn show(self, mut progress: watch::Receiver<Progress>) {
        let mut ticks = interval(PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match progress.has_changed() {
                Ok(true) => self.lock().progress = Some(progress.borrow_and_update().clone()),
                Ok(false) => {}
                Err(_) => return,
            }
            self.lock().draw();
        }
    }

    /// Takes it away for good.
    pub(crate) fn finish(&self) {
        let mut state = self.lock();
        state.is_finished = true;
        state.clear();
    }

    /// A writer to the terminal that the bar makes way for.
    pub(crate) fn above<W>(&self, writer: W) -> Above<W> {
        Above { writer, bar: self.clone(), is_writing: false }
    }
}

impl State {
    fn clear(&mut self) {
        if let Some((bar, _)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn draw(&mut self) {
        let Some(progress) = &self.progress else { return };
        if self.is_finished || self.writing > 0 || !self.is_line_over {
            return;
        }
        if let Some((bar, said)) = &self.bar
            && said == progress
        {
            bar.tick();
            return;
        }
        // A new one in its place: one that is changed is drawn after each change of its parts.
        let bar = bar(progress, self.since.elapsed());
        if let Some((old, _)) = self.bar.replace((bar.clone(), progress.clone())) {
            old.finish_and_clear();
        }
        bar.tick();
    }
}

/// A bar that says this, not drawn yet.
fn bar(progress: &Progress, elapsed: Duration) -> ProgressBar {
    let template = match progress.fraction {
        Some(_) => "{bar:30} {percent:>3}% {wide_msg} {elapsed}",
        None => "{wide_msg} {elapsed}",
    };
    let bar = ProgressBar::with_draw_target(Some(STEPS.into()), ProgressDrawTarget::stderr())
        .with_position(steps(progress.fraction))
        .with_message(progress.message.clone().unwrap_or_default())
        .with_elapsed(elapsed);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        // It is ours, and right.
        Err(_) => bar,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1")]
fn steps(fraction: Option<f64>) -> u64 {
    (fraction.unwrap_or_default() * f64::from(STEPS)) as u64
}

/// Writes to the terminal; see [`TerminalBar::above`]. Whoever writes flushes.
#[derive(Debug)]
pub(crate) struct Above<W> {
    writer: W,
    bar: TerminalBar,
    /// Whether something was written since the last flush.
    is_writing: bool,
}

impl<W> Above<W> {
    fn end(&mut self) {
        if std::mem::take(&mut self.is_writing) {
            self.bar.lock().writing -= 1;
        }
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Above<W> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !std::mem::replace(&mut self.is_writing, true) {
            let mut state = self.bar.lock();
            state.writing += 1;
            state.clear();
        }
        let written = ready!(Pin::new(&mut self.writer).poll_write(context, bytes))?;
        if let Some(last) = bytes.get(..written).and_then(<[u8]>::last) {
            self.bar.lock().is_line_over = *last == b'\n';
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.writer).poll_flush(context));
        self.end();
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(context)
    }
}

impl<W> Drop for Above<W> {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn it_stands_only_behind_whole_lines_that_have_arrived() {
        let bar = TerminalBar::new();
        let is_shown = || {
            bar.lock().draw();
            bar.lock().bar.is_some()
        };
        let mut output = bar.above(Vec::new());
        assert!(!is_shown(), "there is no progress");
        bar.lock().progress = Some(Progress { fraction: Some(0.4), message: None });
        assert!(is_shown());
        output.write_all(b"line\n").await.unwrap();
        assert!(!is_shown(), "it may not have arrived");
        output.flush().await.unwrap();
        assert!(is_shown());
        output.write_all(b"name? ").await.unwrap();
        output.flush().await.unwrap();
        assert!(!is_shown(), "it would stand behind the question");
        output.write_all(b"\n").await.unwrap();
        drop(output);
        assert!(is_shown(), "nobody writes any more");
        bar.finish();
        assert!(!is_shown());
    }

    #[test]
    fn a_fraction_is_steps_of_the_bar() {
        assert_eq!([None, Some(0.0), Some(0.4), Some(1.0)].map(steps), [0, 0, 400, STEPS.into()]);
    }
}
