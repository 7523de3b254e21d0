//! Q4_0, the type behind `int4`: 32 four-bit integers and their f16 scale.
//!
//! ```text
//! byte   0  1 | 2 … 17
//!        d    | low nibble of byte 2+j: q[j], high nibble: q[j+16]     value i = d · (q[i] − 8)
//! ```
//! The layout is GGML's. The scale is not: the GGML reference takes d = max / −8, this encoder
//! searches for the scale of least squared error (`scale_search.rs`, docs/quantization.md).

use crate::block::{Block, Words, finite_amax};
use crate::scale_search::{Grid, best_scale, inverse};
use crate::{DType, EncodeError};
use half::f16;
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const ELEMS: usize = 32;
const GRID: Grid = Grid { min: -8.0, max: 7.0 };
/// Scales to try, relative to max / −8, which comes first: it is always within the bound.
const STARTS: [f32; 9] = [1.0, 0.90625, 0.9375, 0.96875, 1.03125, 1.0625, 1.09375, 1.125, 1.15625];

/// 32 elements in 18 bytes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name is GGML's")]
pub struct BlockQ4_0 {
    /// Scale, as the bits of an f16.
    pub d: U16,
    /// Quantized values plus 8, two to a byte.
    pub qs: [u8; ELEMS / 2],
}
const _: () = assert!(size_of::<BlockQ4_0>() == 18);

impl Block for BlockQ4_0 {
    const DTYPE: DType = DType::Q4_0;
    const ELEMS: usize = ELEMS;
    const WORDS: &'static [Words] = &[Words::one(0, 2)];

    fn decode(&self, out: &mut [f32]) {
        let d = f16::from_bits(self.d.get()).to_f32();
        let (low, high) = out.split_at_mut(ELEMS / 2);
        for ((low, high), &pair) in low.iter_mut().zip(high).zip(&self.qs) {
            *low = (f32::from(pair & 0x0f) - 8.0) * d;
            *high = (f32::from(pair >> 4) - 8.0) * d;
        }
    }

    fn encode(values: &[f32]) -> Result<Self, EncodeError> {
        let amax = finite_amax(values)?;
        let index = values.iter().position(|value| value.abs() == amax).unwrap_or_default();
        let plain = values[index] / GRID.min;
        if !f16::from_f32(plain * STARTS[STARTS.len() - 1]).is_finite() {
            return Err(EncodeError::OutOfRange {
                dtype: Self::DTYPE,
                index,
                value: values[index],
            });
        }
        let starts = STARTS.map(|factor| plain * factor);
        let scale = best_scale(values, GRID, &starts, Self::error_bound(values));
        let inverse = inverse(scale.to_f32());
        let mut qs = [0; ELEMS / 2];
        let (low, high) = values.split_at(ELEMS / 2);
        for ((pair, &low), &high) in qs.iter_mut().zip(low).zip(high) {
            *pair = nibble(low * inverse) | (nibble(high * inverse) << 4);
        }
        Ok(Self { d: U16::new(scale.to_bits()), qs })
    }

    /// One step of plain rounding, an eighth of the largest magnitude: that is what the value
    /// opposite to the largest one may be clipped by. To it comes what storing the scale in half
    /// precision moves the outermost integer, 8 · max(step · 2⁻¹¹, 2⁻²⁵).
    fn error_bound(values: &[f32]) -> f32 {
        let step = values.iter().fold(0.0_f32, |amax, value| amax.max(value.abs())) / 8.0;
        let scale_error = (step * f32::powi(2.0, -11)).max(f32::powi(2.0, -25));
        // The last factor is the rounding of this computation itself.
        (step + 8.0 * scale_error) * (1.0 + 16.0 * f32::EPSILON)
    }
}

/// The stored form of an integer: 0 to 15 for −8 to 7.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the grid is 0..=15")]
fn nibble(value: f32) -> u8 {
    (GRID.round(value) - GRID.min) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bit layout against the GGML specification: low nibbles hold the first half.
    #[test]
    fn nibbles_are_laid_out_as_in_ggml() {
        let mut bytes = [0_u8; 18];
        bytes[..2].copy_from_slice(&f16::from_f32(0.5).to_bits().to_le_bytes());
        for (j, byte) in bytes[2..].iter_mut().enumerate() {
            *byte = u8::try_from(j | ((15 - j) << 4)).unwrap();
        }
        let mut out = [0.0; 32];
        DType::Q4_0.decode(&bytes, &mut out).unwrap();
        for j in 0..16_i16 {
            assert_eq!(out[j as usize], 0.5 * f32::from(j - 8));
            assert_eq!(out[j as usize + 16], 0.5 * f32::from(15 - j - 8));
        }
    }

    #[test]
    fn values_on_the_grid_survive_exactly() {
        let values: Vec<f32> = (0..32_u8).map(|i| (f32::from(i % 16) - 8.0) * 0.125).collect();
        let mut bytes = [0; 18];
        DType::Q4_0.encode(&values, &mut bytes).unwrap();
        let mut out = vec![0.0; 32];
        DType::Q4_0.decode(&bytes, &mut out).unwrap();
        assert_eq!(out, values);
    }

    #[test]
    fn all_zero_decodes_to_zero() {
        let mut bytes = [0; 18];
        DType::Q4_0.encode(&[0.0; 32], &mut bytes).unwrap();
        let mut out = [1.0; 32];
        DType::Q4_0.decode(&bytes, &mut out).unwrap();
        assert_eq!(out, [0.0; 32]);
    }
}
