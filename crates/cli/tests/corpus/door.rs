//! A server of the binary under test, and programs sent to it over HTTP.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value, json};

use crate::{
    ordinary_user::Cgroups,
    sandbox::{Answer, Inside, Run},
    site,
};

/// For one answer.
const ANSWER_LIMIT: Duration = Duration::from_mins(2);
/// What the log says in front of the address.
const LISTENING: &str = "listening on http://";
/// A secret of the server: its key, in its environment.
const KEY: &str = "corpus-key-5b7d1c0a9e";

/// For all zygotes, each with a worker that waits.
const WARM_LIMIT: Duration = Duration::from_mins(2);

/// A running server; dropping it ends it.
pub(crate) struct Door {
    server: Child,
    address: SocketAddr,
    /// Of an ordinary user's server.
    cgroups: Option<Cgroups>,
}

impl Door {
    /// Starts the server by `command`, which is the binary alone: without the import policy, because the kernel is the
    /// boundary, and with room for every limit of the corpora. Returns when its interpreters are warm: through this door
    /// no program starts cold.
    pub(crate) fn open(mut command: Command, arguments: &[String], cgroups: Option<Cgroups>) -> Result<Self, String> {
        let mut server = command
            .args(["serve", "--port", "0"])
            .args(arguments)
            .env("PythonSandbox__ImportPolicy", "Off")
            .env("PythonSandbox__ApiKeys__0", KEY)
            .envs(site::settings())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start a server: {error}"))?;
        let log = server.stderr.take().ok_or("the server has no log")?;
        let mut lines = BufReader::new(log).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split_once(LISTENING)?.1.trim().parse().ok())
            .ok_or("the server ended before it listened")?;
        // Nobody reads it, and it must not fill up.
        std::thread::spawn(move || lines.for_each(drop));
        let door = Self { server, address, cgroups };
        door.await_warmth()?;
        Ok(door)
    }

    fn await_warmth(&self) -> Result<(), String> {
        let limit = site::patience(WARM_LIMIT);
        let asked = Instant::now();
        loop {
            let (_, text) = self
                .exchange("GET /api/python/capabilities", "")
                .map_err(|error| format!("the server does not say how it is: {error}"))?;
            let said: Value =
                serde_json::from_str(&text).map_err(|error| format!("no capabilities ({error}): {text}"))?;
            let profiles = said["warm"]["profiles"].as_array().cloned().unwrap_or_default();
            let is_warm = |profile: &Value| profile["ready"] == true && profile["parked"].as_u64() > Some(0);
            if !profiles.is_empty() && profiles.iter().all(is_warm) {
                return Ok(());
            }
            if asked.elapsed() > limit {
                return Err(format!("its interpreters are not warm: {}", said["warm"]));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends one program and waits for its result.
    pub(crate) fn ask(&self, run: &Run) -> Result<Answer, String> {
        let code = std::fs::read_to_string(run.program).map_err(|error| format!("cannot read the program: {error}"))?;
        let mut body = json!({
            "code": code,
            "args": run.args,
            "stdin": String::from_utf8_lossy(run.stdin),
            "outputFiles": "inline",
        });
        let mut resources = Map::new();
        for flag in run.limits {
            let (name, value) = flag.split_once('=').ok_or_else(|| format!("`{flag}` is not `--name=value`"))?;
            let number = || value.parse::<f64>().map_err(|_| format!("`{flag}` is no number"));
            match name {
                "--timeout" => body["timeout"] = json!(number()?),
                "--cpu-time" => drop(resources.insert("cpuTime".to_owned(), json!(number()?))),
                "--processes" => {
                    let count: u32 = value.parse().map_err(|_| format!("`{flag}` is no number"))?;
                    resources.insert("processLimit".to_owned(), json!(count));
                }
                "--cpu" | "--memory" | "--disk" => {
                    drop(resources.insert(format!("{}Limit", &name[2..]), json!(value)));
                }
                _ => return Err(format!("`{flag}` has no counterpart over HTTP")),
            }
        }
        body["resources"] = Value::Object(resources);
        let asked = Instant::now();
        let (status, text) = self.post(&body.to_string()).map_err(|error| format!("no answer: {error}"))?;
        if text.contains(KEY) {
            return Err("the server's key came out of the sandbox".to_owned());
        }
        match status {
            200 => {
                let value: Value =
                    serde_json::from_str(&text).map_err(|error| format!("no result ({error}): {text}"))?;
                if value["start"]["path"] == "cold" {
                    return Err("it was started cold, and what is to be shown is a warm start".to_owned());
                }
                let result = serde_json::from_str(&text).map_err(|error| format!("no result ({error}): {text}"))?;
                // What came out in a file came out, too.
                let text = [text, contents(&value)].join("\n");
                Ok(Answer::Ran(Box::new(Inside { result, text, took: asked.elapsed() })))
            }
            422 => Ok(Answer::Rejected(text)),
            _ => Err(format!("{status}: {text}")),
        }
    }

    fn post(&self, body: &str) -> std::io::Result<(u16, String)> {
        self.exchange("POST /api/python/execute", body)
    }

    fn exchange(&self, what: &str, body: &str) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(site::patience(ANSWER_LIMIT)))?;
        write!(
            stream,
            "{what} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-api-key: {KEY}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        Ok((status, body.to_owned()))
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.server.id()).ok().and_then(Pid::from_raw) {
            // It may have ended.
            let _ = kill_process(pid, Signal::TERM);
        }
        drop(self.server.wait());
        if let Some(Err(left)) = self.cgroups.take().map(Cgroups::remove) {
            // Not while another panic is on its way.
            assert!(std::thread::panicking(), "the server left something in its cgroups: {left}");
        }
    }
}

/// The files of a result, one after the other.
fn contents(result: &Value) -> String {
    let files = result["files"].as_array().map_or(&[][..], Vec::as_slice);
    let decoded = files.iter().filter_map(|file| BASE64_STANDARD.decode(file["content"].as_str()?).ok());
    decoded.map(|content| String::from_utf8_lossy(&content).into_owned()).collect()
}
