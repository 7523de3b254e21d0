//! The scales and offsets of Q4_K and Q5_K, behind their units: as `integer::six_bits` has them, a
//! row in each lane.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::super::lanes::Lanes;
use crate::integer::MAX_PARTS;

/// The scale of each part, given the first sixteen bytes of blocks.
#[inline(always)]
pub(super) unsafe fn scales<L: Lanes<ROWS>, const ROWS: usize>(
    head: &[L; 4],
) -> [L::Floats; MAX_PARTS] {
    let [units, first, _, third] = *head;
    // SAFETY: the caller vouches for the CPU.
    unsafe { times(units.half_floats(), first, third.and(L::bytes(0x0f))) }
}

/// The offset of each part, which is subtracted, twice.
#[inline(always)]
pub(super) unsafe fn offsets<L: Lanes<ROWS>, const ROWS: usize>(
    head: &[L; 4],
) -> [[L::Floats; MAX_PARTS]; 2] {
    let [units, _, second, third] = *head;
    // SAFETY: the caller vouches for the CPU.
    unsafe {
        let unit = L::mul(units.shr32(16).half_floats(), L::splat_float(-1.0));
        [times(unit, second, third.bits_of_bytes::<4>(4)); 2]
    }
}

/// The unit times six bits each: those of the first four are the lowest of each byte, the others
/// have two bits above those and four of their own.
#[inline(always)]
unsafe fn times<L: Lanes<ROWS>, const ROWS: usize>(
    unit: L::Floats,
    packed: L,
    low: L,
) -> [L::Floats; MAX_PARTS] {
    // SAFETY: the caller vouches for the CPU.
    unsafe {
        let fours = [packed.and(L::bytes(0x3f)), low.or(packed.shr16(2).and(L::bytes(0x30)))];
        let mut out = [unit; MAX_PARTS];
        for (i, out) in out.iter_mut().enumerate() {
            *out = L::mul(fours[i / 4].byte(i % 4).floats(), unit);
        }
        out
    }
}
