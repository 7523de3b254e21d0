//! Loads and stores of vectors. The arguments are arrays of exactly the size of the access, so
//! that each one is in bounds by its type; none of them needs alignment.
#![allow(unsafe_code, reason = "the intrinsics for memory take pointers")]

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _MM_HINT_T0, _mm_loadl_epi64, _mm_loadu_si128, _mm_prefetch,
    _mm256_loadu_ps, _mm256_loadu_si256, _mm256_storeu_ps,
};

/// How far weights are asked for in advance: enough to cover the latency of memory at its speed.
const PREFETCH_BYTES: usize = 4096;

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn f32x8(values: &[f32; 8]) -> __m256 {
    // SAFETY: the array is the 32 bytes that are read.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn store_f32x8(out: &mut [f32; 8], values: __m256) {
    // SAFETY: the array is the 32 bytes that are written.
    unsafe { _mm256_storeu_ps(out.as_mut_ptr(), values) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn bytes8(bytes: &[u8; 8]) -> __m128i {
    // SAFETY: the array is the 8 bytes that are read.
    unsafe { _mm_loadl_epi64(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn i8x8(values: &[i8; 8]) -> __m128i {
    // SAFETY: the array is the 8 bytes that are read.
    unsafe { _mm_loadl_epi64(values.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn bytes16(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: the array is the 16 bytes that are read.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn bytes32(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: the array is the 32 bytes that are read.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// Asks for the cache line some way after this block. Rows lie one after the other, so that the
/// next row is on its way before it is begun. The address may lie past the weights: a prefetch is
/// a hint that reads nothing and cannot fault.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn prefetch_after<T>(block: &T) {
    let ahead = std::ptr::from_ref(block).cast::<i8>().wrapping_add(PREFETCH_BYTES);
    _mm_prefetch::<_MM_HINT_T0>(ahead);
}
