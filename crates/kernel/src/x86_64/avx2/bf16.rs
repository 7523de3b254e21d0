//! BF16: the upper halves of float32.

use super::super::load;
use super::float::{decode_with, dot_with};
use std::arch::x86_64::{__m256, _mm256_castsi256_ps, _mm256_cvtepu16_epi32, _mm256_slli_epi32};

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn dot(row: &[u8], x: &[f32]) -> f32 {
    dot_with(row, x, |bytes| widen(bytes))
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn decode(row: &[u8], out: &mut [f32]) {
    decode_with(row, out, |bytes| widen(bytes));
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn widen(bytes: &[u8; 16]) -> __m256 {
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(load::bytes16(bytes))))
}
