//! The zygotes of one engine: a tree of profiles, each with one zygote at a time.
//!
//! A task per profile owns its zygote: it builds it from its parent's, replaces it when it is old, and builds it anew
//! with growing pauses when it is lost. Whoever wants to fork takes what is there: the profile's own, or the nearest
//! parent's.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use aevatar_sandbox_jail::{
    Engine,
    spec::ZygoteSpec,
    zygote::{Zygote, ZygoteMessage},
};
use rustix::process::{Signal, pidfd_send_signal};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{choice::Profiles, options::ZygoteOptions, pulse::Pulse};
use crate::{backend::lock, sandbox::watch};

/// How long a zygote may take to import everything. All seven packages take two seconds on an idle CPU.
const BUILD_PATIENCE: Duration = Duration::from_mins(2);
/// Pauses before a lost zygote is built again: this, then twice as long each time, up to the other.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A zygote that lived this long was no failure: the pauses begin anew.
const GOOD_LIFE: Duration = Duration::from_secs(30);

/// A zygote that can be forked. Dropping the last of it ends it.
#[derive(Debug)]
pub(crate) struct ReadyZygote {
    zygote: AsyncFd<ZygoteFd>,
    process: OwnedFd,
    made: Instant,
    forks: AtomicU64,
    /// When it last did what it was asked.
    answered: Pulse,
    /// Cancelled when it is dead, or given up.
    lost: CancellationToken,
}

#[derive(Debug)]
struct ZygoteFd(Zygote);

impl AsRawFd for ZygoteFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.socket().as_raw_fd()
    }
}

impl ReadyZygote {
    /// Counts a fork that is about to be asked for, and gives the socket to ask on.
    pub(crate) fn ask(&self) -> io::Result<OwnedFd> {
        self.forks.fetch_add(1, Ordering::Relaxed);
        self.zygote.get_ref().0.socket().try_clone()
    }

    /// Notes that it has done something.
    pub(crate) fn note_answer(&self) {
        self.answered.note();
    }

    /// For how long it has done nothing.
    pub(crate) fn silence(&self) -> Duration {
        self.answered.silence()
    }

    /// Returns when it is lost; what was asked of it and not answered will not be.
    pub(crate) async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Gives it up: it does not do what it is asked.
    pub(crate) fn give_up(&self) {
        self.lost.cancel();
    }

    fn is_due(&self, options: &ZygoteOptions) -> bool {
        self.made.elapsed() >= options.max_age || self.forks.load(Ordering::Relaxed) >= options.max_forks
    }

    /// Returns when it has died, or was given up.
    async fn end(&self) {
        let dead = async {
            loop {
                let message = self.zygote.async_io(Interest::READABLE, |zygote| zygote.0.receive()).await;
                match message {
                    // It only says something more when it ends.
                    Ok(Some(ZygoteMessage::Made(_) | ZygoteMessage::Ready)) => {}
                    Ok(Some(ZygoteMessage::Broken(_)) | None) | Err(_) => return,
                }
            }
        };
        tokio::select! {
            () = dead => {}
            () = self.lost.cancelled() => {}
        }
        self.lost.cancel();
    }
}

impl Drop for ReadyZygote {
    fn drop(&mut self) {
        // Its socket is closed, which ends it; one that hangs does not notice.
        let _ = pidfd_send_signal(&self.process, Signal::KILL);
    }
}

/// What has become of one profile.
#[derive(Debug)]
pub(crate) struct Node {
    /// The zygote that is there now. A watch, so that children can wait for it.
    current: watch::Sender<Option<Arc<ReadyZygote>>>,
    /// The first attempt has ended, one way or the other.
    tried: watch::Sender<bool>,
    built: AtomicU64,
    lost: AtomicU64,
    problem: Mutex<Option<String>>,
}

/// The zygotes of one engine.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) profiles: Profiles,
    nodes: Vec<Arc<Node>>,
    /// End with the tree.
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl Tree {
    /// Begins to build it. Must be called inside a runtime.
    pub(crate) fn plant(engine: &Arc<Engine>, spec: &ZygoteSpec, profiles: Profiles, options: &ZygoteOptions) -> Self {
        let nodes: Vec<Arc<Node>> = profiles.all().iter().map(|_| Arc::new(Node::new())).collect();
        let tasks = profiles
            .all()
            .iter()
            .zip(&nodes)
            .map(|(profile, node)| {
                let parent = profile.parent.and_then(|place| nodes.get(place)).cloned();
                let source = Source {
                    engine: Arc::downgrade(engine),
                    spec: spec.clone(),
                    parent,
                    modules: profile.modules.clone(),
                };
                AbortOnDropHandle::new(tokio::spawn(keep(Arc::clone(node), source, options.clone())))
            })
            .collect();
        Self { profiles, nodes, _tasks: tasks }
    }

    pub(crate) fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// The zygote of a profile, or of its nearest parent that has one, with that one's place.
    pub(crate) fn nearest(&self, profile: usize) -> Option<(usize, Arc<ReadyZygote>)> {
        let mut place = Some(profile);
        while let Some(at) = place {
            if let Some(zygote) = self.nodes.get(at).and_then(|node| node.ready()) {
                return Some((at, zygote));
            }
            place = self.profiles.all().get(at).and_then(|profile| profile.parent);
        }
        None
    }

    /// Returns when each profile has been tried.
    pub(crate) async fn tried(&self) {
        for node in &self.nodes {
            // An error means that its task has ended; then there is nothing to wait for.
            drop(node.tried.subscribe().wait_for(|tried| *tried).await);
        }
    }
}

impl Node {
    fn new() -> Self {
        Self {
            current: watch::Sender::new(None),
            tried: watch::Sender::new(false),
            built: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            problem: Mutex::new(None),
        }
    }

    pub(crate) fn ready(&self) -> Option<Arc<ReadyZygote>> {
        self.current.borrow().clone().filter(|zygote| !zygote.lost.is_cancelled())
    }

    /// Zygotes that were made, and that ended before their time.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.built.load(Ordering::Relaxed), self.lost.load(Ordering::Relaxed))
    }

    /// Why the last attempt to build one failed, until one succeeds.
    pub(crate) fn problem(&self) -> Option<String> {
        lock(&self.problem).clone()
    }

    fn set_problem(&self, problem: Option<String>) {
        *lock(&self.problem) = problem;
    }
}

/// What a zygote is built from.
struct Source {
    engine: Weak<Engine>,
    spec: ZygoteSpec,
    parent: Option<Arc<Node>>,
    modules: Vec<String>,
}

/// The life of a profile: one zygote after the other, as long as there is an engine.
async fn keep(node: Arc<Node>, source: Source, options: ZygoteOptions) {
    let mut pause = FIRST_PAUSE;
    loop {
        let built = match timeout(BUILD_PATIENCE, build(&source)).await {
            Ok(built) => built,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long to import")),
        };
        match built {
            Ok(zygote) => {
                let zygote = Arc::new(zygote);
                node.built.fetch_add(1, Ordering::Relaxed);
                node.set_problem(None);
                // The one before lives until the last of those who are about to fork it has done so.
                node.current.send_replace(Some(Arc::clone(&zygote)));
                node.tried.send_replace(true);
                if is_lost(&zygote, &options).await {
                    node.lost.fetch_add(1, Ordering::Relaxed);
                    node.current.send_replace(None);
                    if zygote.made.elapsed() >= GOOD_LIFE {
                        pause = FIRST_PAUSE;
                    }
                } else {
                    // Old, not lost: the next one is built while this one serves.
                    continue;
                }
            }
            Err(error) => {
                node.set_problem(Some(error.to_string()));
                node.tried.send_replace(true);
                // An old one that still lives goes on.
            }
        }
        if source.engine.upgrade().is_none_or(|engine| engine.has_ended()) {
            // The next engine has a tree of its own.
            node.current.send_replace(None);
            return;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Returns true when the zygote is lost, false when it is to be replaced.
async fn is_lost(zygote: &ReadyZygote, options: &ZygoteOptions) -> bool {
    const LOOK: Duration = Duration::from_secs(1);
    loop {
        let left = options.max_age.saturating_sub(zygote.made.elapsed());
        tokio::select! {
            () = zygote.end() => return true,
            // Forks are counted by others, and looked at now and then.
            () = sleep(LOOK.min(left)) => {}
        }
        if zygote.is_due(options) {
            return false;
        }
    }
}

async fn build(source: &Source) -> io::Result<ReadyZygote> {
    let asked = match &source.parent {
        None => {
            let engine = source.engine.upgrade().ok_or_else(|| io::Error::other("the engine has ended"))?;
            engine.start_zygote(&source.spec).map_err(io::Error::other)?
        }
        Some(parent) => {
            let mut current = parent.current.subscribe();
            let ready = current.wait_for(Option::is_some).await.map_err(io::Error::other)?;
            let parent = ready.clone().ok_or_else(|| io::Error::other("the parent has ended"))?;
            drop(ready);
            parent.zygote.get_ref().0.grow(&source.modules)?
        }
    };
    let zygote = watch(ZygoteFd(asked))?;
    let mut process = Killed(None);
    loop {
        match zygote.async_io(Interest::READABLE, |zygote| zygote.0.receive()).await? {
            Some(ZygoteMessage::Made(made)) => process.0 = Some(made),
            Some(ZygoteMessage::Ready) => break,
            Some(ZygoteMessage::Broken(reason)) => return Err(io::Error::other(reason)),
            None => return Err(io::Error::other("it ended while it imported")),
        }
    }
    let process = process.0.take().ok_or_else(|| io::Error::other("it has no process"))?;
    Ok(ReadyZygote {
        zygote,
        process,
        made: Instant::now(),
        forks: AtomicU64::new(0),
        answered: Pulse::new(),
        lost: CancellationToken::new(),
    })
}

/// A process that is killed when nobody takes it: one that hangs while it imports.
struct Killed(Option<OwnedFd>);

impl Drop for Killed {
    fn drop(&mut self) {
        if let Some(process) = &self.0 {
            let _ = pidfd_send_signal(process.as_fd(), Signal::KILL);
        }
    }
}
