//! Rounding of activations to integers, with the bits of the portable code.

use super::super::load;
use crate::activations::{LIMIT, NEGLIGIBLE, PART, Part};
use std::arch::x86_64::{
    __m256, __m256i, _CMP_GE_OQ, _CMP_LE_OQ, _mm_add_ps, _mm_cvtss_f32, _mm_movehdup_ps,
    _mm256_and_ps, _mm256_blend_ps, _mm256_blendv_ps, _mm256_castpd_ps, _mm256_castps_pd,
    _mm256_castps_si256, _mm256_castps256_ps128, _mm256_castsi256_ps, _mm256_cmp_ps,
    _mm256_cvtepi32_ps, _mm256_cvtps_epi32, _mm256_div_ps, _mm256_extractf128_ps,
    _mm256_hadd_epi32, _mm256_madd_epi16, _mm256_max_epu32, _mm256_mul_ps, _mm256_packs_epi32,
    _mm256_permute4x64_epi64, _mm256_permute4x64_pd, _mm256_permutevar8x32_ps, _mm256_set1_epi16,
    _mm256_set1_epi32, _mm256_set1_ps, _mm256_setr_epi32, _mm256_shuffle_epi32,
    _mm256_shufflehi_epi16, _mm256_shufflelo_epi16,
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
    let groups = [group_amax(a), group_amax(b), group_amax(c), group_amax(d)];
    let amax = two_lanes_each(groups);
    let usable = usable(amax);
    let inverses = _mm256_and_ps(_mm256_div_ps(_mm256_set1_ps(LIMIT), amax), usable);
    // Zero for groups that are negligible, NaN for those that are not finite.
    let scales = _mm256_and_ps(_mm256_div_ps(amax, _mm256_set1_ps(LIMIT)), usable);
    let scales = _mm256_blendv_ps(_mm256_set1_ps(f32::NAN), scales, finite(amax));
    let low = integers::<0x00, 0x55>([a, b], inverses, usable);
    let high = integers::<0xaa, 0xff>([c, d], inverses, usable);
    load::store_i16x32(&mut part.values, [low, high]);
    let in_order = _mm256_permutevar8x32_ps(scales, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6));
    load::store_f32x4(&mut part.scales, _mm256_castps256_ps128(in_order));
    part.sums = scaled_sums([low, high], scales);
}

/// The largest magnitude of the lanes, in all of them. As integers, magnitudes have the order of
/// the floats, and NaN is the largest.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn group_amax(x: __m256) -> __m256 {
    let magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fff_ffff));
    let x = _mm256_castps_si256(_mm256_and_ps(x, magnitude));
    let x = _mm256_max_epu32(x, _mm256_permute4x64_epi64::<0b01_00_11_10>(x));
    let x = _mm256_max_epu32(x, _mm256_shuffle_epi32::<0b01_00_11_10>(x));
    _mm256_castsi256_ps(_mm256_max_epu32(x, _mm256_shuffle_epi32::<0b10_11_00_01>(x)))
}

/// Two lanes of each, one after the other.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn two_lanes_each([a, b, c, d]: [__m256; 4]) -> __m256 {
    let (ab, cd) = (_mm256_blend_ps::<0b11001100>(a, b), _mm256_blend_ps::<0b11001100>(c, d));
    _mm256_blend_ps::<0b11110000>(ab, cd)
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

/// Sixteen elements in units of their scales; the group of each vector is the one that its number
/// chooses of `inverses` and `usable`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn integers<const FIRST: i32, const SECOND: i32>(
    [first, second]: [__m256; 2],
    inverses: __m256,
    usable: __m256,
) -> __m256i {
    let first = _mm256_and_ps(first, of_group::<FIRST>(usable));
    let second = _mm256_and_ps(second, of_group::<SECOND>(usable));
    let first = _mm256_mul_ps(first, of_group::<FIRST>(inverses));
    let second = _mm256_mul_ps(second, of_group::<SECOND>(inverses));
    let packed = _mm256_packs_epi32(_mm256_cvtps_epi32(first), _mm256_cvtps_epi32(second));
    let in_order = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
    // In each four the even elements come first.
    let middle = _mm256_shufflelo_epi16::<0b11_01_10_00>(in_order);
    _mm256_shufflehi_epi16::<0b11_01_10_00>(middle)
}

/// Two lanes in all of them: those of group 0, 1, 2 and 3 are 0x00, 0x55, 0xaa and 0xff.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn of_group<const LANES: i32>(x: __m256) -> __m256 {
    _mm256_castpd_ps(_mm256_permute4x64_pd::<LANES>(_mm256_castps_pd(x)))
}

/// The groups' sums times their scales, those of each half added.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn scaled_sums([low, high]: [__m256i; 2], scales: __m256) -> [f32; 2] {
    let ones = _mm256_set1_epi16(1);
    let sums = _mm256_hadd_epi32(_mm256_madd_epi16(low, ones), _mm256_madd_epi16(high, ones));
    // Groups 0 and 2 are in the lower half, 1 and 3 in the upper one.
    let sums = _mm256_hadd_epi32(sums, sums);
    let order = _mm256_setr_epi32(0, 4, 0, 4, 2, 6, 2, 6);
    let scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_permutevar8x32_ps(scales, order));
    let sums = _mm_add_ps(_mm256_castps256_ps128(scaled), _mm256_extractf128_ps::<1>(scaled));
    [_mm_cvtss_f32(sums), _mm_cvtss_f32(_mm_movehdup_ps(sums))]
}
