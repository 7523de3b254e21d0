//! IQ4_NL: nibbles as in Q4_0 that look up a table, which one instruction does.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::super::load;
use super::integer::{Halves, Unpack, halves, look_up};
use crate::integer::{IQ4_TABLE, MAX_PARTS};
use apr_tensor::BlockIQ4_NL;
use std::arch::x86_64::__m256;

impl Unpack for BlockIQ4_NL {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn unpack(&self, _part: usize) -> Halves {
        look_up(&IQ4_TABLE, load::nibbles(&self.qs))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn eight_scales(blocks: &[&Self; 8]) -> [__m256; MAX_PARTS] {
        [halves(blocks.map(|block| block.d)); MAX_PARTS]
    }
}
