//! SIGKILL of any of our own processes, at any moment: nothing survives, and the next execution works.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    host::{self, Process},
    place::{Outcome, Place},
    require,
    running::Running,
};

/// With daemons, files, shared memory and a listening socket.
const BUSY: &str = r"
import os, socket, time
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        time.sleep(600)
listener = socket.create_server(('127.0.0.1', 8000))
files = [open(folder + '/file', 'wb') for folder in ('/work', '/tmp', '/dev/shm')]
for file in files:
    file.write(bytes(1 << 20))
    file.flush()
print('ready', flush=True)
while True:
    files[0].write(b'x')
    files[0].flush()
    time.sleep(0.001)
";

/// The processes between the server and the program.
struct Chain {
    keeper: Process,
    launcher: Process,
    init: Process,
}

impl Chain {
    fn of(running: &Running) -> Self {
        let only_child = |parent: Process| match host::children(parent.pid)[..] {
            [child] => child,
            ref others => panic!("{parent:?} has the children {others:?}"),
        };
        let keeper = running.keeper();
        let launcher = only_child(keeper);
        Self { keeper, launcher, init: only_child(launcher) }
    }
}

fn kill(process: Process) {
    // The start time was just compared, and pids come around slowly.
    assert!(process.is_alive(), "{process:?} has gone already");
    kill_process(Pid::from_raw(i32::try_from(process.pid).unwrap()).unwrap(), Signal::KILL).unwrap();
}

/// Kills one process while a busy program runs, and returns what the command said.
fn kill_while_busy(choose: impl Fn(&Running) -> Process) -> Outcome {
    let place = Place::new();
    let mut running = place.start(&[&place.program(BUSY)]);
    running.wait_for("ready");
    let recorded = host::eventually("keeper, launcher, init and seven of the program", || {
        let tree = host::descendants(running.pid());
        (tree.len() == 10).then_some(tree)
    });
    let server = running.pid();
    assert_all_of_it_would_show(&place, server, &recorded);
    kill(choose(&running));
    let outcome = running.finish();
    place.assert_nothing_left(&[server], &recorded);
    place.assert_next_works();
    outcome
}

/// The positive control: what must be gone afterwards is seen while it is there, also by a test that recorded nothing.
fn assert_all_of_it_would_show(place: &Place, server: u32, recorded: &[Process]) {
    let shown = place.leftovers(&[server], &[]);
    for process in recorded {
        let name = format!("process {} ", process.pid);
        assert!(shown.iter().any(|line| line.starts_with(&name)), "{name} does not show: {shown:#?}");
    }
    let cgroups = host::cgroups_of(server).len();
    assert!(cgroups == host::cgroup_parents().len() && cgroups > 0, "{shown:#?}");
    if rustix::process::getuid().is_root() {
        assert_eq!(host::loop_devices(&place.cache()).len(), 1, "{shown:#?}");
    }
}

#[test]
fn nothing_survives_the_death_of_the_server() {
    if !require::default_tier() {
        return;
    }
    let outcome = kill_while_busy(|running| Process::of(running.pid()).unwrap());
    assert_eq!(outcome.code, 128 + 9);
}

#[test]
fn nothing_survives_the_death_of_the_keeper() {
    if !require::default_tier() {
        return;
    }
    assert_failure_of_ours(&kill_while_busy(|running| Chain::of(running).keeper));
}

#[test]
fn nothing_survives_the_death_of_the_launcher() {
    if !require::default_tier() {
        return;
    }
    assert_failure_of_ours(&kill_while_busy(|running| Chain::of(running).launcher));
}

#[test]
fn nothing_survives_the_death_of_init() {
    if !require::default_tier() {
        return;
    }
    assert_failure_of_ours(&kill_while_busy(|running| Chain::of(running).init));
}

fn assert_failure_of_ours(outcome: &Outcome) {
    assert_eq!(outcome.code, 125, "{outcome:?}");
    assert!(outcome.verdict().starts_with("SandboxFailure"), "{outcome:?}");
}

#[test]
fn nothing_survives_the_death_of_server_and_keeper_together() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let mut running = place.start(&[&place.program(BUSY)]);
    running.wait_for("ready");
    let (server, keeper) = (Process::of(running.pid()).unwrap(), running.keeper());
    let recorded = host::descendants(server.pid);
    kill(keeper);
    // The server may have gone by itself at the keeper's death.
    if server.is_alive() {
        running.signal(Signal::KILL);
    }
    running.finish();
    // Nobody was left to remove the cgroups; nobody is in them, and the next server sweeps them.
    host::eventually_nothing("processes", || {
        recorded.iter().filter(|process| process.is_alive()).map(|process| process.pid.to_string()).collect()
    });
    place.assert_next_works();
    place.assert_nothing_left(&[server.pid], &recorded);
}

/// Moments from the beginning of the command to the run of its program.
const ROUNDS: u64 = 30;

#[test]
fn the_server_may_die_at_any_moment() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    // The first run formats a disk image, which the others copy.
    place.assert_next_works();
    let mut servers = Vec::new();
    for round in 0..2 * ROUNDS {
        // Every other program ends by itself, so that the moments of cleaning up come too.
        let code = if round % 2 == 0 { "import time; time.sleep(600)" } else { "pass" };
        let running = place.start(&["-c", code]);
        servers.push(running.pid());
        std::thread::sleep(Duration::from_millis(round));
        running.signal(Signal::KILL);
        let outcome = running.finish();
        let expected = outcome.code == 128 + 9 || round % 2 == 1 && outcome.code == 0;
        assert!(expected, "after {round} ms: {outcome:?}");
    }
    place.assert_nothing_left(&servers, &[]);
    place.assert_next_works();
}

#[test]
fn many_servers_may_die_at_once() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    place.assert_next_works();
    let all: Vec<Running> = (0..10).map(|_| place.start(&["-c", "import time; time.sleep(600)"])).collect();
    let servers: Vec<u32> = all.iter().map(Running::pid).collect();
    // The last ones are still beginning, and sweep while the first ones die.
    for running in &all {
        running.signal(Signal::KILL);
    }
    for running in all {
        assert_eq!(running.finish().code, 128 + 9);
    }
    place.assert_nothing_left(&servers, &[]);
    place.assert_next_works();
}

#[test]
fn the_keeper_may_die_at_any_moment() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let mut servers = Vec::new();
    // Close together at the beginning, where everything is made.
    let beginning = (0..ROUNDS).map(|round| Duration::from_micros(round * 400));
    for delay in beginning.chain((0..ROUNDS).map(|round| Duration::from_millis(round * 2))) {
        let running = place.start(&["--timeout", "10", "-c", "import time; time.sleep(600)"]);
        servers.push(running.pid());
        let keeper = running.keeper();
        std::thread::sleep(delay);
        kill(keeper);
        let outcome = running.finish();
        assert_eq!(outcome.code, 125, "after {delay:?}: {outcome:?}");
        let told = outcome.stderr.starts_with("error: ") || outcome.verdict().starts_with("SandboxFailure");
        assert!(told, "after {delay:?}: {outcome:?}");
    }
    place.assert_nothing_left(&servers, &[]);
    place.assert_next_works();
}

#[test]
fn the_launcher_may_die_at_any_moment() {
    if !require::default_tier() {
        return;
    }
    let place = Place::new();
    let mut servers = Vec::new();
    for round in 0..ROUNDS / 2 {
        let running = place.start(&["--timeout", "10", "-c", "import time; time.sleep(600)"]);
        servers.push(running.pid());
        let keeper = running.keeper();
        let launcher = host::eventually("the launcher", || host::children(keeper.pid).first().copied());
        std::thread::sleep(Duration::from_millis(round * 4));
        kill(launcher);
        let outcome = running.finish();
        assert_eq!(outcome.code, 125, "after {} ms: {outcome:?}", round * 4);
    }
    place.assert_nothing_left(&servers, &[]);
    place.assert_next_works();
}
