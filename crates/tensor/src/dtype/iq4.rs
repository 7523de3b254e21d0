//! IQ4_NL and IQ4_XS: four-bit numbers that look values up in a table, denser around zero than
//! integers are.
//!
//! ```text
//! IQ4_NL  0  1 | 2 … 17                         32 elements, value i = d · T[q[i]]
//!         d    | low nibble of byte 2+j: q[j], high nibble: q[j+16]
//! IQ4_XS  0  1 | 2  3          | 4 … 7          | 8 … 135      256 elements
//!         d    | 2 high bits   | 4 low bits of  | 8 × 16 bytes, each as in IQ4_NL
//!              | of scale s[b] | s[b], nibbles  |              value = d · (s[b] − 32) · T[q]
//! ```
//! Layouts and table are GGML's; the encoders are not (`table_search.rs`, docs/quantization.md).

use super::nibbles::{decode_table, nibble, pack_halves};
use crate::block::{Block, Words, finite_amax};
use crate::{DType, EncodeError};
use half::f16;
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Elements that share a scale.
const GROUP: usize = 32;
/// Groups of an IQ4_XS block.
const GROUPS: usize = 8;

/// What the numbers stand for (GGML: `kvalues_iq4nl`).
pub(crate) const TABLE: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

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

/// 256 elements in 136 bytes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name is GGML's")]
pub struct BlockIQ4_XS {
    /// Scale of the scales, as the bits of an f16.
    pub d: U16,
    /// Upper two bits of the groups' scales.
    pub scales_h: U16,
    /// Lower four bits of the groups' scales.
    pub scales_l: [u8; GROUPS / 2],
    /// Numbers into the table, two to a byte.
    pub qs: [[u8; GROUP / 2]; GROUPS],
}
const _: () = assert!(size_of::<BlockIQ4_XS>() == 136);

impl Block for BlockIQ4_NL {
    const DTYPE: DType = DType::IQ4_NL;
    const ELEMS: usize = GROUP;
    const KEEPS_ZERO: bool = false;
    const WORDS: &'static [Words] = &[Words::one(0, 2)];

    fn decode(&self, out: &mut [f32]) {
        decode_table(&self.qs, &TABLE, f16::from_bits(self.d.get()).to_f32(), out);
    }
}

impl Block for BlockIQ4_XS {
    const DTYPE: DType = DType::IQ4_XS;
    const ELEMS: usize = GROUP * GROUPS;
    const KEEPS_ZERO: bool = false;
    const WORDS: &'static [Words] = &[Words { at: 0, width: 2, count: 2 }];

    fn decode(&self, out: &mut [f32]) {
        let d = f16::from_bits(self.d.get()).to_f32();
        for (b, (out, qs)) in out.chunks_exact_mut(GROUP).zip(&self.qs).enumerate() {
            decode_table(qs, &TABLE, d * f32::from(self.scale(b)), out);
        }
    }
}

impl BlockIQ4_XS {
    /// The scale of group `b`, −32 to 31.
    #[must_use]
    pub fn scale(&self, b: usize) -> i8 {
        let high = (self.scales_h.get() >> (2 * b) & 3) as i8;
        (high << 4 | nibble(&self.scales_l, b).cast_signed()) - 32
    }
}
