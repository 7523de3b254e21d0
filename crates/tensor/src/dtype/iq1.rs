//! The 1-bit I-quants, which are only read: 256 elements in groups of 8, each a point of a
//! codebook (`iq_grid.rs`) that is moved up or down by an eighth.
//!
//! ```text
//! IQ1_S  0  1 | 2 … 33    | 34 … 49
//!        d    | low bytes | words: 4 × 3 high bits of point, 3 bits of scale, shift
//! IQ1_M  0 … 31    | 32 … 47                                     | 48 … 55
//!        low bytes | nibbles: 3 high bits of point, shift        | words: 4 × 3 bits of scale,
//!                                                                   upper nibbles: d, lowest first
//! ```
//! A value is `d · (2s + 1)` times its point plus or minus ⅛; IQ1_S has a scale s for 32 elements,
//! IQ1_M for 16. The layouts are GGML's.

use super::iq_grid;
use super::nibbles::nibble;
use crate::DType;
use crate::block::{Block, Words};
use half::f16;
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const ELEMS: usize = 256;
/// Elements of a point.
const GROUP: usize = 8;
/// What points are moved by.
const SHIFT: f32 = 0.125;

/// 256 elements in 50 bytes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name is GGML's")]
pub struct BlockIQ1_S {
    /// Scale, as the bits of an f16.
    pub d: U16,
    /// Lower eight bits of the points' numbers.
    pub qs: [u8; ELEMS / GROUP],
    /// For 32 elements: upper three bits of four numbers, three bits of scale, one for the shift.
    pub qh: [U16; ELEMS / 32],
}
const _: () = assert!(size_of::<BlockIQ1_S>() == 50);

/// 256 elements in 56 bytes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name is GGML's")]
pub struct BlockIQ1_M {
    /// Lower eight bits of the points' numbers.
    pub qs: [u8; ELEMS / GROUP],
    /// For each point a nibble: upper three bits of its number, one for the shift.
    pub qh: [u8; ELEMS / GROUP / 2],
    /// Four scales of three bits, and in the upper four bits a part of the f16 scale.
    pub scales: [U16; ELEMS / 64],
}
const _: () = assert!(size_of::<BlockIQ1_M>() == 56);

impl Block for BlockIQ1_S {
    const DTYPE: DType = DType::IQ1_S;
    const ELEMS: usize = ELEMS;
    const WORDS: &'static [Words] =
        &[Words::one(0, 2), Words { at: 2 + ELEMS / GROUP, width: 2, count: ELEMS / 32 }];

    fn decode(&self, out: &mut [f32]) {
        let d = f16::from_bits(self.d.get()).to_f32();
        for (i, (out, &low)) in out.chunks_exact_mut(GROUP).zip(&self.qs).enumerate() {
            let word = self.qh[i / 4].get();
            let scale = d * f32::from(2 * (word >> 12 & 7) + 1);
            write_shifted(out, scale, low, word >> (3 * (i % 4)) & 7, word >> 15 == 1);
        }
    }
}

impl Block for BlockIQ1_M {
    const DTYPE: DType = DType::IQ1_M;
    const ELEMS: usize = ELEMS;
    const WORDS: &'static [Words] =
        &[Words { at: ELEMS / GROUP + ELEMS / GROUP / 2, width: 2, count: ELEMS / 64 }];

    fn decode(&self, out: &mut [f32]) {
        let d = self.scales.iter().rev().fold(0, |d, word| d << 4 | word.get() >> 12);
        let d = f16::from_bits(d).to_f32();
        for (i, (out, &low)) in out.chunks_exact_mut(GROUP).zip(&self.qs).enumerate() {
            let s = self.scales[i / 8].get() >> (3 * (i % 8 / 2)) & 7;
            let high = nibble(&self.qh, i);
            write_shifted(out, d * f32::from(2 * s + 1), low, u16::from(high & 7), high & 8 != 0);
        }
    }
}

/// Writes a point, given in two parts, moved up or `down`.
fn write_shifted(out: &mut [f32], scale: f32, low: u8, high: u16, down: bool) {
    let shift = if down { -SHIFT } else { SHIFT };
    let point = iq_grid::IQ1[usize::from(high) << 8 | usize::from(low)];
    for (out, level) in out.iter_mut().zip(point) {
        *out = scale * (f32::from(level) + shift);
    }
}
