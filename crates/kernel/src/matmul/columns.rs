//! The output of a product, handed out in disjoint ranges of columns.
#![allow(unsafe_code, reason = "columns of a row-major matrix are no slice")]

use std::marker::PhantomData;
use std::ops::Range;

/// Exclusive access to a range of the columns of a row-major matrix.
///
/// Invariant, established by [`split`](Self::split), the only constructor: `base` is valid for
/// reads and writes of `height * stride` elements for `'a`, `columns` lies within `0..stride`, and
/// no other value alive refers to those columns.
pub(super) struct ColumnsMut<'a> {
    base: *mut f32,
    height: usize,
    stride: usize,
    columns: Range<usize>,
    matrix: PhantomData<&'a mut [f32]>,
}

// SAFETY: by the invariant this is an exclusive borrow of its elements, and `&mut [f32]` is `Send`.
unsafe impl Send for ColumnsMut<'_> {}

impl<'a> ColumnsMut<'a> {
    /// Splits a matrix of rows of `stride` elements into parts of `width` columns, the last one
    /// with the rest. Elements after the last whole row belong to no part.
    pub(super) fn split(matrix: &'a mut [f32], stride: usize, width: usize) -> Vec<Self> {
        let height = matrix.len().checked_div(stride).unwrap_or(0);
        let base = matrix.as_mut_ptr();
        // `base` is used in the parts alone, and each column is in one of them.
        (0..stride)
            .step_by(width)
            .map(|start| Self {
                base,
                height,
                stride,
                columns: start..start.saturating_add(width).min(stride),
                matrix: PhantomData,
            })
            .collect()
    }

    /// Which columns these are.
    pub(super) fn columns(&self) -> Range<usize> {
        self.columns.clone()
    }

    /// The elements of one row in these columns.
    pub(super) fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.height, "row {row} of {}", self.height);
        let start = row * self.stride + self.columns.start;
        // SAFETY: `row < height` and `columns` within `0..stride` place the elements within the
        // matrix. No other part has these columns, and the borrow of `self` keeps this part from
        // handing them out twice.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(start), self.columns.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_element_is_in_one_part() {
        for (height, stride, width) in [(0, 3, 2), (1, 1, 5), (3, 7, 2), (2, 6, 3), (4, 0, 2)] {
            let mut matrix = vec![0.0; height * stride];
            let mut parts = ColumnsMut::split(&mut matrix, stride, width);
            for part in &mut parts {
                for row in 0..height {
                    assert_eq!(part.row(row).len(), part.columns().len());
                    part.row(row).iter_mut().for_each(|element| *element += 1.0);
                }
            }
            assert!(matrix.iter().all(|&element| element == 1.0));
        }
    }

    #[test]
    #[should_panic(expected = "row 2 of 2")]
    fn rows_past_the_end_are_refused() {
        let mut matrix = [0.0; 6];
        ColumnsMut::split(&mut matrix, 3, 2)[0].row(2);
    }
}
