//! Bars that tqdm draws on stderr, read as they come: a program's progress without a change to it.
//!
//! A bar is drawn behind a carriage return, and drawn again in its place: `fitting:  40%|████      | 4/10 [00:02<…]`.
//! Without a total it is a counter: `rows: 4it [00:01, 3.99it/s]`. A bar inside of another one stands a line lower, and
//! the cursor goes up again behind it.

use aevatar_sandbox_contract::Progress;

use crate::progress::checked;

/// Bytes of a line that may be a bar: one for a wide terminal, of characters of three bytes.
const MAX_LINE: usize = 1024;
const CURSOR_UP: &[u8] = b"\x1b[A";

/// Follows the bars of one stream, in bounded memory, whatever is written.
#[derive(Debug, Default)]
pub(crate) struct Bars {
    /// The line that has not ended, without what is over [`MAX_LINE`].
    line: Vec<u8>,
    is_too_long: bool,
    place: Place,
    /// How far the outermost bar is, until it is full.
    outer: Option<Progress>,
}

/// Where a line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Behind an end of line: no bar.
    #[default]
    Ordinary,
    /// Behind an end of line that a bar stood in front of.
    UnderBar,
    /// Behind a carriage return.
    Drawn,
    /// Behind a carriage return in the line under a bar.
    DrawnUnderBar,
}

/// The last bars that were seen in some bytes, not yet read.
#[derive(Debug, Default)]
struct Seen {
    outer: Option<Vec<u8>>,
    inner: Option<Vec<u8>>,
}

impl Bars {
    /// Takes what was written; how far the program is now, if that shows.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Option<Progress> {
        // Only the last ones are read: a program can draw faster than they could be.
        let mut seen = Seen::default();
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            let (part, after) = rest.split_at(end);
            self.add(part);
            self.end_line(after.first() == Some(&b'\r'), &mut seen);
            rest = after.get(1..).unwrap_or_default();
        }
        self.add(rest);
        self.read(&seen)
    }

    fn add(&mut self, part: &[u8]) {
        self.is_too_long |= self.line.len() + part.len() > MAX_LINE;
        if self.is_too_long {
            self.line.clear();
        } else {
            self.line.extend_from_slice(part);
        }
    }

    fn end_line(&mut self, by_return: bool, seen: &mut Seen) {
        let is_bar = self.is_drawn() && may_be_bar(&self.line);
        self.place = match (by_return, self.place) {
            (true, Place::UnderBar) if self.line.is_empty() => Place::DrawnUnderBar,
            (true, _) => Place::Drawn,
            (false, _) if is_bar => Place::UnderBar,
            (false, _) => Place::Ordinary,
        };
        if is_bar {
            let is_inner = trimmed(&self.line).1;
            let line = std::mem::take(&mut self.line);
            *(if is_inner { &mut seen.inner } else { &mut seen.outer }) = Some(line);
        }
        self.line.clear();
        self.is_too_long = false;
    }

    const fn is_drawn(&self) -> bool {
        matches!(self.place, Place::Drawn | Place::DrawnUnderBar)
    }

    fn read(&mut self, seen: &Seen) -> Option<Progress> {
        let mut latest = None;
        if let Some(progress) = seen.outer.as_deref().and_then(parse) {
            let is_full = progress.fraction.is_some_and(|fraction| fraction >= 1.0);
            self.outer = (progress.fraction.is_some() && !is_full).then(|| progress.clone());
            latest = Some(progress);
        }
        // The line is not over before the bar is drawn anew, which may take long. Half a bar has no bracket at its end.
        let (line, mut is_inner) = trimmed(&self.line);
        if self.is_drawn() && line.ends_with(b"]") && may_be_bar(line) {
            // The cursor may still be to go up. If not, this is the next bar, and counts when it is drawn anew.
            is_inner |= self.place == Place::DrawnUnderBar;
            let progress = parse(line);
            if !is_inner || self.outer.is_none() {
                latest = progress.or(latest);
            }
            return latest;
        }
        // A bar inside of another one tells little: it is full again and again.
        if self.outer.is_none() && latest.is_none() {
            latest = seen.inner.as_deref().and_then(parse);
        }
        latest
    }
}

fn contains(line: &[u8], text: &[u8]) -> bool {
    line.windows(text.len()).any(|window| window == text)
}

/// A cheap look, before a line is read.
fn may_be_bar(line: &[u8]) -> bool {
    contains(line, b"%|") || line.contains(&b']') && contains(line, b" [")
}

/// A line without what moves the cursor and clears old text behind it, and whether the cursor goes up there.
fn trimmed(line: &[u8]) -> (&[u8], bool) {
    let mut rest = line.trim_ascii_end();
    let mut goes_up = false;
    while let Some(shorter) = rest.strip_suffix(CURSOR_UP) {
        (rest, goes_up) = (shorter.trim_ascii_end(), true);
    }
    (rest, goes_up)
}

fn parse(line: &[u8]) -> Option<Progress> {
    let text = plain(&String::from_utf8_lossy(trimmed(line).0));
    bar(&text).or_else(|| counter(&text)).and_then(checked)
}

/// The text without colours and the like.
fn plain(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.trim_start_matches(|letter| matches!(letter, '0'..='?')).get(1..).unwrap_or_default());
    }
    plain
}

/// `desc:  40%|████      | 4/10 [00:02<00:03,  1.99it/s]`.
fn bar(text: &str) -> Option<Progress> {
    let (before, after) = text.split_once("%|")?;
    let words = before.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let percent: f64 = before.get(words.len()..)?.parse().ok()?;
    let (drawn, counts) = after.split_once('|')?;
    let counts = counts_of(counts);
    // Something else is written so, too: a table.
    let is_block = |letter| matches!(letter, ' ' | '#' | '0'..='9' | '\u{2588}'..='\u{258F}');
    let is_drawn = || !drawn.is_empty() && drawn.chars().all(is_block);
    if percent > 100.0 || counts.is_none() && !is_drawn() {
        return None;
    }
    let fraction = match counts {
        // Another unit may be 1000 or 1024.
        Some(((done, unit), (total, same))) if unit == same && total > 0.0 => done / total,
        _ => percent / 100.0,
    };
    let message = words.trim().trim_end_matches(':').trim_end();
    Some(Progress { fraction: Some(fraction), message: Some(message.to_owned()) })
}

/// A number and its unit.
type Count<'a> = (f64, &'a str);

/// Of `4/10 [`: 4 and 10.
fn counts_of(text: &str) -> Option<(Count<'_>, Count<'_>)> {
    let (done, total) = text.split_once(['[', ',']).map_or(text, |(counts, _)| counts).trim().split_once('/')?;
    Some((number(done)?, number(total)?))
}

/// `4`, `4.20M`.
fn number(text: &str) -> Option<Count<'_>> {
    let unit = text.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    let value: f64 = text.strip_suffix(unit)?.parse().ok()?;
    (unit.chars().count() <= 1 && unit.chars().all(char::is_alphabetic)).then_some((value, unit))
}

/// `desc: 4it [00:01,  3.99it/s]`, which has no total.
fn counter(text: &str) -> Option<Progress> {
    let (message, times) = text.split_once(" [")?;
    let count = message.rsplit(' ').next().unwrap_or_default();
    let (elapsed, _) = times.split_once(", ")?;
    let is_time = elapsed.split(':').count() >= 2
        && elapsed.split(':').all(|part| !part.is_empty() && part.chars().all(|letter| letter.is_ascii_digit()));
    (is_time && count.starts_with(|letter: char| letter.is_ascii_digit()) && times.ends_with(']'))
        .then(|| Progress { fraction: None, message: Some(message.trim().to_owned()) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is told when `text` comes one character at a time, without what is told twice.
    fn told(text: &str) -> Vec<(Option<f64>, String)> {
        let mut bars = Bars::default();
        let mut told = Vec::new();
        for letter in text.chars() {
            take(&mut told, bars.push(letter.to_string().as_bytes()));
        }
        let mut at_once = Vec::new();
        take(&mut at_once, Bars::default().push(text.as_bytes()));
        assert_eq!(at_once.last(), told.last(), "in one piece: {text:?}");
        told
    }

    fn take(told: &mut Vec<(Option<f64>, String)>, progress: Option<Progress>) {
        let Some(progress) = progress else { return };
        let next = (progress.fraction, progress.message.unwrap_or_default());
        if told.last() != Some(&next) {
            told.push(next);
        }
    }

    fn fractions(text: &str) -> Vec<f64> {
        told(text).into_iter().map(|(fraction, _)| fraction.unwrap()).collect()
    }

    fn third(number: f64) -> f64 {
        number / 3.0
    }

    // As written by tqdm 4.20.0, 4.64.1 and 4.70.1.

    #[test]
    fn a_plain_bar() {
        let new = "\r  0%|          | 0/3 [00:00<?, ?it/s]\r 33%|███▎      | 1/3 [00:00<00:00, 167772.16it/s]\r 67%|██████▋   | 2/3 [00:00<00:00, 24129.67it/s] \r100%|██████████| 3/3 [00:00<00:00, 16465.94it/s]\r100%|██████████| 3/3 [00:00<00:00, 13315.25it/s]\n";
        let old = "\r  0%|          | 0/3 [00:00<?, ?it/s]\r 33%|███▎      | 1/3 [00:00<00:00, 161319.38it/s]\r 67%|██████▋   | 2/3 [00:00<00:00, 53773.13it/s] \r100%|██████████| 3/3 [00:00<00:00, 51781.53it/s]\n";
        for text in [new, old] {
            assert_eq!(fractions(text), [0.0, third(1.0), third(2.0), 1.0]);
        }
    }

    #[test]
    fn a_description_colours_and_other_letters() {
        let described = "\rfitting:   0%|          | 0/3 [00:00<?, ?it/s]\rfitting:  33%|███▎      | 1/3 [00:00<00:00, 199728.76it/s]\n";
        assert_eq!(told(described), [(Some(0.0), "fitting".to_owned()), (Some(third(1.0)), "fitting".to_owned())]);
        let postfix = "\rstep 5 of 9:   0%|          | 0/2 [00:00<?, ?it/s, loss=0.5]\rstep 5 of 9:  50%|█████     | 1/2 [00:00<00:00, 14217.98it/s, loss=0.5]\n";
        assert_eq!(told(postfix).pop(), Some((Some(0.5), "step 5 of 9".to_owned())));
        for bars in [
            "\r  0%|          | 0/3 [00:00<?, ?it/s]\r 33%|###3      | 1/3 [00:00<00:00, 155344.59it/s]\r100%|##########| 3/3 [00:00<00:00, 78154.73it/s]\n",
            "\r  0%|          | 0/3 [00:00<?, ?it/s]\r 33%|OOO.      | 1/3 [00:00<00:00, 466033.78it/s]\r100%|OOOOOOOOOO| 3/3 [00:00<00:00, 33694.75it/s]\n",
            "\r  0%|\x1b[32m          \x1b[0m| 0/3 [00:00<?, ?it/s]\r 33%|\x1b[32m███▎      \x1b[0m| 1/3 [00:00<00:00, 466033.78it/s]\r100%|\x1b[32m██████████\x1b[0m| 3/3 [00:00<00:00, 37468.82it/s] \n",
            // Cut off, because it was to be narrow.
            "\r  0%|   | 0/3 [00:00<?, ?it/s]\r 33%|▌| 1/3 [00:00<00:00, 4660\r100%|█| 3/3 [00:00<00:00, 3786\n",
            "\r  0%|          | 0/3\r 33%|███▎      | 1/3\r100%|██████████| 3/3\n",
        ] {
            assert_eq!(fractions(bars), [0.0, third(1.0), 1.0], "{bars}");
        }
        assert_eq!(fractions("\r  0%|          |\r 50%|█████     |\r100%|██████████|\n"), [0.0, 0.5, 1.0]);
    }

    #[test]
    fn units_are_read_where_they_are_the_same() {
        let text = "\rdl:   0%|          | 0.00/2.86M [00:00<?, ?B/s]\rdl:  33%|███▎      | 977k/2.86M [00:00<00:00, 262GB/s]\rdl:  67%|██████▋   | 1.91M/2.86M [00:00<00:00, 86.7GB/s]\rdl: 100%|██████████| 2.86M/2.86M [00:00<00:00, 67.6GB/s]\n";
        assert_eq!(fractions(text), [0.0, 0.33, 1.91 / 2.86, 1.0]);
    }

    #[test]
    fn without_a_total_it_is_a_counter() {
        let text = "\r0it [00:00, ?it/s]\r1it [00:00, 524288.00it/s]\r3it [00:00, 52422.82it/s]\n";
        let counts = ["0it", "1it", "3it"].map(|count| (None, count.to_owned()));
        assert_eq!(told(text), counts);
        let text = "\rrows: 0.00B [00:00, ?B/s]\rrows: 4.20MB [1:00:00, 107GB/s] \n";
        assert_eq!(told(text), ["rows: 0.00B", "rows: 4.20MB"].map(|count| (None, count.to_owned())));
    }

    #[test]
    fn the_outermost_bar_counts() {
        let text = "\router:   0%|          | 0/2 [00:00<?, ?it/s]\n\rinner:   0%|          | 0/2 [00:00<?, ?it/s]\x1b[A\n\rinner:  50%|█████     | 1/2 [00:00<00:00, 419430.40it/s]\x1b[A\n\rinner: 100%|██████████| 2/2 [00:00<00:00, 36379.17it/s] \x1b[A\n\r                                                       \x1b[A\router:  50%|█████     | 1/2 [00:00<00:00, 4957.81it/s]\n\rinner:   0%|          | 0/2 [00:00<?, ?it/s]\x1b[A\n\rinner:  50%|█████     | 1/2 [00:00<00:00, 524288.00it/s]\x1b[A\n\rinner: 100%|██████████| 2/2 [00:00<00:00, 34346.42it/s] \x1b[A\n\r                                                       \x1b[A\router: 100%|██████████| 2/2 [00:00<00:00, 4492.39it/s]\router: 100%|██████████| 2/2 [00:00<00:00, 4126.22it/s]\n";
        assert_eq!(told(text), [0.0, 0.5, 1.0].map(|fraction| (Some(fraction), "outer".to_owned())));
    }

    #[test]
    fn one_bar_after_another_counts_and_so_does_one_after_one_that_was_left() {
        let two = "\ra: 100%|██████████| 1/1 [00:00<?, ?it/s]\n\rb:   0%|          | 0/4 [00:00<?, ?it/s]";
        assert_eq!(told(two).pop(), Some((Some(0.0), "b".to_owned())));
        let left = "\ra:  50%|█████     | 1/2 [00:00<?, ?it/s]\n\rb:   0%|          | 0/4 [00:00<?, ?it/s]\rb:  25%|██▌       | 1/4 [00:00<?, ?it/s]";
        assert_eq!(told(left).pop(), Some((Some(0.25), "b".to_owned())));
    }

    #[test]
    fn text_around_a_bar_is_none() {
        let text = "\r 50%|█████     | 1/2 [00:00<00:00, 11715.93it/s]\r                                                \rhello\n\r 50%|█████     | 1/2 [00:00<00:00, 7219.11it/s]";
        assert_eq!(fractions(text), [0.5]);
        let long = format!("\r{}: 50%|█████     | 1/2 [00:00<?, ?it/s]\n", "x".repeat(MAX_LINE));
        for text in [
            " 50%|█████     | 1/2 [00:00<00:00, 7219.11it/s]\n",
            "\r| profit | 50%| high |\n",
            "\r150%|█████     | 1/2 [00:00<?, ?it/s]\n",
            "\r%|█████     | x\n",
            "\rat noon [12:00, 13:00]\n",
            "\r4 apples [a, b]\n",
            "\r40%|████      | 4/1",
            &long,
        ] {
            assert_eq!(told(text), [], "{text:?}");
        }
        // The next line is looked at again.
        assert_eq!(fractions(&(long + "\r 50%|█████     | 1/2 [00:00<?, ?it/s]")), [0.5]);
        assert_eq!(fractions("\r 50%|█████     | 9/2 [00:00<?, ?it/s]"), [1.0]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..20)) {
            let mut bars = Bars::default();
            for piece in &pieces {
                let _ = bars.push(piece).is_some();
                prop_assert!(bars.line.len() <= MAX_LINE);
            }
        }

        #[test]
        fn whatever_looks_like_a_bar_is_told_as_one_ought_to_be(
            pieces in proptest::collection::vec(proptest::sample::select(vec![
                "\r", "\n", "\x1b[A", "\x1b[", "40%|", "100%", "|", "█", "4/10", "1e9/", " [", "00:01", "<", ", ", "]", "é",
                "it", "9", ".", "k", "\u{0}", ": ", "desc",
            ]), 0..60),
        ) {
            let mut bars = Bars::default();
            for piece in &pieces {
                if let Some(progress) = bars.push(piece.as_bytes()) {
                    prop_assert!(progress.fraction.is_none_or(|fraction| (0.0..=1.0).contains(&fraction)));
                    prop_assert!(progress.message.is_none_or(|text| !text.is_empty() && !text.contains(char::is_control)));
                }
            }
        }
    }
}
