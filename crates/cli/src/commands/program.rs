//! Where a program comes from: a file or stdin.

use std::{
    io::{self, Read},
    path::Path,
};

use aevatar_sandbox::{ErrorCode, SandboxError};

/// The largest program that is read.
const LARGEST: u64 = 16 << 20;

/// Reads the program in `file`, or on stdin for `-`.
///
/// # Errors
/// It cannot be read, or is too large to be a program.
pub(super) fn read(file: &str) -> Result<Vec<u8>, SandboxError> {
    let mut code = Vec::new();
    let path = Path::new(file);
    let source: Box<dyn Read> = if file == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(|error| unreadable(path, error))?)
    };
    source.take(LARGEST + 1).read_to_end(&mut code).map_err(|error| unreadable(path, error))?;
    if code.len() as u64 > LARGEST {
        return Err(SandboxError::new(
            ErrorCode::InvalidRequest,
            format!("the program in `{file}` is larger than 16Mi"),
        )
        .with_hint("send data through stdin rather than in the program"));
    }
    Ok(code)
}

fn unreadable(file: &Path, error: io::Error) -> SandboxError {
    SandboxError::new(ErrorCode::InvalidRequest, format!("could not read the program `{}`: {error}", file.display()))
        .with_hint("name a readable Python file, `-` for stdin, or use `-c CODE`")
        .with_source(error)
}
