//! Q5_0: nibbles as in Q4_0, the fifth bits in the order of the elements.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::integer::{Halves, Unpack, fifth_bits, halves, widen};
use crate::integer::MAX_PARTS;
use apr_tensor::BlockQ5_0;
use std::arch::x86_64::{__m256, _mm256_set1_epi16, _mm256_sub_epi16};

impl Unpack for BlockQ5_0 {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn unpack(&self, _part: usize) -> Halves {
        let sixteen = _mm256_set1_epi16(16);
        widen(fifth_bits(&self.qs, &self.qh)).map(|q| _mm256_sub_epi16(q, sixteen))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn eight_scales(blocks: &[&Self; 8]) -> [__m256; MAX_PARTS] {
        [halves(blocks.map(|block| block.d)); MAX_PARTS]
    }
}
