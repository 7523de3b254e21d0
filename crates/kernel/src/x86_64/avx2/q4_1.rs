//! Q4_1: nibbles as in Q4_0.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::integer::{Halves, Unpack, halves, nibbles};
use crate::integer::MAX_PARTS;
use apr_tensor::BlockQ4_1;
use std::arch::x86_64::__m256;

impl Unpack for BlockQ4_1 {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn unpack(&self, _part: usize) -> Halves {
        nibbles(&self.qs)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn eight_scales(blocks: &[&Self; 8]) -> [__m256; MAX_PARTS] {
        [halves(blocks.map(|block| block.d)); MAX_PARTS]
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn eight_offsets(blocks: &[&Self; 8]) -> [[__m256; MAX_PARTS]; 2] {
        [[halves(blocks.map(|block| block.m)); MAX_PARTS]; 2]
    }
}
