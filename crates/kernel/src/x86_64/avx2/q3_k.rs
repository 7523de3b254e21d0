//! Q3_K: pairs of bits as in Q2_K; bit `p` of a byte of `hmask` is the third of part `p`.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::super::load;
use super::integer::{Halves, Unpack, bits_at, halves, scaled, widen};
use crate::integer::{MAX_PARTS, q3_k_scale};
use apr_tensor::BlockQ3_K;
use std::arch::x86_64::{
    __m256, _mm256_or_si256, _mm256_set1_epi16, _mm256_slli_epi16, _mm256_sub_epi16,
};

impl Unpack for BlockQ3_K {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn unpack(&self, part: usize) -> Halves {
        let low =
            bits_at::<2>(load::bytes32(&self.qs.as_chunks::<32>().0[part / 4]), 2 * (part % 4));
        let high = _mm256_slli_epi16::<2>(bits_at::<1>(load::bytes32(&self.hmask), part));
        let four = _mm256_set1_epi16(4);
        let q = widen(_mm256_or_si256(low, high)).map(|q| _mm256_sub_epi16(q, four));
        scaled(q, [0, 1].map(|half| q3_k_scale(&self.scales, 2 * part + half)))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn eight_scales(blocks: &[&Self; 8]) -> [__m256; MAX_PARTS] {
        [halves(blocks.map(|block| block.d)); MAX_PARTS]
    }
}
