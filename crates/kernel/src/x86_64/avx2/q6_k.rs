//! Q6_K: 64 bytes hold the low nibbles of four parts, 32 bytes their upper pairs of bits.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::super::load;
use super::integer::{Halves, Unpack, bits_at, halves, scaled, widen};
use crate::integer::MAX_PARTS;
use apr_tensor::BlockQ6_K;
use std::arch::x86_64::{
    __m256, _mm256_or_si256, _mm256_set1_epi16, _mm256_slli_epi16, _mm256_sub_epi16,
};

impl Unpack for BlockQ6_K {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn unpack(&self, part: usize) -> Halves {
        let (half, quarter) = (part / 4, part % 4);
        let low = load::bytes32(&self.ql.as_chunks::<32>().0[2 * half + quarter % 2]);
        let low = bits_at::<4>(low, 4 * (quarter / 2));
        let high = load::bytes32(&self.qh.as_chunks::<32>().0[half]);
        let high = _mm256_slli_epi16::<4>(bits_at::<2>(high, 2 * quarter));
        let less = _mm256_set1_epi16(32);
        let q = widen(_mm256_or_si256(low, high)).map(|q| _mm256_sub_epi16(q, less));
        scaled(q, [self.scales[2 * part], self.scales[2 * part + 1]].map(i16::from))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn eight_scales(blocks: &[&Self; 8]) -> [__m256; MAX_PARTS] {
        [halves(blocks.map(|block| block.d)); MAX_PARTS]
    }
}
