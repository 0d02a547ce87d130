//! `aevatar-sandbox validate`.

use std::{
    fmt::Write as _,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use aevatar_sandbox::{
    CodeFinding, EnvironmentSelection, ImportPolicy, PythonCodeValidator, PythonEnvironmentManager, PythonVersion,
    TerminalProgress, ValidationReport,
};
use anyhow::Context;
use clap::Args;

use super::{PythonArgument, configured, program};

/// The most of a source line that is shown.
const LINE_SHOWN: usize = 120;

#[derive(Debug, Args)]
pub(crate) struct ValidateArguments {
    /// The program: a file, or `-` for stdin
    #[arg(value_name = "FILE")]
    file: String,

    /// Print the report as JSON, and nothing else
    #[arg(long)]
    json: bool,

    /// Python environment whose packages count, as made by `env prepare --name` [default: the one with the seven packages]
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,

    /// Configuration: the section `PythonSandbox` of a JSON file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    python: PythonArgument,
}

pub(crate) fn run(arguments: ValidateArguments) -> anyhow::Result<ExitCode> {
    let overrides = arguments.python.python.iter().map(|python| configured::python(python)).collect();
    let configuration = configured::load(arguments.config, overrides)?;
    let code = program::read(&arguments.file)?;
    let options = configuration.service_options();
    let validator = PythonCodeValidator::new(options.validator);
    validator.check_size(&code)?;
    let manager = PythonEnvironmentManager::new(configured::data_folder(&configuration)?);
    let selection = EnvironmentSelection { python: options.python, ..EnvironmentSelection::default() };
    let (python, imports): (PythonVersion, Option<Arc<ImportPolicy>>) = match arguments.environment {
        // Nothing is prepared only to read a program.
        None => (manager.python_version(&selection)?, options.imports.default_policy()),
        Some(name) => {
            let environment = manager.prepare(&EnvironmentSelection { name, ..selection }, &TerminalProgress::new())?;
            (environment.python, options.imports.policy(&environment))
        }
    };
    let report = validator.validate(&code, python, imports.as_deref());
    let text = if arguments.json {
        let mut text = serde_json::to_string(&report).context("could not write the report as JSON")?;
        text.push('\n');
        text
    } else {
        page(&arguments.file, &code, &report)
    };
    // Whoever closed our stdout does not want it.
    drop(io::stdout().write_all(text.as_bytes()));
    Ok(if report.is_valid { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The report for a person.
fn page(file: &str, code: &[u8], report: &ValidationReport) -> String {
    let mut page = String::new();
    let source = String::from_utf8_lossy(code);
    let lines: Vec<&str> = source.lines().collect();
    if let Some(error) = &report.syntax_error {
        page.push_str(&error.traceback);
        page.push('\n');
    }
    for finding in &report.violations {
        page.push_str(&paragraph(file, &lines, "error", finding));
    }
    for finding in &report.warnings {
        page.push_str(&paragraph(file, &lines, "warning", finding));
    }
    if report.is_valid {
        let modules: Vec<&str> = report.imports.iter().map(|import| import.module.as_str()).collect();
        let imports = if modules.is_empty() { "nothing".to_owned() } else { modules.join(", ") };
        // Writing to a string cannot fail.
        let _ = writeln!(page, "{file}: would be run; it imports {imports}");
    } else {
        let _ = writeln!(page, "{file}: would not be run");
    }
    page
}

fn paragraph(file: &str, lines: &[&str], severity: &str, finding: &CodeFinding) -> String {
    let CodeFinding { rule, message, line, column, hint, .. } = finding;
    let mut text = format!("{file}:{line}:{column}: {severity}: {message} ({rule:?})\n");
    let index = usize::try_from(*line).unwrap_or(0).saturating_sub(1);
    if let Some(source) = lines.get(index) {
        let shown: String = source.chars().take(LINE_SHOWN).map(printable).collect();
        let before = usize::try_from(*column).unwrap_or(0).saturating_sub(1);
        let _ = writeln!(text, "    {shown}");
        if before < LINE_SHOWN {
            let _ = writeln!(text, "    {:before$}^", "");
        }
    }
    let _ = writeln!(text, "    hint: {hint}\n");
    text
}

/// A stranger's program does not get to control the terminal.
fn printable(letter: char) -> char {
    if letter.is_control() { ' ' } else { letter }
}
