//! F32: the bytes are the values.
#![allow(unsafe_code, reason = "the intrinsics for memory take pointers")]

use super::super::float::Widen;
use apr_tensor::BlockF32;
use std::arch::x86_64::{__m256, _mm256_loadu_ps};

impl Widen<__m256> for BlockF32 {
    #[inline(always)]
    unsafe fn widen(bytes: *const u8) -> __m256 {
        // SAFETY: the caller vouches for the elements and for the CPU.
        unsafe { _mm256_loadu_ps(bytes.cast()) }
    }
}
