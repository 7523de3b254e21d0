//! Q5_0: 32 five-bit integers and their f16 scale.
//!
//! ```text
//! byte   0 1 | 2 … 5 | 6 … 21
//!        d   | qh    | qs: low nibble of byte j is bits 0 … 3 of q[j], high nibble of q[16 + j]
//! qh: bit k of byte j is bit 4 of q[8j + k]                        value i = d · (q[i] − 16)
//! ```
//! The layout is GGML's `block_q5_0`; the scale is searched for (`single_block.rs`).

use super::nibbles::Halves;
use crate::block::{Block, Words};
use crate::plane::{Plane, expand};
use crate::scale_search::Grid;
use crate::single_block::{ELEMS, Shape, encode, error_bound, factors};
use crate::{DType, EncodeError};
use half::f16;
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const SHAPE: Shape =
    Shape { dtype: DType::Q5_0, grid: Grid { min: -16.0, max: 15.0 }, starts: factors(0.86, 1.1) };
pub(crate) type High = Plane<1, 1, 4>;

/// 32 elements in 22 bytes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name is GGML's")]
pub struct BlockQ5_0 {
    /// Scale, as the bits of an f16.
    pub d: U16,
    /// The highest bit of each quantized value plus 16.
    pub qh: [u8; ELEMS / 8],
    /// The lower four bits of the quantized values plus 16, two to a byte.
    pub qs: [u8; ELEMS / 2],
}
const _: () = assert!(size_of::<BlockQ5_0>() == 22);

impl Block for BlockQ5_0 {
    const DTYPE: DType = DType::Q5_0;
    const ELEMS: usize = ELEMS;
    // To GGML the four bytes of `qh` are one number.
    const WORDS: &'static [Words] = &[Words::one(0, 2), Words::one(2, 4)];

    #[inline(always)]
    fn decode(&self, out: &mut [f32]) {
        let d = f16::from_bits(self.d.get()).to_f32();
        let mut q = [0; ELEMS];
        Halves::unpack(&self.qs, &mut q);
        High::unpack(&self.qh, &mut q);
        expand(&q, out, |q| d * (q - 16.0));
    }

    #[inline(always)]
    fn encode(values: &[f32]) -> Result<Self, EncodeError> {
        let found = encode::<false>(values, &SHAPE)?;
        Ok(Self {
            d: U16::new(found.d.to_bits()),
            qh: High::pack(&found.q),
            qs: Halves::pack(&found.q),
        })
    }

    #[inline(always)]
    fn error_bound(values: &[f32]) -> f32 {
        error_bound::<false>(values, &SHAPE)
    }
}
