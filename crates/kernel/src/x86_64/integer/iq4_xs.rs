//! IQ4_XS: parts as in IQ4_NL behind the scales, four bits and two each.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::super::lanes::Lanes;
use super::{Place, Unpack, columns_at, nibbles::look_up};
use crate::integer::{IQ4_LESS, MAX_PARTS};
use apr_tensor::BlockIQ4_XS;

impl Unpack for BlockIQ4_XS {
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
        unit: usize,
    ) -> Self::Columns<L> {
        // SAFETY: the caller vouches for the CPU.
        unsafe { columns_at(blocks, 8 + 16 * unit) }
    }

    #[inline(always)]
    unsafe fn four<L: Lanes<ROWS>, const ROWS: usize>(
        _head: &Self::Head<L>,
        columns: &Self::Columns<L>,
        _: Place,
        j: usize,
    ) -> [L; 2] {
        // SAFETY: the caller vouches for the CPU.
        unsafe { look_up(columns[j % 4], j / 4) }
    }

    #[inline(always)]
    unsafe fn lane_scales<L: Lanes<ROWS>, const ROWS: usize>(
        _blocks: &[&Self; ROWS],
        head: &Self::Head<L>,
    ) -> [L::Floats; MAX_PARTS] {
        // SAFETY: the caller vouches for the CPU.
        unsafe {
            let [first, low, ..] = *head;
            let unit = first.half_floats();
            let high = first.shr32(16);
            let mut scales = [unit; MAX_PARTS];
            for (p, scale) in scales.iter_mut().enumerate() {
                let low = low.shr32(4 * p).and(L::splat(15));
                let high = high.shr32(2 * p).and(L::splat(3)).shl32(4);
                let integer = low.or(high).sub32(L::splat(32));
                *scale = L::mul(integer.floats(), unit);
            }
            scales
        }
    }

    #[inline(always)]
    unsafe fn lane_offsets<L: Lanes<ROWS>, const ROWS: usize>(
        _blocks: &[&Self; ROWS],
        _head: &Self::Head<L>,
        scales: &[L::Floats; MAX_PARTS],
    ) -> [[L::Floats; MAX_PARTS]; 2] {
        // SAFETY: the caller vouches for the CPU.
        unsafe { [L::all_times(scales, -f32::from(IQ4_LESS)); 2] }
    }
}
