//! F16: one instruction widens eight.
#![allow(unsafe_code, reason = "the intrinsics for memory take pointers")]

use super::super::float::Widen;
use apr_tensor::BlockF16;
use std::arch::x86_64::{__m256, _mm_loadu_si128, _mm256_cvtph_ps};

impl Widen<__m256> for BlockF16 {
    #[inline(always)]
    unsafe fn widen(bytes: *const u8) -> __m256 {
        // SAFETY: the caller vouches for the elements and for the CPU.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(bytes.cast())) }
    }
}
