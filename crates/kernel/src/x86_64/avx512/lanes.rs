//! Sixteen rows, one in each lane.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::super::avx2::eight_halves;
use super::super::lanes::Lanes;
use super::super::load;
use std::arch::x86_64::{
    __m128i, __m512, __m512i, _mm_cvtsi64_si128, _mm256_set_m128i, _mm512_and_si512,
    _mm512_broadcast_i32x4, _mm512_castsi256_si512, _mm512_castsi512_ps, _mm512_cvtepi32_epi16,
    _mm512_cvtepi32_ps, _mm512_cvtph_ps, _mm512_dpwssds_epi32, _mm512_fmadd_ps, _mm512_inserti64x4,
    _mm512_loadu_si512, _mm512_mul_ps, _mm512_mullo_epi16, _mm512_mullo_epi32, _mm512_or_si512,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512,
    _mm512_shuffle_epi8, _mm512_sll_epi16, _mm512_sll_epi32, _mm512_sra_epi16, _mm512_sra_epi32,
    _mm512_srl_epi16, _mm512_srl_epi32, _mm512_storeu_si512, _mm512_sub_epi32,
    _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};
use zerocopy::little_endian::U16;

/// A shift's operand; where it is known, the instruction has it in itself.
#[inline(always)]
unsafe fn count(count: usize) -> __m128i {
    // SAFETY: every x86-64 CPU has SSE2.
    unsafe { _mm_cvtsi64_si128(count as i64) }
}

impl Lanes<16> for __m512i {
    type Floats = __m512;
    const INPUTS: usize = 6;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    unsafe fn splat(value: i32) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm512_set1_epi32(value) }
    }

    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm512_and_si512(self, other) }
    }

    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm512_or_si512(self, other) }
    }

    #[inline(always)]
    unsafe fn shr32(self, by: usize) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm512_srl_epi32(self, count(by)) }
    }

    #[inline(always)]
    unsafe fn shl32(self, by: usize) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm512_sll_epi32(self, count(by)) }
    }

    #[inline(always)]
    unsafe fn sar32(self, by: usize) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm512_sra_epi32(self, count(by)) }
    }

    #[inline(always)]
    unsafe fn shr16(self, by: usize) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm512_srl_epi16(self, count(by)) }
    }

    #[inline(always)]
    unsafe fn shl16(self, by: usize) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm512_sll_epi16(self, count(by)) }
    }

    #[inline(always)]
    unsafe fn sar16(self, by: usize) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm512_sra_epi16(self, count(by)) }
    }

    #[inline(always)]
    unsafe fn sub32(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm512_sub_epi32(self, other) }
    }

    #[inline(always)]
    unsafe fn mul32(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm512_mullo_epi32(self, other) }
    }

    #[inline(always)]
    unsafe fn mul16(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm512_mullo_epi16(self, other) }
    }

    /// The instruction that saturates has nothing to do so with, and compilers do not take it apart.
    #[inline(always)]
    unsafe fn dot(self, weights: Self, x: Self) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm512_dpwssds_epi32(self, weights, x) }
    }

    #[inline(always)]
    unsafe fn floats(self) -> __m512 {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm512_cvtepi32_ps(self) }
    }

    #[inline(always)]
    unsafe fn bits(self) -> __m512 {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm512_castsi512_ps(self) }
    }

    #[inline(always)]
    unsafe fn half_floats(self) -> __m512 {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm512_cvtph_ps(_mm512_cvtepi32_epi16(self)) }
    }

    #[inline(always)]
    unsafe fn zero_floats() -> __m512 {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn splat_float(value: f32) -> __m512 {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn store_floats(values: __m512, out: &mut [f32; 16]) {
        // SAFETY: the caller vouches for the CPU.
        unsafe {
            load::store_f32_zmm(out, values);
        }
    }

    #[inline(always)]
    unsafe fn load(values: &[i32; 16]) -> Self {
        // SAFETY: the array is the 64 bytes that are read; the caller vouches for the CPU.
        unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
    }

    #[inline(always)]
    unsafe fn store(self, out: &mut [[i16; 2]; 16]) {
        // SAFETY: the array is the 64 bytes that are written; the caller vouches for the CPU.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), self) }
    }

    /// Rows `i`, `i + 4`, `i + 8` and `i + 12` in a vector, and their fours of four bytes
    /// transposed.
    #[inline(always)]
    unsafe fn columns(rows: [&[u8; 16]; 16]) -> [Self; 4] {
        // SAFETY: the caller vouches for the CPU.
        unsafe {
            let mut four = [_mm512_setzero_si512(); 4];
            for (i, four) in four.iter_mut().enumerate() {
                let low = _mm256_set_m128i(load::bytes16(rows[i + 4]), load::bytes16(rows[i]));
                let high =
                    _mm256_set_m128i(load::bytes16(rows[i + 12]), load::bytes16(rows[i + 8]));
                *four = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
            }
            let [a, b, c, d] = four;
            let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
            let (ab_high, cd_high) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
            [
                _mm512_unpacklo_epi64(ab, cd),
                _mm512_unpackhi_epi64(ab, cd),
                _mm512_unpacklo_epi64(ab_high, cd_high),
                _mm512_unpackhi_epi64(ab_high, cd_high),
            ]
        }
    }

    #[inline(always)]
    unsafe fn look_up(self, table: &[u8; 16]) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm512_shuffle_epi8(_mm512_broadcast_i32x4(load::bytes16(table)), self) }
    }

    #[inline(always)]
    unsafe fn halves(bits: [U16; 16]) -> __m512 {
        let [low, high] = bits.as_chunks::<8>().0 else { unreachable!("16 are twice 8") };
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm512_cvtph_ps(_mm256_set_m128i(eight_halves(high), eight_halves(low))) }
    }
}
