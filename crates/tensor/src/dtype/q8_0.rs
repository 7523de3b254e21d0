//! Q8_0, the type behind `int8`: 32 signed bytes and their f16 scale.
//!
//! ```text
//! byte   0  1 | 2 … 33
//!        d    | q[0] … q[31]        value i = d · q[i]
//! ```
//! Layout and rounding are those of the GGML reference (`quantize_row_q8_0_ref`): the integers
//! are rounded against the scale in single precision, the scale is stored in half precision.

use crate::block::{Block, Words, amax, finite_amax, out_of_range};
use crate::scale_search::Grid;
use crate::{DType, EncodeError};
use half::f16;
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const ELEMS: usize = 32;
/// Largest quantized magnitude.
const QMAX: f32 = 127.0;

/// 32 elements in 34 bytes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name is GGML's")]
pub struct BlockQ8_0 {
    /// Scale, as the bits of an f16.
    pub d: U16,
    /// Quantized values.
    pub qs: [i8; ELEMS],
}
const _: () = assert!(size_of::<BlockQ8_0>() == 34);

impl Block for BlockQ8_0 {
    const DTYPE: DType = DType::Q8_0;
    const ELEMS: usize = ELEMS;
    const WORDS: &'static [Words] = &[Words::one(0, 2)];

    #[inline(always)]
    fn decode(&self, out: &mut [f32]) {
        let d = f16::from_bits(self.d.get()).to_f32();
        for (out, &q) in out.iter_mut().zip(&self.qs) {
            *out = f32::from(q) * d;
        }
    }

    #[inline(always)]
    fn encode(values: &[f32]) -> Result<Self, EncodeError> {
        let amax = finite_amax(values)?;
        let scale = amax / QMAX;
        let d = f16::from_f32(scale);
        if !d.is_finite() {
            return Err(out_of_range(Self::DTYPE, values));
        }
        // A block of the smallest denormals has a scale whose inverse overflows.
        let inverse = Some(1.0 / scale).filter(|inverse| inverse.is_finite()).unwrap_or(0.0);
        let mut qs = [0; ELEMS];
        for (q, value) in qs.iter_mut().zip(values) {
            *q = nearest(value * inverse);
        }
        Ok(Self { d: U16::new(d.to_bits()), qs })
    }

    /// Half a step, plus what storing the step in half precision moves the largest value:
    /// 127 · max(step · 2⁻¹¹, 2⁻²⁵).
    #[inline(always)]
    fn error_bound(values: &[f32]) -> f32 {
        let step = amax(values) / QMAX;
        let scale_error = (step * f32::powi(2.0, -11)).max(f32::powi(2.0, -25));
        // The last factor is the rounding of this computation itself.
        (0.5 * step + QMAX * scale_error) * (1.0 + 16.0 * f32::EPSILON)
    }
}

/// The nearest integer, ties away from zero, of a number that rounds to ±127 at most: what `round`
/// gives, without a call.
#[inline(always)]
fn nearest(value: f32) -> i8 {
    let even = value + Grid::SHIFT - Grid::SHIFT;
    // Half of the ties went toward zero; all distances are exact.
    let toward_zero = value - even == 0.5_f32.copysign(value);
    let nearest = if toward_zero { even + 1.0_f32.copysign(value) } else { even };
    // The low bits of the sum are the integer.
    (nearest + Grid::SHIFT).to_bits().to_le_bytes()[0].cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden bytes: the GGML reference on a ramp, worked out by hand.
    #[test]
    fn ramp_has_the_reference_bytes() {
        let values: Vec<f32> = (0..32_u8).map(|i| f32::from(i) - 16.0).collect();
        let mut bytes = [0; 34];
        DType::Q8_0.encode(&values, &mut bytes).unwrap();
        // amax = 16, scale = 16/127 = 0.12598425, f16 0x3008; q = round((i − 16) · 7.9375).
        assert_eq!(bytes[..2], [0x08, 0x30]);
        let expected: Vec<u8> = [
            -127, -119, -111, -103, -95, -87, -79, -71, -64, -56, -48, -40, -32, -24, -16, -8, 0,
            8, 16, 24, 32, 40, 48, 56, 64, 71, 79, 87, 95, 103, 111, 119_i8,
        ]
        .map(i8::cast_unsigned)
        .to_vec();
        assert_eq!(bytes[2..], expected);
    }

    #[test]
    #[allow(clippy::cast_possible_truncation, reason = "rounded values lie within ±127")]
    fn rounding_is_that_of_the_standard_library() {
        let ties = (-254..=254_i16).map(|halves| 0.5 * f32::from(halves));
        let near = |tie: f32| [tie, tie.next_up(), tie.next_down(), tie + 0.2];
        for value in ties.flat_map(near) {
            assert_eq!(nearest(value), value.round() as i8, "{value}");
        }
    }

    #[test]
    fn all_zero_and_smallest_denormals_decode_to_zero() {
        for value in [0.0, f32::from_bits(1)] {
            let mut bytes = [1; 34];
            DType::Q8_0.encode(&[value; 32], &mut bytes).unwrap();
            assert_eq!(bytes, [0; 34]);
        }
    }

    #[test]
    fn scales_past_f16_are_refused_with_the_element() {
        let mut values = [1.0; 32];
        values[7] = -9e6;
        assert_eq!(
            DType::Q8_0.encode(&values, &mut [0; 34]),
            Err(EncodeError::OutOfRange { dtype: DType::Q8_0, index: 7, value: -9e6 })
        );
    }
}
