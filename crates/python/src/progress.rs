//! What a program tells of its progress, made fit to be shown, and where it goes.

use std::sync::Arc;

use aevatar_sandbox_contract::Progress;
use tokio::sync::watch;

use crate::feed::Feed;

/// Characters that are kept of a message.
const MAX_MESSAGE: usize = 200;

/// What is left of `progress` when it is made fit to be shown; nothing where that says nothing.
pub(crate) fn checked(progress: Progress) -> Option<Progress> {
    let fraction = progress.fraction.filter(|fraction| fraction.is_finite()).map(|fraction| fraction.clamp(0.0, 1.0));
    let message: Option<String> =
        progress.message.map(|text| text.chars().filter(|letter| !letter.is_control()).take(MAX_MESSAGE).collect());
    let message = message.filter(|text| !text.is_empty());
    (fraction.is_some() || message.is_some()).then_some(Progress { fraction, message })
}

/// Whoever hears what a program itself reports. None of them can hold it up.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    pub(crate) feed: Option<Arc<Feed>>,
    pub(crate) caller: Option<watch::Sender<Progress>>,
}

impl Listeners {
    /// Whether there are any: else nothing need be read.
    pub(crate) const fn is_empty(&self) -> bool {
        self.feed.is_none() && self.caller.is_none()
    }

    pub(crate) fn tell(&self, progress: Progress) {
        if let Some(caller) = &self.caller {
            caller.send_replace(progress.clone());
        }
        if let Some(feed) = &self.feed {
            feed.progress(progress);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fraction: Option<f64>, message: &str) -> Option<Progress> {
        checked(Progress { fraction, message: Some(message.to_owned()) })
    }

    #[test]
    fn what_is_shown_is_short_and_has_a_place_between_0_and_1() {
        let plain = |fraction, message: &str| Some(Progress { fraction, message: Some(message.to_owned()) });
        assert_eq!(of(Some(0.4), "fitting"), plain(Some(0.4), "fitting"));
        assert_eq!(of(Some(7.0), "a\x1b[2J\r\nb\u{9b}"), plain(Some(1.0), "a[2Jb"));
        assert_eq!(of(Some(-1.0), "é"), plain(Some(0.0), "é"));
        assert_eq!(of(Some(f64::NAN), &"é".repeat(MAX_MESSAGE + 1)), plain(None, &"é".repeat(MAX_MESSAGE)));
        assert_eq!(of(Some(f64::INFINITY), "\n"), None);
    }
}
