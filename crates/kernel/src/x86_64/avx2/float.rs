//! The float types, given how eight of them are widened to float32, and the sum of vectors.
#![allow(unsafe_code, reason = "the intrinsics for memory take pointers")]

use super::super::float::{self, Vector, Widen};
use super::super::load;
use crate::float::FloatOperands;
use crate::scalar::blocks;
use std::arch::x86_64::{
    __m256, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
};
use zerocopy::IntoBytes;

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn multiply<W: Widen<__m256>>(operands: FloatOperands<'_>, sums: &mut [f32]) {
    // SAFETY: this function is compiled for the instruction set.
    unsafe { float::multiply::<__m256, W>(operands, sums) }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn decode<W: Widen<__m256>>(row: &[u8], out: &mut [f32]) {
    let (row, row_tail) = blocks::<W>(row).as_chunks::<8>();
    let (out, out_tail) = out.as_chunks_mut::<8>();
    for (row, out) in row.iter().zip(out) {
        // SAFETY: the array is the eight elements, and this function compiled for the instructions.
        load::store_f32x8(out, unsafe { W::widen(row.as_ptr().cast()) });
    }
    if !out_tail.is_empty() {
        let (bytes, mut values): ([u8; 32], _) = (padded(row_tail.as_bytes()), [0.0; 8]);
        // SAFETY: the array holds eight elements of every type, and as above.
        load::store_f32x8(&mut values, unsafe { W::widen(bytes.as_ptr()) });
        out_tail.copy_from_slice(&values[..out_tail.len()]);
    }
}

impl Vector for __m256 {
    const LEN: usize = 8;
    const TOKENS: usize = 3;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm256_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(values: *const f32) -> Self {
        // SAFETY: the caller vouches for the elements and for the CPU.
        unsafe { _mm256_loadu_ps(values) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm256_fmadd_ps(self, factor, term) }
    }

    #[inline(always)]
    unsafe fn store(self, out: *mut f32) {
        // SAFETY: the caller vouches for the elements and for the CPU.
        unsafe { _mm256_storeu_ps(out, self) }
    }
}

/// The values, then zeros.
#[inline]
pub(super) fn padded<T: Copy + Default, const LEN: usize>(values: &[T]) -> [T; LEN] {
    let mut out = [T::default(); LEN];
    out[..values.len()].copy_from_slice(values);
    out
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn add_scaled(factor: f32, x: &[f32], out: &mut [f32]) {
    let (x, x_tail) = x.as_chunks::<8>();
    let (out, out_tail) = out.as_chunks_mut::<8>();
    let factors = _mm256_set1_ps(factor);
    for (x, out) in x.iter().zip(out) {
        let sum = _mm256_fmadd_ps(factors, load::f32x8(x), load::f32x8(out));
        load::store_f32x8(out, sum);
    }
    for (x, out) in x_tail.iter().zip(out_tail) {
        *out = factor.mul_add(*x, *out);
    }
}
