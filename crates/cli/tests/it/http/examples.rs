//! The clients of `examples/`, compiled and run against a server.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::server::Server;
use crate::{
    place::{Outcome, finish},
    require, site,
};

const KEY: &str = "a-key-of-the-examples";

/// The folder of the examples.
fn examples() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    if folder.exists() { Ok(folder) } else { Err("the examples are not on this machine".to_owned()) }
}

/// Whether `programs` are installed.
fn installed(programs: &[&str]) -> Result<(), String> {
    let missing = |program: &&&str| !std::env::split_paths(&path()).any(|folder| folder.join(program).is_file());
    match programs.iter().find(missing) {
        Some(program) => Err(format!("{program} is not installed")),
        None => Ok(()),
    }
}

fn path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

fn server() -> Server {
    Server::with(&[("ApiKeys__0", KEY)])
}

/// Runs a client to its end.
fn run(mut client: Command, server: &Server) -> Outcome {
    client.args([&format!("http://{}", server.address), KEY]);
    let outcome = finish(client, b"");
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{}", outcome.stdout);
    outcome
}

#[test]
fn the_client_for_dotnet_does_what_it_shows() {
    let ready = examples().and_then(|folder| {
        installed(&["dotnet"]).or_else(|_| installed(&["mcs", "mono"]))?;
        Ok(folder.join("csharp"))
    });
    if !require::default_tier() || !require::or_skip(ready.clone().map(drop)) {
        return;
    }
    let built = tempfile::Builder::new().prefix("csharp-").tempdir_in(site::scratch()).unwrap();
    let program = build(&ready.unwrap(), built.path());
    let expected = "\
execute: Completed C# ['one', 'two'] 42
failed: ZeroDivisionError in line 1, Exception
events: step 0, step 1, step 2
status: Completed
result: step 0, step 1, step 2
resumed at: 2
cancel: Cancelled
refused: 422 CodeRejected
";
    assert_eq!(run(program, &server()).stdout, expected);
}

/// Compiles the sources into `folder`; the command that runs what came of it.
fn build(sources: &Path, folder: &Path) -> Command {
    if installed(&["dotnet"]).is_ok() {
        // It writes beside the sources.
        for name in ["AevatarSandboxClient.cs", "Program.cs", "Example.csproj"] {
            std::fs::copy(sources.join(name), folder.join(name)).unwrap();
        }
        let mut version = Command::new("dotnet");
        version.arg("--version");
        let version = finish(version, b"").stdout;
        let major = version.split('.').next().unwrap();
        let mut compiler = Command::new("dotnet");
        compiler.args(["build", "--nologo", "--output", "out"]).arg(format!("-p:TargetFramework=net{major}.0"));
        let outcome = finish(
            {
                compiler.current_dir(folder);
                compiler
            },
            b"",
        );
        assert_eq!(outcome.code, 0, "{outcome:?}");
        let mut program = Command::new("dotnet");
        program.arg(folder.join("out/Example.dll"));
        return program;
    }
    let executable = folder.join("example.exe");
    let mut compiler = Command::new("mcs");
    compiler.args(["-nologo", "-warnaserror", "-langversion:7", "-r:System.Net.Http,System.Runtime.Serialization"]);
    compiler.arg(format!("-out:{}", executable.display()));
    compiler.args(["AevatarSandboxClient.cs", "Program.cs"]).current_dir(sources);
    let outcome = finish(compiler, b"");
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let mut program = Command::new("mono");
    program.arg(executable);
    program
}

#[test]
fn the_client_for_python_does_what_it_shows() {
    let script = examples().map(|folder| folder.join("python/aevatar_sandbox_client.py"));
    if !require::default_tier() || !require::or_skip(script.clone().map(drop)) {
        return;
    }
    let mut client = Command::new("python3");
    client.arg("-B").arg(script.unwrap());
    let expected = "\
execute: Completed 42
start: True
event: step 0
event: step 1
event: step 2
status: Completed
result: ['step', '0', 'step', '1', 'step', '2']
resumed: True
cancel: Cancelled
refused: 422 CodeRejected 1
";
    assert_eq!(run(client, &server()).stdout, expected);
}

#[test]
fn the_calls_with_curl_do_what_they_say() {
    let script = examples().and_then(|folder| installed(&["curl"]).map(|()| folder.join("curl.sh")));
    if !require::default_tier() || !require::or_skip(script.clone().map(drop)) {
        return;
    }
    let mut client = Command::new("sh");
    client.arg(script.unwrap());
    let said = run(client, &server()).stdout;
    let answers: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let stdout: Vec<&str> = answers.iter().filter_map(|answer| answer["stdout"].as_str()).collect();
    assert_eq!(stdout, ["42\n", "from a form\n", "started\n"], "{said}");
    let events: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!((events.first(), events.last()), (Some(&"queued"), Some(&"result")), "{said}");
    assert!(answers.iter().any(|answer| answer["outcome"] == "cancelled"), "{said}");
    assert!(answers.iter().any(|answer| answer["text"] == "started\n"), "{said}");
    assert!(answers.iter().any(|answer| answer["executions"].as_array().is_some_and(|all| all.len() == 2)), "{said}");
    assert!(said.contains("You can run Python programs"), "{said}");
}
