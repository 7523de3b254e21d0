//! MXFP4: 32 four-bit floats (sign, two bits of exponent, one of mantissa) and a power of two.
//!
//! ```text
//! byte   0 | 1 … 16
//!        e | low nibble of byte 1+j: q[j], high nibble: q[j+16]    value i = 2^(e − 128) · T[q[i]]
//! ```
//! Elements and scale are those of the OCP Microscaling Formats (MX) specification 1.0, laid out
//! as in GGML: the table holds the values doubled, the power is halved, and 255, which the
//! specification gives to NaN, is 2¹²⁷ like any other exponent.

use super::nibbles::{decode_table, pack_halves};
use crate::block::{Block, Words, finite_amax};
use crate::{DType, EncodeError};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const ELEMS: usize = 32;

/// What the numbers stand for, doubled (GGML: `kvalues_mxfp4`).
pub(crate) const TABLE: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// Exponent of the largest finite single, whose unit is 2¹²⁴.
const LARGEST: u8 = 252;
/// Values that are handled side by side.
const LANES: usize = 8;

/// 32 elements in 17 bytes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct BlockMXFP4 {
    /// Exponent of the scale (E8M0).
    pub e: u8,
    /// Numbers into the table, two to a byte.
    pub qs: [u8; ELEMS / 2],
}
const _: () = assert!(size_of::<BlockMXFP4>() == 17);

impl Block for BlockMXFP4 {
    const DTYPE: DType = DType::MXFP4;
    const ELEMS: usize = ELEMS;
    const WORDS: &'static [Words] = &[];

    fn decode(&self, out: &mut [f32]) {
        decode_table(&self.qs, &TABLE, power(i32::from(self.e) - 128), out);
    }

    /// Of the two exponents that can be best, the one with the smaller squared error: the table
    /// ends at 12 units, the largest magnitude is 8 to 16 of the smaller one and 4 to 8 of the
    /// other.
    fn encode(values: &[f32]) -> Result<Self, EncodeError> {
        let e = exponent(finite_amax(values)?);
        let units = in_units(values, e);
        let doubled = units.map(|value| value * 0.5);
        // Twice the largest exponent would decode values near the end of single precision to ∞.
        if e < LARGEST && 4.0 * cost(&doubled) < cost(&units) {
            return Ok(Self { e: e + 1, qs: pack_halves(&doubled.map(code)) });
        }
        Ok(Self { e, qs: pack_halves(&units.map(code)) })
    }

    /// With the unit u = 2^(e − 128) for which the largest magnitude m is 8u to 16u: 2u, half the
    /// widest gap of the table, or what m exceeds its end by, m − 12u. Doubling the unit, the
    /// widest gap that is met is still 4u. No value moves by more than itself, because zero is in
    /// the table.
    fn error_bound(values: &[f32]) -> f32 {
        let amax = values.iter().fold(0.0_f32, |amax, value| amax.max(value.abs()));
        let unit = power(i32::from(exponent(amax)) - 128);
        (2.0 * unit).max(amax - 12.0 * unit).min(amax)
    }
}

/// The largest exponent for which the largest magnitude has 8 units or more, 0 if none has.
#[allow(clippy::cast_possible_truncation, reason = "eight bits of exponent, the sign is zero")]
fn exponent(amax: f32) -> u8 {
    ((amax.to_bits() >> 23) as u8).saturating_sub(2)
}

/// The values divided by 2^(e − 128), in two steps because that may be past single precision.
fn in_units(values: &[f32], e: u8) -> [f32; ELEMS] {
    let exponent = 128 - i32::from(e);
    let (first, second) = (power(exponent / 2), power(exponent - exponent / 2));
    let mut units = [0.0; ELEMS];
    for (unit, value) in units.iter_mut().zip(values) {
        *unit = value * first * second;
    }
    units
}

/// The magnitude in the table that is nearest to a value's.
fn nearest(value: f32) -> f32 {
    /// Adding it leaves no fraction bits, so the sum is rounded by the addition itself.
    const SHIFT: f32 = 12_582_912.0;
    let magnitude = value.abs().min(f32::from(TABLE[7]));
    // The gap between neighbours is 1 up to 4, then half the power of two below the value.
    let gap = 0.5 * f32::from_bits(magnitude.max(2.0).to_bits() & 0x7f80_0000);
    magnitude + SHIFT * gap - SHIFT * gap
}

/// Squared error of the values, in units.
fn cost(values: &[f32; ELEMS]) -> f32 {
    let mut cost = [0.0_f32; LANES];
    for values in values.as_chunks::<LANES>().0 {
        for (cost, &value) in cost.iter_mut().zip(values) {
            let error = value.abs() - nearest(value);
            *cost += error * error;
        }
    }
    cost.iter().sum()
}

/// The number of the nearest value: how many positive ones are not past it, and the sign.
fn code(value: f32) -> u8 {
    let nearest = nearest(value);
    let code: u8 = TABLE[1..8].iter().map(|&entry| u8::from(nearest >= f32::from(entry))).sum();
    code | u8::from(value < 0.0 && code > 0) << 3
}

/// 2^`exponent`, for −128 to 127.
fn power(exponent: i32) -> f32 {
    // The two smallest are subnormal: reached from the smallest normal one.
    let normal = exponent.max(-126);
    let power = f32::from_bits(((normal + 127) as u32) << 23);
    power * [1.0, 0.5, 0.25][(normal - exponent) as usize]
}
