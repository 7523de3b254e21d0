//! Grids of integers and f16 scales: what the searches of the encoders share.

use half::f16;

/// Integers that a block can hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    /// Smallest integer, as a float.
    pub(crate) min: f32,
    /// Largest integer, as a float.
    pub(crate) max: f32,
}

impl Grid {
    /// 1.5 · 2²³: a sum with it has no fraction bits, so that it is rounded by the addition itself,
    /// and its low bits are the integer. Unlike `round_ties_even` and casts, which check more, this
    /// needs no instruction beyond the baseline.
    pub(crate) const SHIFT: f32 = 12_582_912.0;

    /// The integer nearest to `value`, ties to even, clamped to the grid.
    #[inline(always)]
    pub(crate) fn round(self, value: f32) -> f32 {
        value.clamp(self.min, self.max) + Self::SHIFT - Self::SHIFT
    }

    /// How many integers of the grid lie below this one.
    #[inline(always)]
    fn index(self, integer: f32) -> u8 {
        (integer - self.min + Self::SHIFT).to_bits().to_le_bytes()[0]
    }
}

/// Rounding of a block to its final integers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounding {
    pub(crate) grid: Grid,
    /// Largest error that is allowed.
    pub(crate) max_error: f32,
}

impl Rounding {
    /// Writes the integers of the values, less the smallest of the grid, and returns whether
    /// `scale · q − min` is within the allowed error of every value.
    #[inline(always)]
    pub(crate) fn round(self, values: &[f32], scale: f32, min: f32, out: &mut [u8]) -> bool {
        let inverse = inverse(scale);
        // The difference below is itself rounded, by less than this.
        let max_error = self.max_error * (1.0 - f32::powi(2.0, -20));
        let mut held = true;
        for (out, &value) in out.iter_mut().zip(values) {
            let q = self.grid.round((value + min) * inverse);
            held &= (value - (scale * q - min)).abs() <= max_error;
            *out = self.grid.index(q);
        }
        held
    }
}

/// The smallest f16 that is not below `value`.
#[inline(always)]
pub(crate) fn above(value: f64) -> f16 {
    let near = f16::from_f64(value);
    if near.to_f64() >= value {
        return near;
    }
    // Toward positive infinity the bits of negative numbers count down; −0 is never below.
    f16::from_bits(if value < 0.0 { near.to_bits() - 1 } else { near.to_bits() + 1 })
}

/// The smaller number. Which zero is the smaller is defined, unlike with `f32::min`: results do not
/// depend on how this is compiled.
#[inline(always)]
pub(crate) fn least(a: f32, b: f32) -> f32 {
    if b < a { b } else { a }
}

/// The larger number, as defined as [`least`].
#[inline(always)]
pub(crate) fn largest(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// The value rounded to half precision, as `f16::from_f32` does, but without a branch and a call, so
/// that it can become part of a vector operation.
#[inline(always)]
pub(crate) fn round_f16(value: f32) -> f32 {
    // Below 2⁻¹⁴ the steps are 2⁻²⁴: those of a single between a half and one.
    const SUBNORMAL: f32 = 0.75;
    let bits = value.to_bits() & 0x7fff_ffff;
    let magnitude = f32::from_bits(bits);
    // Thirteen bits less, ties to even; a carry into the exponent is right.
    let normal = f32::from_bits((bits + 0x0fff + (bits >> 13 & 1)) & !0x1fff);
    let finite =
        if magnitude < f32::powi(2.0, -14) { magnitude + SUBNORMAL - SUBNORMAL } else { normal };
    // 65520 is half a step past the largest. NaN passes through.
    let rounded = if magnitude >= 65_520.0 { f32::INFINITY } else { finite };
    rounded.copysign(value)
}

/// 1 / scale, or 0 for the scales of blocks that hold nothing but zeros.
#[inline(always)]
pub(crate) fn inverse(scale: f32) -> f32 {
    let inverse = 1.0 / scale;
    if inverse.is_finite() { inverse } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid { min: -8.0, max: 7.0 };

    #[test]
    fn rounding_is_to_even_and_clamped() {
        for (value, rounded) in
            [(0.5, 0.0), (1.5, 2.0), (-2.5, -2.0), (6.51, 7.0), (9.0, 7.0), (-1e30, -8.0)]
        {
            assert_eq!(GRID.round(value), rounded, "{value}");
        }
    }

    #[test]
    fn half_precision_is_rounded_to_as_by_conversion() {
        let near = |bits: u16| {
            let bits = f16::from_bits(bits).to_f32().to_bits();
            [0_u32, 1, 0x0fff, 0x1000, 0x1001, 0x1fff].map(move |more| f32::from_bits(bits + more))
        };
        let between =
            (0..65_535_u32).map(|i| f32::from_bits(i << 16 | i.wrapping_mul(40_503) & 0xffff));
        for value in (0..=u16::MAX).flat_map(near).chain(between).filter(|value| !value.is_nan()) {
            let expected = f16::from_f32(value).to_f32();
            assert_eq!(round_f16(value).to_bits(), expected.to_bits(), "{value:e}");
        }
        assert!(round_f16(f32::NAN).is_nan());
    }

    #[test]
    fn rounding_tells_where_an_error_is_too_large() {
        let mut q = [0; 3];
        let values = [-2.0, 0.25, 1.9];
        let round =
            |max_error, q: &mut _| Rounding { grid: GRID, max_error }.round(&values, 0.25, 0.0, q);
        assert!(round(0.16, &mut q));
        assert_eq!(q, [0, 9, 15]);
        assert!(!round(0.14, &mut q));
    }

    #[test]
    fn f16_above_is_the_next_one() {
        for (value, expected) in [
            (0.0, 0.0),
            (1.0, 1.0),
            (1.0 + 1e-9, 1.0 + f64::powi(2.0, -10)),
            (-1.0 - 1e-9, -1.0),
            (1e-30, f64::powi(2.0, -24)),
            (-1e-30, 0.0),
            (-1e9, -65_504.0),
            (65_505.0, f64::INFINITY),
        ] {
            assert_eq!(above(value).to_f64(), expected, "{value}");
        }
    }
}
