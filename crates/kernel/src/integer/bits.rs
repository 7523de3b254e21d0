//! How integers of fewer than eight bits lie in bytes, as several types have them.

use super::MAX_PARTS;
use crate::activations::PART;

/// What the nibbles of IQ4_NL and IQ4_XS stand for, plus [`IQ4_LESS`].
pub(crate) const IQ4_TABLE: [u8; 16] =
    [1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241];
/// What makes the table's bytes positive.
pub(crate) const IQ4_LESS: u8 = 128;
/// What the nibbles of MXFP4 stand for, doubled.
pub(crate) const MXFP4_TABLE: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// The nibbles of sixteen bytes: the low ones first.
#[inline(always)]
pub(super) fn low_then_high(bytes: &[u8; PART / 2]) -> [u8; PART] {
    std::array::from_fn(|k| bytes[k % 16] >> (k / 16 * 4) & 0x0f)
}

/// The nibbles of sixteen bytes with a bit each of `high` above them.
#[inline(always)]
pub(super) fn fifth_bits(low: &[u8; PART / 2], high: &[u8; PART / 8]) -> [i16; PART] {
    let low = low_then_high(low);
    std::array::from_fn(|k| i16::from(low[k] | (high[k / 8] >> (k % 8) & 1) << 4))
}

/// The nibbles of a part where 32 bytes hold two: low ones, then high ones.
#[inline(always)]
pub(super) fn nibbles_of_64(bytes: &[u8; 128], part: usize) -> [u8; PART] {
    let bytes = &bytes[part / 2 * PART..][..PART];
    std::array::from_fn(|k| bytes[k] >> (4 * (part % 2)) & 0x0f)
}

/// The pairs of bits of a part where 32 bytes hold four, the lowest first.
#[inline(always)]
pub(super) fn crumbs_of_128(bytes: &[u8; 64], part: usize) -> [u8; PART] {
    let bytes = &bytes[part / 4 * PART..][..PART];
    std::array::from_fn(|k| bytes[k] >> (2 * (part % 4)) & 3)
}

/// The scales and offsets of Q4_K and Q5_K.
pub(crate) struct SixBits {
    pub(crate) scales: [u8; MAX_PARTS],
    pub(crate) offsets: [u8; MAX_PARTS],
}

/// Bytes 0 to 3 hold scales 0 to 3 and bytes 4 to 7 offsets 0 to 3, below two bits each of scales
/// and offsets 4 to 7, whose lower four are the low and the high nibbles of bytes 8 to 11.
#[inline(always)]
pub(crate) fn six_bits(packed: &[u8; 12]) -> SixBits {
    let [first, second, third] =
        [0, 4, 8].map(|at| u32::from_le_bytes(std::array::from_fn(|i| packed[at + i])));
    let low = |word: u32| u64::from(word & 0x3f3f_3f3f);
    let high = |word: u32, nibbles: u32| {
        u64::from((word >> 2 & 0x3030_3030) | (nibbles & 0x0f0f_0f0f)) << 32
    };
    SixBits {
        scales: (low(first) | high(first, third)).to_le_bytes(),
        offsets: (low(second) | high(second, third >> 4)).to_le_bytes(),
    }
}
