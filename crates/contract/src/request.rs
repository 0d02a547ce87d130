//! What a caller asks for.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    encoding::base64_bytes,
    files::{InputFile, OutputFiles},
    quantity::{ByteQuantity, CpuQuantity},
    start::IsolationOptions,
};

/// The limits a caller may choose; what is left out takes the service's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SandboxResources {
    /// CPU share: `100m`, `1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<CpuQuantity>,
    /// Memory: `256Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<ByteQuantity>,
    /// Everything writable together: `1Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_limit: Option<ByteQuantity>,
    /// Processes and threads together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_limit: Option<u32>,
    /// CPU time of all processes together, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_seconds")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<f64>, exclusive_minimum = 0.0))]
    pub cpu_time: Option<Duration>,
}

/// One program to run.
///
/// ```
/// use aevatar_sandbox_contract::SandboxExecutionRequest;
///
/// let request = SandboxExecutionRequest::new("print('hello')");
/// assert_eq!(request.code, b"print('hello')");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SandboxExecutionRequest {
    /// Python source, as bytes: a source file may declare its own encoding.
    #[serde(with = "base64_bytes")]
    pub code: Vec<u8>,
    /// `sys.argv[1:]`. No NUL characters.
    pub args: Vec<String>,
    /// What the program reads from stdin; end of file after it.
    #[serde(with = "base64_bytes")]
    pub stdin: Vec<u8>,
    /// Environment variables beside the sandbox's own few. Names without `=` and NUL.
    pub env: BTreeMap<String, String>,
    /// Wall-clock limit, from the start of the program.
    pub timeout: Option<Duration>,
    /// Other limits.
    pub resources: SandboxResources,
    /// Name of the Python environment; the default one when left out.
    pub environment: Option<String>,
    /// Of the isolation, what a caller may choose.
    pub isolation: IsolationOptions,
    /// Files that are in `/work` before the program starts.
    pub files: Vec<InputFile>,
    /// What is done with the files that the program leaves there.
    pub output_files: OutputFiles,
}

impl SandboxExecutionRequest {
    /// A request that runs `code` with the service's defaults.
    pub fn new(code: impl Into<Vec<u8>>) -> Self {
        Self { code: code.into(), ..Self::default() }
    }

    /// The same with a wall-clock limit.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The same with other limits.
    #[must_use]
    pub fn resources(mut self, resources: SandboxResources) -> Self {
        self.resources = resources;
        self
    }
}

mod optional_seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[expect(clippy::ref_option, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        duration.map(|duration| duration.as_secs_f64()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<f64>::deserialize(deserializer)?;
        let read = |seconds| {
            Duration::try_from_secs_f64(seconds)
                .map_err(|_| D::Error::custom(format!("{seconds} is no time: expected seconds above 0")))
        };
        seconds.map(read).transpose()
    }
}
