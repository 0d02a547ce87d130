//! Which cgroups this process may make new ones in.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use fs_err as fs;

use super::{CgroupError, ControllerPaths, Version, instance::SUPERVISOR, missing_controller};

/// The controllers that limits need on v1.
const CONTROLLERS: [&str; 4] = ["memory", "pids", "cpu", "cpuacct"];

/// The host's cgroups as this process sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupHost {
    /// Where new cgroups can go, best first: this process's own cgroup, and for root on v2 the top of the hierarchy.
    pub(super) parents: Vec<ControllerPaths>,
}

impl CgroupHost {
    /// Looks at this process's own cgroups.
    ///
    /// # Errors
    /// A controller is missing.
    pub fn detect() -> Result<Self, CgroupError> {
        let read = |path: &str| {
            fs::read_to_string(path).map_err(|source| CgroupError::Io { action: format!("read {path}"), source })
        };
        Self::from_tables(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?, |path| {
            fs::read_to_string(path.join("cgroup.controllers")).unwrap_or_default()
        })
    }

    /// Whether limits are set by cgroup v2, where the server must be alone in its cgroup to make others below it: it may
    /// have no child before that.
    pub fn is_unified(&self) -> bool {
        self.parents.iter().any(|parent| parent.version == Version::V2)
    }

    /// The same from the content of the two files; `controllers` reads a v2 cgroup's list of controllers.
    fn from_tables(mountinfo: &str, own: &str, controllers: impl Fn(&Path) -> String) -> Result<Self, CgroupError> {
        let mounts: Vec<CgroupMount> = mountinfo.lines().filter_map(CgroupMount::parse).collect();
        let own = own_cgroups(own);
        let locate = |mount: &CgroupMount, path: &str| {
            // A container sees its own cgroup as the mount's root.
            let below = Path::new(path).strip_prefix(&mount.root).unwrap_or(Path::new(""));
            mount.point.join(below)
        };

        if let Some(mount) = mounts.iter().find(|mount| mount.controllers.is_none()) {
            let has_all = |path: &Path| missing_controller(&controllers(path)).is_none();
            let all_of = |path: PathBuf| ControllerPaths {
                version: Version::V2,
                memory: path.clone(),
                pids: path.clone(),
                cpu: path.clone(),
                cpuacct: path,
            };
            let here = own.get("").map(|path| locate(mount, path)).map(|path| {
                // An earlier instance in this process moved it there, out of the way.
                if path.ends_with(SUPERVISOR) { path.parent().map(Path::to_path_buf).unwrap_or(path) } else { path }
            });
            let candidates: Vec<PathBuf> = here.into_iter().chain([mount.point.clone()]).collect();
            // If none has all it is a hybrid host. Else one that lacks some is kept: its error says what is missing.
            if candidates.iter().any(|path| has_all(path)) {
                return Ok(Self { parents: candidates.into_iter().map(all_of).collect() });
            }
        }

        let find = |controller: &'static str| {
            let mount = mounts.iter().find(|mount| {
                mount.controllers.as_ref().is_some_and(|names| names.iter().any(|name| name == controller))
            });
            mount
                .zip(own.get(controller))
                .map(|(mount, path)| locate(mount, path))
                .ok_or(CgroupError::NoController { controller })
        };
        let [memory, pids, cpu, cpuacct] = CONTROLLERS;
        Ok(Self {
            parents: vec![ControllerPaths {
                version: Version::V1,
                memory: find(memory)?,
                pids: find(pids)?,
                cpu: find(cpu)?,
                cpuacct: find(cpuacct)?,
            }],
        })
    }
}

/// One line of mountinfo that is a cgroup hierarchy.
#[derive(Debug)]
struct CgroupMount {
    point: PathBuf,
    root: PathBuf,
    /// Of a v1 hierarchy; nothing for v2.
    controllers: Option<Vec<String>>,
}

impl CgroupMount {
    /// Source of the format: `proc_pid_mountinfo(5)`.
    fn parse(line: &str) -> Option<Self> {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (PathBuf::from(mount.next()?), PathBuf::from(mount.next()?));
        let mut filesystem = filesystem.split(' ');
        match filesystem.next()? {
            "cgroup2" => Some(Self { point, root, controllers: None }),
            "cgroup" => {
                let options = filesystem.nth(1)?;
                Some(Self { point, root, controllers: Some(options.split(',').map(str::to_owned).collect()) })
            }
            _ => None,
        }
    }
}

/// Controller → path of this process's cgroup; the v2 hierarchy under the empty name.
fn own_cgroups(table: &str) -> BTreeMap<&str, &str> {
    table
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .flat_map(|(controllers, path)| controllers.split(',').map(move |controller| (controller, path)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
25 1 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw
26 25 0:23 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
27 25 0:24 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
28 25 0:25 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
29 25 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";

    #[test]
    fn a_hybrid_host_limits_by_v1() {
        let own = "5:pids:/user\n4:memory:/user/1\n3:cpu,cpuacct:/\n0::/init.scope";
        let host = CgroupHost::from_tables(HYBRID, own, |_| String::new()).unwrap();
        let paths = &host.parents[0];
        assert_eq!(paths.version, Version::V1);
        assert_eq!(paths.memory, Path::new("/sys/fs/cgroup/memory/user/1"));
        assert_eq!(paths.pids, Path::new("/sys/fs/cgroup/pids/user"));
        assert_eq!(paths.cpu, paths.cpuacct);
        assert_eq!(paths.folders().len(), 3);
        assert!(!host.is_unified());
    }

    #[test]
    fn a_unified_host_prefers_its_own_cgroup_to_the_top() {
        let mounts = "30 1 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
        let own = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope";
        let host = CgroupHost::from_tables(mounts, own, |_| "cpuset cpu io memory pids\n".into()).unwrap();
        assert_eq!(host.parents.len(), 2);
        assert!(host.is_unified());
        assert!(host.parents[0].memory.ends_with("app.slice/run-1.scope"));
        assert_eq!(host.parents[1].memory, Path::new("/sys/fs/cgroup"));
    }

    #[test]
    fn a_container_sees_its_cgroup_as_the_root() {
        let mounts = "30 1 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup2 rw";
        let host = CgroupHost::from_tables(mounts, "0::/docker/abc", |_| "cpu memory pids".into()).unwrap();
        assert_eq!(host.parents[0].memory, Path::new("/sys/fs/cgroup"));
    }

    #[test]
    fn a_missing_controller_is_named() {
        let without_pids = HYBRID.replace("rw,pids", "rw,freezer");
        let own = "5:freezer:/\n4:memory:/\n3:cpu,cpuacct:/\n0::/";
        let error = CgroupHost::from_tables(&without_pids, own, |_| String::new()).unwrap_err();
        assert!(matches!(error, CgroupError::NoController { controller: "pids" }), "{error}");
        assert!(CgroupHost::from_tables("", "", |_| String::new()).is_err());
    }
}
