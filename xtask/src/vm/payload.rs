//! The second disk: what is tested and what tests it go in, results come out.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use fs_err as fs;
use serde_json::{Value, json};

use super::{guest::make_image, plan::Step};

/// Room for what tests write, disk images of sandboxes and results. Sparse.
const SIZE: &str = "8G";

/// Executables, as cargo has built them.
pub(super) struct Built {
    pub(super) binary: PathBuf,
    example: PathBuf,
    integration: PathBuf,
    corpus: PathBuf,
}

/// Builds the binary, the example and the tests.
pub(super) fn build(development: bool) -> anyhow::Result<Built> {
    let tests = ["test", "--no-run", "--package", "aevatar-sandbox", "--message-format", "json-render-diagnostics"];
    println!("== tests to carry: cargo {}", tests.join(" "));
    let output = Command::new("cargo").args(tests).stderr(Stdio::inherit()).output().context("could not run cargo")?;
    ensure!(output.status.success(), "the tests could not be built");
    let messages: Vec<Value> =
        output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let find = |kind: &str, name: &str| {
        let found = messages.iter().find(|message| {
            let target = &message["target"];
            let tests = kind == "test";
            target["name"] == name && target["kind"][0] == kind && message["profile"]["test"] == tests
        });
        let path = found.and_then(|message| message["executable"].as_str());
        path.map(PathBuf::from).with_context(|| format!("cargo built no {kind} `{name}`"))
    };
    let mut built = Built {
        binary: find("bin", "aevatar-sandbox")?,
        example: find("example", "embed")?,
        integration: find("test", "it")?,
        corpus: find("test", "corpus")?,
    };
    if !development {
        let release =
            ["build", "--release", "--package", "aevatar-sandbox", "--message-format", "json-render-diagnostics"];
        println!("== binary to carry: cargo {}", release.join(" "));
        let output = Command::new("cargo").args(release).stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "the binary could not be built");
        let path = output.stdout.split(|byte| *byte == b'\n').find_map(|line| {
            let message: Value = serde_json::from_slice(line).ok()?;
            let wanted = message["target"]["name"] == "aevatar-sandbox" && message["target"]["kind"][0] == "bin";
            message["executable"].as_str().filter(|_| wanted).map(PathBuf::from)
        });
        built.binary = path.context("cargo built no binary")?;
    }
    Ok(built)
}

/// Makes the disk; `folder` is for its content, and removed again.
pub(super) fn make(disk: &Path, folder: &Path, built: &Built, plan: &[Step], slowness: u32) -> anyhow::Result<()> {
    fs::create_dir_all(folder.join("bin"))?;
    for (name, file) in [
        ("aevatar-sandbox", &built.binary),
        ("embed", &built.example),
        ("it", &built.integration),
        ("corpus", &built.corpus),
    ] {
        fs::copy(file, folder.join("bin").join(name))?;
    }
    for (name, from) in [("corpus", "tests/corpus"), ("guest", "tests/vm/guest"), ("packaging", "packaging")] {
        copy_folder(Path::new(from), &folder.join(name))?;
    }
    let steps: Vec<Value> = plan.iter().map(Step::for_driver).collect();
    let mut file = fs::File::create(folder.join("plan.json"))?;
    file.write_all(json!({ "slowness": slowness, "steps": steps }).to_string().as_bytes())?;
    make_image(disk, folder, SIZE)?;
    fs::remove_dir_all(folder)?;
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).context("run it from the root of the workspace")? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// Reads the results from the disk of a guest that is off, without a mount, into `results` in `folder`.
pub(super) fn take_out(disk: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let results = folder.join("results");
    // A guest that was killed has left the last writes in the journal, which e2fsck replays.
    Command::new("e2fsck")
        .args(["-p", "-f"])
        .arg(disk)
        .stdout(Stdio::null())
        .status()
        .context("could not run e2fsck")?;
    let request = format!("rdump /results {}", folder.display());
    let dumped = Command::new("debugfs").arg("-R").arg(request).arg(disk).stderr(Stdio::null()).status();
    ensure!(dumped.context("could not run debugfs")?.success(), "debugfs could not read {}", disk.display());
    Ok(results)
}
