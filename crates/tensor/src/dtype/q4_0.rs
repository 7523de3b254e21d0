//! Q4_0, the type behind `int4`: 32 four-bit integers and their f16 scale.
//!
//! ```text
//! byte   0  1 | 2 … 17
//!        d    | low nibble of byte 2+j: q[j], high nibble: q[j+16]     value i = d · (q[i] − 8)
//! ```
//! The layout is GGML's. The scale is not: the GGML reference takes d = max / −8, this encoder
//! searches for the scale of least squared error (`single_block.rs`, docs/quantization.md).

use super::nibbles::Halves;
use crate::block::{Block, Words};
use crate::plane::expand;
use crate::scale_search::Grid;
use crate::single_block::{ELEMS, Shape, encode, error_bound, factors};
use crate::{DType, EncodeError};
use half::f16;
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const SHAPE: Shape =
    Shape { dtype: DType::Q4_0, grid: Grid { min: -8.0, max: 7.0 }, starts: factors(0.8, 1.2) };

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

    #[inline(always)]
    fn decode(&self, out: &mut [f32]) {
        let d = f16::from_bits(self.d.get()).to_f32();
        let mut q = [0; ELEMS];
        Halves::unpack(&self.qs, &mut q);
        expand(&q, out, |q| d * (q - 8.0));
    }

    #[inline(always)]
    fn encode(values: &[f32]) -> Result<Self, EncodeError> {
        let found = encode::<false>(values, &SHAPE)?;
        Ok(Self { d: U16::new(found.d.to_bits()), qs: Halves::pack(&found.q) })
    }

    #[inline(always)]
    fn error_bound(values: &[f32]) -> f32 {
        error_bound::<false>(values, &SHAPE)
    }
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
