//! BF16: the upper halves of float32.
#![allow(unsafe_code, reason = "the intrinsics for memory take pointers")]

use super::super::float::Widen;
use apr_tensor::BlockBF16;
use std::arch::x86_64::{
    __m256, _mm_loadu_si128, _mm256_castsi256_ps, _mm256_cvtepu16_epi32, _mm256_slli_epi32,
};

impl Widen<__m256> for BlockBF16 {
    #[inline(always)]
    unsafe fn widen(bytes: *const u8) -> __m256 {
        // SAFETY: the caller vouches for the elements and for the CPU.
        unsafe {
            let elements = _mm256_cvtepu16_epi32(_mm_loadu_si128(bytes.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(elements))
        }
    }
}
