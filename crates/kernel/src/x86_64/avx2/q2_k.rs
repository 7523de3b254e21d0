//! Q2_K: 32 bytes hold the pairs of bits of four parts.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::super::load;
use super::integer::{Halves, Unpack, bits_at, by_lane, halves, scaled, widen};
use crate::integer::MAX_PARTS;
use apr_tensor::BlockQ2_K;
use std::arch::x86_64::{
    __m256, _mm_and_si128, _mm_set1_epi8, _mm_srli_epi16, _mm256_and_si256, _mm256_cvtepu16_epi32,
    _mm256_set1_epi32, _mm256_set1_ps, _mm256_srli_epi32, _mm256_xor_ps,
};

impl Unpack for BlockQ2_K {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn unpack(&self, part: usize) -> Halves {
        let bytes = load::bytes32(&self.qs.as_chunks::<32>().0[part / 4]);
        let scale = |half| i16::from(self.scales[2 * part + half] & 15);
        scaled(widen(bits_at::<2>(bytes, 2 * (part % 4))), [scale(0), scale(1)])
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn eight_scales(blocks: &[&Self; 8]) -> [__m256; MAX_PARTS] {
        [halves(blocks.map(|block| block.d)); MAX_PARTS]
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn eight_offsets(blocks: &[&Self; 8]) -> [[__m256; MAX_PARTS]; 2] {
        let unit = _mm256_xor_ps(halves(blocks.map(|block| block.dmin)), _mm256_set1_ps(-0.0));
        let high = blocks.map(|block| {
            let high = _mm_srli_epi16::<4>(load::bytes16(&block.scales));
            _mm_and_si128(high, _mm_set1_epi8(15))
        });
        // Byte `2 p + h` is that of half `h` of part `p`.
        let words = high.map(|high| _mm256_cvtepu16_epi32(high));
        let low_byte = _mm256_set1_epi32(0xff);
        [
            by_lane(words.map(|words| _mm256_and_si256(words, low_byte)), unit),
            by_lane(words.map(|words| _mm256_srli_epi32::<8>(words)), unit),
        ]
    }
}
