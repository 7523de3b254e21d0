//! Q6_K: 256 six-bit integers in 16 sub-blocks, each with a signed byte as its scale.
//!
//! ```text
//! byte   0 … 127 | 128 … 191 | 192 … 207 | 208 209
//!        ql      | qh        | scales    | d             value i = d · s[b] · (q[i] − 32)
//! ql: 64 bytes for 128 elements; low nibble of byte j: bits 0 … 3 of q[j], high: of q[64 + j]
//! qh: 32 bytes for 128 elements; bits 2k, 2k+1 of byte j are bits 4, 5 of q[32k + j]
//! scales: s[b], b = i / 16
//! ```
//! The layout is GGML's `block_q6_K`; scales are searched for (`super_block.rs`).

use super::k_quant::{expand_all, half};
use crate::block::{Block, Words};
use crate::plane::Plane;
use crate::scale_search::Grid;
use crate::super_block::{ELEMS, Shape, encode, error_bound};
use crate::{DType, EncodeError};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const SUBS: usize = 16;
const SHAPE: Shape = Shape {
    dtype: DType::Q6_K,
    grid: Grid { min: -32.0, max: 31.0 },
    scales: Grid { min: -128.0, max: 127.0 },
    mins: Grid { min: 0.0, max: 0.0 },
    starts: &[0.9, 0.92, 0.94, 0.965, 0.985, 1.005, 1.03, 1.05],
    around: &[0.0, -1.0, 1.0, -2.0, 2.0, -3.0, 3.0],
};
type Low = Plane<4, 64, 0>;
type High = Plane<2, 32, 4>;

/// 256 elements in 210 bytes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name is GGML's")]
pub struct BlockQ6_K {
    /// The lower four bits of the quantized values plus 32, two to a byte.
    pub ql: [u8; ELEMS / 2],
    /// The upper two bits of the quantized values plus 32, four to a byte.
    pub qh: [u8; ELEMS / 4],
    /// Scales of the sub-blocks of 16 elements, in units of `d`.
    pub scales: [i8; SUBS],
    /// Unit of the scales, as the bits of an f16.
    pub d: U16,
}
const _: () = assert!(size_of::<BlockQ6_K>() == 210);

impl Block for BlockQ6_K {
    const DTYPE: DType = DType::Q6_K;
    const ELEMS: usize = ELEMS;
    const WORDS: &'static [Words] = &[Words::one(208, 2)];

    #[inline(always)]
    fn decode(&self, out: &mut [f32]) {
        let d = half(self.d);
        let mut q = [0; ELEMS];
        Low::unpack(&self.ql, &mut q);
        High::unpack(&self.qh, &mut q);
        expand_all::<SUBS, { ELEMS / SUBS }>(
            &q,
            32.0,
            (&self.scales.map(|s| d * f32::from(s)), &[0.0; SUBS]),
            out,
        );
    }

    #[inline(always)]
    fn encode(values: &[f32]) -> Result<Self, EncodeError> {
        let found = encode::<false, SUBS, { ELEMS / SUBS }>(values, &SHAPE)?;
        Ok(Self {
            ql: Low::pack(&found.q),
            qh: High::pack(&found.q),
            scales: found.scales.map(u8::cast_signed),
            d: U16::new(found.d.to_bits()),
        })
    }

    #[inline(always)]
    fn error_bound(values: &[f32]) -> f32 {
        error_bound::<false, SUBS, { ELEMS / SUBS }>(values, &SHAPE)
    }
}
