//! Products of integers: inputs are rounded once per product. Few tokens are multiplied with packed
//! rows; for more, some rows at a time are unpacked to a panel that stays in the nearest cache
//! while all tokens pass.

use super::columns::ColumnsMut;
use super::{Split, rows};
use crate::activations::{PART, Part};
use crate::integer::{PANEL_ROWS, PanelPart, RUN_ROWS, RunInputs};
use crate::kernels::Packed;
use crate::{Kernels, Pool};
use apr_tensor::TensorView;
use std::cell::RefCell;

/// Parts of a panel: whole blocks of every type, and a panel of 19 KiB.
const PANEL_PARTS: usize = 8;
/// Tokens below which a product is bound by reading the weights, and tasks are long runs of rows.
const FEW_TOKENS: usize = 32;
/// Inputs that are rounded by one task.
const QUANTIZE_ELEMS: usize = 16 * 1024;

thread_local! {
    static PARTS: RefCell<Vec<Part>> = const { RefCell::new(Vec::new()) };
    static SUMS: RefCell<Vec<[f32; RUN_ROWS]>> = const { RefCell::new(Vec::new()) };
    static PANEL: RefCell<Panel> = const { RefCell::new(Panel { parts: Vec::new(), sums: Vec::new() }) };
}

/// What a task keeps from one product to the next.
struct Panel {
    parts: Vec<PanelPart>,
    /// The sums of all tokens with the rows of the panel.
    sums: Vec<[f32; PANEL_ROWS]>,
}

/// Calls `product` with the input rounded to integers. Its length is a multiple of [`PART`].
pub(super) fn quantized(
    kernels: &Kernels,
    pool: &Pool,
    input: &[f32],
    product: impl FnOnce(&[Part]),
) {
    assert!(input.len().is_multiple_of(PART), "blocks are whole parts");
    // Taken for the time of the product, so that a task that multiplies has a buffer of its own.
    let mut buffer = PARTS.take();
    let count = input.len() / PART;
    if buffer.len() < count {
        buffer.resize(count, Part::default());
    }
    let parts = &mut buffer[..count];
    pool.for_each_chunk(parts, QUANTIZE_ELEMS / PART, |i, parts| {
        kernels.quantize(&input[i * QUANTIZE_ELEMS..][..parts.len() * PART], parts);
    });
    product(parts);
    PARTS.set(buffer);
}

/// The operands that the tasks share.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    pub(super) packed: Packed<'a>,
    pub(super) weights: TensorView<'a>,
    pub(super) parts: &'a [Part],
    pub(super) tokens: usize,
}

impl Product<'_> {
    /// Rows of weights per task.
    pub(super) fn task_width(&self, split: Split) -> usize {
        match self.tokens {
            tokens if tokens <= self.packed.few() => {
                split.task_rows(self.weights).next_multiple_of(RUN_ROWS)
            }
            ..FEW_TOKENS => split.task_rows(self.weights).next_multiple_of(PANEL_ROWS),
            // Tasks of one panel where many tokens make them long, so that threads finish alike.
            _ => PANEL_ROWS,
        }
    }

    /// Computes the outputs of some rows of weights.
    pub(super) fn compute(&self, part: &mut ColumnsMut<'_>) {
        if self.tokens <= self.packed.few() { self.by_rows(part) } else { self.by_panels(part) }
    }

    /// Each row of weights is read once from memory and multiplied as it comes.
    fn by_rows(&self, part: &mut ColumnsMut<'_>) {
        let inputs = RunInputs { inputs: self.parts, parts: self.parts.len() / self.tokens };
        let (count, columns) = (self.weights.layout().row_count(), part.columns());
        SUMS.with_borrow_mut(|sums| {
            sums.resize(self.tokens, [0.0; RUN_ROWS]);
            for start in columns.clone().step_by(RUN_ROWS) {
                // The last rows come with those before them, so that they are as many as always.
                let first = start.min(count.saturating_sub(RUN_ROWS));
                let rows = self.weights.row_bytes(first..count.min(first + RUN_ROWS));
                let rows = rows.expect("the output has a column per row of weights");
                if count < RUN_ROWS {
                    let mut padded = rows.to_vec();
                    padded.resize(RUN_ROWS * self.weights.layout().row_bytes(), 0);
                    self.packed.multiply_rows(&padded, inputs, sums);
                } else {
                    self.packed.multiply_rows(rows, inputs, sums);
                }
                put(sums, start - first, start - columns.start, part);
            }
        });
    }

    /// Panels of weights are unpacked once and multiplied with all tokens.
    fn by_panels(&self, part: &mut ColumnsMut<'_>) {
        let mut next = rows(self.weights, part.columns());
        for start in (0..part.columns().len()).step_by(PANEL_ROWS) {
            let rows = group(&mut next);
            PANEL.with_borrow_mut(|Panel { parts: panel, sums }| {
                self.multiply_panel(rows, panel, sums);
                put(sums, 0, start, part);
            });
        }
    }

    /// The products of all tokens with the rows of a panel.
    fn multiply_panel(
        &self,
        rows: [&[u8]; PANEL_ROWS],
        panel: &mut Vec<PanelPart>,
        sums: &mut Vec<[f32; PANEL_ROWS]>,
    ) {
        let stride = self.parts.len() / self.tokens;
        panel.resize(PANEL_PARTS, PanelPart::ZERO);
        sums.clear();
        sums.resize(self.tokens, [0.0; PANEL_ROWS]);
        for start in (0..stride).step_by(PANEL_PARTS) {
            let end = stride.min(start + PANEL_PARTS);
            let panel = &mut panel[..end - start];
            let bytes = self.weights.layout().column_bytes(start * PART..end * PART);
            let bytes = bytes.expect("panels begin and end with a block");
            self.packed.pack(rows.map(|row| &row[bytes.clone()]), panel);
            self.packed.multiply_panel(panel, (&self.parts[start..], stride), sums);
        }
    }
}

/// Writes what each token has of the rows, from `first` on, to columns from `start` on.
fn put<const ROWS: usize>(
    sums: &[[f32; ROWS]],
    first: usize,
    start: usize,
    part: &mut ColumnsMut<'_>,
) {
    for (token, sums) in sums.iter().enumerate() {
        let output = &mut part.row(token)[start..];
        // A length that is known is a few stores, any other a call.
        match output.first_chunk_mut() {
            Some(output) if first == 0 => *output = *sums,
            Some(_) | None => {
                let count = output.len().min(ROWS - first);
                output[..count].copy_from_slice(&sums[first..first + count]);
            }
        }
    }
}

/// The next rows, the last of which is repeated where there are fewer.
fn group<'a, const COUNT: usize>(rows: &mut impl Iterator<Item = &'a [u8]>) -> [&'a [u8]; COUNT] {
    let mut last: &[u8] = &[];
    std::array::from_fn(|_| {
        last = rows.next().unwrap_or(last);
        last
    })
}
