//! Loads and stores of vectors. The arguments are arrays of exactly the size of the access, so
//! that each one is in bounds by its type; none of them needs alignment.
#![allow(unsafe_code, reason = "the intrinsics for memory take pointers")]

use std::arch::asm;
use std::arch::x86_64::{
    __m128, __m128i, __m256, __m256i, __m512, __m512i, _MM_HINT_T0, _MM_HINT_T1, _mm_loadu_si128,
    _mm_prefetch, _mm_storeu_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_set1_epi32,
    _mm256_storeu_ps, _mm256_storeu_si256, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_set1_epi32,
    _mm512_storeu_ps,
};

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
pub(super) fn store_f32x4(out: &mut [f32; 4], values: __m128) {
    // SAFETY: the array is the 16 bytes that are written.
    unsafe { _mm_storeu_ps(out.as_mut_ptr(), values) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn f32x16(values: &[f32; 16]) -> [__m256; 2] {
    let [low, high] = values.as_chunks::<8>().0 else { unreachable!("16 are twice 8") };
    [f32x8(low), f32x8(high)]
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn store_f32x16(out: &mut [f32; 16], [low, high]: [__m256; 2]) {
    let halves = out.as_chunks_mut::<8>().0;
    store_f32x8(&mut halves[0], low);
    store_f32x8(&mut halves[1], high);
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn f32x32(values: &[f32; 32]) -> [__m256; 4] {
    let eights = values.as_chunks::<8>().0;
    [f32x8(&eights[0]), f32x8(&eights[1]), f32x8(&eights[2]), f32x8(&eights[3])]
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn store_i16x32(out: &mut [i16; 32], [low, high]: [__m256i; 2]) {
    // SAFETY: the array is the 64 bytes of which each store writes a half.
    unsafe {
        let start = out.as_mut_ptr().cast::<__m256i>();
        _mm256_storeu_si256(start, low);
        _mm256_storeu_si256(start.add(1), high);
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn bytes16(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: the array is the 16 bytes that are read.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// Sixteen pairs in two halves.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn pairs16(values: &[[i16; 2]; 16]) -> [__m256i; 2] {
    // SAFETY: the array is the 64 bytes of which each load reads a half.
    unsafe {
        let start = values.as_ptr().cast::<__m256i>();
        [_mm256_loadu_si256(start), _mm256_loadu_si256(start.add(1))]
    }
}

/// A pair as the bits of a lane.
#[inline(always)]
pub(super) fn pair_bits(values: &[i16; 2]) -> i32 {
    let [low, high] = values.map(i16::to_ne_bytes);
    i32::from_ne_bytes([low[0], low[1], high[0], high[1]])
}

/// One pair in every lane.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn pair(values: &[i16; 2]) -> __m256i {
    _mm256_set1_epi32(pair_bits(values))
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn f32_zmm(values: &[f32; 16]) -> __m512 {
    // SAFETY: the array is the 64 bytes that are read.
    unsafe { _mm512_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store_f32_zmm(out: &mut [f32; 16], values: __m512) {
    // SAFETY: the array is the 64 bytes that are written.
    unsafe { _mm512_storeu_ps(out.as_mut_ptr(), values) }
}

/// Sixteen pairs in one vector.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn pairs_zmm(values: &[[i16; 2]; 16]) -> __m512i {
    // SAFETY: the array is the 64 bytes that are read.
    unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
}

/// One pair in every lane of the larger vector.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn pair_zmm(values: &[i16; 2]) -> __m512i {
    _mm512_set1_epi32(pair_bits(values))
}

/// The same number, of which the compiler knows nothing.
#[inline(always)]
pub(super) fn hidden(mut value: usize) -> usize {
    // SAFETY: there are no instructions, only a register that they could have changed.
    unsafe { asm!("/* {0} */", inout(reg) value, options(pure, nomem, nostack, preserves_flags)) };
    value
}

/// How far behind the next rows the second cache is asked for weights: memory takes longer to answer
/// than a few rows take to be multiplied. Twice as far is no better, and more of it is asked for in
/// vain where a thread's rows end.
pub(super) const FAR_BYTES: usize = 4096;

/// Asks for the cache lines of `len` bytes that begin `offset` bytes after a place, for the second
/// cache. They may lie past the weights: a prefetch is a hint that reads nothing and cannot fault.
#[inline(always)]
pub(super) fn prefetch_lines(start: *const u8, offset: usize, len: usize) {
    prefetch::<_MM_HINT_T1>(start, offset, len);
}

/// As [`prefetch_lines`], for the nearest cache.
#[inline(always)]
pub(super) fn prefetch_lines_near(start: *const u8, offset: usize, len: usize) {
    prefetch::<_MM_HINT_T0>(start, offset, len);
}

#[inline(always)]
fn prefetch<const HINT: i32>(start: *const u8, offset: usize, len: usize) {
    for line in (0..len).step_by(64) {
        let address = start.wrapping_add(offset).wrapping_add(line);
        // SAFETY: every x86-64 CPU has SSE.
        unsafe { _mm_prefetch::<HINT>(address.cast()) };
    }
}
