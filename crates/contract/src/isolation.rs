//! What stands between a program and the host, as it was enforced for one execution.

use serde::{Deserialize, Serialize};

/// How much isolation the operator asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum IsolationTier {
    /// Every layer, every limit; an execution on a host that cannot give one of them is refused.
    #[default]
    Default,
    /// Namespaces, privileges and seccomp as in the default tier. Cgroup limits, the private /proc and Landlock only
    /// where the host has them; the result reports what is missing.
    Reduced,
}

/// Whether a layer held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum LayerState {
    /// Set, and checked after it was set.
    Enforced,
    /// Set in a weaker form, which `detail` describes.
    Weaker,
    /// Not set.
    Missing,
}

/// One layer of isolation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IsolationLayer {
    /// Field term: `namespaces`, `memoryCgroup`, `seccomp`, `landlock` …
    pub name: String,
    /// Whether it held.
    pub state: LayerState,
    /// How it was enforced, or why it was not.
    pub detail: String,
    /// What the operator can do about a layer that is not fully enforced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// The isolation of one execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IsolationReport {
    /// Which backend ran it: `local`, `docker`, `kubernetes`.
    pub backend: String,
    /// The tier that was reached.
    pub tier: IsolationTier,
    /// Layer by layer, outermost first.
    pub layers: Vec<IsolationLayer>,
}
