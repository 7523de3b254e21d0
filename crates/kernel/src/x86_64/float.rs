//! Products in single precision, given the vectors of an instruction set and how it widens a type
//! to them: tiles of a few rows and a few inputs whose sums stay in registers, straight from packed
//! weights.
//!
//! All of it is inlined into the functions of a table, which are compiled for its instruction set.
#![allow(unsafe_code, reason = "kernels are compiled for instruction sets that must be detected")]

use super::load;
use crate::float::{FEW_TOKENS, FloatOperands, LANES, PANEL_COLS};
use apr_tensor::Block;
use std::arch::x86_64::{
    _mm256_add_ps, _mm256_loadu_ps, _mm256_permute2f128_ps, _mm256_setzero_ps, _mm256_shuffle_ps,
    _mm256_storeu_ps,
};
use std::hint::black_box;
use std::ops::Range;

/// A vector of an instruction set, which the CPU must have wherever a method is called.
pub(super) trait Vector: Copy {
    /// Elements.
    const LEN: usize;
    /// Inputs of a tile of four rows at most, so that its sums and operands fit the registers.
    const TOKENS: usize;

    unsafe fn zero() -> Self;
    unsafe fn splat(value: f32) -> Self;
    /// `LEN` elements, wherever they lie.
    unsafe fn load(values: *const f32) -> Self;
    /// `self * factor + term`, rounded once.
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self;
    /// Writes `LEN` elements, wherever they lie.
    unsafe fn store(self, out: *mut f32);
}

/// How an instruction set reads a type of weights.
pub(super) trait Widen<V>: Block {
    /// The values of as many elements as a vector has, wherever they lie.
    ///
    /// # Safety
    /// The elements must be readable, and the CPU must have the instruction set.
    unsafe fn widen(bytes: *const u8) -> V;
}

/// Rows of a tile.
const ROWS: usize = 4;
/// Bytes of the largest vector.
const VECTOR_BYTES: usize = LANES * size_of::<f32>();

/// Adds the products of rows with inputs to `sums`.
///
/// # Safety
/// The CPU must have the instruction set of the vector, AVX2 and FMA.
#[inline(always)]
pub(super) unsafe fn multiply<V: Vector, W: Widen<V>>(
    operands: FloatOperands<'_>,
    sums: &mut [f32],
) {
    operands.check(size_of::<W>(), sums);
    let (rows, tokens) = (operands.rows, operands.tokens);
    let block = match tokens {
        ..=FEW_TOKENS => ROWS,
        _ => rows.max(1),
    };
    for start in (0..rows).step_by(block) {
        let rows = start..rows.min(start + block);
        for start in (0..operands.cols).step_by(PANEL_COLS) {
            let cols = start..operands.cols.min(start + PANEL_COLS);
            for token in (0..tokens).step_by(V::TOKENS) {
                let strip = Strip { operands, rows: rows.clone(), cols: cols.clone(), token };
                // SAFETY: the operands were checked, the strip lies within them, and the caller
                // vouches for the CPU.
                unsafe { multiply_strip::<V, W>(&strip, sums) };
            }
        }
    }
}

/// Some inputs, from `token` on, and the rows and columns that they meet.
struct Strip<'a> {
    operands: FloatOperands<'a>,
    rows: Range<usize>,
    cols: Range<usize>,
    token: usize,
}

#[inline(always)]
unsafe fn multiply_strip<V: Vector, W: Widen<V>>(strip: &Strip<'_>, sums: &mut [f32]) {
    let tokens = strip.operands.tokens;
    // SAFETY: as the caller vouches; a strip has at least these tokens.
    unsafe {
        match (tokens - strip.token).min(V::TOKENS) {
            1 => strip.multiply::<V, W, ROWS, 1>(sums),
            2 => strip.multiply::<V, W, ROWS, 2>(sums),
            3 => strip.multiply::<V, W, ROWS, 3>(sums),
            4 if V::TOKENS >= 4 => strip.multiply::<V, W, ROWS, 4>(sums),
            5 if V::TOKENS >= 5 => strip.multiply::<V, W, ROWS, 5>(sums),
            6 if V::TOKENS >= 6 => strip.multiply::<V, W, ROWS, 6>(sums),
            count => unreachable!("{count} inputs in a tile"),
        }
    }
}

impl Strip<'_> {
    /// # Safety
    /// The operands must have been checked and have these rows, columns and `TOKENS` inputs.
    #[inline(always)]
    unsafe fn multiply<V: Vector, W: Widen<V>, const ROWS: usize, const TOKENS: usize>(
        &self,
        sums: &mut [f32],
    ) {
        let Self { operands, rows, cols, token } = self;
        let row_bytes = operands.row_bytes;
        let inputs: [*const f32; TOKENS] = std::array::from_fn(|t| {
            operands.input[(token + t) * operands.stride + cols.start..].as_ptr()
        });
        for row in rows.clone().step_by(ROWS) {
            // At the end the last row is repeated, and its sums are dropped.
            let weights = std::array::from_fn(|r| {
                let row = (row + r).min(rows.end - 1);
                operands.weights[row * row_bytes + cols.start * size_of::<W>()..].as_ptr()
            });
            // Rows lie one after the other: the next ones are asked for from end to end, while
            // these are read side by side.
            let ahead = (row + ROWS) * row_bytes + ROWS * cols.start * size_of::<W>();
            let tile = Tile::<ROWS, TOKENS> {
                weights,
                inputs,
                cols: cols.len(),
                ahead: operands.weights.as_ptr().wrapping_add(ahead),
            };
            // SAFETY: rows and inputs have these columns.
            let lanes = unsafe { tile.multiply::<V, W>() };
            let count = rows.end - row;
            for (first, lanes) in (0..).step_by(8 / ROWS).zip(lanes.as_flattened().chunks(8)) {
                // SAFETY: the caller vouches for the CPU.
                let found = unsafe { added(lanes) };
                for (t, found) in (first..TOKENS).zip(found.as_chunks::<ROWS>().0) {
                    let sums = &mut sums[(token + t) * operands.rows + row..];
                    add(sums, found, count);
                }
            }
        }
    }
}

/// Adds the first of these, all where there is room for all.
#[inline(always)]
fn add<const ROWS: usize>(sums: &mut [f32], found: &[f32; ROWS], count: usize) {
    match sums.first_chunk_mut::<ROWS>() {
        Some(sums) if count >= ROWS => {
            sums.iter_mut().zip(found).for_each(|(sum, found)| *sum += found);
        }
        _ => sums[..count].iter_mut().zip(found).for_each(|(sum, found)| *sum += found),
    }
}

/// The columns of some rows and some inputs that meet.
struct Tile<const ROWS: usize, const TOKENS: usize> {
    weights: [*const u8; ROWS],
    inputs: [*const f32; TOKENS],
    cols: usize,
    /// What is read afterwards, all rows together: it may lie past the weights.
    ahead: *const u8,
}

impl<const ROWS: usize, const TOKENS: usize> Tile<ROWS, TOKENS> {
    /// The lanes of each product.
    ///
    /// # Safety
    /// The weights and inputs must have the columns, and the CPU the instruction set.
    #[inline(always)]
    unsafe fn multiply<V: Vector, W: Widen<V>>(&self) -> [[[f32; LANES]; ROWS]; TOKENS] {
        let mut lanes = [[[0.0; LANES]; ROWS]; TOKENS];
        // Shorter vectors take the lanes one part after the other, for want of registers.
        let mut first = 0;
        while first < LANES {
            // SAFETY: the loop ends where fewer columns are left than a vector has, and those are
            // copied. A vector of lanes begins at `first`.
            unsafe {
                let mut acc = [[V::zero(); ROWS]; TOKENS];
                let mut k = first;
                while k + V::LEN <= self.cols {
                    accumulate::<V, W, ROWS, TOKENS>(&mut acc, self.weights, self.inputs, k);
                    let offset = load::FAR_BYTES + k * ROWS * size_of::<W>();
                    load::prefetch_lines(self.ahead, offset, V::LEN * ROWS * size_of::<W>());
                    k += LANES;
                }
                if k < self.cols {
                    self.multiply_rest::<V, W>(&mut acc, k);
                }
                for (lanes, acc) in lanes.as_flattened_mut().iter_mut().zip(acc.as_flattened()) {
                    acc.store(lanes.as_mut_ptr().add(first));
                }
            }
            // One loop for all parts: compilers that see two keep the sums of the first in
            // registers that the second needs.
            first = if V::LEN == LANES { LANES } else { black_box(first + V::LEN) };
        }
        lanes
    }

    /// The last columns, from `k` on, and zeros.
    ///
    /// # Safety
    /// As for `multiply`; there must be fewer columns than a vector has.
    #[inline(always)]
    unsafe fn multiply_rest<V: Vector, W: Widen<V>>(
        &self,
        acc: &mut [[V; ROWS]; TOKENS],
        k: usize,
    ) {
        let (mut weights, mut inputs) = ([[0_u8; VECTOR_BYTES]; ROWS], [[0_f32; LANES]; TOKENS]);
        let count = self.cols - k;
        // SAFETY: the operands have these columns, and the arrays room for more.
        unsafe {
            for (out, weights) in weights.iter_mut().zip(self.weights) {
                let weights = weights.add(k * size_of::<W>());
                weights.copy_to_nonoverlapping(out.as_mut_ptr(), count * size_of::<W>());
            }
            for (out, input) in inputs.iter_mut().zip(self.inputs) {
                input.add(k).copy_to_nonoverlapping(out.as_mut_ptr(), count);
            }
            let weights = weights.each_ref().map(|weights| weights.as_ptr());
            let inputs = inputs.each_ref().map(|input| input.as_ptr());
            accumulate::<V, W, ROWS, TOKENS>(acc, weights, inputs, 0);
        }
    }
}

/// Adds the products of a vector of each row and of each input, from element `k` on.
#[inline(always)]
unsafe fn accumulate<V: Vector, W: Widen<V>, const ROWS: usize, const TOKENS: usize>(
    acc: &mut [[V; ROWS]; TOKENS],
    weights: [*const u8; ROWS],
    inputs: [*const f32; TOKENS],
    k: usize,
) {
    // SAFETY: the caller vouches for the elements and for the CPU.
    unsafe {
        let mut x = [V::zero(); TOKENS];
        for (x, input) in x.iter_mut().zip(inputs) {
            *x = V::load(input.add(k));
        }
        for (r, weights) in weights.into_iter().enumerate() {
            let weights = W::widen(weights.add(k * size_of::<W>()));
            for (acc, x) in acc.iter_mut().zip(x) {
                acc[r] = weights.mul_add(x, acc[r]);
            }
        }
    }
}

/// The sums of the lanes of up to eight products.
///
/// # Safety
/// The CPU must have AVX.
#[inline(always)]
unsafe fn added(lanes: &[[f32; LANES]]) -> [f32; 8] {
    // SAFETY: the caller vouches for the CPU, and the arrays are the bytes that are read and
    // written.
    unsafe {
        let mut v = [_mm256_setzero_ps(); 8];
        for (v, lanes) in v.iter_mut().zip(lanes) {
            let (low, high) = (lanes.as_ptr(), lanes.as_ptr().add(8));
            *v = _mm256_add_ps(_mm256_loadu_ps(low), _mm256_loadu_ps(high));
        }
        let mut fours = [_mm256_setzero_ps(); 4];
        for (i, four) in fours.iter_mut().enumerate() {
            let low = _mm256_permute2f128_ps::<0x20>(v[i], v[i + 4]);
            *four = _mm256_add_ps(low, _mm256_permute2f128_ps::<0x31>(v[i], v[i + 4]));
        }
        let mut twos = [_mm256_setzero_ps(); 2];
        for (i, two) in twos.iter_mut().enumerate() {
            let low = _mm256_shuffle_ps::<0x44>(fours[2 * i], fours[2 * i + 1]);
            let high = _mm256_shuffle_ps::<0xee>(fours[2 * i], fours[2 * i + 1]);
            *two = _mm256_add_ps(low, high);
        }
        let even = _mm256_shuffle_ps::<0x88>(twos[0], twos[1]);
        let odd = _mm256_shuffle_ps::<0xdd>(twos[0], twos[1]);
        let mut sums = [0.0; 8];
        _mm256_storeu_ps(sums.as_mut_ptr(), _mm256_add_ps(even, odd));
        sums
    }
}
