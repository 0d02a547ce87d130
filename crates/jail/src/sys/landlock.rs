//! Landlock: what the kernel has of it. Rulesets are made by the `landlock` crate, which keeps its probe to itself.
#![expect(unsafe_code, reason = "the Landlock calls are not in rustix")]

/// Landlock ABI of the kernel; 0 without it.
pub(crate) fn abi() -> u8 {
    const LANDLOCK_CREATE_RULESET_VERSION: libc::c_ulong = 1;
    // SAFETY: with the version flag, the first two arguments must be null and zero, and nothing is created.
    let result = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0, LANDLOCK_CREATE_RULESET_VERSION)
    };
    u8::try_from(result).unwrap_or(0)
}
