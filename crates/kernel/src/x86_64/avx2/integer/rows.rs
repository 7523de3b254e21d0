//! One input and eight rows: a lane of the sums is a row.

use super::super::super::load;
use super::{Unpack, transposed};
use crate::activations::Part;
use crate::integer::RUN_ROWS;
use crate::scalar::blocks;
use std::arch::x86_64::{
    __m256, _mm256_add_epi32, _mm256_cvtepi32_ps, _mm256_fmadd_ps, _mm256_madd_epi16,
    _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256,
};

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn multiply_rows<B: Unpack>(rows: [&[u8]; RUN_ROWS], x: &[Part]) -> [f32; RUN_ROWS] {
    let first = rows[0];
    let [a, b, c, d, e, f, g, h] = rows.map(blocks::<B>);
    let x = x.chunks_exact(B::PARTS);
    let mut acc = _mm256_setzero_ps();
    // Rows lie one after the other: the next eight are asked for from end to end, while these are
    // read side by side.
    let bytes = RUN_ROWS * size_of::<B>() / B::PARTS;
    // Zipped iterators have one bound for all rows; indices would be checked one by one.
    let rows = a.iter().zip(b).zip(c).zip(d).zip(e).zip(f).zip(g).zip(h);
    for (i, ((((((((a, b), c), d), e), f), g), h), x)) in rows.zip(x).enumerate() {
        let blocks = [a, b, c, d, e, f, g, h];
        // SAFETY: this function is compiled for the same instructions.
        let (scales, offsets) = unsafe { (B::eight_scales(&blocks), B::eight_offsets(&blocks)) };
        for (part, x) in x.iter().enumerate() {
            load::prefetch(first, RUN_ROWS * first.len() + (B::PARTS * i + part) * bytes, bytes);
            acc = _mm256_fmadd_ps(part_sums(&blocks, part, x), scales[part], acc);
            acc = add_offsets(acc, B::OFFSETS, offsets.map(|offsets| offsets[part]), x);
        }
    }
    let mut sums = [0.0; RUN_ROWS];
    load::store_f32x8(&mut sums, acc);
    sums
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_offsets(acc: __m256, count: usize, offsets: [__m256; 2], x: &Part) -> __m256 {
    let [first, second] = x.sums;
    match count {
        0 => acc,
        1 => _mm256_fmadd_ps(offsets[0], _mm256_set1_ps(first + second), acc),
        _ => {
            let acc = _mm256_fmadd_ps(offsets[0], _mm256_set1_ps(first), acc);
            _mm256_fmadd_ps(offsets[1], _mm256_set1_ps(second), acc)
        }
    }
}

/// The products of a part of eight rows with the activations, scaled as these are.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn part_sums<B: Unpack>(blocks: &[&B; RUN_ROWS], part: usize, x: &Part) -> __m256 {
    let [x_low, x_high] = load::halves(&x.values);
    let mut sums = [_mm256_setzero_si256(); RUN_ROWS];
    for (sums, block) in sums.iter_mut().zip(blocks) {
        // SAFETY: this function is compiled for the same instructions.
        let [low, high] = unsafe { block.unpack(part) };
        *sums = _mm256_add_epi32(_mm256_madd_epi16(low, x_low), _mm256_madd_epi16(high, x_high));
    }
    let mut u = _mm256_setzero_ps();
    for (sums, scale) in transposed(sums).into_iter().zip(x.scales) {
        u = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), _mm256_set1_ps(scale), u);
    }
    u
}
