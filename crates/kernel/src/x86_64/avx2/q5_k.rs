//! Q5_K: nibbles as in Q4_K; bit `p` of a byte of `qh` is the fifth of part `p`.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::super::load;
use super::integer::{Halves, Unpack, bits_at, by_lane, eight_rows, halves, nibbles_of_64, widen};
use crate::integer::{MAX_PARTS, six_bits};
use apr_tensor::BlockQ5_K;
use std::arch::x86_64::{
    __m256, _mm256_or_si256, _mm256_set1_ps, _mm256_slli_epi16, _mm256_xor_ps,
};

impl Unpack for BlockQ5_K {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn unpack(&self, part: usize) -> Halves {
        let high = bits_at::<1>(load::bytes32(&self.qh), part);
        let low = nibbles_of_64(&self.qs, part);
        widen(_mm256_or_si256(low, _mm256_slli_epi16::<4>(high)))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn eight_scales(blocks: &[&Self; 8]) -> [__m256; MAX_PARTS] {
        let unit = halves(blocks.map(|block| block.d));
        by_lane(eight_rows(blocks.map(|block| six_bits(&block.scales).scales)), unit)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn eight_offsets(blocks: &[&Self; 8]) -> [[__m256; MAX_PARTS]; 2] {
        let unit = _mm256_xor_ps(halves(blocks.map(|block| block.dmin)), _mm256_set1_ps(-0.0));
        [by_lane(eight_rows(blocks.map(|block| six_bits(&block.scales).offsets)), unit); 2]
    }
}
