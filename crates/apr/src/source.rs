//! A source tensor as the decoder will see it: in single precision, rows by output.

use crate::Error;
use apr_model::{PlacedTensor, RowOrder};
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
    rows: Rows,
    name: String,
    path: PathBuf,
}

/// Which row of the source is which row of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    /// The same.
    Same,
    /// Rows of heads of this size: halves of the source become neighbours.
    HalvesToNeighbours { head_dim: usize },
    /// Rows of heads of this size: neighbours of the source become halves.
    NeighboursToHalves { head_dim: usize },
}

impl Rows {
    fn new(from: RowOrder, to: RowOrder, head_dim: usize) -> Self {
        match (from, to) {
            (RowOrder::Halves, RowOrder::Neighbours) => Self::HalvesToNeighbours { head_dim },
            (RowOrder::Neighbours, RowOrder::Halves) => Self::NeighboursToHalves { head_dim },
            (RowOrder::Halves, RowOrder::Halves) | (RowOrder::Neighbours, RowOrder::Neighbours) => {
                Self::Same
            }
        }
    }

    fn of(self, row: usize) -> usize {
        match self {
            Self::Same => row,
            Self::HalvesToNeighbours { head_dim } => {
                let (head, within) = (row / head_dim, row % head_dim);
                head * head_dim + within % 2 * (head_dim / 2) + within / 2
            }
            Self::NeighboursToHalves { head_dim } => {
                let (head, within) = (row / head_dim, row % head_dim);
                let half = head_dim / 2;
                head * head_dim + within % half * 2 + within / half
            }
        }
    }
}

impl Source {
    /// The tensor as a file in which the rows of its heads have this order will hold it.
    pub(crate) fn new(tensor: Tensor, placed: &PlacedTensor, order: RowOrder, path: &Path) -> Self {
        let (name, path) = (placed.source.clone(), path.to_path_buf());
        let head_dim = placed.heads.map_or(1, |heads| tensor.layout().row_count() / heads);
        let rows = Rows::new(placed.row_order, order, head_dim);
        Self { tensor, transposed: placed.transposed, rows, name, path }
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
        self.keeps_bytes_of_rows(layout) && self.rows == Rows::Same
    }

    /// Whether every row of a tensor of this layout is a row of the source, byte for byte.
    pub(crate) fn keeps_bytes_of_rows(&self, layout: &TensorLayout) -> bool {
        !self.transposed && self.dtype() == layout.dtype()
    }

    /// The bytes of a range of rows.
    ///
    /// # Errors
    /// When the tensor does not have these rows.
    pub(crate) fn copy_rows(&self, rows: Range<usize>, out: &mut [u8]) -> Result<(), TensorError> {
        let row_bytes = self.tensor.layout().row_bytes();
        for (row, out) in rows.zip(out.chunks_exact_mut(row_bytes.max(1))) {
            let row = self.rows.of(row);
            out.copy_from_slice(self.view().row_bytes(row..row + 1)?);
        }
        Ok(())
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
        let read = match (self.transposed, self.rows) {
            (true, _) => self.read_transposed(&rows, &mut values),
            (false, Rows::Same) => self.view().decode_rows(rows.clone(), &mut values),
            (false, Rows::HalvesToNeighbours { .. } | Rows::NeighboursToHalves { .. }) => {
                rows.clone().zip(values.chunks_exact_mut(cols.max(1))).try_for_each(|(row, out)| {
                    let row = self.rows.of(row);
                    self.view().decode_rows(row..row + 1, out)
                })
            }
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
        let at = self.rows.of(at / cols) * cols + at % cols;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_orders_undo_each_other() {
        let there = Rows::HalvesToNeighbours { head_dim: 6 };
        let back = Rows::NeighboursToHalves { head_dim: 6 };
        let order: Vec<usize> = (0..12).map(|row| there.of(row)).collect();
        assert_eq!(order, [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]);
        assert!((0..12).all(|row| there.of(back.of(row)) == row));
    }
}
