//! Secrets around the sandbox that no program inside may reach.

use std::{
    fs::File,
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::PermissionsExt,
            net::{SocketAddr, UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use serde_json::json;

use crate::sandbox::public_folder;

/// The canaries of one trial. Dropping them ends listeners and victim and removes the files.
pub(crate) struct Canaries {
    pub(crate) environment_variable: String,
    /// Name in headers, secret.
    secrets: Vec<(&'static str, String)>,
    token: String,
    listeners: Vec<Listener>,
    victim: Child,
    tcp_port: u16,
    udp_port: u16,
    /// Last: a listener is woken through its path in here.
    pub(crate) folder: tempfile::TempDir,
}

/// A service that tells everybody who asks its secret, and counts them.
struct Listener {
    visitors: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    wake: Box<dyn Fn() + Send + Sync>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// `serve` blocks until somebody asks, answers, and returns; `wake` is somebody.
    fn start(serve: impl Fn() + Send + 'static, wake: impl Fn() + Send + Sync + 'static) -> Self {
        let (visitors, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, ended) = (Arc::clone(&visitors), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                serve();
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { visitors, stop, wake: Box::new(wake), thread: Some(thread) }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        (self.wake)();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Canaries {
    /// Plants them. `start_victim` makes the command that starts a program as the user whose sandbox is tested.
    pub(crate) fn plant(start_victim: impl Fn(&str) -> Command) -> Result<Self, String> {
        Self::try_plant(start_victim).map_err(|error| format!("cannot plant the canaries: {error}"))
    }

    fn try_plant(start_victim: impl Fn(&str) -> Command) -> std::io::Result<Self> {
        let token = random_hex()?;
        let mut secrets = Vec::new();
        let mut secret = |name| -> std::io::Result<String> {
            let text = format!("canary-{name}-{}", random_hex()?);
            secrets.push((name, text.clone()));
            Ok(text)
        };
        let folder = public_folder()?;

        let file = folder.path().join(format!("secret-{token}.txt"));
        std::fs::write(&file, secret("file_secret")?)?;
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644))?;
        secret("environment_secret")?;

        let mut listeners = Vec::new();
        let (tcp, text) = (TcpListener::bind("127.0.0.1:0")?, secret("tcp_secret")?);
        let tcp_port = tcp.local_addr()?.port();
        listeners.push(Listener::start(
            move || drop(tcp.accept().and_then(|(mut client, _)| client.write_all(text.as_bytes()))),
            move || drop(TcpStream::connect(("127.0.0.1", tcp_port))),
        ));
        let (udp, text) = (UdpSocket::bind("127.0.0.1:0")?, secret("udp_secret")?);
        let udp_port = udp.local_addr()?.port();
        listeners.push(Listener::start(
            move || drop(udp.recv_from(&mut [0; 16]).and_then(|(_, client)| udp.send_to(text.as_bytes(), client))),
            move || {
                drop(UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"", ("127.0.0.1", udp_port))));
            },
        ));
        let path = folder.path().join("service.sock");
        let (unix, text) = (UnixListener::bind(&path)?, secret("unix_secret")?);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777))?;
        listeners.push(Listener::start(
            move || drop(unix.accept().and_then(|(mut client, _)| client.write_all(text.as_bytes()))),
            move || drop(UnixStream::connect(&path)),
        ));
        let address = SocketAddr::from_abstract_name(format!("corpus-{token}"))?;
        let (unix, text) = (UnixListener::bind_addr(&address)?, secret("abstract_secret")?);
        listeners.push(Listener::start(
            move || drop(unix.accept().and_then(|(mut client, _)| client.write_all(text.as_bytes()))),
            move || drop(UnixStream::connect_addr(&address)),
        ));

        let victim = start_victim("sleep")
            .arg("600")
            .env("CORPUS_VICTIM", secret("victim_secret")?)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let environment_variable = format!("CORPUS_{}", token.to_uppercase());
        Ok(Self { environment_variable, secrets, token, listeners, victim, tcp_port, udp_port, folder })
    }

    /// The one argument of an attack.
    pub(crate) fn argument(&self, outside: bool) -> String {
        json!({
            "outside": outside,
            "token": self.token,
            "secret_file": self.secret_file(),
            "environment_variable": self.environment_variable,
            "victim": self.victim.id(),
            "tcp_port": self.tcp_port,
            "udp_port": self.udp_port,
            "unix_socket": self.folder.path().join("service.sock"),
            "abstract_socket": format!("corpus-{}", self.token),
            "hostname": rustix::system::uname().nodename().to_string_lossy(),
        })
        .to_string()
    }

    pub(crate) fn secret_file(&self) -> PathBuf {
        self.folder.path().join(format!("secret-{}.txt", self.token))
    }

    pub(crate) fn environment_secret(&self) -> &str {
        self.secrets.iter().find(|(name, _)| *name == "environment_secret").map_or("", |(_, secret)| secret)
    }

    /// `text` with the names of secrets in braces replaced by the secrets.
    pub(crate) fn expand(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, (name, secret)| text.replace(&format!("{{{name}}}"), secret))
    }

    /// Names of the secrets that appear in `text`.
    pub(crate) fn found_in(&self, text: &str) -> Vec<&'static str> {
        self.secrets.iter().filter(|(_, secret)| text.contains(secret.as_str())).map(|(name, _)| *name).collect()
    }

    /// How often somebody asked one of the listeners.
    pub(crate) fn visitors(&self) -> usize {
        self.listeners.iter().map(|listener| listener.visitors.load(Ordering::SeqCst)).sum()
    }

    /// Whether the victim still runs, neither dead nor stopped nor traced. D is a moment of waiting for a disk.
    pub(crate) fn victim_is_well(&mut self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.victim.id())).unwrap_or_default();
        let field = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name));
            value.unwrap_or_default().trim().to_owned()
        };
        matches!(self.victim.try_wait(), Ok(None))
            && field("State:").starts_with(['S', 'R', 'D'])
            && field("TracerPid:") == "0"
    }
}

impl Drop for Canaries {
    fn drop(&mut self) {
        drop(self.victim.kill());
        drop(self.victim.wait());
    }
}

/// 32 hexadecimal digits.
fn random_hex() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    File::open(Path::new("/dev/urandom"))?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
