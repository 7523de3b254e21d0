//! What the K-quants share: planes of their integers, and the packed scales of Q4_K and Q5_K.

use crate::plane::{Plane, expand};
use crate::super_block::ELEMS;
use half::f16;
use zerocopy::little_endian::U16;

/// Lowest four bits, halves of 64 elements.
pub(crate) type Nibbles = Plane<4, 32, 0>;
/// Lowest two bits, quarters of 128 elements.
pub(crate) type Crumbs = Plane<2, 32, 0>;
/// Bit 2, the parts of 32 elements that all share the same 32 bytes.
pub(crate) type Bit2 = Plane<1, 32, 2>;
/// Bit 4, likewise.
pub(crate) type Bit4 = Plane<1, 32, 4>;

/// The value of a half-precision field.
#[inline(always)]
pub(crate) fn half(bits: U16) -> f32 {
    f16::from_bits(bits.get()).to_f32()
}

/// Writes `scale · (q − zero) − min` for `L` sub-blocks of `N` elements, whose scales and offsets
/// are given.
#[inline(always)]
pub(crate) fn expand_all<const L: usize, const N: usize>(
    q: &[u8; ELEMS],
    zero: f32,
    (scales, mins): (&[f32; L], &[f32; L]),
    out: &mut [f32],
) {
    let parts = q.as_chunks::<N>().0.iter().zip(out.chunks_exact_mut(N));
    for ((q, out), (scale, min)) in parts.zip(scales.iter().zip(mins)) {
        expand(q, out, |q| scale * (q - zero) - min);
    }
}

/// The scales and offsets of Q4_K and Q5_K, 6 bits each:
///
/// ```text
/// byte 0 … 3      4 … 7       8 … 11
///      hhssssss   HHmmmmmm    MMMMSSSS     scale j: s of byte j, offset j: m of byte 4+j
///                                          scale 4+j: hhSSSS, offset 4+j: HHMMMM
/// ```
#[inline(always)]
pub(crate) fn unpack_scales(packed: &[u8; 12]) -> ([u8; 8], [u8; 8]) {
    let (mut scales, mut mins) = ([0; 8], [0; 8]);
    for j in 0..4 {
        let (s, m, rest) = (packed[j], packed[4 + j], packed[8 + j]);
        (scales[j], scales[4 + j]) = (s & 63, (s >> 6) << 4 | rest & 15);
        (mins[j], mins[4 + j]) = (m & 63, (m >> 6) << 4 | rest >> 4);
    }
    (scales, mins)
}

/// The inverse of [`unpack_scales`].
#[inline(always)]
pub(crate) fn pack_scales(scales: &[u8; 8], mins: &[u8; 8]) -> [u8; 12] {
    let mut packed = [0; 12];
    for j in 0..4 {
        packed[j] = scales[j] | (scales[4 + j] >> 4) << 6;
        packed[4 + j] = mins[j] | (mins[4 + j] >> 4) << 6;
        packed[8 + j] = (scales[4 + j] & 15) | (mins[4 + j] & 15) << 4;
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_scales_are_found_again() {
        let scales = [0, 1, 17, 63, 62, 33, 16, 15];
        let mins = [63, 40, 2, 31, 0, 15, 48, 21];
        assert_eq!(unpack_scales(&pack_scales(&scales, &mins)), (scales, mins));
    }
}
