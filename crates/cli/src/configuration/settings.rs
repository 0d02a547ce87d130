//! The table of all settings.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use aevatar_sandbox_contract::{ByteQuantity, CpuQuantity, IsolationTier, ZygoteMode};
use aevatar_sandbox_local::ZygoteOptions;
use aevatar_sandbox_python::{DangerousConstructs, validator::DEFAULT_BLOCKED_MODULES};

use super::{ApiKey, Configuration, ConnectionSetting, LogFormat, SECTION, value};

/// One setting of the section `PythonSandbox`.
#[derive(Debug)]
pub struct Setting {
    pub(super) key: &'static str,
    pub(super) kind: Kind,
    pub(super) default: DefaultValue,
    /// Whether its value is kept out of every message.
    pub(super) secret: bool,
    /// What an empty text means; without it, an empty text is a value like any other, and mostly a wrong one.
    pub(super) empty: Option<fn(&mut Configuration)>,
    description: &'static str,
}

/// The type of a setting, its range, and where its value goes. Ranges include both ends.
#[derive(Debug)]
pub(super) enum Kind {
    /// A text without white space.
    Text(fn(&mut Configuration, String)),
    /// A text with spaces, if need be: where something is, and how to reach it.
    Line(fn(&mut Configuration, String)),
    Path(fn(&mut Configuration, PathBuf)),
    Address(fn(&mut Configuration, IpAddr)),
    Switch(fn(&mut Configuration, bool)),
    /// One of some words, in any case.
    Word(&'static [Word]),
    Whole {
        least: u64,
        most: u64,
        set: fn(&mut Configuration, u64),
    },
    Seconds {
        /// Whether 0 is allowed.
        zero: bool,
        /// Whole seconds.
        most: u64,
        set: fn(&mut Configuration, Duration),
    },
    Cpu(fn(&mut Configuration, CpuQuantity)),
    Bytes {
        least: ByteQuantity,
        most: ByteQuantity,
        set: fn(&mut Configuration, ByteQuantity),
    },
    List {
        of: Entry,
        set: fn(&mut Configuration, Vec<String>),
    },
}

/// A word, and what it sets.
type Word = (&'static str, fn(&mut Configuration));

/// What a list holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Import names.
    Module,
    /// Import names, or `*`.
    ModuleOrStar,
    /// Host names and addresses without a port, or `*`.
    Host,
    /// Secret keys.
    Key,
    /// Profiles of warm interpreters: `pandas=numpy:pandas`.
    Profile,
}

/// What holds when a setting is left out.
#[derive(Clone, Copy, Debug)]
pub(super) enum DefaultValue {
    /// A value as it could be written.
    Text(&'static str),
    /// A list as it could be written.
    List(&'static [&'static str]),
    /// No value that could be written, but a description of it.
    Words(&'static str),
}

impl Setting {
    /// The key below the section: `DefaultResources:MemoryLimit`.
    pub const fn key(&self) -> &'static str {
        self.key
    }

    /// The environment variable that sets it, of a list its first entry: `PythonSandbox__Port`.
    pub fn environment_variable(&self) -> String {
        let index = if matches!(self.kind, Kind::List { .. }) { "__0" } else { "" };
        format!("{SECTION}__{}{index}", self.key.replace(':', "__"))
    }

    /// The name of its type: `seconds`, `byte quantity`.
    pub const fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Text(_) => "text",
            Kind::Line(_) => "line of text",
            Kind::Path(_) => "path",
            Kind::Address(_) => "IP address",
            Kind::Switch(_) => "boolean",
            Kind::Word(_) => "word",
            Kind::Whole { .. } => "whole number",
            Kind::Seconds { .. } => "seconds",
            Kind::Cpu(_) => "CPU quantity",
            Kind::Bytes { .. } => "byte quantity",
            Kind::List { .. } => "list of texts",
        }
    }

    /// What holds when it is left out, in Markdown: `` `30` ``, `none`.
    pub fn default_text(&self) -> String {
        match self.default {
            DefaultValue::Text(text) => format!("`{text}`"),
            DefaultValue::List([]) => "none".to_owned(),
            DefaultValue::List(entries) => {
                entries.iter().map(|entry| format!("`{entry}`")).collect::<Vec<_>>().join(", ")
            }
            DefaultValue::Words(words) => words.to_owned(),
        }
    }

    /// Which values are allowed, in Markdown: ``a whole number from 1 to 4096``.
    pub fn allowed(&self) -> String {
        match &self.kind {
            Kind::Text(_) => "a text without white space".to_owned(),
            Kind::Line(_) => "a text on one line; empty for none".to_owned(),
            Kind::Path(_) => "a path; empty for none".to_owned(),
            Kind::Address(_) => "an IP address, as in `127.0.0.1`, `0.0.0.0` or `::1`".to_owned(),
            Kind::Switch(_) => "`true` or `false`".to_owned(),
            Kind::Word(words) => {
                let words: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
                format!("one of {}", words.join(", "))
            }
            Kind::Whole { least, most, .. } => format!("a whole number from {least} to {most}"),
            Kind::Seconds { zero, most, .. } => {
                let least = if *zero { "from 0 to" } else { "above 0 and at most" };
                format!("seconds, as in `30` or `0.5`, {least} {most}")
            }
            Kind::Cpu(_) => format!(
                "a number of CPUs, as in `2`, `0.5` or `100m`, from `{}` to `{}`",
                CpuQuantity::MIN,
                CpuQuantity::MAX
            ),
            Kind::Bytes { least, most, .. } => {
                format!("a number of bytes, as in `512Mi` or `1Gi`, from `{least}` to `{most}`")
            }
            Kind::List { of, .. } => format!("a list; each entry {}", of.allowed()),
        }
    }

    /// What it is for, as one sentence of Markdown.
    pub const fn description(&self) -> &'static str {
        self.description
    }
}

impl Entry {
    /// Which values are allowed.
    pub(super) const fn allowed(self) -> &'static str {
        match self {
            Self::Module => "an import name, as in `numpy` or `os.path` (`sklearn`, not `scikit-learn`)",
            Self::ModuleOrStar => {
                "an import name, as in `numpy` or `os.path` (`sklearn`, not `scikit-learn`), or `*` for all"
            }
            Self::Host => "a host name or address without a port, as in `sandbox.example.com`, or `*` for all",
            Self::Key => "at least 16 visible ASCII characters, without white space",
            Self::Profile => {
                "a profile `NAME=PARENT:MODULE,MODULE`, as in `pandas=numpy:pandas`; without `PARENT:`, the parent is \
                 `bare`"
            }
        }
    }
}

/// A quantity for the table; the largest one when out of range.
const fn bytes(bytes: u64) -> ByteQuantity {
    match ByteQuantity::from_bytes(bytes) {
        Some(quantity) => quantity,
        None => ByteQuantity::MAX,
    }
}

const KI: ByteQuantity = bytes(1 << 10);
const MI: ByteQuantity = bytes(1 << 20);
/// Below this no interpreter starts.
const LEAST_MEMORY: ByteQuantity = bytes(16 << 20);
/// Beyond this, a typing mistake is likelier than a wish.
const MOST_BYTES: ByteQuantity = bytes(1 << 50);
/// Likewise, in seconds: a day.
const MOST_SECONDS: u64 = 86_400;
/// Ten years, in seconds.
const MOST_RETENTION: u64 = 315_360_000;
/// As many as programs may run at the same time.
const MOST_PARKED: u64 = 4096;
/// The kernel's usual limit of pids.
const MOST_PROCESSES: u64 = 32_768;

/// What [`ZygoteOptions::default`] has, as it is written; a test compares them.
const DEFAULT_PROFILES: &[&str] = &[
    "numpy=numpy",
    "web=requests,bs4",
    "pandas=numpy:pandas",
    "matplotlib=pandas:matplotlib,matplotlib.pyplot",
    "scipy=numpy:scipy,scipy.stats,scipy.optimize,scipy.linalg,scipy.signal",
    "all=matplotlib:scipy,scipy.stats,scipy.optimize,scipy.linalg,scipy.signal,sklearn,sklearn.linear_model,\
     sklearn.model_selection,sklearn.ensemble,sklearn.metrics,sklearn.preprocessing,requests,bs4",
];

const fn setting(key: &'static str, kind: Kind, default: DefaultValue, description: &'static str) -> Setting {
    Setting { key, kind, default, secret: false, empty: None, description }
}

impl Setting {
    const fn or_empty(mut self, unset: fn(&mut Configuration)) -> Self {
        self.empty = Some(unset);
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

use DefaultValue::{List, Text, Words};

/// All settings, in the order of the documentation.
pub static SETTINGS: &[Setting] = &[
    setting(
        "Host",
        Kind::Address(|to, address| to.host = address),
        Text("127.0.0.1"),
        "The address that the HTTP service listens at.",
    ),
    setting(
        "Port",
        Kind::Whole { least: 0, most: 65_535, set: |to, port| to.port = u16::try_from(port).unwrap_or(u16::MAX) },
        Text("5000"),
        "The port that the HTTP service listens at; 0 for any free one.",
    ),
    setting(
        "ApiKeys",
        Kind::List { of: Entry::Key, set: |to, keys| to.api_keys = keys.into_iter().map(ApiKey).collect() },
        List(&[]),
        "Keys of which a request must name one. They are secret: no message shows them.",
    )
    .secret(),
    setting(
        "AllowUnauthenticated",
        Kind::Switch(|to, allow| to.allow_unauthenticated = allow),
        Text("false"),
        "Whether to serve other machines without keys.",
    ),
    setting(
        "AllowedHosts",
        Kind::List { of: Entry::Host, set: |to, hosts| to.allowed_hosts = hosts },
        List(&[]),
        "Host names that a request's `Host` header may have beside those of the loopback.",
    ),
    setting(
        "DefaultTimeout",
        Kind::Seconds { zero: false, most: MOST_SECONDS, set: |to, time| to.default_limits.timeout = time },
        Text("30"),
        "Wall-clock time of a program that asks for none.",
    ),
    setting(
        "MaxTimeout",
        Kind::Seconds { zero: false, most: MOST_SECONDS, set: |to, time| to.maxima.timeout = time },
        Text("300"),
        "The most wall-clock time that a request may ask for, and CPU time of each CPU.",
    ),
    setting(
        "DefaultResources:CpuLimit",
        Kind::Cpu(|to, share| to.default_limits.cpu_limit = share),
        Text("1"),
        "CPU share of a program that asks for none.",
    ),
    setting(
        "DefaultResources:MemoryLimit",
        Kind::Bytes { least: LEAST_MEMORY, most: MOST_BYTES, set: |to, size| to.default_limits.memory_limit = size },
        Text("512Mi"),
        "Memory of a program that asks for none.",
    ),
    setting(
        "DefaultResources:DiskLimit",
        Kind::Bytes { least: MI, most: MOST_BYTES, set: |to, size| to.default_limits.disk_limit = size },
        Text("1Gi"),
        "Bytes in all writable folders of a program that asks for none.",
    ),
    setting(
        "DefaultResources:ProcessLimit",
        Kind::Whole {
            least: 1,
            most: MOST_PROCESSES,
            set: |to, count| to.default_limits.process_limit = u32::try_from(count).unwrap_or(u32::MAX),
        },
        Text("64"),
        "Processes and threads of a program that asks for none.",
    ),
    setting(
        "DefaultResources:CpuTime",
        Kind::Seconds { zero: false, most: MOST_SECONDS, set: |to, time| to.default_limits.cpu_time = Some(time) },
        Words("none"),
        "CPU time, of all processes together, of a program that asks for none; empty for no limit.",
    )
    .or_empty(|to| to.default_limits.cpu_time = None),
    setting(
        "MaxResources:CpuLimit",
        Kind::Cpu(|to, share| to.maxima.cpu_limit = share),
        Text("4"),
        "The largest CPU share that a request may ask for.",
    ),
    setting(
        "MaxResources:MemoryLimit",
        Kind::Bytes { least: LEAST_MEMORY, most: MOST_BYTES, set: |to, size| to.maxima.memory_limit = size },
        Text("4Gi"),
        "The most memory that a request may ask for.",
    ),
    setting(
        "MaxResources:DiskLimit",
        Kind::Bytes { least: MI, most: MOST_BYTES, set: |to, size| to.maxima.disk_limit = size },
        Text("10Gi"),
        "The largest disk that a request may ask for.",
    ),
    setting(
        "MaxResources:ProcessLimit",
        Kind::Whole {
            least: 1,
            most: MOST_PROCESSES,
            set: |to, count| to.maxima.process_limit = u32::try_from(count).unwrap_or(u32::MAX),
        },
        Text("1024"),
        "The most processes and threads that a request may ask for.",
    ),
    setting(
        "MaxConcurrentExecutions",
        Kind::Whole {
            least: 1,
            most: 4096,
            set: |to, count| to.max_concurrent_executions = usize::try_from(count).unwrap_or(usize::MAX),
        },
        Words("16 per CPU, and one per 64 MiB of memory at most"),
        "Programs that may run at the same time; the others wait.",
    ),
    setting(
        "MaxQueueLength",
        Kind::Whole {
            least: 0,
            most: 1_000_000,
            set: |to, count| to.max_queue_length = usize::try_from(count).unwrap_or(usize::MAX),
        },
        Text("1000"),
        "Executions that may wait for their turn; one more is refused.",
    ),
    setting(
        "MaxQueueBytes",
        Kind::Bytes { least: KI, most: MOST_BYTES, set: |to, size| to.max_queue_bytes = size },
        Text("256Mi"),
        "What the requests that wait may take together; one more is refused.",
    ),
    setting(
        "QueueTimeout",
        Kind::Seconds { zero: false, most: MOST_SECONDS, set: |to, time| to.queue_timeout = time },
        Text("60"),
        "How long an execution may wait for its turn.",
    ),
    setting(
        "ConnectionString",
        Kind::Line(|to, text| to.connection_string = Some(ConnectionSetting(text))),
        Words("none: SQLite in the data folder"),
        "The PostgreSQL database for records and keys, as a `postgres://` URL or in the form of Npgsql. It is better known \
         as `ConnectionStrings:Sandbox`, which is read as well. It is secret: no message shows it.",
    )
    .or_empty(|to| to.connection_string = None)
    .secret(),
    setting(
        "RetentionTime",
        Kind::Seconds { zero: true, most: MOST_RETENTION, set: |to, time| to.retention.max_age = time },
        Text("86400"),
        "How long results, output and files are kept after the end of an execution.",
    ),
    setting(
        "RetentionBytes",
        Kind::Bytes { least: KI, most: MOST_BYTES, set: |to, size| to.retention.max_bytes = size.bytes() },
        Text("1Gi"),
        "What they may take together; the oldest go first.",
    ),
    setting(
        "StoreCode",
        Kind::Switch(|to, store| to.store_code = store),
        Text("false"),
        "Whether programs are kept with their results, and are in the audit lines of the log. A program that waits is \
         always kept until it has run.",
    ),
    setting(
        "LogFormat",
        Kind::Word(&[
            ("Text", |to| to.log_format = LogFormat::Text),
            ("Json", |to| to.log_format = LogFormat::Json),
        ]),
        Text("Text"),
        "How the server's log is written.",
    ),
    setting(
        "OtlpEndpoint",
        Kind::Line(|to, text| to.otlp_endpoint = Some(text)),
        Words("none"),
        "The OpenTelemetry collector that traces are sent to, over plain HTTP: `http://127.0.0.1:4318`.",
    )
    .or_empty(|to| to.otlp_endpoint = None),
    setting(
        "MaxOutputBytes",
        Kind::Bytes {
            least: KI,
            most: bytes(64 << 20),
            set: |to, size| to.default_limits.max_output_bytes = size.bytes(),
        },
        Text("1Mi"),
        "What is kept of a program's stdout, and as much of its stderr.",
    ),
    setting(
        "OutputLimit",
        Kind::Bytes { least: KI, most: MOST_BYTES, set: |to, size| to.default_limits.output_limit = size },
        Text("256Mi"),
        "What a program may write to stdout and stderr together before it is ended.",
    ),
    setting(
        "MaxCodeLength",
        Kind::Whole {
            least: 1,
            most: 16_000_000,
            set: |to, count| to.validator.max_code_length = usize::try_from(count).unwrap_or(usize::MAX),
        },
        Text("1000000"),
        "Characters that a program may have.",
    ),
    setting(
        "MaxRequestBytes",
        Kind::Bytes { least: KI, most: bytes(1 << 30), set: |to, size| to.max_request_bytes = size },
        Text("8Mi"),
        "Size of one HTTP request; at least `MaxCodeLength` bytes.",
    ),
    setting(
        "BodyTimeout",
        Kind::Seconds { zero: false, most: MOST_SECONDS, set: |to, time| to.body_timeout = time },
        Text("15"),
        "How long a client may take to send a request.",
    ),
    setting(
        "ShutdownGrace",
        Kind::Seconds { zero: true, most: 3600, set: |to, time| to.shutdown_grace = time },
        Text("10"),
        "How long programs may go on running after SIGTERM.",
    ),
    setting(
        "ImportPolicy",
        Kind::Word(&[("Enforce", |to| to.imports.enforced = true), ("Off", |to| to.imports.enforced = false)]),
        Text("Enforce"),
        "Whether imports are restricted by `AllowedModules` and `BlockedModules`.",
    ),
    setting(
        "AllowedModules",
        Kind::List { of: Entry::ModuleOrStar, set: |to, modules| to.imports.allowed = Some(modules) },
        Words("the packages of the default environment; in a named one, all that are installed"),
        "Modules outside the standard library that may be imported, in every environment.",
    ),
    setting(
        "BlockedModules",
        Kind::List { of: Entry::Module, set: |to, modules| to.imports.blocked = modules },
        List(DEFAULT_BLOCKED_MODULES),
        "Modules that may not be imported, of the standard library or not.",
    ),
    setting(
        "DangerousConstructs",
        Kind::Word(&[
            ("Ignore", |to| to.validator.dangerous_constructs = DangerousConstructs::Ignore),
            ("Warn", |to| to.validator.dangerous_constructs = DangerousConstructs::Warn),
            ("Reject", |to| to.validator.dangerous_constructs = DangerousConstructs::Reject),
        ]),
        Text("Warn"),
        "What is done about code that looks dangerous.",
    ),
    setting(
        "IsolationTier",
        Kind::Word(&[
            ("Default", |to| to.isolation = IsolationTier::Default),
            ("Reduced", |to| to.isolation = IsolationTier::Reduced),
        ]),
        Text("Default"),
        "Whether every layer of isolation must hold, or only those that the host can give.",
    ),
    setting(
        "Zygote",
        Kind::Word(&[("On", |to| to.zygote = ZygoteMode::On), ("Off", |to| to.zygote = ZygoteMode::Off)]),
        Text("On"),
        "Whether programs may start in interpreters that are forked from warm ones; a request may say no for itself.",
    ),
    setting(
        "ZygoteProfiles",
        Kind::List {
            of: Entry::Profile,
            set: |to, profiles| {
                to.zygotes.profiles = match profiles.as_slice() {
                    [] => ZygoteOptions::default().profiles,
                    profiles => profiles.iter().filter_map(|profile| value::profile(profile)).collect(),
                }
            },
        },
        List(DEFAULT_PROFILES),
        "What warm interpreters have imported, smallest first: a program gets the first that has all it imports. Empty \
         for the default ones.",
    ),
    setting(
        "ParkedMin",
        Kind::Whole {
            least: 0,
            most: MOST_PARKED,
            set: |to, count| to.zygotes.parked_min = u32::try_from(count).unwrap_or(u32::MAX),
        },
        Text("1"),
        "Interpreters kept forked and jailed for the next programs, for each profile that has been used, at least.",
    ),
    setting(
        "ParkedMax",
        Kind::Whole {
            least: 0,
            most: MOST_PARKED,
            set: |to, count| to.zygotes.parked_max = u32::try_from(count).unwrap_or(u32::MAX),
        },
        Text("64"),
        "The same, at most. Where both are 0, each one is forked when its program comes.",
    ),
    setting(
        "ParkedMemory",
        Kind::Bytes { least: MI, most: MOST_BYTES, set: |to, size| to.zygotes.parked_memory = size.bytes() },
        Text("256Mi"),
        "Memory that all of them together may take.",
    ),
    setting(
        "ZygoteMaxAge",
        Kind::Seconds { zero: false, most: MOST_SECONDS, set: |to, time| to.zygotes.max_age = time },
        Text("3600"),
        "Age at which a warm interpreter is replaced by a new one.",
    ),
    setting(
        "ZygoteMaxForks",
        Kind::Whole { least: 1, most: 1_000_000_000, set: |to, count| to.zygotes.max_forks = count },
        Text("100000"),
        "Forks after which a warm interpreter is replaced by a new one.",
    ),
    setting(
        "Python",
        Kind::Path(|to, path| to.python = Some(path)),
        Words("the first that fits, of those on `PATH`"),
        "The interpreter to make environments with, by path or by name.",
    )
    .or_empty(|to| to.python = None),
    setting(
        "DataDir",
        Kind::Path(|to, path| to.data_folder = Some(path)),
        Words("the user's cache"),
        "The folder for environments and disk images.",
    )
    .or_empty(|to| to.data_folder = None),
    setting(
        "Image",
        Kind::Text(|to, image| to.image = image),
        Text("aevatar/python-sandbox:3.11"),
        "The container image, for backends that use one; the local backend does not read it.",
    ),
];
