//! Who asks, and what they may.

use serde::{Deserialize, Serialize};

use crate::limits::LimitMaxima;

/// Who asks for an execution. Executions are visible to their owner only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Name of the owner: a key's id. Empty where callers are not told apart.
    pub owner: String,
    /// What the owner may.
    pub allowance: Allowance,
}

/// What an owner may, beside what the service lets everybody do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Allowance {
    /// Executions that may be asked for in a minute; nothing for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_minute: Option<u32>,
    /// Executions that may run at the same time; nothing for no limit of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<u32>,
    /// Its share of the queue against others that wait: one of priority 2 gets two turns where one of 1 gets one. From 1
    /// to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// The most that a request may ask for; the lesser of these and of the service's is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxima: Option<LimitMaxima>,
    /// Modules outside the standard library that may be imported, instead of the service's; as `AllowedModules`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_modules: Option<Vec<String>>,
}
