//! What /proc says of the server's processes.

use std::{collections::BTreeMap, ffi::OsString, io, time::Duration};

use fs_err as fs;

/// Ticks of a second in /proc: the kernel's `USER_HZ`, which is 100 on every architecture that we run on.
const TICKS_PER_SECOND: u64 = 100;

/// A process, as /proc/PID/stat describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    parent: u32,
    /// The name of its thread: at most 15 bytes.
    pub(super) name: String,
    /// CPU time, with that of the children that it has waited for.
    cpu_ticks: u64,
}

impl Process {
    /// Reads the line of /proc/PID/stat.
    fn read(line: &str) -> Option<Self> {
        let (pid, rest) = line.split_once(" (")?;
        // The name may contain anything; what follows its last parenthesis is proc_pid_stat(5) from field 3 on.
        let (name, rest) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let cpu_ticks = (14..=17).map(number).sum::<Option<u64>>()?;
        Some(Self { pid: pid.parse().ok()?, parent: fields.get(1)?.parse().ok()?, name: name.to_owned(), cpu_ticks })
    }

    /// Its pid namespace: each sandbox has one.
    pub(super) fn pid_namespace(&self) -> io::Result<OsString> {
        Ok(fs::read_link(format!("/proc/{}/ns/pid", self.pid))?.into_os_string())
    }

    /// Bytes of memory that it shares with nobody, with its page tables.
    pub(super) fn private_memory(&self) -> io::Result<u64> {
        let pages = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid))?;
        let tables = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let sizes =
            [(&pages, "Private_Clean"), (&pages, "Private_Dirty"), (&pages, "Private_Hugetlb"), (&tables, "VmPTE")];
        Ok(sizes.into_iter().filter_map(|(text, key)| size(text, key)).sum())
    }
}

/// The bytes after `key:` in a file of lines such as `VmPTE:   96 kB`.
fn size(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// `root` with all its descendants that live now.
pub(super) fn tree(root: u32) -> io::Result<Vec<Process>> {
    let mut by_parent: BTreeMap<u32, Vec<Process>> = BTreeMap::new();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        // A process may end while it is looked at.
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(line) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let Some(process) = Process::read(&line) else { continue };
        if pid == root {
            found.push(process);
        } else {
            by_parent.entry(process.parent).or_default().push(process);
        }
    }
    let mut next = vec![root];
    while let Some(parent) = next.pop() {
        let children = by_parent.remove(&parent).unwrap_or_default();
        next.extend(children.iter().map(|child| child.pid));
        found.extend(children);
    }
    Ok(found)
}

/// CPU time of `processes`, with that of children that were waited for: of a whole tree it only grows.
pub(super) fn cpu_time(processes: &[Process]) -> Duration {
    let ticks: u64 = processes.iter().map(|process| process.cpu_ticks).sum();
    Duration::from_millis(ticks * (1000 / TICKS_PER_SECOND))
}

/// Memory of the host that programs could have, in bytes.
pub(super) fn available_memory() -> io::Result<u64> {
    memory("MemAvailable")
}

/// Memory of the host, in bytes.
pub(super) fn total_memory() -> io::Result<u64> {
    memory("MemTotal")
}

fn memory(key: &str) -> io::Result<u64> {
    size(&fs::read_to_string("/proc/meminfo")?, key)
        .ok_or_else(|| io::Error::other(format!("/proc/meminfo does not have `{key}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_any_name_is_read() {
        let line = "42 (a) S (b) R 7 1 1 0 -1 4194560 100 0 0 0 5 6 7 8 20 0 1 0 999 1000 200";
        let process = Process::read(line).unwrap();
        assert_eq!(process, Process { pid: 42, parent: 7, name: "a) S (b".to_owned(), cpu_ticks: 26 });
        assert_eq!(cpu_time(&[process.clone(), process]), Duration::from_millis(520));
        for broken in ["", "42", "42 (a)", "42 (a) R", "x (a) R 7 1 1 0 -1 4194560 100 0 0 0 5 6 7 8", "1 (a) R 1 2"] {
            assert_eq!(Process::read(broken), None, "{broken}");
        }
    }

    #[test]
    fn sizes_are_found_by_their_whole_key() {
        let text = "VmPTEs:\t1 kB\nVmPTE:\t      96 kB\nVmSwap:\t0 kB\nOdd: 5\n";
        assert_eq!(size(text, "VmPTE"), Some(96 << 10));
        assert_eq!(size(text, "Odd"), None);
        assert_eq!(size(text, "VmRSS"), None);
    }

    #[test]
    fn this_process_is_found_with_its_child() {
        let me = std::process::id();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let tree = tree(me).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(tree.first().unwrap().pid, me);
        assert!(tree.iter().any(|process| process.pid == child.id() && process.parent == me));
        let this = tree.first().unwrap();
        assert!(this.private_memory().unwrap() > 100 << 10);
        assert!(this.pid_namespace().is_ok());
        assert!(available_memory().unwrap() <= total_memory().unwrap());
    }
}
