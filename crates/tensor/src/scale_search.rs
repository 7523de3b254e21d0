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
    /// The integer nearest to `value`, ties to even, clamped to the grid.
    pub(crate) fn round(self, value: f32) -> f32 {
        // Adding 1.5 · 2²³ leaves no fraction bits, so the sum is rounded by the addition itself;
        // unlike `round_ties_even` this needs no instruction beyond the baseline.
        const SHIFT: f32 = 12_582_912.0;
        value.clamp(self.min, self.max) + SHIFT - SHIFT
    }
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
    Some(1.0 / scale).filter(|inverse| inverse.is_finite()).unwrap_or(0.0)
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
