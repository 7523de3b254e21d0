//! The 2-bit I-quants, which are only read: 256 elements in groups of 8, each a point of a
//! codebook (`iq_grid.rs`) with signs of its own.
//!
//! ```text
//! IQ2_XXS  0  1 | 2 … 65
//!          d    | 8 × (numbers of 4 points, a word: 4 × 7 bits of signs, 4 bits of scale)
//! IQ2_XS   0  1 | 2 … 65                                       | 66 … 73
//!          d    | 32 × (9 bits of point, 7 bits of signs)      | scales, low nibble first
//! IQ2_S    0  1 | 2 … 33    | 34 … 65 | 66 … 73                | 74 … 81
//!          d    | low bytes | signs   | 2 high bits per point  | scales, low nibble first
//! ```
//! A value is `d · (s + ½) / 4` times its point; IQ2_XXS has a scale s for 32 elements, the others
//! for 16. The layouts are GGML's.

use super::iq_grid::{self, even_signs, write_signed};
use super::nibbles::nibble;
use crate::DType;
use crate::block::{Block, Words};
use half::f16;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const ELEMS: usize = 256;
/// Elements of a point.
const GROUP: usize = 8;

/// 256 elements in 66 bytes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name is GGML's")]
pub struct BlockIQ2_XXS {
    /// Scale, as the bits of an f16.
    pub d: U16,
    /// The parts of 32 elements each.
    pub parts: [PartIQ2_XXS; ELEMS / 32],
}
const _: () = assert!(size_of::<BlockIQ2_XXS>() == 66);

/// 32 elements of an IQ2_XXS block.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name is GGML's")]
pub struct PartIQ2_XXS {
    /// Numbers of the points.
    pub points: [u8; 4],
    /// Seven bits of signs for each point, and the scale in the upper four.
    pub signs_and_scale: U32,
}

/// 256 elements in 74 bytes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name is GGML's")]
pub struct BlockIQ2_XS {
    /// Scale, as the bits of an f16.
    pub d: U16,
    /// Nine bits of a point's number and seven of its signs.
    pub qs: [U16; ELEMS / GROUP],
    /// Scales of 16 elements, two to a byte.
    pub scales: [u8; ELEMS / 32],
}
const _: () = assert!(size_of::<BlockIQ2_XS>() == 74);

/// 256 elements in 82 bytes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name is GGML's")]
pub struct BlockIQ2_S {
    /// Scale, as the bits of an f16.
    pub d: U16,
    /// Lower eight bits of the points' numbers.
    pub qs: [u8; ELEMS / GROUP],
    /// Signs of each point.
    pub signs: [u8; ELEMS / GROUP],
    /// Upper two bits of the points' numbers, four to a byte.
    pub qh: [u8; ELEMS / 32],
    /// Scales of 16 elements, two to a byte.
    pub scales: [u8; ELEMS / 32],
}
const _: () = assert!(size_of::<BlockIQ2_S>() == 82);

impl Block for BlockIQ2_XXS {
    const DTYPE: DType = DType::IQ2_XXS;
    const ELEMS: usize = ELEMS;
    const WORDS: &'static [Words] = &{
        let mut words = [Words::one(0, 2); 1 + ELEMS / 32];
        let mut part = 0;
        while part < ELEMS / 32 {
            words[1 + part] = Words::one(2 + 8 * part + 4, 4);
            part += 1;
        }
        words
    };

    fn decode(&self, out: &mut [f32]) {
        for (part, out) in self.parts.iter().zip(out.chunks_exact_mut(32)) {
            let word = part.signs_and_scale.get();
            let scale = scale(self.d, (word >> 28) as f32);
            for (i, (out, &point)) in out.chunks_exact_mut(GROUP).zip(&part.points).enumerate() {
                let signs = even_signs(word >> (7 * i));
                write_signed(out, scale, &iq_grid::IQ2_XXS[usize::from(point)], signs);
            }
        }
    }
}

impl Block for BlockIQ2_XS {
    const DTYPE: DType = DType::IQ2_XS;
    const ELEMS: usize = ELEMS;
    const WORDS: &'static [Words] = &[Words { at: 0, width: 2, count: 1 + ELEMS / GROUP }];

    fn decode(&self, out: &mut [f32]) {
        for (i, (out, code)) in out.chunks_exact_mut(GROUP).zip(&self.qs).enumerate() {
            let (point, signs) = (code.get() & 0x1ff, u32::from(code.get() >> 9));
            let scale = scale(self.d, f32::from(nibble(&self.scales, i / 2)));
            write_signed(out, scale, &iq_grid::IQ2_XS[usize::from(point)], even_signs(signs));
        }
    }
}

impl Block for BlockIQ2_S {
    const DTYPE: DType = DType::IQ2_S;
    const ELEMS: usize = ELEMS;
    const WORDS: &'static [Words] = &[Words::one(0, 2)];

    fn decode(&self, out: &mut [f32]) {
        let codes = self.qs.iter().zip(&self.signs);
        for (i, (out, (&low, &signs))) in out.chunks_exact_mut(GROUP).zip(codes).enumerate() {
            let high = self.qh[i / 4] >> (2 * (i % 4)) & 3;
            let point = usize::from(high) << 8 | usize::from(low);
            let scale = scale(self.d, f32::from(nibble(&self.scales, i / 2)));
            write_signed(out, scale, &iq_grid::IQ2_S[point], signs);
        }
    }
}

/// The scale of a point's elements.
fn scale(d: U16, s: f32) -> f32 {
    f16::from_bits(d.get()).to_f32() * (0.5 + s) * 0.25
}
