//! A source tensor as the decoder will see it: in single precision, rows by output.

use crate::Error;
use apr_model::PlacedTensor;
use apr_tensor::{DType, Tensor, TensorError, TensorLayout, TensorView};
use rayon::prelude::*;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Elements that one worker handles at a time. Fixed, so that results do not depend on the
/// number of threads; small enough for the second-level cache.
const CHUNK_ELEMS: usize = 1 << 14;

/// A source tensor and how it is to be read.
pub(crate) struct Source {
    tensor: Tensor,
    transposed: bool,
    name: String,
    path: PathBuf,
}

impl Source {
    pub(crate) fn new(tensor: Tensor, placed: &PlacedTensor, path: &Path) -> Self {
        let (name, path) = (placed.source.clone(), path.to_path_buf());
        Self { tensor, transposed: placed.transposed, name, path }
    }

    pub(crate) fn dtype(&self) -> DType {
        self.tensor.layout().dtype()
    }

    pub(crate) fn view(&self) -> TensorView<'_> {
        self.tensor.view()
    }

    /// The tensor itself, its bytes where they lie.
    pub(crate) fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    pub(crate) const fn transposed(&self) -> bool {
        self.transposed
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a tensor of this layout is a copy of the source, byte for byte.
    pub(crate) fn is_kept_as(&self, layout: &TensorLayout) -> bool {
        !self.transposed && self.dtype() == layout.dtype()
    }

    /// `[rows, cols]` as the decoder sees them.
    pub(crate) fn rows_and_cols(&self) -> (usize, usize) {
        let layout = self.tensor.layout();
        let (rows, cols) = (layout.row_count(), layout.row_elems());
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
        (CHUNK_ELEMS / cols.max(1)).max(1)
    }

    /// The values of a range of rows.
    ///
    /// # Errors
    /// Names the first value that is not finite.
    pub(crate) fn read(&self, rows: Range<usize>) -> Result<Vec<f32>, Error> {
        let (_, cols) = self.rows_and_cols();
        let mut values = vec![0.0; rows.len() * cols];
        let read = if self.transposed {
            self.read_transposed(&rows, &mut values)
        } else {
            self.view().decode_rows(rows.clone(), &mut values)
        };
        read.map_err(Error::layout(&self.path, &self.name))?;
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(at) => Err(self.not_finite(rows.start * cols + at, values[at])),
        }
    }

    /// Column `r` of the source is row `r` of the result.
    fn read_transposed(&self, rows: &Range<usize>, values: &mut [f32]) -> Result<(), TensorError> {
        let (_, cols) = self.rows_and_cols();
        let mut slice = vec![0.0; rows.len()];
        for col in 0..cols {
            self.view().decode_columns(col, rows.clone(), &mut slice)?;
            for (row, value) in slice.iter().enumerate() {
                values[row * cols + col] = *value;
            }
        }
        Ok(())
    }

    /// `at` counts elements in the order in which they were read.
    fn not_finite(&self, at: usize, value: f32) -> Error {
        let (_, cols) = self.rows_and_cols();
        let shape = self.tensor.layout().shape();
        let index = if self.transposed {
            vec![at % cols, at / cols]
        } else {
            let mut rest = at;
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
        Error::NotFinite { path: self.path.clone(), tensor: self.name.clone(), index, value }
    }
}
