//! Loop devices: a file as a block device.
#![expect(unsafe_code, reason = "the loop ioctls are not in rustix")]

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
};

use super::last_errno;

const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
/// The device frees itself when its last user is gone: nothing to clean up after a crash.
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// `struct loop_config` of linux/loop.h with its `struct loop_info64` inlined.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    unused_device_numbers: [u64; 5],
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
    reserved: [u64; 8],
}

/// Attaches `file` to a free loop device. Returns the device's path and its descriptor; the device is freed when the
/// descriptor and every mount of it are closed.
pub(crate) fn attach(file: impl AsFd) -> Result<(String, OwnedFd), Errno> {
    let control = open("/dev/loop-control", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    // Another process may take the free device between the two calls; it shows as EBUSY, and the next one is tried.
    for _attempt in 0..64 {
        // SAFETY: this ioctl takes no argument and the descriptor is open.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
        if number < 0 {
            return Err(last_errno());
        }
        let path = format!("/dev/loop{number}");
        let device = open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        let config = LoopConfig {
            fd: file.as_fd().as_raw_fd().cast_unsigned(),
            block_size: 0,
            unused_device_numbers: [0; 5],
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: LO_FLAGS_AUTOCLEAR,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
            reserved: [0; 8],
        };
        // SAFETY: `config` has the layout of struct loop_config (checked by a test) and outlives the call.
        let result = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) };
        if result == 0 {
            return Ok((path, device));
        }
        match last_errno() {
            Errno::BUSY => {}
            errno => return Err(errno),
        }
    }
    Err(Errno::BUSY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loop_config_has_the_size_of_the_kernel_s() {
        // sizeof(struct loop_info64) is 232: see linux/loop.h.
        assert_eq!(size_of::<LoopConfig>(), 4 + 4 + 232 + 64);
        assert_eq!(std::mem::offset_of!(LoopConfig, flags), 8 + 52);
    }
}
