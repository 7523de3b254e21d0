//! What the integer kernels share, given how a part of a block becomes 32 integers.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

mod panel;
mod rows;

use super::super::load;
use crate::integer::{IntegerKernels, Integers};
pub(super) use panel::multiply_panel;
use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_set_epi16, _mm256_cvtepi8_epi16, _mm256_cvtepu8_epi16,
    _mm256_cvtph_ps, _mm256_permute2x128_si256, _mm256_setzero_si256, _mm256_unpackhi_epi32,
    _mm256_unpackhi_epi64, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64,
};
use zerocopy::little_endian::U16;

/// The integers of a part as two vectors of sixteen, in the order of the elements.
pub(super) type Halves = [__m256i; 2];

/// How this instruction set unpacks a type. What is inherited is compiled from portable code.
pub(super) trait Unpack: Integers {
    /// The integers of a part.
    ///
    /// # Safety
    /// The CPU must have AVX2, FMA and F16C.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn unpack(&self, part: usize) -> Halves {
        load::halves(&self.integers(part))
    }

    /// The scales of a part of eight blocks.
    ///
    /// # Safety
    /// The CPU must have AVX2, FMA and F16C.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn eight_scales(blocks: &[&Self; 8], part: usize) -> __m256 {
        load::f32x8(&blocks.map(|block| Integers::scales(block)[part]))
    }

    /// The offsets of a part of eight blocks, of its first and of its last sixteen elements.
    ///
    /// # Safety
    /// The CPU must have AVX2, FMA and F16C.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn eight_offsets(blocks: &[&Self; 8], part: usize) -> [__m256; 2] {
        let offsets = blocks.map(|block| Integers::offsets(block));
        [0, 1].map(|half| load::f32x8(&offsets.map(|offsets| offsets[half][part])))
    }
}

/// The functions of this instruction set.
pub(super) const fn integer_kernels<B: Unpack>() -> IntegerKernels {
    IntegerKernels { rows: rows::multiply_rows::<B>, pack: panel::pack::<B>, offsets: B::OFFSETS }
}

/// Eight numbers in half precision.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn halves(bits: [U16; 8]) -> __m256 {
    let [a, b, c, d, e, f, g, h] = bits.map(|bits| bits.get().cast_signed());
    _mm256_cvtph_ps(_mm_set_epi16(h, g, f, e, d, c, b, a))
}

/// Sixteen unsigned bytes each, widened.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn widen_unsigned(bytes: [__m128i; 2]) -> Halves {
    [_mm256_cvtepu8_epi16(bytes[0]), _mm256_cvtepu8_epi16(bytes[1])]
}

/// Sixteen signed bytes each, widened.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn widen_signed(bytes: [__m128i; 2]) -> Halves {
    [_mm256_cvtepi8_epi16(bytes[0]), _mm256_cvtepi8_epi16(bytes[1])]
}

/// Lane `j` of vector `i` becomes lane `i` of vector `j`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn transposed(rows: [__m256i; 8]) -> [__m256i; 8] {
    let [a, b, c, d, e, f, g, h] = rows;
    let [first, last] = [[a, b, c, d], [e, f, g, h]].map(|[a, b, c, d]| {
        let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
        let (ab_high, cd_high) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
        [
            _mm256_unpacklo_epi64(ab, cd),
            _mm256_unpackhi_epi64(ab, cd),
            _mm256_unpacklo_epi64(ab_high, cd_high),
            _mm256_unpackhi_epi64(ab_high, cd_high),
        ]
    });
    let mut columns = [_mm256_setzero_si256(); 8];
    for (j, (first, last)) in first.into_iter().zip(last).enumerate() {
        columns[j] = _mm256_permute2x128_si256::<0x20>(first, last);
        columns[j + 4] = _mm256_permute2x128_si256::<0x31>(first, last);
    }
    columns
}
