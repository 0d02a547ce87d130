//! How a program comes by its interpreter.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, Unexpected, Visitor},
};

/// Whether interpreters may be forked from a warm one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ZygoteMode {
    /// From a zygote where there is one that fits, else a fresh interpreter.
    #[default]
    On,
    /// Always a fresh interpreter, with an address-space layout and a hash seed of its own.
    Off,
}

/// From one of two words and nothing else. What can be derived also takes `{"on": null}`, and to `serde_json` a number
/// in its place is no JSON.
impl<'de> Deserialize<'de> for ZygoteMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(ZygoteWord)
    }
}

struct ZygoteWord;

impl Visitor<'_> for ZygoteWord {
    type Value = ZygoteMode;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("`on` or `off`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ZygoteMode, E> {
        /// Characters of a wrong word that are shown.
        const SHOWN: usize = 64;
        match text {
            "on" => Ok(ZygoteMode::On),
            "off" => Ok(ZygoteMode::Off),
            _ => {
                let shown: String = text.chars().take(SHOWN).collect();
                Err(E::invalid_value(Unexpected::Str(&shown), &self))
            }
        }
    }
}

/// What a caller may choose of the isolation of one execution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IsolationOptions {
    /// Whether the interpreter may be forked from a zygote; the service's own setting when left out. `on` where the
    /// service has them off is no error: the program starts cold, which isolates more, and the result says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zygote: Option<ZygoteMode>,
}

/// Where the interpreter of one execution came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum StartPath {
    /// It had been forked from a zygote and jailed before the request came, and had run nothing.
    Parked,
    /// It was forked from a zygote for this request.
    Forked,
    /// It was started for this request.
    Cold,
}

/// How the interpreter of one execution was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProgramStart {
    /// The way.
    pub path: StartPath,
    /// The zygote's profile, which says what had been imported; nothing of a cold start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

impl ProgramStart {
    /// A fresh interpreter.
    pub const COLD: Self = Self { path: StartPath::Cold, profile: None };
}

/// A profile of zygotes as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WarmProfile {
    /// Its name.
    pub name: String,
    /// The environment's name.
    pub environment: String,
    /// What its zygotes have imported beside what their parents have.
    pub modules: Vec<String>,
    /// Whether its zygote is ready.
    pub ready: bool,
    /// Why its zygote is not ready, where an attempt to make one has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Workers that are parked.
    pub parked: u32,
    /// How many the pool is meant to hold now.
    pub target: u32,
    /// Zygotes of it that were made.
    pub built: u64,
    /// Zygotes of it that ended before their time.
    pub lost: u64,
    /// Programs that took a parked worker.
    pub served_parked: u64,
    /// Programs that had a worker forked for them.
    pub served_forked: u64,
}

/// A module that programs import and no profile has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UnprofiledImport {
    /// Its first part, as in an import statement: `networkx`.
    pub module: String,
    /// Programs that imported it.
    pub programs: u64,
}

/// The warm interpreters of a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WarmReport {
    /// The profiles, smallest first.
    pub profiles: Vec<WarmProfile>,
    /// Programs that were started cold.
    pub served_cold: u64,
    /// What would be worth a profile: modules of the environment that programs imported and their profile had not,
    /// the most frequent first; at most 100.
    pub unprofiled_imports: Vec<UnprofiledImport>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_one_of_two_words() {
        for (json, zygote) in [
            ("{}", None),
            (r#"{"zygote": null}"#, None),
            (r#"{"zygote": "on"}"#, Some(ZygoteMode::On)),
            (r#"{"zygote": "off"}"#, Some(ZygoteMode::Off)),
        ] {
            assert_eq!(serde_json::from_str::<IsolationOptions>(json).unwrap(), IsolationOptions { zygote }, "{json}");
        }
        for (json, error) in [
            (r#""maybe""#, "invalid value: string \"maybe\", expected `on` or `off`"),
            (r#""On""#, "invalid value: string \"On\", expected `on` or `off`"),
            ("true", "invalid type: boolean `true`, expected `on` or `off`"),
            ("1", "invalid type: integer `1`, expected `on` or `off`"),
            (r#"{"on": null}"#, "invalid type: map, expected `on` or `off`"),
            (r#"["on"]"#, "invalid type: sequence, expected `on` or `off`"),
        ] {
            let said = serde_json::from_str::<ZygoteMode>(json).unwrap_err();
            assert!(said.is_data() && said.to_string().starts_with(error), "{json}: {said}");
        }
        let long = serde_json::from_str::<ZygoteMode>(&format!("\"{}\"", "x".repeat(100_000))).unwrap_err();
        assert!(long.to_string().len() < 200, "{long}");
    }

    #[test]
    fn what_is_written_is_read() {
        for mode in [ZygoteMode::On, ZygoteMode::Off] {
            let text = serde_json::to_string(&mode).unwrap();
            assert_eq!(serde_json::from_str::<ZygoteMode>(&text).unwrap(), mode, "{text}");
        }
    }
}
