//! The promise about resources, checked for every input: at most a second of processor time, and
//! memory of at most twice the input and 64 MiB.
//!
//! Coverage, the sanitizer and debug assertions make the targets 13 to 34 times slower than what is
//! shipped (measured on the seeds), so that a second here is less than a tenth of one there. What is
//! built once a process, and what other programs do to the caches, is no part of an input's time:
//! the least of three runs counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::process::abort;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

const MEMORY: usize = 64 << 20;
const TIME: Duration = Duration::from_secs(1);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that are allocated, and that may be.
static LIVE: AtomicUsize = AtomicUsize::new(0);
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// The system's allocator, which ends the process where the limit is passed: the stack then shows
/// who asked for too much.
struct Counting;

impl Counting {
    fn add(bytes: usize) {
        let live = LIVE.fetch_add(bytes, Relaxed).saturating_add(bytes);
        let limit = LIMIT.load(Relaxed);
        if live > limit {
            LIMIT.store(usize::MAX, Relaxed);
            eprintln!("memory: {bytes} bytes more make {live}, the limit is {limit}");
            abort();
        }
    }
}

// SAFETY: every call is passed on to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::add(layout.size());
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::add(layout.size());
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // While it is moved, both are there.
        Self::add(size);
        // SAFETY: the caller's promise is the same.
        let moved = unsafe { System.realloc(at, layout, size) };
        LIVE.fetch_sub(layout.size(), Relaxed);
        moved
    }
}

/// Does `work` on an input of `len` bytes, and ends the process if it takes too much.
pub fn bounded<T>(len: usize, work: impl Fn() -> T) -> T {
    const RUNS: usize = 3;

    let mut least = Duration::MAX;
    for _ in 0..RUNS {
        let (result, taken) = measured(len, &work);
        least = least.min(taken);
        if least <= TIME {
            return result;
        }
    }
    panic!("time: {least:?} for {len} bytes, the least of {RUNS} runs");
}

fn measured<T>(len: usize, work: impl Fn() -> T) -> (T, Duration) {
    let allowed = len.saturating_mul(2).saturating_add(MEMORY);
    LIMIT.store(LIVE.load(Relaxed).saturating_add(allowed), Relaxed);
    let start = processor_time();
    let result = work();
    let taken = processor_time().saturating_sub(start);
    LIMIT.store(usize::MAX, Relaxed);
    (result, taken)
}

/// What all threads of this process have used.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is that of a timespec that lives past the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert_eq!(result, 0, "no clock");
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
