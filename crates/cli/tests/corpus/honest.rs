//! One honest program: it must work, unchanged.

use std::path::Path;

use crate::{
    Outcome,
    expectation::shorten,
    header::{self, Honest},
    sandbox::{Answer, Policy, Run, Sandbox, public_folder},
};

pub(crate) fn run(path: &Path, sandbox: &Sandbox, policy: Policy) -> Result<Outcome, String> {
    let honest: Honest = header::read(path, "honest")?;
    let context = |text: String| format!("{}\nshows {}\n  {text}", path.display(), honest.shows);
    let engine = sandbox.engine()?;
    let folder = public_folder().map_err(|error| context(format!("cannot make a folder: {error}")))?;
    let program = folder.path().join("program.py");
    std::fs::copy(path, &program).map_err(|error| context(format!("cannot copy it: {error}")))?;
    let mut earlier: Vec<String> = Vec::new();
    for _ in 0..honest.runs {
        let run = Run {
            policy,
            program: &program,
            limits: &honest.expectation.patient_limits(&honest.limits),
            args: &honest.args,
            stdin: honest.stdin.as_bytes(),
            ..Run::default()
        };
        let answer = engine.ask(&run).map_err(context)?;
        if let (Policy::Enforced, Some(blocked)) = (policy, &honest.blocked) {
            if answer.is_refused(Some(blocked)) {
                continue;
            }
            return Err(context(format!("the policy does not refuse {blocked}: {}", shorten(answer.text()))));
        }
        let Answer::Ran(inside) = answer else {
            return Err(context(format!("rejected: {}", shorten(answer.text()))));
        };
        let mut differences = honest.expectation.check(&inside.result, inside.took);
        for line in inside.result.stdout.lines().filter(|_| honest.runs_differ) {
            if earlier.iter().any(|seen| seen == line) {
                differences.note(format!("two runs printed {line:?}"));
            }
            earlier.push(line.to_owned());
        }
        if !differences.is_empty() {
            return Err(context(format!("{}\nresult: {}", differences.join(), shorten(&inside.text))));
        }
    }
    Ok(Outcome::Passed)
}
