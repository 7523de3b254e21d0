//! Q5_1: as Q5_0, behind scale and offset.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::super::lanes::Lanes;
use super::{Place, Unpack, columns_at, nibbles::fifth_bits};
use crate::integer::MAX_PARTS;
use apr_tensor::BlockQ5_1;

impl Unpack for BlockQ5_1 {
    type Head<L: Copy> = [L; 4];
    type Columns<L: Copy> = [L; 4];

    #[inline(always)]
    unsafe fn head<L: Lanes<ROWS>, const ROWS: usize>(blocks: &[&Self; ROWS]) -> Self::Head<L> {
        // SAFETY: the caller vouches for the CPU.
        unsafe { columns_at(blocks, 0) }
    }

    #[inline(always)]
    unsafe fn columns<L: Lanes<ROWS>, const ROWS: usize>(
        blocks: &[&Self; ROWS],
        _unit: usize,
    ) -> Self::Columns<L> {
        // SAFETY: the caller vouches for the CPU.
        unsafe { columns_at(blocks, 8) }
    }

    #[inline(always)]
    unsafe fn four<L: Lanes<ROWS>, const ROWS: usize>(
        head: &Self::Head<L>,
        columns: &Self::Columns<L>,
        _: Place,
        j: usize,
    ) -> [L; 2] {
        // SAFETY: the caller vouches for the CPU.
        unsafe { fifth_bits(columns[j % 4], head[1], j) }
    }

    #[inline(always)]
    unsafe fn lane_scales<L: Lanes<ROWS>, const ROWS: usize>(
        _blocks: &[&Self; ROWS],
        head: &Self::Head<L>,
    ) -> [L::Floats; MAX_PARTS] {
        // SAFETY: the caller vouches for the CPU.
        unsafe { [head[0].half_floats(); MAX_PARTS] }
    }

    #[inline(always)]
    unsafe fn lane_offsets<L: Lanes<ROWS>, const ROWS: usize>(
        _blocks: &[&Self; ROWS],
        head: &Self::Head<L>,
        _scales: &[L::Floats; MAX_PARTS],
    ) -> [[L::Floats; MAX_PARTS]; 2] {
        // SAFETY: the caller vouches for the CPU.
        unsafe { [[head[0].shr32(16).half_floats(); MAX_PARTS]; 2] }
    }
}
