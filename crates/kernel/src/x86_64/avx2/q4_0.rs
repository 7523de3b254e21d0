//! Q4_0: byte `j` holds element `j` in its low nibble and element `j + 16` in its high one.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::integer::{Halves, Unpack, halves, nibbles};
use crate::integer::MAX_PARTS;
use apr_tensor::BlockQ4_0;
use std::arch::x86_64::{__m256, _mm256_set1_epi16, _mm256_sub_epi16};

impl Unpack for BlockQ4_0 {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn unpack(&self, _part: usize) -> Halves {
        let eight = _mm256_set1_epi16(8);
        nibbles(&self.qs).map(|q| _mm256_sub_epi16(q, eight))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn eight_scales(blocks: &[&Self; 8]) -> [__m256; MAX_PARTS] {
        [halves(blocks.map(|block| block.d)); MAX_PARTS]
    }
}
