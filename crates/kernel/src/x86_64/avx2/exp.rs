//! Exponentials, eight at a time, and what is made of them.

use super::super::load;
use super::float::padded;
use super::sum;
use crate::vector::{GELU_CUBE, SQRT_2_OVER_PI};
use std::arch::x86_64::{
    __m256, __m256i, _mm256_add_epi32, _mm256_add_ps, _mm256_castsi256_ps, _mm256_cvtepi32_ps,
    _mm256_cvtps_epi32, _mm256_div_ps, _mm256_fmadd_ps, _mm256_fnmadd_ps, _mm256_max_ps,
    _mm256_min_ps, _mm256_mul_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps,
    _mm256_slli_epi32, _mm256_srai_epi32, _mm256_sub_epi32, _mm256_sub_ps,
};

/// ln 2 in two parts, the first of nine bits, so that its products with exponents are exact.
const LN_2_HIGH: f32 = 355.0 / 512.0;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// 1/k! for k = 7 … 2: within ±ln 2 / 2 the terms left out are below 2⁻²⁷.
const TAYLOR: [f32; 6] = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5];

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn exp_sum(x: &mut [f32], max: f32) -> f32 {
    let max = _mm256_set1_ps(max);
    let mut lanes = _mm256_setzero_ps();
    let (eights, tail) = x.as_chunks_mut::<8>();
    for x in eights {
        let values = exp(_mm256_sub_ps(load::f32x8(x), max));
        load::store_f32x8(x, values);
        lanes = _mm256_add_ps(lanes, values);
    }
    if !tail.is_empty() {
        let mut values = [0.0; 8];
        load::store_f32x8(&mut values, exp(_mm256_sub_ps(load::f32x8(&padded(tail)), max)));
        tail.copy_from_slice(&values[..tail.len()]);
    }
    sum(lanes) + tail.iter().sum::<f32>()
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn silu(x: &mut [f32]) {
    map(x, |x| logistic(x, x));
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn gelu_tanh(x: &mut [f32]) {
    map(x, |x| {
        let cube = _mm256_mul_ps(_mm256_mul_ps(_mm256_mul_ps(_mm256_set1_ps(GELU_CUBE), x), x), x);
        let inner = _mm256_mul_ps(_mm256_set1_ps(SQRT_2_OVER_PI), _mm256_add_ps(x, cube));
        logistic(x, _mm256_add_ps(inner, inner))
    });
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn max(x: &[f32]) -> f32 {
    let (eights, tail) = x.as_chunks::<8>();
    let mut lanes = _mm256_set1_ps(f32::NEG_INFINITY);
    for x in eights {
        // The second operand is the result if one of them is NaN.
        lanes = _mm256_max_ps(load::f32x8(x), lanes);
    }
    let mut values = [0.0; 8];
    load::store_f32x8(&mut values, lanes);
    values.iter().chain(tail).copied().fold(f32::NEG_INFINITY, f32::max)
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn map(x: &mut [f32], f: impl Fn(__m256) -> __m256) {
    let (eights, tail) = x.as_chunks_mut::<8>();
    for x in eights {
        let values = f(load::f32x8(x));
        load::store_f32x8(x, values);
    }
    if !tail.is_empty() {
        let mut values = [0.0; 8];
        load::store_f32x8(&mut values, f(load::f32x8(&padded(tail))));
        tail.copy_from_slice(&values[..tail.len()]);
    }
}

/// `x / (1 + exp(-u))`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn logistic(x: __m256, u: __m256) -> __m256 {
    let one = _mm256_set1_ps(1.0);
    _mm256_div_ps(x, _mm256_add_ps(one, exp(_mm256_sub_ps(_mm256_setzero_ps(), u))))
}

/// exp(x) = 2ⁿ · exp(r), where n is the integer nearest to x / ln 2.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn exp(x: __m256) -> __m256 {
    // Past these the result is infinite or zero. NaN is the second operand and passes.
    let x = _mm256_max_ps(_mm256_set1_ps(-105.0), _mm256_min_ps(_mm256_set1_ps(90.0), x));
    let n = _mm256_cvtps_epi32(_mm256_mul_ps(x, _mm256_set1_ps(std::f32::consts::LOG2_E)));
    let whole = _mm256_cvtepi32_ps(n);
    let r = _mm256_fnmadd_ps(whole, _mm256_set1_ps(LN_2_HIGH), x);
    let r = _mm256_fnmadd_ps(whole, _mm256_set1_ps(LN_2_LOW), r);
    let mut series = _mm256_set1_ps(TAYLOR[0]);
    for factor in &TAYLOR[1..] {
        series = _mm256_fmadd_ps(series, r, _mm256_set1_ps(*factor));
    }
    let one = _mm256_set1_ps(1.0);
    let series = _mm256_fmadd_ps(_mm256_mul_ps(series, r), r, _mm256_add_ps(r, one));
    // In two steps, so that results at both ends of the range are reached.
    let half = _mm256_srai_epi32::<1>(n);
    let rest = _mm256_sub_epi32(n, half);
    _mm256_mul_ps(_mm256_mul_ps(series, power(half)), power(rest))
}

/// 2ⁿ, for normal results.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn power(n: __m256i) -> __m256 {
    _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(n, _mm256_set1_epi32(127))))
}
