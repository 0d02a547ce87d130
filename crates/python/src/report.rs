//! The description of an uncaught exception, as it comes out of a sandbox: hostile until read.

use aevatar_sandbox_contract::PythonError;

/// Bytes that are read of a report; the sandbox's own runtime stays well below.
pub(crate) const MAX_REPORT: usize = 512 * 1024;
/// Characters that are kept of a name.
const MAX_NAME: usize = 200;

/// Reads a report. Anything that is not exactly one of ours is none: the program may have written it.
///
/// Depth is bounded by the JSON parser (128) and by the shape: the fields are flat.
pub(crate) fn parse(bytes: &[u8]) -> Option<PythonError> {
    if bytes.len() > MAX_REPORT {
        return None;
    }
    let mut error: PythonError = serde_json::from_slice(bytes).ok()?;
    if error.name.is_empty() || error.name.chars().count() > MAX_NAME {
        return None;
    }
    // It stands in the one line that says why a program ended.
    error.name.retain(|letter| !letter.is_control());
    error.line = error.line.filter(|line| *line > 0);
    error.column = error.column.filter(|column| *column > 0);
    Some(error)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_the_runtime_writes() {
        let report = br#"{"name": "ZeroDivisionError", "value": "division by zero", "traceback": "Traceback ...", "line": 3, "errno": null}"#;
        let error = parse(report).unwrap();
        assert_eq!((error.name.as_str(), error.line, error.errno), ("ZeroDivisionError", Some(3), None));
    }

    #[test]
    fn takes_nothing_else() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        let twice = br#"{"name":"A","value":"","traceback":""}{"name":"B","value":"","traceback":""}"#;
        let huge = format!(r#"{{"name":"A","value":"{}","traceback":""}}"#, "x".repeat(MAX_REPORT));
        let long_name = format!(r#"{{"name":"{}","value":"","traceback":""}}"#, "x".repeat(MAX_NAME + 1));
        for bytes in
            [b"".as_slice(), b"{}", b"null", b"\xFF\xFE", twice, deep.as_bytes(), huge.as_bytes(), long_name.as_bytes()]
        {
            assert_eq!(parse(bytes), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes).is_some();
        }
    }
}
