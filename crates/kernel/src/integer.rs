//! Weights as integers: how the quantized types look to the integer kernels, the portable ones of
//! which are here.
//!
//! Per part of 32 elements, an element is `scale * integer + offset`. With the activations of the
//! same part the product of a row is defined as follows, and computed so by every table:
//! the products of the integers of a group of activations are added exactly; the four sums become
//! floats and are added one by one with the scales of the activations, `u = fma(sum, s, u)`; and
//! the parts follow one another, `acc = fma(u, scale, acc)`, then
//! `acc = fma(offset, sum of activations, acc)` where a type has offsets. So the bits of a product
//! depend on the row and the input, and on nothing else: not on the instruction set, the number of
//! threads, or the other rows and inputs.

mod bits;
mod iq4_nl;
mod iq4_xs;
mod mxfp4;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;

use crate::activations::{GROUP, GROUPS, LIMIT, PART, Part, group, place};
use crate::scalar::blocks;
use apr_tensor::Block;
pub(crate) use bits::{IQ4_LESS, IQ4_TABLE, MXFP4_TABLE};
use bits::{crumbs_of_128, fifth_bits, low_then_high, nibbles_of_64, six_bits};

/// Rows of a panel: two vectors of the widest kind, so that an input is read once for both.
pub(crate) const PANEL_ROWS: usize = 32;
/// Rows that few inputs are multiplied with at a time.
pub(crate) const RUN_ROWS: usize = 16;
/// Parts of a block at most.
pub(crate) const MAX_PARTS: usize = 8;
/// The largest magnitude of an integer.
pub(crate) const MAX_INTEGER: i16 = 63 * 128;
// Sums of the products of a group fit an `i32`.
const _: () = assert!(GROUP as f64 * MAX_INTEGER as f64 * LIMIT as f64 <= i32::MAX as f64);

/// A type whose elements are `scale * integer + offset`.
pub(crate) trait Integers: Block {
    /// Parts of a block.
    const PARTS: usize = Self::ELEMS / PART;
    /// Offsets of a part: none, one, or one for each sixteen elements.
    const OFFSETS: usize = 0;

    /// The integers of a part, none larger than 8064 in magnitude: products of eight with activations
    /// are added in 32 bits.
    fn integers(&self, part: usize) -> [i16; PART];

    /// The scale of each part.
    fn scales(&self) -> [f32; MAX_PARTS];

    /// The offsets of each part, of its first and of its last sixteen elements.
    fn offsets(&self) -> [[f32; MAX_PARTS]; 2] {
        [[0.0; MAX_PARTS]; 2]
    }
}

/// One part of a panel's rows, in the order in which the kernels read them.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub(crate) struct PanelPart {
    /// `[pair of elements][row]`, in the order of [`place`].
    pub(crate) pairs: [[[i16; 2]; PANEL_ROWS]; PART / 2],
    pub(crate) scales: [f32; PANEL_ROWS],
    /// Of the first and of the last sixteen elements.
    pub(crate) offsets: [[f32; PANEL_ROWS]; 2],
}

impl PanelPart {
    pub(crate) const ZERO: Self = Self {
        pairs: [[[0; 2]; PANEL_ROWS]; PART / 2],
        scales: [0.0; PANEL_ROWS],
        offsets: [[0.0; PANEL_ROWS]; 2],
    };
}

/// The products of [`RUN_ROWS`] rows of packed weights, which lie one after the other, with each
/// input.
pub(crate) type MultiplyRows = unsafe fn(&[u8], RunInputs<'_>, &mut [[f32; RUN_ROWS]]);
/// Unpacks rows of weights.
pub(crate) type Pack = unsafe fn([&[u8]; PANEL_ROWS], &mut [PanelPart]);
/// Adds the products of a panel with each input to that input's sums.
pub(crate) type MultiplyPanel = unsafe fn(PanelInputs<'_>, &mut [[f32; PANEL_ROWS]]);

/// The inputs that meet packed rows.
#[derive(Clone, Copy)]
pub(crate) struct RunInputs<'a> {
    /// The parts of all inputs, one after the other.
    pub(crate) inputs: &'a [Part],
    /// Parts of an input.
    pub(crate) parts: usize,
}

impl<'a> RunInputs<'a> {
    /// The parts of input `token`.
    #[inline(always)]
    pub(crate) fn input(&self, token: usize) -> &'a [Part] {
        &self.inputs[token * self.parts..][..self.parts]
    }
}

/// The operands of a panel's product.
#[derive(Clone, Copy)]
pub(crate) struct PanelInputs<'a> {
    pub(crate) panel: &'a [PanelPart],
    /// Offsets of a part.
    pub(crate) offsets: usize,
    /// The parts of all inputs, `stride` from one to the next; those of the panel come first.
    pub(crate) inputs: &'a [Part],
    pub(crate) stride: usize,
}

impl<'a> PanelInputs<'a> {
    /// The parts of input `token` that meet the panel.
    #[inline(always)]
    pub(crate) fn input(&self, token: usize) -> &'a [Part] {
        &self.inputs[token * self.stride..][..self.panel.len()]
    }

    /// The parts of several inputs, from `token` on, that meet part `part` of the panel. Beside
    /// functions for an instruction set, whose closures the compiler calls instead of inlining.
    #[inline(always)]
    pub(crate) fn parts<const TOKENS: usize>(
        &self,
        token: usize,
        part: usize,
    ) -> [&'a Part; TOKENS] {
        std::array::from_fn(|t| &self.inputs[(token + t) * self.stride + part])
    }
}

/// The functions for one type of weights. They are memory-safe for any lengths; the only condition
/// on calling them is the instruction set.
#[derive(Clone, Copy)]
pub(crate) struct IntegerKernels {
    pub(crate) rows: MultiplyRows,
    /// Inputs up to which this is faster than a panel.
    pub(crate) few: usize,
    pub(crate) pack: Pack,
    pub(crate) offsets: usize,
}

/// The entries of a table for every type with integers, given the function that makes one from a
/// block type.
macro_rules! integer_types {
    ($of:ident) => {
        integer_types!($of:
            BlockQ4_0, BlockQ4_1, BlockQ5_0, BlockQ5_1, BlockQ8_0, BlockQ2_K, BlockQ3_K, BlockQ4_K, BlockQ5_K, BlockQ6_K, BlockIQ4_NL, BlockIQ4_XS, BlockMXFP4
        )
    };
    ($of:ident: $($block:ident),*) => {
        &[$((<apr_tensor::$block as apr_tensor::Block>::DTYPE, $of::<apr_tensor::$block>())),*]
    };
}
pub(crate) use integer_types;

/// The portable functions.
pub(crate) const fn integer_kernels<B: Integers>() -> IntegerKernels {
    IntegerKernels { rows: multiply_rows::<B>, few: 1, pack: pack::<B>, offsets: B::OFFSETS }
}

fn multiply_rows<B: Integers>(rows: &[u8], inputs: RunInputs<'_>, sums: &mut [[f32; RUN_ROWS]]) {
    for (token, sums) in sums.iter_mut().enumerate() {
        for (sum, row) in sums.iter_mut().zip(rows.chunks_exact(rows.len() / RUN_ROWS)) {
            *sum = multiply_row::<B>(row, inputs.input(token));
        }
    }
}

fn multiply_row<B: Integers>(row: &[u8], x: &[Part]) -> f32 {
    let mut sum = 0.0;
    for (block, x) in blocks::<B>(row).iter().zip(x.chunks_exact(B::PARTS)) {
        let (scales, offsets) = (block.scales(), block.offsets());
        for (part, x) in x.iter().enumerate() {
            let integers = block.integers(part);
            let sums = group_sums(|k| integers[place(k)], &x.values);
            sum = add_part(sum, sums, x, scales[part]);
            sum = add_offsets(sum, B::OFFSETS, x, offsets.map(|offsets| offsets[part]));
        }
    }
    sum
}

/// The exact sums of each group, of weights in the order of [`place`].
fn group_sums(weights: impl Fn(usize) -> i16, values: &[i16; PART]) -> [i32; GROUPS] {
    let mut sums = [0_i32; GROUPS];
    for (k, &value) in values.iter().enumerate() {
        sums[group(k)] += i32::from(weights(k)) * i32::from(value);
    }
    sums
}

fn add_part(acc: f32, sums: [i32; GROUPS], x: &Part, scale: f32) -> f32 {
    let scaled = sums.into_iter().zip(x.scales);
    let u = scaled.fold(0.0, |u: f32, (sum, scale)| (sum as f32).mul_add(scale, u));
    u.mul_add(scale, acc)
}

fn add_offsets(acc: f32, count: usize, x: &Part, offsets: [f32; 2]) -> f32 {
    let [first, second] = x.sums;
    match count {
        0 => acc,
        1 => offsets[0].mul_add(first + second, acc),
        _ => offsets[1].mul_add(second, offsets[0].mul_add(first, acc)),
    }
}

fn pack<B: Integers>(rows: [&[u8]; PANEL_ROWS], panel: &mut [PanelPart]) {
    for (r, row) in rows.into_iter().enumerate() {
        for (block, panel) in blocks::<B>(row).iter().zip(panel.chunks_exact_mut(B::PARTS)) {
            let (scales, offsets) = (block.scales(), block.offsets());
            for (part, panel) in panel.iter_mut().enumerate() {
                let integers = block.integers(part);
                for (pair, pairs) in panel.pairs.iter_mut().enumerate() {
                    pairs[r] = [2 * pair, 2 * pair + 1].map(|at| integers[place(at)]);
                }
                panel.scales[r] = scales[part];
                panel.offsets[0][r] = offsets[0][part];
                panel.offsets[1][r] = offsets[1][part];
            }
        }
    }
}

/// The portable product of a panel.
pub(crate) fn multiply_panel(operands: PanelInputs<'_>, sums: &mut [[f32; PANEL_ROWS]]) {
    for (token, sums) in sums.iter_mut().enumerate() {
        for (panel, x) in operands.panel.iter().zip(operands.input(token)) {
            for (r, sum) in sums.iter_mut().enumerate() {
                let integers = group_sums(|k| panel.pairs[k / 2][r][k % 2], &x.values);
                *sum = add_part(*sum, integers, x, panel.scales[r]);
                let offsets = panel.offsets.map(|offsets| offsets[r]);
                *sum = add_offsets(*sum, operands.offsets, x, offsets);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::{DESCRIBED, Xorshift, random_blocks};

    #[test]
    fn integers_scales_and_offsets_are_the_values() {
        let mut random = Xorshift::new(9);
        for &(dtype, describe) in DESCRIBED {
            let bytes = random_blocks(&mut random, dtype, 200);
            let mut values = vec![0.0; 200 * dtype.block_elems()];
            dtype.decode(&bytes, &mut values).unwrap();
            for (k, (element, &value)) in describe(&bytes).iter().zip(&values).enumerate() {
                let exact = element.value();
                let bound = exact.magnitude * 2.0 * f64::from(f32::EPSILON);
                assert!((exact.sum - f64::from(value)).abs() <= bound, "{dtype} element {k}");
                assert!(element.integer.unsigned_abs() <= MAX_INTEGER.unsigned_abs(), "{dtype}");
            }
        }
    }
}
