//! Bytes that hold two numbers of four bits, and the types whose numbers look a value up in a
//! table of sixteen.

use crate::plane::Plane;

/// 32 elements in 16 bytes: the lower nibbles are the first half.
pub(crate) type Halves = Plane<4, 16, 0>;

/// Number `i` of a row of nibbles, the lower half of each byte first.
#[inline(always)]
pub(crate) fn nibble(bytes: &[u8], i: usize) -> u8 {
    bytes[i / 2] >> (4 * (i % 2)) & 0x0f
}

/// Writes `scale` times the table's values: the lower nibbles are the first half of the elements.
#[inline(always)]
pub(crate) fn decode_table(qs: &[u8], table: &[i8; 16], scale: f32, out: &mut [f32]) {
    let (low, high) = out.split_at_mut(qs.len());
    for ((low, high), &pair) in low.iter_mut().zip(high).zip(qs) {
        *low = scale * f32::from(table[usize::from(pair & 0x0f)]);
        *high = scale * f32::from(table[usize::from(pair >> 4)]);
    }
}
