//! docs/syscalls.md, from the table of the filter.

use std::fmt::Write;

use aevatar_sandbox_jail::seccomp::rules::{Action, Condition, RULES};
use anyhow::Context;
use fs_err as fs;

/// Where the page is, from the workspace's root.
pub(crate) const PAGE: &str = "docs/syscalls.md";

pub(crate) fn write() -> anyhow::Result<()> {
    fs::write(PAGE, page()).context("run it from the root of the workspace")
}

/// The page.
pub(crate) fn page() -> String {
    let mut page = String::from(
        "# System calls of a sandboxed program\n\n\
         Made by `cargo xtask syscalls` from `crates/jail/src/seccomp/rules.rs`; a test compares them.\n\n\
         Rules for one call are tried in order. A call that no rule names is refused with EPERM and named in the \
         result when the kernel knows it, and answered with ENOSYS when it does not. A call of a foreign architecture \
         ends the process.\n\n\
         | calls | when | answer | reason |\n| --- | --- | --- | --- |\n",
    );
    for rule in RULES {
        let calls: Vec<String> = rule.calls.iter().map(|call| format!("`{call}`")).collect();
        let when: Vec<String> = rule.when.iter().map(condition).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} |",
            calls.join(" "),
            when.join(" and "),
            action(rule.action),
            rule.reason
        );
    }
    page
}

fn condition(condition: &Condition) -> String {
    let list = |values: &[u64]| values.iter().map(|value| format!("{value:#x}")).collect::<Vec<_>>().join(", ");
    match condition {
        Condition::OneOf(argument, values) => format!("argument {argument} is one of {}", list(values)),
        Condition::MaskedOneOf(argument, mask, values) => {
            format!("argument {argument} without {mask:#x} is one of {}", list(values))
        }
        Condition::Clear(argument, bits) => format!("argument {argument} has none of {bits:#x}"),
    }
}

fn action(action: Action) -> String {
    match action {
        Action::Allow => "allowed".to_owned(),
        Action::Refuse => "EPERM, named".to_owned(),
        Action::Quiet(1) => "EPERM".to_owned(),
        Action::Quiet(22) => "EINVAL".to_owned(),
        Action::Quiet(25) => "ENOTTY".to_owned(),
        Action::Quiet(38) => "ENOSYS".to_owned(),
        Action::Quiet(97) => "EAFNOSUPPORT".to_owned(),
        Action::Quiet(errno) => format!("errno {errno}"),
    }
}
