//! The 3-bit I-quants, which are only read: 256 elements in groups of 4, each a point of a
//! codebook (`iq_grid.rs`), with a sign for every element.
//!
//! ```text
//! IQ3_XXS  0  1 | 2 … 65            | 66 … 97
//!          d    | numbers of points | words: 4 × 7 bits of signs, 4 bits of scale
//! IQ3_S    0  1 | 2 … 65    | 66 … 73               | 74 … 105 | 106 … 109
//!          d    | low bytes | a high bit per point  | signs    | scales, low nibble first
//! ```
//! A value is its point times `d · (s + ½) / 2` for IQ3_XXS and `d · (2s + 1)` for IQ3_S, with a
//! scale s for 32 elements. The layouts are GGML's.

use super::iq_grid::{self, even_signs, write_signed};
use super::nibbles::nibble;
use crate::DType;
use crate::block::{Block, Words};
use half::f16;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const ELEMS: usize = 256;
/// Elements of a point.
const GROUP: usize = 4;

/// 256 elements in 98 bytes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name is GGML's")]
pub struct BlockIQ3_XXS {
    /// Scale, as the bits of an f16.
    pub d: U16,
    /// Numbers of the points.
    pub qs: [u8; ELEMS / GROUP],
    /// For 32 elements: seven bits of signs for each eight, and the scale in the upper four.
    pub signs_and_scales: [U32; ELEMS / 32],
}
const _: () = assert!(size_of::<BlockIQ3_XXS>() == 98);

/// 256 elements in 110 bytes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name is GGML's")]
pub struct BlockIQ3_S {
    /// Scale, as the bits of an f16.
    pub d: U16,
    /// Lower eight bits of the points' numbers.
    pub qs: [u8; ELEMS / GROUP],
    /// Upper bit of the points' numbers, eight to a byte.
    pub qh: [u8; ELEMS / GROUP / 8],
    /// Signs of the elements.
    pub signs: [u8; ELEMS / 8],
    /// Scales of 32 elements, two to a byte.
    pub scales: [u8; ELEMS / 64],
}
const _: () = assert!(size_of::<BlockIQ3_S>() == 110);

impl Block for BlockIQ3_XXS {
    const DTYPE: DType = DType::IQ3_XXS;
    const ELEMS: usize = ELEMS;
    const WORDS: &'static [Words] =
        &[Words::one(0, 2), Words { at: 2 + ELEMS / GROUP, width: 4, count: ELEMS / 32 }];

    fn decode(&self, out: &mut [f32]) {
        let d = f16::from_bits(self.d.get()).to_f32();
        for (i, (out, &point)) in out.chunks_exact_mut(GROUP).zip(&self.qs).enumerate() {
            let word = self.signs_and_scales[i / 8].get();
            let scale = d * (0.5 + (word >> 28) as f32) * 0.5;
            let signs = even_signs(word >> (7 * (i % 8 / 2)));
            let point = &iq_grid::IQ3_XXS[usize::from(point)];
            write_signed(out, scale, point, signs >> (GROUP * (i % 2)));
        }
    }
}

impl Block for BlockIQ3_S {
    const DTYPE: DType = DType::IQ3_S;
    const ELEMS: usize = ELEMS;
    const WORDS: &'static [Words] = &[Words::one(0, 2)];

    fn decode(&self, out: &mut [f32]) {
        let d = f16::from_bits(self.d.get()).to_f32();
        for (i, (out, &low)) in out.chunks_exact_mut(GROUP).zip(&self.qs).enumerate() {
            let high = self.qh[i / 8] >> (i % 8) & 1;
            let point = usize::from(high) << 8 | usize::from(low);
            let scale = d * f32::from(1 + 2 * nibble(&self.scales, i / 8));
            let signs = self.signs[i / 2] >> (GROUP * (i % 2));
            write_signed(out, scale, &iq_grid::IQ3_S[point], signs);
        }
    }
}
