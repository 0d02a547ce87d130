//! The load generator's HTTP: requests made beforehand, over connections that are kept.
//!
//! Written for one server and one kind of request. The generator runs on the CPUs that it measures, so it does as
//! little as it can.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use aevatar_sandbox::StartPath;
use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// For one answer.
const PATIENCE: Duration = Duration::from_mins(2);
/// Bytes of an answer's head, at most.
const LONGEST_HEAD: usize = 64 << 10;
/// Bytes of an answer's body, at most.
const LONGEST_BODY: usize = 64 << 20;

/// A request as bytes, to be sent many times.
#[derive(Clone, Debug)]
pub(super) struct Request(Vec<u8>);

impl Request {
    pub(super) fn get(address: SocketAddr, path: &str) -> Self {
        Self(format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").into_bytes())
    }

    /// `POST /api/python/execute`.
    pub(super) fn execute(address: SocketAddr, body: &Value) -> Self {
        let body = body.to_string();
        let head = format!(
            "POST /api/python/execute HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        Self([head.into_bytes(), body.into_bytes()].concat())
    }
}

/// Of an execution's result, what the bench looks at.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExecutionResult {
    exit_code: Option<i32>,
    termination: Termination,
    pub(super) usage: Usage,
    pub(super) start: Option<Start>,
    pub(super) started_at: Option<jiff::Timestamp>,
    pub(super) finished_at: jiff::Timestamp,
}

#[derive(Clone, Debug, Deserialize)]
struct Termination {
    message: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Usage {
    pub(super) startup_ms: f64,
    pub(super) peak_memory_bytes: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Start {
    pub(super) path: StartPath,
}

impl ExecutionResult {
    /// A result that does not say was started in the one way there is without zygotes.
    pub(super) fn path(&self) -> StartPath {
        self.start.as_ref().map_or(StartPath::Cold, |start| start.path)
    }
}

/// A connection to the server, for one request at a time.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("could not connect to {address}"))?;
        // A request is one write, and must not wait for the last acknowledgement.
        stream.set_nodelay(true).context("could not set an option of a socket")?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 << 10) })
    }

    /// Has a program run; the time from the first byte sent to the last one received.
    ///
    /// # Errors
    /// The server did not run it (429 is such an answer, too), or the program failed.
    pub(super) async fn execute(&mut self, request: &Request) -> anyhow::Result<(Duration, ExecutionResult)> {
        let begin = Instant::now();
        let (status, body) = self.ask(request).await?;
        let took = begin.elapsed();
        let text = || String::from_utf8_lossy(body);
        ensure!(status == 200, "the server answered {status} instead of running a program: {}", text());
        let result: ExecutionResult = serde_json::from_slice(body)
            .with_context(|| format!("the server's answer is no result of an execution: {}", text()))?;
        ensure!(result.exit_code == Some(0), "a program of the bench failed: {}", result.termination.message);
        Ok((took, result))
    }

    /// Status and body of the answer.
    pub(super) async fn ask(&mut self, request: &Request) -> anyhow::Result<(u16, &[u8])> {
        let answer = timeout(PATIENCE, self.exchange(&request.0)).await;
        let answer = answer.map_err(|_| anyhow::anyhow!("no answer within {} s", PATIENCE.as_secs()));
        let (status, body) = answer?.context("a request to the bench's own server failed")?;
        Ok((status, self.buffer.get(body..).unwrap_or_default()))
    }

    /// Status of the answer, and where its body begins in the buffer.
    async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<(u16, usize)> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let mut head = None;
        loop {
            if head.is_none() {
                head = Head::read(&self.buffer)?;
                ensure!(head.is_some() || self.buffer.len() < LONGEST_HEAD, "an answer's head without an end");
            }
            if let Some(Head { status, body, length }) = head
                && self.buffer.len() >= body + length
            {
                return Ok((status, body));
            }
            let received = self.stream.read_buf(&mut self.buffer).await?;
            ensure!(received > 0, "the server closed the connection before it had answered");
        }
    }
}

/// What is needed of an answer's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Where the body begins.
    body: usize,
    /// Length of the body.
    length: usize,
}

impl Head {
    /// Nothing while it is not complete.
    fn read(bytes: &[u8]) -> anyhow::Result<Option<Self>> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
        let head = std::str::from_utf8(bytes.get(..end).unwrap_or_default()).context("an answer's head is no text")?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
        let length = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
        });
        match (status, length) {
            (Some(status), Some(Ok(length))) if length <= LONGEST_BODY => {
                Ok(Some(Self { status, body: end + 4, length }))
            }
            _ => bail!("an answer without status or length: {head}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn heads() {
        assert_eq!(Head::read(b"HTTP/1.1 200 OK\r\ncontent-le").unwrap(), None);
        let answer = b"HTTP/1.1 429 Too Many\r\nContent-Length: 2\r\nx: y\r\n\r\n{}";
        assert_eq!(Head::read(answer).unwrap(), Some(Head { status: 429, body: 50, length: 2 }));
        for broken in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 2\r\ncontent-length: 1\r\n\r\n",
            "nonsense\r\ncontent-length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 9999999999\r\n\r\n",
        ] {
            assert!(Head::read(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    /// A server that gives this answer, in two pieces, to every request on one connection.
    async fn answering(answer: String) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            while stream.read(&mut request).await.unwrap() > 0 {
                let (first, second) = answer.as_bytes().split_at(answer.len() / 2);
                stream.write_all(first).await.unwrap();
                stream.flush().await.unwrap();
                tokio::task::yield_now().await;
                stream.write_all(second).await.unwrap();
            }
        });
        address
    }

    fn answer(status: u16, body: &Value) -> String {
        let body = body.to_string();
        format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    fn result(exit_code: i32) -> Value {
        json!({
            "exitCode": exit_code,
            "termination": { "reason": "Exited", "message": "it ended" },
            "usage": { "startupMs": 1.5, "peakMemoryBytes": null },
            "start": { "path": "parked", "profile": "bare" },
            "startedAt": null,
            "finishedAt": "2026-01-01T00:00:00Z",
            "more": [],
        })
    }

    #[test]
    fn a_result_is_read_over_a_kept_connection() {
        runtime().block_on(async {
            let address = answering(answer(200, &result(0))).await;
            let mut connection = Connection::open(address).await.unwrap();
            for _ in 0..3 {
                let (_, result) = connection.execute(&Request::execute(address, &json!({}))).await.unwrap();
                assert_eq!(result.path(), StartPath::Parked);
            }
        });
    }

    #[test]
    fn what_is_no_result_is_an_error_that_says_so() {
        for (answer, told) in [
            (answer(429, &json!({ "detail": "all places are taken" })), "all places are taken"),
            (answer(200, &json!({ "more": 1 })), "no result"),
            (answer(200, &result(3)), "it ended"),
        ] {
            runtime().block_on(async {
                let address = answering(answer).await;
                let mut connection = Connection::open(address).await.unwrap();
                let error = connection.execute(&Request::execute(address, &json!({}))).await.unwrap_err();
                assert!(format!("{error:#}").contains(told), "{error:#}");
            });
        }
    }
}
