//! Rules of the workspace that no lint knows.

use std::{collections::BTreeMap, path::Path, process::Command};

use serde_json::Value;

use crate::{configuration, openapi, syscalls};

/// Which of our crates may use which; arrows point down only.
const ARROWS: [(&str, &[&str]); 8] = [
    ("aevatar-sandbox-contract", &[]),
    ("aevatar-sandbox-jail", &[]),
    ("aevatar-sandbox-python", &["aevatar-sandbox-contract"]),
    ("aevatar-sandbox-server", &["aevatar-sandbox-contract", "aevatar-sandbox-python"]),
    ("aevatar-sandbox-store", &["aevatar-sandbox-contract"]),
    ("aevatar-sandbox-local", &["aevatar-sandbox-contract", "aevatar-sandbox-jail"]),
    (
        "aevatar-sandbox",
        &[
            "aevatar-sandbox-contract",
            "aevatar-sandbox-jail",
            "aevatar-sandbox-local",
            "aevatar-sandbox-python",
            "aevatar-sandbox-server",
            "aevatar-sandbox-store",
        ],
    ),
    ("xtask", &["aevatar-sandbox", "aevatar-sandbox-jail", "aevatar-sandbox-server"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[test]
fn crates_use_only_what_is_below_them() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let packages = metadata["packages"].as_array().unwrap();
    assert_eq!(packages.len(), allowed.len());
    for package in packages {
        let name = package["name"].as_str().unwrap();
        for dependency in package["dependencies"].as_array().unwrap() {
            let dependency = dependency["name"].as_str().unwrap();
            let ours = allowed.contains_key(dependency);
            assert!(!ours || allowed[name].contains(&dependency), "{name} must not use {dependency}");
        }
    }
}

#[test]
fn unsafe_is_only_where_system_calls_are() {
    let mut checked = 0;
    let mut folders = vec![root().join("crates"), root().join("xtask")];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let folder = path.parent().unwrap();
                let allowed = folder.ends_with("crates/jail/src/sys") || folder.ends_with("crates/jail/src/sys/worker");
                let code = fs_err::read_to_string(&path).unwrap();
                // In two pieces, so that this line is none.
                let found = code.contains(concat!("unsafe", " {")) || code.contains(concat!("expect(unsafe", "_code"));
                assert!(allowed || !found, "{} has unsafe code", path.display());
                checked += usize::from(allowed);
            }
        }
    }
    assert!(checked > 3, "the files of system calls were found");
}

#[test]
fn the_page_of_system_calls_is_the_table() {
    let written = fs_err::read_to_string(root().join(syscalls::PAGE)).unwrap();
    assert_eq!(written, syscalls::page(), "run `cargo xtask syscalls`");
}

#[test]
fn the_document_of_the_door_is_made_from_its_routes() {
    let written = fs_err::read_to_string(root().join(openapi::DOCUMENT)).unwrap();
    assert!(written == openapi::document().unwrap(), "run `cargo xtask openapi`");
}

#[test]
fn the_page_of_settings_is_the_table() {
    let written = fs_err::read_to_string(root().join(configuration::PAGE)).unwrap();
    assert_eq!(written, configuration::page(), "run `cargo xtask configuration`");
}
