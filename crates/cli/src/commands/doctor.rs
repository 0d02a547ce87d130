//! `aevatar-sandbox doctor`: what this host can enforce, by trying it.

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
};

use aevatar_sandbox::{
    ImportRules, IsolationLayer, IsolationReport, IsolationTier, LayerState, LocalBackend, LocalBackendOptions,
    PythonEnvironment, PythonEnvironmentManager, PythonSandboxService, SandboxBackend as _, SandboxError,
    SandboxExecutionRequest, SandboxExecutionResult, ServiceOptions, TerminalProgress, TerminationReason, ZygoteMode,
    cache_folder,
};
use anyhow::Context;

use super::PythonArgument;

/// Tries from inside what the layers forbid, and prints what was possible.
const SELF_CHECK: &str = include_str!("self_check.py");

pub(crate) fn run(arguments: PythonArgument) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("could not start the runtime")?;
    let cache = cache_folder()?;
    // The self-check makes system calls, which no program that the policy lets run does so directly.
    let options = ServiceOptions {
        python: arguments.python,
        imports: ImportRules::off(),
        zygote: ZygoteMode::Off,
        ..ServiceOptions::default()
    };
    let mut page = Page::default();

    let backend = LocalBackendOptions { tier: IsolationTier::Reduced, state_folder: cache.clone(), zygotes: None };
    let backend = Arc::new(LocalBackend::new(&backend));
    let probed = runtime.block_on(backend.probe());
    let service = PythonSandboxService::new(backend, PythonEnvironmentManager::new(cache), options)
        .with_progress(TerminalProgress::new());
    let environment = runtime.block_on(service.prepare(None));
    let checked = (probed.is_ok() && environment.is_ok())
        .then(|| runtime.block_on(service.execute(SandboxExecutionRequest::new(SELF_CHECK))));
    // A sandbox that ran knows best what it was made of.
    let of_check = checked.as_ref().and_then(|checked| checked.as_ref().ok()?.isolation.as_ref());
    match (of_check, &probed) {
        (Some(report), _) | (None, Ok(report)) => page.layers(report),
        (None, Err(error)) => page.failure("sandbox", error),
    }
    match &environment {
        Ok(environment) => page.environment(environment),
        Err(error) => page.failure("environment", error),
    }
    match &checked {
        Some(Ok(result)) => page.self_check(result),
        Some(Err(error)) => page.failure("selfCheck", error),
        None => {}
    }
    runtime.block_on(service.shutdown());
    page.print()?;
    Ok(if page.default_tier_holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is printed, and whether the default tier can be reached.
struct Page {
    lines: Vec<String>,
    default_tier_holds: bool,
}

impl Default for Page {
    fn default() -> Self {
        Self { lines: Vec::new(), default_tier_holds: true }
    }
}

impl Page {
    fn line(&mut self, state: LayerState, name: &str, detail: &str, fix: Option<&str>) {
        let sign = match state {
            LayerState::Enforced => "ok     ",
            LayerState::Weaker => "weaker ",
            LayerState::Missing => "MISSING",
        };
        self.lines.push(format!("{sign}  {name:<13} {detail}"));
        self.lines.extend(fix.map(|fix| format!("{:23}-> {fix}", "")));
    }

    fn layers(&mut self, report: &IsolationReport) {
        for IsolationLayer { name, state, detail, fix } in &report.layers {
            self.line(*state, name, detail, fix.as_deref());
        }
        self.default_tier_holds &= report.tier == IsolationTier::Default;
    }

    fn environment(&mut self, environment: &PythonEnvironment) {
        let detail = format!("CPython {} with {} packages", environment.python, environment.installed.len());
        self.line(LayerState::Enforced, "environment", &detail, None);
        match environment.font_fallbacks.first() {
            Some(family) => {
                let detail = format!("Chinese, Japanese and Korean labels in plots: {family}");
                self.line(LayerState::Enforced, "fonts", &detail, None);
            }
            None => self.line(
                LayerState::Weaker,
                "fonts",
                "no font for Chinese, Japanese and Korean labels: plots show boxes",
                Some("install one: `apt-get install fonts-noto-cjk`, or `dnf install google-noto-sans-cjk-fonts`"),
            ),
        }
    }

    fn self_check(&mut self, result: &SandboxExecutionResult) {
        let possible: Vec<&str> = result.stdout.lines().filter_map(|line| line.strip_prefix("POSSIBLE ")).collect();
        let complete = result.termination.reason == TerminationReason::Exited
            && result.exit_code == Some(0)
            && result.stdout.lines().last() == Some("done");
        if complete && possible.is_empty() {
            let tried = result.stdout.lines().filter(|line| line.starts_with("refused ")).count();
            let took = (result.usage.startup + result.usage.wall_time).as_millis();
            let detail = format!("{tried} forbidden acts tried from inside, all refused ({took} ms)");
            self.line(LayerState::Enforced, "selfCheck", &detail, None);
        } else {
            let detail = if possible.is_empty() { result.termination.message.clone() } else { possible.join(", ") };
            let fix = "this is a defect: please report it with this output";
            self.line(LayerState::Missing, "selfCheck", &detail, Some(fix));
            self.default_tier_holds = false;
        }
    }

    fn failure(&mut self, name: &str, error: &SandboxError) {
        self.line(LayerState::Missing, name, &error.to_string(), error.hint.as_deref());
        self.default_tier_holds = false;
    }

    fn print(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        for line in &self.lines {
            writeln!(out, "{line}")?;
        }
        let verdict = if self.default_tier_holds {
            "The default tier holds on this host."
        } else {
            "The default tier cannot be reached on this host. `run --isolation reduced` accepts what is possible."
        };
        writeln!(out, "\n{verdict}")
    }
}
