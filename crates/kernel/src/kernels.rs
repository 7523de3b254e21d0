//! The dispatch table: which functions compute, per type and instruction set.
#![allow(unsafe_code, reason = "kernels are compiled for instruction sets that must be detected")]

use crate::KernelError;
use crate::activations::{PART, Part};
use crate::attention::{AddWeighted, Transpose};
use crate::float::{FloatOperands, MultiplyFloats};
use crate::integer::{
    IntegerKernels, MultiplyPanel, PANEL_ROWS, PanelInputs, PanelPart, RUN_ROWS, RunInputs,
};
use crate::scalar::SCALAR;
use crate::task::Target;
#[cfg(target_arch = "x86_64")]
use crate::x86_64::detected;
use apr_tensor::DType;
use std::fmt;

/// Decodes packed weights.
pub(crate) type Decode = unsafe fn(&[u8], &mut [f32]);

/// The functions for one instruction set.
///
/// A table can be had only on a CPU that has its instructions: that is what makes its methods safe.
/// Every quantized or float type can be multiplied with by every table: through its integers if
/// `integers` has the type, in single precision straight from packed weights if `floats` has it,
/// and else decoded, with the functions for F32, which every table has. A type without a function
/// in `decoders` is decoded by its codec.
pub struct Kernels {
    pub(crate) name: &'static str,
    pub(crate) target: Target,
    pub(crate) decoders: &'static [(DType, Decode)],
    pub(crate) floats: &'static [(DType, MultiplyFloats)],
    pub(crate) integers: &'static [(DType, IntegerKernels)],
    pub(crate) multiply_panel: MultiplyPanel,
    pub(crate) quantize: unsafe fn(&[f32], &mut [Part]),
    pub(crate) add_scaled: unsafe fn(f32, &[f32], &mut [f32]),
    pub(crate) max: unsafe fn(&[f32]) -> f32,
    pub(crate) exp_sum: unsafe fn(&mut [f32], f32) -> f32,
    pub(crate) silu: unsafe fn(&mut [f32]),
    pub(crate) gelu_tanh: unsafe fn(&mut [f32]),
    pub(crate) transpose: Transpose,
    pub(crate) add_weighted: AddWeighted,
}

impl Kernels {
    /// `"scalar"`, `"avx2"`, `"avx512"`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The tables that this CPU can run, scalar first, best last.
    #[must_use]
    pub fn available() -> Vec<&'static Self> {
        std::iter::once(&SCALAR).chain(detected()).collect()
    }

    /// The fastest table that this CPU can run.
    #[must_use]
    pub fn best() -> &'static Self {
        Self::available().last().copied().unwrap_or(&SCALAR)
    }

    /// The table of this name.
    ///
    /// # Errors
    /// When there is none that this CPU can run; the error lists those that there are.
    pub fn named(name: &str) -> Result<&'static Self, KernelError> {
        let available = Self::available();
        available.iter().find(|table| table.name == name).copied().ok_or_else(|| {
            KernelError::UnknownKernels {
                name: name.to_owned(),
                available: available.iter().map(|table| table.name).collect(),
            }
        })
    }

    /// Whether [`matmul`](crate::matmul) takes weights of this type.
    #[must_use]
    pub fn supports(&self, dtype: DType) -> bool {
        dtype.is_float() || dtype.is_quantized()
    }

    /// `out[i] += scale * x[i]`.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn add_scaled(&self, scale: f32, x: &[f32], out: &mut [f32]) {
        assert_eq!(x.len(), out.len(), "sum of vectors of different lengths");
        // SAFETY: the table was handed out after its instruction set was detected.
        unsafe { (self.add_scaled)(scale, x, out) }
    }

    /// The functions for weights of this type in single precision, if it is supported.
    pub(crate) fn block(&self, dtype: DType) -> Option<Rows<'_>> {
        let (decode, multiply) = (find(self.decoders, dtype), find(self.floats, dtype));
        self.supports(dtype).then_some(Rows { dtype, table: self, decode, multiply })
    }

    /// The functions for the integers of this type, if it has any.
    pub(crate) fn integers(&self, dtype: DType) -> Option<Packed<'_>> {
        find(self.integers, dtype).map(|kernels| Packed { dtype, table: self, kernels })
    }

    /// Rounds inputs to integers.
    pub(crate) fn quantize(&self, input: &[f32], parts: &mut [Part]) {
        assert_eq!(input.len(), parts.len() * PART, "a part is {PART} elements");
        // SAFETY: the table was handed out after its instruction set was detected.
        unsafe { (self.quantize)(input, parts) }
    }
}

/// The tables for this architecture, of which there are none.
#[cfg(not(target_arch = "x86_64"))]
fn detected() -> Option<&'static Kernels> {
    None
}

impl fmt::Debug for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernels").field("name", &self.name).finish_non_exhaustive()
    }
}

fn find<T: Copy>(entries: &[(DType, T)], dtype: DType) -> Option<T> {
    entries.iter().find(|(of, _)| *of == dtype).map(|(_, entry)| *entry)
}

/// The functions of a table for rows of one type in single precision; as the table, only on a CPU
/// that has them.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    dtype: DType,
    table: &'a Kernels,
    decode: Option<Decode>,
    multiply: Option<MultiplyFloats>,
}

impl Rows<'_> {
    /// Whether these weights are multiplied as they are packed.
    pub(crate) fn multiplies_packed(&self) -> bool {
        self.multiply.is_some()
    }

    /// Adds the products of rows of packed weights with inputs to sums, `[token][row]`.
    pub(crate) fn multiply(&self, operands: FloatOperands<'_>, sums: &mut [f32]) {
        let multiply = self.multiply.expect("asked before: these weights are decoded first");
        // SAFETY: `Rows` comes from a table that was handed out after detection.
        unsafe { multiply(operands, sums) }
    }

    /// The values of packed weights.
    pub(crate) fn decode(&self, weights: &[u8], out: &mut [f32]) {
        self.check(weights.len(), out.len());
        let Some(decode) = self.decode else {
            return self.table.decode_blocks(self.dtype, weights, out);
        };
        // SAFETY: `Rows` comes from a table that was handed out after detection.
        unsafe { decode(weights, out) }
    }

    /// Without a division, which would take as long as a short row. That the blocks are whole the
    /// kernels find themselves.
    fn check(&self, bytes: usize, elems: usize) {
        assert!(
            bytes * self.dtype.block_elems() == elems * self.dtype.block_bytes(),
            "{elems} elements of {} are not {bytes} bytes",
            self.dtype
        );
    }
}

/// The functions of a table for the integers of one type; as the table, only on a CPU that has
/// them.
#[derive(Clone, Copy)]
pub(crate) struct Packed<'a> {
    dtype: DType,
    table: &'a Kernels,
    kernels: IntegerKernels,
}

impl Packed<'_> {
    /// Inputs up to which [`multiply_rows`](Self::multiply_rows) is faster than a panel.
    pub(crate) fn few(&self) -> usize {
        self.kernels.few
    }

    /// The products of each input with [`RUN_ROWS`] rows of packed weights, which lie one after the
    /// other and have at least a part.
    pub(crate) fn multiply_rows(
        &self,
        rows: &[u8],
        inputs: RunInputs<'_>,
        sums: &mut [[f32; RUN_ROWS]],
    ) {
        self.check(rows.len(), RUN_ROWS * inputs.parts);
        let needed = sums.len() * inputs.parts;
        assert!(inputs.inputs.len() >= needed, "{} parts of {needed}", inputs.inputs.len());
        // SAFETY: `Packed` comes from a table that was handed out after detection.
        unsafe { (self.kernels.rows)(rows, inputs, sums) }
    }

    /// Unpacks rows of weights.
    pub(crate) fn pack(&self, rows: [&[u8]; PANEL_ROWS], panel: &mut [PanelPart]) {
        rows.iter().for_each(|row| self.check(row.len(), panel.len()));
        // SAFETY: `Packed` comes from a table that was handed out after detection.
        unsafe { (self.kernels.pack)(rows, panel) }
    }

    /// Adds the products of a panel with inputs, of which one begins every `stride` parts.
    pub(crate) fn multiply_panel(
        &self,
        panel: &[PanelPart],
        (inputs, stride): (&[Part], usize),
        sums: &mut [[f32; PANEL_ROWS]],
    ) {
        let needed = sums.len().saturating_sub(1) * stride + panel.len();
        assert!(inputs.len() >= needed, "{} parts of {needed}", inputs.len());
        let operands = PanelInputs { panel, offsets: self.kernels.offsets, inputs, stride };
        // SAFETY: `Packed` comes from a table that was handed out after detection.
        unsafe { (self.table.multiply_panel)(operands, sums) }
    }

    fn check(&self, bytes: usize, parts: usize) {
        assert!(
            bytes * self.dtype.block_elems() == parts * PART * self.dtype.block_bytes(),
            "{parts} parts of {} are not {bytes} bytes",
            self.dtype
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::{Xorshift, assert_close, dot_f64, random_blocks, supported};

    const LENGTHS: [usize; 14] = [0, 1, 2, 3, 7, 8, 9, 15, 31, 32, 33, 63, 65, 257];

    #[test]
    fn tables_are_found_by_name() {
        let names: Vec<_> = Kernels::available().iter().map(|table| table.name()).collect();
        assert_eq!(names[0], "scalar");
        for table in Kernels::available() {
            assert_eq!(Kernels::named(table.name()).unwrap().name(), table.name());
            for &dtype in DType::ALL {
                assert_eq!(table.supports(dtype), supported().any(|of| of == dtype));
                assert_eq!(table.block(dtype).is_some(), table.supports(dtype));
            }
        }
        assert_eq!(Kernels::best().name(), *names.last().unwrap());
        let error = Kernels::named("abacus").unwrap_err();
        assert_eq!(
            error,
            KernelError::UnknownKernels { name: "abacus".to_owned(), available: names }
        );
        assert!(error.to_string().contains("scalar"));
    }

    #[test]
    fn decoding_has_the_bits_of_the_codec() {
        let mut random = Xorshift::new(1);
        for (dtype, blocks) in supported().flat_map(|dtype| LENGTHS.map(|n| (dtype, n))) {
            let bytes = random_blocks(&mut random, dtype, blocks);
            let mut expected = vec![0.0; blocks * dtype.block_elems()];
            dtype.decode(&bytes, &mut expected).unwrap();
            for table in Kernels::available() {
                let mut found = vec![f32::NAN; expected.len()];
                table.block(dtype).unwrap().decode(&bytes, &mut found);
                assert!(
                    found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits()),
                    "{} {dtype} {blocks}",
                    table.name()
                );
            }
        }
    }

    #[test]
    fn every_half_precision_number_is_decoded() {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        for dtype in [DType::F16, DType::BF16] {
            let mut expected = vec![0.0; 1 << 16];
            dtype.decode(&bytes, &mut expected).unwrap();
            for table in Kernels::available() {
                let mut found = vec![0.0; 1 << 16];
                table.block(dtype).unwrap().decode(&bytes, &mut found);
                for (a, b) in found.iter().zip(&expected) {
                    assert!(a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()));
                }
            }
        }
    }

    /// The products of these inputs with rows of a type that is multiplied packed.
    fn products(
        kernels: Rows<'_>,
        (weights, rows): (&[u8], usize),
        (input, tokens): (&[f32], usize),
    ) -> Vec<f32> {
        let (row_bytes, cols) = (weights.len() / rows, input.len() / tokens);
        let mut sums = vec![0.0; tokens * rows];
        let operands =
            FloatOperands { weights, row_bytes, rows, input, stride: cols, tokens, cols };
        kernels.multiply(operands, &mut sums);
        sums
    }

    /// Whole tiles and the rest of rows and of tokens, few tokens and many.
    const SHAPES: [(usize, usize); 9] =
        [(1, 1), (8, 1), (13, 1), (4, 2), (7, 3), (9, 5), (3, 6), (5, 13), (11, 40)];

    #[test]
    fn float_products_are_within_rounding_of_double_precision_and_independent() {
        let mut random = Xorshift::new(2);
        for (dtype, cols) in [DType::F32, DType::F16, DType::BF16]
            .into_iter()
            .flat_map(|dtype| LENGTHS.map(|n| (dtype, n)))
            .chain([(DType::F16, 1023), (DType::F32, 1025), (DType::BF16, 2100)])
        {
            for (rows, tokens) in SHAPES {
                let bytes = random_blocks(&mut random, dtype, rows * cols);
                let mut weights = vec![0.0; rows * cols];
                dtype.decode(&bytes, &mut weights).unwrap();
                let input = random.floats(tokens * cols);
                for table in Kernels::available() {
                    let kernels = table.block(dtype).unwrap();
                    if !kernels.multiplies_packed() {
                        continue;
                    }
                    let found = products(kernels, (&bytes, rows), (&input, tokens));
                    for (i, &found) in found.iter().enumerate() {
                        let (token, row) = (i / rows, i % rows);
                        let x = &input[token * cols..][..cols];
                        let exact = dot_f64(&weights[row * cols..][..cols], x);
                        assert_close(found, exact, cols);
                        let row = &bytes[row * bytes.len() / rows..][..bytes.len() / rows];
                        assert_eq!(products(kernels, (row, 1), (x, 1)), [found]);
                    }
                }
            }
        }
    }

    #[test]
    fn scaled_sums_agree_with_double_precision() {
        let mut random = Xorshift::new(3);
        for len in LENGTHS {
            let (a, b) = (random.floats(len), random.floats(len));
            for table in Kernels::available() {
                let mut sum = b.clone();
                table.add_scaled(0.75, &a, &mut sum);
                for ((&sum, &a), &b) in sum.iter().zip(&a).zip(&b) {
                    assert_close(sum, dot_f64(&[0.75, 1.0], &[a, b]), 2);
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "32 elements of Q8_0 are not 68 bytes")]
    fn lengths_are_checked() {
        SCALAR.block(DType::Q8_0).unwrap().decode(&[0; 68], &mut [0.0; 32]);
    }

    #[test]
    fn operands_that_are_too_short_are_refused() {
        for table in Kernels::available() {
            let kernels = table.block(DType::F32).unwrap();
            let product = |weights: usize, input: usize, sums: usize| {
                let (weights, input) = (vec![0; weights], vec![0.0; input]);
                let operands = FloatOperands {
                    weights: &weights,
                    row_bytes: 64,
                    rows: 3,
                    input: &input,
                    stride: 16,
                    tokens: 2,
                    cols: 16,
                };
                std::panic::catch_unwind(|| kernels.multiply(operands, &mut vec![0.0; sums]))
            };
            assert!(product(192, 32, 6).is_ok());
            assert!(product(191, 32, 6).is_err());
            assert!(product(192, 31, 6).is_err());
            assert!(product(192, 32, 5).is_err());
        }
    }
}
