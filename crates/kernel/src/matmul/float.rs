//! Products in single precision: rows are multiplied packed for a few tokens, and decoded in panels
//! that fit the cache for many.

use super::columns::ColumnsMut;
use super::{TASKS_PER_THREAD, rows, task_rows};
use crate::Kernels;
use crate::kernels::{Rows, TILE_ROWS, TILE_TOKENS};
use apr_tensor::TensorView;
use std::cell::RefCell;
use std::ops::Range;

/// From this number of tokens on, weights are decoded to panels instead of once per token.
pub(super) const PANEL_TOKENS: usize = TILE_TOKENS;
/// Weight rows of a panel at most, in whole tiles.
const PANEL_ROWS: usize = 8 * TILE_ROWS;
/// Columns of a panel: whole blocks of every type. Sums are rounded once per panel, so this
/// number is part of the results.
const PANEL_COLS: usize = 1024;

thread_local! {
    static PANEL: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Rows per task with panels: as many as a panel has, or fewer to keep all threads busy.
fn panel_rows(rows: usize, threads: usize) -> usize {
    rows.div_ceil(threads * TASKS_PER_THREAD).next_multiple_of(TILE_ROWS).min(PANEL_ROWS)
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
    fn has_panels(&self) -> bool {
        self.input.len() / self.cols >= PANEL_TOKENS
    }

    /// Rows of weights per task.
    pub(super) fn task_width(&self, threads: usize) -> usize {
        let rows = self.weights.layout().row_count();
        if self.has_panels() {
            panel_rows(rows, threads)
        } else {
            task_rows(self.weights, rows, threads)
        }
    }

    /// Computes the outputs of some rows of weights.
    pub(super) fn compute(&self, part: &mut ColumnsMut<'_>) {
        if self.has_panels() { self.by_panels(part) } else { self.row_by_row(part) }
    }

    /// A few tokens: each row of weights is read once from memory and decoded for each token.
    fn row_by_row(&self, part: &mut ColumnsMut<'_>) {
        for (i, weights) in rows(self.weights, part.columns()).enumerate() {
            for (token, input) in self.input.chunks_exact(self.cols).enumerate() {
                part.row(token)[i] = self.block.dot(weights, input);
            }
        }
    }

    /// Many tokens: a panel of weights is decoded once and multiplied with all of them.
    fn by_panels(&self, part: &mut ColumnsMut<'_>) {
        for token in 0..self.input.len() / self.cols {
            part.row(token).fill(0.0);
        }
        PANEL.with_borrow_mut(|panel| {
            panel.resize(PANEL_ROWS * PANEL_COLS, 0.0);
            for start in (0..self.cols).step_by(PANEL_COLS) {
                let cols = start..self.cols.min(start + PANEL_COLS);
                let panel = &mut panel[..part.columns().len() * cols.len()];
                self.decode_panel(part.columns(), cols.clone(), panel);
                self.multiply_panel(panel, cols, part);
            }
        });
    }

    /// Decodes these columns of these rows, one row after the other.
    fn decode_panel(&self, rows: Range<usize>, cols: Range<usize>, panel: &mut [f32]) {
        let bytes = self.weights.layout().column_bytes(cols.clone());
        let bytes = bytes.expect("panels begin and end with a block");
        for (row, values) in super::rows(self.weights, rows).zip(panel.chunks_exact_mut(cols.len()))
        {
            self.block.decode(&row[bytes.clone()], values);
        }
    }

    /// Adds the product of these columns of the input with the panel.
    fn multiply_panel(&self, panel: &[f32], cols: Range<usize>, part: &mut ColumnsMut<'_>) {
        let depth = cols.len();
        // Tiles at the edges repeat the last token and the last row; those sums are dropped.
        for (first, tokens) in self.input.chunks(TILE_TOKENS * self.cols).enumerate() {
            let count = tokens.len() / self.cols;
            let input = |t: usize| &tokens[t.min(count - 1) * self.cols..][cols.clone()];
            let inputs = [input(0), input(1), input(2), input(3)];
            for (tile, weights) in panel.chunks(TILE_ROWS * depth).enumerate() {
                let rows = weights.len() / depth;
                let row = |r: usize| &weights[r.min(rows - 1) * depth..][..depth];
                let sums = self.kernels.tile(inputs, [row(0), row(1), row(2)]);
                for (t, sums) in sums[..count].iter().enumerate() {
                    let out = &mut part.row(first * TILE_TOKENS + t)[tile * TILE_ROWS..];
                    out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
                }
            }
        }
    }
}
