//! Q8_0: 32 signed bytes.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::super::load;
use super::integer::{Halves, Unpack, halves, widen_signed};
use crate::integer::MAX_PARTS;
use apr_tensor::BlockQ8_0;
use std::arch::x86_64::__m256;

impl Unpack for BlockQ8_0 {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn unpack(&self, _part: usize) -> Halves {
        widen_signed(load::i8x32(&self.qs))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn eight_scales(blocks: &[&Self; 8]) -> [__m256; MAX_PARTS] {
        [halves(blocks.map(|block| block.d)); MAX_PARTS]
    }
}
