//! MXFP4: nibbles as in Q4_0 that look up a table.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::super::lanes::Lanes;
use super::{Place, Unpack, columns_at, of_blocks};
use crate::integer::{MAX_PARTS, MXFP4_TABLE};
use apr_tensor::BlockMXFP4;

/// The bits of what nibbles stand for.
const TABLE: [u8; 16] = {
    let (mut bytes, mut i) = ([0; 16], 0);
    while i < 16 {
        bytes[i] = MXFP4_TABLE[i].cast_unsigned();
        i += 1;
    }
    bytes
};

impl Unpack for BlockMXFP4 {
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
        unsafe { columns_at(blocks, 1) }
    }

    #[inline(always)]
    unsafe fn four<L: Lanes<ROWS>, const ROWS: usize>(
        _head: &Self::Head<L>,
        columns: &Self::Columns<L>,
        _: Place,
        j: usize,
    ) -> [L; 2] {
        // SAFETY: the caller vouches for the CPU.
        unsafe {
            let indices = columns[j % 4].bits_of_bytes::<4>(j / 4 * 4);
            indices.look_up(&TABLE).widen_signed()
        }
    }

    #[inline(always)]
    unsafe fn lane_scales<L: Lanes<ROWS>, const ROWS: usize>(
        blocks: &[&Self; ROWS],
        _head: &Self::Head<L>,
    ) -> [L::Floats; MAX_PARTS] {
        // SAFETY: the caller vouches for the CPU.
        unsafe {
            let e = of_blocks(blocks, |block| power(block.e));
            [L::load(&e).bits(); MAX_PARTS]
        }
    }
}

/// The bits of 2^(e − 128): below 2 a bit of a subnormal number, else an exponent.
#[inline(always)]
fn power(e: u8) -> i32 {
    let normal = i32::from(e).wrapping_sub(1) << 23;
    if e < 2 { (1 << 21) << e } else { normal }
}
