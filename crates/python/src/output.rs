//! What is kept of a stream of output: its head and its tail.

use std::collections::VecDeque;

/// Head and tail of a stream, in bounded memory, whatever is written.
#[derive(Debug)]
pub(crate) struct OutputCapture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    head_limit: usize,
    tail_limit: usize,
    total: u64,
}

impl OutputCapture {
    /// Keeps `limit` bytes: the first half and the last half.
    pub(crate) const fn new(limit: usize) -> Self {
        let tail_limit = limit / 2;
        Self { head: Vec::new(), tail: VecDeque::new(), head_limit: limit - tail_limit, tail_limit, total: 0 }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let (head, rest) = bytes.split_at(bytes.len().min(self.head_limit - self.head.len()));
        self.head.extend_from_slice(head);
        let rest = &rest[rest.len().saturating_sub(self.tail_limit)..];
        let overflow = (self.tail.len() + rest.len()).saturating_sub(self.tail_limit);
        self.tail.drain(..overflow);
        self.tail.extend(rest);
    }

    /// Bytes that were written, kept or not.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// The text, with a marker where bytes are missing, and whether any are.
    ///
    /// What is no UTF-8 becomes U+FFFD. A character that the cut split is left out rather than replaced: the program
    /// did write it whole.
    pub(crate) fn into_text(self) -> (String, bool) {
        let kept = self.head.len() + self.tail.len();
        let missing = self.total - kept as u64;
        let tail: Vec<u8> = self.tail.into();
        if missing == 0 {
            let whole = [self.head, tail].concat();
            return (String::from_utf8_lossy(&whole).into_owned(), false);
        }
        let head = &self.head[..self.head.len() - incomplete_end(&self.head)];
        let tail = &tail[split_start(&tail)..];
        let dropped = self.total - (head.len() + tail.len()) as u64;
        let text = format!(
            "{}\n[… {dropped} bytes of output left out …]\n{}",
            String::from_utf8_lossy(head),
            String::from_utf8_lossy(tail)
        );
        (text, true)
    }
}

/// How many bytes at the end begin a character that is not complete.
pub(crate) fn incomplete_end(bytes: &[u8]) -> usize {
    let start = bytes.len().saturating_sub(3);
    for (index, byte) in bytes.iter().enumerate().skip(start).rev() {
        let length = match byte {
            0x80..=0xBF => continue,
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            _ => return 0,
        };
        let present = bytes.len() - index;
        return if present < length { present } else { 0 };
    }
    0
}

/// How many bytes at the start continue a character that began before.
fn split_start(bytes: &[u8]) -> usize {
    bytes.iter().take(3).take_while(|byte| matches!(byte, 0x80..=0xBF)).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn capture(limit: usize, pieces: &[&[u8]]) -> (String, bool) {
        let mut capture = OutputCapture::new(limit);
        for piece in pieces {
            capture.push(piece);
        }
        capture.into_text()
    }

    #[test]
    fn small_output_is_whole() {
        assert_eq!(capture(8, &[b"ab", b"", b"cdefgh"]), ("abcdefgh".into(), false));
        assert_eq!(capture(8, &[]), (String::new(), false));
    }

    #[test]
    fn large_output_keeps_head_and_tail() {
        let (text, truncated) = capture(8, &[b"0123456789", b"abcdef"]);
        assert!(truncated);
        assert_eq!(text, "0123\n[… 8 bytes of output left out …]\ncdef");
    }

    #[test]
    fn a_character_that_the_cut_splits_is_left_out() {
        let euros = "€".repeat(10);
        let (text, truncated) = capture(8, &[euros.as_bytes()]);
        assert!(truncated);
        assert_eq!(text, "€\n[… 24 bytes of output left out …]\n€");
        assert!(!text.contains('\u{FFFD}'));
    }

    #[test]
    fn a_character_in_two_pieces_is_one() {
        assert_eq!(capture(100, &[b"\xE2\x82", b"\xAC"]), ("€".into(), false));
    }

    #[test]
    fn what_is_no_utf8_is_replaced() {
        assert_eq!(capture(100, &[b"a\xFFb"]), ("a\u{FFFD}b".into(), false));
    }

    proptest! {
        #[test]
        fn memory_is_bounded_and_nothing_panics(
            limit in 0_usize..64,
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20),
        ) {
            let mut capture = OutputCapture::new(limit);
            let mut total = 0;
            for piece in &pieces {
                capture.push(piece);
                total += piece.len() as u64;
                prop_assert!(capture.head.len() + capture.tail.len() <= limit);
            }
            prop_assert_eq!(capture.total(), total);
            let (_, truncated) = capture.into_text();
            prop_assert_eq!(truncated, total > limit as u64);
        }
    }
}
