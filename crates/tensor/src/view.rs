//! Tensors: a layout together with exactly its bytes.
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    reason = "everything parsed here may be hostile"
)]

use crate::{Block, DType, TensorError, TensorLayout};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use zerocopy::FromBytes;

/// Borrowed bytes of a tensor. It cannot exist with another length than its layout's.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    layout: &'a TensorLayout,
    bytes: &'a [u8],
}

impl<'a> TensorView<'a> {
    /// # Errors
    /// When `bytes` are not exactly those of `layout`.
    pub fn new(layout: &'a TensorLayout, bytes: &'a [u8]) -> Result<Self, TensorError> {
        check(layout, bytes.len())?;
        Ok(Self { layout, bytes })
    }

    /// Type, shape and sizes.
    #[must_use]
    pub const fn layout(&self) -> &'a TensorLayout {
        self.layout
    }

    /// Type of the elements.
    #[must_use]
    pub const fn dtype(&self) -> DType {
        self.layout.dtype()
    }

    /// All bytes.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The blocks, typed.
    ///
    /// # Errors
    /// When the tensor is of another type.
    #[allow(clippy::expect_used, reason = "a view exists only with whole blocks")]
    pub fn blocks<B: Block>(&self) -> Result<&'a [B], TensorError> {
        if self.dtype() != B::DTYPE {
            return Err(TensorError::WrongType { expected: B::DTYPE, found: self.dtype() });
        }
        Ok(<[B]>::ref_from_bytes(self.bytes).expect("the layout holds whole blocks"))
    }

    /// The bytes of a range of rows.
    ///
    /// # Errors
    /// When the tensor does not have these rows.
    pub fn row_bytes(&self, rows: Range<usize>) -> Result<&'a [u8], TensorError> {
        let (start, end, count) = (rows.start, rows.end, self.layout.row_count());
        if start > end || end > count {
            return Err(TensorError::RowRange { start, end, rows: count });
        }
        let rows = self.layout.rows_bytes(start)..self.layout.rows_bytes(end);
        self.bytes.get(rows).ok_or(TensorError::RowRange { start, end, rows: count })
    }

    /// Decodes a range of rows into `out`, which has exactly their elements.
    ///
    /// # Errors
    /// When the tensor does not have these rows, or `out` another length.
    pub fn decode_rows(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), TensorError> {
        self.dtype().decode(self.row_bytes(rows)?, out)
    }

    /// The bytes of a range of columns of one row.
    ///
    /// # Errors
    /// When the tensor does not have this row, the range is past the row, or cuts a block.
    pub fn column_bytes(&self, row: usize, columns: Range<usize>) -> Result<&'a [u8], TensorError> {
        let bytes = self.row_bytes(row..row.saturating_add(1))?;
        let (start, end) = (columns.start, columns.end);
        let (row, block) = (self.layout.row_elems(), self.dtype().block_elems());
        let range = self.layout.column_bytes(columns)?;
        bytes.get(range).ok_or(TensorError::ColumnRange { start, end, row, block })
    }

    /// Decodes a range of columns of one row into `out`, which has exactly their elements.
    ///
    /// # Errors
    /// When the range is past the row, cuts a block, or `out` has another length.
    pub fn decode_columns(
        &self,
        row: usize,
        columns: Range<usize>,
        out: &mut [f32],
    ) -> Result<(), TensorError> {
        self.dtype().decode(self.column_bytes(row, columns)?, out)
    }

    /// All values in single precision.
    #[must_use]
    #[allow(clippy::expect_used, reason = "a view exists only with the bytes of its layout")]
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.layout.elem_count()];
        self.dtype().decode(self.bytes, &mut out).expect("bytes are those of the layout");
        out
    }
}

/// Memory that tensors share: a file map or a buffer.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A tensor that keeps its bytes alive, owned or within a file map.
#[derive(Clone)]
pub struct Tensor {
    layout: TensorLayout,
    memory: SharedBytes,
    range: Range<usize>,
}

impl Tensor {
    /// A tensor over `range` of shared memory.
    ///
    /// # Errors
    /// When the range is not exactly as long as the layout, or past the end of the memory.
    pub fn shared(
        layout: TensorLayout,
        memory: SharedBytes,
        range: Range<usize>,
    ) -> Result<Self, TensorError> {
        let found = (*memory).as_ref().get(range.clone()).map_or(0, <[u8]>::len);
        check(&layout, found)?;
        Ok(Self { layout, memory, range })
    }

    /// A tensor that owns its bytes.
    ///
    /// # Errors
    /// When `bytes` are not exactly those of `layout`.
    pub fn owned(layout: TensorLayout, bytes: Vec<u8>) -> Result<Self, TensorError> {
        let range = 0..bytes.len();
        Self::shared(layout, Arc::new(bytes), range)
    }

    /// Type, shape and sizes.
    #[must_use]
    pub const fn layout(&self) -> &TensorLayout {
        &self.layout
    }

    /// A range of its rows as a matrix `[rows, cols]` that shares its memory.
    ///
    /// # Errors
    /// When the tensor does not have these rows.
    pub fn rows(&self, rows: Range<usize>) -> Result<Self, TensorError> {
        let (start, end, count) = (rows.start, rows.end, self.layout.row_count());
        if start > end || end > count {
            return Err(TensorError::RowRange { start, end, rows: count });
        }
        let layout = TensorLayout::new(
            self.layout.dtype(),
            &[end.saturating_sub(start), self.layout.row_elems()],
        )?;
        let first = self.range.start.saturating_add(self.layout.rows_bytes(start));
        let range = first..first.saturating_add(layout.byte_len());
        Self::shared(layout, self.memory.clone(), range)
    }

    /// The layout, the memory and the tensor's place in it.
    #[must_use]
    pub fn into_parts(self) -> (TensorLayout, SharedBytes, Range<usize>) {
        (self.layout, self.memory, self.range)
    }

    /// The bytes, borrowed.
    #[must_use]
    #[allow(clippy::indexing_slicing, reason = "the range was checked when the tensor was made")]
    pub fn view(&self) -> TensorView<'_> {
        let bytes = &(*self.memory).as_ref()[self.range.clone()];
        TensorView { layout: &self.layout, bytes }
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tensor").field("layout", &self.layout).finish_non_exhaustive()
    }
}

fn check(layout: &TensorLayout, found: usize) -> Result<(), TensorError> {
    if found == layout.byte_len() {
        return Ok(());
    }
    Err(TensorError::ByteLength {
        dtype: layout.dtype(),
        shape: layout.shape().to_vec(),
        expected: layout.byte_len(),
        found,
    })
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "an overflow is a failed test")]
mod tests {
    use super::*;
    use crate::{BlockQ4_0, BlockQ8_0};

    #[test]
    fn only_exact_bytes_make_a_tensor() {
        let layout = TensorLayout::new(DType::Q8_0, &[2, 32]).unwrap();
        for len in [0, 34, 67, 69] {
            assert_eq!(
                TensorView::new(&layout, &vec![0; len]).unwrap_err(),
                TensorError::ByteLength {
                    dtype: DType::Q8_0,
                    shape: vec![2, 32],
                    expected: 68,
                    found: len
                }
            );
        }
        let bytes = vec![0; 68];
        let view = TensorView::new(&layout, &bytes).unwrap();
        assert_eq!(view.blocks::<BlockQ8_0>().unwrap().len(), 2);
        assert!(matches!(view.blocks::<BlockQ4_0>(), Err(TensorError::WrongType { .. })));
        assert_eq!(view.row_bytes(1..2).unwrap().len(), 34);
        assert!(matches!(view.row_bytes(1..3), Err(TensorError::RowRange { .. })));
    }

    #[test]
    fn columns_are_whole_blocks_of_a_row() {
        let layout = TensorLayout::new(DType::Q8_0, &[2, 64]).unwrap();
        let mut bytes = vec![0; 136];
        bytes[34 * 3 + 1] = 0x3c; // scale 1.0 of the last block
        bytes[34 * 3 + 2] = 5;
        let view = TensorView::new(&layout, &bytes).unwrap();
        let mut out = [0.0; 32];
        view.decode_columns(1, 32..64, &mut out).unwrap();
        assert_eq!(out[0], 5.0);
        for columns in [31..63, 32..96, Range { start: 64, end: 32 }] {
            assert!(view.decode_columns(1, columns, &mut out).is_err());
        }
        assert!(view.decode_columns(2, 0..32, &mut out).is_err());
    }

    #[test]
    fn rows_share_the_memory_of_their_tensor() {
        let layout = TensorLayout::new(DType::U8, &[2, 3, 2]).unwrap();
        let tensor = Tensor::owned(layout, (0..12).collect()).unwrap();
        let second = tensor.rows(3..6).unwrap();
        assert_eq!(second.layout().shape(), [3, 2]);
        assert_eq!(second.view().bytes(), [6, 7, 8, 9, 10, 11]);
        assert!(std::ptr::eq(&second.view().bytes()[0], &tensor.view().bytes()[6]));
        assert_eq!(second.rows(1..2).unwrap().view().bytes(), [8, 9]);
        for rows in [3..7, Range { start: 2, end: 1 }] {
            assert!(matches!(tensor.rows(rows), Err(TensorError::RowRange { .. })));
        }
        assert!(second.rows(3..4).is_err());
    }

    #[test]
    fn shared_memory_is_checked_at_its_end() {
        let layout = TensorLayout::new(DType::U8, &[4]).unwrap();
        let memory: SharedBytes = Arc::new(vec![0, 1, 2, 3, 4]);
        let tensor = Tensor::shared(layout.clone(), memory.clone(), 1..5).unwrap();
        assert_eq!(tensor.view().to_f32(), [1.0, 2.0, 3.0, 4.0]);
        assert!(Tensor::shared(layout, memory, 2..6).is_err());
    }
}
