//! `env`, and Pythons that cannot be used.

use crate::{
    place::{Outcome, Place, finish},
    require,
};

fn assert_clear_error(outcome: &Outcome, named: &str) {
    assert_eq!((outcome.code, outcome.stdout.as_str()), (125, ""), "{outcome:?}");
    assert!(outcome.stderr.starts_with("error: ") && outcome.stderr.contains(named), "`{named}`: {outcome:?}");
    assert!(outcome.stderr.lines().any(|line| line.starts_with("hint: ")), "{outcome:?}");
    assert!(!outcome.stderr.contains("panicked"), "{outcome:?}");
}

#[test]
fn list_and_path_name_the_default_environment() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let path = finish(place.command(&["env", "path"]), b"");
    assert_eq!((path.code, path.stderr.as_str()), (0, ""));
    let folder = place.cache().join("environments/default");
    assert_eq!(path.stdout, format!("{}\n", folder.display()));
    let list = finish(place.command(&["env", "list"]), b"");
    assert_eq!((list.code, list.stderr.as_str()), (0, ""));
    let line = list.stdout.lines().find(|line| line.starts_with("default\t")).expect("it is ready");
    assert!(line.contains("CPython 3.") && line.contains(" packages\t") && line.contains(" MiB\t"), "{line}");
    assert!(line.contains(folder.to_str().unwrap()), "{line}");
}

#[test]
fn an_empty_cache_has_an_empty_list() {
    let place = Place::new();
    let mut command = place.command(&["env", "list"]);
    command.env("AEVATAR_SANDBOX_CACHE", place.path().join("nothing"));
    let list = finish(command, b"");
    assert_eq!((list.code, list.stdout.as_str(), list.stderr.as_str()), (0, "", ""));
}

#[test]
fn an_unknown_environment_is_named() {
    let place = Place::new();
    for arguments in [
        &["env", "prepare", "--name", "nope"][..],
        &["env", "remove", "nope"],
        &["run", "--environment", "nope", "-c", "print('ran')"],
    ] {
        assert_clear_error(&finish(place.command(arguments), b""), "there is no environment `nope`");
    }
}

#[test]
fn a_name_cannot_lead_out_of_the_cache() {
    let place = Place::new();
    for name in ["../../etc", "a/b", "..", ".hidden", ""] {
        for arguments in [
            &["env", "prepare", "--name", name][..],
            &["env", "remove", name],
            &["run", "--environment", name, "-c", "print('ran')"],
        ] {
            assert_clear_error(&finish(place.command(arguments), b""), "cannot be the name of an environment");
        }
    }
}

#[test]
fn path_refuses_a_name_that_leads_out_of_the_cache() {
    let place = Place::new();
    let outcome = finish(place.command(&["env", "path", "../../etc"]), b"");
    assert_clear_error(&outcome, "cannot be the name of an environment");
}

#[test]
fn requirements_that_are_not_there_are_named() {
    let place = Place::new();
    let arguments = ["env", "prepare", "--name", "own", "--requirements", "/no/such/requirements.txt"];
    assert_clear_error(&finish(place.command(&arguments), b""), "/no/such/requirements.txt");
    // A file without a name for the environment is a usage error.
    let nameless = finish(place.command(&["env", "prepare", "--requirements", "/dev/null"]), b"");
    assert_eq!(nameless.code, 2, "{nameless:?}");
}

#[test]
fn a_named_environment_is_made_used_and_removed() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let cache = place.path().join("own-cache");
    let requirements = place.path().join("requirements.txt");
    std::fs::write(&requirements, "# nothing\n").unwrap();
    let with = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        command.env("AEVATAR_SANDBOX_CACHE", &cache);
        finish(command, b"")
    };
    let made = with(&["env", "prepare", "--name", "own", "--requirements", requirements.to_str().unwrap()]);
    assert_eq!(made.code, 0, "{made:?}");
    assert!(made.stdout.starts_with("own: CPython 3.") && made.stdout.ends_with(", 0 packages\n"), "{made:?}");
    let used = with(&["run", "--environment", "own", "-c", "import json; print(json.dumps(1))"]);
    assert_eq!((used.code, used.stdout.as_str()), (0, "1\n"), "{used:?}");
    let lacking = with(&["run", "--environment", "own", "-c", "import numpy"]);
    assert_eq!(lacking.code, 126, "{lacking:?}");
    assert!(lacking.stderr.contains("`numpy` is not allowed in this sandbox"), "{lacking:?}");
    let unrestricted = with(&["run", "--environment", "own", "--import-policy", "off", "-c", "import numpy"]);
    assert!(unrestricted.verdict().starts_with("Exception: uncaught ModuleNotFoundError"), "{unrestricted:?}");
    assert_eq!(with(&["env", "remove", "own"]).code, 0);
    assert_eq!(with(&["env", "list"]).stdout, "");
    assert_clear_error(&with(&["run", "--environment", "own", "-c", "1"]), "there is no environment `own`");
}

#[test]
fn without_a_place_for_the_cache_the_error_says_how_to_give_one() {
    let place = Place::new();
    for arguments in [&["run", "-c", "1"][..], &["env", "list"], &["doctor"]] {
        let mut command = place.command(arguments);
        command.env_remove("AEVATAR_SANDBOX_CACHE").env_remove("XDG_CACHE_HOME").env_remove("HOME");
        assert_clear_error(&finish(command, b""), "AEVATAR_SANDBOX_CACHE");
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let place = Place::new();
    let mut command = place.command(&["run", "-c", "1"]);
    command.env("AEVATAR_SANDBOX_CACHE", "/dev/null/cache");
    assert_clear_error(&finish(command, b""), "/dev/null/cache");
}

#[test]
fn a_python_that_cannot_be_used_is_named() {
    let place = Place::new();
    for (python, named) in [
        ("/nonexistent", "there is no Python interpreter /nonexistent"),
        ("no-such-python", "there is no Python interpreter no-such-python"),
        ("/tmp", "/tmp"),
        ("/bin/true", "/bin/true"),
        ("/bin/false", "/bin/false"),
        ("/etc/passwd", "/etc/passwd"),
    ] {
        assert_clear_error(&place.run(&["--python", python, "-c", "1"]), named);
        let mut by_variable = place.command(&["run", "-c", "1"]);
        by_variable.env("AEVATAR_SANDBOX_PYTHON", python);
        assert_clear_error(&finish(by_variable, b""), named);
    }
}
