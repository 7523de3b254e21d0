//! Q2_K: 256 two-bit integers in 16 sub-blocks, each with a scale and an offset of four bits.
//!
//! ```text
//! byte   0 … 15 | 16 … 79 | 80 81 | 82 83
//!        scales | qs      | d     | dmin
//! scales[b]: low nibble s, high nibble m            value i = d · s[b] · q[i] − dmin · m[b]
//! qs: 32 bytes for 128 elements; bits 2k, 2k+1 of byte j are q[32k + j]        b = i / 16
//! ```
//! The layout is GGML's `block_q2_K`; scales and offsets are searched for (`super_block.rs`).

use super::k_quant::{Crumbs, expand_all, half};
use crate::block::{Block, Words};
use crate::scale_search::Grid;
use crate::super_block::{ELEMS, Shape, encode, error_bound};
use crate::{DType, EncodeError};
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const SUBS: usize = 16;
const SHAPE: Shape = Shape {
    dtype: DType::Q2_K,
    grid: Grid { min: 0.0, max: 3.0 },
    scales: Grid { min: 0.0, max: 15.0 },
    mins: Grid { min: 0.0, max: 15.0 },
    starts: &[0.0, 0.1, 0.2],
    around: &[0.0, -1.0, 1.0],
};

/// 256 elements in 84 bytes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name is GGML's")]
pub struct BlockQ2_K {
    /// Scale and offset of each sub-block of 16 elements, in units of `d` and `dmin`.
    pub scales: [u8; SUBS],
    /// Quantized values, four to a byte.
    pub qs: [u8; ELEMS / 4],
    /// Unit of the scales, as the bits of an f16.
    pub d: U16,
    /// Unit of the offsets, as the bits of an f16.
    pub dmin: U16,
}
const _: () = assert!(size_of::<BlockQ2_K>() == 84);

impl Block for BlockQ2_K {
    const DTYPE: DType = DType::Q2_K;
    const ELEMS: usize = ELEMS;
    const KEEPS_ZERO: bool = false;
    const WORDS: &'static [Words] = &[Words { at: 80, width: 2, count: 2 }];

    #[inline(always)]
    fn decode(&self, out: &mut [f32]) {
        let (d, dmin) = (half(self.d), half(self.dmin));
        let scales = self.scales.map(|pair| d * f32::from(pair & 15));
        let mins = self.scales.map(|pair| dmin * f32::from(pair >> 4));
        let mut q = [0; ELEMS];
        Crumbs::unpack(&self.qs, &mut q);
        expand_all::<SUBS, { ELEMS / SUBS }>(&q, 0.0, (&scales, &mins), out);
    }

    #[inline(always)]
    fn encode(values: &[f32]) -> Result<Self, EncodeError> {
        let found = encode::<true, SUBS, { ELEMS / SUBS }>(values, &SHAPE)?;
        Ok(Self {
            scales: std::array::from_fn(|b| found.scales[b] | found.mins[b] << 4),
            qs: Crumbs::pack(&found.q),
            d: U16::new(found.d.to_bits()),
            dmin: U16::new(found.dmin.to_bits()),
        })
    }

    #[inline(always)]
    fn error_bound(values: &[f32]) -> f32 {
        error_bound::<true, SUBS, { ELEMS / SUBS }>(values, &SHAPE)
    }
}
