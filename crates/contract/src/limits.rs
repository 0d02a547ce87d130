//! Resource limits of one execution, after defaults and maxima were applied.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::quantity::{ByteQuantity, CpuQuantity};

/// What one execution may use. Every field is enforced by the kernel or by the supervisor; where a host cannot, the
/// execution is refused, or the result's `isolation` says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResourceLimits {
    /// CPU share, over all processes of the execution.
    pub cpu_limit: CpuQuantity,
    /// Memory of all processes together: heap, tmpfs, memfd, pipe and socket buffers. No swap.
    pub memory_limit: ByteQuantity,
    /// Bytes in all writable folders together (`/work`, `/tmp`, `/dev/shm`).
    pub disk_limit: ByteQuantity,
    /// Files and folders in all writable folders together.
    pub inode_limit: u64,
    /// Processes and threads together.
    pub process_limit: u32,
    /// Wall-clock time from the start of the program.
    #[serde(rename = "timeoutMs", with = "milliseconds")]
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub timeout: Duration,
    /// CPU time of all processes together; none when only the wall clock limits.
    #[serde(rename = "cpuTimeMs", with = "optional_milliseconds", skip_serializing_if = "Option::is_none", default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>))]
    pub cpu_time: Option<Duration>,
    /// Bytes kept of stdout, and as many of stderr.
    pub max_output_bytes: u64,
    /// Bytes written to stdout and stderr together at which the execution is ended.
    pub output_limit: ByteQuantity,
}

/// Limits of an execution that asks for none.
pub const DEFAULT_LIMITS: ResourceLimits = ResourceLimits {
    cpu_limit: match CpuQuantity::from_millicores(1000) {
        Some(quantity) => quantity,
        None => CpuQuantity::MIN,
    },
    memory_limit: ByteQuantity::from_mebibytes(512),
    disk_limit: ByteQuantity::from_mebibytes(1024),
    inode_limit: 65_536,
    process_limit: 64,
    timeout: Duration::from_secs(30),
    cpu_time: None,
    max_output_bytes: 1 << 20,
    output_limit: ByteQuantity::from_mebibytes(256),
};

/// The most that a request may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LimitMaxima {
    /// CPU share.
    pub cpu_limit: CpuQuantity,
    /// Memory.
    pub memory_limit: ByteQuantity,
    /// Everything writable together.
    pub disk_limit: ByteQuantity,
    /// Processes and threads together.
    pub process_limit: u32,
    /// Wall-clock time, and CPU time of each CPU.
    #[serde(rename = "timeoutMs", with = "milliseconds")]
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub timeout: Duration,
}

mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[expect(clippy::ref_option, reason = "the signature that serde asks for")]
mod optional_milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::milliseconds::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
    }
}
