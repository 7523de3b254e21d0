//! Q5_K: 256 five-bit integers in 8 sub-blocks, each with a scale and an offset of six bits.
//!
//! ```text
//! byte   0 1 | 2 3  | 4 … 15 | 16 … 47 | 48 … 175
//!        d   | dmin | scales | qh      | qs       value i = d · s[b] · q[i] − dmin · m[b]
//! scales: s and m, see `k_quant.rs`                                          b = i / 32
//! qh: bit k of byte j is bit 4 of q[32k + j]
//! qs: 32 bytes for 64 elements; low nibble of byte j: bits 0 … 3 of q[j], high: of q[32 + j]
//! ```
//! The layout is GGML's `block_q5_K`; scales and offsets are searched for (`super_block.rs`).

use super::k_quant::{Bit4, Nibbles, expand_all, half, pack_scales, unpack_scales};
use crate::block::{Block, Words};
use crate::scale_search::Grid;
use crate::super_block::{ELEMS, Shape, encode, error_bound};
use crate::{DType, EncodeError};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const SUBS: usize = 8;
const SHAPE: Shape = Shape {
    dtype: DType::Q5_K,
    grid: Grid { min: 0.0, max: 31.0 },
    scales: Grid { min: 0.0, max: 63.0 },
    mins: Grid { min: 0.0, max: 63.0 },
    starts: &[-0.02, -0.005, 0.01, 0.025, 0.04],
    around: &[0.0, -1.0, 1.0],
};

/// 256 elements in 176 bytes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name is GGML's")]
pub struct BlockQ5_K {
    /// Unit of the scales, as the bits of an f16.
    pub d: U16,
    /// Unit of the offsets, as the bits of an f16.
    pub dmin: U16,
    /// Scales and offsets of the sub-blocks of 32 elements, in units of `d` and `dmin`.
    pub scales: [u8; 12],
    /// The highest bit of each quantized value.
    pub qh: [u8; ELEMS / 8],
    /// The lower four bits of the quantized values, two to a byte.
    pub qs: [u8; ELEMS / 2],
}
const _: () = assert!(size_of::<BlockQ5_K>() == 176);

impl Block for BlockQ5_K {
    const DTYPE: DType = DType::Q5_K;
    const ELEMS: usize = ELEMS;
    const KEEPS_ZERO: bool = false;
    const WORDS: &'static [Words] = &[Words { at: 0, width: 2, count: 2 }];

    #[inline(always)]
    fn decode(&self, out: &mut [f32]) {
        let (d, dmin) = (half(self.d), half(self.dmin));
        let (scales, mins) = unpack_scales(&self.scales);
        let mut q = [0; ELEMS];
        Nibbles::unpack(&self.qs, &mut q);
        Bit4::unpack(&self.qh, &mut q);
        let params = (&scales.map(|s| d * f32::from(s)), &mins.map(|m| dmin * f32::from(m)));
        expand_all::<SUBS, { ELEMS / SUBS }>(&q, 0.0, params, out);
    }

    #[inline(always)]
    fn encode(values: &[f32]) -> Result<Self, EncodeError> {
        let found = encode::<true, SUBS, { ELEMS / SUBS }>(values, &SHAPE)?;
        Ok(Self {
            d: U16::new(found.d.to_bits()),
            dmin: U16::new(found.dmin.to_bits()),
            scales: pack_scales(&found.scales, &found.mins),
            qh: Bit4::pack(&found.q),
            qs: Nibbles::pack(&found.q),
        })
    }

    #[inline(always)]
    fn error_bound(values: &[f32]) -> f32 {
        error_bound::<true, SUBS, { ELEMS / SUBS }>(values, &SHAPE)
    }
}
