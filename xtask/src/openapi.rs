//! openapi/aevatar-sandbox.json, from the routes.

use anyhow::Context;
use fs_err as fs;

/// Where the document is, from the workspace's root.
pub(crate) const DOCUMENT: &str = "openapi/aevatar-sandbox.json";

pub(crate) fn write() -> anyhow::Result<()> {
    fs::create_dir_all("openapi")?;
    fs::write(DOCUMENT, document()?).context("run it from the root of the workspace")
}

/// The document.
pub(crate) fn document() -> anyhow::Result<String> {
    let mut text = aevatar_sandbox_server::document().to_pretty_json().context("could not write the document")?;
    text.push('\n');
    Ok(text)
}
