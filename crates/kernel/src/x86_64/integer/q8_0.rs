//! Q8_0: 32 signed bytes.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::super::lanes::Lanes;
use super::{Place, Unpack, many_columns_at, of_blocks};
use crate::integer::MAX_PARTS;
use apr_tensor::BlockQ8_0;

impl Unpack for BlockQ8_0 {
    type Head<L: Copy> = ();
    type Columns<L: Copy> = [[L; 4]; 2];

    #[inline(always)]
    unsafe fn head<L: Lanes<ROWS>, const ROWS: usize>(_blocks: &[&Self; ROWS]) -> Self::Head<L> {}

    #[inline(always)]
    unsafe fn columns<L: Lanes<ROWS>, const ROWS: usize>(
        blocks: &[&Self; ROWS],
        _unit: usize,
    ) -> Self::Columns<L> {
        // SAFETY: the caller vouches for the CPU.
        unsafe { many_columns_at(blocks, 2) }
    }

    #[inline(always)]
    unsafe fn four<L: Lanes<ROWS>, const ROWS: usize>(
        _head: &Self::Head<L>,
        columns: &Self::Columns<L>,
        _: Place,
        j: usize,
    ) -> [L; 2] {
        // SAFETY: the caller vouches for the CPU.
        unsafe { columns[j / 4][j % 4].widen_signed() }
    }

    #[inline(always)]
    unsafe fn lane_scales<L: Lanes<ROWS>, const ROWS: usize>(
        blocks: &[&Self; ROWS],
        _head: &Self::Head<L>,
    ) -> [L::Floats; MAX_PARTS] {
        // SAFETY: the caller vouches for the CPU.
        unsafe { [L::halves(of_blocks(blocks, |block| block.d)); MAX_PARTS] }
    }
}
