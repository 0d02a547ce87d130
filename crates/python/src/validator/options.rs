//! What a validator checks, and how strictly.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use aevatar_sandbox_contract::{ImportPolicy, PythonEnvironment};

use crate::environment::DEFAULT_ENVIRONMENT;

/// Modules outside the standard library that programs of the default environment may import: its packages by their
/// import names, and those of their dependencies that programs use directly.
pub const DEFAULT_ALLOWED_MODULES: &[&str] = &[
    "PIL",
    "bs4",
    "certifi",
    "charset_normalizer",
    "cloudpickle",
    "contourpy",
    "cycler",
    "dateutil",
    "fontTools",
    "idna",
    "joblib",
    "kiwisolver",
    "matplotlib",
    "mpl_toolkits",
    "narwhals",
    "numpy",
    "packaging",
    "pandas",
    "pylab",
    "pyparsing",
    "requests",
    "scipy",
    "sklearn",
    "soupsieve",
    "threadpoolctl",
    "tqdm",
    "typing_extensions",
    "tzdata",
    "urllib3",
];

/// Modules that an honest program has no use for in a sandbox: foreign functions, and CPython's own test modules.
pub const DEFAULT_BLOCKED_MODULES: &[&str] = &["_ctypes", "_testcapi", "_testinternalcapi", "ctypes"];

/// What is done about a construct that looks dangerous: see [`ValidationRule`](aevatar_sandbox_contract::ValidationRule).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DangerousConstructs {
    /// Nothing; they are not looked for.
    Ignore,
    /// They are listed as warnings.
    #[default]
    Warn,
    /// They are violations: the program is not run.
    Reject,
}

/// Which imports are restricted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportRules {
    /// Whether they are restricted at all.
    pub enforced: bool,
    /// Modules outside the standard library that may be imported. When left out: [`DEFAULT_ALLOWED_MODULES`] in the
    /// default environment, and everything that is installed in a named one, whose maker chose its packages.
    pub allowed: Option<Vec<String>>,
    /// Modules that may not be imported.
    pub blocked: Vec<String>,
}

impl Default for ImportRules {
    fn default() -> Self {
        let blocked = DEFAULT_BLOCKED_MODULES.iter().map(|module| (*module).to_owned()).collect();
        Self { enforced: true, allowed: None, blocked }
    }
}

impl ImportRules {
    /// No restriction.
    pub const fn off() -> Self {
        Self { enforced: false, allowed: None, blocked: Vec::new() }
    }

    /// The policy for programs that run in `environment`; nothing when imports are not restricted.
    pub fn policy(&self, environment: &PythonEnvironment) -> Option<Arc<ImportPolicy>> {
        if self.allowed.is_some() || environment.name == DEFAULT_ENVIRONMENT {
            return self.default_policy();
        }
        self.policy_with(|| installed_modules(&environment.packages))
    }

    /// The policy for programs that run in the default environment, which need not exist for it.
    pub fn default_policy(&self) -> Option<Arc<ImportPolicy>> {
        let packages = || DEFAULT_ALLOWED_MODULES.iter().map(|module| (*module).to_owned()).collect();
        self.policy_with(|| self.allowed.clone().unwrap_or_else(packages))
    }

    fn policy_with(&self, allowed: impl FnOnce() -> Vec<String>) -> Option<Arc<ImportPolicy>> {
        self.enforced.then(|| Arc::new(ImportPolicy { allowed: allowed(), blocked: self.blocked.clone() }))
    }
}

/// The modules that can be imported from a directory of packages. One that cannot be read has none.
fn installed_modules(packages: &Path) -> Vec<String> {
    let Ok(entries) = fs_err::read_dir(packages) else { return Vec::new() };
    let names = entries.filter_map(Result::ok).filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        // `six.py`, `_cffi_backend.cpython-312-x86_64-linux-gnu.so`, `numpy/`; not `numpy-2.1.dist-info/`, `bin/`.
        let (module, ending) = name.split_once('.').unwrap_or((&name, ""));
        let is_module = if ending.is_empty() {
            entry.path().is_dir()
        } else {
            ending == "py" || Path::new(ending).extension().is_some_and(|last| last == "so") || ending == "so"
        };
        let is_identifier = module.chars().all(|letter| letter == '_' || letter.is_alphanumeric());
        (is_module && is_identifier && module != "__pycache__" && module != "bin").then(|| module.to_owned())
    });
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

/// How a validator works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatorOptions {
    /// Characters that a program may have.
    pub max_code_length: usize,
    /// What is done about constructs that look dangerous.
    pub dangerous_constructs: DangerousConstructs,
}

impl Default for ValidatorOptions {
    fn default() -> Self {
        Self { max_code_length: 1_000_000, dangerous_constructs: DangerousConstructs::default() }
    }
}
