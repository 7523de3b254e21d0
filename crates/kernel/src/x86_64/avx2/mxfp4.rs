//! MXFP4: nibbles as in Q4_0 that look up a table.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::super::load;
use super::integer::{Halves, Unpack, look_up};
use crate::integer::{MAX_PARTS, MXFP4_TABLE};
use apr_tensor::BlockMXFP4;
use std::arch::x86_64::{
    __m256, __m256i, _mm256_blendv_epi8, _mm256_castsi256_ps, _mm256_cmpgt_epi32, _mm256_set_epi32,
    _mm256_set1_epi32, _mm256_slli_epi32, _mm256_sllv_epi32, _mm256_sub_epi32,
};

impl Unpack for BlockMXFP4 {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn unpack(&self, _part: usize) -> Halves {
        look_up(&MXFP4_TABLE, load::nibbles(&self.qs))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn eight_scales(blocks: &[&Self; 8]) -> [__m256; MAX_PARTS] {
        let [a, b, c, d, e, f, g, h] = blocks.map(|block| i32::from(block.e));
        [powers(_mm256_set_epi32(h, g, f, e, d, c, b, a)); MAX_PARTS]
    }
}

/// 2^(e − 128): below 2 a bit of a subnormal number, else an exponent.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn powers(e: __m256i) -> __m256 {
    let normal = _mm256_slli_epi32::<23>(_mm256_sub_epi32(e, _mm256_set1_epi32(1)));
    let subnormal = _mm256_sllv_epi32(_mm256_set1_epi32(1 << 21), e);
    let is_normal = _mm256_cmpgt_epi32(e, _mm256_set1_epi32(1));
    _mm256_castsi256_ps(_mm256_blendv_epi8(subnormal, normal, is_normal))
}
