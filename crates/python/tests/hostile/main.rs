//! Texts that are made to take a validator down: it must answer all of them, soon.

mod programs;

use std::time::{Duration, Instant};

use aevatar_sandbox_contract::{ImportPolicy, PythonVersion};
use aevatar_sandbox_python::{DangerousConstructs, PythonCodeValidator, ValidatorOptions};

/// In a build without optimisation small texts are enough to overflow a stack, and large ones take long.
const SIZE: usize = if cfg!(debug_assertions) { 24 * 1024 } else { 1_000_000 };

#[test]
fn hostile_texts_are_answered_soon() {
    let validator = PythonCodeValidator::new(ValidatorOptions {
        max_code_length: 10_000_000,
        dangerous_constructs: DangerousConstructs::Warn,
    });
    let policy = ImportPolicy { allowed: vec!["numpy".to_owned()], blocked: vec!["ctypes".to_owned()] };
    let mut times: Vec<(Duration, String)> = Vec::new();
    for (name, code) in programs::programs(SIZE) {
        // What a service has: a thread of two megabytes.
        let start = Instant::now();
        let minor = 11 + u8::try_from(times.len() % 3).unwrap();
        let report = validator.validate(&code, PythonVersion { major: 3, minor, micro: 0 }, Some(&policy));
        times.push((start.elapsed(), name));
        assert!(serde_json::to_vec(&report).unwrap().len() < 200_000, "a report is short");
    }
    times.sort();
    times.reverse();
    for (time, name) in times.iter().take(25) {
        println!("{time:?} {name}");
    }
    let total: Duration = times.iter().map(|(time, _)| *time).sum();
    println!("{} texts of {SIZE} bytes in {total:?}", times.len());
    let (worst, name) = &times[0];
    assert!(*worst < Duration::from_secs(2), "{name} took {worst:?}");
}
