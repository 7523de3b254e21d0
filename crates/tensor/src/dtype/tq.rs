//! The ternary types, which are only read: 256 elements that are −1, 0 or 1 times an f16 scale.
//!
//! ```text
//! TQ1_0  0 … 31                    | 32 … 47                   | 48 … 51                 | 52 53
//!        element j + 32n: trit n   | 160 + j + 16n: trit n     | 240 + j + 4n: trit n    | d
//!        of byte j, n = 0 … 4      | of byte 32 + j            | of byte 48 + j, n ≤ 3   |
//! TQ2_0  0 … 63                                                                          | 64 65
//!        element 128h + 32n + j: bits 2n and 2n+1 of byte 32h + j, minus 1               | d
//! ```
//! Five trits are a byte as a fraction of 256, rounded up: multiplying by 3ⁿ modulo 256 brings
//! trit n to the front, and the upper part of thrice the result is that trit plus 1. The layouts
//! are GGML's.

use crate::DType;
use crate::block::{Block, Words};
use half::f16;
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const ELEMS: usize = 256;

/// 256 elements in 54 bytes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name is GGML's")]
pub struct BlockTQ1_0 {
    /// Five trits a byte: 32 and 16 bytes in rows.
    pub qs: [u8; 48],
    /// Four trits a byte.
    pub qh: [u8; 4],
    /// Scale, as the bits of an f16.
    pub d: U16,
}
const _: () = assert!(size_of::<BlockTQ1_0>() == 54);

/// 256 elements in 66 bytes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name is GGML's")]
pub struct BlockTQ2_0 {
    /// Four elements a byte, each plus 1.
    pub qs: [u8; ELEMS / 4],
    /// Scale, as the bits of an f16.
    pub d: U16,
}
const _: () = assert!(size_of::<BlockTQ2_0>() == 66);

impl Block for BlockTQ1_0 {
    const DTYPE: DType = DType::TQ1_0;
    const ELEMS: usize = ELEMS;
    const WORDS: &'static [Words] = &[Words::one(52, 2)];

    fn decode(&self, out: &mut [f32]) {
        let d = f16::from_bits(self.d.get()).to_f32();
        let (long, short) = self.qs.split_at(32);
        let mut rest = out;
        for (bytes, trits) in [(long, 5), (short, 5), (&self.qh[..], 4)] {
            let (part, tail) = rest.split_at_mut(bytes.len() * trits);
            rest = tail;
            let mut power = 1_u8;
            for row in part.chunks_exact_mut(bytes.len()) {
                for (out, &byte) in row.iter_mut().zip(bytes) {
                    let trit = (u16::from(byte.wrapping_mul(power)) * 3) >> 8;
                    *out = d * (f32::from(trit) - 1.0);
                }
                power = power.wrapping_mul(3);
            }
        }
    }
}

impl Block for BlockTQ2_0 {
    const DTYPE: DType = DType::TQ2_0;
    const ELEMS: usize = ELEMS;
    const WORDS: &'static [Words] = &[Words::one(64, 2)];

    fn decode(&self, out: &mut [f32]) {
        let d = f16::from_bits(self.d.get()).to_f32();
        for (row, out) in out.chunks_exact_mut(32).enumerate() {
            let bytes = &self.qs[row / 4 * 32..][..32];
            for (out, &byte) in out.iter_mut().zip(bytes) {
                *out = d * (f32::from(byte >> (2 * (row % 4)) & 3) - 1.0);
            }
        }
    }
}
