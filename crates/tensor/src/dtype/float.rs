//! Floating-point types: one element per block, little-endian.

use crate::block::{Block, Words, finite_amax};
use crate::{DType, EncodeError};
use half::{bf16, f16};
use zerocopy::little_endian::{F32, U16};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// One single-precision element.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct BlockF32(pub F32);
const _: () = assert!(size_of::<BlockF32>() == 4);

/// One half-precision element, as its bits.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct BlockF16(pub U16);
const _: () = assert!(size_of::<BlockF16>() == 2);

/// One bfloat16 element, as its bits.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct BlockBF16(pub U16);
const _: () = assert!(size_of::<BlockBF16>() == 2);

impl Block for BlockF32 {
    const DTYPE: DType = DType::F32;
    const ELEMS: usize = 1;
    const WORDS: &'static [Words] = &[Words::one(0, 4)];

    #[inline(always)]
    fn decode(&self, out: &mut [f32]) {
        out[0] = self.0.get();
    }

    #[inline(always)]
    fn encode(values: &[f32]) -> Result<Self, EncodeError> {
        finite_amax(values)?;
        Ok(Self(F32::new(values[0])))
    }
}

impl Block for BlockF16 {
    const DTYPE: DType = DType::F16;
    const ELEMS: usize = 1;
    const WORDS: &'static [Words] = &[Words::one(0, 2)];

    #[inline(always)]
    fn decode(&self, out: &mut [f32]) {
        out[0] = f16::from_bits(self.0.get()).to_f32();
    }

    #[inline(always)]
    fn encode(values: &[f32]) -> Result<Self, EncodeError> {
        let rounded = f16::from_f32(values[0]);
        check_rounded(values, rounded.is_finite(), Self::DTYPE)?;
        Ok(Self(U16::new(rounded.to_bits())))
    }

    /// Half a unit in the last place: 2⁻¹¹ of the value, or half the smallest subnormal, 2⁻²⁵.
    #[inline(always)]
    fn error_bound(values: &[f32]) -> f32 {
        (values[0].abs() * f32::powi(2.0, -11)).max(f32::powi(2.0, -25))
    }
}

impl Block for BlockBF16 {
    const DTYPE: DType = DType::BF16;
    const ELEMS: usize = 1;
    const WORDS: &'static [Words] = &[Words::one(0, 2)];

    #[inline(always)]
    fn decode(&self, out: &mut [f32]) {
        out[0] = bf16::from_bits(self.0.get()).to_f32();
    }

    #[inline(always)]
    fn encode(values: &[f32]) -> Result<Self, EncodeError> {
        let rounded = bf16::from_f32(values[0]);
        check_rounded(values, rounded.is_finite(), Self::DTYPE)?;
        Ok(Self(U16::new(rounded.to_bits())))
    }

    /// Half a unit in the last place: 2⁻⁸ of the value, or half the smallest subnormal, 2⁻¹³⁴.
    #[inline(always)]
    fn error_bound(values: &[f32]) -> f32 {
        (values[0].abs() * f32::powi(2.0, -8)).max(f32::powi(2.0, -134))
    }
}

#[inline(always)]
fn check_rounded(values: &[f32], finite: bool, dtype: DType) -> Result<(), EncodeError> {
    finite_amax(values)?;
    if finite {
        return Ok(());
    }
    Err(EncodeError::OutOfRange { dtype, index: 0, value: values[0] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_overflow_is_an_error() {
        let mut out = [0; 2];
        assert!(DType::F16.encode(&[65_504.0], &mut out).is_ok());
        assert_eq!(
            DType::F16.encode(&[65_520.0], &mut out),
            Err(EncodeError::OutOfRange { dtype: DType::F16, index: 0, value: 65_520.0 })
        );
        assert!(matches!(
            DType::BF16.encode(&[f32::MAX], &mut out),
            Err(EncodeError::OutOfRange { .. })
        ));
    }

    #[test]
    fn the_bits_of_one_and_a_half() {
        for (dtype, bytes) in [
            (DType::F32, &[0x00, 0x00, 0xc0, 0x3f][..]),
            (DType::F16, &[0x00, 0x3e]),
            (DType::BF16, &[0xc0, 0x3f]),
        ] {
            let mut found = vec![0; bytes.len()];
            dtype.encode(&[1.5], &mut found).unwrap();
            assert_eq!(found, bytes);
            let mut value = [0.0];
            dtype.decode(&found, &mut value).unwrap();
            assert_eq!(value, [1.5]);
        }
    }
}
