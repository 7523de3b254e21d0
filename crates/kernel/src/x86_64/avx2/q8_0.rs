//! Q8_0: 32 signed bytes and their f16 scale.

use super::super::load;
use super::blocks::dot_with;
use super::scale;
use crate::scalar::blocks;
use apr_tensor::BlockQ8_0;
use std::arch::x86_64::{
    __m256, _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps, _mm256_fmadd_ps, _mm256_mul_ps,
};

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn dot(row: &[u8], x: &[f32]) -> f32 {
    dot_with(row, x, |block, x, sums| add_block(block, x, sums))
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn decode(row: &[u8], out: &mut [f32]) {
    for (block, out) in blocks::<BlockQ8_0>(row).iter().zip(out.as_chunks_mut::<32>().0) {
        let scale = scale(block.d.get());
        for (q, out) in block.qs.as_chunks::<8>().0.iter().zip(out.as_chunks_mut::<8>().0) {
            load::store_f32x8(out, _mm256_mul_ps(widen(q), scale));
        }
    }
}

/// `sums + d · (q ∘ x)`, the products with the integers added up before they are scaled.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_block(block: &BlockQ8_0, x: &[f32; 32], sums: __m256) -> __m256 {
    let (q, x) = (block.qs.as_chunks::<8>().0, x.as_chunks::<8>().0);
    let mut products = _mm256_mul_ps(widen(&q[0]), load::f32x8(&x[0]));
    for (q, x) in q[1..].iter().zip(&x[1..]) {
        products = _mm256_fmadd_ps(widen(q), load::f32x8(x), products);
    }
    _mm256_fmadd_ps(scale(block.d.get()), products, sums)
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn widen(q: &[i8; 8]) -> __m256 {
    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load::i8x8(q)))
}
