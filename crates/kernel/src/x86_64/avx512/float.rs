//! Products in single precision, sixteen lanes in a vector.
#![allow(unsafe_code, reason = "the intrinsics for memory take pointers")]

use super::super::float::{self, Vector, Widen};
use crate::float::FloatOperands;
use apr_tensor::{BlockBF16, BlockF16, BlockF32};
use std::arch::x86_64::{
    __m512, _mm256_loadu_si256, _mm512_castsi512_ps, _mm512_cvtepu16_epi32, _mm512_cvtph_ps,
    _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_slli_epi32,
    _mm512_storeu_ps,
};

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vl")]
pub(super) fn multiply<W: Widen<__m512>>(operands: FloatOperands<'_>, sums: &mut [f32]) {
    // SAFETY: this function is compiled for the instruction set.
    unsafe { float::multiply::<__m512, W>(operands, sums) }
}

impl Vector for __m512 {
    const LEN: usize = 16;
    const TOKENS: usize = 6;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(values: *const f32) -> Self {
        // SAFETY: the caller vouches for the elements and for the CPU.
        unsafe { _mm512_loadu_ps(values) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm512_fmadd_ps(self, factor, term) }
    }

    #[inline(always)]
    unsafe fn store(self, out: *mut f32) {
        // SAFETY: the caller vouches for the elements and for the CPU.
        unsafe { _mm512_storeu_ps(out, self) }
    }
}

impl Widen<__m512> for BlockF32 {
    #[inline(always)]
    unsafe fn widen(bytes: *const u8) -> __m512 {
        // SAFETY: the caller vouches for the elements and for the CPU.
        unsafe { _mm512_loadu_ps(bytes.cast()) }
    }
}

impl Widen<__m512> for BlockF16 {
    #[inline(always)]
    unsafe fn widen(bytes: *const u8) -> __m512 {
        // SAFETY: the caller vouches for the elements and for the CPU.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(bytes.cast())) }
    }
}

impl Widen<__m512> for BlockBF16 {
    #[inline(always)]
    unsafe fn widen(bytes: *const u8) -> __m512 {
        // SAFETY: the caller vouches for the elements and for the CPU.
        unsafe {
            let elements = _mm512_cvtepu16_epi32(_mm256_loadu_si256(bytes.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(elements))
        }
    }
}
