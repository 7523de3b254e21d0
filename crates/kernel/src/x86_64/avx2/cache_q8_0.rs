//! Scores and sums straight from a cache of Q8_0 blocks. A block is widened where it is used; its
//! scale is multiplied once, not with each element.

use super::super::load;
use super::sum;
use crate::attention::{CacheKernels, Strided};
use crate::scalar::half;
use apr_tensor::{Block, BlockQ8_0};
use std::arch::x86_64::{
    __m256, _mm_unpackhi_epi64, _mm256_add_ps, _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps,
    _mm256_fmadd_ps, _mm256_mul_ps, _mm256_set1_ps, _mm256_setzero_ps,
};

pub(super) const Q8_0: CacheKernels<BlockQ8_0> = CacheKernels { scores, add_weighted };

/// The integers of a block.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn widen(block: &BlockQ8_0) -> [__m256; 4] {
    let [low, high] = load::i8x32(&block.qs);
    let eights = [low, _mm_unpackhi_epi64(low, low), high, _mm_unpackhi_epi64(high, high)];
    eights.map(|eight| _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight)))
}

#[target_feature(enable = "avx2,fma,f16c")]
fn scores(query: &[f32], rows: Strided<'_, BlockQ8_0>, out: &mut [f32]) {
    let query = query.as_chunks::<{ BlockQ8_0::ELEMS }>().0;
    for (p, out) in out.iter_mut().enumerate() {
        let mut total = _mm256_setzero_ps();
        for (block, query) in rows.row(p, query.len()).iter().zip(query) {
            let (x, q) = (load::f32x32(query), widen(block));
            let first = _mm256_fmadd_ps(x[1], q[1], _mm256_mul_ps(x[0], q[0]));
            let second = _mm256_fmadd_ps(x[3], q[3], _mm256_mul_ps(x[2], q[2]));
            let scale = _mm256_set1_ps(half(block.d));
            total = _mm256_fmadd_ps(_mm256_add_ps(first, second), scale, total);
        }
        *out = sum(total);
    }
}

/// A block of the output stays in registers while all positions pass.
#[target_feature(enable = "avx2,fma,f16c")]
fn add_weighted(weights: &[f32], rows: Strided<'_, BlockQ8_0>, out: &mut [f32]) {
    let out = out.as_chunks_mut::<{ BlockQ8_0::ELEMS }>().0;
    let count = out.len();
    for (at, out) in out.iter_mut().enumerate() {
        let mut sums = load::f32x32(out);
        for (p, weight) in weights.iter().enumerate() {
            let block = &rows.row(p, count)[at];
            let weight = _mm256_set1_ps(weight * half(block.d));
            for (sum, q) in sums.iter_mut().zip(widen(block)) {
                *sum = _mm256_fmadd_ps(weight, q, *sum);
            }
        }
        for (out, sum) in out.as_chunks_mut::<8>().0.iter_mut().zip(sums) {
            load::store_f32x8(out, sum);
        }
    }
}
