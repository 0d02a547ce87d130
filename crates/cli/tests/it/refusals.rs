//! Hosts that lack a layer: the default tier refuses and says what to do, the reduced one runs and says what is missing.

use std::process::Command;

use serde_json::Value;

use crate::{
    place::{Outcome, Place, finish},
    require,
    user::OrdinaryUser,
};

const HELLO: &str = "print('hello')";

fn layer<'a>(result: &'a Value, name: &str) -> &'a Value {
    let layers = result["isolation"]["layers"].as_array().unwrap();
    layers.iter().find(|layer| layer["name"] == name).unwrap_or_else(|| panic!("no layer {name}: {result}"))
}

fn assert_refused(outcome: &Outcome, parts: &[&str]) {
    assert_eq!((outcome.code, outcome.stdout.as_str()), (125, ""), "{outcome:?}");
    for part in parts {
        assert!(outcome.stderr.contains(part), "`{part}` is not in: {}", outcome.stderr);
    }
}

#[test]
fn without_cgroups_the_default_tier_refuses() {
    if !require::root() {
        return;
    }
    let user = OrdinaryUser::without_cgroups();
    let refused = user.run(&["-c", HELLO]);
    assert_refused(&refused, &["memoryCgroup", "cpuCgroup", "pidsCgroup", "--isolation reduced", "Delegate=yes"]);

    let result = user.run_json(&["--isolation", "reduced", "-c", HELLO]);
    assert_eq!((&result["stdout"], &result["status"]), (&"hello\n".into(), &"Completed".into()));
    assert_eq!(result["isolation"]["tier"], "reduced");
    for name in ["memoryCgroup", "pidsCgroup", "cpuCgroup"] {
        assert_eq!(layer(&result, name)["state"], "missing", "{name}");
        assert!(layer(&result, name)["fix"].is_string(), "{name}");
    }
    for name in ["namespaces", "root", "capabilities", "seccomp"] {
        assert_eq!(layer(&result, name)["state"], "enforced", "{name}");
    }
    // What the reduced tier keeps: time, and the whole tree at the end.
    let spinning = "import os; os.fork() or os.setsid()\nwhile True: pass";
    assert_eq!(user.run(&["--isolation", "reduced", "--timeout", "0.5", "-c", spinning]).code, 124);
    user.assert_nothing_left();
}

/// The binary where the host's /proc is covered in one place, as a container's is.
fn with_covered_proc(place: &Place, arguments: &[&str]) -> Outcome {
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "sh", "-ec", r#"mount --bind /proc/sys /proc/sys; exec "$@""#, "sh"]).arg(place.binary());
    finish(place.command_as(unshare, arguments), b"")
}

#[test]
fn with_a_covered_proc_the_default_tier_refuses() {
    if !require::root() {
        return;
    }
    let place = Place::new();
    let refused = with_covered_proc(&place, &["run", "-c", HELLO]);
    assert_refused(&refused, &["layer proc", "--isolation reduced", "hint: "]);

    let look = "import os; print(os.path.ismount('/proc'), os.listdir('/proc') if os.path.isdir('/proc') else [])";
    let result = with_covered_proc(&place, &["run", "--isolation", "reduced", "--json", "-c", look]).json();
    assert_eq!((&result["stdout"], &result["exitCode"]), (&"False []\n".into(), &0.into()), "{result}");
    assert_eq!(result["isolation"]["tier"], "reduced");
    assert_eq!(layer(&result, "proc")["state"], "missing");
    assert_eq!(layer(&result, "memoryCgroup")["state"], "enforced");
    // The limits hold without /proc as well.
    let hog = ["run", "--isolation", "reduced", "--memory", "64Mi", "-c", "x = bytearray(200 << 20)"];
    assert_eq!(with_covered_proc(&place, &hog).code, 137);
    place.assert_next_works();
}

#[test]
fn without_user_namespaces_every_tier_refuses() {
    if !require::root() {
        return;
    }
    let place = Place::new();
    for tier in ["default", "reduced"] {
        let mut unshare = Command::new("unshare");
        // The limit of a new user namespace is its own; the host's stays as it is.
        let script = r#"echo 0 >/proc/sys/user/max_user_namespaces; exec "$@""#;
        unshare.args(["--user", "--map-root-user", "sh", "-ec", script, "sh"]).arg(place.binary());
        let refused = finish(place.command_as(unshare, &["run", "--isolation", tier, "-c", HELLO]), b"");
        assert_refused(&refused, &["namespaces", "hint: ", "sysctl user.max_user_namespaces"]);
    }
    place.assert_next_works();
}

#[test]
fn root_of_a_user_namespace_is_treated_as_an_ordinary_user() {
    if !require::root() {
        return;
    }
    let place = Place::new();
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user"]).arg(place.binary());
    let result =
        finish(place.command_as(unshare, &["run", "--json", "--isolation", "reduced", "-c", HELLO]), b"").json();
    assert_eq!((&result["stdout"], &result["status"]), (&"hello\n".into(), &"Completed".into()));
    assert_eq!(layer(&result, "uid")["state"], "weaker");
    assert_eq!(layer(&result, "disk")["state"], "weaker");
}

#[test]
fn a_disk_that_memory_cannot_hold_is_refused_without_root() {
    if !require::root() {
        return;
    }
    let user = OrdinaryUser::with_cgroups();
    let refused = user.run(&["--memory", "128Mi", "--disk", "100Mi", "-c", HELLO]);
    assert_refused(&refused, &["100Mi", "128Mi", "hint: ", "half the memory limit", "--isolation reduced"]);

    let silent = user.run_json(&["--memory", "128Mi", "-c", HELLO]);
    assert_eq!((&silent["limits"]["diskLimit"], &silent["stdout"]), (&"64Mi".into(), &"hello\n".into()));
    let modest = user.run_json(&["--memory", "128Mi", "--disk", "20Mi", "-c", HELLO]);
    assert_eq!(modest["limits"]["diskLimit"], "20Mi");
    let reduced = user.run_json(&["--memory", "128Mi", "--disk", "100Mi", "--isolation", "reduced", "-c", HELLO]);
    assert_eq!(reduced["limits"]["diskLimit"], "64Mi");
    user.assert_nothing_left();
}

#[test]
fn the_doctor_is_content_where_everything_is_there() {
    if !require::root() {
        return;
    }
    let place = Place::new();
    let outcome = finish(place.command(&["doctor"]), b"");
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{outcome:?}");
    assert!(!outcome.stdout.contains("MISSING"), "{}", outcome.stdout);
    for name in ["namespaces", "proc", "seccomp", "memoryCgroup", "pidsCgroup", "cpuCgroup", "disk", "selfCheck"] {
        assert!(
            outcome.stdout.lines().any(|line| line.starts_with("ok") && line.contains(name)),
            "{name}: {outcome:?}"
        );
    }
}

#[test]
fn the_doctor_names_a_missing_layer_and_its_fix() {
    if !require::root() {
        return;
    }
    let place = Place::new();
    let outcome = with_covered_proc(&place, &["doctor"]);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    let mut lines = outcome.stdout.lines().skip_while(|line| !line.starts_with("MISSING  proc "));
    assert!(lines.next().is_some(), "{}", outcome.stdout);
    assert!(lines.next().is_some_and(|fix| fix.trim_start().starts_with("-> ")), "{}", outcome.stdout);
    assert_eq!(outcome.stdout.lines().filter(|line| line.starts_with("MISSING")).count(), 1, "{}", outcome.stdout);
}

/// What only a build for trials has; see the jail's `layers.rs`.
#[cfg(not(feature = "layer-trials"))]
#[test]
fn a_build_for_use_cannot_leave_a_layer_out() {
    const SWITCH: &str = "AEVATAR_SANDBOX_WITHOUT_LAYERS";
    let place = Place::new();
    let program = "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)";
    let mut command = place.command(&["run", "--json", "-c", program]);
    command.env(SWITCH, "seccomp,landlock");
    let outcome = finish(command, b"");
    let result = outcome.json();
    assert_eq!((&result["error"]["name"], &result["isolation"]["tier"]), (&"OSError".into(), &"default".into()));
    for name in ["seccomp", "landlock"] {
        assert_ne!(layer(&result, name)["detail"], "left out on trial");
    }
    let binary = std::fs::read(place.binary()).unwrap();
    assert!(!binary.windows(SWITCH.len()).any(|window| window == SWITCH.as_bytes()), "it knows the switch");
}
