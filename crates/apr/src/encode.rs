//! Encoding of a tensor: part by part, each compared with its source while both are at hand, and
//! written while the next one is encoded.

use crate::proof::{Bounds, Sums, certificate, check_shape, compare};
use crate::source::Source;
use crate::{Error, Progress, units};
use apr_format::{Certificate, FormatError, Writer};
use apr_kernel::Kernels;
use apr_tensor::{Tensor, TensorLayout};
use rayon::prelude::*;
use std::io::ErrorKind;
use std::ops::Range;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Bytes of a part: few in memory, and many chunks for all threads.
const PART_BYTES: usize = 4 << 20;

/// Encodes a tensor in the type of `layout` and hands its bytes to `put`, part by part. Returns
/// its certificate.
///
/// # Errors
/// When the source holds a value that is not finite or past the range of the type, when an element
/// is farther from its source than the type allows, or when `put` fails.
pub(crate) fn encode(
    source: &Source,
    layout: &TensorLayout,
    progress: &dyn Progress,
    mut put: impl FnMut(Vec<u8>) -> Result<(), Error> + Send,
) -> Result<Certificate, Error> {
    check_shape(source, layout)?;
    let chunk_rows = source.rows_per_chunk();
    let part_rows = (PART_BYTES / layout.row_bytes().max(1) / chunk_rows).max(1) * chunk_rows;
    let (hash, sums) = rayon::join(
        || source.hash(),
        || {
            let mut sums = Vec::new();
            for first in (0..layout.row_count()).step_by(part_rows) {
                let rows = first..(first + part_rows).min(layout.row_count());
                let (bytes, of_part) = encode_part(source, layout, rows)?;
                progress.advance(units::size(bytes.len()));
                sums.extend(of_part);
                put(bytes)?;
            }
            Ok::<_, Error>(sums)
        },
    );
    // Both read the same values; the sums name the first that is wrong.
    let sums = sums?;
    Ok(certificate(source, hash?, sums))
}

/// The bytes of these rows, and what each chunk adds to the certificate.
fn encode_part(
    source: &Source,
    layout: &TensorLayout,
    rows: Range<usize>,
) -> Result<(Vec<u8>, Vec<Sums>), Error> {
    let step = source.rows_per_chunk();
    let mut bytes = vec![0; rows.len() * layout.row_bytes()];
    let chunk_bytes = step.saturating_mul(layout.row_bytes()).max(1);
    let sums: Vec<Result<Sums, Error>> = bytes
        .par_chunks_mut(chunk_bytes)
        .enumerate()
        .map(|(chunk, bytes)| {
            let first = rows.start + chunk * step;
            encode_chunk(source, layout, first..(first + step).min(rows.end), bytes)
        })
        .collect();
    // The first error in the order of the tensor, whichever thread meets one first.
    Ok((bytes, sums.into_iter().collect::<Result<_, _>>()?))
}

fn encode_chunk(
    source: &Source,
    layout: &TensorLayout,
    rows: Range<usize>,
    bytes: &mut [u8],
) -> Result<Sums, Error> {
    let (dtype, first) = (layout.dtype(), rows.start);
    let values = source.read(rows.clone())?;
    if source.keeps_bytes_of_rows(layout) {
        source.copy_rows(rows, bytes).map_err(Error::layout(source.path(), source.name()))?;
    } else {
        Kernels::best().encode(dtype, &values, bytes).map_err(|error| {
            let (path, tensor) = (source.path().to_path_buf(), source.name().to_owned());
            Error::Encode { path, tensor, source: error.offset_by(first * layout.row_elems()) }
        })?;
    }
    compare(source, dtype, (bytes, first), &values, Bounds::Hold)
}

/// What is written next.
pub(crate) enum Part {
    /// Bytes of the current tensor.
    Bytes(Vec<u8>),
    /// All bytes of the current tensor, from where they lie.
    Whole(Tensor),
    /// The current tensor is complete.
    End(Box<Certificate>),
}

/// Takes parts for a file that another thread writes.
pub(crate) struct Parts<'a> {
    to: SyncSender<Part>,
    target: &'a Path,
}

impl Parts<'_> {
    /// # Errors
    /// When the file cannot be written any more. The writing thread knows why.
    pub(crate) fn put(&self, part: Part) -> Result<(), Error> {
        let stopped = |_| Error::io(self.target)(ErrorKind::BrokenPipe.into());
        self.to.send(part).map_err(stopped)
    }
}

/// Writes what `produce` puts, on a thread of its own: a few parts wait in memory at most.
///
/// # Errors
/// When the file cannot be written, and those of `produce`.
pub(crate) fn write_beside(
    writer: &mut Writer,
    target: &Path,
    produce: impl FnOnce(&Parts<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let (to, from) = sync_channel(1);
    thread::scope(|scope| {
        let writing = scope.spawn(|| write_all(writer, from));
        let parts = Parts { to, target };
        let produced = produce(&parts);
        drop(parts);
        writing.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        produced
    })
}

fn write_all(writer: &mut Writer, parts: Receiver<Part>) -> Result<(), FormatError> {
    for part in parts {
        match part {
            Part::Bytes(bytes) => writer.append(&bytes)?,
            Part::Whole(tensor) => writer.append(tensor.view().bytes())?,
            Part::End(certificate) => writer.end_tensor(&certificate)?,
        }
    }
    Ok(())
}
