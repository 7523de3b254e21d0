//! Error-minimising scales for numbers that look values up in the table of IQ4_NL, shared by the
//! encoders of IQ4_NL and IQ4_XS.
//!
//! For fixed table values t the best scale is Σxt / Σt², and it lowers the squared error from Σx²
//! to Σx² − (Σxt)² / Σt². So a scale is judged by what its numbers are worth at *their* best scale,
//! in one pass over the values. The table is not symmetric: scales of both signs are tried.

use crate::block::{amax, finite_amax, out_of_range};
use crate::dtype::nibbles::Halves;
use crate::scale_search::{above, inverse};
use crate::{DType, EncodeError};
use half::f16;

/// Values that share a scale.
pub(crate) const GROUP: usize = 32;
/// Values that are handled side by side.
const LANES: usize = 8;

/// What the numbers stand for (GGML: `kvalues_iq4nl`).
pub(crate) const TABLE: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
/// Largest magnitude that the table reaches on either side.
pub(crate) const REACH: f32 = TABLE[15] as f32;
/// Half of the widest gap within the reach.
pub(crate) const HALF_GAP: f32 = 12.0;

/// A table value and the one above it: where rounding passes from one to the other, and by how
/// much the value grows there.
const STEPS: [(f32, f32); 15] = {
    let mut steps = [(0.0, 0.0); 15];
    let mut i = 0;
    while i < 15 {
        let (below, above) = (TABLE[i] as f32, TABLE[i + 1] as f32);
        steps[i] = ((below + above) / 2.0, above - below);
        i += 1;
    }
    steps
};

/// Scales to try: the table positions, not all of them values, at which the value of largest
/// magnitude is put. Chosen on the test models (docs/quantization.md).
const STARTS: [f32; 10] =
    [-126.0, 115.0, -131.0, -121.0, -111.0, 121.0, 109.0, -116.0, -137.0, -103.0];

/// Passes that improve the scale of scales by least squares.
const REFINEMENTS: usize = 2;

/// The scales of a block: that of group b is `d · s[b]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scales<const GROUPS: usize> {
    /// The scale of the scales.
    pub(crate) d: f16,
    /// The integers of the groups; 1 where a group has the block to itself.
    pub(crate) s: [f32; GROUPS],
}

impl<const GROUPS: usize> Scales<GROUPS> {
    /// The scale of group `b`.
    #[inline(always)]
    pub(crate) fn of(&self, b: usize) -> f32 {
        self.d.to_f32() * self.s[b]
    }

    /// Of these scales and their refinements those of least squared error that leave no error
    /// above `limit`; where there are none, `covering`.
    #[inline(always)]
    pub(crate) fn refine(
        mut self,
        groups: &[[f32; GROUP]; GROUPS],
        covering: Self,
        limit: f32,
    ) -> Self {
        let (mut best, mut least) = (covering, f32::INFINITY);
        for _ in 0..REFINEMENTS {
            let (mut cost, mut worst, mut sums) = (0.0, 0.0_f32, Sums::default());
            for (b, values) in groups.iter().enumerate() {
                let fit = fit(values, self.of(b));
                cost += fit.cost;
                worst = worst.max(fit.worst);
                sums = sums.plus(fit.sums, self.s[b]);
            }
            if worst <= limit && cost < least {
                (best, least) = (self, cost);
            }
            self.d = f16::from_f32(sums.scale());
        }
        best
    }
}

/// Sums over values with their numbers fixed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sums {
    /// Σxt: values times table values.
    pub(crate) xt: f32,
    /// Σt².
    pub(crate) tt: f32,
}

impl Sums {
    /// The scale of least squared error.
    #[inline(always)]
    pub(crate) fn scale(self) -> f32 {
        if self.tt > 0.0 { self.xt / self.tt } else { 0.0 }
    }

    /// By how much that scale lowers the squared error.
    #[inline(always)]
    fn gain(self) -> f32 {
        self.xt * self.scale()
    }

    /// With a group whose table values count `s` times.
    #[inline(always)]
    pub(crate) fn plus(self, group: Self, s: f32) -> Self {
        Self { xt: self.xt + s * group.xt, tt: self.tt + s * s * group.tt }
    }
}

/// The numbers of greatest gain among the starts'.
#[inline(always)]
pub(crate) fn best_start(values: &[f32; GROUP]) -> Sums {
    let extreme = values.iter().fold(0.0_f32, |m, &v| if v.abs() > m.abs() { v } else { m });
    let mut best = Sums::default();
    for start in STARTS {
        let sums = fit(values, extreme / start).sums;
        if sums.gain() > best.gain() {
            best = sums;
        }
    }
    best
}

/// What a scale costs, and the sums of its numbers.
struct Fit {
    cost: f32,
    worst: f32,
    sums: Sums,
}

/// Inlined so that what a caller does not read is not computed.
#[inline(always)]
fn fit(values: &[f32; GROUP], scale: f32) -> Fit {
    let inverse = inverse(scale);
    // A sum per lane: one running sum would force the additions into a sequence.
    let [mut cost, mut worst, mut xt, mut tt] = [[0.0_f32; LANES]; 4];
    for values in values.as_chunks::<LANES>().0 {
        for (lane, &value) in values.iter().enumerate() {
            let t = nearest(value * inverse);
            let error = (value - t * scale).abs();
            cost[lane] += error * error;
            worst[lane] = worst[lane].max(error);
            xt[lane] += value * t;
            tt[lane] += t * t;
        }
    }
    let sum = |lanes: [f32; LANES]| lanes.iter().sum::<f32>();
    let worst = worst.into_iter().fold(0.0, f32::max);
    Fit { cost: sum(cost), worst, sums: Sums { xt: sum(xt), tt: sum(tt) } }
}

/// The numbers of the table values nearest to the group's under `scale`, two to a byte.
#[inline(always)]
pub(crate) fn quantize(values: &[f32; GROUP], scale: f32) -> [u8; GROUP / 2] {
    let inverse = inverse(scale);
    Halves::pack(
        &values
            .map(|value| STEPS.iter().map(|&(middle, _)| u8::from(value * inverse > middle)).sum()),
    )
}

/// The table value nearest to `position`.
#[inline(always)]
fn nearest(position: f32) -> f32 {
    // Two sums, so that an addition need not wait for all those before it.
    let (low, high) = STEPS.split_at(8);
    let sum = |start, steps: &[(f32, f32)]| {
        steps.iter().fold(start, |value, &(middle, step)| {
            value + if position > middle { step } else { 0.0 }
        })
    };
    sum(f32::from(TABLE[0]), low) + sum(0.0, high)
}

/// The smallest scale under which `reach` table units hold the largest magnitude: [`covering`],
/// checked.
///
/// # Errors
/// The first value that is not finite, or the largest one if the scale is past half precision.
#[inline(always)]
pub(crate) fn covering_scale(dtype: DType, values: &[f32], reach: f32) -> Result<f16, EncodeError> {
    finite_amax(values)?;
    let scale = covering(values, reach);
    if scale.is_finite() { Ok(scale) } else { Err(out_of_range(dtype, values)) }
}

/// The largest magnitude divided by `reach`, rounded up to half precision.
#[inline(always)]
pub(crate) fn covering(values: &[f32], reach: f32) -> f16 {
    // In single precision the quotient of a denormal could be zero.
    above(f64::from(amax(values)) / f64::from(reach))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_position_within_reach_is_further_than_half_a_gap_from_the_table() {
        let far = (-113 * 8..=113 * 8).map(|eighths| {
            let position = eighths as f32 / 8.0;
            let distance = (position - nearest(position)).abs();
            let least =
                TABLE.iter().map(|&t| (position - f32::from(t)).abs()).fold(999.0, f32::min);
            assert_eq!(distance, least, "{position}");
            distance
        });
        assert_eq!(far.fold(0.0, f32::max), HALF_GAP);
        assert_eq!((nearest(-1e30), nearest(1e30)), (-127.0, 113.0));
    }

    #[test]
    fn values_of_the_table_are_found_exactly() {
        for d in [0.25, -0.25, 0.000_123_977_66] {
            let values = std::array::from_fn(|i| f32::from(TABLE[i % 16]) * d);
            let start = Scales { d: f16::from_f32(best_start(&values).scale()), s: [1.0] };
            let covering = Scales { d: f16::ONE, s: [1.0] };
            let found = start.refine(&[values], covering, 12.0);
            assert_eq!(found.of(0), d);
            let codes = quantize(&values, d);
            assert!(codes.iter().enumerate().all(|(i, &pair)| usize::from(pair) == i * 17));
        }
    }

    #[test]
    fn scales_that_leave_too_large_an_error_are_not_taken() {
        let values = std::array::from_fn(|i| if i == 0 { 1.0 } else { -0.9 });
        let start = Scales { d: f16::from_f32(1.0 / 127.0), s: [1.0] };
        let covering = Scales { d: covering(&values, REACH), s: [1.0] };
        assert_eq!(start.refine(&[values], covering, 0.0).d, covering.d);
        assert_ne!(start.refine(&[values], covering, 1.0).d, covering.d);
    }

    #[test]
    fn covering_scales_are_rounded_up() {
        let smallest = f32::powi(2.0, -24);
        for (value, scale) in [
            (0.0, 0.0),
            (f32::from_bits(1), smallest),
            (-2.0, 1.0),
            (2.0001, 1.0 + f32::powi(2.0, -10)),
            (131_008.0, 65_504.0),
            (131_010.0, f32::INFINITY),
        ] {
            assert_eq!(covering(&[0.0, value], 2.0).to_f32(), scale, "{value}");
        }
    }
}
