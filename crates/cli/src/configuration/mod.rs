//! The section `PythonSandbox` of `appsettings.json`, of environment variables and of flags, as one plain struct.
//!
//! Sources in order, the last one wins: defaults, the file, environment variables, what the caller gives (flags).
//! `settings.rs` is the table of all settings. Unknown keys, messages and `docs/configuration.md` come from it.
//!
//! A value that is wrong stops the start even where a later source overrides it: it would take effect on the day on
//! which the other source goes away.

mod checks;
mod environment;
mod file;
mod problem;
mod resolve;
mod settings;
mod value;

use std::{
    ffi::OsString,
    fmt,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};

use aevatar_sandbox_contract::{
    ByteQuantity, CpuQuantity, DEFAULT_LIMITS, FileLimits, IsolationTier, LimitMaxima, ResourceLimits, ZygoteMode,
};
use aevatar_sandbox_local::ZygoteOptions;
use aevatar_sandbox_python::{ImportRules, ServiceOptions, ValidatorOptions, default_concurrency};

pub use self::{
    problem::{ConfigurationError, ConfigurationProblem, Origin},
    settings::{SETTINGS, Setting},
};

/// The section that is read.
pub const SECTION: &str = "PythonSandbox";

/// Everything that an operator can set, with defaults filled in and every value in its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The container image, for backends that use one. The local backend does not read it.
    pub image: String,
    /// The interpreter to make environments with, by path or by name; found when left out.
    pub python: Option<PathBuf>,
    /// The folder for environments and disk images; the user's cache when left out.
    pub data_folder: Option<PathBuf>,
    /// The address that the HTTP service listens at.
    pub host: IpAddr,
    /// The port that the HTTP service listens at; 0 for any free one.
    pub port: u16,
    /// Keys of which a request must name one; nobody is asked for a key when empty.
    pub api_keys: Vec<ApiKey>,
    /// Whether to serve other machines without keys.
    pub allow_unauthenticated: bool,
    /// Host names, in lower case, that a request may name beside those of the loopback; `*` stands for any.
    pub allowed_hosts: Vec<String>,
    /// Limits of an execution that asks for none.
    pub default_limits: ResourceLimits,
    /// The most that a request may ask for. No limit of `default_limits` is above it.
    pub maxima: LimitMaxima,
    /// Bytes of one HTTP request, from 1Ki to 1Gi; never below `validator.max_code_length`.
    pub max_request_bytes: ByteQuantity,
    /// Programs that may run at the same time.
    pub max_concurrent_executions: usize,
    /// What is checked before a program runs.
    pub validator: ValidatorOptions,
    /// Which imports are restricted.
    pub imports: ImportRules,
    /// How much isolation an execution must have.
    pub isolation: IsolationTier,
    /// Whether interpreters may be forked from warm ones.
    pub zygote: ZygoteMode,
    /// How warm interpreters are kept, where they may be.
    pub zygotes: ZygoteOptions,
    /// How long a client may take to send a request. Above 0.
    pub body_timeout: Duration,
    /// How long programs may go on running after SIGTERM. May be 0.
    pub shutdown_grace: Duration,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            image: "aevatar/python-sandbox:3.11".to_owned(),
            python: None,
            data_folder: None,
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 5000,
            api_keys: Vec::new(),
            allow_unauthenticated: false,
            allowed_hosts: Vec::new(),
            default_limits: DEFAULT_LIMITS,
            maxima: LimitMaxima {
                cpu_limit: CpuQuantity::from_millicores(4000).unwrap_or(CpuQuantity::MAX),
                memory_limit: ByteQuantity::from_mebibytes(4 << 10),
                disk_limit: ByteQuantity::from_mebibytes(10 << 10),
                process_limit: 1024,
                timeout: Duration::from_mins(5),
            },
            max_request_bytes: ByteQuantity::from_mebibytes(8),
            max_concurrent_executions: default_concurrency(),
            validator: ValidatorOptions::default(),
            imports: ImportRules::default(),
            isolation: IsolationTier::Default,
            zygote: ZygoteMode::On,
            zygotes: ZygoteOptions::default(),
            body_timeout: Duration::from_secs(15),
            shutdown_grace: Duration::from_secs(10),
        }
    }
}

impl Configuration {
    /// Reads all sources.
    ///
    /// # Errors
    /// The file cannot be read, a key is unknown, a value has the wrong type, is out of range or contradicts another
    /// one. All problems are in the error, not only the first.
    pub fn load(sources: &ConfigurationSources) -> Result<Self, ConfigurationError> {
        let file = match &sources.file {
            Some(path) => match file::read(path, sources.file_is_optional) {
                Ok(Some(text)) => resolve::File::Text { path, text },
                Ok(None) => resolve::File::None,
                Err(problem) => resolve::File::Unusable(problem),
            },
            None => resolve::File::None,
        };
        resolve::resolve(file, &sources.environment, &sources.overrides)
    }

    /// The options of a service that works as configured.
    pub fn service_options(&self) -> ServiceOptions {
        ServiceOptions {
            zygote: self.zygote,
            default_limits: self.default_limits.clone(),
            maxima: Some(self.maxima.clone()),
            max_concurrent_executions: self.max_concurrent_executions,
            validator: self.validator.clone(),
            imports: self.imports.clone(),
            python: self.python.clone(),
            file_limits: FileLimits::default(),
        }
    }

    /// How the local backend keeps warm interpreters; nothing where it is to keep none.
    pub fn zygote_options(&self) -> Option<ZygoteOptions> {
        match self.zygote {
            ZygoteMode::On => Some(self.zygotes.clone()),
            ZygoteMode::Off => None,
        }
    }
}

/// Where a configuration is read from. The empty one gives the defaults.
#[derive(Clone, Default)]
pub struct ConfigurationSources {
    /// The path of an `appsettings.json`.
    pub file: Option<PathBuf>,
    /// Whether `file` may be missing, as when nobody named it.
    pub file_is_optional: bool,
    /// Environment variables, all of them: `std::env::vars_os().collect()`. What is not `PythonSandbox__…` is ignored.
    pub environment: Vec<(OsString, OsString)>,
    /// What the caller sets itself, as from flags.
    pub overrides: Vec<ConfigurationOverride>,
}

impl fmt::Debug for ConfigurationSources {
    /// Without values: some are secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ConfigurationSources")
            .field("file", &self.file)
            .field("file_is_optional", &self.file_is_optional)
            .field("overrides", &self.overrides)
            .finish_non_exhaustive()
    }
}

/// A setting that the caller gives; it wins over all other sources.
#[derive(Clone)]
pub struct ConfigurationOverride {
    /// The key without the section: `DefaultResources:MemoryLimit`.
    pub key: String,
    /// The value.
    pub value: OverrideValue,
    /// What messages call it: `--memory`.
    pub origin: String,
}

impl fmt::Debug for ConfigurationOverride {
    /// Without the value: it may be secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ConfigurationOverride")
            .field("key", &self.key)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl ConfigurationOverride {
    /// `value` for `key`, called `origin` in messages.
    pub fn new(key: impl Into<String>, value: impl Into<OverrideValue>, origin: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into(), origin: origin.into() }
    }
}

/// The value of a [`ConfigurationOverride`].
#[derive(Clone)]
pub enum OverrideValue {
    /// One value, as it would stand in an environment variable.
    Text(String),
    /// A whole list.
    List(Vec<String>),
}

impl fmt::Debug for OverrideValue {
    /// Without the value: it may be secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Text(_) => "Text(..)",
            Self::List(_) => "List(..)",
        })
    }
}

impl From<&str> for OverrideValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for OverrideValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<String>> for OverrideValue {
    fn from(list: Vec<String>) -> Self {
        Self::List(list)
    }
}

/// A key of the HTTP service: at least 16 visible ASCII characters. Printing it shows `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// The key itself. Compare it in constant time, and keep it out of messages.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(value::HIDDEN)
    }
}

#[cfg(test)]
mod tests;
