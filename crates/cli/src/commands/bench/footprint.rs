//! What a server takes while nobody asks it for anything: CPU time, and the memory of parked workers.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::time::sleep;

use super::{
    latency::warm_up,
    processes::{Process, cpu_time, tree},
    programs::Program,
    progress,
    server::{Server, ServerOptions},
    statistics::{float, mebibytes},
};

/// Name of a parked worker's process.
const WORKER: &str = "sandbox-worker";
/// After the last program, until pools are full and clean-up is done.
const SETTLE: Duration = Duration::from_secs(10);

/// CPU time of an idle server.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IdleReport {
    /// How long it was looked at.
    pub(super) seconds: f64,
    /// Processes of its tree.
    pub(super) processes: usize,
    /// CPU time of the whole tree, in milliseconds; the kernel counts in hundredths of a second.
    pub(super) cpu_time_ms: f64,
    /// The same in per cent of one core.
    pub(super) percent_of_core: f64,
}

/// Private memory of parked workers, with page tables and with the processes around them, in MiB.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ParkedReport {
    /// The program for which the server, otherwise fresh, was warmed up.
    pub(super) program: Program,
    /// Each parked sandbox's, ascending.
    pub(super) sandboxes_mib: Vec<f64>,
    /// The profile's own: of the bare one the smallest, else the largest, as smaller profiles may have workers, too.
    pub(super) profile_mib: Option<f64>,
    /// Why there is no number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unavailable: Option<String>,
}

/// Leaves the server alone for `time`.
pub(super) async fn idle(server: &Server, time: Duration) -> anyhow::Result<IdleReport> {
    progress(format_args!("idle: leaving the server alone for {} s", time.as_secs()));
    sleep(SETTLE).await;
    let (before, begin) = (cpu_time(&tree(server.pid())?), Instant::now());
    sleep(time).await;
    let (processes, seconds) = (tree(server.pid())?, begin.elapsed().as_secs_f64());
    let cpu = cpu_time(&processes).saturating_sub(before).as_secs_f64();
    Ok(IdleReport {
        seconds,
        processes: processes.len(),
        cpu_time_ms: cpu * 1000.0,
        percent_of_core: cpu / seconds * 100.0,
    })
}

/// The memory of workers that are parked on a fresh server after `program` was warmed up.
pub(super) async fn parked(
    options: &ServerOptions,
    program: Program,
    patience: Duration,
) -> anyhow::Result<ParkedReport> {
    progress(format_args!("memory: parked workers after {}", program.title()));
    let server = options.start().await?;
    let cold = warm_up(&server, &[program], patience).await?;
    sleep(SETTLE).await;
    let sandboxes = parked_sandboxes(&tree(server.pid())?);
    server.stop()?;
    let (sandboxes_mib, unavailable) = match sandboxes {
        Ok(sandboxes) if sandboxes.is_empty() && !cold.is_empty() => {
            (Vec::new(), Some(format!("{} stayed cold, so no worker is parked", program.title())))
        }
        Ok(sandboxes) if sandboxes.is_empty() => (Vec::new(), Some("no worker is parked".to_owned())),
        Ok(sandboxes) => (sandboxes, None),
        Err(error) => (Vec::new(), Some(format!("the memory of parked workers cannot be read: {error}"))),
    };
    let profile_mib = if program == Program::Hello { sandboxes_mib.first() } else { sandboxes_mib.last() }.copied();
    Ok(ParkedReport { program, sandboxes_mib, profile_mib, unavailable })
}

/// MiB of each sandbox with a parked worker, ascending.
fn parked_sandboxes(processes: &[Process]) -> std::io::Result<Vec<f64>> {
    let mut sandboxes: BTreeMap<_, Vec<&Process>> = BTreeMap::new();
    for process in processes {
        // Whoever ended in the meantime has no namespace, and no memory.
        match process.pid_namespace() {
            Ok(namespace) => sandboxes.entry(namespace).or_default().push(process),
            Err(error) if process.name == WORKER => return Err(error),
            Err(_) => {}
        }
    }
    let mut sizes = Vec::new();
    for members in sandboxes.values() {
        let workers = members.iter().filter(|process| process.name == WORKER).count();
        if workers > 0 {
            let bytes = members.iter().map(|process| process.private_memory()).sum::<std::io::Result<u64>>()?;
            // Where workers share a namespace, each has its part.
            sizes.extend(std::iter::repeat_n(mebibytes(bytes) / float(workers), workers));
        }
    }
    sizes.sort_by(f64::total_cmp);
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    #[test]
    fn workers_are_found_by_their_name() {
        let me = std::process::id();
        assert_eq!(parked_sandboxes(&tree(me).unwrap()).unwrap(), Vec::<f64>::new());
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(WORKER);
        std::fs::copy("/bin/sleep", &program).unwrap();
        let mut workers: Vec<Child> = (0..2).map(|_| Command::new(&program).arg("60").spawn().unwrap()).collect();
        let sizes = parked_sandboxes(&tree(me).unwrap()).unwrap();
        for worker in &mut workers {
            worker.kill().unwrap();
            worker.wait().unwrap();
        }
        // They are in the namespace of this process, so that its memory is theirs, too.
        assert!(matches!(sizes[..], [first, second] if first > 0.1 && first <= second), "{sizes:?}");
    }
}
