//! The configuration, as the verbs need it.

use std::path::{Path, PathBuf};

use aevatar_sandbox::{
    SandboxError, cache_folder,
    configuration::{Configuration, ConfigurationError, ConfigurationOverride, ConfigurationSources},
};

use super::Isolation;

/// What a server reads when nobody names a file.
const SERVER_FILE: &str = "appsettings.json";

/// Reads the configuration of a server: the file that was named, else `appsettings.json` in the working directory if
/// there is one.
pub(super) fn load_for_server(
    file: Option<PathBuf>,
    overrides: Vec<ConfigurationOverride>,
) -> Result<Configuration, ConfigurationError> {
    let file_is_optional = file.is_none();
    let file = file.or_else(|| Some(SERVER_FILE.into()));
    Configuration::load(&ConfigurationSources { file, file_is_optional, environment: environment(), overrides })
}

/// Reads the configuration of a verb that works on one program. A file counts only when it was named: the working
/// directory may be a stranger's.
pub(super) fn load(
    file: Option<PathBuf>,
    overrides: Vec<ConfigurationOverride>,
) -> Result<Configuration, ConfigurationError> {
    Configuration::load(&ConfigurationSources { file, file_is_optional: false, environment: environment(), overrides })
}

fn environment() -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
    std::env::vars_os().collect()
}

/// Where environments and disk images are kept.
pub(super) fn data_folder(configuration: &Configuration) -> Result<PathBuf, SandboxError> {
    configuration.data_folder.clone().map_or_else(cache_folder, Ok)
}

pub(super) fn python(python: &Path) -> ConfigurationOverride {
    ConfigurationOverride::new("Python", python.display().to_string(), "--python")
}

pub(super) fn isolation(isolation: Isolation) -> ConfigurationOverride {
    let word = match isolation {
        Isolation::Default => "Default",
        Isolation::Reduced => "Reduced",
    };
    ConfigurationOverride::new("IsolationTier", word.to_owned(), "--isolation")
}
