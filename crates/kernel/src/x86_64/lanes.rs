//! Vectors whose lanes are rows of weights: what the integer kernels are written with, once for all
//! instruction sets.
#![allow(unsafe_code, reason = "methods of a trait for an instruction set are unsafe to call")]

use zerocopy::little_endian::U16;

/// `ROWS` lanes of 32 bits, a row of weights in each.
///
/// Methods are `#[inline(always)]` and so compiled for the features of the function that they end
/// up in: a function of a table.
///
/// # Safety
/// Of every method: the CPU must have the instruction set of the implementation.
pub(super) trait Lanes<const ROWS: usize>: Copy {
    /// As many numbers in single precision.
    type Floats: Copy;
    /// Inputs that meet packed rows at a time, at most: their sums stay in registers. 4 or 6.
    const INPUTS: usize;

    unsafe fn zero() -> Self;
    unsafe fn splat(value: i32) -> Self;
    unsafe fn load(values: &[i32; ROWS]) -> Self;
    /// Writes a pair of 16-bit integers for each row.
    unsafe fn store(self, out: &mut [[i16; 2]; ROWS]);
    /// Sixteen bytes of each row, four of them in each vector.
    unsafe fn columns(rows: [&[u8; 16]; ROWS]) -> [Self; 4];

    unsafe fn and(self, other: Self) -> Self;
    unsafe fn or(self, other: Self) -> Self;
    /// Lanes of 32 bits, moved towards lower bits; zeros come in.
    unsafe fn shr32(self, count: usize) -> Self;
    unsafe fn shl32(self, count: usize) -> Self;
    /// Lanes of 32 bits, moved towards lower bits; copies of the sign come in.
    unsafe fn sar32(self, count: usize) -> Self;
    /// Halves of lanes, moved towards lower bits; zeros come in.
    unsafe fn shr16(self, count: usize) -> Self;
    unsafe fn shl16(self, count: usize) -> Self;
    unsafe fn sar16(self, count: usize) -> Self;
    unsafe fn sub32(self, other: Self) -> Self;
    unsafe fn mul32(self, other: Self) -> Self;
    unsafe fn mul16(self, other: Self) -> Self;
    /// What the table has at the index in each byte, below sixteen.
    unsafe fn look_up(self, table: &[u8; 16]) -> Self;
    /// Adds the products of both halves of each lane, whose sums are within range.
    unsafe fn dot(self, weights: Self, x: Self) -> Self;

    /// Lanes as numbers.
    unsafe fn floats(self) -> Self::Floats;
    /// The bits of numbers.
    unsafe fn bits(self) -> Self::Floats;
    /// Numbers in half precision, of which lanes have the bits in their lower halves.
    unsafe fn half_floats(self) -> Self::Floats;
    /// A number in half precision for each row.
    unsafe fn halves(bits: [U16; ROWS]) -> Self::Floats;
    unsafe fn zero_floats() -> Self::Floats;
    unsafe fn splat_float(value: f32) -> Self::Floats;
    unsafe fn store_floats(values: Self::Floats, out: &mut [f32; ROWS]);
    unsafe fn mul(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a * b + c`, rounded once.
    unsafe fn mul_add(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;

    /// The bits of both halves of lanes.
    #[inline(always)]
    unsafe fn words(value: u16) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { Self::splat((u32::from(value) * 0x0001_0001).cast_signed()) }
    }

    /// Numbers times a factor.
    #[inline(always)]
    unsafe fn all_times<const COUNT: usize>(
        values: &[Self::Floats; COUNT],
        factor: f32,
    ) -> [Self::Floats; COUNT] {
        // SAFETY: the caller vouches for the CPU.
        unsafe {
            let mut out = *values;
            for value in &mut out {
                *value = Self::mul(*value, Self::splat_float(factor));
            }
            out
        }
    }

    /// The same in each byte.
    #[inline(always)]
    unsafe fn bytes(value: u8) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { Self::splat(u32::from_ne_bytes([value; 4]).cast_signed()) }
    }

    /// Byte `at` of each lane, unsigned.
    #[inline(always)]
    unsafe fn byte(self, at: usize) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe {
            match at {
                3 => self.shr32(24),
                _ => self.shr32(8 * at).and(Self::splat(0xff)),
            }
        }
    }

    /// Byte `at` of each lane, signed.
    #[inline(always)]
    unsafe fn signed_byte(self, at: usize) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { self.shl32(24 - 8 * at).sar32(24) }
    }

    /// The even and the odd bytes as 16-bit integers.
    #[inline(always)]
    unsafe fn widen(self) -> [Self; 2] {
        // SAFETY: the caller vouches for the CPU.
        unsafe { [self.and(Self::words(0x00ff)), self.shr16(8)] }
    }

    /// The even and the odd bytes as 16-bit integers, signed.
    #[inline(always)]
    unsafe fn widen_signed(self) -> [Self; 2] {
        // SAFETY: the caller vouches for the CPU.
        unsafe { [self.shl16(8).sar16(8), self.sar16(8)] }
    }

    /// `BITS` bits of each byte, from bit `at` on: of the even and of the odd bytes.
    #[inline(always)]
    unsafe fn widen_bits<const BITS: usize>(self, at: usize) -> [Self; 2] {
        // SAFETY: the caller vouches for the CPU.
        unsafe {
            let mask = Self::words((1 << BITS) - 1);
            let odd = self.shr16(8 + at);
            [self.shr16(at).and(mask), if at + BITS == 8 { odd } else { odd.and(mask) }]
        }
    }

    /// `BITS` bits of each byte, from bit `at` on, as bytes.
    #[inline(always)]
    unsafe fn bits_of_bytes<const BITS: usize>(self, at: usize) -> Self {
        // SAFETY: the caller vouches for the CPU.
        unsafe { self.shr16(at).and(Self::bytes((1 << BITS) - 1)) }
    }
}
