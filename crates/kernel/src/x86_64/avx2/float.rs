//! What the float types share, given how eight of them are widened to float32, and the vector
//! operations.

use super::super::load;
use super::sum;
use std::arch::x86_64::{
    __m256, _mm256_add_ps, _mm256_fmadd_ps, _mm256_set1_ps, _mm256_setzero_ps,
};
use zerocopy::IntoBytes;

/// Row product of weights of which `BYTES` bytes are eight elements. Four sums hide the latency of
/// the additions.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn dot_with<const BYTES: usize>(
    row: &[u8],
    x: &[f32],
    widen: impl Fn(&[u8; BYTES]) -> __m256,
) -> f32 {
    let (row, row_tail) = row.as_chunks::<BYTES>();
    let (x, x_tail) = x.as_chunks::<8>();
    let (row_runs, row_rest) = row.as_chunks::<4>();
    let (x_runs, x_rest) = x.as_chunks::<4>();
    let mut sums = [_mm256_setzero_ps(); 4];
    for (row, x) in row_runs.iter().zip(x_runs) {
        for i in 0..4 {
            sums[i] = _mm256_fmadd_ps(widen(&row[i]), load::f32x8(&x[i]), sums[i]);
        }
    }
    for (i, (row, x)) in row_rest.iter().zip(x_rest).enumerate() {
        sums[i] = _mm256_fmadd_ps(widen(row), load::f32x8(x), sums[i]);
    }
    if !x_tail.is_empty() {
        let (row, x) = (padded(row_tail), padded(x_tail));
        sums[3] = _mm256_fmadd_ps(widen(&row), load::f32x8(&x), sums[3]);
    }
    sum(_mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3])))
}

/// Decodes weights of which `BYTES` bytes are eight elements.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn decode_with<const BYTES: usize>(
    row: &[u8],
    out: &mut [f32],
    widen: impl Fn(&[u8; BYTES]) -> __m256,
) {
    let (row, row_tail) = row.as_chunks::<BYTES>();
    let (out, out_tail) = out.as_chunks_mut::<8>();
    for (row, out) in row.iter().zip(out) {
        load::store_f32x8(out, widen(row));
    }
    if !out_tail.is_empty() {
        let mut values = [0.0; 8];
        load::store_f32x8(&mut values, widen(&padded(row_tail)));
        out_tail.copy_from_slice(&values[..out_tail.len()]);
    }
}

/// The values, then zeros.
#[inline]
pub(super) fn padded<T: Copy + Default, const LEN: usize>(values: &[T]) -> [T; LEN] {
    let mut out = [T::default(); LEN];
    out[..values.len()].copy_from_slice(values);
    out
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    super::f32::dot(a.as_bytes(), b)
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn add_scaled(factor: f32, x: &[f32], out: &mut [f32]) {
    let (x, x_tail) = x.as_chunks::<8>();
    let (out, out_tail) = out.as_chunks_mut::<8>();
    let factors = _mm256_set1_ps(factor);
    for (x, out) in x.iter().zip(out) {
        let sum = _mm256_fmadd_ps(factors, load::f32x8(x), load::f32x8(out));
        load::store_f32x8(out, sum);
    }
    for (x, out) in x_tail.iter().zip(out_tail) {
        *out = factor.mul_add(*x, *out);
    }
}
