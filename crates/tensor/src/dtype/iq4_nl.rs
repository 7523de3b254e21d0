//! IQ4_NL: 32 four-bit numbers that look values up in a table, denser around zero than integers
//! are, and their f16 scale.
//!
//! ```text
//! byte   0  1 | 2 … 17
//!        d    | low nibble of byte 2+j: q[j], high nibble: q[j+16]     value i = d · T[q[i]]
//! ```
//! Layout and table are GGML's. The encoder is not: it searches for the scale of least squared
//! error (`table_search.rs`, docs/quantization.md).

use super::nibbles::decode_table;
use crate::block::{Block, Words};
use crate::table_search::{
    GROUP, HALF_GAP, REACH, Scales, TABLE, best_start, covering, covering_scale, quantize,
};
use crate::{DType, EncodeError};
use half::f16;
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// 32 elements in 18 bytes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name is GGML's")]
pub struct BlockIQ4_NL {
    /// Scale, as the bits of an f16.
    pub d: U16,
    /// Numbers into the table, two to a byte.
    pub qs: [u8; GROUP / 2],
}
const _: () = assert!(size_of::<BlockIQ4_NL>() == 18);

impl Block for BlockIQ4_NL {
    const DTYPE: DType = DType::IQ4_NL;
    const ELEMS: usize = GROUP;
    const KEEPS_ZERO: bool = false;
    const WORDS: &'static [Words] = &[Words::one(0, 2)];

    #[inline(always)]
    fn decode(&self, out: &mut [f32]) {
        decode_table(&self.qs, &TABLE, f16::from_bits(self.d.get()).to_f32(), out);
    }

    #[inline(always)]
    fn encode(values: &[f32]) -> Result<Self, EncodeError> {
        let covering = covering_scale(Self::DTYPE, values, REACH)?;
        let (groups, _) = values.as_chunks::<GROUP>();
        let groups = groups.as_array::<1>().expect("the caller cuts blocks");
        let start = Scales { d: f16::from_f32(best_start(&groups[0]).scale()), s: [1.0] };
        let covering = Scales { d: covering, s: [1.0] };
        let best = start.refine(groups, covering, HALF_GAP * covering.of(0));
        Ok(Self { d: U16::new(best.d.to_bits()), qs: quantize(&groups[0], best.of(0)) })
    }

    /// Half the widest gap of the table under the scale that puts the largest magnitude at the
    /// table's shorter end. No scale is taken that breaks it, and that one does not.
    #[inline(always)]
    fn error_bound(values: &[f32]) -> f32 {
        // The last factor is the rounding of the errors that the search compares.
        HALF_GAP * covering(values, REACH).to_f32() * (1.0 + f32::EPSILON)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bit layout against the GGML specification: low nibbles hold the first half.
    #[test]
    fn nibbles_look_up_the_table_of_ggml() {
        let qs = std::array::from_fn(|j| u8::try_from(j | (15 - j) << 4).unwrap());
        let block = BlockIQ4_NL { d: U16::new(f16::from_f32(-0.5).to_bits()), qs };
        let mut out = [0.0; 32];
        block.decode(&mut out);
        assert_eq!([out[0], out[1], out[8], out[15]], [63.5, 52.0, -0.5, -56.5]);
        assert_eq!([out[16], out[17], out[31]], [-56.5, -44.5, 63.5]);
    }

    #[test]
    fn all_zero_decodes_to_zero() {
        for zero in [0.0, -0.0] {
            let mut out = [1.0; 32];
            BlockIQ4_NL::encode(&[zero; 32]).unwrap().decode(&mut out);
            assert_eq!(out, [0.0; 32]);
        }
    }

    #[test]
    fn scales_past_f16_are_refused_with_the_element() {
        let mut values = [1.0; 32];
        values[7] = -7.5e6;
        assert_eq!(
            DType::IQ4_NL.encode(&values, &mut [0; 18]),
            Err(EncodeError::OutOfRange { dtype: DType::IQ4_NL, index: 7, value: -7.5e6 })
        );
    }
}
