//! F16: one instruction widens eight.

use super::super::load;
use super::float::{decode_with, dot_with};
use std::arch::x86_64::{__m256, _mm256_cvtph_ps};

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
    _mm256_cvtph_ps(load::bytes16(bytes))
}
