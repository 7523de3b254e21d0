//! Q4_0: 32 four-bit integers and their f16 scale; byte `j` holds element `j` in its low nibble
//! and element `j + 16` in its high one.

use super::super::load;
use super::blocks::dot_with;
use super::scale;
use crate::scalar::blocks;
use apr_tensor::BlockQ4_0;
use std::arch::x86_64::{
    __m256, _mm256_and_si256, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32, _mm256_fmadd_ps,
    _mm256_mul_ps, _mm256_set1_epi32, _mm256_srli_epi32, _mm256_sub_epi32,
};

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn dot(row: &[u8], x: &[f32]) -> f32 {
    dot_with(row, x, |block, x, sums| add_block(block, x, sums))
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn decode(row: &[u8], out: &mut [f32]) {
    for (block, out) in blocks::<BlockQ4_0>(row).iter().zip(out.as_chunks_mut::<32>().0) {
        let scale = scale(block.d.get());
        let (low, high) = out.split_at_mut(16);
        let (low, high) = (low.as_chunks_mut::<8>().0, high.as_chunks_mut::<8>().0);
        for ((pairs, low), high) in block.qs.as_chunks::<8>().0.iter().zip(low).zip(high) {
            let values = widen(pairs);
            load::store_f32x8(low, _mm256_mul_ps(values.low, scale));
            load::store_f32x8(high, _mm256_mul_ps(values.high, scale));
        }
    }
}

/// `sums + d · ((q − 8) ∘ x)`, the products with the integers added up before they are scaled.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_block(block: &BlockQ4_0, x: &[f32; 32], sums: __m256) -> __m256 {
    let (pairs, x) = (block.qs.as_chunks::<8>().0, x.as_chunks::<8>().0);
    let (first, second) = (widen(&pairs[0]), widen(&pairs[1]));
    let products = _mm256_mul_ps(first.low, load::f32x8(&x[0]));
    let products = _mm256_fmadd_ps(second.low, load::f32x8(&x[1]), products);
    let products = _mm256_fmadd_ps(first.high, load::f32x8(&x[2]), products);
    let products = _mm256_fmadd_ps(second.high, load::f32x8(&x[3]), products);
    _mm256_fmadd_ps(scale(block.d.get()), products, sums)
}

/// The integers of the low and of the high nibbles.
struct Nibbles {
    low: __m256,
    high: __m256,
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn widen(pairs: &[u8; 8]) -> Nibbles {
    let pairs = _mm256_cvtepu8_epi32(load::bytes8(pairs));
    let eight = _mm256_set1_epi32(8);
    let low = _mm256_and_si256(pairs, _mm256_set1_epi32(0x0f));
    let high = _mm256_srli_epi32::<4>(pairs);
    Nibbles {
        low: _mm256_cvtepi32_ps(_mm256_sub_epi32(low, eight)),
        high: _mm256_cvtepi32_ps(_mm256_sub_epi32(high, eight)),
    }
}
