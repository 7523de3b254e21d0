//! The integer kernels for all instruction sets with lanes, given how a type is unpacked.
//!
//! Packed rows are transposed by fours of bytes before they are unpacked, while there is least of
//! them: from there on a lane is a row, and a broadcast pair of activations meets all rows at once.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

mod iq4_nl;
mod iq4_xs;
mod mxfp4;
mod nibbles;
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
mod six_bits;

use super::lanes::Lanes;
use super::load;
use crate::activations::{FOURS, Part};
use crate::integer::{Integers, MAX_PARTS, PANEL_ROWS, PanelPart, RUN_ROWS, RunInputs};
use crate::scalar::blocks;

/// How a type becomes 16-bit integers whose lanes are rows.
pub(super) trait Unpack: Integers {
    /// What all parts of blocks need, transposed: a lane is a row, and has four bytes of it.
    type Head<L: Copy>: Copy;
    /// What a unit needs beside it.
    type Columns<L: Copy>: Copy;
    /// Parts whose elements share bytes.
    const UNIT: usize = 1;
    /// Whether integers have [factors](Self::factors).
    const SCALED: bool = false;

    /// # Safety
    /// The CPU must have the instruction set of `L`; so for all methods.
    unsafe fn head<L: Lanes<ROWS>, const ROWS: usize>(blocks: &[&Self; ROWS]) -> Self::Head<L>;

    /// # Safety
    /// As for `head`.
    unsafe fn columns<L: Lanes<ROWS>, const ROWS: usize>(
        blocks: &[&Self; ROWS],
        unit: usize,
    ) -> Self::Columns<L>;

    /// Four `j` of part `k` of a unit: its elements 0 and 2, and 1 and 3.
    ///
    /// # Safety
    /// As for `head`.
    unsafe fn four<L: Lanes<ROWS>, const ROWS: usize>(
        head: &Self::Head<L>,
        columns: &Self::Columns<L>,
        place: Place,
        j: usize,
    ) -> [L; 2];

    /// What the integers of the first and of the last sixteen elements are multiplied with.
    ///
    /// # Safety
    /// As for `head`.
    #[inline(always)]
    unsafe fn factors<L: Lanes<ROWS>, const ROWS: usize>(
        head: &Self::Head<L>,
        place: Place,
    ) -> [L; 2] {
        let _ = (head, place);
        // SAFETY: the caller vouches for the CPU.
        unsafe { [L::splat(1); 2] }
    }

    /// The scale of each part.
    ///
    /// # Safety
    /// As for `head`.
    unsafe fn lane_scales<L: Lanes<ROWS>, const ROWS: usize>(
        blocks: &[&Self; ROWS],
        head: &Self::Head<L>,
    ) -> [L::Floats; MAX_PARTS];

    /// The offsets of each part, of the first and of the last sixteen elements, given the scales.
    ///
    /// # Safety
    /// As for `head`.
    #[inline(always)]
    unsafe fn lane_offsets<L: Lanes<ROWS>, const ROWS: usize>(
        blocks: &[&Self; ROWS],
        head: &Self::Head<L>,
        scales: &[L::Floats; MAX_PARTS],
    ) -> [[L::Floats; MAX_PARTS]; 2] {
        let _ = (blocks, head, scales);
        // SAFETY: the caller vouches for the CPU.
        unsafe { [[L::zero_floats(); MAX_PARTS]; 2] }
    }
}

/// A part of a block: number `k` of those of a unit. Units are counted while a program runs, parts
/// of a unit when it is compiled.
#[derive(Clone, Copy)]
pub(super) struct Place {
    unit: usize,
    k: usize,
}

/// Sixteen bytes of a block of each row, from byte `at` on, transposed.
#[inline(always)]
unsafe fn columns_at<L: Lanes<ROWS>, B: Integers, const ROWS: usize>(
    blocks: &[&B; ROWS],
    at: usize,
) -> [L; 4] {
    let mut bytes = [&[0; 16]; ROWS];
    for (bytes, block) in bytes.iter_mut().zip(blocks) {
        let Some(sixteen) = block.as_bytes()[at..].first_chunk() else {
            unreachable!("blocks have sixteen bytes there")
        };
        *bytes = sixteen;
    }
    // SAFETY: the caller vouches for the CPU.
    unsafe { L::columns(bytes) }
}

/// `COUNT` times sixteen bytes of a block of each row, from byte `at` on, transposed.
#[inline(always)]
unsafe fn many_columns_at<L: Lanes<ROWS>, B: Integers, const ROWS: usize, const COUNT: usize>(
    blocks: &[&B; ROWS],
    at: usize,
) -> [[L; 4]; COUNT] {
    // SAFETY: the caller vouches for the CPU.
    unsafe {
        let mut columns = [[L::zero(); 4]; COUNT];
        for (i, columns) in columns.iter_mut().enumerate() {
            *columns = columns_at(blocks, at + 16 * i);
        }
        columns
    }
}

/// A number of each block.
#[inline(always)]
fn of_blocks<B, T: Copy + Default, const ROWS: usize>(
    blocks: &[&B; ROWS],
    of: impl Fn(&B) -> T,
) -> [T; ROWS] {
    let mut out = [T::default(); ROWS];
    for (out, block) in out.iter_mut().zip(blocks) {
        *out = of(block);
    }
    out
}

/// Rows from `first` on.
#[inline(always)]
fn some<T: Copy, const ROWS: usize>(rows: &[T], first: usize) -> [T; ROWS] {
    let Some(rows) = rows[first..].first_chunk() else { unreachable!("a multiple of the lanes") };
    *rows
}

/// The products of rows with inputs.
///
/// # Safety
/// The CPU must have the instruction set of `L`.
#[inline(always)]
pub(super) unsafe fn multiply_rows<L: Lanes<ROWS>, B: Unpack, const ROWS: usize>(
    rows: &[u8],
    inputs: RunInputs<'_>,
    sums: &mut [[f32; RUN_ROWS]],
) {
    let blocks = blocks::<B>(rows);
    for (i, rows) in blocks.chunks_exact(blocks.len() * ROWS / RUN_ROWS).enumerate() {
        let (mut token, first) = (0, i * ROWS);
        while token < sums.len() {
            let run = Run::<B, ROWS> { blocks: rows, inputs, token };
            let sums = &mut sums[token..];
            // As even as can be: four together cost little more than two apart.
            let count = sums.len().div_ceil(sums.len().div_ceil(L::INPUTS));
            // SAFETY: the caller vouches for the CPU.
            token += unsafe {
                match count {
                    1 => run.multiply::<L, 1>(sums, first),
                    2 => run.multiply::<L, 2>(sums, first),
                    5.. if L::INPUTS == 6 => run.multiply::<L, 6>(sums, first),
                    _ => run.multiply::<L, 4>(sums, first),
                }
            };
        }
    }
}

/// Bytes up to which two runs of rows and the inputs stay in the nearest cache together, some of
/// whose lines share a place. The next run then goes on to there; else it would push out what is
/// read.
const NEAR_BYTES: usize = 20 * 1024;

/// What is read after a run of rows.
#[derive(Clone, Copy)]
struct Next {
    /// It may lie past the weights.
    bytes: *const u8,
    near: bool,
}

impl Next {
    #[inline(always)]
    fn prefetch(self, offset: usize, len: usize) {
        load::prefetch_lines(self.bytes, offset + load::FAR_BYTES, len);
        if self.near {
            load::prefetch_lines_near(self.bytes, offset, len);
        }
    }
}

/// Rows that meet inputs from `token` on.
struct Run<'a, B, const ROWS: usize> {
    /// Those of one row after the other.
    blocks: &'a [B],
    inputs: RunInputs<'a>,
    token: usize,
}

impl<B: Unpack, const ROWS: usize> Run<'_, B, ROWS> {
    /// The products with `TOKENS` inputs, or as many as there are; returns how many.
    #[inline(always)]
    unsafe fn multiply<L: Lanes<ROWS>, const TOKENS: usize>(
        &self,
        sums: &mut [[f32; RUN_ROWS]],
        first: usize,
    ) -> usize {
        let mut x: [&[Part]; TOKENS] = [&[]; TOKENS];
        for (t, x) in x.iter_mut().enumerate() {
            // At the end the last input is repeated, and its sums are dropped.
            *x = self.inputs.input(self.token + t.min(sums.len() - 1));
        }
        // SAFETY: the caller vouches for the CPU.
        let acc = unsafe { self.accumulate::<L, TOKENS>(x) };
        for (sums, acc) in sums.iter_mut().zip(acc) {
            let Some(sums) = sums[first..].first_chunk_mut() else {
                unreachable!("a multiple of the lanes")
            };
            // SAFETY: the caller vouches for the CPU.
            unsafe { L::store_floats(acc, sums) };
        }
        TOKENS
    }

    #[inline(always)]
    unsafe fn accumulate<L: Lanes<ROWS>, const TOKENS: usize>(
        &self,
        x: [&[Part]; TOKENS],
    ) -> [L::Floats; TOKENS] {
        let count = self.blocks.len() / ROWS;
        assert!(self.blocks.len() == count * ROWS, "rows of different lengths");
        assert!(x.iter().all(|x| x.len() == count * B::PARTS), "inputs of another length");
        // A place for every four rows, and distances, that the compiler knows nothing of: it would
        // keep a place for each row, for which there are not the registers.
        let distance = load::hidden(count * size_of::<B>());
        let thrice = load::hidden(3 * distance);
        let mut fours = [self.blocks.as_ptr(); ROWS];
        for (i, four) in fours[..ROWS / 4].iter_mut().enumerate() {
            *four = four.wrapping_byte_add(4 * i * distance);
        }
        // Rows lie one after the other: the next ones are asked for from end to end, while these
        // are read side by side.
        let run = self.blocks.len() * RUN_ROWS / ROWS;
        let next = Next {
            bytes: self.blocks.as_ptr().wrapping_add(run).cast(),
            near: 2 * run * size_of::<B>() + size_of_val(self.inputs.inputs) <= NEAR_BYTES,
        };
        // SAFETY: the caller vouches for the CPU. Row `4 j + r` begins `r` distances behind place
        // `j`, and has `count` blocks, one of which the place is moved on by each time; the inputs
        // have as many.
        unsafe {
            let mut acc = [L::zero_floats(); TOKENS];
            let offsets = [0, distance, 2 * distance, thrice];
            for i in 0..count {
                let mut blocks = [&self.blocks[0]; ROWS];
                for (four, blocks) in fours.iter_mut().zip(blocks.as_chunks_mut::<4>().0) {
                    let first = four.with_addr(load::hidden(four.addr()));
                    for (block, offset) in blocks.iter_mut().zip(offsets) {
                        *block = &*first.wrapping_byte_add(offset);
                    }
                    *four = first.wrapping_add(1);
                }
                let mut parts: [&[Part]; TOKENS] = [&[]; TOKENS];
                for (parts, x) in parts.iter_mut().zip(x) {
                    *parts = x.get_unchecked(i * B::PARTS..(i + 1) * B::PARTS);
                }
                let next =
                    Next { bytes: next.bytes.wrapping_add(i * ROWS * size_of::<B>()), ..next };
                acc = multiply_block::<L, B, ROWS, TOKENS>(&blocks, parts, next, acc);
            }
            acc
        }
    }
}

#[inline(always)]
unsafe fn multiply_block<L: Lanes<ROWS>, B: Unpack, const ROWS: usize, const TOKENS: usize>(
    blocks: &[&B; ROWS],
    x: [&[Part]; TOKENS],
    next: Next,
    mut acc: [L::Floats; TOKENS],
) -> [L::Floats; TOKENS] {
    // SAFETY: the caller vouches for the CPU.
    unsafe {
        let head = B::head::<L, ROWS>(blocks);
        let scales = B::lane_scales::<L, ROWS>(blocks, &head);
        let offsets = B::lane_offsets::<L, ROWS>(blocks, &head, &scales);
        for unit in 0..B::PARTS / B::UNIT {
            let columns = (head, B::columns::<L, ROWS>(blocks, unit));
            // Left to a loop, they are counted while the program runs where there is much in it.
            macro_rules! parts {
                ($($k:literal)*) => {$(
                    if $k < B::UNIT {
                        let part = unit * B::UNIT + $k;
                        let mut x_part = [&x[0][part]; TOKENS];
                        for (x_part, x) in x_part.iter_mut().zip(x) {
                            *x_part = &x[part];
                        }
                        // A little at a time, so that nothing waits behind it.
                        let bytes = ROWS * size_of::<B>() / B::PARTS;
                        next.prefetch(part * bytes, bytes);
                        let place = Place { unit, k: $k };
                        let u = multiply_part::<L, B, ROWS, TOKENS>(&columns, place, &x_part);
                        let offsets = [offsets[0][part], offsets[1][part]];
                        acc = add_part::<L, B, ROWS, TOKENS>(acc, u, (scales[part], offsets), &x_part);
                    }
                )*};
            }
            const { assert!(B::UNIT <= 4, "a unit of more parts") };
            parts!(0 1 2 3);
        }
        acc
    }
}

/// The sums with those of a part.
#[inline(always)]
unsafe fn add_part<L: Lanes<ROWS>, B: Unpack, const ROWS: usize, const TOKENS: usize>(
    mut acc: [L::Floats; TOKENS],
    u: [L::Floats; TOKENS],
    (scale, offsets): (L::Floats, [L::Floats; 2]),
    x: &[&Part; TOKENS],
) -> [L::Floats; TOKENS] {
    // SAFETY: the caller vouches for the CPU.
    unsafe {
        for ((acc, u), x) in acc.iter_mut().zip(u).zip(x) {
            *acc = L::mul_add(u, scale, *acc);
            let [first, second] = x.sums;
            match B::OFFSETS {
                0 => {}
                1 => *acc = L::mul_add(offsets[0], L::splat_float(first + second), *acc),
                _ => {
                    *acc = L::mul_add(offsets[0], L::splat_float(first), *acc);
                    *acc = L::mul_add(offsets[1], L::splat_float(second), *acc);
                }
            }
        }
        acc
    }
}

/// The products with a part, scaled as the activations are.
#[inline(always)]
unsafe fn multiply_part<L: Lanes<ROWS>, B: Unpack, const ROWS: usize, const TOKENS: usize>(
    (head, columns): &(B::Head<L>, B::Columns<L>),
    place: Place,
    x: &[&Part; TOKENS],
) -> [L::Floats; TOKENS] {
    // SAFETY: the caller vouches for the CPU.
    unsafe {
        let factors = B::factors::<L, ROWS>(head, place);
        let mut u = [L::zero_floats(); TOKENS];
        // Groups and their fours are told apart when this is compiled.
        macro_rules! groups {
            ($($group:literal: $($four:literal)*,)*) => {$(
                let mut sums = [L::zero(); TOKENS];
                $(
                    let [even, odd] = B::four::<L, ROWS>(head, columns, place, $four);
                    for (sum, x) in sums.iter_mut().zip(x) {
                        let pairs = x.values.as_chunks::<2>().0;
                        *sum = sum.dot(even, L::splat(load::pair_bits(&pairs[2 * $four])));
                        *sum = sum.dot(odd, L::splat(load::pair_bits(&pairs[2 * $four + 1])));
                    }
                )*
                for ((u, mut sum), x) in u.iter_mut().zip(sums).zip(x) {
                    if B::SCALED {
                        sum = sum.mul32(factors[$group / 2]);
                    }
                    *u = L::mul_add(sum.floats(), L::splat_float(x.scales[$group]), *u);
                }
            )*};
        }
        groups!(0: 0 1, 1: 2 3, 2: 4 5, 3: 6 7,);
        u
    }
}

/// Unpacks rows to a panel.
///
/// # Safety
/// The CPU must have the instruction set of `L`.
#[inline(always)]
pub(super) unsafe fn pack<L: Lanes<ROWS>, B: Unpack, const ROWS: usize>(
    rows: [&[u8]; PANEL_ROWS],
    panel: &mut [PanelPart],
) {
    let count = panel.len() / B::PARTS;
    // Rows lie at equal distances: the same columns of the next panel are asked for meanwhile.
    let distance = rows[1].as_ptr().addr().wrapping_sub(rows[0].as_ptr().addr());
    let next = distance.wrapping_mul(PANEL_ROWS);
    let blocks = rows.map(|row| &blocks::<B>(row)[..count]);
    for (i, panel) in panel.chunks_exact_mut(B::PARTS).enumerate() {
        for first in (0..PANEL_ROWS).step_by(ROWS) {
            let of_rows: [&[B]; ROWS] = some(&blocks, first);
            let blocks = of_blocks_at(&of_rows, i);
            for row in &of_rows {
                let row = row.as_ptr().cast::<u8>().wrapping_add(next);
                load::prefetch_lines(row, i * size_of::<B>(), size_of::<B>());
            }
            // SAFETY: the caller vouches for the CPU.
            unsafe { pack_block::<L, B, ROWS>(&blocks, first, panel) };
        }
    }
}

#[inline(always)]
fn of_blocks_at<'a, B, const ROWS: usize>(rows: &[&'a [B]; ROWS], i: usize) -> [&'a B; ROWS] {
    let mut blocks = [&rows[0][i]; ROWS];
    for (block, row) in blocks.iter_mut().zip(rows) {
        *block = &row[i];
    }
    blocks
}

#[inline(always)]
unsafe fn pack_block<L: Lanes<ROWS>, B: Unpack, const ROWS: usize>(
    blocks: &[&B; ROWS],
    first: usize,
    panel: &mut [PanelPart],
) {
    // SAFETY: the caller vouches for the CPU.
    unsafe {
        let head = B::head::<L, ROWS>(blocks);
        let scales = B::lane_scales::<L, ROWS>(blocks, &head);
        let offsets = B::lane_offsets::<L, ROWS>(blocks, &head, &scales);
        for unit in 0..B::PARTS / B::UNIT {
            let columns = (head, B::columns::<L, ROWS>(blocks, unit));
            for k in 0..B::UNIT {
                let part = unit * B::UNIT + k;
                let panel = &mut panel[part];
                pack_part::<L, B, ROWS>(&columns, Place { unit, k }, first, &mut panel.pairs);
                L::store_floats(scales[part], lanes_mut(&mut panel.scales, first));
                for (out, offsets) in panel.offsets[..B::OFFSETS].iter_mut().zip(offsets) {
                    L::store_floats(offsets[part], lanes_mut(out, first));
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn pack_part<L: Lanes<ROWS>, B: Unpack, const ROWS: usize>(
    (head, columns): &(B::Head<L>, B::Columns<L>),
    place: Place,
    first: usize,
    pairs: &mut [[[i16; 2]; PANEL_ROWS]; 2 * FOURS],
) {
    // SAFETY: the caller vouches for the CPU.
    unsafe {
        let mut factors = B::factors::<L, ROWS>(head, place);
        for factor in &mut factors {
            *factor = factor.and(L::splat(0xffff)).or(factor.shl32(16));
        }
        macro_rules! fours {
            ($($j:literal)*) => {$(
                let four = B::four::<L, ROWS>(head, columns, place, $j);
                for (pairs, mut integers) in pairs[2 * $j..2 * $j + 2].iter_mut().zip(four) {
                    if B::SCALED {
                        integers = integers.mul16(factors[$j / 4]);
                    }
                    integers.store(lanes_mut(pairs, first));
                }
            )*};
        }
        fours!(0 1 2 3 4 5 6 7);
    }
}

#[inline(always)]
fn lanes_mut<T, const ROWS: usize>(rows: &mut [T; PANEL_ROWS], first: usize) -> &mut [T; ROWS] {
    let Some(rows) = rows[first..].first_chunk_mut() else {
        unreachable!("a multiple of the lanes")
    };
    rows
}
