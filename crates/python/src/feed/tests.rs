//! What readers of a feed hear, whenever they come.

use std::sync::Arc;

use aevatar_sandbox_contract::{DEFAULT_LIMITS, Termination, TerminationReason};
use proptest::prelude::*;

use super::*;

fn feed(capacity: usize) -> Arc<Feed> {
    Arc::new(Feed::new(ExecutionId::generate(), jiff::Timestamp::now(), Instant::now(), capacity))
}

fn result() -> SandboxExecutionResult {
    let termination =
        Termination { reason: TerminationReason::Exited, message: String::new(), limit: None, peak: None };
    let ended = (ExecutionStatus::Completed, termination);
    let now = jiff::Timestamp::now();
    SandboxExecutionResult::not_run(ExecutionId::generate(), DEFAULT_LIMITS, String::new(), now, ended)
}

/// All that is there for a reader now.
fn take(reader: &mut FeedReader) -> Vec<ExecutionEvent> {
    std::iter::from_fn(|| match reader.look() {
        Look::Event(event) => Some(*event),
        Look::Nothing | Look::Over => None,
    })
    .collect()
}

fn words(events: &[ExecutionEvent]) -> Vec<String> {
    let word = |event: &ExecutionEvent| match &event.what {
        Occurrence::Stdout(piece) => format!("{} {}+{}", event.id, piece.offset, piece.text),
        what => format!("{} {}", event.id, what.name()),
    };
    events.iter().map(word).collect()
}

#[test]
fn events_have_numbers_from_1_on() {
    let feed = feed(10_000);
    let mut early = feed.reader(0);
    assert_eq!(words(&take(&mut early)), ["1 queued"]);
    feed.started(jiff::Timestamp::now());
    feed.output(OutputStream::Stdout, b"a");
    feed.output(OutputStream::Stderr, b"x");
    feed.output(OutputStream::Stdout, b"b");
    feed.usage(LiveUsage::default());
    feed.finish(&result());
    assert_eq!(words(&take(&mut early)), ["2 started", "3 0+a", "4 stderr", "5 1+b", "6 usage", "7 result"]);
    assert!(matches!(early.look(), Look::Over));
    assert_eq!(words(&take(&mut feed.reader(5))), ["6 usage", "7 result"]);
    for known in [7, 8, u64::MAX] {
        assert!(matches!(feed.reader(known).look(), Look::Over), "{known}");
    }
    let state = feed.state();
    assert_eq!((state.status, state.is_completed, state.usage), (ExecutionStatus::Completed, true, None));
    assert_eq!(words(&feed.history()).last().map(String::as_str), Some("6 usage"), "without the result");
}

#[test]
fn only_what_nobody_has_had_grows() {
    let feed = feed(10_000);
    feed.output(OutputStream::Stdout, b"a");
    feed.output(OutputStream::Stdout, b"b");
    let (mut first, mut second) = (feed.reader(0), feed.reader(0));
    assert_eq!(words(&take(&mut first)), ["1 queued", "2 0+ab"]);
    feed.output(OutputStream::Stdout, b"c");
    feed.output(OutputStream::Stdout, b"d");
    assert_eq!(words(&take(&mut second)), ["1 queued", "2 0+ab", "3 2+cd"]);
    feed.output(OutputStream::Stdout, b"e");
    assert_eq!(words(&take(&mut first)), ["3 2+cd", "4 4+e"]);
    // Nor beyond the size of a piece.
    feed.output(OutputStream::Stdout, &[b'x'; PIECE]);
    feed.output(OutputStream::Stdout, b"y");
    let sizes: Vec<usize> = feed.output_pieces(OutputStream::Stdout).iter().map(|piece| piece.text.len()).collect();
    assert_eq!(sizes, [2, 2, 1, PIECE, 1]);
}

#[test]
fn whoever_claims_to_know_more_hears_of_what_comes() {
    let feed = feed(10_000);
    let mut reader = feed.reader(u64::MAX);
    assert!(matches!(reader.look(), Look::Nothing));
    feed.output(OutputStream::Stdout, b"a");
    assert_eq!(words(&take(&mut reader)), ["2 0+a"]);
}

#[test]
fn what_is_lost_is_told() {
    let feed = feed(3 * (EVENT_SIZE + 100));
    let mut early = feed.reader(0);
    assert_eq!(words(&take(&mut early)), ["1 queued"]);
    for _ in 0..10 {
        // Each is read by somebody, so none grows.
        feed.output(OutputStream::Stdout, &[b'x'; 100]);
        let before = feed.lock().next - 2;
        take(&mut feed.reader(before));
    }
    for (mut reader, events) in [(early, 7), (feed.reader(0), 8), (feed.reader(7), 1)] {
        let Look::Event(lost) = reader.look() else { panic!("nothing") };
        assert_eq!((lost.id, lost.what), (8, Occurrence::Lost(LostEvents { events })));
        let rest = take(&mut reader);
        assert_eq!(rest.iter().map(|event| event.id).collect::<Vec<_>>(), [9, 10, 11]);
        let Occurrence::Stdout(piece) = &rest[0].what else { panic!("{rest:?}") };
        assert_eq!(piece.offset, 700, "its place is known");
    }
    assert_eq!(feed.lock().events.len(), 3);
    // Whatever it takes, the last one stays.
    feed.output(OutputStream::Stdout, &[b'x'; 5000]);
    assert_eq!(feed.lock().events.len(), 1);
    feed.finish(&result());
    assert_eq!(words(&take(&mut feed.reader(12))), ["13 result"]);
}

#[test]
fn a_character_is_told_when_all_of_it_is_there() {
    let feed = feed(10_000);
    let mut reader = feed.reader(1);
    for byte in "é𝄞".as_bytes() {
        feed.output(OutputStream::Stdout, &[*byte]);
    }
    assert_eq!(words(&take(&mut reader)), ["2 0+é𝄞"]);
    // Of the two streams, each has its own.
    feed.output(OutputStream::Stdout, &[0xE4]);
    feed.output(OutputStream::Stderr, b"!");
    feed.output(OutputStream::Stdout, &[0xB8, 0xAD, 0xE4]);
    assert_eq!(words(&take(&mut reader)), ["3 stderr", "4 6+中"]);
    // What never comes is told at the end.
    feed.finish(&result());
    assert_eq!(words(&take(&mut reader)), ["5 9+\u{FFFD}", "6 result"]);
}

#[test]
fn nothing_happens_after_the_end() {
    for is_finished in [true, false] {
        let feed = feed(10_000);
        if is_finished {
            feed.finish(&result());
        } else {
            feed.close();
        }
        feed.output(OutputStream::Stdout, b"late");
        feed.usage(LiveUsage::default());
        feed.finish(&result());
        let mut reader = feed.reader(0);
        let told = words(&take(&mut reader));
        assert_eq!(told, if is_finished { vec!["1 queued", "2 result"] } else { vec!["1 queued"] });
        assert!(matches!(reader.look(), Look::Over));
    }
}

#[tokio::test(start_paused = true)]
async fn progress_is_told_now_and_then_and_at_the_end() {
    let feed = feed(10_000);
    let mut reader = feed.reader(1);
    let progress = |fraction: f64| Progress { fraction: Some(fraction), message: None };
    for step in 0..10 {
        feed.progress(progress(f64::from(step) / 10.0));
        feed.progress(progress(f64::from(step) / 10.0));
        tokio::time::advance(PROGRESS_PAUSE / 3).await;
    }
    let told = take(&mut reader);
    assert!((3..=4).contains(&told.len()), "{told:?}");
    assert_eq!(feed.state().progress, Some(progress(0.9)), "the state is always the last one");
    feed.progress(progress(0.95));
    feed.finish(&result());
    let last = take(&mut reader);
    assert_eq!(last[0].what, Occurrence::Progress(progress(0.95)));
    assert_eq!(last[1].what.name(), "result");
}

#[tokio::test]
async fn whoever_waits_is_woken() {
    let feed = feed(10_000);
    let readers: Vec<_> = (0..20)
        .map(|_| {
            let mut reader = feed.reader(0);
            tokio::spawn(async move {
                let mut all = Vec::new();
                while let Some(event) = reader.next().await {
                    all.push(event);
                }
                all
            })
        })
        .collect();
    let ended = tokio::spawn({
        let feed = Arc::clone(&feed);
        async move { feed.ended().await }
    });
    for _ in 0..50 {
        feed.output(OutputStream::Stdout, b"x");
        tokio::task::yield_now().await;
    }
    assert!(!ended.is_finished());
    feed.finish(&result());
    for reader in readers {
        let all = reader.await.unwrap();
        assert_eq!(all.last().unwrap().what.name(), "result");
        let text: usize =
            all.iter().filter_map(|event| output_of(event, OutputStream::Stdout)).map(|piece| piece.text.len()).sum();
        assert_eq!(text, 50);
    }
    ended.await.unwrap();
    feed.ended().await;
}

#[derive(Clone, Debug)]
enum Move {
    Write(OutputStream, Vec<u8>),
    /// One of the readers reads so many events.
    Read(usize, usize),
    /// It goes away and comes again.
    Resume(usize),
    Usage,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let stream = prop_oneof![Just(OutputStream::Stdout), Just(OutputStream::Stderr)];
    // Parts of characters, and what is none.
    let bytes = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..12),
        "[aé中𝄞]{1,8}".prop_map(String::into_bytes),
        ("[é中𝄞]{1,3}", 0_usize..12).prop_map(|(text, cut)| text.into_bytes().into_iter().skip(cut).collect()),
        (1_usize..300).prop_map(|length| vec![b'x'; length]),
    ];
    proptest::collection::vec(
        prop_oneof![
            4 => (stream, bytes).prop_map(|(stream, bytes)| Move::Write(stream, bytes)),
            3 => (0_usize..3, 1_usize..5).prop_map(|(reader, events)| Move::Read(reader, events)),
            1 => (0_usize..3).prop_map(Move::Resume),
            1 => Just(Move::Usage),
        ],
        0..80,
    )
}

/// Fails unless `events` are what a reader must have heard of `texts`. Whether it heard of everything.
fn check(events: &[ExecutionEvent], texts: &[String; 2]) -> Result<bool, TestCaseError> {
    let (mut last, mut is_whole, mut places) = (0, true, [0_usize; 2]);
    for event in events {
        if let Occurrence::Lost(lost) = &event.what {
            is_whole = false;
            prop_assert!(lost.events > 0);
            prop_assert_eq!(event.id, last + lost.events);
        } else {
            prop_assert_eq!(event.id, last + 1);
        }
        last = event.id;
        let (place, piece) = match &event.what {
            Occurrence::Stdout(piece) => (0, piece),
            Occurrence::Stderr(piece) => (1, piece),
            _ => continue,
        };
        let offset = usize::try_from(piece.offset).unwrap();
        prop_assert!(offset == places[place] || (!is_whole && offset > places[place]));
        prop_assert_eq!(texts[place].get(offset..offset + piece.text.len()), Some(piece.text.as_str()));
        places[place] = offset + piece.text.len();
    }
    prop_assert_eq!(events.last().map(|event| event.what.name()), Some("result"));
    if is_whole {
        prop_assert_eq!(places, [texts[0].len(), texts[1].len()]);
    }
    Ok(is_whole)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whoever reads when, and however often they come again: each hears all that was written, once, in order, but for
    /// what is told to be lost.
    #[test]
    fn every_reader_hears_everything_once(moves in moves(), capacity in prop_oneof![Just(1 << 20), 200_usize..4000]) {
        let feed = feed(capacity);
        let mut readers: Vec<(FeedReader, Vec<ExecutionEvent>)> = (0..3).map(|_| (feed.reader(0), Vec::new())).collect();
        let mut written: [Vec<u8>; 2] = Default::default();
        for step in moves {
            match step {
                Move::Write(stream, bytes) => {
                    feed.output(stream, &bytes);
                    written[stream_place(stream)].extend(bytes);
                }
                Move::Read(place, events) => {
                    let (reader, heard) = &mut readers[place];
                    for _ in 0..events {
                        if let Look::Event(event) = reader.look() {
                            heard.push(*event);
                        }
                    }
                }
                Move::Resume(place) => {
                    let (reader, heard) = &mut readers[place];
                    *reader = feed.reader(heard.last().map_or(0, |event| event.id));
                }
                Move::Usage => feed.usage(LiveUsage::default()),
            }
            let inner = feed.lock();
            prop_assert!(inner.size <= inner.capacity || inner.events.len() == 1);
            prop_assert_eq!(inner.size, inner.events.iter().map(size).sum::<usize>());
        }
        feed.finish(&result());
        let texts = written.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        for (mut reader, mut heard) in readers {
            heard.extend(take(&mut reader));
            let is_whole = check(&heard, &texts)?;
            prop_assert!(is_whole || capacity < 1 << 20);
        }
        check(&take(&mut feed.reader(0)), &texts)?;
    }
}
