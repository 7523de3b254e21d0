//! Which processors threads may run on, as Linux has it.
#![allow(unsafe_code, reason = "the system's calls take pointers")]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::thread::JoinHandle;

/// The processors that the calling thread may run on, by number.
#[cfg(target_os = "linux")]
pub(super) fn allowed() -> io::Result<Vec<usize>> {
    // SAFETY: the set is plain bits, zeros among them, and as large as the call is told.
    let set = unsafe {
        let mut set: libc::cpu_set_t = MaybeUninit::zeroed().assume_init();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) != 0 {
            return Err(io::Error::last_os_error());
        }
        set
    };
    let count = 8 * size_of::<libc::cpu_set_t>();
    // SAFETY: the numbers are those of the set's bits.
    Ok((0..count).filter(|&number| unsafe { libc::CPU_ISSET(number, &set) }).collect())
}

/// Keeps the calling thread on a processor.
#[cfg(target_os = "linux")]
pub(super) fn pin_self(processor: usize) -> io::Result<()> {
    // SAFETY: every thread can name itself.
    pin(unsafe { libc::pthread_self() }, processor)
}

/// Keeps a thread that was started on a processor.
#[cfg(target_os = "linux")]
pub(super) fn pin_thread(thread: &JoinHandle<()>, processor: usize) -> io::Result<()> {
    use std::os::unix::thread::JoinHandleExt;
    pin(thread.as_pthread_t(), processor)
}

/// `thread` is alive or not joined yet: its handle is in use.
#[cfg(target_os = "linux")]
fn pin(thread: libc::pthread_t, processor: usize) -> io::Result<()> {
    if processor >= 8 * size_of::<libc::cpu_set_t>() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: the set is plain bits, zeros among them, of which `processor` is one, and as large as
    // the call is told; callers have the thread's handle.
    let error = unsafe {
        let mut set: libc::cpu_set_t = MaybeUninit::zeroed().assume_init();
        libc::CPU_SET(processor, &mut set);
        libc::pthread_setaffinity_np(thread, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

#[cfg(not(target_os = "linux"))]
fn unsupported<T>() -> io::Result<T> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

/// No system but Linux is asked.
#[cfg(not(target_os = "linux"))]
pub(super) fn allowed() -> io::Result<Vec<usize>> {
    unsupported()
}

/// No system but Linux is asked.
#[cfg(not(target_os = "linux"))]
pub(super) fn pin_self(_processor: usize) -> io::Result<()> {
    unsupported()
}

/// No system but Linux is asked.
#[cfg(not(target_os = "linux"))]
pub(super) fn pin_thread(_thread: &JoinHandle<()>, _processor: usize) -> io::Result<()> {
    unsupported()
}
