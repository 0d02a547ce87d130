//! One boot of a guest, from power-on to power-off.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use fs_err as fs;

use super::guest::Guest;

/// The newest instructions that qemu 7.2 emulates well. With its AVX, numpy's sort crashes, in and out of a sandbox.
const CPU: &str = "max,avx=off,avx2=off,fma=off,f16c=off";
/// clearcpuid=cx16: qemu 7.2 emulates cmpxchg16b wrongly in places, and who finds it in the CPU's list of features uses
/// it; the symptom is crashes in the kernel's slab allocator and in programs.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 root=/dev/vda rw quiet panic=-1 clearcpuid=cx16";

/// Boots `guest` with `disk` as its second one, and prints what it says until it has powered off. The console goes into
/// a file in `folder`. At `limit` it is switched off, and that is an error.
pub(super) fn boot(guest: &Guest, disk: &Path, folder: &Path, limit: Duration) -> anyhow::Result<()> {
    let console = folder.join("console.log");
    let drive = |file: &Path, options: &str| format!("file={},format=raw,if=virtio,{options}", file.display());
    // It ends with this process, however that ends.
    let mut qemu = Command::new("setpriv");
    qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", CPU]);
    qemu.args(["-m", "3G", "-smp", "2", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    qemu.args(["-device", "virtio-rng-pci", "-append", KERNEL_ARGUMENTS]);
    qemu.arg("-kernel").arg(&guest.kernel).arg("-initrd").arg(&guest.initrd);
    qemu.args(["-drive", &drive(&guest.image, "snapshot=on"), "-drive", &drive(disk, "cache=unsafe")]);
    qemu.args(["-serial", &format!("file:{}", console.display()), "-serial", "stdio"]);
    println!("== boot: Linux under emulation, console in {}", console.display());
    let started = Instant::now();
    let mut child = qemu.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("could not run qemu")?;
    let said = child.stdout.take().context("qemu has no output")?;
    let (sender, receiver) = mpsc::channel::<()>();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(said).split(b'\n').map_while(Result::ok) {
            println!("{}", String::from_utf8_lossy(&line).trim_end_matches('\r'));
        }
        // Dropped, it tells that there is no more.
        drop(sender);
    });
    let in_time = receiver.recv_timeout(limit) == Err(RecvTimeoutError::Disconnected);
    if !in_time {
        child.kill()?;
    }
    let status = child.wait()?;
    drop(reader.join());
    if !in_time {
        bail!("the guest was switched off after {limit:.0?}:\n{}", end_of(&console));
    }
    if !status.success() {
        bail!("qemu ended with {status}:\n{}", end_of(&console));
    }
    println!("the guest was up for {:.0?}", started.elapsed());
    Ok(())
}

/// The last lines of the console.
fn end_of(console: &Path) -> String {
    let text = fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
