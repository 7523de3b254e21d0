//! Q5_1: 32 five-bit integers, their f16 scale and their f16 offset.
//!
//! ```text
//! byte   0 1 | 2 3 | 4 … 7 | 8 … 23
//!        d   | m   | qh    | qs            value i = d · q[i] + m
//! qh and qs as in Q5_0
//! ```
//! The layout is GGML's `block_q5_1`; scale and offset are searched for (`single_block.rs`).

use super::nibbles::Halves;
use super::q5_0::High;
use crate::block::{Block, Words};
use crate::plane::expand;
use crate::scale_search::Grid;
use crate::single_block::{ELEMS, Shape, encode, error_bound, pairs};
use crate::{DType, EncodeError};
use half::f16;
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const SHAPE: Shape = Shape {
    dtype: DType::Q5_1,
    grid: Grid { min: 0.0, max: 31.0 },
    starts: pairs([-0.01, 0.005, 0.02, 0.035]),
};

/// 32 elements in 24 bytes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name is GGML's")]
pub struct BlockQ5_1 {
    /// Scale, as the bits of an f16.
    pub d: U16,
    /// Offset, as the bits of an f16.
    pub m: U16,
    /// The highest bit of each quantized value.
    pub qh: [u8; ELEMS / 8],
    /// The lower four bits of the quantized values, two to a byte.
    pub qs: [u8; ELEMS / 2],
}
const _: () = assert!(size_of::<BlockQ5_1>() == 24);

impl Block for BlockQ5_1 {
    const DTYPE: DType = DType::Q5_1;
    const ELEMS: usize = ELEMS;
    const KEEPS_ZERO: bool = false;
    // To GGML the four bytes of `qh` are one number.
    const WORDS: &'static [Words] = &[Words { at: 0, width: 2, count: 2 }, Words::one(4, 4)];

    #[inline(always)]
    fn decode(&self, out: &mut [f32]) {
        let [d, m] = [self.d, self.m].map(|bits| f16::from_bits(bits.get()).to_f32());
        let mut q = [0; ELEMS];
        Halves::unpack(&self.qs, &mut q);
        High::unpack(&self.qh, &mut q);
        expand(&q, out, |q| d * q + m);
    }

    #[inline(always)]
    fn encode(values: &[f32]) -> Result<Self, EncodeError> {
        let found = encode::<true>(values, &SHAPE)?;
        let [d, m] = [found.d, found.m].map(|number| U16::new(number.to_bits()));
        Ok(Self { d, m, qh: High::pack(&found.q), qs: Halves::pack(&found.q) })
    }

    #[inline(always)]
    fn error_bound(values: &[f32]) -> f32 {
        error_bound::<true>(values, &SHAPE)
    }
}
