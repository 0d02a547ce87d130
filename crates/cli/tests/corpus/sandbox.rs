//! The binary under test, started by the current user or by an ordinary one.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use crate::{
    attack::WITH_OPEN_SECRETS,
    door::Door,
    expectation::{ExecutionResult, shorten},
    ordinary_user::OrdinaryUser,
    process, site,
};

/// Time for one execution, whatever its own limits are.
const RUN_LIMIT: Duration = Duration::from_mins(2);
/// Time to make the Python environment: it installs packages.
const PREPARE_LIMIT: Duration = Duration::from_mins(20);

/// Who starts the binary.
#[derive(Clone, Copy)]
pub(crate) enum Caller {
    CurrentUser,
    OrdinaryUser,
    /// The current user, through a server.
    OverHttp,
    /// An ordinary one, through a server of its own.
    OrdinaryUserOverHttp,
}

/// The binary for one caller; prepared at its first use, so that listing trials costs nothing.
pub(crate) struct Sandbox {
    caller: Caller,
    engine: OnceLock<Result<Engine, String>>,
}

impl Sandbox {
    pub(crate) fn new(caller: Caller) -> Self {
        Self { caller, engine: OnceLock::new() }
    }

    /// The prepared binary; all trials share one preparation, and its failure.
    pub(crate) fn engine(&self) -> Result<&Engine, String> {
        self.engine.get_or_init(|| Engine::prepare(self.caller)).as_ref().map_err(Clone::clone)
    }
}

/// Whether imports are restricted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    Off,
    Enforced,
}

/// A prepared binary.
pub(crate) struct Engine {
    binary: PathBuf,
    /// Before the user, whose server it is.
    door: Option<Door>,
    ordinary_user: Option<OrdinaryUser>,
}

/// One execution.
pub(crate) struct Run<'a> {
    pub(crate) policy: Policy,
    pub(crate) program: &'a Path,
    pub(crate) limits: &'a [String],
    pub(crate) args: &'a [String],
    pub(crate) stdin: &'a [u8],
    /// A variable with a secret, in the environment of the binary.
    pub(crate) environment: Option<(&'a str, &'a str)>,
    /// A file that the binary inherits open.
    pub(crate) open_secret: Option<&'a Path>,
}

impl Default for Run<'_> {
    fn default() -> Self {
        Self {
            policy: Policy::Off,
            program: Path::new(""),
            limits: &[],
            args: &[],
            stdin: b"",
            environment: None,
            open_secret: None,
        }
    }
}

/// What came of one execution.
pub(crate) struct Inside {
    pub(crate) result: ExecutionResult,
    /// Everything that came out: the JSON and the binary's own messages.
    pub(crate) text: String,
    pub(crate) took: Duration,
}

/// What came of one execution with the import policy.
pub(crate) enum Answer {
    /// It ran.
    Ran(Box<Inside>),
    /// It was rejected before, in these words.
    Rejected(String),
}

impl Answer {
    /// Everything that came out.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Ran(inside) => &inside.text,
            Self::Rejected(text) => text,
        }
    }

    /// Whether the import policy refused it; `module`, where one is named.
    pub(crate) fn is_refused(&self, module: Option<&str>) -> bool {
        let names = |text: &str| module.is_none_or(|module| text.contains(module));
        match self {
            Self::Rejected(text) => names(text),
            Self::Ran(inside) => inside.result.error.as_ref().is_some_and(|error| {
                error.name == "ImportError"
                    && error.value.starts_with("the import policy of this sandbox ")
                    && names(&error.value)
            }),
        }
    }
}

/// Exit code of the binary when it rejects a program before it runs.
const REJECTED: i32 = 126;

impl Engine {
    fn prepare(caller: Caller) -> Result<Self, String> {
        let built = site::binary();
        let engine = match caller {
            Caller::CurrentUser | Caller::OverHttp => Self { binary: built.clone(), ordinary_user: None, door: None },
            Caller::OrdinaryUser | Caller::OrdinaryUserOverHttp => {
                let user = OrdinaryUser::create(&built)?;
                Self { binary: user.binary(), ordinary_user: Some(user), door: None }
            }
        };
        let mut command = engine.command_of_caller(&engine.binary.to_string_lossy());
        command.args(["env", "prepare"]).args(engine.python_arguments());
        let finished = process::run(command, b"", site::patience(PREPARE_LIMIT))?;
        if !finished.status.success() {
            let stderr = String::from_utf8_lossy(&finished.stderr);
            return Err(format!("`env prepare` ended with {}: {}", finished.status, shorten(&stderr)));
        }
        let cgroups = match (caller, &engine.ordinary_user) {
            (Caller::OrdinaryUserOverHttp, Some(user)) => Some(user.create_cgroups()?),
            _ => None,
        };
        let command = match (&engine.ordinary_user, &cgroups) {
            (Some(user), Some(cgroups)) => user.command_in(cgroups, &engine.binary.to_string_lossy()),
            _ => Command::new(&engine.binary),
        };
        let is_over_http = matches!(caller, Caller::OverHttp | Caller::OrdinaryUserOverHttp);
        let door = is_over_http.then(|| Door::open(command, engine.python_arguments(), cgroups)).transpose()?;
        Ok(Self { door, ..engine })
    }

    fn python_arguments(&self) -> &[String] {
        self.ordinary_user.as_ref().map_or(&[], OrdinaryUser::python_arguments)
    }

    /// A command that runs `program` as the caller, outside of any sandbox.
    pub(crate) fn command_of_caller(&self, program: &str) -> Command {
        match &self.ordinary_user {
            Some(user) => user.command(program),
            None => Command::new(program),
        }
    }

    /// Runs one program in the sandbox, where it cannot be rejected.
    pub(crate) fn run(&self, run: &Run) -> Result<Inside, String> {
        match self.ask(run)? {
            Answer::Ran(inside) => Ok(*inside),
            Answer::Rejected(text) => Err(format!("rejected without the import policy: {}", shorten(&text))),
        }
    }

    /// Runs one program in the sandbox, if it is not rejected before.
    pub(crate) fn ask(&self, run: &Run) -> Result<Answer, String> {
        if let Some(door) = &self.door {
            return door.ask(run);
        }
        // The cgroups of this one execution; checked and removed when it is over.
        let cgroups = self.ordinary_user.as_ref().map(OrdinaryUser::create_cgroups).transpose()?;
        let mut command = match (&self.ordinary_user, &cgroups) {
            (Some(user), Some(cgroups)) => user.command_in(cgroups, "sh"),
            _ => Command::new("sh"),
        };
        match run.open_secret {
            Some(file) => command.args(["-c", &WITH_OPEN_SECRETS.replace("3<>", "3<"), "sh"]).arg(file),
            None => command.args(["-c", r#"exec "$@""#, "sh"]),
        };
        command.arg(&self.binary).args(["run", "--json", "--import-policy"]);
        command.arg(if run.policy == Policy::Off { "off" } else { "enforce" });
        command.args(self.python_arguments()).args(run.limits).envs(site::settings());
        command.arg(run.program).args(run.args);
        if let Some((name, secret)) = run.environment {
            command.env(name, secret);
        }
        if let Some(folder) = run.program.parent() {
            command.current_dir(folder);
        }
        let finished = process::run(command, run.stdin, site::patience(RUN_LIMIT))?;
        let (stdout, stderr) = (String::from_utf8_lossy(&finished.stdout), String::from_utf8_lossy(&finished.stderr));
        // A program may end with that code, too; then there is a result.
        if finished.status.code() == Some(REJECTED) && !stdout.contains("\"executionId\"") {
            if let Some(cgroups) = cgroups {
                cgroups.remove()?;
            }
            return Ok(Answer::Rejected(format!("{stdout}\n{stderr}")));
        }
        let result = serde_json::from_str(&stdout).map_err(|error| {
            format!(
                "no result ({error}), {}\nstdout: {}\nstderr: {}",
                finished.status,
                shorten(&stdout),
                shorten(&stderr)
            )
        })?;
        if let Some(cgroups) = cgroups {
            cgroups.remove()?;
        }
        Ok(Answer::Ran(Box::new(Inside { result, text: format!("{stdout}\n{stderr}"), took: finished.took })))
    }
}

/// A folder that every user can read.
pub(crate) fn public_folder() -> std::io::Result<tempfile::TempDir> {
    let folder = tempfile::Builder::new().prefix("aevatar-sandbox-corpus-").tempdir()?;
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755))?;
    Ok(folder)
}
