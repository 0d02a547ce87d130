//! `cargo xtask layers`: which attacks each layer stops that no other does, by leaving it out.
//!
//! The trial is a build of its own, below target/layer-trials: the binaries that everybody uses cannot leave anything
//! out. What comes of it is the table in docs/threat-model.md. `--check` runs only the attacks that the table names,
//! each without the layer in whose row it stands, and compares.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use aevatar_sandbox_jail::layers::Layer;
use anyhow::{Context, bail, ensure};
use fs_err as fs;
use serde::Deserialize;
use serde_json::Value;

use crate::vm;

/// Where the table is, between its marks.
const PAGE: &str = "docs/threat-model.md";
const BEGIN: &str = "<!-- made by `cargo xtask layers` -->\n";
const END: &str = "<!-- end -->\n";

/// Where the trial's network is made.
const NETWORK: &str = "tests/layers/network.py";
const PYTHON: &str = "/usr/bin/python3";

const TARGET: &str = "target/layer-trials";
const FEATURE: &str = "layer-trials";
/// As the trial reads it; the constant beside the layers is there with the feature only.
const WITHOUT: &str = "AEVATAR_SANDBOX_WITHOUT_LAYERS";

/// Layers that stop the same attacks: each of them alone leaves the others. Their rows have only what no row of one of
/// them has.
const TOGETHER: [&[Layer]; 8] = [
    &[Layer::PidsLimit, Layer::ProcessLimits],
    &[Layer::NetworkNamespace, Layer::Landlock],
    &[Layer::UnreadableInit, Layer::Landlock],
    &[Layer::ReadOnlyRoot, Layer::Landlock, Layer::NoCapabilities, Layer::UserNamespace],
    &[Layer::ReadOnlyRoot, Layer::NoCapabilities, Layer::UserNamespace],
    &[Layer::Seccomp, Layer::IpcNamespace],
    &[Layer::Seccomp, Layer::NoCapabilities],
    &[Layer::Seccomp, Layer::NoCapabilities, Layer::UserNamespace],
];

/// What became of one attack; as crates/cli/tests/layers.rs prints it.
#[derive(Deserialize)]
struct Tried {
    attack: String,
    outcome: Outcome,
    words: String,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
enum Outcome {
    Held,
    Otherwise,
    Partly,
    Succeeded,
}

/// One row: attacks by what became of them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Row(BTreeMap<Outcome, BTreeSet<String>>);

impl Row {
    fn has(&self, tried: &Tried) -> bool {
        self.0.get(&tried.outcome).is_some_and(|attacks| attacks.contains(&tried.attack))
    }

    fn of(&self, outcome: Outcome) -> BTreeSet<String> {
        self.0.get(&outcome).cloned().unwrap_or_default()
    }
}

/// Sets of layers to leave out: each alone, then those that stop the same.
fn trials() -> Vec<Vec<Layer>> {
    let alone = Layer::ALL.into_iter().map(|layer| vec![layer]);
    alone.chain(TOGETHER.map(<[Layer]>::to_vec)).collect()
}

fn names(layers: &[Layer]) -> String {
    layers.iter().map(|layer| layer.name()).collect::<Vec<_>>().join(",")
}

pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => write(),
        ["--check"] => check().map(|checked| println!("{checked} attacks without a layer: as the table says")),
        _ => bail!("layers [--check]"),
    }
}

/// Why there can be no trial here, if so.
pub(crate) fn obstacle() -> Option<&'static str> {
    if vm::is_root() { None } else { Some("without root, a user namespace cannot be left out") }
}

/// Runs every attack without each layer, and writes the table.
fn write() -> anyhow::Result<()> {
    if let Some(obstacle) = obstacle() {
        bail!("{obstacle}");
    }
    let trial = Trial::build()?;
    let all = trial.run(&[], None)?;
    let broken: Vec<&Tried> = all.iter().filter(|tried| tried.outcome != Outcome::Held).collect();
    for tried in &broken {
        eprintln!("with every layer: {}: {:?}: {}", tried.attack, tried.outcome, tried.words);
    }
    ensure!(broken.is_empty() && !all.is_empty(), "with every layer, every attack must hold");
    let mut table = String::from(
        "| without | attacks that then succeed | that succeed in part | that another layer stops, or fail in another way |\n\
         | --- | --- | --- | --- |\n",
    );
    let mut alone = Vec::new();
    for layers in trials() {
        let mut row = Row::default();
        for tried in trial.run(&layers, None)? {
            if tried.outcome != Outcome::Held {
                println!("without {}: {}: {:?}: {}", names(&layers), tried.attack, tried.outcome, tried.words);
            }
            let known = alone.iter().any(|(layer, row): &(Layer, Row)| layers.contains(layer) && row.has(&tried));
            if !known {
                row.0.entry(tried.outcome).or_default().insert(tried.attack);
            }
        }
        show(&mut table, &layers, &row);
        if let [layer] = layers[..] {
            alone.push((layer, row));
        }
    }
    let page = fs::read_to_string(PAGE).context("run it from the root of the workspace")?;
    let (before, _, after) = parts(&page)?;
    fs::write(PAGE, format!("{before}{BEGIN}\n{table}\n{END}{after}"))?;
    Ok(())
}

/// Runs the attacks that the table names, and tells how many.
pub(crate) fn check() -> anyhow::Result<usize> {
    let page = fs::read_to_string(PAGE).context("run it from the root of the workspace")?;
    let rows = read(parts(&page)?.1)?;
    let trial = Trial::build()?;
    let (mut checked, mut wrong) = (0, Vec::new());
    for layers in trials() {
        let name = names(&layers);
        let row = rows.get(&name).with_context(|| format!("the table has no row for {name}"))?;
        let attacks: BTreeSet<String> = row.0.values().flatten().cloned().collect();
        // With nothing to show, it is still shown that a sandbox works without the layer.
        for tried in trial.run(&layers, Some(&attacks))? {
            checked += 1;
            if !row.has(&tried) {
                wrong.push(format!("without {name}: {}: {:?}: {}", tried.attack, tried.outcome, tried.words));
            }
        }
    }
    ensure!(checked > 0, "the table names no attack");
    ensure!(wrong.is_empty(), "the table says otherwise:\n{}", wrong.join("\n"));
    Ok(checked)
}

/// The page before the table, the table, and what comes after.
fn parts(page: &str) -> anyhow::Result<(&str, &str, &str)> {
    let found = page.split_once(BEGIN).and_then(|(before, rest)| {
        let (table, after) = rest.split_once(END)?;
        Some((before, table, after))
    });
    found.with_context(|| format!("{PAGE} has no place for the table"))
}

fn show(table: &mut String, layers: &[Layer], row: &Row) {
    let cell = |outcome| {
        let attacks: Vec<String> = row.of(outcome).iter().map(|attack| format!("`{attack}`")).collect();
        if attacks.is_empty() { "–".to_owned() } else { attacks.join(", ") }
    };
    // Writing to a String cannot fail.
    let _ = writeln!(
        table,
        "| {} | {} | {} | {} |",
        names(layers),
        cell(Outcome::Succeeded),
        cell(Outcome::Partly),
        cell(Outcome::Otherwise)
    );
}

/// The rows of a table, by the layers that are left out.
fn read(table: &str) -> anyhow::Result<BTreeMap<String, Row>> {
    let mut rows = BTreeMap::new();
    for line in table.lines().filter(|line| line.starts_with("| ")).skip(2) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, succeeded, partly, otherwise] = cells[..] else { bail!("the table has a strange row: {line}") };
        let mut row = Row::default();
        for (outcome, cell) in
            [(Outcome::Succeeded, succeeded), (Outcome::Partly, partly), (Outcome::Otherwise, otherwise)]
        {
            let attacks = cell.split(", ").filter_map(|attack| attack.strip_prefix('`')?.strip_suffix('`'));
            row.0.insert(outcome, attacks.map(str::to_owned).collect());
        }
        rows.insert(name.to_owned(), row);
    }
    Ok(rows)
}

/// The build that can leave layers out.
struct Trial {
    program: PathBuf,
    /// For the canaries: below /var, which a sandbox without a root of its own shows.
    folder: tempfile::TempDir,
}

impl Trial {
    fn build() -> anyhow::Result<Self> {
        let arguments = ["test", "--no-run", "--package", "aevatar-sandbox", "--test", "layers"];
        let arguments = [&arguments[..], &["--features", FEATURE, "--target-dir", TARGET]].concat();
        println!("== a build that can leave layers out: cargo {}", arguments.join(" "));
        let output = Command::new("cargo")
            .args(arguments)
            .args(["--message-format", "json-render-diagnostics"])
            .stderr(Stdio::inherit())
            .output()
            .context("could not run cargo")?;
        ensure!(output.status.success(), "the trial could not be built");
        let program = output.stdout.split(|byte| *byte == b'\n').find_map(|line| {
            let message: Value = serde_json::from_slice(line).ok()?;
            let wanted = message["target"]["name"] == "layers" && message["profile"]["test"] == true;
            message["executable"].as_str().filter(|_| wanted).map(PathBuf::from)
        });
        // While there is a network.
        let prepared = Command::new(format!("{TARGET}/debug/aevatar-sandbox"))
            .args(["env", "prepare"])
            .stdout(Stdio::null())
            .status();
        ensure!(prepared.context("could not run the trial's binary")?.success(), "there is no Python environment");
        let folder = tempfile::Builder::new().prefix("layer-trials-").tempdir_in("/var/tmp")?;
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        Ok(Self { program: program.context("cargo built no trial")?, folder })
    }

    /// Runs `attacks`, or all of them, without `layers`.
    fn run(&self, layers: &[Layer], attacks: Option<&BTreeSet<String>>) -> anyhow::Result<Vec<Tried>> {
        // Without its network namespace, a sandbox is in that of whoever started it: this one leads nowhere. Without
        // its pid namespace it may not end: here it ends with the trial, and that with this process.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.args([PYTHON, "-B", NETWORK]).arg(&self.program).env("TMPDIR", self.folder.path());
        if !layers.is_empty() {
            command.env(WITHOUT, names(layers));
        }
        if let Some(attacks) = attacks {
            command.env("SANDBOX_TEST_ONLY", attacks.iter().cloned().collect::<Vec<_>>().join("\n"));
        }
        let output = command.stderr(Stdio::inherit()).output().context("could not run the trial")?;
        ensure!(output.status.success(), "without {:?}: the trial failed", names(layers));
        let stdout = String::from_utf8(output.stdout).context("the trial prints nonsense")?;
        let tried: Vec<Tried> = stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        if let Some(attacks) = attacks {
            let silent: Vec<&String> =
                attacks.iter().filter(|attack| !tried.iter().any(|tried| tried.attack == **attack)).collect();
            ensure!(silent.is_empty(), "without {:?}: nothing is known of {silent:?}", names(layers));
        }
        Ok(tried)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let row = Row(BTreeMap::from([
            (Outcome::Succeeded, set(&["a/b", "c/d"])),
            (Outcome::Partly, set(&[])),
            (Outcome::Otherwise, set(&["e/f"])),
        ]));
        let mut table = "| without | a | b | c |\n| --- | --- | --- | --- |\n".to_owned();
        show(&mut table, &[Layer::Seccomp, Layer::Landlock], &row);
        assert_eq!(read(&table).unwrap(), BTreeMap::from([("seccomp,landlock".to_owned(), row)]));
    }

    #[test]
    fn the_page_has_a_row_for_every_layer() {
        let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(PAGE)).unwrap();
        let rows = read(parts(&page).unwrap().1).unwrap();
        let known: Vec<String> = rows.into_keys().collect();
        let mut wanted: Vec<String> = trials().iter().map(|layers| names(layers)).collect();
        wanted.sort();
        assert_eq!(known, wanted, "run `cargo xtask layers`");
    }
}
