//! Least-squares fits of integer grids, many groups of elements side by side.
//!
//! Elements that share a scale are a lane: element i of every lane lies in row i, so every sum is
//! a sum per lane, which the compiler keeps in vector registers, and what follows from the sums is
//! computed for all lanes at once. A lane may as well be another guess for the same elements.
//! A value is `scale · q − min` with q on a [`Grid`].
#![allow(clippy::needless_range_loop, reason = "one index walks the lanes of several arrays")]

use crate::scale_search::{Grid, inverse};

/// One number per lane.
pub(crate) type Lanes<const L: usize> = [f32; L];

/// Lanes that are summed in one go: a vector of AVX2. More sums would not fit its registers.
const WIDTH: usize = 8;
/// Lanes that are summed in one go where there are fewer sums: a vector of AVX-512.
const WIDE: usize = 16;

/// Scale and offset of every lane. Types without offsets keep `min` at zero.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Params<const L: usize> {
    pub(crate) scale: Lanes<L>,
    pub(crate) min: Lanes<L>,
}

impl<const L: usize> Params<L> {
    pub(crate) const ZERO: Self = Self { scale: [0.0; L], min: [0.0; L] };

    /// Takes over the lanes of `other` that cost less, and their cost.
    #[inline(always)]
    pub(crate) fn improve(&mut self, cost: &mut Lanes<L>, other: &Self, other_cost: &Lanes<L>) {
        for lane in 0..L {
            let better = other_cost[lane] < cost[lane];
            let pick = |new: f32, old: f32| if better { new } else { old };
            self.scale[lane] = pick(other.scale[lane], self.scale[lane]);
            self.min[lane] = pick(other.min[lane], self.min[lane]);
            cost[lane] = pick(other_cost[lane], cost[lane]);
        }
    }
}

/// The integers q nearest to the values under certain parameters, by their sums with the
/// residuals r = x − (scale · q − min). These give the squared error of the same integers under
/// any other parameters, without cancellation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fit<const L: usize> {
    at: Params<L>,
    /// Σr²: the squared error.
    pub(crate) rr: Lanes<L>,
    /// Σrq.
    pub(crate) rq: Lanes<L>,
    /// Σr; kept at zero without offsets, as is Σq.
    pub(crate) r: Lanes<L>,
    /// Σq².
    pub(crate) qq: Lanes<L>,
    /// Σq.
    pub(crate) q: Lanes<L>,
    /// Elements per lane.
    pub(crate) n: f32,
}

impl<const L: usize> Fit<L> {
    /// Rounds all rows under the parameters `at`. `MIN` says whether the type has offsets.
    #[inline(always)]
    pub(crate) fn new<const MIN: bool>(rows: &[Lanes<L>], grid: Grid, at: Params<L>) -> Self {
        const { assert!(L.is_multiple_of(WIDTH)) };
        let zero = [0.0; L];
        let n = rows.len() as f32;
        let mut fit = Self { at, rr: zero, rq: zero, r: zero, qq: zero, q: zero, n };
        // Without offsets there are fewer sums, and a wider vector's fit too.
        if !MIN && L.is_multiple_of(WIDE) {
            for first in (0..L).step_by(WIDE) {
                fit.sum_lanes::<MIN, WIDE>(rows, grid, first);
            }
        } else {
            for first in (0..L).step_by(WIDTH) {
                fit.sum_lanes::<MIN, WIDTH>(rows, grid, first);
            }
        }
        fit
    }

    #[inline(always)]
    fn sum_lanes<const MIN: bool, const W: usize>(
        &mut self,
        rows: &[Lanes<L>],
        grid: Grid,
        first: usize,
    ) {
        let part = |lanes: &Lanes<L>| -> [f32; W] { std::array::from_fn(|i| lanes[first + i]) };
        let (scale, min) = (part(&self.at.scale), part(&self.at.min));
        let inverse = scale.map(inverse);
        let [mut rr, mut rq, mut r_sum, mut qq, mut q_sum] = [[0.0_f32; W]; 5];
        for row in rows {
            let row = part(row);
            for lane in 0..W {
                let x = if MIN { row[lane] + min[lane] } else { row[lane] };
                let q = grid.round(x * inverse[lane]);
                let r = x - q * scale[lane];
                rr[lane] += r * r;
                rq[lane] += r * q;
                qq[lane] += q * q;
                if MIN {
                    r_sum[lane] += r;
                    q_sum[lane] += q;
                }
            }
        }
        for lane in 0..W {
            let to = first + lane;
            (self.rr[to], self.rq[to], self.r[to]) = (rr[lane], rq[lane], r_sum[lane]);
            (self.qq[to], self.q[to]) = (qq[lane], q_sum[lane]);
        }
    }

    /// What a change of the scale costs where the offset follows: Σq² − (Σq)²/n. It is exact:
    /// the sums are integers below 2²⁴, and n is a power of two.
    #[inline(always)]
    pub(crate) fn spread(&self, lane: usize) -> f32 {
        self.qq[lane] - self.q[lane] * self.q[lane] / self.n
    }

    /// The offset of least squares under another scale.
    #[inline(always)]
    pub(crate) fn best_min(&self, lane: usize, scale: f32) -> f32 {
        let change = scale - self.at.scale[lane];
        self.at.min[lane] + (change * self.q[lane] - self.r[lane]) / self.n
    }

    /// The squared error of a lane's integers under other parameters.
    #[inline(always)]
    pub(crate) fn cost(&self, lane: usize, scale: f32, min: f32) -> f32 {
        let (ds, dm) = (scale - self.at.scale[lane], min - self.at.min[lane]);
        let by_scale = ds * (ds * self.qq[lane] - 2.0 * (self.rq[lane] + dm * self.q[lane]));
        self.rr[lane] + by_scale + dm * (2.0 * self.r[lane] + self.n * dm)
    }

    /// Scale and offset of least squares for these integers, with offsets not below `least_min`,
    /// and what is then left of the squared error.
    #[inline(always)]
    pub(crate) fn refined<const MIN: bool>(&self, least_min: f32) -> (Params<L>, Lanes<L>) {
        let (mut to, mut cost) = (self.at, self.rr);
        for lane in 0..L {
            let (scale, min) = (self.at.scale[lane], self.at.min[lane]);
            // With the offset held at `min + change`, zero for the types without.
            let held = |change: f32| {
                scale + (self.rq[lane] + change * self.q[lane]) * inverse(self.qq[lane])
            };
            if MIN {
                let covariance = self.rq[lane] - self.r[lane] * self.q[lane] / self.n;
                let free = scale + covariance * inverse(self.spread(lane));
                let free_min = self.best_min(lane, free);
                let (scale, min) = if free_min >= least_min {
                    (free, free_min)
                } else {
                    (held(least_min - min), least_min)
                };
                (to.scale[lane], to.min[lane]) = (scale, min);
            } else {
                to.scale[lane] = held(0.0);
            }
            cost[lane] = self.cost(lane, to.scale[lane], to.min[lane]);
        }
        (to, cost)
    }
}

/// Elements in the order of the tensor, `N` per lane, as rows.
#[inline(always)]
pub(crate) fn transpose<const L: usize, const N: usize>(values: &[f32]) -> [Lanes<L>; N] {
    let mut rows = [[0.0; L]; N];
    for (lane, part) in values.chunks_exact(N).enumerate() {
        for (row, &value) in rows.iter_mut().zip(part) {
            row[lane] = value;
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid { min: 0.0, max: 15.0 };

    fn rows() -> [Lanes<8>; 4] {
        let values: Vec<f32> = (0..32_i16).map(|i| f32::from(i * 37 % 29) * 0.1 - 1.3).collect();
        transpose(&values)
    }

    #[test]
    fn sums_give_the_error_under_other_parameters() {
        let at = Params {
            scale: [0.2, 0.19, 0.21, 0.18, 0.2, 0.19, 0.21, 0.18],
            min: [1.3, 1.2, 1.1, 1.4, 1.3, 1.2, 1.1, 1.4],
        };
        let fit = Fit::new::<true>(&rows(), GRID, at);
        for lane in 0..8 {
            let (scale, min) = (0.205, 1.25);
            let direct: f32 = rows()
                .iter()
                .map(|row| {
                    let q = GRID.round((row[lane] + at.min[lane]) / at.scale[lane]);
                    (row[lane] - (scale * q - min)).powi(2)
                })
                .sum();
            assert!((fit.cost(lane, scale, min) - direct).abs() < 1e-5 * direct);
        }
    }

    #[test]
    fn refined_parameters_are_a_minimum() {
        let at = Params {
            scale: [0.2, 0.19, 0.21, 0.18, 0.2, 0.19, 0.21, 0.18],
            min: [1.3, 1.2, 1.1, 1.4, 1.3, 1.2, 1.1, 1.4],
        };
        let fit = Fit::new::<true>(&rows(), GRID, at);
        for least_min in [0.0, 5.0] {
            let (best, cost) = fit.refined::<true>(least_min);
            for lane in 0..8 {
                assert!(best.min[lane] >= least_min);
                for (ds, dm) in [(0.001, 0.0), (-0.001, 0.0), (0.001, 0.005), (0.0, 0.005)] {
                    let near = fit.cost(lane, best.scale[lane] + ds, best.min[lane] + dm);
                    assert!(near >= cost[lane], "{near} {}", cost[lane]);
                }
            }
        }
    }
}
