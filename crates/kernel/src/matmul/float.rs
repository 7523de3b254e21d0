//! Products in single precision: straight from the weights where the kernels know their type, and
//! from decoded panels else.

use super::columns::ColumnsMut;
use super::{Split, TASKS_PER_THREAD};
use crate::Kernels;
use crate::float::{FEW_TOKENS, FloatOperands, PANEL_COLS};
use crate::kernels::Rows;
use apr_tensor::{DType, TensorView};
use std::cell::RefCell;
use std::ops::Range;
use zerocopy::IntoBytes;

/// Rows that many tokens meet before the next ones: with [`PANEL_COLS`] columns they fit the second
/// cache. Whole tiles of every instruction set.
const BLOCK_ROWS: usize = 48;
/// Rows of a task with many tokens are a multiple of this.
const TILE_ROWS: usize = 8;

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch { sums: Vec::new(), panel: Vec::new() }) };
}

/// What a task keeps from one product to the next.
struct Scratch {
    /// The sums of all tokens with the rows of a block.
    sums: Vec<f32>,
    /// Decoded weights.
    panel: Vec<f32>,
}

/// The operands that the tasks share.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    pub(super) kernels: &'a Kernels,
    pub(super) block: Rows<'a>,
    pub(super) weights: TensorView<'a>,
    pub(super) cols: usize,
    pub(super) input: &'a [f32],
}

impl Product<'_> {
    fn tokens(&self) -> usize {
        self.input.len() / self.cols
    }

    /// Rows of weights per task.
    pub(super) fn task_width(&self, split: Split) -> usize {
        let rows = self.weights.layout().row_count();
        if self.tokens() <= FEW_TOKENS {
            return split.task_rows(self.weights).next_multiple_of(TILE_ROWS);
        }
        rows.div_ceil(split.threads * TASKS_PER_THREAD).next_multiple_of(TILE_ROWS).min(BLOCK_ROWS)
    }

    /// Computes the outputs of some rows of weights.
    pub(super) fn compute(&self, part: &mut ColumnsMut<'_>) {
        let columns = part.columns();
        SCRATCH.with_borrow_mut(|Scratch { sums, panel }| {
            for start in (0..columns.len()).step_by(BLOCK_ROWS) {
                let count = BLOCK_ROWS.min(columns.len() - start);
                let rows = columns.start + start..columns.start + start + count;
                sums.clear();
                sums.resize(self.tokens() * count, 0.0);
                if self.block.multiplies_packed() {
                    self.multiply_packed(rows, sums);
                } else {
                    self.multiply_decoded(rows, panel, sums);
                }
                for (token, sums) in sums.chunks_exact(count).enumerate() {
                    part.row(token)[start..][..count].copy_from_slice(sums);
                }
            }
        });
    }

    /// All columns of these rows as they lie there.
    fn multiply_packed(&self, rows: Range<usize>, sums: &mut [f32]) {
        let operands = FloatOperands {
            weights: self
                .weights
                .row_bytes(rows.clone())
                .expect("the output has a column per row of weights"),
            row_bytes: self.weights.layout().row_bytes(),
            rows: rows.len(),
            input: self.input,
            stride: self.cols,
            tokens: self.tokens(),
            cols: self.cols,
        };
        self.block.multiply(operands, sums);
    }

    /// Panels of these rows, decoded to single precision.
    fn multiply_decoded(&self, rows: Range<usize>, panel: &mut Vec<f32>, sums: &mut [f32]) {
        let floats = self.kernels.block(DType::F32).expect("every table multiplies floats");
        for start in (0..self.cols).step_by(PANEL_COLS) {
            let cols = start..self.cols.min(start + PANEL_COLS);
            self.decode_panel(rows.clone(), cols.clone(), panel);
            let operands = FloatOperands {
                weights: panel.as_bytes(),
                row_bytes: cols.len() * size_of::<f32>(),
                rows: rows.len(),
                input: &self.input[start..],
                stride: self.cols,
                tokens: self.tokens(),
                cols: cols.len(),
            };
            floats.multiply(operands, sums);
        }
    }
    /// Decodes these columns of these rows, one row after the other.
    fn decode_panel(&self, rows: Range<usize>, cols: Range<usize>, panel: &mut Vec<f32>) {
        let bytes = self.weights.layout().column_bytes(cols.clone());
        let bytes = bytes.expect("panels begin and end with a block");
        panel.resize(rows.len() * cols.len(), 0.0);
        for (row, values) in super::rows(self.weights, rows).zip(panel.chunks_exact_mut(cols.len()))
        {
            self.block.decode(&row[bytes.clone()], values);
        }
        // Weights have the byte order of files.
        panel.iter_mut().for_each(|value| *value = f32::from_bits(value.to_bits().to_le()));
    }
}
