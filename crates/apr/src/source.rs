//! A source tensor as a new file will hold it: in single precision, rows by output, the rows in
//! the file's order, experts stacked.

use crate::statistics::{AllFinite, decoded, run_bytes};
use crate::{Checkpoint, Error};
use apr_format::{Container, Hash128, Hasher128, NewTensor};
use apr_kernel::Kernels;
use apr_model::{Form, PlacedTensor, RowOrder};
use apr_tensor::{DType, Tensor, TensorError, TensorLayout, TensorView};
use rayon::prelude::*;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Elements that one worker handles at a time. Fixed, so that results do not depend on the
/// number of threads; small enough for the second-level cache.
const CHUNK_ELEMS: usize = 1 << 14;
/// Rows of a source that are transposed together: what they become is a cache line.
const TILE: usize = 16;

/// Chunks that are computed side by side for the digest of computed values.
const HASHED_CHUNKS: usize = 64;

/// A source tensor and how it is to be read.
#[derive(Clone)]
pub(crate) struct Source {
    /// One, or those of all experts: of one layout, their rows follow each other.
    parts: Vec<Tensor>,
    /// The layout of all parts together.
    layout: TensorLayout,
    transposed: bool,
    lines: Lines,
    /// What is added to every value.
    offset: f32,
    name: String,
    /// The name of each part.
    names: Vec<String>,
    path: PathBuf,
    /// What gives its values instead of the parts, which then say its shape alone.
    computed: Option<Computed>,
}

/// Values that are computed of those of sources.
pub(crate) trait Compute: Send + Sync {
    /// The sources that it reads: of one shape.
    fn sources(&self) -> Vec<&Source>;

    /// Of how many rows its ranges must be multiples.
    fn rows_together(&self) -> usize {
        1
    }

    /// The values of a range of rows.
    ///
    /// # Errors
    /// When a source cannot be read.
    fn rows(&self, rows: Range<usize>) -> Result<Vec<f32>, Error>;
}

#[derive(Clone)]
struct Computed {
    values: Arc<dyn Compute>,
    /// Chunks are multiples of this many rows.
    block: usize,
}

/// Which line of the source is which line of the result. A line is a row of a matrix, and an
/// element of a vector.
#[derive(Debug, Clone, Copy)]
struct Lines {
    from: RowOrder,
    to: RowOrder,
    heads: usize,
    head_dim: usize,
}

impl Lines {
    fn are_same(self) -> bool {
        self.from == self.to
    }

    fn of(self, line: usize) -> usize {
        if self.are_same() {
            return line;
        }
        let canonical = self.to.canonical(line, self.heads, self.head_dim);
        self.from.place(canonical, self.heads, self.head_dim)
    }
}

impl Source {
    /// The tensor as a file in which it has the form `to` will hold it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn new(
        container: &Container,
        placed: &PlacedTensor,
        to: Form,
        path: &Path,
    ) -> Result<Self, Error> {
        let tensors = placed.sources.iter().map(|name| container.tensor(name));
        let (from, to_order) = (placed.form.row_order, to.row_order);
        let (heads, head_dim) = (placed.heads, placed.head_dim);
        Ok(Self {
            parts: tensors.collect::<Result<_, _>>()?,
            layout: placed.layout.clone(),
            transposed: placed.form.transposed != to.transposed,
            lines: Lines { from, to: to_order, heads, head_dim },
            offset: to.offset - placed.form.offset,
            name: placed.source().to_owned(),
            names: placed.sources.clone(),
            path: path.to_path_buf(),
            computed: None,
        })
    }

    /// The part of one expert.
    ///
    /// # Errors
    /// When there is no such expert.
    pub(crate) fn expert(self, at: usize) -> Result<Self, Error> {
        let experts = self.layout.shape().first().copied().unwrap_or_default();
        let rows = self.layout.row_count() / experts.max(1);
        let (part, name) = match (&self.parts[..], &self.names[..]) {
            ([stack], [name]) => (stack.rows(at * rows..(at + 1) * rows), name.clone()),
            (parts, names) => (Ok(parts[at].clone()), names[at].clone()),
        };
        let part = part.map_err(Error::layout(&self.path, &self.name))?;
        let layout = part.layout().clone();
        Ok(Self { parts: vec![part], layout, names: vec![name.clone()], name, ..self })
    }

    /// A tensor of the source that is copied.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn as_it_is(checkpoint: &Checkpoint, name: &str) -> Result<Self, Error> {
        let tensor = checkpoint.container().tensor(name)?;
        Ok(Self::unchanged(tensor, name, checkpoint.path()))
    }

    fn unchanged(tensor: Tensor, name: &str, path: &Path) -> Self {
        let order = RowOrder::Halves;
        Self {
            layout: tensor.layout().clone(),
            parts: vec![tensor],
            transposed: false,
            lines: Lines { from: order, to: order, heads: 1, head_dim: 1 },
            offset: 0.0,
            name: name.to_owned(),
            names: vec![name.to_owned()],
            path: path.to_path_buf(),
            computed: None,
        }
    }

    /// The same tensor with values that are computed, and to each of which `offset` is added.
    pub(crate) fn computed(self, values: impl Compute + 'static, offset: f32) -> Self {
        let blocks = values.sources().into_iter().map(Self::block_rows);
        // All are powers of two.
        let block = blocks.chain([values.rows_together()]).max().unwrap_or(1);
        Self { offset, computed: Some(Computed { values: Arc::new(values), block }), ..self }
    }

    /// Values that come from no file, as they are.
    ///
    /// # Errors
    /// When there are more than can be stored.
    pub(crate) fn of_values(name: &str, values: &[f32]) -> Result<Self, Error> {
        let as_error = Error::layout(Path::new("(the configuration)"), name);
        let layout = TensorLayout::new(DType::F32, &[values.len()]).map_err(&as_error)?;
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let tensor = Tensor::owned(layout, bytes).map_err(&as_error)?;
        Ok(Self::unchanged(tensor, name, Path::new("(the configuration)")))
    }

    /// The tensor of a file that holds it as it is.
    pub(crate) fn as_new_tensor(&self) -> NewTensor {
        NewTensor { name: self.name().to_owned(), layout: self.layout.clone() }
    }

    /// Type of its values: what is computed is so in single precision.
    pub(crate) fn dtype(&self) -> DType {
        if self.computed.is_some() { DType::F32 } else { self.layout.dtype() }
    }

    /// The tensor itself, its bytes where they lie, if a tensor of this layout is nothing else.
    pub(crate) fn as_is(&self, layout: &TensorLayout) -> Option<&Tensor> {
        match &self.parts[..] {
            [only] if self.is_kept_as(layout) => Some(only),
            _ => None,
        }
    }

    /// Whether these are the bytes of the source.
    pub(crate) fn has_bytes(&self, mut bytes: &[u8]) -> bool {
        self.parts.iter().all(|part| {
            let part = part.view().bytes();
            let Some((first, rest)) = bytes.split_at_checked(part.len()) else { return false };
            bytes = rest;
            first == part
        }) && bytes.is_empty()
    }

    /// Whether both are the same bytes in the same places, of one type and shape.
    pub(crate) fn has_bytes_of(&self, other: &Self) -> bool {
        let as_stored = self.is_kept_as(&self.layout) && other.is_kept_as(&self.layout);
        if !as_stored || self.rows_and_cols() != other.rows_and_cols() {
            return false;
        }
        let bytes = |source: &Self| -> Vec<Range<usize>> {
            let ends = source.parts.iter().scan(0, |end, part| {
                let start = *end;
                *end += part.layout().byte_len();
                Some(start..*end)
            });
            ends.collect()
        };
        // Experts may be one tensor here and many there.
        let (ours, theirs) = (bytes(self), bytes(other));
        self.parts.iter().zip(&ours).all(|(part, range)| {
            other.parts.iter().zip(&theirs).all(|(theirs, their_range)| {
                let start = range.start.max(their_range.start);
                let end = range.end.min(their_range.end);
                start >= end
                    || are_same(
                        &part.view().bytes()[start - range.start..end - range.start],
                        &theirs.view().bytes()[start - their_range.start..end - their_range.start],
                    )
            })
        })
    }

    /// The tensor as it is stored, if it is one and is read as it is.
    pub(crate) fn stored(&self) -> Option<TensorView<'_>> {
        self.as_is(&self.layout).map(Tensor::view)
    }

    /// The digest of its bytes, one part after the other; of computed values, that of them.
    ///
    /// # Errors
    /// When values cannot be computed.
    pub(crate) fn hash(&self) -> Result<Hash128, Error> {
        if self.computed.is_some() {
            return self.hash_values();
        }
        let parts: Vec<&[u8]> = self.parts.iter().map(|part| part.view().bytes()).collect();
        Ok(Hash128::of_parts(&parts))
    }

    /// Its values in runs, in the order in which they are stored.
    pub(crate) fn runs(&self) -> impl IndexedParallelIterator<Item = Vec<f32>> {
        let (dtype, offset) = (self.dtype(), self.offset);
        let parts = self.parts.iter();
        let runs: Vec<&[u8]> =
            parts.flat_map(|part| part.view().bytes().chunks(run_bytes(dtype))).collect();
        runs.into_par_iter().map(move |run| {
            let mut values = decoded(dtype, run);
            if offset != 0.0 {
                values.iter_mut().for_each(|value| *value += offset);
            }
            values
        })
    }

    fn hash_values(&self) -> Result<Hash128, Error> {
        let (rows, step) = (self.rows_and_cols().0, self.rows_per_chunk());
        let mut hasher = Hasher128::default();
        let batch = step.saturating_mul(HASHED_CHUNKS);
        for first in (0..rows).step_by(batch) {
            let end = first.saturating_add(batch).min(rows);
            let firsts: Vec<usize> = (first..end).step_by(step).collect();
            let read = |first: &usize| self.read(*first..first.saturating_add(step).min(end));
            let chunks: Vec<_> = firsts.par_iter().map(read).collect();
            for chunk in chunks {
                let bytes: Vec<u8> = chunk?.iter().flat_map(|value| value.to_le_bytes()).collect();
                hasher.update(&bytes);
            }
        }
        Ok(hasher.digest())
    }

    /// Whether the source has the transpose of what is stored.
    pub(crate) const fn transposed(&self) -> bool {
        self.transposed && self.computed.is_none()
    }

    /// Its name, for messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a tensor of this layout is a copy of the source, byte for byte.
    pub(crate) fn is_kept_as(&self, layout: &TensorLayout) -> bool {
        self.keeps_bytes_of_rows(layout) && self.lines.are_same()
    }

    /// Whether every row of a tensor of this layout is a row of the source, byte for byte.
    pub(crate) fn keeps_bytes_of_rows(&self, layout: &TensorLayout) -> bool {
        let keeps_rows = self.lines.are_same() || !self.is_vector();
        self.computed.is_none()
            && !self.transposed
            && self.dtype() == layout.dtype()
            && self.offset == 0.0
            && keeps_rows
    }

    fn is_vector(&self) -> bool {
        self.layout.shape().len() < 2
    }

    /// A row of the source, with the part that has it.
    fn row(&self, row: usize) -> (TensorView<'_>, Range<usize>) {
        let rows = self.layout.row_count() / self.parts.len();
        (self.parts[row / rows].view(), row % rows..row % rows + 1)
    }

    /// The bytes of a range of rows.
    ///
    /// # Errors
    /// When the tensor does not have these rows.
    pub(crate) fn copy_rows(&self, rows: Range<usize>, out: &mut [u8]) -> Result<(), TensorError> {
        let row_bytes = self.layout.row_bytes();
        for (row, out) in rows.zip(out.chunks_exact_mut(row_bytes.max(1))) {
            let (part, row) = self.row(self.lines.of(row));
            out.copy_from_slice(part.row_bytes(row)?);
        }
        Ok(())
    }

    /// `[rows, cols]` as the decoder sees them.
    pub(crate) fn rows_and_cols(&self) -> (usize, usize) {
        let (rows, cols) = (self.layout.row_count(), self.layout.row_elems());
        if self.transposed { (cols, rows) } else { (rows, cols) }
    }

    /// The row ranges that are handled one at a time.
    pub(crate) fn chunks(&self) -> impl IndexedParallelIterator<Item = Range<usize>> {
        let (rows, _) = self.rows_and_cols();
        let step = self.rows_per_chunk();
        (0..rows.div_ceil(step))
            .into_par_iter()
            .map(move |chunk| chunk * step..((chunk + 1) * step).min(rows))
    }

    pub(crate) fn rows_per_chunk(&self) -> usize {
        let (_, cols) = self.rows_and_cols();
        let block = self.computed.as_ref().map_or(1, |computed| computed.block);
        (CHUNK_ELEMS / cols.max(1)).max(1).next_multiple_of(block.max(self.block_rows()))
    }

    /// Rows of the result that are columns of the source are whole blocks there.
    fn block_rows(&self) -> usize {
        if self.transposed { self.layout.dtype().block_elems() } else { 1 }
    }

    /// The values of a range of rows, which begins and ends where
    /// [chunks](Self::rows_per_chunk) do.
    ///
    /// # Errors
    /// Names the first value that is not finite.
    pub(crate) fn read(&self, rows: Range<usize>) -> Result<Vec<f32>, Error> {
        let values = self.values(&rows)?;
        if Kernels::best().run(AllFinite(&values)) {
            return Ok(values);
        }
        let (_, cols) = self.rows_and_cols();
        let at = values.iter().position(|value| !value.is_finite()).unwrap_or_default();
        Err(self.not_finite(rows.start * cols + at, values[at]))
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// Names the first value that is not finite.
    pub(crate) fn check_finite(&self) -> Result<(), Error> {
        let read: Vec<Result<(), Error>> =
            self.chunks().map(|rows| self.read(rows).map(drop)).collect();
        read.into_iter().collect()
    }

    /// The values of a range of rows, finite or not.
    ///
    /// # Errors
    /// When the tensor does not have these rows.
    pub(crate) fn values(&self, rows: &Range<usize>) -> Result<Vec<f32>, Error> {
        let mut values = match &self.computed {
            Some(computed) => computed.values.rows(rows.clone())?,
            None => self.decode(rows)?,
        };
        if self.offset != 0.0 {
            values.iter_mut().for_each(|value| *value += self.offset);
        }
        Ok(values)
    }

    fn decode(&self, rows: &Range<usize>) -> Result<Vec<f32>, Error> {
        let (_, cols) = self.rows_and_cols();
        let mut values = vec![0.0; rows.len() * cols];
        let read = match (self.transposed, &self.parts[..]) {
            (true, [only, ..]) => self.read_transposed(only.view(), rows, &mut values),
            (false, [only]) if self.lines.are_same() => only
                .view()
                .row_bytes(rows.clone())
                .and_then(|bytes| Kernels::best().decode(self.layout.dtype(), bytes, &mut values)),
            _ if self.is_vector() => self.read_vector(&mut values),
            _ => {
                rows.clone().zip(values.chunks_exact_mut(cols.max(1))).try_for_each(|(row, out)| {
                    let (part, row) = self.row(self.lines.of(row));
                    part.decode_rows(row, out)
                })
            }
        };
        read.map_err(Error::layout(&self.path, self.name()))?;
        Ok(values)
    }

    /// A vector whose elements change their places.
    fn read_vector(&self, values: &mut [f32]) -> Result<(), TensorError> {
        let mut source = vec![0.0; values.len()];
        let (part, row) = self.row(0);
        part.decode_rows(row, &mut source)?;
        for (at, value) in values.iter_mut().enumerate() {
            *value = source[self.lines.of(at)];
        }
        Ok(())
    }

    /// Column `r` of the source is row `r` of the result.
    fn read_transposed(
        &self,
        tensor: TensorView<'_>,
        rows: &Range<usize>,
        values: &mut [f32],
    ) -> Result<(), TensorError> {
        let (_, cols) = self.rows_and_cols();
        let (kernels, len) = (Kernels::best(), rows.len());
        let mut tile = vec![0.0; len * TILE];
        for first in (0..cols).step_by(TILE) {
            let width = TILE.min(cols - first);
            for (col, out) in (first..first + width).zip(tile.chunks_exact_mut(len.max(1))) {
                kernels.decode(tensor.dtype(), tensor.column_bytes(col, rows.clone())?, out)?;
            }
            for (row, values) in values.chunks_exact_mut(cols).enumerate() {
                for (at, value) in values[first..first + width].iter_mut().enumerate() {
                    *value = tile[at * len + row];
                }
            }
        }
        Ok(())
    }

    /// `at` counts elements in the order in which they were read.
    fn not_finite(&self, at: usize, value: f32) -> Error {
        let (_, cols) = self.rows_and_cols();
        let at = if self.is_vector() {
            self.lines.of(at)
        } else {
            self.lines.of(at / cols) * cols + at % cols
        };
        let part = self.layout.elem_count() / self.parts.len();
        let (tensor, mut rest) = (self.names[at / part].clone(), at % part);
        let index = if self.transposed {
            vec![at % cols, at / cols]
        } else {
            let shape = self.parts[0].layout().shape();
            let mut index: Vec<usize> = shape
                .iter()
                .rev()
                .map(|&dim| {
                    let within = rest % dim;
                    rest /= dim;
                    within
                })
                .collect();
            index.reverse();
            index
        };
        Error::NotFinite { path: self.path.clone(), tensor, index, value }
    }
}

/// Whether these are the same bytes; long ones are compared by all threads.
fn are_same(a: &[u8], b: &[u8]) -> bool {
    const PIECE: usize = 1 << 20;
    a.len() == b.len() && a.par_chunks(PIECE).zip(b.par_chunks(PIECE)).all(|(a, b)| a == b)
}
