//! What a dead server left is swept; what a living one has is not.

use std::{
    io::Write,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock, fstat, open, stat},
    process::{Pid, getpgid},
};

use crate::{host, place::Place, require};

/// The cgroups of a server that died with a sandbox in them, one per hierarchy, and a process of that sandbox.
struct DeadInstance {
    folders: Vec<PathBuf>,
    process: Child,
}

impl DeadInstance {
    fn make(name: &str) -> Self {
        let folders: Vec<PathBuf> = host::cgroup_parents().iter().map(|parent| parent.join(name)).collect();
        // Locked while it is made, as a living server's: other tests sweep too.
        let _lock = host::eventually("the lock", || {
            drop(std::fs::create_dir(&folders[0]));
            let folder = open(&folders[0], OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
            flock(&folder, FlockOperation::NonBlockingLockExclusive).ok()?;
            let named = stat(&folders[0]).ok()?;
            (fstat(&folder).ok()?.st_ino == named.st_ino).then_some(folder)
        });
        let process = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
        for folder in &folders {
            let sandbox = folder.join("sandbox");
            std::fs::create_dir_all(&sandbox).unwrap();
            std::fs::write(sandbox.join("cgroup.procs"), process.id().to_string()).unwrap();
        }
        Self { folders, process }
    }

    fn left(&self) -> Vec<String> {
        self.folders.iter().filter(|folder| folder.exists()).map(|folder| folder.display().to_string()).collect()
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

#[test]
fn the_next_run_sweeps_what_a_dead_server_left() {
    if !require::root() {
        return;
    }
    let mut dead = DeadInstance::make("aevatar-sandbox-1-dead-0");
    let pid = Pid::from_child(&dead.process);
    assert!(getpgid(Some(pid)).is_ok());
    let place = Place::new();
    place.assert_next_works();
    let status = host::eventually("the end of the dead server's process", || dead.process.try_wait().unwrap());
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    assert_eq!(dead.left(), Vec::<String>::new(), "one run sweeps all of it");
}

#[test]
fn empty_leftovers_are_swept_in_every_hierarchy() {
    if !require::root() {
        return;
    }
    let parents = host::cgroup_parents();
    let name = format!("aevatar-sandbox-1-dead-{}", std::process::id());
    let place = Place::new();
    // A server may die with some of its folders made or removed: any one of them alone is swept.
    for parent in parents {
        std::fs::create_dir(parent.join(&name)).unwrap();
        std::fs::create_dir(parent.join(&name).join("sandbox")).unwrap();
        place.assert_next_works();
        assert_eq!(host::cgroups_named(parents, &name), Vec::<PathBuf>::new());
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
    assert!(processes.iter().all(|process| process.is_alive()));
    living.stdin.as_mut().unwrap().write_all(b"well\n").unwrap();
    let outcome = living.finish();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "ready\nwell\n"));
}
