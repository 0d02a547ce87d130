//! One attack: control outside, the attack inside, a harmless program afterwards.

use std::{ffi::OsString, os::unix::process::ExitStatusExt, path::Path, process::Command, time::Duration};

use crate::{
    Outcome,
    canary::Canaries,
    expectation::{Differences, Expectation, shorten},
    header::{self, Attack},
    process::{self, Finished},
    sandbox::{Answer, Engine, Policy, Run, Sandbox},
    site,
};

/// Time for an attack outside.
const CONTROL_LIMIT: Duration = Duration::from_mins(1);

/// Around a program: descriptors 3 and 9 lead to a secret, as a careless service would leave them open.
pub(crate) const WITH_OPEN_SECRETS: &str = r#"exec 3<>"$1" 9<"$1"; shift; exec "$@""#;

pub(crate) fn run(path: &Path, sandbox: &Sandbox) -> Result<Outcome, String> {
    let attack: Attack = header::read(path, "attack")?;
    let Attack { tries, requirement, layer, .. } = &attack;
    let context =
        |text: String| format!("{}\ntries to {tries}\n({requirement}, stopped by: {layer})\n  {text}", path.display());
    if let Some(machine) = &attack.machine
        && machine != std::env::consts::ARCH
    {
        return Ok(Outcome::Unproven(format!("only for {machine}")));
    }
    let engine = sandbox.engine()?;
    let mut canaries = Canaries::plant(|program| engine.command_of_caller(program)).map_err(context)?;

    let mut unproven = None;
    let control = run_control(path, &attack, &canaries).map_err(context)?;
    let control_stdout = String::from_utf8_lossy(&control.stdout);
    let differences = check_control(&attack, &control, &canaries);
    if let Some(absent) = attack.control.absent.as_ref().filter(|absent| control_stdout.contains(*absent)) {
        unproven = Some(format!("this kernel lacks what is attacked ({absent})"));
    } else if !differences.is_empty() && !rustix::process::getuid().is_root() {
        unproven = Some("the control outside needs root".to_owned());
    } else if !differences.is_empty() {
        let stderr = String::from_utf8_lossy(&control.stderr);
        return Err(context(format!(
            "the control outside failed:\n  {}\nstderr: {}",
            differences.join(),
            shorten(&stderr)
        )));
    }
    if !canaries.victim_is_well() {
        return Err(context("the control harmed the victim, so nothing can be said of the attack inside".to_owned()));
    }

    let trial = run_inside(path, &attack, engine, &mut canaries, Policy::Off).map_err(context)?;
    let lacking = trial.conclude(&attack).map_err(context)?;
    run_hello(engine, &canaries).map_err(context)?;
    Ok(unproven.or(lacking).map_or(Outcome::Passed, Outcome::Unproven))
}

/// A harmless program, which must work whatever ran before.
pub(crate) fn run_hello(engine: &Engine, canaries: &Canaries) -> Result<(), String> {
    let program = canaries.folder.path().join("program.py");
    std::fs::write(&program, "print('hello')\n").map_err(|error| format!("cannot write a program: {error}"))?;
    let after =
        engine.run(&Run { program: &program, ..Run::default() }).map_err(|error| format!("a harmless one: {error}"))?;
    let hello = Expectation { stdout: Some("hello".to_owned()), ..Expectation::default() };
    let differences = hello.check(&after.result, after.took);
    if !differences.is_empty() {
        return Err(format!("a harmless one: {}\nresult: {}", differences.join(), shorten(&after.text)));
    }
    Ok(())
}

/// The attack inside alone. With the import policy on, it fails as it does without, or is refused.
///
/// That it succeeds outside, and that the next program works, is shown by [`run`].
pub(crate) fn run_again(path: &Path, sandbox: &Sandbox, policy: Policy) -> Result<Outcome, String> {
    let attack: Attack = header::read(path, "attack")?;
    let context = |text: String| format!("{}\ntries to {}\n  {text}", path.display(), attack.tries);
    if let Some(machine) = attack.machine.as_ref().filter(|machine| *machine != std::env::consts::ARCH) {
        return Ok(Outcome::Unproven(format!("only for {machine}")));
    }
    let engine = sandbox.engine()?;
    let mut canaries = Canaries::plant(|program| engine.command_of_caller(program)).map_err(context)?;
    let trial = run_inside(path, &attack, engine, &mut canaries, policy).map_err(context)?;
    let lacking = trial.conclude(&attack).map_err(context)?;
    Ok(lacking.map_or(Outcome::Passed, Outcome::Unproven))
}

/// What an attack inside came to.
pub(crate) struct Trial {
    /// From what its header says; none when it held.
    pub(crate) differences: Differences,
    /// What reached beyond the sandbox: secrets that came out, visitors, harm.
    pub(crate) harm: Vec<String>,
    pub(crate) answer: Answer,
}

impl Trial {
    /// Whether the sandbox says that it was without the layer that the attack is about.
    fn lacks_layer(&self, attack: &Attack) -> bool {
        match (&attack.needs_layer, &self.answer) {
            (Some(layer), Answer::Ran(inside)) => !inside.result.has_layer(layer),
            _ => false,
        }
    }

    /// An error unless it held; why nothing is proved where the layer is missing. Harm is an error there, too.
    fn conclude(mut self, attack: &Attack) -> Result<Option<String>, String> {
        let lacking = self.lacks_layer(attack).then(|| "this host lacks the layer that stops it".to_owned());
        if lacking.is_some() {
            self.differences = Differences::default();
        }
        for harm in self.harm {
            self.differences.note(harm);
        }
        if self.differences.is_empty() {
            return Ok(lacking);
        }
        Err(format!("{}\nresult: {}", self.differences.join(), shorten(self.answer.text())))
    }
}

/// Runs the attack in the sandbox, as often as its header says.
pub(crate) fn run_inside(
    path: &Path,
    attack: &Attack,
    engine: &Engine,
    canaries: &mut Canaries,
    policy: Policy,
) -> Result<Trial, String> {
    let visitors = canaries.visitors();
    let program = canaries.folder.path().join("program.py");
    std::fs::copy(path, &program).map_err(|error| format!("cannot copy it: {error}"))?;
    let argument = canaries.argument(false);
    let mut number = 0;
    loop {
        number += 1;
        let answer = engine.ask(&Run {
            policy,
            program: &program,
            limits: &attack.patient_limits(),
            args: std::slice::from_ref(&argument),
            stdin: b"",
            environment: Some((&canaries.environment_variable, canaries.environment_secret())),
            open_secret: Some(&canaries.secret_file()),
        })?;
        let mut differences = Differences::default();
        match &answer {
            _ if policy == Policy::Enforced && answer.is_refused(None) => {}
            Answer::Rejected(_) => differences.note("rejected".to_owned()),
            Answer::Ran(inside) if number == attack.runs => {
                differences = attack.inside.check(&inside.result, inside.took);
            }
            Answer::Ran(_) => {}
        }
        let found = canaries.found_in(answer.text()).into_iter();
        let mut harm: Vec<String> = found.map(|secret| format!("{secret} came out of the sandbox")).collect();
        if canaries.visitors() != visitors {
            harm.push("a listener of the host had a visitor".to_owned());
        }
        if !canaries.victim_is_well() {
            harm.push("the victim on the host is dead, stopped or traced".to_owned());
        }
        if number == attack.runs || !differences.is_empty() || !harm.is_empty() {
            return Ok(Trial { differences, harm, answer });
        }
    }
}

/// Runs the attack on the host's own Python, as `main.py` in an empty folder.
fn run_control(path: &Path, attack: &Attack, canaries: &Canaries) -> Result<Finished, String> {
    let folder = tempfile::Builder::new().prefix("aevatar-sandbox-control-").tempdir();
    let folder = folder.map_err(|error| format!("cannot make a folder: {error}"))?;
    let prepare = || {
        std::fs::create_dir(folder.path().join("tmp"))?;
        std::fs::copy(path, folder.path().join("main.py"))?;
        // A copy, because an attack may write there.
        std::fs::copy(canaries.secret_file(), folder.path().join("tmp/open-secret"))
    };
    prepare().map_err(|error| format!("cannot prepare the control: {error}"))?;
    let mut last = None;
    for _ in 0..attack.runs {
        let mut command = Command::new("sh");
        command.arg("-c").arg(WITH_OPEN_SECRETS).arg("sh").arg(folder.path().join("tmp/open-secret"));
        command.args([host_python(), "-B".into(), "main.py".into(), canaries.argument(true).into()]);
        command.current_dir(folder.path()).env("HOME", folder.path()).env("TMPDIR", folder.path().join("tmp"));
        command.env(&canaries.environment_variable, canaries.environment_secret());
        last = Some(
            process::run(command, b"", site::patience(CONTROL_LIMIT))
                .map_err(|error| format!("the control outside: {error}"))?,
        );
    }
    // Mounts of a control were in a namespace that is gone by now, so nothing is in the way.
    remove_tree(folder).map_err(|error| format!("cannot remove the control's folder: {error}"))?;
    last.ok_or_else(|| "runs = 0".to_owned())
}

/// Removes what an attack may have left. Not by ourselves: a tree can be deeper than a process may have descriptors, and
/// closed to its own owner.
fn remove_tree(folder: tempfile::TempDir) -> std::io::Result<()> {
    let script = r#"chmod -R u+rwX "$1" && rm -rf "$1""#;
    let removed = Command::new("sh").args(["-c", script, "sh"]).arg(folder.path()).output()?;
    if removed.status.success() {
        // Its destructor would look for it.
        drop(folder.keep());
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&removed.stderr);
    Err(std::io::Error::other(stderr.lines().next().unwrap_or_default().to_owned()))
}

fn check_control(attack: &Attack, control: &Finished, canaries: &Canaries) -> Differences {
    let expected = &attack.control;
    let mut differences = Differences::default();
    let exit = if expected.signal.is_some() { None } else { Some(expected.exit) };
    differences.compare("exit code", &exit, &control.status.code());
    differences.compare("signal", &expected.signal, &control.status.signal());
    if let Some(stdout) = &expected.stdout {
        let got = String::from_utf8_lossy(&control.stdout);
        let expected: Vec<String> = stdout.as_slice().iter().map(|text| canaries.expand(text)).collect();
        if !expected.iter().any(|expected| expected.trim_end_matches('\n') == got.trim_end_matches('\n')) {
            differences.compare_text("stdout", &expected.join("\nor\n"), &got);
        }
    }
    if let Some(bytes) = expected.stdout_bytes {
        differences.compare("bytes of stdout", &bytes, &control.stdout_bytes);
    }
    differences
}

/// The distribution's Python where there is one: version managers put slow scripts in front of theirs.
fn host_python() -> OsString {
    let distribution = Path::new("/usr/bin/python3");
    if distribution.exists() { distribution.into() } else { "python3".into() }
}
