//! Scores of queries and sums of values straight from a cache, given how eight of its elements
//! are widened.

use super::super::load;
use super::float::padded;
use super::sum;
use crate::attention::{CacheKernels, Strided};
use std::arch::x86_64::{
    __m256, _mm256_add_ps, _mm256_cvtph_ps, _mm256_fmadd_ps, _mm256_set1_ps, _mm256_setzero_ps,
};

pub(super) const F32: CacheKernels<f32> =
    CacheKernels { scores: scores_f32, add_weighted: add_weighted_f32 };
pub(super) const F16: CacheKernels<u16> =
    CacheKernels { scores: scores_f16, add_weighted: add_weighted_f16 };

#[target_feature(enable = "avx2,fma,f16c")]
fn scores_f32(query: &[f32], rows: Strided<'_, f32>, out: &mut [f32]) {
    scores(query, rows, out, |x| load::f32x8(x));
}

#[target_feature(enable = "avx2,fma,f16c")]
fn scores_f16(query: &[f32], rows: Strided<'_, u16>, out: &mut [f32]) {
    scores(query, rows, out, |x| _mm256_cvtph_ps(load::u16x8(x)));
}

#[target_feature(enable = "avx2,fma,f16c")]
fn add_weighted_f32(weights: &[f32], rows: Strided<'_, f32>, out: &mut [f32]) {
    add_weighted(weights, rows, out, |x| load::f32x8(x));
}

#[target_feature(enable = "avx2,fma,f16c")]
fn add_weighted_f16(weights: &[f32], rows: Strided<'_, u16>, out: &mut [f32]) {
    add_weighted(weights, rows, out, |x| _mm256_cvtph_ps(load::u16x8(x)));
}

/// Two sums per position hide the latency of the additions.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn scores<T: Copy + Default>(
    query: &[f32],
    rows: Strided<'_, T>,
    out: &mut [f32],
    widen: impl Fn(&[T; 8]) -> __m256,
) {
    let (pairs, rest) = query.as_chunks::<16>();
    for (p, out) in out.iter_mut().enumerate() {
        let (row, row_rest) = rows.row(p, query.len()).as_chunks::<16>();
        let mut sums = [_mm256_setzero_ps(); 2];
        for (query, row) in pairs.iter().zip(row) {
            let (query, row) = (query.as_chunks::<8>().0, row.as_chunks::<8>().0);
            for i in 0..2 {
                sums[i] = _mm256_fmadd_ps(load::f32x8(&query[i]), widen(&row[i]), sums[i]);
            }
        }
        for (query, row) in rest.chunks(8).zip(row_rest.chunks(8)) {
            let (query, row) = (padded(query), padded(row));
            sums[0] = _mm256_fmadd_ps(load::f32x8(&query), widen(&row), sums[0]);
        }
        *out = sum(_mm256_add_ps(sums[0], sums[1]));
    }
}

/// 32 elements of the output stay in registers while all positions pass.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_weighted<T: Copy + Default>(
    weights: &[f32],
    rows: Strided<'_, T>,
    out: &mut [f32],
    widen: impl Fn(&[T; 8]) -> __m256,
) {
    let len = out.len();
    let (runs, rest) = out.as_chunks_mut::<32>();
    for (i, out) in runs.iter_mut().enumerate() {
        let mut sums = load::f32x32(out);
        for (p, weight) in weights.iter().enumerate() {
            let (weight, row) = (_mm256_set1_ps(*weight), &rows.row(p, len)[32 * i..][..32]);
            for (sum, row) in sums.iter_mut().zip(row.as_chunks::<8>().0) {
                *sum = _mm256_fmadd_ps(weight, widen(row), *sum);
            }
        }
        for (out, sum) in out.as_chunks_mut::<8>().0.iter_mut().zip(sums) {
            load::store_f32x8(out, sum);
        }
    }
    let start = 32 * runs.len();
    for (i, out) in rest.chunks_mut(8).enumerate() {
        let mut sum = load::f32x8(&padded(out));
        for (p, weight) in weights.iter().enumerate() {
            let row = padded(&rows.row(p, len)[start + 8 * i..][..out.len()]);
            sum = _mm256_fmadd_ps(_mm256_set1_ps(*weight), widen(&row), sum);
        }
        let mut values = [0.0; 8];
        load::store_f32x8(&mut values, sum);
        out.copy_from_slice(&values[..out.len()]);
    }
}
