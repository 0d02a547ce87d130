//! The example that embeds the library, as `cargo test` builds it.

use std::process::Command;

use crate::{
    place::{Place, finish},
    require, site,
};

#[test]
fn the_library_runs_a_program_in_ten_lines() {
    if !require::default_tier() {
        return;
    }
    let example = site::example();
    let built = if example.exists() { Ok(()) } else { Err(format!("{} was not built", example.display())) };
    if !require::or_skip(built) {
        return;
    }
    let outcome = finish(Place::new().command_as(Command::new(example), &[] as &[&str]), b"");
    assert_eq!((outcome.code, outcome.stdout.trim_end(), outcome.stderr.as_str()), (0, "Exited: 42", ""));
}
