//! Rounding of activations to integers, with the bits of the portable code.

use super::super::load;
use crate::activations::{LIMIT, NEGLIGIBLE, PART, Part};
use std::arch::x86_64::{
    __m256, __m256i, _CMP_GE_OQ, _CMP_LE_OQ, _mm256_add_ps, _mm256_and_ps, _mm256_blendv_ps,
    _mm256_castps_si256, _mm256_castsi256_ps, _mm256_cmp_ps, _mm256_cvtepi32_ps,
    _mm256_cvtps_epi32, _mm256_cvtss_f32, _mm256_div_ps, _mm256_madd_epi16, _mm256_max_epu32,
    _mm256_mul_ps, _mm256_packs_epi32, _mm256_permute_ps, _mm256_permute2f128_ps,
    _mm256_permute4x64_epi64, _mm256_permutevar8x32_ps, _mm256_set1_epi16, _mm256_set1_epi32,
    _mm256_set1_ps, _mm256_setr_epi32, _mm256_shuffle_epi32, _mm256_shuffle_ps,
};

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn quantize(input: &[f32], parts: &mut [Part]) {
    for (input, part) in input.as_chunks::<PART>().0.iter().zip(parts) {
        quantize_part(input, part);
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn quantize_part(input: &[f32; PART], part: &mut Part) {
    let [a, b, c, d] = load::f32x32(input);
    // Lane `k` holds the largest magnitude of the group of elements `k` and `k + 16`.
    let (even, odd) = (group_amax(a, c), group_amax(b, d));
    let amax = every_other(even, odd);
    let usable = usable(amax);
    let inverses = _mm256_and_ps(_mm256_div_ps(_mm256_set1_ps(LIMIT), amax), usable);
    // Zero for groups that are negligible, NaN for those that are not finite.
    let scales = _mm256_and_ps(_mm256_div_ps(amax, _mm256_set1_ps(LIMIT)), usable);
    let scales = _mm256_blendv_ps(_mm256_set1_ps(f32::NAN), scales, finite(amax));
    let (inverses, usable) = (of_pairs(inverses), of_pairs(usable));
    let low = integers([a, b], inverses, usable);
    let high = integers([c, d], inverses, usable);
    load::store_i16x32(&mut part.values, [low, high]);
    load::store_f32x8(&mut part.scales, scales);
    part.sums = [scaled_sum(low, scales), scaled_sum(high, scales)];
}

/// As integers, magnitudes have the order of the floats, and NaN is the largest.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn group_amax(first: __m256, second: __m256) -> __m256 {
    let magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fff_ffff));
    let [first, second] = [first, second].map(|x| _mm256_castps_si256(_mm256_and_ps(x, magnitude)));
    let of_two = _mm256_max_epu32(first, second);
    let neighbours = _mm256_shuffle_epi32::<0b10_11_00_01>(of_two);
    _mm256_castsi256_ps(_mm256_max_epu32(of_two, neighbours))
}

/// The even lanes of two vectors.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn every_other(first: __m256, second: __m256) -> __m256 {
    let mixed = _mm256_shuffle_ps::<0b10_00_10_00>(first, second);
    _mm256_castsi256_ps(_mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_castps_si256(mixed)))
}

/// Where an inverse of the scale can be had, which is not so for NaN.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn usable(amax: __m256) -> __m256 {
    let large = _mm256_cmp_ps::<_CMP_GE_OQ>(amax, _mm256_set1_ps(NEGLIGIBLE));
    _mm256_and_ps(large, finite(amax))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn finite(amax: __m256) -> __m256 {
    _mm256_cmp_ps::<_CMP_LE_OQ>(amax, _mm256_set1_ps(f32::MAX))
}

/// Sixteen elements in units of their scales; `inverses` and `usable` are those of each pair.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn integers(x: [__m256; 2], inverses: [__m256; 2], usable: [__m256; 2]) -> __m256i {
    let [mut low, mut high] = [_mm256_set1_epi32(0); 2];
    for (v, out) in [&mut low, &mut high].into_iter().enumerate() {
        *out = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_and_ps(x[v], usable[v]), inverses[v]));
    }
    _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(low, high))
}

/// What a group has, for both elements of a pair.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn of_pairs(groups: __m256) -> [__m256; 2] {
    let first = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
    let last = _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7);
    [_mm256_permutevar8x32_ps(groups, first), _mm256_permutevar8x32_ps(groups, last)]
}

/// Each pair's sum times its scale, added as a tree.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn scaled_sum(values: __m256i, scales: __m256) -> f32 {
    let pairs = _mm256_madd_epi16(values, _mm256_set1_epi16(1));
    let sums = _mm256_mul_ps(_mm256_cvtepi32_ps(pairs), scales);
    let sums = _mm256_add_ps(sums, _mm256_permute_ps::<0b10_11_00_01>(sums));
    let sums = _mm256_add_ps(sums, _mm256_permute_ps::<0b01_00_11_10>(sums));
    _mm256_cvtss_f32(_mm256_add_ps(sums, _mm256_permute2f128_ps::<0x01>(sums, sums)))
}
