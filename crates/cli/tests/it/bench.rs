//! `aevatar-sandbox bench`: a tiny one measures, and leaves nothing.

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    host,
    place::{Place, finish},
    require,
    running::Running,
};

/// One program, a few times.
const TINY: [&str; 9] = ["bench", "--quick", "--only", "latency", "--program", "hello", "--rounds", "1", "--warm-up=5"];

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn a_tiny_bench_has_sane_numbers() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let plot = place.path().join("plot.svg");
    let arguments = [&TINY[..], &["--json", "--plot", plot.to_str().unwrap()]].concat();
    let outcome = finish(place.command(&arguments), b"");
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();

    assert_eq!((&report["quick"], &report["version"]), (&true.into(), &env!("CARGO_PKG_VERSION").into()));
    assert!(number(&report["host"]["cpus"]) >= 1.0, "{report}");
    assert_eq!(report["latency"].as_array().unwrap().len(), 1, "{report}");
    for way in ["sandbox", "python"] {
        let ways = report["latency"][0]["ways"].as_array().unwrap();
        let times = ways.iter().find(|times| times["way"] == way).unwrap();
        let [min, p50, p99, max] = ["minMs", "p50Ms", "p99Ms", "maxMs"].map(|name| number(&times[name]));
        assert!(0.0 < min && min <= p50 && p50 <= p99 && p99 <= max && max < 60_000.0, "{times}");
        assert!(number(&times["samples"]) >= 1.0, "{times}");
    }
    let goal = &report["goals"][1];
    assert_eq!(goal["name"], "print(\"hi\"): p99 to p50");
    assert_eq!(goal["reached"], number(&goal["measured"]) <= number(&goal["limit"]), "{goal}");
    assert!(std::fs::read_to_string(&plot).unwrap().starts_with("<svg "));
    place.assert_nothing_left(&[], &[]);
}

#[test]
fn a_bench_that_is_interrupted_ends_its_server() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    for (signal, code) in [(Signal::TERM, 130), (Signal::KILL, 128 + 9)] {
        let arguments = [&TINY[..6], &["--rounds", "10000", "--warm-up", "0"]].concat();
        let mut bench = Running::start(place.command(&arguments));
        host::eventually("a bench that measures", || {
            assert!(!bench.has_ended(), "{}", bench.stderr());
            bench.stderr().contains("round 1 of").then_some(())
        });
        let tree = host::descendants(bench.pid());
        assert!(!tree.is_empty(), "the server is its child");
        bench.signal(signal);
        assert_eq!(bench.finish().code, code);
        host::eventually_nothing("processes of the bench", || {
            tree.iter().filter(|process| process.is_alive()).map(|process| process.name()).collect()
        });
    }
}

#[test]
fn a_bench_that_cannot_measure_says_why() {
    let outcome = finish(Place::new().command(&[&TINY[..], &["--python", "/no/such/python"]].concat()), b"");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""), "{outcome:?}");
    assert!(outcome.stderr.contains("/no/such/python") && outcome.stderr.contains("hint: "), "{outcome:?}");
}
