//! Eight rows, one in each lane.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use super::super::lanes::Lanes;
use super::super::load;
use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_cvtsi64_si128, _mm_set_epi64x, _mm256_add_epi32,
    _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_castsi256_ps, _mm256_castsi256_si128,
    _mm256_cvtepi32_ps, _mm256_cvtph_ps, _mm256_fmadd_ps, _mm256_loadu_si256, _mm256_madd_epi16,
    _mm256_mul_ps, _mm256_mullo_epi16, _mm256_mullo_epi32, _mm256_or_si256, _mm256_packus_epi32,
    _mm256_permute4x64_epi64, _mm256_set_m128i, _mm256_set1_epi32, _mm256_set1_ps,
    _mm256_setzero_ps, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_sll_epi16,
    _mm256_sll_epi32, _mm256_sra_epi16, _mm256_sra_epi32, _mm256_srl_epi16, _mm256_srl_epi32,
    _mm256_storeu_si256, _mm256_sub_epi32, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64,
    _mm256_unpacklo_epi32, _mm256_unpacklo_epi64,
};
use zerocopy::little_endian::U16;

/// A shift's operand; where it is known, the instruction has it in itself.
#[inline(always)]
unsafe fn count(count: usize) -> __m128i {
    // SAFETY: every x86-64 CPU has SSE2.
    unsafe { _mm_cvtsi64_si128(count as i64) }
}

impl Lanes<8> for __m256i {
    type Floats = __m256;
    const INPUTS: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    unsafe fn splat(value: i32) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm256_set1_epi32(value) }
    }

    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm256_and_si256(self, other) }
    }

    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm256_or_si256(self, other) }
    }

    #[inline(always)]
    unsafe fn shr32(self, by: usize) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm256_srl_epi32(self, count(by)) }
    }

    #[inline(always)]
    unsafe fn shl32(self, by: usize) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm256_sll_epi32(self, count(by)) }
    }

    #[inline(always)]
    unsafe fn sar32(self, by: usize) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm256_sra_epi32(self, count(by)) }
    }

    #[inline(always)]
    unsafe fn shr16(self, by: usize) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm256_srl_epi16(self, count(by)) }
    }

    #[inline(always)]
    unsafe fn shl16(self, by: usize) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm256_sll_epi16(self, count(by)) }
    }

    #[inline(always)]
    unsafe fn sar16(self, by: usize) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm256_sra_epi16(self, count(by)) }
    }

    #[inline(always)]
    unsafe fn sub32(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm256_sub_epi32(self, other) }
    }

    #[inline(always)]
    unsafe fn mul32(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm256_mullo_epi32(self, other) }
    }

    #[inline(always)]
    unsafe fn mul16(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm256_mullo_epi16(self, other) }
    }

    #[inline(always)]
    unsafe fn dot(self, weights: Self, x: Self) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm256_add_epi32(self, _mm256_madd_epi16(weights, x)) }
    }

    #[inline(always)]
    unsafe fn floats(self) -> __m256 {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm256_cvtepi32_ps(self) }
    }

    #[inline(always)]
    unsafe fn bits(self) -> __m256 {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm256_castsi256_ps(self) }
    }

    #[inline(always)]
    unsafe fn zero_floats() -> __m256 {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm256_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn splat_float(value: f32) -> __m256 {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn store_floats(values: __m256, out: &mut [f32; 8]) {
        // SAFETY: the caller vouches for the CPU.
        unsafe {
            load::store_f32x8(out, values);
        }
    }

    #[inline(always)]
    unsafe fn load(values: &[i32; 8]) -> Self {
        // SAFETY: the array is the 32 bytes that are read; the caller vouches for the CPU.
        unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
    }

    #[inline(always)]
    unsafe fn store(self, out: &mut [[i16; 2]; 8]) {
        // SAFETY: the array is the 32 bytes that are written; the caller vouches for the CPU.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), self) }
    }

    /// Row `i` and row `i + 4` in a vector, and their fours of four bytes transposed.
    #[inline(always)]
    unsafe fn columns(rows: [&[u8; 16]; 8]) -> [Self; 4] {
        // SAFETY: the caller vouches for the CPU.
        unsafe {
            let mut two = [_mm256_setzero_si256(); 4];
            for (i, two) in two.iter_mut().enumerate() {
                *two = _mm256_set_m128i(load::bytes16(rows[i + 4]), load::bytes16(rows[i]));
            }
            let [a, b, c, d] = two;
            let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
            let (ab_high, cd_high) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
            [
                _mm256_unpacklo_epi64(ab, cd),
                _mm256_unpackhi_epi64(ab, cd),
                _mm256_unpacklo_epi64(ab_high, cd_high),
                _mm256_unpackhi_epi64(ab_high, cd_high),
            ]
        }
    }

    #[inline(always)]
    unsafe fn look_up(self, table: &[u8; 16]) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load::bytes16(table)), self) }
    }

    #[inline(always)]
    unsafe fn half_floats(self) -> __m256 {
        // SAFETY: the caller vouches for the CPU.
        unsafe {
            let low = _mm256_and_si256(self, _mm256_set1_epi32(0xffff));
            let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(low, low));
            _mm256_cvtph_ps(_mm256_castsi256_si128(packed))
        }
    }

    #[inline(always)]
    unsafe fn halves(bits: [U16; 8]) -> __m256 {
        // SAFETY: the caller vouches for the CPU.
        unsafe { _mm256_cvtph_ps(eight_halves(&bits)) }
    }
}

/// The bits of eight numbers in half precision.
#[inline(always)]
pub(in super::super) unsafe fn eight_halves(bits: &[U16; 8]) -> __m128i {
    let [a, b, c, d, e, f, g, h] = bits.map(|bits| u64::from(bits.get()));
    // Put together where the vector units have no part in it: they are what is scarce here.
    let low = a | b << 16 | c << 32 | d << 48;
    let high = e | f << 16 | g << 32 | h << 48;
    // SAFETY: every x86-64 CPU has SSE2.
    unsafe { _mm_set_epi64x(high.cast_signed(), low.cast_signed()) }
}
