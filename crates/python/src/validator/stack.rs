//! Room for recursion over a tree of known depth.

use std::thread;

/// Levels that any thread has room for.
const SHALLOW: usize = 64;
/// Stack of one level. Measured at most 1,500 bytes, for `not`, in a build without optimisation; the rest is margin.
const LEVEL: usize = 8 * 1024;
/// Stack that is needed whatever the depth.
const BASE: usize = 1024 * 1024;

/// Runs `work`, which recurses `depth` levels deep. Nothing when there is no thread for it, or it panicked.
pub(super) fn with_room<T: Send>(depth: usize, work: impl FnOnce() -> T + Send) -> Option<T> {
    if depth <= SHALLOW {
        return Some(work());
    }
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("validator".to_owned()).stack_size(BASE + depth * LEVEL);
        thread.spawn_scoped(scope, work).ok()?.join().ok()
    })
}

/// Stack that one level of a tree takes while it is dropped.
const DROP: usize = 512;

/// Runs `work`, which may have to drop a tree that is `depth` levels deep.
pub(super) fn for_drop<T: Send>(depth: usize, work: impl FnOnce() -> T + Send) -> Option<T> {
    if depth == 0 {
        return Some(work());
    }
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("validator".to_owned()).stack_size(2 * BASE + depth * DROP);
        thread.spawn_scoped(scope, work).ok()?.join().ok()
    })
}
