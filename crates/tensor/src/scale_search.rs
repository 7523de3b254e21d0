//! Error-minimising scales for integer blocks, shared by the encoders.
//!
//! Rounding with the scale that maps the largest value to the end of the grid wastes precision on
//! one element. Here several scales near that one are tried; each is refined once by least
//! squares (for fixed integers q the best scale is Σxq / Σq²) and judged after rounding to f16.

use half::f16;

/// Values that are handled side by side; every block has a multiple of them.
const LANES: usize = 8;

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
    const SHIFT: f32 = 12_582_912.0;

    /// The integer nearest to `value`, ties to even, clamped to the grid.
    pub(crate) fn round(self, value: f32) -> f32 {
        value.clamp(self.min, self.max) + Self::SHIFT - Self::SHIFT
    }

    /// How many integers of the grid lie below this one.
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
pub(crate) fn above(value: f64) -> f16 {
    let near = f16::from_f64(value);
    if near.to_f64() >= value {
        return near;
    }
    // Toward positive infinity the bits of negative numbers count down; −0 is never below.
    f16::from_bits(if value < 0.0 { near.to_bits() - 1 } else { near.to_bits() + 1 })
}

/// A scale and what it costs.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    scale: f16,
    cost: f32,
}

/// The f16 scale with the least squared error over `values` among `starts` and their
/// least-squares refinements. Scales that leave an error above `max_error` in any element are
/// not considered, except `starts[0]`, which is what remains if no other qualifies.
pub(crate) fn best_scale(values: &[f32], grid: Grid, starts: &[f32], max_error: f32) -> f16 {
    let first = starts.first().copied().unwrap_or_default();
    let mut best = Candidate { scale: f16::from_f32(first), cost: f32::INFINITY };
    for &start in starts {
        let (cost, refined) = evaluate(values, grid, f16::from_f32(start), max_error);
        let start = Candidate { scale: f16::from_f32(start), cost };
        let (cost, _) = evaluate(values, grid, refined, max_error);
        for candidate in [start, Candidate { scale: refined, cost }] {
            if candidate.cost < best.cost {
                best = candidate;
            }
        }
    }
    best.scale
}

/// The cost of `scale` (infinite past `max_error`) and the least-squares scale for its integers.
fn evaluate(values: &[f32], grid: Grid, scale: f16, max_error: f32) -> (f32, f16) {
    let scale = scale.to_f32();
    let inverse = inverse(scale);
    // A sum per lane: one running sum would force the additions into a sequence.
    let [mut cost, mut worst, mut xq, mut qq] = [[0.0_f32; LANES]; 4];
    let (lanes, rest) = values.as_chunks::<LANES>();
    debug_assert!(rest.is_empty(), "blocks are whole lanes");
    for values in lanes {
        for (lane, &value) in values.iter().enumerate() {
            let q = grid.round(value * inverse);
            let error = (value - q * scale).abs();
            cost[lane] += error * error;
            worst[lane] = worst[lane].max(error);
            xq[lane] += value * q;
            qq[lane] += q * q;
        }
    }
    let sum = |lanes: [f32; LANES]| lanes.iter().sum::<f32>();
    let worst = worst.into_iter().fold(0.0, f32::max);
    let usable = worst <= max_error && scale.is_finite();
    let refined = if sum(qq) > 0.0 { f16::from_f32(sum(xq) / sum(qq)) } else { f16::ZERO };
    let refined = if refined.is_finite() { refined } else { f16::ZERO };
    (if usable { sum(cost) } else { f32::INFINITY }, refined)
}

/// 1 / scale, or 0 for the scales of blocks that hold nothing but zeros.
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
    fn values_on_a_grid_are_found_exactly() {
        let values: Vec<f32> = (-8..8_i8).map(|q| f32::from(q) * 0.25).collect();
        let scale = best_scale(&values, GRID, &[0.255, 0.245], 1.0);
        assert_eq!(scale.to_f32(), 0.25);
    }

    #[test]
    fn a_scale_past_the_allowed_error_is_not_chosen() {
        // One outlier: clipping it would cost less in total than stretching the grid.
        let mut values = [0.1_f32; 32];
        values[0] = -8.0;
        let scale = best_scale(&values, GRID, &[1.0, 0.9, 0.5, 0.1], 0.2);
        assert!((8.0 * scale.to_f32() - 8.0).abs() <= 0.2);
    }
}
