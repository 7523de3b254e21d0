//! MXFP4: 32 four-bit floats (sign, two bits of exponent, one of mantissa) and a power of two.
//!
//! ```text
//! byte   0 | 1 … 16
//!        e | low nibble of byte 1+j: q[j], high nibble: q[j+16]    value i = 2^(e − 128) · T[q[i]]
//! ```
//! Elements and scale are those of the OCP Microscaling Formats (MX) specification 1.0, laid out
//! as in GGML: the table holds the values doubled, the power is halved, and 255, which the
//! specification gives to NaN, is 2¹²⁷ like any other exponent.

use super::nibbles::{Halves, decode_table};
use crate::block::{Block, Words, finite_amax};
use crate::scale_search::Grid;
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

    #[inline(always)]
    fn decode(&self, out: &mut [f32]) {
        decode_table(&self.qs, &TABLE, power(i32::from(self.e) - 128), out);
    }

    /// Of the two exponents that can be best, the one with the smaller squared error: the table
    /// ends at 12 units, the largest magnitude is 8 to 16 of the smaller one and 4 to 8 of the
    /// other.
    #[inline(always)]
    fn encode(values: &[f32]) -> Result<Self, EncodeError> {
        let e = exponent(finite_amax(values)?);
        let units = in_units(values, e);
        let doubled = units.map(|value| value * 0.5);
        // Twice the largest exponent would decode values near the end of single precision to ∞.
        if e < LARGEST && 4.0 * cost(&doubled) < cost(&units) {
            return Ok(Self { e: e + 1, qs: Halves::pack(&doubled.map(code)) });
        }
        Ok(Self { e, qs: Halves::pack(&units.map(code)) })
    }

    /// With the unit u = 2^(e − 128) for which the largest magnitude m is 8u to 16u: 2u, half the
    /// widest gap of the table, or what m exceeds its end by, m − 12u. Doubling the unit, the
    /// widest gap that is met is still 4u. No value moves by more than itself, because zero is in
    /// the table.
    #[inline(always)]
    fn error_bound(values: &[f32]) -> f32 {
        let amax = values.iter().fold(0.0_f32, |amax, value| amax.max(value.abs()));
        let unit = power(i32::from(exponent(amax)) - 128);
        (2.0 * unit).max(amax - 12.0 * unit).min(amax)
    }
}

/// The largest exponent for which the largest magnitude has 8 units or more, 0 if none has.
#[allow(clippy::cast_possible_truncation, reason = "eight bits of exponent, the sign is zero")]
#[inline(always)]
fn exponent(amax: f32) -> u8 {
    ((amax.to_bits() >> 23) as u8).saturating_sub(2)
}

/// The values divided by 2^(e − 128), in two steps because that may be past single precision.
#[inline(always)]
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
#[inline(always)]
fn nearest(value: f32) -> f32 {
    let magnitude = value.abs().min(f32::from(TABLE[7]));
    // The gap between neighbours is 1 up to 4, then half the power of two below the value.
    let gap = 0.5 * f32::from_bits(magnitude.max(2.0).to_bits() & 0x7f80_0000);
    let shift = Grid::SHIFT * gap;
    magnitude + shift - shift
}

/// Squared error of the values, in units.
#[inline(always)]
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
#[inline(always)]
fn code(value: f32) -> u8 {
    let nearest = nearest(value);
    let code: u8 = TABLE[1..8].iter().map(|&entry| u8::from(nearest >= f32::from(entry))).sum();
    code | u8::from(value < 0.0 && code > 0) << 3
}

/// 2^`exponent`, for −128 to 127.
#[inline(always)]
fn power(exponent: i32) -> f32 {
    // The two smallest are subnormal: reached from the smallest normal one.
    let normal = exponent.max(-126);
    let power = f32::from_bits(((normal + 127) as u32) << 23);
    power * [1.0, 0.5, 0.25][(normal - exponent) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(values: [f32; ELEMS]) -> (u8, [f32; ELEMS]) {
        let block = BlockMXFP4::encode(&values).unwrap();
        let mut out = [f32::NAN; ELEMS];
        block.decode(&mut out);
        (block.e, out)
    }

    /// Bit layout against the OCP specification: 0b0_01_1 is 1.5, stored doubled; 127 is 2⁰.
    #[test]
    fn elements_are_floats_of_four_bits() {
        let qs = std::array::from_fn(|j| u8::try_from(j | (15 - j) << 4).unwrap());
        let mut out = [0.0; ELEMS];
        BlockMXFP4 { e: 127, qs }.decode(&mut out);
        assert_eq!(out[..8], [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]);
        assert_eq!(out[8..16], [0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0]);
        assert!((0..16).all(|j| out[16 + j] == out[15 - j]));
    }

    #[test]
    fn powers_reach_both_ends_of_single_precision() {
        for e in 0..=255 {
            let found = power(e - 128);
            assert_eq!(f64::from(found), f64::powi(2.0, e - 128));
        }
    }

    #[test]
    fn values_of_the_table_survive_exactly() {
        let table = std::array::from_fn(|i| f32::from(TABLE[i % 16]));
        for unit in [1.0, 0.25, f32::powi(2.0, -128), f32::powi(2.0, 124)] {
            let values = table.map(|value| value * unit);
            assert_eq!(round_trip(values).1, values);
        }
    }

    #[test]
    fn the_better_of_two_exponents_is_taken() {
        assert_eq!(round_trip([15.0; ELEMS]), (129, [16.0; ELEMS]));
        assert_eq!(round_trip([13.0; ELEMS]), (128, [12.0; ELEMS]));
        // 16 is nearer to 15.5 than 12 is, but under its unit of 2 a value of 3 moves by 1.
        for (other, e, found) in [(2.0, 129, 16.0), (3.0, 128, 12.0)] {
            let mut values = [other; ELEMS];
            values[3] = 15.5;
            let (exponent, out) = round_trip(values);
            assert_eq!((exponent, out[3]), (e, found));
        }
    }

    #[test]
    fn the_ends_of_single_precision_stay_finite() {
        let (_, out) = round_trip([f32::MAX; ELEMS]);
        assert_eq!(out, [12.0 * f32::powi(2.0, 124); ELEMS]);
        let (e, out) = round_trip([-f32::from_bits(1); ELEMS]);
        assert_eq!((e, out), (0, [0.0; ELEMS]));
    }
}
