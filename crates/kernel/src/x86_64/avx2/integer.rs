//! What the integer kernels share, given how a part of a block becomes 32 integers.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

mod panel;
mod rows;

use super::super::load;
use crate::activations::PART;
use crate::integer::{IntegerKernels, Integers, MAX_PARTS};
pub(super) use panel::multiply_panel;
use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_cvtsi64_si128, _mm_set_epi64x, _mm_shuffle_epi8,
    _mm256_and_si256, _mm256_castsi256_si128, _mm256_cmpeq_epi8, _mm256_cvtepi8_epi16,
    _mm256_cvtepi32_ps, _mm256_cvtepu8_epi16, _mm256_cvtepu8_epi32, _mm256_cvtph_ps,
    _mm256_extracti128_si256, _mm256_mul_ps, _mm256_mullo_epi16, _mm256_or_si256,
    _mm256_permute2x128_si256, _mm256_set_m128i, _mm256_set1_epi8, _mm256_set1_epi16,
    _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_setr_epi64x, _mm256_setzero_ps,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srl_epi16, _mm256_srli_epi16,
    _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64,
};
use zerocopy::little_endian::U16;

/// The integers of a part as two vectors of sixteen, in the order of the elements.
pub(super) type Halves = [__m256i; 2];

/// How this instruction set unpacks a type.
pub(super) trait Unpack: Integers {
    /// The integers of a part.
    ///
    /// # Safety
    /// The CPU must have AVX2, FMA and F16C.
    unsafe fn unpack(&self, part: usize) -> Halves;

    /// The scales of each part of eight blocks.
    ///
    /// # Safety
    /// The CPU must have AVX2, FMA and F16C.
    unsafe fn eight_scales(blocks: &[&Self; 8]) -> [__m256; MAX_PARTS];

    /// The offsets of each part of eight blocks, of the first and of the last sixteen elements.
    ///
    /// # Safety
    /// The CPU must have AVX2, FMA and F16C.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn eight_offsets(blocks: &[&Self; 8]) -> [[__m256; MAX_PARTS]; 2] {
        let _ = blocks;
        [[_mm256_setzero_ps(); MAX_PARTS]; 2]
    }
}

/// Integers of the eight parts of eight blocks, times each block's unit.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn by_lane(blocks: [__m256i; 8], unit: __m256) -> [__m256; MAX_PARTS] {
    transposed(blocks).map(|part| _mm256_mul_ps(_mm256_cvtepi32_ps(part), unit))
}

/// Eight bytes of each of eight blocks, each byte in a lane.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn eight_rows(bytes: [[u8; 8]; 8]) -> [__m256i; 8] {
    let mut rows = [_mm256_setzero_si256(); 8];
    for (row, bytes) in rows.iter_mut().zip(bytes) {
        *row = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(i64::from_le_bytes(bytes)));
    }
    rows
}

/// The functions of this instruction set.
pub(super) const fn integer_kernels<B: Unpack>() -> IntegerKernels {
    IntegerKernels { rows: rows::multiply_rows::<B>, pack: panel::pack::<B>, offsets: B::OFFSETS }
}

/// Eight numbers in half precision.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn halves(bits: [U16; 8]) -> __m256 {
    let [a, b, c, d, e, f, g, h] = bits.map(|bits| u64::from(bits.get()));
    // Put together where the vector units have no part in it: they are what is scarce here.
    let low = a | b << 16 | c << 32 | d << 48;
    let high = e | f << 16 | g << 32 | h << 48;
    _mm256_cvtph_ps(_mm_set_epi64x(high.cast_signed(), low.cast_signed()))
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

/// The integers of each sixteen elements times a scale.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn scaled([first, second]: Halves, scales: [i16; 2]) -> Halves {
    [
        _mm256_mullo_epi16(first, _mm256_set1_epi16(scales[0])),
        _mm256_mullo_epi16(second, _mm256_set1_epi16(scales[1])),
    ]
}

/// The nibbles of sixteen bytes, the low ones first, with a bit each of `high` above them.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn fifth_bits(low: &[u8; PART / 2], high: &[u8; PART / 8]) -> __m256i {
    let [first, second] = load::nibbles(low);
    let high = _mm256_set1_epi32(i32::from_le_bytes(*high));
    // Each byte to its eight elements, then each bit to its element.
    let bytes =
        _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
    let bit = _mm256_set1_epi64x(i64::from_le_bytes([1, 2, 4, 8, 16, 32, 64, 128]));
    let of_element = _mm256_and_si256(_mm256_shuffle_epi8(high, bytes), bit);
    let set = _mm256_and_si256(_mm256_cmpeq_epi8(of_element, bit), _mm256_set1_epi8(16));
    _mm256_or_si256(_mm256_set_m128i(second, first), set)
}

/// The low nibbles of sixteen bytes, and the high ones: as words, bytes have no neighbours to mask.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn nibbles(bytes: &[u8; PART / 2]) -> Halves {
    let words = _mm256_cvtepu8_epi16(load::bytes16(bytes));
    [_mm256_and_si256(words, _mm256_set1_epi16(15)), _mm256_srli_epi16::<4>(words)]
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
