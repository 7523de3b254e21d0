//! The product of activations with packed weights: how it is cut into tasks and panels.
//!
//! Every element of the output is computed by one task, in an order that depends on the types and
//! shapes alone, so that results are the same, bit for bit, for any number of threads.

mod columns;
mod float;
mod integer;

use crate::activations::Part;
use crate::{KernelError, Kernels, Pool};
use apr_tensor::TensorView;
use columns::ColumnsMut;
use std::ops::Range;

/// Bytes of weights below which handing a task to another thread costs more than it brings.
const TASK_BYTES: usize = 16 * 1024;
/// Tasks per thread, so that a thread that is late does not hold up the others.
const TASKS_PER_THREAD: usize = 4;
/// The same where reading the weights is what takes time: a thread's tasks follow one another, so
/// that what one asks for ahead is what the next one reads, and short ones cost little.
const READING_TASKS_PER_THREAD: usize = 8;

/// `output[t, r] = sum over k of input[t, k] * weights[r, k]`.
///
/// `weights` is `[rows, cols]`, `input` is `[tokens, cols]` and `output` is `[tokens, rows]`, both
/// row-major; the number of tokens follows from the length of `input`. The result does not depend
/// on the number of threads.
///
/// With weights of a float type all arithmetic is float32. For quantized types that the kernels
/// know as integers the input is rounded to 16 bits, relative to the largest of each eight
/// elements; integers are multiplied and added exactly, and everything else is float32. The bits of
/// the result do not depend on the number of tokens, and with integers not on the table of kernels.
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
    matmul_many(kernels, pool, &mut [Product { weights, output }], input)
        .map_err(|(_, error)| error)
}

/// One of several products with the same input.
#[derive(Debug)]
pub struct Product<'a> {
    /// `[rows, cols]`, of any type.
    pub weights: TensorView<'a>,
    /// `[tokens, rows]`.
    pub output: &'a mut [f32],
}

/// [`matmul`] with several matrices that have the same input, which is rounded once and whose
/// tasks the threads share together. Each product has the bits that it has alone.
///
/// # Errors
/// As for [`matmul`]: the number of the first product that cannot be computed, and why.
pub fn matmul_many(
    kernels: &Kernels,
    pool: &Pool,
    products: &mut [Product<'_>],
    input: &[f32],
) -> Result<(), (usize, KernelError)> {
    for (i, product) in products.iter().enumerate() {
        check(kernels, product, input).map_err(|error| (i, error))?;
    }
    let has_integers = |product: &Product<'_>| kernels.integers(product.weights.dtype()).is_some();
    if input.is_empty() {
        products.iter_mut().for_each(|product| product.output.fill(0.0));
    } else if products.iter().any(has_integers) {
        integer::quantized(kernels, pool, input, |parts| {
            run(kernels, pool, products, (input, parts));
        });
    } else {
        run(kernels, pool, products, (input, &[]));
    }
    Ok(())
}

/// That a product can be computed.
fn check(kernels: &Kernels, product: &Product<'_>, input: &[f32]) -> Result<(), KernelError> {
    let (layout, dtype) = (product.weights.layout(), product.weights.dtype());
    if !kernels.supports(dtype) {
        return Err(KernelError::Unsupported { dtype });
    }
    let &[rows, cols] = layout.shape() else {
        return Err(KernelError::NotAMatrix { shape: layout.shape().to_vec() });
    };
    check_lengths(rows, cols, input.len(), product.output.len())
}

/// Computes products, by tasks of all of them together. `parts` is the input in integers, where
/// there are weights that need them.
fn run(
    kernels: &Kernels,
    pool: &Pool,
    products: &mut [Product<'_>],
    (input, parts): (&[f32], &[Part]),
) {
    let mut tasks: Vec<(Operands<'_>, ColumnsMut<'_>)> = Vec::new();
    let bytes: usize = products.iter().map(|product| product.weights.layout().byte_len()).sum();
    let split = Split { threads: pool.threads(), bytes };
    for Product { weights, output } in products.iter_mut().filter(|p| !p.output.is_empty()) {
        let operands = Operands::of(kernels, *weights, (input, parts));
        let width = operands.task_width(split);
        let columns = ColumnsMut::split(output, weights.layout().row_count(), width);
        tasks.extend(columns.into_iter().map(|columns| (operands, columns)));
    }
    pool.for_each_chunk(&mut tasks, 1, |_, task| {
        let (operands, columns) = &mut task[0];
        match operands {
            Operands::Integer(product) => product.compute(columns),
            Operands::Float(product) => product.compute(columns),
        }
    });
}

/// What the tasks of a product share.
#[derive(Clone, Copy)]
enum Operands<'a> {
    Integer(integer::Product<'a>),
    Float(float::Product<'a>),
}

impl<'a> Operands<'a> {
    /// Of a product that was checked.
    fn of(
        kernels: &'a Kernels,
        weights: TensorView<'a>,
        (input, parts): (&'a [f32], &'a [Part]),
    ) -> Self {
        let (dtype, cols) = (weights.dtype(), weights.layout().row_elems());
        let tokens = input.len() / cols;
        match (kernels.integers(dtype), kernels.block(dtype)) {
            (Some(packed), _) => Self::Integer(integer::Product { packed, weights, parts, tokens }),
            (None, Some(block)) => {
                Self::Float(float::Product { kernels, block, weights, cols, input })
            }
            (None, None) => unreachable!("weights of type {dtype} were refused"),
        }
    }

    /// Rows of weights per task.
    fn task_width(&self, split: Split) -> usize {
        match self {
            Self::Integer(product) => product.task_width(split),
            Self::Float(product) => product.task_width(split),
        }
    }
}

/// That both lengths are a whole number of tokens, and the same.
fn check_lengths(rows: usize, cols: usize, input: usize, output: usize) -> Result<(), KernelError> {
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
    Ok(())
}

/// What is split into tasks: products together.
#[derive(Clone, Copy)]
struct Split {
    threads: usize,
    /// Of all weights.
    bytes: usize,
}

impl Split {
    /// Rows per task without panels: as many bytes in each task, enough to be worth it.
    fn task_rows(self, weights: TensorView<'_>) -> usize {
        let bytes = self.bytes.div_ceil(self.threads * READING_TASKS_PER_THREAD).max(TASK_BYTES);
        bytes.div_ceil(weights.layout().row_bytes())
    }
}

/// The bytes of each of these rows.
fn rows<'a>(weights: TensorView<'a>, rows: Range<usize>) -> impl Iterator<Item = &'a [u8]> {
    let bytes = weights.row_bytes(rows).expect("the output has a column per row of weights");
    bytes.chunks_exact(weights.layout().row_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::{DESCRIBED, Xorshift, assert_product, random_blocks, supported};
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

    /// Numbers of columns that this type can have.
    fn depths(dtype: DType) -> Vec<usize> {
        let depths = [31_usize, 32, 33, 64, 256, 768, 1056, 1088, 1280];
        depths.into_iter().filter(|depth| depth.is_multiple_of(dtype.block_elems())).collect()
    }

    #[test]
    fn products_are_within_rounding_of_double_precision() {
        let (mut random, pool) = (Xorshift::new(5), Pool::new(2));
        for dtype in supported() {
            for (cols, rows) in
                depths(dtype).iter().flat_map(|&cols| [1, 5, 24, 33].map(|rows| (cols, rows)))
            {
                let weights = random_weights(&mut random, dtype, rows, cols);
                let input = random.floats(13 * cols);
                for tokens in [1, 2, 3, 4, 5, 13] {
                    for kernels in Kernels::available() {
                        let found = run(kernels, &pool, &weights, &input[..tokens * cols]);
                        for (i, &found) in found.iter().enumerate() {
                            let row = weights.view().row_bytes(i % rows..i % rows + 1).unwrap();
                            let input = &input[i / rows * cols..][..cols];
                            assert_product(dtype, row, input, found);
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
        for (dtype, tokens) in supported().flat_map(|dtype| [1, 3, 4, 23, 35].map(|t| (dtype, t))) {
            let cols = 1280;
            let weights = random_weights(&mut random, dtype, 201, cols);
            let input = random.floats(tokens * cols);
            for kernels in Kernels::available() {
                let expected = run(kernels, &pools[0], &weights, &input);
                for pool in &pools[1..] {
                    assert!(run(kernels, pool, &weights, &input) == expected);
                }
                for count in [1, 2, 5].into_iter().filter(|&count| count < tokens) {
                    let fewer = run(kernels, &pools[0], &weights, &input[..count * cols]);
                    assert!(fewer == expected[..fewer.len()], "{} {dtype}", kernels.name());
                }
            }
        }
    }

    /// One token goes through other kernels than several, and each table has its own.
    #[test]
    fn bits_of_integer_types_depend_on_nothing_but_the_operands() {
        let mut random = Xorshift::new(8);
        let pool = Pool::new(2);
        for &(dtype, _) in DESCRIBED {
            for (cols, tokens) in [(256, 2), (512, 6), (768, 9), (1024, 18), (1280, 23)] {
                let weights = random_weights(&mut random, dtype, 39, cols);
                let input = random.floats(tokens * cols);
                let expected = run(Kernels::available()[0], &pool, &weights, &input);
                for kernels in Kernels::available() {
                    let together = run(kernels, &pool, &weights, &input);
                    assert!(together == expected, "{dtype} {}", kernels.name());
                    let apart = input.chunks(cols).flat_map(|x| run(kernels, &pool, &weights, x));
                    assert!(apart.eq(expected.iter().copied()), "{dtype} {}", kernels.name());
                }
            }
        }
    }

    /// The portable table rounds products before it adds them; the others do not.
    #[test]
    fn bits_of_float_types_are_those_of_every_fused_instruction_set() {
        let mut random = Xorshift::new(10);
        let pool = Pool::new(2);
        for dtype in supported().filter(|dtype| DESCRIBED.iter().all(|(of, _)| of != dtype)) {
            for (cols, tokens) in [(256, 1), (768, 4), (1280, 35)] {
                let weights = random_weights(&mut random, dtype, 61, cols);
                let input = random.floats(tokens * cols);
                let [first, others @ ..] = &Kernels::available()[1..] else { return };
                let expected = run(first, &pool, &weights, &input);
                for kernels in others {
                    let found = run(kernels, &pool, &weights, &input);
                    assert!(found == expected, "{dtype} {}", kernels.name());
                }
            }
        }
    }

    #[test]
    fn products_together_are_those_apart() {
        let mut random = Xorshift::new(9);
        let (pool, cols) = (Pool::new(3), 256);
        let types = [DType::Q4_K, DType::F32, DType::Q6_K, DType::F16, DType::Q4_K];
        let weights: Vec<_> = types
            .into_iter()
            .zip([40, 7, 0, 33, 1])
            .map(|(dtype, rows)| random_weights(&mut random, dtype, rows, cols))
            .collect();
        for (tokens, kernels) in
            [0, 1, 2, 9, 40].into_iter().zip(Kernels::available().iter().cycle())
        {
            let input = random.floats(tokens * cols);
            let mut outputs: Vec<_> = weights
                .iter()
                .map(|weights| vec![f32::NAN; tokens * weights.layout().row_count()])
                .collect();
            let mut products: Vec<_> = weights
                .iter()
                .zip(&mut outputs)
                .map(|(weights, output)| Product { weights: weights.view(), output })
                .collect();
            matmul_many(kernels, &pool, &mut products, &input).unwrap();
            products[3].output = &mut [];
            let said = matmul_many(kernels, &pool, &mut products, &input);
            assert_eq!(said.err().map(|(i, _)| i), (tokens > 0).then_some(3));
            for (weights, output) in weights.iter().zip(&outputs) {
                assert!(*output == run(kernels, &pool, weights, &input), "{tokens} tokens");
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
