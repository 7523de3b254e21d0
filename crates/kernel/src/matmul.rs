//! The product of activations with packed weights: how it is cut into tasks and panels.
//!
//! Every element of the output is computed by one task, in an order that depends on the types and
//! shapes alone, so that results are the same, bit for bit, for any number of threads.

mod columns;

use crate::kernels::{Rows, TILE_ROWS, TILE_TOKENS};
use crate::{KernelError, Kernels, Pool};
use apr_tensor::TensorView;
use columns::ColumnsMut;
use std::cell::RefCell;
use std::ops::Range;

/// From this number of tokens on, weights are decoded to panels instead of once per token.
const PANEL_TOKENS: usize = TILE_TOKENS;
/// Weight rows of a panel at most, in whole tiles.
const PANEL_ROWS: usize = 8 * TILE_ROWS;
/// Columns of a panel: whole blocks of every type. Sums are rounded once per panel, so this
/// number is part of the results.
const PANEL_COLS: usize = 1024;
/// Bytes of weights below which handing a task to another thread costs more than it brings.
const TASK_BYTES: usize = 16 * 1024;
/// Tasks per thread, so that a thread that is late does not hold up the others.
const TASKS_PER_THREAD: usize = 4;

thread_local! {
    static PANEL: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// `output[t, r] = sum over k of input[t, k] * weights[r, k]`.
///
/// `weights` is `[rows, cols]`, `input` is `[tokens, cols]` and `output` is `[tokens, rows]`, both
/// row-major; the number of tokens follows from the length of `input`. All arithmetic is float32
/// on the exact values of the weights. The result does not depend on the number of threads.
///
/// # Errors
/// When the kernels do not [support](Kernels::supports) the type of the weights, when these are no
/// matrix, or when a length does not fit.
pub fn matmul(
    kernels: &Kernels,
    pool: &Pool,
    weights: TensorView<'_>,
    input: &[f32],
    output: &mut [f32],
) -> Result<(), KernelError> {
    let dtype = weights.dtype();
    let block = kernels.block(dtype).ok_or(KernelError::Unsupported { dtype })?;
    let &[rows, cols] = weights.layout().shape() else {
        return Err(KernelError::NotAMatrix { shape: weights.layout().shape().to_vec() });
    };
    let tokens = check_lengths(rows, cols, input.len(), output.len())?;
    if input.is_empty() || output.is_empty() {
        output.fill(0.0);
        return Ok(());
    }
    let product = Product { kernels, block, weights, cols, input };
    if tokens < PANEL_TOKENS {
        let width = product.task_rows(rows, pool.threads());
        let mut parts = ColumnsMut::split(output, rows, width);
        pool.for_each_chunk(&mut parts, 1, |_, part| product.row_by_row(&mut part[0]));
    } else {
        let width = panel_rows(rows, pool.threads());
        let mut parts = ColumnsMut::split(output, rows, width);
        pool.for_each_chunk(&mut parts, 1, |_, part| product.by_panels(&mut part[0]));
    }
    Ok(())
}

/// The number of tokens, if both lengths are a whole number of them.
fn check_lengths(
    rows: usize,
    cols: usize,
    input: usize,
    output: usize,
) -> Result<usize, KernelError> {
    let wrong = |operand, expected, found| {
        Err(KernelError::Shape { operand, weights: vec![rows, cols], expected, found })
    };
    // Without columns the input is empty and says nothing, so the output does.
    let tokens = input.checked_div(cols).or(output.checked_div(rows)).unwrap_or(0);
    if tokens * cols != input {
        return wrong("input", input.div_ceil(cols.max(1)).saturating_mul(cols), input);
    }
    let expected = tokens.saturating_mul(rows);
    if expected != output {
        return wrong("output", expected, output);
    }
    Ok(tokens)
}

/// Rows per task with panels: as many as a panel has, or fewer to keep all threads busy.
fn panel_rows(rows: usize, threads: usize) -> usize {
    rows.div_ceil(threads * TASKS_PER_THREAD).next_multiple_of(TILE_ROWS).min(PANEL_ROWS)
}

/// The operands that the tasks share.
struct Product<'a> {
    kernels: &'a Kernels,
    block: Rows,
    weights: TensorView<'a>,
    cols: usize,
    input: &'a [f32],
}

impl Product<'_> {
    /// Rows per task without panels.
    fn task_rows(&self, rows: usize, threads: usize) -> usize {
        let least = TASK_BYTES.div_ceil(self.weights.layout().row_bytes());
        rows.div_ceil(threads * TASKS_PER_THREAD).max(least)
    }

    /// A few tokens: each row of weights is read once from memory and decoded for each token.
    fn row_by_row(&self, part: &mut ColumnsMut<'_>) {
        for (i, weights) in self.rows(part.columns()).enumerate() {
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
        for (row, values) in self.rows(rows).zip(panel.chunks_exact_mut(cols.len())) {
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

    /// The bytes of each of these rows.
    fn rows(&self, rows: Range<usize>) -> impl Iterator<Item = &[u8]> {
        let bytes = self.weights.row_bytes(rows);
        bytes
            .expect("the output has a column per row of weights")
            .chunks_exact(self.weights.layout().row_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::{SUPPORTED, Xorshift, assert_close, dot_f64, random_blocks};
    use apr_tensor::{DType, Tensor, TensorLayout};

    fn random_weights(random: &mut Xorshift, dtype: DType, rows: usize, cols: usize) -> Tensor {
        let layout = TensorLayout::new(dtype, &[rows, cols]).unwrap();
        let bytes = random_blocks(random, dtype, rows * cols / dtype.block_elems());
        Tensor::owned(layout, bytes).unwrap()
    }

    fn run(kernels: &Kernels, pool: &Pool, weights: &Tensor, input: &[f32]) -> Vec<f32> {
        let &[rows, cols] = weights.layout().shape() else { panic!("a matrix") };
        let mut output = vec![f32::NAN; input.len() / cols * rows];
        matmul(kernels, pool, weights.view(), input, &mut output).unwrap();
        output
    }

    #[test]
    fn products_are_within_rounding_of_double_precision() {
        let (mut random, pool) = (Xorshift::new(5), Pool::new(2));
        for dtype in SUPPORTED {
            let cols: &[usize] = if dtype.is_quantized() { &[] } else { &[31, 33] };
            for &cols in [32, 64, 1056, 1088].iter().chain(cols) {
                for rows in [1, 2, 3, 5, 24, 25, 97] {
                    let weights = random_weights(&mut random, dtype, rows, cols);
                    let values = weights.view().to_f32();
                    let input = random.floats(33 * cols);
                    for tokens in [1, 2, 3, 4, 5, 7, 8, 33] {
                        for kernels in Kernels::available() {
                            let found = run(kernels, &pool, &weights, &input[..tokens * cols]);
                            for (i, &found) in found.iter().enumerate() {
                                let (input, row) = (&input[i / rows * cols..], i % rows * cols);
                                let exact = dot_f64(&input[..cols], &values[row..row + cols]);
                                assert_close(found, exact, cols);
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn bits_do_not_depend_on_threads_or_other_tokens() {
        let mut random = Xorshift::new(6);
        let pools = [1, 2, 3, 8].map(Pool::new);
        for (dtype, tokens) in SUPPORTED.iter().flat_map(|&dtype| [1, 3, 4, 23].map(|t| (dtype, t)))
        {
            let weights = random_weights(&mut random, dtype, 601, 1056);
            let input = random.floats(tokens * 1056);
            for kernels in Kernels::available() {
                let expected = run(kernels, &pools[0], &weights, &input);
                for pool in &pools[1..] {
                    assert!(run(kernels, pool, &weights, &input) == expected);
                }
                if tokens > PANEL_TOKENS {
                    let fewer = run(kernels, &pools[0], &weights, &input[..5 * 1056]);
                    assert!(fewer == expected[..fewer.len()]);
                }
            }
        }
    }

    #[test]
    fn nothing_in_nothing_out() {
        let pool = Pool::new(2);
        for (rows, cols, tokens) in [(0, 32, 3), (3, 0, 5), (0, 0, 0), (3, 32, 0)] {
            let weights = random_weights(&mut Xorshift::new(7), DType::Q8_0, rows, cols);
            let mut output = vec![1.0; tokens * rows];
            let input = vec![1.0; tokens * cols];
            matmul(Kernels::best(), &pool, weights.view(), &input, &mut output).unwrap();
            assert_eq!(output, vec![0.0; tokens * rows]);
        }
    }

    #[test]
    fn operands_that_disagree_are_refused() {
        let pool = Pool::new(1);
        let product = |dtype, shape: &[usize], input: usize, output: usize| {
            let layout = TensorLayout::new(dtype, shape).unwrap();
            let weights = Tensor::owned(layout.clone(), vec![0; layout.byte_len()]).unwrap();
            let (input, mut output) = (vec![0.0; input], vec![0.0; output]);
            matmul(Kernels::best(), &pool, weights.view(), &input, &mut output).unwrap_err()
        };
        let shape = |operand, expected, found| KernelError::Shape {
            operand,
            weights: vec![2, 32],
            expected,
            found,
        };
        assert_eq!(product(DType::Q4_0, &[2, 32], 65, 4), shape("input", 96, 65));
        assert_eq!(product(DType::Q4_0, &[2, 32], 64, 3), shape("output", 4, 3));
        assert_eq!(
            product(DType::F32, &[2, 2, 2], 2, 4),
            KernelError::NotAMatrix { shape: vec![2, 2, 2] }
        );
        assert_eq!(
            product(DType::I8, &[2, 2], 2, 2),
            KernelError::Unsupported { dtype: DType::I8 }
        );
    }
}
