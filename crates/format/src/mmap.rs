//! The memory map: the only `unsafe` of this crate.
#![allow(unsafe_code, reason = "mapping a file is inherently unsafe; the promise stands below")]

use crate::FormatError;
use apr_tensor::SharedBytes;
use memmap2::Mmap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Maps a whole file, read-only. A mapped file must not be truncated while it is in use: the
/// system answers an access past its new end with a signal.
pub(crate) fn map(path: &Path) -> Result<SharedBytes, FormatError> {
    let file = File::open(path).map_err(FormatError::io(path))?;
    // SAFETY: the map is private to this process's view and only ever read as bytes, for which
    // every bit pattern is valid. Concurrent writers could change the bytes under a reader; they
    // cannot change their number, which the map fixed, and no decision about memory is taken from
    // bytes that are read twice: headers are parsed once into owned structures.
    let map = unsafe { Mmap::map(&file) }.map_err(FormatError::io(path))?;
    Ok(Arc::new(map))
}
