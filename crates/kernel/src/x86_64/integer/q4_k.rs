//! Q4_K: 32 bytes hold the nibbles of two parts.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::super::lanes::Lanes;
use super::{Place, Unpack, columns_at, many_columns_at, six_bits};
use crate::integer::MAX_PARTS;
use apr_tensor::BlockQ4_K;

impl Unpack for BlockQ4_K {
    type Head<L: Copy> = [L; 4];
    type Columns<L: Copy> = [[L; 4]; 2];
    const UNIT: usize = 2;

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
        unsafe { columns[j / 4][j % 4].widen_bits::<4>(4 * k) }
    }

    #[inline(always)]
    unsafe fn lane_scales<L: Lanes<ROWS>, const ROWS: usize>(
        _blocks: &[&Self; ROWS],
        head: &Self::Head<L>,
    ) -> [L::Floats; MAX_PARTS] {
        // SAFETY: the caller vouches for the CPU.
        unsafe { six_bits::scales(head) }
    }

    #[inline(always)]
    unsafe fn lane_offsets<L: Lanes<ROWS>, const ROWS: usize>(
        _blocks: &[&Self; ROWS],
        head: &Self::Head<L>,
        _scales: &[L::Floats; MAX_PARTS],
    ) -> [[L::Floats; MAX_PARTS]; 2] {
        // SAFETY: the caller vouches for the CPU.
        unsafe { six_bits::offsets(head) }
    }
}
