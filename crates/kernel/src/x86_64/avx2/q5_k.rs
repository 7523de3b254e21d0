//! Q5_K: nibbles as in Q4_K; bit `p` of a byte of `qh` is the fifth of part `p`.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::super::load;
use super::integer::{Halves, Unpack, bits_at, nibbles_of_64, widen};
use apr_tensor::BlockQ5_K;
use std::arch::x86_64::{_mm256_or_si256, _mm256_slli_epi16};

impl Unpack for BlockQ5_K {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn unpack(&self, part: usize) -> Halves {
        let high = bits_at::<1>(load::bytes32(&self.qh), part);
        let low = nibbles_of_64(&self.qs, part);
        widen(_mm256_or_si256(low, _mm256_slli_epi16::<4>(high)))
    }
}
