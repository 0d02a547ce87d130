//! Mounts that exist before they are attached anywhere.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::CWD,
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
        fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
    },
};

use crate::{
    layers::{self, Layer},
    sys::mount_attributes::set_mount_flags,
};

/// What no mount of a sandbox may honour.
pub(crate) fn harmless() -> MountAttrFlags {
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    if layers::is_on(Layer::HarmlessMounts) { flags } else { MountAttrFlags::empty() }
}

/// The same for what shows files of the host or of the engine.
pub(crate) fn harmless_and_read_only() -> MountAttrFlags {
    let flags = MountAttrFlags::MOUNT_ATTR_RDONLY;
    harmless() | if layers::is_on(Layer::ReadOnlyRoot) { flags } else { MountAttrFlags::empty() }
}

/// A new filesystem of type `kind`; an option without a value is a flag.
pub(crate) fn create_filesystem(
    kind: &str,
    options: &[(&str, Option<&str>)],
    flags: MountAttrFlags,
) -> Result<OwnedFd, Errno> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        match value {
            Some(value) => fsconfig_set_string(&context, *key, *value)?,
            None => fsconfig_set_flag(&context, *key)?,
        }
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)
}

/// A copy of what is mounted at `path` (of `folder`), with everything below it.
pub(crate) fn clone_mount(folder: impl AsFd, path: &Path, flags: MountAttrFlags) -> Result<OwnedFd, Errno> {
    let mount = open_tree(
        folder,
        path,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE,
    )?;
    set_mount_flags(&mount, flags, true)?;
    Ok(mount)
}

/// Attaches a mount at `path`.
pub(crate) fn attach(mount: impl AsFd, path: &Path) -> Result<(), Errno> {
    move_mount(mount, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}
