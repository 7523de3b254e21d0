//! Products in single precision: what their bits are, and the portable function.
//!
//! A row of weights and an input meet in panels of [`PANEL_COLS`] columns. Within a panel a sum has
//! [`LANES`] lanes, and column `k` goes to lane `k % LANES`; the upper half of the lanes is added to
//! the lower one until one is left. The sums of the panels are added in their order. No other
//! row and no other input is part of it, so that a token has the same bits alone and in a batch.

use crate::scalar::blocks;
use apr_tensor::BlockF32;

/// Lanes of a sum.
pub(crate) const LANES: usize = 16;
/// Columns that are added up before their sum is rounded into that of the row: whole blocks of
/// every type, and few enough for the inputs of a tile to stay in the nearest cache.
pub(crate) const PANEL_COLS: usize = 1024;
/// Tokens up to which a product is bound by reading the weights: a few rows meet all of them
/// before the next rows are read.
pub(crate) const FEW_TOKENS: usize = 32;

/// Adds the products of rows of weights with inputs to sums, `[token][row]`.
pub(crate) type MultiplyFloats = unsafe fn(FloatOperands<'_>, &mut [f32]);

/// The operands of a product.
#[derive(Clone, Copy)]
pub(crate) struct FloatOperands<'a> {
    /// Rows that begin every `row_bytes`.
    pub(crate) weights: &'a [u8],
    pub(crate) row_bytes: usize,
    pub(crate) rows: usize,
    /// Inputs that begin every `stride`.
    pub(crate) input: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) tokens: usize,
    /// Columns that meet, from the beginning of each row and of each input.
    pub(crate) cols: usize,
}

impl<'a> FloatOperands<'a> {
    /// # Panics
    /// When the operands, of elements of so many bytes, or the sums are too short.
    pub(crate) fn check(&self, elem_bytes: usize, sums: &[f32]) {
        let row = self.cols * elem_bytes;
        let weights = self.rows.saturating_sub(1) * self.row_bytes + row.min(self.rows * row);
        assert!(self.weights.len() >= weights, "{} bytes of {weights}", self.weights.len());
        let cols = self.cols.min(self.tokens * self.cols);
        let input = self.tokens.saturating_sub(1) * self.stride + cols;
        assert!(self.input.len() >= input, "{} elements of {input}", self.input.len());
        assert_eq!(sums.len(), self.tokens * self.rows, "a sum for each token and row");
    }

    fn row(&self, row: usize) -> &'a [BlockF32] {
        blocks(&self.weights[row * self.row_bytes..][..self.cols * size_of::<BlockF32>()])
    }

    fn token(&self, token: usize) -> &'a [f32] {
        &self.input[token * self.stride..][..self.cols]
    }
}

/// The portable product, with weights in single precision.
pub(crate) fn multiply(operands: FloatOperands<'_>, sums: &mut [f32]) {
    operands.check(size_of::<BlockF32>(), sums);
    for (token, sums) in sums.chunks_exact_mut(operands.rows.max(1)).enumerate() {
        let input = operands.token(token);
        for (row, sum) in sums.iter_mut().enumerate() {
            let panels = operands.row(row).chunks(PANEL_COLS).zip(input.chunks(PANEL_COLS));
            panels.for_each(|(weights, input)| *sum += dot(weights, input));
        }
    }
}

fn dot(weights: &[BlockF32], input: &[f32]) -> f32 {
    let (weights, weights_tail) = weights.as_chunks::<LANES>();
    let (input, input_tail) = input.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for (weights, input) in weights.iter().zip(input) {
        add_products(&mut lanes, weights, input);
    }
    add_products(&mut lanes, weights_tail, input_tail);
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0]
}

#[inline(always)]
fn add_products(lanes: &mut [f32; LANES], weights: &[BlockF32], input: &[f32]) {
    for ((lane, weight), x) in lanes.iter_mut().zip(weights).zip(input) {
        *lane += weight.0.get() * x;
    }
}
