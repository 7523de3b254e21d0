//! IQ4_XS: 256 four-bit numbers that look values up in the table of IQ4_NL, with a scale of six
//! bits for 32 of them and an f16 scale for these scales.
//!
//! ```text
//! byte   0  1 | 2  3            | 4 … 7                    | 8 … 135
//!        d    | bits 2b, 2b+1:  | low and high nibbles:    | 8 × 16 bytes, each as in IQ4_NL
//!             | upper two of    | lower four bits of s[b]  |
//!             | s[b]            |                          |   value = d · (s[b] − 32) · T[q]
//! ```
//! Layout and table are GGML's. The encoder is not: it searches for the scales of least squared
//! error (`table_search.rs`, docs/quantization.md).

use super::nibbles::{decode_table, nibble};
use crate::block::{Block, Words};
use crate::scale_search::{Grid, inverse};
use crate::table_search::{
    GROUP, HALF_GAP, REACH, Scales, Sums, TABLE, best_start, covering, covering_scale, quantize,
};
use crate::{DType, EncodeError};
use half::f16;
use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Groups of a block.
const GROUPS: usize = 8;
/// The scales of groups, before 32 is added to store them.
const SCALES: Grid = Grid { min: -32.0, max: 31.0 };
/// Values for the largest scale to take on, of either sign.
const ENDS: [f32; 12] = [32.0, 31.0, 30.0, 29.0, 28.0, 27.0, 26.0, 25.0, 24.0, 23.0, 22.0, 21.0];

/// 256 elements in 136 bytes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name is GGML's")]
pub struct BlockIQ4_XS {
    /// Scale of the scales, as the bits of an f16.
    pub d: U16,
    /// Upper two bits of the groups' scales.
    pub scales_h: U16,
    /// Lower four bits of the groups' scales, two to a byte.
    pub scales_l: [u8; GROUPS / 2],
    /// Numbers into the table, two to a byte.
    pub qs: [[u8; GROUP / 2]; GROUPS],
}
const _: () = assert!(size_of::<BlockIQ4_XS>() == 136);

impl Block for BlockIQ4_XS {
    const DTYPE: DType = DType::IQ4_XS;
    const ELEMS: usize = GROUP * GROUPS;
    const KEEPS_ZERO: bool = false;
    const WORDS: &'static [Words] = &[Words { at: 0, width: 2, count: 2 }];

    #[inline(always)]
    fn decode(&self, out: &mut [f32]) {
        let d = f16::from_bits(self.d.get()).to_f32();
        for (b, (out, qs)) in out.chunks_exact_mut(GROUP).zip(&self.qs).enumerate() {
            decode_table(qs, &TABLE, d * f32::from(self.scale(b)), out);
        }
    }

    #[inline(always)]
    fn encode(values: &[f32]) -> Result<Self, EncodeError> {
        let covering = covering_scale(Self::DTYPE, values, REACH * SCALES.max)?;
        let (groups, _) = values.as_chunks::<GROUP>();
        let groups = groups.as_array::<GROUPS>().expect("the caller cuts blocks");
        let limit = HALF_GAP * SCALES.max * covering.to_f32();
        let start = shared_scale(&groups.each_ref().map(best_start));
        let best = start.refine(groups, covering_scales(groups, covering), limit);
        Ok(Self::pack(groups, &best))
    }

    /// Half the widest gap of the table under the largest scale of a group, when the scale of the
    /// scales is the smallest with which the block's largest magnitude is at the table's shorter
    /// end or before it. No scales are taken that break it, and these do not.
    #[inline(always)]
    fn error_bound(values: &[f32]) -> f32 {
        let scale = covering(values, REACH * SCALES.max).to_f32();
        // The last factor is the rounding of the errors that the search compares.
        HALF_GAP * SCALES.max * scale * (1.0 + f32::EPSILON)
    }
}

impl BlockIQ4_XS {
    /// The scale of group `b`, −32 to 31.
    #[must_use]
    #[inline(always)]
    pub fn scale(&self, b: usize) -> i8 {
        let high = (self.scales_h.get() >> (2 * b) & 3) as u8;
        (high << 4 | nibble(&self.scales_l, b)).cast_signed() - 32
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 63")]
    #[inline(always)]
    fn pack(groups: &[[f32; GROUP]; GROUPS], scales: &Scales<GROUPS>) -> Self {
        let stored = scales.s.map(|s| (s - SCALES.min) as u8);
        let high = (0..GROUPS).map(|b| u16::from(stored[b] >> 4) << (2 * b)).sum();
        Self {
            d: U16::new(scales.d.to_bits()),
            scales_h: U16::new(high),
            scales_l: std::array::from_fn(|i| stored[2 * i] & 0x0f | stored[2 * i + 1] << 4),
            qs: std::array::from_fn(|b| quantize(&groups[b], scales.of(b))),
        }
    }
}

/// The smallest scales under which no value is past the table, whatever its sign.
#[inline(always)]
fn covering_scales(groups: &[[f32; GROUP]; GROUPS], d: f16) -> Scales<GROUPS> {
    let inverse = inverse(d.to_f32() * REACH);
    let s = groups.each_ref().map(|values| {
        let amax = values.iter().fold(0.0_f32, |amax, value| amax.max(value.abs()));
        (amax * inverse).ceil().min(SCALES.max)
    });
    Scales { d, s }
}

/// The scale of scales that holds the groups' own best ones most nearly: a group's squared error
/// grows by Σt² times the squared difference of its scale from its best one.
#[inline(always)]
fn shared_scale(best: &[Sums; GROUPS]) -> Scales<GROUPS> {
    let wanted = best.map(Sums::scale);
    let largest = wanted.iter().fold(0.0_f32, |m, &v| if v.abs() > m.abs() { v } else { m });
    let rounded = |d: f32| {
        let inverse = inverse(d);
        wanted.map(|scale| SCALES.round(scale * inverse))
    };
    let (mut found, mut least) = (Scales { d: f16::ZERO, s: [0.0; GROUPS] }, f32::INFINITY);
    for end in ENDS {
        for end in [-end, end] {
            let first = rounded(largest / end);
            let sums =
                best.iter().zip(first).fold(Sums::default(), |sums, (b, s)| sums.plus(*b, s));
            let d = f16::from_f32(sums.scale());
            let s = rounded(d.to_f32());
            let cost = (0..GROUPS)
                .map(|b| best[b].tt * (wanted[b] - d.to_f32() * s[b]).powi(2))
                .sum::<f32>();
            if cost < least {
                (found, least) = (Scales { d, s }, cost);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bit layout against the GGML specification: 36 is 0b10_0100, and so on.
    #[test]
    fn scales_are_put_together_as_in_ggml() {
        let mut bytes = [0_u8; 136];
        bytes[..2].copy_from_slice(&f16::from_f32(0.25).to_bits().to_le_bytes());
        bytes[2..4].copy_from_slice(&0b11_00_01_10_11_00_10_01_u16.to_le_bytes());
        bytes[4..8].copy_from_slice(&[0x1f, 0x32, 0x04, 0xf8]);
        // Numbers 8 and 15, the values 1 and 113, in the first and the second half of a group.
        bytes[8..].fill(0xf8);
        let mut out = [0.0; 256];
        DType::IQ4_XS.decode(&bytes, &mut out).unwrap();
        let scales = [0x1f, 0x21, 0x02, 0x33, 0x24, 0x10, 0x08, 0x3f].map(|s: i16| s - 32);
        for (b, scale) in scales.into_iter().enumerate() {
            let scale = 0.25 * f32::from(scale);
            assert_eq!(out[32 * b..][..16], [scale; 16], "{b}");
            assert_eq!(out[32 * b + 16..][..16], [scale * 113.0; 16], "{b}");
        }
    }

    #[test]
    fn stored_scales_are_read_back() {
        let groups = [[0.0; GROUP]; GROUPS];
        for first in -32..=24_i8 {
            let s = std::array::from_fn(|b| f32::from(first) + b as f32);
            let block = BlockIQ4_XS::pack(&groups, &Scales { d: f16::ONE, s });
            let read: [f32; GROUPS] = std::array::from_fn(|b| f32::from(block.scale(b)));
            assert_eq!(read, s);
        }
    }

    #[test]
    fn groups_of_different_magnitude_keep_their_own_scales() {
        let values: Vec<f32> =
            (0..256).map(|i| f32::from(TABLE[i % 16]) * (i / 32 + 1) as f32 * 0.125).collect();
        let mut out = [0.0; 256];
        BlockIQ4_XS::encode(&values).unwrap().decode(&mut out);
        for (b, (found, values)) in out.chunks(32).zip(values.chunks(32)).enumerate() {
            let error: f32 = found.iter().zip(values).map(|(a, b)| (a - b).powi(2)).sum();
            let power: f32 = values.iter().map(|value| value * value).sum();
            assert!(error <= 0.001 * power, "{b}: {error} of {power}");
        }
    }

    #[test]
    fn scales_past_f16_are_refused_with_the_element() {
        let mut values = [1.0; 256];
        values[200] = 2.3e8;
        assert_eq!(
            DType::IQ4_XS.encode(&values, &mut [0; 136]),
            Err(EncodeError::OutOfRange { dtype: DType::IQ4_XS, index: 200, value: 2.3e8 })
        );
    }
}
