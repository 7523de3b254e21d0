//! Q5_K: nibbles as in Q4_K; bit `p` of a byte of `qh` is the fifth of part `p`.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::super::lanes::Lanes;
use super::{Place, Unpack, columns_at, many_columns_at, six_bits};
use crate::integer::MAX_PARTS;
use apr_tensor::BlockQ5_K;

impl Unpack for BlockQ5_K {
    type Head<L: Copy> = ([L; 4], [[L; 4]; 2]);
    type Columns<L: Copy> = [[L; 4]; 2];
    const UNIT: usize = 2;

    #[inline(always)]
    unsafe fn head<L: Lanes<ROWS>, const ROWS: usize>(blocks: &[&Self; ROWS]) -> Self::Head<L> {
        // SAFETY: the caller vouches for the CPU.
        unsafe { (columns_at(blocks, 0), many_columns_at(blocks, 16)) }
    }

    #[inline(always)]
    unsafe fn columns<L: Lanes<ROWS>, const ROWS: usize>(
        blocks: &[&Self; ROWS],
        unit: usize,
    ) -> Self::Columns<L> {
        // SAFETY: the caller vouches for the CPU.
        unsafe { many_columns_at(blocks, 48 + 32 * unit) }
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
            let low = columns[j / 4][j % 4].bits_of_bytes::<4>(4 * k);
            let high = head.1[j / 4][j % 4].bits_of_bytes::<1>(2 * unit + k);
            low.or(high.shl16(4)).widen()
        }
    }

    #[inline(always)]
    unsafe fn lane_scales<L: Lanes<ROWS>, const ROWS: usize>(
        _blocks: &[&Self; ROWS],
        head: &Self::Head<L>,
    ) -> [L::Floats; MAX_PARTS] {
        // SAFETY: the caller vouches for the CPU.
        unsafe { six_bits::scales(&head.0) }
    }

    #[inline(always)]
    unsafe fn lane_offsets<L: Lanes<ROWS>, const ROWS: usize>(
        _blocks: &[&Self; ROWS],
        head: &Self::Head<L>,
        _scales: &[L::Floats; MAX_PARTS],
    ) -> [[L::Floats; MAX_PARTS]; 2] {
        // SAFETY: the caller vouches for the CPU.
        unsafe { six_bits::offsets(&head.0) }
    }
}
