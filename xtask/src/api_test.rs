//! `cargo xtask api-test`: Schemathesis makes requests from the `OpenAPI` document, good ones and bad ones, and holds
//! every answer against it. Needs PyPI once.

use std::{path::Path, process::Command};

use anyhow::{Context, bail, ensure};
use fs_err as fs;

use crate::{
    openapi,
    server::{Server, tail},
};

const FOLDER: &str = "target/api-test";
const PYTHON: &str = "/usr/bin/python3";
/// What is installed, with exact versions.
const PACKAGES: &str = include_str!("api_test.txt");

/// No 500, no status, header, content type or body that is not documented, nothing accepted that the document forbids.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,unsupported_method,\
                      allow_header_conformance,negative_data_rejection";
/// Of requests.
const SECONDS: &str = "90";
/// Programs are short, so that the requests are many.
const SETTINGS: [(&str, &str); 3] =
    [("PythonSandbox__DefaultTimeout", "1"), ("PythonSandbox__MaxTimeout", "2"), ("PythonSandbox__BodyTimeout", "5")];

/// Why it cannot be done here.
pub(crate) fn obstacle() -> Option<String> {
    install().err().map(|error| format!("{error:#}"))
}

pub(crate) fn run() -> anyhow::Result<()> {
    install()?;
    tool("openapi-spec-validator")?.arg(openapi::DOCUMENT).status().map_err(Into::into).and_then(good)?;
    let built = Command::new("cargo").args(["build", "--quiet", "--package", "aevatar-sandbox"]).status()?;
    ensure!(built.success(), "the server could not be built");
    let server = Server::start("target/debug/aevatar-sandbox", &SETTINGS)?;
    let tested = test(&server);
    let log = server.stop()?;
    tested.with_context(|| format!("the end of the server's log:\n{}", tail(&log)))?;
    ensure!(!log.contains("panicked"), "the server panicked:\n{}", tail(&log));
    Ok(())
}

/// The packages in an environment of their own, which is made once.
fn install() -> anyhow::Result<()> {
    let (list, environment) = (Path::new(FOLDER).join("packages.txt"), Path::new(FOLDER).join("venv"));
    if fs::read_to_string(&list).is_ok_and(|installed| installed == PACKAGES) {
        return Ok(());
    }
    fs::create_dir_all(FOLDER)?;
    let made = Command::new(PYTHON).args(["-m", "venv", "--clear"]).arg(&environment).status();
    made.map_err(Into::into).and_then(good).context("could not make a virtual environment")?;
    let wanted = Path::new(FOLDER).join("wanted.txt");
    fs::write(&wanted, PACKAGES)?;
    let mut pip = tool("pip")?;
    let installed =
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(&wanted).status();
    installed.map_err(Into::into).and_then(good).context("could not install Schemathesis from PyPI")?;
    Ok(fs::rename(wanted, list)?)
}

fn tool(name: &str) -> anyhow::Result<Command> {
    Ok(Command::new(fs::canonicalize(FOLDER)?.join("venv/bin").join(name)))
}

fn good(status: std::process::ExitStatus) -> anyhow::Result<()> {
    if status.success() { Ok(()) } else { bail!("it ended with {status}") }
}

fn test(server: &Server) -> anyhow::Result<()> {
    let document = fs::canonicalize(openapi::DOCUMENT)?;
    let mut schemathesis = tool("schemathesis")?;
    schemathesis.arg("run").arg(document).args(["--url", &server.url, "--checks", CHECKS, "--max-time", SECONDS]);
    schemathesis.args(["--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "20", "--no-color"]);
    schemathesis.args(["--continue-on-failure", "--request-timeout", "30", "--warnings", "off"]);
    // What it keeps between runs goes with the folder.
    schemathesis.current_dir(server.place());
    schemathesis.status().map_err(Into::into).and_then(good).context("Schemathesis found something")
}
