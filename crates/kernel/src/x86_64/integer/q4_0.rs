//! Q4_0: byte `j` holds element `j` in its low nibble and element `j + 16` in its high one.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::super::lanes::Lanes;
use super::{Place, Unpack, columns_at, of_blocks};
use crate::integer::MAX_PARTS;
use apr_tensor::BlockQ4_0;

impl Unpack for BlockQ4_0 {
    type Head<L: Copy> = ();
    type Columns<L: Copy> = [L; 4];

    #[inline(always)]
    unsafe fn head<L: Lanes<ROWS>, const ROWS: usize>(_blocks: &[&Self; ROWS]) -> Self::Head<L> {}

    #[inline(always)]
    unsafe fn columns<L: Lanes<ROWS>, const ROWS: usize>(
        blocks: &[&Self; ROWS],
        _unit: usize,
    ) -> Self::Columns<L> {
        // SAFETY: the caller vouches for the CPU.
        unsafe { columns_at(blocks, 2) }
    }

    #[inline(always)]
    unsafe fn four<L: Lanes<ROWS>, const ROWS: usize>(
        _head: &Self::Head<L>,
        columns: &Self::Columns<L>,
        _: Place,
        j: usize,
    ) -> [L; 2] {
        // SAFETY: the caller vouches for the CPU.
        unsafe { columns[j % 4].widen_bits::<4>(j / 4 * 4) }
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
        _head: &Self::Head<L>,
        scales: &[L::Floats; MAX_PARTS],
    ) -> [[L::Floats; MAX_PARTS]; 2] {
        // SAFETY: the caller vouches for the CPU.
        unsafe { [L::all_times(scales, -8.0); 2] }
    }
}
