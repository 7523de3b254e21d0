//! The dispatch table: which functions compute, per type and instruction set.
#![allow(unsafe_code, reason = "kernels are compiled for instruction sets that must be detected")]

use crate::KernelError;
use crate::activations::{PART, Part};
use crate::attention::CacheKernels;
use crate::integer::{IntegerKernels, MultiplyPanel, PANEL_ROWS, PanelInputs, PanelPart, RUN_ROWS};
use crate::scalar::SCALAR;
use crate::task::Target;
#[cfg(target_arch = "x86_64")]
use crate::x86_64::detected;
use apr_tensor::{BlockQ8_0, DType};
use std::fmt;

/// Tokens of a tile.
pub(crate) const TILE_TOKENS: usize = 4;
/// Weight rows of a tile.
pub(crate) const TILE_ROWS: usize = 3;
/// Products of a tile, `[token][row]`.
pub(crate) type TileSums = [[f32; TILE_ROWS]; TILE_TOKENS];
/// Products of inputs with rows of weights, all of one length.
pub(crate) type Tile = unsafe fn([&[f32]; TILE_TOKENS], [&[f32]; TILE_ROWS]) -> TileSums;

/// The functions for one instruction set.
///
/// A table can be had only on a CPU that has its instructions: that is what makes its methods safe.
/// Every quantized or float type can be multiplied with by every table: through its integers if
/// `integers` has the type, by the functions of `rows` if they have it, and else through its
/// decoder.
pub struct Kernels {
    pub(crate) name: &'static str,
    pub(crate) target: Target,
    pub(crate) rows: &'static [(DType, BlockKernels)],
    pub(crate) integers: &'static [(DType, IntegerKernels)],
    pub(crate) multiply_panel: MultiplyPanel,
    pub(crate) quantize: unsafe fn(&[f32], &mut [Part]),
    pub(crate) tile: Tile,
    pub(crate) dot: unsafe fn(&[f32], &[f32]) -> f32,
    pub(crate) add_scaled: unsafe fn(f32, &[f32], &mut [f32]),
    pub(crate) max: unsafe fn(&[f32]) -> f32,
    pub(crate) exp_sum: unsafe fn(&mut [f32], f32) -> f32,
    pub(crate) silu: unsafe fn(&mut [f32]),
    pub(crate) gelu_tanh: unsafe fn(&mut [f32]),
    pub(crate) cache_f32: CacheKernels<f32>,
    pub(crate) cache_f16: CacheKernels<u16>,
    pub(crate) cache_q8_0: CacheKernels<BlockQ8_0>,
}

/// The functions for one type of weights in single precision. They are memory-safe for any
/// lengths; the only condition on calling them is the instruction set.
#[derive(Clone, Copy)]
pub(crate) struct BlockKernels {
    pub(crate) dot: unsafe fn(&[u8], &[f32]) -> f32,
    pub(crate) decode: unsafe fn(&[u8], &mut [f32]),
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

    /// The sum of `a[i] * b[i]`.
    ///
    /// # Panics
    /// When the lengths differ.
    #[must_use]
    pub fn dot(&self, a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len(), "dot product of vectors of different lengths");
        // SAFETY: the table was handed out after its instruction set was detected.
        unsafe { (self.dot)(a, b) }
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
        let kernels = find(self.rows, dtype);
        self.supports(dtype).then_some(Rows { dtype, table: self, kernels })
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

    /// The product of each input with each row of weights. The sum of a pair does not depend on
    /// the other inputs and rows, nor on its place.
    pub(crate) fn tile(
        &self,
        inputs: [&[f32]; TILE_TOKENS],
        weights: [&[f32]; TILE_ROWS],
    ) -> TileSums {
        let depth = weights[0].len();
        assert!(inputs.iter().chain(&weights).all(|x| x.len() == depth), "one depth in a tile");
        // SAFETY: the table was handed out after its instruction set was detected.
        unsafe { (self.tile)(inputs, weights) }
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

/// Elements that are decoded at a time where a type has no functions of its own.
const RUN: usize = 256;

/// The functions of a table for rows of one type in single precision; as the table, only on a CPU
/// that has them.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    dtype: DType,
    table: &'a Kernels,
    kernels: Option<BlockKernels>,
}

impl Rows<'_> {
    /// The product of packed weights with as many activations.
    pub(crate) fn dot(&self, weights: &[u8], x: &[f32]) -> f32 {
        self.check(weights.len(), x.len());
        let Some(kernels) = self.kernels else { return self.decode_and_dot(weights, x) };
        // SAFETY: `Rows` comes from a table that was handed out after detection.
        unsafe { (kernels.dot)(weights, x) }
    }

    /// The values of packed weights.
    pub(crate) fn decode(&self, weights: &[u8], out: &mut [f32]) {
        self.check(weights.len(), out.len());
        let Some(kernels) = self.kernels else {
            return self.table.decode_blocks(self.dtype, weights, out);
        };
        // SAFETY: `Rows` comes from a table that was handed out after detection.
        unsafe { (kernels.decode)(weights, out) }
    }

    fn decode_and_dot(&self, weights: &[u8], x: &[f32]) -> f32 {
        let mut values = [0.0; RUN];
        // `RUN` is whole blocks of every type: none has more elements.
        let run = RUN / self.dtype.block_elems() * self.dtype.block_bytes();
        let products = weights.chunks(run).zip(x.chunks(RUN)).map(|(weights, x)| {
            let values = &mut values[..x.len()];
            self.decode(weights, values);
            self.table.dot(values, x)
        });
        products.sum()
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
    /// The products of one input with rows of packed weights.
    pub(crate) fn multiply_rows(&self, rows: [&[u8]; RUN_ROWS], input: &[Part]) -> [f32; RUN_ROWS] {
        rows.iter().for_each(|row| self.check(row.len(), input.len()));
        // SAFETY: `Packed` comes from a table that was handed out after detection.
        unsafe { (self.kernels.rows)(rows, input) }
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

    #[test]
    fn row_products_are_within_rounding_of_double_precision() {
        let mut random = Xorshift::new(2);
        for (dtype, blocks) in supported().flat_map(|dtype| LENGTHS.map(|n| (dtype, n))) {
            let bytes = random_blocks(&mut random, dtype, blocks);
            let mut weights = vec![0.0; blocks * dtype.block_elems()];
            dtype.decode(&bytes, &mut weights).unwrap();
            let x = random.floats(weights.len());
            for table in Kernels::available() {
                let found = table.block(dtype).unwrap().dot(&bytes, &x);
                assert_close(found, dot_f64(&weights, &x), weights.len());
            }
        }
    }

    #[test]
    fn vector_operations_agree_with_double_precision() {
        let mut random = Xorshift::new(3);
        for len in LENGTHS {
            let (a, b) = (random.floats(len), random.floats(len));
            for table in Kernels::available() {
                assert_close(table.dot(&a, &b), dot_f64(&a, &b), len);
                let mut sum = b.clone();
                table.add_scaled(0.75, &a, &mut sum);
                for ((&sum, &a), &b) in sum.iter().zip(&a).zip(&b) {
                    assert_close(sum, dot_f64(&[0.75, 1.0], &[a, b]), 2);
                }
            }
        }
    }

    #[test]
    fn sums_of_a_tile_are_independent() {
        let mut random = Xorshift::new(4);
        for depth in LENGTHS {
            let inputs: Vec<_> = (0..TILE_TOKENS).map(|_| random.floats(depth)).collect();
            let weights: Vec<_> = (0..TILE_ROWS).map(|_| random.floats(depth)).collect();
            let inputs = [&inputs[0][..], &inputs[1], &inputs[2], &inputs[3]];
            let weights = [&weights[0][..], &weights[1], &weights[2]];
            for table in Kernels::available() {
                let full = table.tile(inputs, weights);
                for (t, r) in (0..TILE_TOKENS).flat_map(|t| (0..TILE_ROWS).map(move |r| (t, r))) {
                    assert_close(full[t][r], dot_f64(inputs[t], weights[r]), depth);
                    let alone = table.tile([inputs[t]; TILE_TOKENS], [weights[r]; TILE_ROWS]);
                    assert_eq!(alone, [[full[t][r]; TILE_ROWS]; TILE_TOKENS]);
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "32 elements of Q8_0 are not 68 bytes")]
    fn lengths_are_checked() {
        let _ = SCALAR.block(DType::Q8_0).unwrap().dot(&[0; 68], &[0.0; 32]);
    }
}
