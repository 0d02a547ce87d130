//! A client that decides on every byte: it can be slow, break off, and send what is no HTTP.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

use super::contract;
use crate::site;

/// For an answer, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// A request that is still to be sent.
#[derive(Clone, Debug)]
pub(super) struct Request {
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub(super) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub(super) fn new(method: &'static str, path: &str) -> Self {
        Self { method, path: path.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    /// With JSON, or what claims to be JSON.
    pub(super) fn post(path: &str, body: impl AsRef<[u8]>) -> Self {
        Self { body: body.as_ref().to_vec(), ..Self::new("POST", path) }.header("content-type", "application/json")
    }

    pub(super) fn execute(body: &Value) -> Self {
        Self::post("/api/python/execute", body.to_string())
    }

    /// Starts a program.
    pub(super) fn start(body: &Value) -> Self {
        Self::post("/api/python/executions", body.to_string())
    }

    /// Adds a header, or replaces it.
    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn without_header(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut lines = vec![format!("{} {} HTTP/1.1", self.method, self.path)];
        let given = |name: &str| self.headers.iter().any(|(known, _)| known == name);
        if !given("host") {
            lines.push("host: localhost".to_owned());
        }
        if !self.body.is_empty() && !given("content-length") {
            lines.push(format!("content-length: {}", self.body.len()));
        }
        lines.extend(self.headers.iter().map(|(name, value)| format!("{name}: {value}")));
        [lines.join("\r\n").as_bytes(), b"\r\n\r\n", &self.body].concat()
    }
}

/// What the server answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap_or_else(|_| panic!("no UTF-8: {self:?}"))
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text()))
    }

    /// The body of a 200.
    pub(super) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// The problem, which must be this one and say what to do.
    pub(super) fn problem(&self, status: u16, code: &str) -> Value {
        let problem = self.json();
        assert_eq!((self.status, problem["code"].as_str()), (status, Some(code)), "{problem}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("urn:aevatar-sandbox:problem:{code}"));
        for member in ["title", "detail", "hint"] {
            assert!(problem[member].as_str().is_some_and(|text| text.len() > 3), "`{member}`: {problem}");
        }
        problem
    }
}

/// Whoever answers requests.
pub(super) trait Ask {
    fn ask(&self, request: &Request) -> Answer;
}

/// A connection to the server.
pub(super) struct Connection {
    stream: TcpStream,
    /// Received, and not yet part of an answer.
    received: Vec<u8>,
}

impl Connection {
    pub(super) fn open(address: SocketAddr) -> Self {
        Self::try_open(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    pub(super) fn try_open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, site::patience(PATIENCE))?;
        stream.set_read_timeout(Some(site::patience(PATIENCE)))?;
        stream.set_write_timeout(Some(site::patience(PATIENCE)))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::new() })
    }

    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// The server may have answered and closed already.
    pub(super) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    pub(super) fn ask(&mut self, request: &Request) -> Answer {
        self.send(request.bytes());
        self.answer(request.method, &request.path)
    }

    /// The answer to a request with this method for this path, held against the document.
    pub(super) fn answer(&mut self, method: &str, path: &str) -> Answer {
        let answer = self.read_answer(method == "HEAD");
        contract::check(method, path, &answer);
        answer
    }

    /// The answer to what is no request: of HTTP itself, so no document tells of it.
    pub(super) fn answer_to_garbage(&mut self) -> Answer {
        self.read_answer(false)
    }

    /// The answer of a server that may be killed meanwhile; not held against the document.
    pub(super) fn try_answer(&mut self) -> io::Result<Answer> {
        let broken = || io::Error::from(io::ErrorKind::UnexpectedEof);
        loop {
            if let Some(end) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.received[..end]).to_lowercase();
                let length =
                    head.split_once("content-length: ").and_then(|(_, rest)| rest.lines().next()?.parse().ok());
                if length.is_some_and(|length: usize| self.received.len() >= end + 4 + length) {
                    return Ok(self.read_answer(false));
                }
            }
            if self.receive()? == 0 {
                return Err(broken());
            }
        }
    }

    /// Status and headers of an answer; the body may follow.
    pub(super) fn head(&mut self) -> Answer {
        let end = loop {
            if let Some(at) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.receive().unwrap() > 0, "closed within a head: {:?}", self.received_text());
        };
        let head = String::from_utf8(self.received.drain(..end).collect()).unwrap();
        let mut lines = head.trim_end().lines();
        let status_line = lines.next().unwrap();
        let status = status_line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no header: {line}"));
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        let status = status.unwrap_or_else(|| panic!("no status line: {status_line}"));
        Answer { status, headers: headers.collect(), body: Vec::new() }
    }

    fn read_answer(&mut self, bodiless: bool) -> Answer {
        let mut answer = self.head();
        let length = answer.header("content-length").map(|length| length.parse::<usize>().unwrap());
        let length = length.unwrap_or_else(|| panic!("no length: {answer:?}"));
        if !bodiless {
            while self.received.len() < length {
                assert!(self.receive().unwrap() > 0, "closed within a body: {:?}", self.received_text());
            }
            answer.body = self.received.drain(..length).collect();
        }
        answer
    }

    /// The events of a stream that a request asks for; the answer must be one.
    pub(super) fn follow(mut self, request: &Request) -> Events {
        self.send(request.bytes());
        let head = self.head();
        let (status, kind) = (head.status, head.header("content-type"));
        assert_eq!((status, kind), (200, Some("text/event-stream")), "{head:?} {:?}", self.received_text());
        assert_eq!(head.header("transfer-encoding"), Some("chunked"), "{head:?}");
        contract::check(request.method, &request.path, &head);
        Events { connection: self, text: Vec::new(), is_over: false, comments: 0 }
    }

    /// Waits for the end of the connection; whether it comes without another byte.
    pub(super) fn is_closed(&mut self) -> bool {
        let closed = match self.receive() {
            Ok(length) => length == 0,
            // The server had bytes that it did not want to read.
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        };
        closed && self.received.is_empty()
    }

    /// Says that no more will be sent.
    pub(super) fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    fn receive(&mut self) -> io::Result<usize> {
        let mut buffer = vec![0; 1 << 16];
        let length = loop {
            match self.stream.read(&mut buffer) {
                // A signal of the test's own, as of a child that ended.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => break read,
            }
        }?;
        self.received.extend_from_slice(&buffer[..length]);
        Ok(length)
    }

    fn received_text(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }
}

/// One event of a stream.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) data: Value,
}

/// Server-Sent Events as they come, without their encoding in chunks.
pub(super) struct Events {
    connection: Connection,
    text: Vec<u8>,
    is_over: bool,
    pub(super) comments: usize,
}

impl Events {
    /// The next one; nothing after the end of the answer.
    pub(super) fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(block) = self.block() {
                match self.event(&block) {
                    Some(event) => return Some(event),
                    None => continue,
                }
            }
            if self.is_over {
                assert!(self.text.is_empty(), "the stream ended within an event");
                return None;
            }
            self.chunk();
        }
    }

    /// All up to the end.
    pub(super) fn rest(mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// Waits for one with this name; it, and those before it.
    pub(super) fn until(&mut self, name: &str) -> Vec<Event> {
        let mut all = Vec::new();
        loop {
            let event = self.next().unwrap_or_else(|| panic!("the stream ended without `{name}`: {all:?}"));
            let found = event.name == name;
            all.push(event);
            if found {
                return all;
            }
        }
    }

    /// The connection, in the middle of the stream.
    pub(super) fn into_connection(self) -> Connection {
        self.connection
    }

    /// Waits for a comment.
    pub(super) fn wait_for_comment(&mut self) {
        let before = self.comments;
        while self.comments == before {
            while let Some(block) = self.block() {
                drop(self.event(&block));
            }
            if self.comments == before {
                self.chunk();
            }
        }
    }

    fn block(&mut self) -> Option<String> {
        let end = self.text.windows(2).position(|window| window == b"\n\n")?;
        let block: Vec<u8> = self.text.drain(..end + 2).collect();
        Some(String::from_utf8(block).unwrap())
    }

    fn event(&mut self, block: &str) -> Option<Event> {
        let field = |name: &str| {
            let mut lines = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            let value = lines.next();
            assert_eq!(lines.next(), None, "`{name}` twice: {block}");
            value
        };
        if block.starts_with(':') {
            self.comments += 1;
            return None;
        }
        let missing = || panic!("no event: {block}");
        Some(Event {
            id: field("id").and_then(|id| id.parse().ok()).unwrap_or_else(missing),
            name: field("event").unwrap_or_else(|| panic!("no name: {block}")).to_owned(),
            data: field("data").and_then(|data| serde_json::from_str(data).ok()).unwrap_or_else(|| panic!("{block}")),
        })
    }

    fn chunk(&mut self) {
        let received = &mut self.connection;
        let line = loop {
            if let Some(end) = received.received.windows(2).position(|window| window == b"\r\n") {
                break received.received.drain(..end + 2).collect::<Vec<u8>>();
            }
            assert!(received.receive().unwrap() > 0, "closed within a stream");
        };
        let length = std::str::from_utf8(&line).ok().and_then(|line| usize::from_str_radix(line.trim(), 16).ok());
        let length = length.unwrap_or_else(|| panic!("no length of a chunk: {line:?}"));
        while received.received.len() < length + 2 {
            assert!(received.receive().unwrap() > 0, "closed within a chunk");
        }
        self.text.extend(received.received.drain(..length));
        let end: Vec<u8> = received.received.drain(..2).collect();
        assert_eq!(end, b"\r\n");
        self.is_over = length == 0;
    }
}
