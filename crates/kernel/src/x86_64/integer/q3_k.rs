//! Q3_K: pairs of bits as in Q2_K; bit `p` of a byte of `hmask` is the third of part `p`.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::super::lanes::Lanes;
use super::{Place, Unpack, many_columns_at, of_blocks};
use crate::integer::MAX_PARTS;
use apr_tensor::BlockQ3_K;

impl Unpack for BlockQ3_K {
    type Head<L: Copy> = ([[L; 4]; 2], [L; 4]);
    type Columns<L: Copy> = [[L; 4]; 2];
    const UNIT: usize = 4;
    const SCALED: bool = true;

    #[inline(always)]
    unsafe fn head<L: Lanes<ROWS>, const ROWS: usize>(blocks: &[&Self; ROWS]) -> Self::Head<L> {
        // SAFETY: the caller vouches for the CPU.
        unsafe { (many_columns_at(blocks, 0), scales(blocks)) }
    }

    #[inline(always)]
    unsafe fn columns<L: Lanes<ROWS>, const ROWS: usize>(
        blocks: &[&Self; ROWS],
        unit: usize,
    ) -> Self::Columns<L> {
        // SAFETY: the caller vouches for the CPU.
        unsafe { many_columns_at(blocks, 32 + 32 * unit) }
    }

    #[inline(always)]
    unsafe fn four<L: Lanes<ROWS>, const ROWS: usize>(
        head: &Self::Head<L>,
        columns: &Self::Columns<L>,
        Place { unit, k }: Place,
        j: usize,
    ) -> [L; 2] {
        // SAFETY: the caller vouches for the CPU.
        unsafe {
            let low = columns[j / 4][j % 4].bits_of_bytes::<2>(2 * k);
            let high = head.0[j / 4][j % 4].bits_of_bytes::<1>(4 * unit + k);
            low.or(high.shl16(2)).widen()
        }
    }

    #[inline(always)]
    unsafe fn factors<L: Lanes<ROWS>, const ROWS: usize>(
        head: &Self::Head<L>,
        Place { unit, k }: Place,
    ) -> [L; 2] {
        // SAFETY: the caller vouches for the CPU.
        unsafe {
            let packed = head.1[2 * unit + k / 2];
            let less = L::splat(32);
            [packed.byte(k % 2 * 2).sub32(less), packed.byte(k % 2 * 2 + 1).sub32(less)]
        }
    }

    #[inline(always)]
    unsafe fn lane_scales<L: Lanes<ROWS>, const ROWS: usize>(
        blocks: &[&Self; ROWS],
        _head: &Self::Head<L>,
    ) -> [L::Floats; MAX_PARTS] {
        // SAFETY: the caller vouches for the CPU.
        unsafe { [L::halves(of_blocks(blocks, |block| block.d)); MAX_PARTS] }
    }

    #[inline(always)]
    unsafe fn lane_offsets<L: Lanes<ROWS>, const ROWS: usize>(
        _blocks: &[&Self; ROWS],
        head: &Self::Head<L>,
        scales: &[L::Floats; MAX_PARTS],
    ) -> [[L::Floats; MAX_PARTS]; 2] {
        // SAFETY: the caller vouches for the CPU.
        unsafe {
            let unit = L::mul(scales[0], L::splat_float(-4.0));
            let mut offsets = [[unit; MAX_PARTS]; 2];
            for (half, offsets) in offsets.iter_mut().enumerate() {
                for (part, offset) in offsets.iter_mut().enumerate() {
                    let place = Place { unit: part / 4, k: part % 4 };
                    let factors = Self::factors::<L, ROWS>(head, place);
                    *offset = L::mul(factors[half].floats(), unit);
                }
            }
            offsets
        }
    }
}

/// The scales plus 32, four in each vector: four low bits in a nibble of the first eight bytes, two
/// high ones in the last four.
#[inline(always)]
unsafe fn scales<L: Lanes<ROWS>, const ROWS: usize>(blocks: &[&BlockQ3_K; ROWS]) -> [L; 4] {
    // SAFETY: the caller vouches for the CPU.
    unsafe {
        let mut words = [L::zero(); 3];
        for (i, word) in words.iter_mut().enumerate() {
            *word = L::load(&of_blocks(blocks, |block| {
                let bytes = &block.scales[4 * i..4 * i + 4];
                i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
            }));
        }
        let mut scales = [L::zero(); 4];
        for (i, scales) in scales.iter_mut().enumerate() {
            let low = words[i % 2].bits_of_bytes::<4>(i / 2 * 4);
            *scales = low.or(words[2].bits_of_bytes::<2>(2 * i).shl16(4));
        }
        scales
    }
}
