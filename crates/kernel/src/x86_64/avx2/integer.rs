//! What the integer kernels share, given how a part of a block becomes 32 integers.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

mod panel;
mod rows;

use super::super::load;
use crate::activations::PART;
use crate::integer::{IntegerKernels, Integers, MAX_PARTS};
pub(super) use panel::multiply_panel;
use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_cvtsi64_si128, _mm_set_epi16, _mm_shuffle_epi8, _mm256_and_si256,
    _mm256_castps_si256, _mm256_castsi256_ps, _mm256_castsi256_si128, _mm256_cvtepi8_epi16,
    _mm256_cvtepu8_epi16, _mm256_cvtph_ps, _mm256_extracti128_si256, _mm256_permute2x128_si256,
    _mm256_set1_epi8, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_srl_epi16,
    _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64,
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

    /// The scales of each part of eight blocks.
    ///
    /// # Safety
    /// The CPU must have AVX2, FMA and F16C.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn eight_scales(blocks: &[&Self; 8]) -> [__m256; MAX_PARTS] {
        by_part::<Self>(blocks.map(|block| block.scales()))
    }

    /// The offsets of each part of eight blocks, of the first and of the last sixteen elements.
    ///
    /// # Safety
    /// The CPU must have AVX2, FMA and F16C.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn eight_offsets(blocks: &[&Self; 8]) -> [[__m256; MAX_PARTS]; 2] {
        if Self::OFFSETS == 0 {
            return [[_mm256_setzero_ps(); MAX_PARTS]; 2];
        }
        let offsets = blocks.map(|block| block.offsets());
        let first = by_part::<Self>(offsets.map(|[first, _]| first));
        if Self::OFFSETS < 2 {
            return [first, first];
        }
        [first, by_part::<Self>(offsets.map(|[_, second]| second))]
    }
}

/// Types whose integers are unpacked by portable code.
macro_rules! portable {
    ($($block:ident),*) => { $(impl Unpack for apr_tensor::$block {})* };
}
portable!(BlockQ2_K, BlockQ3_K, BlockQ4_1, BlockQ5_0, BlockQ5_1);

/// A vector of eight blocks for each part.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn by_part<B: Integers>(values: [[f32; MAX_PARTS]; 8]) -> [__m256; MAX_PARTS] {
    if B::PARTS == 1 {
        return [load::f32x8(&values.map(|[value, ..]| value)); MAX_PARTS];
    }
    let rows = values.map(|row| _mm256_castps_si256(load::f32x8(&row)));
    transposed(rows).map(|part| _mm256_castsi256_ps(part))
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

/// 32 unsigned bytes, widened.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn widen(bytes: __m256i) -> Halves {
    widen_unsigned([_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes)])
}

/// What the table has at these indices, widened.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn look_up(table: &[i8; 16], indices: [__m128i; 2]) -> Halves {
    let table = load::i8x16(table);
    widen_signed(indices.map(|indices| _mm_shuffle_epi8(table, indices)))
}

/// The nibbles of a part where 32 bytes hold two: low ones, then high ones.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn nibbles_of_64(bytes: &[u8; 4 * PART], part: usize) -> __m256i {
    bits_at::<4>(load::bytes32(&bytes.as_chunks::<PART>().0[part / 2]), 4 * (part % 2))
}

/// The `BITS` bits from bit `at` on of each byte, `at` below 8.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn bits_at<const BITS: u32>(bytes: __m256i, at: usize) -> __m256i {
    let shifted = _mm256_srl_epi16(bytes, _mm_cvtsi64_si128(at as i64));
    _mm256_and_si256(shifted, _mm256_set1_epi8((1 << BITS) - 1))
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
