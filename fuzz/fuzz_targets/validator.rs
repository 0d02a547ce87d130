//! Any bytes, read as a program: no panic, no stack overflow, no hang, and findings inside the text.
#![no_main]

use aevatar_sandbox_contract::PythonVersion;
use aevatar_sandbox_python::{DangerousConstructs, ImportRules, PythonCodeValidator, ValidatorOptions};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (minor, code) = input;
    let python = PythonVersion { major: 3, minor: 11 + minor % 3, micro: 0 };
    let options = ValidatorOptions { dangerous_constructs: DangerousConstructs::Reject, ..ValidatorOptions::default() };
    let policy = ImportRules::default().default_policy();
    let report = PythonCodeValidator::new(options).validate(&code, python, policy.as_deref());
    // One line more than there are line breaks of any kind.
    let lines = code.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
    let error = report.syntax_error.iter().filter_map(|error| error.line);
    for line in report.violations.iter().map(|finding| finding.line).chain(error) {
        assert!((1..=lines + 1).contains(&(line as usize)), "line {line} of {lines}");
    }
});
