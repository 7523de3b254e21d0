//! Q2_K: 32 bytes hold the pairs of bits of four parts.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::super::lanes::Lanes;
use super::{Place, Unpack, columns_at, many_columns_at, of_blocks};
use crate::integer::MAX_PARTS;
use apr_tensor::BlockQ2_K;
use zerocopy::little_endian::U16;

impl Unpack for BlockQ2_K {
    type Head<L: Copy> = [L; 4];
    type Columns<L: Copy> = [[L; 4]; 2];
    const UNIT: usize = 4;
    const SCALED: bool = true;

    #[inline(always)]
    unsafe fn head<L: Lanes<ROWS>, const ROWS: usize>(blocks: &[&Self; ROWS]) -> Self::Head<L> {
        // SAFETY: the caller vouches for the CPU.
        unsafe { columns_at(blocks, 0) }
    }

    #[inline(always)]
    unsafe fn columns<L: Lanes<ROWS>, const ROWS: usize>(
        blocks: &[&Self; ROWS],
        unit: usize,
    ) -> Self::Columns<L> {
        // SAFETY: the caller vouches for the CPU.
        unsafe { many_columns_at(blocks, 16 + 32 * unit) }
    }

    #[inline(always)]
    unsafe fn four<L: Lanes<ROWS>, const ROWS: usize>(
        _head: &Self::Head<L>,
        columns: &Self::Columns<L>,
        Place { k, .. }: Place,
        j: usize,
    ) -> [L; 2] {
        // SAFETY: the caller vouches for the CPU.
        unsafe { columns[j / 4][j % 4].widen_bits::<2>(2 * k) }
    }

    #[inline(always)]
    unsafe fn factors<L: Lanes<ROWS>, const ROWS: usize>(
        head: &Self::Head<L>,
        Place { unit, k }: Place,
    ) -> [L; 2] {
        // SAFETY: the caller vouches for the CPU.
        unsafe {
            let scales = head[2 * unit + k / 2].and(L::bytes(15));
            [scales.byte(k % 2 * 2), scales.byte(k % 2 * 2 + 1)]
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
        blocks: &[&Self; ROWS],
        head: &Self::Head<L>,
        _scales: &[L::Floats; MAX_PARTS],
    ) -> [[L::Floats; MAX_PARTS]; 2] {
        // SAFETY: the caller vouches for the CPU.
        unsafe {
            let unit = of_blocks(blocks, |block| U16::new(block.dmin.get() ^ 0x8000));
            let unit = L::halves(unit);
            let mut offsets = [[unit; MAX_PARTS]; 2];
            for (half, offsets) in offsets.iter_mut().enumerate() {
                for (part, offset) in offsets.iter_mut().enumerate() {
                    let packed = head[part / 2].shr16(4).and(L::bytes(15));
                    *offset = L::mul(packed.byte(part % 2 * 2 + half).floats(), unit);
                }
            }
            offsets
        }
    }
}
