//! docs/configuration.md, from the table of settings.

use std::fmt::Write;

use aevatar_sandbox::configuration::SETTINGS;
use anyhow::Context;
use fs_err as fs;

/// Where the page is, from the workspace's root.
pub(crate) const PAGE: &str = "docs/configuration.md";

/// What stands above the table; `{EXAMPLE}` for the example.
const INTRODUCTION: &str = include_str!("configuration.md");
const EXAMPLE: &str = include_str!("../../examples/appsettings.json");

pub(crate) fn write() -> anyhow::Result<()> {
    fs::write(PAGE, page()).context("run it from the root of the workspace")
}

/// The page.
pub(crate) fn page() -> String {
    let mut page = INTRODUCTION.replace("{EXAMPLE}", EXAMPLE.trim_end());
    page.push_str("\n| key | type | default | allowed | meaning |\n| --- | --- | --- | --- | --- |\n");
    for setting in SETTINGS {
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} |",
            setting.key(),
            setting.type_name(),
            setting.default_text(),
            setting.allowed(),
            setting.description()
        );
    }
    page
}
