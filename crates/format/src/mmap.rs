//! The bytes of a file: its memory map, the only `unsafe` of this crate, or a copy; and whether
//! the file is still the same afterwards.
#![allow(unsafe_code, reason = "mapping a file is inherently unsafe; the promise stands below")]

use crate::FormatError;
use crate::size::to_u64;
use apr_tensor::SharedBytes;
use memmap2::Mmap;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Whether files are copied into memory.
static COPY: AtomicBool = AtomicBool::new(false);
/// Files that changed while they were in use, and are closed.
static CHANGED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Has every file that is opened from now on read into memory instead of mapped: slower, and in
/// need of as much memory as the file is large, but what happens to the file later has no effect.
pub fn copy_files() {
    COPY.store(true, Ordering::Relaxed);
}

/// Whether all files that were open and are closed were the same all the time.
///
/// # Errors
/// Names the first that another process wrote to: what was computed from it may be wrong.
pub fn check_closed_files() -> Result<(), FormatError> {
    let changed = CHANGED.lock().unwrap_or_else(PoisonError::into_inner);
    changed.first().map_or(Ok(()), |path| Err(FormatError::Changed { path: path.clone() }))
}

/// What a file was when it was opened. The system notes a time with every write, to some
/// milliseconds: a change within those of the opening can escape.
#[derive(PartialEq, Eq)]
struct Stamp {
    len: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(file: &Metadata) -> Self {
        Self { len: file.len(), modified: file.modified().ok() }
    }
}

/// A file that is held open, so that it can be asked whether it changed; a file that only got
/// another name, or was replaced under its name, did not.
pub(crate) struct OpenFile {
    file: File,
    path: PathBuf,
    opened: Stamp,
}

impl OpenFile {
    fn new(file: File, path: &Path) -> io::Result<Self> {
        let opened = Stamp::of(&file.metadata()?);
        Ok(Self { file, path: path.to_path_buf(), opened })
    }

    /// # Errors
    /// When another process wrote to the file.
    pub(crate) fn check_unchanged(&self) -> Result<(), FormatError> {
        let now = self.file.metadata().map_err(FormatError::io(&self.path))?;
        if Stamp::of(&now) == self.opened {
            return Ok(());
        }
        Err(FormatError::Changed { path: self.path.clone() })
    }

    fn copy(&mut self) -> io::Result<Vec<u8>> {
        let len = usize::try_from(self.opened.len).map_err(|_| ErrorKind::OutOfMemory)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).map_err(|_| ErrorKind::OutOfMemory)?;
        (&self.file).take(self.opened.len).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if self.check_unchanged().is_err() {
            let path = self.path.clone();
            CHANGED.lock().unwrap_or_else(PoisonError::into_inner).push(path);
        }
    }
}

/// The bytes of a whole file, and the file; `path` names it in errors. Another process must not truncate a mapped file while
/// it is in use: the system answers an access past its new end with a signal, see
/// [`explain_bus_errors`].
pub(crate) fn open(file: File, path: &Path) -> Result<(SharedBytes, OpenFile), FormatError> {
    let mut file = OpenFile::new(file, path).map_err(FormatError::io(path))?;
    if COPY.load(Ordering::Relaxed) {
        let bytes = file.copy().map_err(FormatError::io(path))?;
        if to_u64(bytes.len()) != file.opened.len {
            return Err(FormatError::Changed { path: path.to_path_buf() });
        }
        return Ok((Arc::new(bytes), file));
    }
    // SAFETY: the map is private to this process's view and only ever read as bytes, for which
    // every bit pattern is valid. Concurrent writers could change the bytes under a reader; they
    // cannot change their number, which the map fixed, and no decision about memory is taken from
    // bytes that are read twice: headers are parsed once into owned structures.
    let map = unsafe { Mmap::map(&file.file) }.map_err(FormatError::io(path))?;
    Ok((Arc::new(map), file))
}

/// Has the process end with exit code 1 and a line on standard error where the system would end it
/// with SIGBUS without a word: a mapped file became shorter, or cannot be read from its disk. Only
/// for programs, since it replaces the process's handler of this signal.
#[cfg(unix)]
#[expect(clippy::as_conversions, reason = "the system takes the handler's address as a number")]
pub fn explain_bus_errors() {
    let handler: extern "C" fn(libc::c_int) = on_bus_error;
    // SAFETY: the handler calls nothing but `write` and `_exit`, which a handler may call at any
    // point, and does not return to the access that failed.
    unsafe {
        libc::signal(libc::SIGBUS, handler as libc::sighandler_t);
    }
}

/// There is no such signal.
#[cfg(not(unix))]
pub fn explain_bus_errors() {}

#[cfg(unix)]
extern "C" fn on_bus_error(_: libc::c_int) {
    const MESSAGE: &[u8] = b"apr: a model file became shorter while it was read, or its disk \
        failed; nothing was completed: try again, or copy the file into memory by --no-mmap\n";
    // SAFETY: the pointer is that of as many constant bytes, and neither call touches memory of
    // this process otherwise.
    unsafe {
        libc::write(libc::STDERR_FILENO, MESSAGE.as_ptr().cast(), MESSAGE.len());
        libc::_exit(1);
    }
}
