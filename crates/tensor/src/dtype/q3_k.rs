//! Q3_K: 256 three-bit integers in 16 sub-blocks, each with a signed scale of six bits.
//!
//! ```text
//! byte   0 … 31 | 32 … 95 | 96 … 107 | 108 109
//!        hmask  | qs      | scales   | d               value i = d · (s[b] − 32) · (q[i] − 4)
//! hmask: bit k of byte j is bit 2 of q[32k + j]                                     b = i / 16
//! qs: 32 bytes for 128 elements; bits 2k, 2k+1 of byte j are the lower bits of q[32k + j]
//! scales: low nibbles of bytes 0 … 7 are bits 0 … 3 of s[0] … s[7], high ones of s[8] … s[15];
//!         bits 2k, 2k+1 of byte 8 + j are bits 4, 5 of s[4k + j]
//! ```
//! The layout is GGML's `block_q3_K`; scales are searched for (`super_block.rs`).

use super::k_quant::{Bit2, Crumbs, expand_all, half};
use crate::block::{Block, Words};
use crate::plane::Plane;
use crate::scale_search::Grid;
use crate::super_block::{ELEMS, Shape, encode, error_bound};
use crate::{DType, EncodeError};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const SUBS: usize = 16;
const SHAPE: Shape = Shape {
    dtype: DType::Q3_K,
    grid: Grid { min: -4.0, max: 3.0 },
    scales: Grid { min: -32.0, max: 31.0 },
    mins: Grid { min: 0.0, max: 0.0 },
    starts: &[0.75, 0.8, 0.86, 0.92, 0.98, 1.03, 1.09, 1.15],
    around: &[0.0, -1.0, 1.0, -2.0, 2.0],
};
type LowScales = Plane<4, 8, 0>;
type HighScales = Plane<2, 4, 4>;

/// 256 elements in 110 bytes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name is GGML's")]
pub struct BlockQ3_K {
    /// The highest bit of each quantized value.
    pub hmask: [u8; ELEMS / 8],
    /// The lower two bits of the quantized values plus 4, four to a byte.
    pub qs: [u8; ELEMS / 4],
    /// Scales of the sub-blocks of 16 elements plus 32, in units of `d`.
    pub scales: [u8; 12],
    /// Unit of the scales, as the bits of an f16.
    pub d: U16,
}
const _: () = assert!(size_of::<BlockQ3_K>() == 110);

impl Block for BlockQ3_K {
    const DTYPE: DType = DType::Q3_K;
    const ELEMS: usize = ELEMS;
    const WORDS: &'static [Words] = &[Words::one(108, 2)];

    #[inline(always)]
    fn decode(&self, out: &mut [f32]) {
        let d = half(self.d);
        let mut scales = [0; SUBS];
        LowScales::unpack(&self.scales[..8], &mut scales);
        HighScales::unpack(&self.scales[8..], &mut scales);
        let scales = scales.map(|scale: u8| d * (f32::from(scale) - 32.0));
        let mut q = [0; ELEMS];
        Crumbs::unpack(&self.qs, &mut q);
        Bit2::unpack(&self.hmask, &mut q);
        expand_all::<SUBS, { ELEMS / SUBS }>(&q, 4.0, (&scales, &[0.0; SUBS]), out);
    }

    #[inline(always)]
    fn encode(values: &[f32]) -> Result<Self, EncodeError> {
        let found = encode::<false, SUBS, { ELEMS / SUBS }>(values, &SHAPE)?;
        let stored = found.scales.map(|scale| scale.wrapping_add(32));
        let (low, high): ([u8; 8], [u8; 4]) = (LowScales::pack(&stored), HighScales::pack(&stored));
        let mut scales = [0; 12];
        scales[..8].copy_from_slice(&low);
        scales[8..].copy_from_slice(&high);
        Ok(Self {
            hmask: Bit2::pack(&found.q),
            qs: Crumbs::pack(&found.q),
            scales,
            d: U16::new(found.d.to_bits()),
        })
    }

    #[inline(always)]
    fn error_bound(values: &[f32]) -> f32 {
        error_bound::<false, SUBS, { ELEMS / SUBS }>(values, &SHAPE)
    }
}
