//! Pid 1 of one sandbox: makes the sandbox's inside, starts the program, reaps, reports the end.
//!
//! When it dies, for whatever reason, the kernel kills everything else in its pid namespace: it is what "kill the
//! whole tree" means. It is not the program: as pid 1 a program would not feel its own signals, and nobody would reap
//! its orphans. For a program forked from a zygote it does the same work; only the fork is then somebody else's.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, OFlags, mkdirat, open, statvfs},
    io::Errno,
    mount::{MountAttrFlags, UnmountFlags, unmount},
    process::{Pid, chdir},
};

use crate::{
    engine::{LaunchFds, ProgramFds},
    failure::{During, SetupFailure, SetupStep},
    layers::{self, Layer},
    mount::{attach, clone_mount, create_filesystem, harmless},
    network, privileges, program,
    protocol::{MainEnd, SandboxMessage, ScratchUsage, receive, send, send_raw},
    root::{SCRATCH, make_links, mount_proc},
    source,
    spec::{INNER_ID, SandboxSpec, ScratchBacking, WRITABLE},
    sys::{clone, descriptors, signals},
    zygote::fork_request,
};

/// The life of pid 1. `life` is its socket to the launcher: a byte there means that the ids are mapped.
pub(crate) fn run(spec: &SandboxSpec, fds: LaunchFds, life: OwnedFd) -> ! {
    let _ = rustix::thread::set_name(c"sandbox-init");
    signals::unblock_all();
    // Dropping would close descriptors that close_all_but has already closed, under numbers that live again.
    let fds = std::mem::ManuallyDrop::new(fds);
    let life = std::mem::ManuallyDrop::new(life);
    let outcome = prepare(spec, &fds, &life).and_then(|namespaces| {
        // As above: what is not needed is closed by number.
        let namespaces = std::mem::ManuallyDrop::new(namespaces);
        match &fds.program {
            ProgramFds::Source(_) => start_program(spec, &fds).map(Main::Child),
            ProgramFds::Fork { zygote, checkout, cgroup } => {
                let asked = ask_zygote(spec, &fds, (zygote, checkout, cgroup.as_ref()), &namespaces, &life);
                asked.map(|()| Main::Worker)
            }
        }
    });
    match outcome {
        Ok(Main::Child(main)) => reap(main, &fds.events),
        Ok(Main::Worker) => await_worker(&life, &fds.events),
        Err(failure) => {
            // If the server is gone too, nobody is left to tell.
            let _ = send(&fds.events, &SandboxMessage::Failed(failure), &[]);
            clone::exit_now(1)
        }
    }
}

/// Everything that needs privilege, in order. Returns the namespaces that a worker is to join, if one is.
fn prepare(spec: &SandboxSpec, fds: &LaunchFds, life: &OwnedFd) -> Result<Vec<OwnedFd>, SetupFailure> {
    if layers::is_on(Layer::ClosedDescriptors) {
        let mut keep: Vec<BorrowedFd<'_>> = fds.all();
        keep.push(life.as_fd());
        descriptors::close_all_but(&keep).during(SetupStep::PlaceDescriptors, "inherited descriptors")?;
    }
    await_mapping(life).during(SetupStep::MapIdentity, "user namespace")?;
    // From here on files that are made belong to the sandbox's own id. No id 0 is mapped, so capabilities stay.
    if layers::is_on(Layer::UserNamespace) {
        privileges::become_id(INNER_ID).during(SetupStep::SetIdentity, INNER_ID)?;
    } else {
        privileges::become_id_from_root(spec.uid_slot).during(SetupStep::SetIdentity, spec.uid_slot)?;
    }
    join_cgroups(spec, &fds.cgroups)?;
    if layers::is_on(Layer::UtsNamespace) {
        rustix::system::sethostname(b"sandbox").during(SetupStep::SetHostname, "sandbox")?;
    }
    if layers::is_on(Layer::NetworkNamespace) {
        let bounded = network::set_up(spec.proc)?;
        if !bounded {
            send(&fds.events, &SandboxMessage::ConnectionsUnbounded, &[]).during(SetupStep::Channel, "events")?;
        }
    }
    mount_scratch(spec, fds.scratch.as_ref())?;
    // Before the private /proc is there: what is looked up in that stays known, and pid 1 is to be unknown.
    let namespaces = match &fds.program {
        ProgramFds::Source(_) => Vec::new(),
        ProgramFds::Fork { .. } => open_namespaces()?,
    };
    if spec.proc && layers::is_on(Layer::PidNamespace) {
        let options: &[_] = &[("subset", Some("pid")), ("hidepid", Some("ptraceable"))];
        let options = if layers::is_on(Layer::RestrictedProc) { options } else { &[] };
        mount_proc(Path::new("/proc"), options).during(SetupStep::MountProc, "/proc")?;
    }
    // A forked worker brings its own.
    if let ProgramFds::Source(source) = &fds.program {
        source::unpack(source, &spec.program_path).during(SetupStep::WriteProgram, spec.program_path.display())?;
    }
    if let ScratchBacking::Tmpfs { .. } = spec.scratch {
        show_work(&fds.events).during(SetupStep::Channel, "/work")?;
    }
    chdir("/work").during(SetupStep::WriteProgram, "/work")?;
    privileges::become_unreadable(layers::is_on(Layer::UnreadableInit))
        .during(SetupStep::DropPrivileges, "dumpable")?;
    if !layers::is_on(Layer::NoCapabilities) {
        privileges::hand_on_all().during(SetupStep::DropPrivileges, "capabilities")?;
        return Ok(namespaces);
    }
    privileges::drop_all().during(SetupStep::DropPrivileges, "capabilities")?;
    Ok(namespaces)
}

/// The namespaces of this process, in the order of a fork request.
fn open_namespaces() -> Result<Vec<OwnedFd>, SetupFailure> {
    let open_one = |name| {
        let path = format!("/proc/self/ns/{name}");
        open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).during(SetupStep::CreateNamespaces, name)
    };
    ["user", "mnt", "net", "ipc", "uts", "cgroup", "pid"].into_iter().map(open_one).collect()
}

/// Waits until the launcher has mapped the ids. End of file without a byte means that it failed, and said so.
fn await_mapping(life: &OwnedFd) -> Result<(), Errno> {
    let mut byte = [0_u8];
    match rustix::io::retry_on_intr(|| rustix::io::read(life, &mut byte))? {
        1 => Ok(()),
        _ => Err(Errno::CANCELED),
    }
}

/// Joins each cgroup by writing "0" ("me") to its file. Only a single-threaded process may do this on cgroup v1, and
/// it is forty times faster than being moved from outside. The cgroup namespace comes after: its root is the cgroup
/// one is in when it is made.
fn join_cgroups(spec: &SandboxSpec, files: &[OwnedFd]) -> Result<(), SetupFailure> {
    for file in files {
        rustix::io::write(file, b"0").during(SetupStep::JoinCgroup, "cgroup of the sandbox")?;
    }
    if let (Some(name), true) = (&spec.cgroup_name, spec.proc) {
        verify_joined(name, files.len()).during(SetupStep::VerifyLocks, "cgroup of the sandbox")?;
    }
    if !layers::is_on(Layer::CgroupNamespace) {
        return Ok(());
    }
    clone::unshare_cgroup_namespace().during(SetupStep::CreateNamespaces, "cgroup namespace")
}

/// Looks at where the kernel says this process is. /proc is still the engine's here.
fn verify_joined(name: &str, hierarchies: usize) -> Result<(), Errno> {
    let file = open("/proc/self/cgroup", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut content = vec![0_u8; 16 * 1024];
    let length = rustix::io::read(&file, &mut content)?;
    let content = String::from_utf8_lossy(content.get(..length).unwrap_or_default());
    let joined = content.lines().filter(|line| line.rsplit('/').next() == Some(name)).count();
    if joined == hierarchies { Ok(()) } else { Err(Errno::NOENT) }
}

/// Mounts the one filesystem that is writable, and shows its folders where programs expect them.
fn mount_scratch(spec: &SandboxSpec, mount: Option<&OwnedFd>) -> Result<(), SetupFailure> {
    let step = SetupStep::MountScratch;
    let scratch = Path::new(SCRATCH);
    match (spec.scratch, mount) {
        (ScratchBacking::Mount, Some(mount)) => attach(mount, scratch).during(step, "disk image")?,
        (ScratchBacking::Mount, None) => {
            return Err(SetupFailure::new(step, "disk image", Errno::BADF));
        }
        (ScratchBacking::Tmpfs { bytes, inodes }, _) => {
            let (bytes, inodes) = (bytes.to_string(), inodes.to_string());
            let options = [("mode", Some("755")), ("size", Some(bytes.as_str())), ("nr_inodes", Some(inodes.as_str()))];
            let tmpfs = create_filesystem("tmpfs", &options, harmless()).during(step, "tmpfs")?;
            for (_, folder) in WRITABLE {
                mkdirat(&tmpfs, folder, Mode::from_raw_mode(0o755)).during(step, folder)?;
            }
            attach(&tmpfs, scratch).during(step, SCRATCH)?;
        }
    }
    for (path, folder) in WRITABLE {
        let part = clone_mount(CWD, &scratch.join(folder), MountAttrFlags::empty()).during(step, folder)?;
        attach(&part, Path::new(path)).during(step, path)?;
    }
    unmount(scratch, UnmountFlags::DETACH).during(step, SCRATCH)?;
    make_links(&spec.scratch_links)
}

/// Gives the server its way to the files that a program leaves in memory: with the last process their mount namespace is
/// gone. What is on a disk it reaches through the disk.
fn show_work(events: &OwnedFd) -> Result<(), Errno> {
    let work = open("/work", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    send(events, &SandboxMessage::Work, &[work.as_fd()])
}

/// Forks the process that becomes the program.
fn start_program(spec: &SandboxSpec, fds: &LaunchFds) -> Result<Pid, SetupFailure> {
    match clone::fork().during(SetupStep::Execute, "fork")? {
        None => program::run(spec, fds),
        Some(main) => {
            descriptors::close_all_but(&[fds.events.as_fd()])
                .during(SetupStep::PlaceDescriptors, "descriptors of the program")?;
            Ok(main)
        }
    }
}

/// Whose child the main process is.
enum Main {
    /// Init's own.
    Child(Pid),
    /// The launcher's, forked by a zygote.
    Worker,
}

/// Has the zygote fork a worker into this sandbox.
fn ask_zygote(
    spec: &SandboxSpec,
    fds: &LaunchFds,
    (zygote, checkout, cgroup): (&OwnedFd, &OwnedFd, Option<&OwnedFd>),
    namespaces: &[OwnedFd],
    life: &OwnedFd,
) -> Result<(), SetupFailure> {
    let request = fork_request(spec, cgroup.is_some());
    let mut sent: Vec<BorrowedFd<'_>> = namespaces.iter().map(AsFd::as_fd).collect();
    sent.push(life.as_fd());
    let single = [&fds.events, &fds.stdin, &fds.stdout, &fds.stderr, &fds.report, checkout];
    sent.extend(single.into_iter().chain(&fds.cgroups).chain(cgroup).map(AsFd::as_fd));
    send_raw(zygote, &request, &sent).during(SetupStep::Channel, "zygote")?;
    descriptors::close_all_but(&[fds.events.as_fd(), life.as_fd()])
        .during(SetupStep::PlaceDescriptors, "descriptors of the program")?;
    signals::ignore_ended_children();
    Ok(())
}

/// Waits until the launcher tells how the worker ended, passes it on, and ends: the kernel kills whatever still runs.
fn await_worker(life: &OwnedFd, events: &OwnedFd) -> ! {
    if let Ok(Some((end, _))) = receive::<MainEnd>(life) {
        tell_end(events, &end);
    }
    clone::exit_now(0)
}

/// Reaps until the main process has ended, tells how, and ends: the kernel kills whatever still runs.
fn reap(main: Pid, events: &OwnedFd) -> ! {
    loop {
        match clone::wait_any() {
            Ok(end) if end.pid == main => {
                tell_end(events, &end.into());
                clone::exit_now(0)
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => clone::exit_now(1),
        }
    }
}

fn tell_end(events: &OwnedFd, end: &MainEnd) {
    let MainEnd { status, user_time, system_time } = *end;
    let _ = send(events, &SandboxMessage::MainEnded { status, user_time, system_time, scratch: scratch_usage() }, &[]);
}

fn scratch_usage() -> Option<ScratchUsage> {
    let usage = statvfs("/work").ok()?;
    Some(ScratchUsage {
        used_bytes: usage.f_blocks.saturating_sub(usage.f_bfree).saturating_mul(usage.f_frsize),
        free_bytes: usage.f_bavail.saturating_mul(usage.f_frsize),
        free_inodes: usage.f_favail,
    })
}
