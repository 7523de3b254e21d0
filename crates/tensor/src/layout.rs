//! Type and shape to bytes: the only arithmetic between elements and bytes in the project.
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    reason = "everything parsed here may be hostile"
)]

use crate::{DType, TensorError};
use std::fmt;
use std::ops::Range;

/// Dimensions that a tensor may have at most.
pub const MAX_RANK: usize = 8;

/// A type and a shape whose size in bytes is known to exist.
///
/// Dimensions are outermost first (`[rows, cols]`); the last one is contiguous in memory and must
/// hold whole blocks, so that every row begins with a block of its own.
///
/// ```
/// use apr_tensor::{DType, TensorLayout};
/// let layout = TensorLayout::new(DType::Q8_0, &[960, 576])?;
/// assert_eq!(layout.elem_count(), 552_960);
/// assert_eq!(layout.byte_len(), 960 * (576 / 32) * 34);
/// // 31 × 32 elements are a whole number of blocks, and still no whole number per row.
/// assert!(TensorLayout::new(DType::Q8_0, &[32, 31]).is_err());
/// # Ok::<(), apr_tensor::TensorError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorLayout {
    dtype: DType,
    shape: Vec<usize>,
    elem_count: usize,
    row_elems: usize,
    row_bytes: usize,
    byte_len: usize,
}

impl TensorLayout {
    /// # Errors
    /// When there are more than [`MAX_RANK`] dimensions, when a row is no whole number of blocks,
    /// or when the size in elements or bytes overflows.
    pub fn new(dtype: DType, shape: &[usize]) -> Result<Self, TensorError> {
        if shape.len() > MAX_RANK {
            return Err(TensorError::RankTooHigh { rank: shape.len() });
        }
        let row_elems = shape.last().copied().unwrap_or(1);
        let block = dtype.block_elems();
        if !row_elems.is_multiple_of(block) {
            return Err(TensorError::PartialBlock { dtype, row: row_elems, block });
        }
        let bytes_of = |elems: usize| elems.checked_div(block)?.checked_mul(dtype.block_bytes());
        let too_large = || TensorError::TooLarge { dtype, shape: shape.to_vec() };
        // A zero dimension must not hide an overflow of the others: their product bounds the work
        // that any loop over rows does.
        let product = shape
            .iter()
            .try_fold(1_usize, |product, &dim| product.checked_mul(dim.max(1)))
            .ok_or_else(too_large)?;
        let elem_count = if shape.contains(&0) { 0 } else { product };
        let row_bytes = bytes_of(row_elems).ok_or_else(too_large)?;
        let byte_len = bytes_of(elem_count).ok_or_else(too_large)?;
        Ok(Self { dtype, shape: shape.to_vec(), elem_count, row_elems, row_bytes, byte_len })
    }

    /// The same shape in another type.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_dtype(&self, dtype: DType) -> Result<Self, TensorError> {
        Self::new(dtype, &self.shape)
    }

    /// Size in bytes of `rows` rows, which the tensor has; of more, the largest value there is.
    #[must_use]
    pub fn rows_bytes(&self, rows: usize) -> usize {
        debug_assert!(rows <= self.row_count());
        rows.saturating_mul(self.row_bytes)
    }

    /// The bytes of a range of columns within a row.
    ///
    /// # Errors
    /// When the range is past the row or cuts a block.
    pub fn column_bytes(&self, columns: Range<usize>) -> Result<Range<usize>, TensorError> {
        let block = self.dtype.block_elems();
        let aligned = columns.start.is_multiple_of(block) && columns.end.is_multiple_of(block);
        let (start, end, row) = (columns.start, columns.end, self.row_elems);
        let at = |column: usize| column.checked_div(block)?.checked_mul(self.dtype.block_bytes());
        match (at(start), at(end)) {
            (Some(from), Some(to)) if start <= end && end <= row && aligned => Ok(from..to),
            _ => Err(TensorError::ColumnRange { start, end, row, block }),
        }
    }

    /// Type of the elements.
    #[must_use]
    pub const fn dtype(&self) -> DType {
        self.dtype
    }

    /// Dimensions, outermost first; empty for a scalar.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements; 1 for a scalar.
    #[must_use]
    pub const fn elem_count(&self) -> usize {
        self.elem_count
    }

    /// Size in bytes.
    #[must_use]
    pub const fn byte_len(&self) -> usize {
        self.byte_len
    }

    /// Elements of a row: the last dimension.
    #[must_use]
    pub const fn row_elems(&self) -> usize {
        self.row_elems
    }

    /// Bytes of a row.
    #[must_use]
    pub const fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// Number of rows: the product of all dimensions but the last.
    #[must_use]
    pub const fn row_count(&self) -> usize {
        match self.elem_count.checked_div(self.row_elems) {
            Some(rows) => rows,
            None => 0,
        }
    }
}

impl fmt::Display for TensorLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.dtype, self.shape)
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "an overflow is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_every_type() {
        for &dtype in DType::ALL {
            let layout = TensorLayout::new(dtype, &[3, 512]).unwrap();
            assert_eq!(layout.row_count(), 3);
            assert_eq!(layout.row_bytes(), 512 / dtype.block_elems() * dtype.block_bytes());
            assert_eq!(layout.byte_len(), 3 * layout.row_bytes());
        }
    }

    #[test]
    fn scalars_and_empty_tensors() {
        let scalar = TensorLayout::new(DType::F32, &[]).unwrap();
        assert_eq!((scalar.elem_count(), scalar.byte_len(), scalar.row_count()), (1, 4, 1));
        let empty = TensorLayout::new(DType::Q8_0, &[4, 0]).unwrap();
        assert_eq!((empty.elem_count(), empty.byte_len(), empty.row_count()), (0, 0, 0));
    }

    #[test]
    fn impossible_shapes_are_refused() {
        let half = usize::MAX / 2;
        for shape in [&[half, 3][..], &[half, 0, 3], &[half / 2, 1]] {
            assert!(
                matches!(TensorLayout::new(DType::F64, shape), Err(TensorError::TooLarge { .. })),
                "{shape:?}"
            );
        }
        assert_eq!(
            TensorLayout::new(DType::Q4_0, &[32, 31]),
            Err(TensorError::PartialBlock { dtype: DType::Q4_0, row: 31, block: 32 })
        );
        assert_eq!(
            TensorLayout::new(DType::F32, &[1; MAX_RANK + 1]),
            Err(TensorError::RankTooHigh { rank: MAX_RANK + 1 })
        );
    }
}
