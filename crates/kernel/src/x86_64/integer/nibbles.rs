//! Nibbles that are not what they stand for.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::super::lanes::Lanes;
use crate::integer::IQ4_TABLE;

/// What the low or the high nibbles of IQ4 stand for, made positive.
#[inline(always)]
pub(super) unsafe fn look_up<L: Lanes<ROWS>, const ROWS: usize>(nibbles: L, high: usize) -> [L; 2] {
    // SAFETY: the caller vouches for the CPU.
    unsafe { nibbles.bits_of_bytes::<4>(4 * high).look_up(&IQ4_TABLE).widen() }
}

/// Group `j` of a part of nibbles as in Q4_0, with bits of `high` above them.
#[inline(always)]
pub(super) unsafe fn fifth_bits<L: Lanes<ROWS>, const ROWS: usize>(
    nibbles: L,
    high: L,
    j: usize,
) -> [L; 2] {
    // SAFETY: the caller vouches for the CPU.
    unsafe {
        let low = nibbles.bits_of_bytes::<4>(j / 4 * 4);
        // Each of four bits to bit 4 of its byte: the copies do not overlap.
        let four = high.shr32(4 * j).and(L::splat(15));
        let bits = four.mul32(L::splat(0x0204_0810)).and(L::bytes(0x10));
        low.or(bits).widen()
    }
}
