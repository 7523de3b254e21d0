//! Q6_K: 64 bytes hold the low nibbles of four parts, 32 bytes their upper pairs of bits.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::super::lanes::Lanes;
use super::{Place, Unpack, columns_at, many_columns_at, of_blocks};
use crate::integer::MAX_PARTS;
use apr_tensor::BlockQ6_K;

impl Unpack for BlockQ6_K {
    type Head<L: Copy> = [L; 4];
    type Columns<L: Copy> = ([[L; 4]; 4], [[L; 4]; 2]);
    const UNIT: usize = 4;
    const SCALED: bool = true;

    #[inline(always)]
    unsafe fn head<L: Lanes<ROWS>, const ROWS: usize>(blocks: &[&Self; ROWS]) -> Self::Head<L> {
        // SAFETY: the caller vouches for the CPU.
        unsafe { columns_at(blocks, 192) }
    }

    #[inline(always)]
    unsafe fn columns<L: Lanes<ROWS>, const ROWS: usize>(
        blocks: &[&Self; ROWS],
        unit: usize,
    ) -> Self::Columns<L> {
        // SAFETY: the caller vouches for the CPU.
        unsafe { (many_columns_at(blocks, 64 * unit), many_columns_at(blocks, 128 + 32 * unit)) }
    }

    #[inline(always)]
    unsafe fn four<L: Lanes<ROWS>, const ROWS: usize>(
        _head: &Self::Head<L>,
        columns: &Self::Columns<L>,
        Place { k, .. }: Place,
        j: usize,
    ) -> [L; 2] {
        // SAFETY: the caller vouches for the CPU.
        unsafe {
            let low = columns.0[2 * (k % 2) + j / 4][j % 4];
            let low = low.bits_of_bytes::<4>(k / 2 * 4);
            let high = columns.1[j / 4][j % 4];
            let high = match k {
                0 => high.shl16(4),
                1 => high.shl16(2),
                2 => high,
                _ => high.shr16(2),
            };
            low.or(high.and(L::bytes(0x30))).widen()
        }
    }

    #[inline(always)]
    unsafe fn factors<L: Lanes<ROWS>, const ROWS: usize>(
        head: &Self::Head<L>,
        Place { unit, k }: Place,
    ) -> [L; 2] {
        // SAFETY: the caller vouches for the CPU.
        unsafe {
            let scales = head[2 * unit + k / 2];
            [scales.signed_byte(k % 2 * 2), scales.signed_byte(k % 2 * 2 + 1)]
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
            let unit = L::mul(scales[0], L::splat_float(-32.0));
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
