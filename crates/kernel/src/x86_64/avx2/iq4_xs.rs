//! IQ4_XS: parts as in IQ4_NL.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::super::load;
use super::integer::{Halves, Unpack, by_lane, halves, look_up};
use crate::integer::{IQ4_TABLE, MAX_PARTS};
use apr_tensor::BlockIQ4_XS;
use std::arch::x86_64::{
    __m256, __m256i, _mm256_and_si256, _mm256_or_si256, _mm256_set1_epi32, _mm256_setr_epi32,
    _mm256_slli_epi32, _mm256_srlv_epi32, _mm256_sub_epi32,
};

impl Unpack for BlockIQ4_XS {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn unpack(&self, part: usize) -> Halves {
        look_up(&IQ4_TABLE, load::nibbles(&self.qs[part]))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn eight_scales(blocks: &[&Self; 8]) -> [__m256; MAX_PARTS] {
        by_lane(blocks.map(|block| scales(block)), halves(blocks.map(|block| block.d)))
    }
}

/// The scales of the parts: four bits and two each.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn scales(block: &BlockIQ4_XS) -> __m256i {
    let low = _mm256_set1_epi32(u32::from_le_bytes(block.scales_l).cast_signed());
    let low = _mm256_srlv_epi32(low, _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    let high = _mm256_set1_epi32(i32::from(block.scales_h.get()));
    let high = _mm256_srlv_epi32(high, _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14));
    let low = _mm256_and_si256(low, _mm256_set1_epi32(15));
    let high = _mm256_slli_epi32::<4>(_mm256_and_si256(high, _mm256_set1_epi32(3)));
    _mm256_sub_epi32(_mm256_or_si256(low, high), _mm256_set1_epi32(32))
}
