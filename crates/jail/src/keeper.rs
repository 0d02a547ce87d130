//! The engine's process in the host's namespaces: starts the launcher, then waits to clean up.
//!
//! It is this same binary, executed again. It lives as long as the server, outlives it by milliseconds when the server
//! is killed, and removes what the kernel does not remove by itself: the cgroups.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{Mode, OFlags, open},
    io::Errno,
    process::{Pid, Resource, Signal, WaitOptions, getrlimit, pidfd_send_signal, setrlimit, setsid, umask, waitpid},
    thread::{set_name, set_thread_groups},
};
use serde::{Deserialize, Serialize};

use crate::{
    cgroup::{InstancePaths, remove_dying},
    failure::{During, SetupFailure, SetupStep},
    launcher::{self, write_proc},
    protocol::{EngineStart, receive, send},
    root::open_sources,
    spec::{EngineSpec, Identity},
    sys::{
        clone::{self, Cloned},
        descriptors, signals,
    },
};

/// `argv[0]` that makes this binary a keeper.
pub(crate) const KEEPER: &str = "aevatar-sandbox-keeper";

/// Namespaces of the engine. The launcher never opens a socket of a network, so it needs no network namespace of its
/// own; every sandbox gets one.
const ENGINE_NAMESPACES: i32 = libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::CLONE_NEWNS;

/// What the server sends first; the cgroup instance's locks come beside it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeeperRequest {
    pub(crate) engine: EngineSpec,
    /// The cgroups to remove at the end, if there are any.
    pub(crate) cgroups: Option<InstancePaths>,
}

/// Becomes the engine's keeper if this process was started as one, and then does not return.
///
/// Call it first in `main` of every program that uses the local backend: the engine is this same executable, started
/// again, and must not run anything of the program's own.
pub fn enter_if_requested() {
    if std::env::args_os().next().is_some_and(|name| name == KEEPER) {
        run()
    }
}

fn run() -> ! {
    if !clone::is_single_threaded() {
        // Cloning one of several threads copies locks that nobody will ever release. The server takes this end for
        // what it is, and says what to do.
        clone::exit_now(1)
    }
    // Processes are cloned from here on. A panic must end the one it is in, not unwind into what its parent was doing.
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::abort();
    }));
    let control = descriptors::take_stdin();
    take_on_known_state();
    // So that `ps` shows who is who; a name is worth no failure.
    let _ = set_name(c"sandbox-keeper");
    // Out of the terminal's foreground group: Ctrl-C is the server's to handle.
    let _ = setsid();
    let Ok(Some((request, locks))) = receive::<KeeperRequest>(&control) else { clone::exit_now(1) };
    match start_launcher(&request.engine, &control) {
        Ok(launcher) => {
            let server_is_gone = wait_for_end(&control, &launcher.pidfd);
            let _ = pidfd_send_signal(&launcher.pidfd, Signal::KILL);
            // Returns when the kernel has killed and reaped the whole pid namespace.
            let _ = waitpid(Some(launcher.pid), WaitOptions::empty());
            if let (true, Some(cgroups)) = (server_is_gone, &request.cgroups) {
                remove_dying(|| cgroups.remove());
            }
        }
        Err(failure) => {
            let _ = send(&control, &EngineStart::Failed(failure), &[]);
        }
    }
    // Until here the instance counts as alive.
    drop(locks);
    clone::exit_now(0)
}

/// What whoever started the server left us with would otherwise reach as far as the program.
fn take_on_known_state() {
    signals::restore_defaults();
    umask(Mode::from_raw_mode(0o022));
    // The root's parts are open all at once. A program gets a limit of its own.
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    // If that fails, opening will say what is missing.
    let _ = setrlimit(Resource::Nofile, files);
    // A hard limit of 0 would keep the program's from being 1, which is the one that stops crash handlers. Root may
    // raise it; the crash handler of an ordinary user's process is that user's to start anyway.
    let mut core = getrlimit(Resource::Core);
    if core.maximum == Some(0) {
        core.maximum = Some(1);
        let _ = setrlimit(Resource::Core, core);
    }
}

/// Returns when the server is gone, with true, or when the launcher has died. A living server goes on with another
/// engine, and its cgroups are its own to remove.
fn wait_for_end(control: &OwnedFd, launcher: &OwnedFd) -> bool {
    loop {
        // No IN: what arrives there is the launcher's to read. A hang-up is always reported.
        let mut polled = [PollFd::new(control, PollFlags::empty()), PollFd::new(launcher, PollFlags::IN)];
        match poll(&mut polled, None) {
            Err(Errno::INTR) => {}
            Err(_) => return false,
            Ok(_) => return !polled[0].revents().is_empty(),
        }
    }
}

/// The launcher as its keeper holds it.
struct Launcher {
    pid: Pid,
    pidfd: OwnedFd,
    /// Open as long as the keeper lives: its hang-up tells a launcher that is too young for its death signal.
    _life: OwnedFd,
}

fn start_launcher(spec: &EngineSpec, control: &OwnedFd) -> Result<Launcher, SetupFailure> {
    let sources = match spec.identity {
        Identity::Range { .. } => {
            set_thread_groups(&[]).during(SetupStep::SetIdentity, "supplementary groups")?;
            Some(open_sources(&spec.root)?)
        }
        // Without privilege on the host nothing can be opened as a mount: the launcher does it in its own namespace.
        Identity::Own { .. } => None,
    };
    let (go_reader, go_writer) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).during(SetupStep::Channel, "pipe")?;
    match clone::clone_process(ENGINE_NAMESPACES).during(SetupStep::CreateNamespaces, "engine")? {
        Cloned::Child => {
            drop(go_writer);
            launcher::run(spec, control, &go_reader, sources)
        }
        Cloned::Parent(pid, pidfd) => {
            map_identity(pid, spec.identity).during(SetupStep::MapIdentity, "user namespace of the engine")?;
            rustix::io::write(&go_writer, &[1]).during(SetupStep::Channel, "launcher")?;
            Ok(Launcher { pid, pidfd, _life: go_writer })
        }
    }
}

fn map_identity(pid: Pid, identity: Identity) -> Result<(), Errno> {
    let folder = format!("/proc/{}", pid.as_raw_nonzero());
    let folder = open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let (uids, gids) = match identity {
        Identity::Range { base } => {
            let line = format!("0 {base} {}\n", Identity::RANGE);
            (line.clone(), line)
        }
        Identity::Own { uid, gid } => (format!("0 {uid} 1\n"), format!("0 {gid} 1\n")),
    };
    write_proc(folder.as_fd(), "setgroups", "deny")?;
    write_proc(folder.as_fd(), "gid_map", &gids)?;
    write_proc(folder.as_fd(), "uid_map", &uids)
}
