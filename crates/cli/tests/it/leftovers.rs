//! What a dead server left is swept; what a living one has is not.

use std::{
    io::Write,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, Command},
};

use crate::{
    delegation::Delegation,
    host,
    place::{Place, finish},
    require,
};

/// The cgroups of a server that died with a sandbox in them, one per hierarchy, and a process of that sandbox.
struct DeadInstance {
    folders: Vec<PathBuf>,
    process: Child,
}

impl DeadInstance {
    /// In a delegation, so that no other test's server sweeps it.
    fn make(delegation: &Delegation) -> Self {
        let process = Command::new("sleep").arg("600").spawn().unwrap();
        let folders: Vec<_> =
            delegation.folders().iter().map(|parent| parent.join("aevatar-sandbox-1-dead-0")).collect();
        for folder in &folders {
            std::fs::create_dir_all(folder.join("sandbox")).unwrap();
            // On cgroup v2 it has to have controllers, as a server's has.
            drop(std::fs::write(folder.join("cgroup.subtree_control"), "+cpu +memory +pids"));
            std::fs::write(folder.join("sandbox/cgroup.procs"), process.id().to_string()).unwrap();
        }
        Self { folders, process }
    }

    fn left(&self) -> Vec<&PathBuf> {
        self.folders.iter().filter(|folder| folder.exists()).collect()
    }
}

impl Drop for DeadInstance {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        for folder in &self.folders {
            drop(std::fs::remove_dir(folder.join("sandbox")));
            drop(std::fs::remove_dir(folder));
        }
    }
}

fn run_in(delegation: &Delegation, place: &Place) {
    let command = place.command_as(delegation.command(&place.binary()), &["run", "-c", "print('swept')"]);
    let outcome = finish(command, b"");
    assert_eq!((outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()), (0, "swept\n", ""));
}

#[test]
fn the_next_run_sweeps_what_a_dead_server_left() {
    if !require::root() {
        return;
    }
    let (place, delegation) = (Place::new(), Delegation::to(0));
    for _ in 0..5 {
        let mut dead = DeadInstance::make(&delegation);
        assert_eq!(dead.left().len(), delegation.folders().len());
        run_in(&delegation, &place);
        let status = host::eventually("the end of the dead server's process", || dead.process.try_wait().unwrap());
        assert_eq!(status.signal(), Some(9));
        assert_eq!(dead.left(), Vec::<&PathBuf>::new(), "one run sweeps all of it");
    }
}

#[test]
fn empty_leftovers_are_swept_in_every_hierarchy() {
    if !require::root() {
        return;
    }
    let (place, delegation) = (Place::new(), Delegation::to(0));
    // A server may die with some of its folders made or removed: any one of them alone is swept.
    for parent in delegation.folders() {
        let dead = parent.join("aevatar-sandbox-1-dead-0");
        std::fs::create_dir_all(dead.join("sandbox")).unwrap();
        run_in(&delegation, &place);
        assert!(!dead.exists(), "{}", dead.display());
    }
}

#[test]
fn what_is_not_ours_is_not_swept() {
    if !require::root() {
        return;
    }
    let (place, delegation) = (Place::new(), Delegation::to(0));
    let strangers: Vec<PathBuf> = delegation.folders().iter().map(|parent| parent.join("somebody-else")).collect();
    for folder in &strangers {
        std::fs::create_dir(folder).unwrap();
    }
    run_in(&delegation, &place);
    assert!(strangers.iter().all(|folder| folder.exists()));
    for folder in &strangers {
        std::fs::remove_dir(folder).unwrap();
    }
}

#[test]
fn a_living_server_is_not_touched() {
    if !require::default_tier() {
        return;
    }
    let (place, other) = (Place::new(), Place::new());
    let mut living = place.start(&["-c", "print('ready', flush=True); print(input())"]);
    living.wait_for("ready");
    let cgroups = host::cgroups_of(living.pid());
    let processes = host::descendants(living.pid());
    for _ in 0..3 {
        other.assert_next_works();
    }
    assert_eq!(host::cgroups_of(living.pid()), cgroups);
    assert!(processes.len() >= 4 && processes.iter().all(|process| process.is_alive()));
    living.stdin.as_mut().unwrap().write_all(b"well\n").unwrap();
    let outcome = living.finish();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "ready\nwell\n"));
}
