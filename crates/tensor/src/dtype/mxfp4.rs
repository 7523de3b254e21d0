//! MXFP4: 32 four-bit floats (sign, two bits of exponent, one of mantissa) and a power of two.
//!
//! ```text
//! byte   0 | 1 … 16
//!        e | low nibble of byte 1+j: q[j], high nibble: q[j+16]    value i = 2^(e − 128) · T[q[i]]
//! ```
//! Elements and scale are those of the OCP Microscaling Formats (MX) specification 1.0, laid out
//! as in GGML: the table holds the values doubled, the power is halved, and 255, which the
//! specification gives to NaN, is 2¹²⁷ like any other exponent.

use super::nibbles::{decode_table, pack_halves};
use crate::block::{Block, Words, finite_amax};
use crate::{DType, EncodeError};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const ELEMS: usize = 32;

/// What the numbers stand for, doubled (GGML: `kvalues_mxfp4`).
pub(crate) const TABLE: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// 32 elements in 17 bytes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct BlockMXFP4 {
    /// Exponent of the scale (E8M0).
    pub e: u8,
    /// Numbers into the table, two to a byte.
    pub qs: [u8; ELEMS / 2],
}
const _: () = assert!(size_of::<BlockMXFP4>() == 17);

impl Block for BlockMXFP4 {
    const DTYPE: DType = DType::MXFP4;
    const ELEMS: usize = ELEMS;
    const WORDS: &'static [Words] = &[];

    fn decode(&self, out: &mut [f32]) {
        decode_table(&self.qs, &TABLE, power(i32::from(self.e) - 128), out);
    }
}

/// 2^`exponent`, for −128 to 127.
fn power(exponent: i32) -> f32 {
    // The two smallest are subnormal: reached from the smallest normal one.
    let normal = exponent.max(-126);
    let power = f32::from_bits(((normal + 127) as u32) << 23);
    power * [1.0, 0.5, 0.25][(normal - exponent) as usize]
}
