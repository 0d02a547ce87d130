//! `GET /api/python/capabilities`: what a program can count on, for whoever writes it.

use std::fmt::Write as _;

use aevatar_sandbox_contract::{
    InstalledPackage, IsolationReport, LimitMaxima, PythonEnvironment, ResourceLimits, UnprofiledImport, WarmProfile,
    WarmReport, ZygoteMode,
};
use aevatar_sandbox_python::PythonSandboxService;
use axum::{
    Json,
    http::{HeaderMap, Uri, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    options::ServerOptions,
    problem::{Problem, ProblemDetails},
    shared::SharedState,
};

/// What a program can count on.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Capabilities {
    /// The same as a text for the prompt of a model that writes programs.
    prompt: String,
    python: Python,
    /// What is installed beside the standard library.
    packages: Vec<InstalledPackage>,
    modules: Modules,
    limits: Limits,
    network: Network,
    filesystem: Filesystem,
    fonts: Fonts,
    /// What stands between a program and the host, as it was tried just now.
    isolation: IsolationReport,
    warm: Warm,
}

/// Warm interpreters, as they are now, of all programs of this server.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Warm {
    /// Whether this server has them. Where it is `off`, every program starts cold.
    zygote: ZygoteMode,
    /// The profiles, smallest first.
    profiles: Vec<WarmProfile>,
    /// Programs that were started cold.
    served_cold: u64,
    /// What would be worth a profile: modules of the environment that programs imported and their profile had not,
    /// the most frequent first; at most 100.
    unprofiled_imports: Vec<UnprofiledImport>,
}

impl Warm {
    fn new(zygote: ZygoteMode, report: WarmReport) -> Self {
        let WarmReport { profiles, served_cold, unprofiled_imports } = report;
        Self { zygote, profiles, served_cold, unprofiled_imports }
    }
}

/// The interpreter.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Python {
    /// `CPython`.
    implementation: &'static str,
    /// Full version: `3.11.2`.
    version: String,
    /// Name of the environment.
    environment: String,
}

/// What may be imported.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Modules {
    /// Whether imports are restricted.
    restricted: bool,
    /// Whether the standard library may be imported, but for `blocked`.
    standard_library: bool,
    /// Modules outside the standard library that may be imported.
    allowed: Vec<String>,
    /// Modules that may not.
    blocked: Vec<String>,
}

/// What a program may use.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Limits {
    /// Of a request that asks for nothing.
    default: ResourceLimits,
    /// What a request may ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum: Option<LimitMaxima>,
    /// Characters of a program.
    max_code_length: usize,
    /// Bytes of a request.
    max_request_bytes: usize,
    /// Programs that run at the same time.
    max_concurrent_executions: usize,
}

/// The network.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Network {
    available: bool,
}

/// Files.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Filesystem {
    /// Folders that a program may write to; the first is where it starts.
    writable: [&'static str; 3],
    /// Whether anything is kept when a program has ended.
    persistent: bool,
}

/// Fonts for plots.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Fonts {
    /// Whether Chinese, Japanese and Korean labels are drawn without any configuration.
    cjk: bool,
    /// Families that matplotlib falls back to, glyph by glyph.
    fallbacks: Vec<String>,
}

impl Capabilities {
    fn new(
        environment: &PythonEnvironment,
        isolation: IsolationReport,
        service: &PythonSandboxService,
        server: &ServerOptions,
    ) -> Self {
        let options = service.options();
        let policy = options.imports.policy(environment);
        let mut capabilities = Self {
            prompt: String::new(),
            python: Python {
                implementation: "CPython",
                version: environment.python.to_string(),
                environment: environment.name.clone(),
            },
            packages: environment.installed.clone(),
            modules: Modules {
                restricted: policy.is_some(),
                standard_library: true,
                allowed: policy.as_ref().map_or_else(Vec::new, |policy| policy.allowed.clone()),
                blocked: policy.as_ref().map_or_else(Vec::new, |policy| policy.blocked.clone()),
            },
            limits: Limits {
                default: options.default_limits.clone(),
                maximum: options.maxima.clone(),
                max_code_length: options.validator.max_code_length,
                max_request_bytes: server.max_request_bytes,
                max_concurrent_executions: options.max_concurrent_executions,
            },
            network: Network { available: false },
            filesystem: Filesystem { writable: ["/work", "/tmp", "/dev/shm"], persistent: false },
            fonts: Fonts { cjk: !environment.font_fallbacks.is_empty(), fallbacks: environment.font_fallbacks.clone() },
            isolation,
            warm: Warm::new(options.zygote, service.warm_report()),
        };
        capabilities.prompt = capabilities.to_prompt();
        capabilities
    }

    fn to_prompt(&self) -> String {
        let mut text = format!(
            "You can run Python programs in a sandbox with CPython {}. Each run starts afresh: no variables, files or \
             processes are kept from one to the next. Print what you want to see; stdout, stderr and the \
             files that are left in /work come back.\n",
            self.python.version
        );
        let packages: Vec<String> =
            self.packages.iter().map(|package| format!("{} {}", package.name, package.version)).collect();
        let mut line = |words: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "- {words}");
        };
        line(format!("Installed beside the standard library: {}. Nothing can be installed.", packages.join(", ")));
        if self.modules.restricted {
            line(format!(
                "Imports are restricted to the standard library and {}; blocked: {}.",
                self.modules.allowed.join(", "),
                if self.modules.blocked.is_empty() { "nothing".to_owned() } else { self.modules.blocked.join(", ") },
            ));
        }
        line("There is no network, no shell, no display, and no program but Python.".to_owned());
        line(format!(
            "Files can be written below {}; all are gone when the program ends, and those in /work come back with its \
             result. The program starts in /work.",
            self.filesystem.writable.join(", ")
        ));
        if !self.modules.blocked.iter().any(|module| module == "sandbox") {
            line(
                "A long program can tell how far it is: import sandbox; sandbox.progress(0.4, \"fitting\"). Bars of tqdm \
                 are understood, too."
                    .to_owned(),
            );
        }
        let ResourceLimits { timeout, cpu_limit, memory_limit, disk_limit, process_limit, max_output_bytes, .. } =
            &self.limits.default;
        line(format!(
            "Limits: {} s, CPU {cpu_limit}, memory {memory_limit}, disk {disk_limit}, {process_limit} processes and \
             threads, {max_output_bytes} bytes of output of each stream; programs of at most {} characters.",
            timeout.as_secs_f64(),
            self.limits.max_code_length
        ));
        if let Some(LimitMaxima { timeout, cpu_limit, memory_limit, disk_limit, .. }) = &self.limits.maximum {
            line(format!(
                "A request may ask for up to {} s, CPU {cpu_limit}, memory {memory_limit}, disk {disk_limit}.",
                timeout.as_secs_f64()
            ));
        }
        line(format!(
            "matplotlib draws to files (Agg); figures that are open at the end come back as PNG. Chinese, Japanese and Korean labels {}.",
            if self.fonts.cjk { "work" } else { "have no font here: use Latin ones" }
        ));
        text
    }
}

/// What a program can count on, written so that it can be put into a model's prompt.
///
/// As text with `?format=text` or `Accept: text/plain`.
#[utoipa::path(
    get,
    path = "/api/python/capabilities",
    tag = "python",
    params(("format" = Option<String>, Query, description = "`text` for the prompt alone")),
    responses(
        (status = 200, description = "What a program can count on", content((Capabilities = "application/json"), (String = "text/plain"))),
        (status = 401, description = "A key is needed", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "The host is called by a name that it does not go by", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 500, description = "The server failed", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "There is no Python environment, or no sandbox can be made", body = ProblemDetails, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn capabilities(shared: SharedState, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    let environment = shared.service.prepare(None).await?;
    let isolation = shared.service.probe().await?;
    let capabilities = Capabilities::new(&environment, isolation, &shared.service, &shared.options);
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let asked = uri.query().is_some_and(|query| query.split('&').any(|part| part == "format=text"));
    let text = asked || accept.starts_with("text/plain");
    Ok(if text { capabilities.prompt.into_response() } else { Json(capabilities).into_response() })
}
