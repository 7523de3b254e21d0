//! Error-minimising scales for numbers that look values up in the table of IQ4_NL, shared by the
//! encoders of IQ4_NL and IQ4_XS.
//!
//! For fixed table values t the best scale is Σxt / Σt², and it lowers the squared error from Σx²
//! to Σx² − (Σxt)² / Σt². So a scale is judged by what its numbers are worth at *their* best scale,
//! in one pass over the values. The table is not symmetric: scales of both signs are tried.

use crate::block::finite_amax;
use crate::dtype::nibbles::pack_halves;
use crate::scale_search::inverse;
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
/// magnitude is put. Chosen greedily on the test models: each lowers the error most, given those
/// before it.
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
    pub(crate) fn of(&self, b: usize) -> f32 {
        self.d.to_f32() * self.s[b]
    }

    /// Of these scales and their refinements those of least squared error that leave no error
    /// above `limit`; where there are none, `covering`.
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
    pub(crate) fn scale(self) -> f32 {
        if self.tt > 0.0 { self.xt / self.tt } else { 0.0 }
    }

    /// By how much that scale lowers the squared error.
    fn gain(self) -> f32 {
        self.xt * self.scale()
    }

    /// With a group whose table values count `s` times.
    pub(crate) fn plus(self, group: Self, s: f32) -> Self {
        Self { xt: self.xt + s * group.xt, tt: self.tt + s * s * group.tt }
    }
}

/// The numbers of greatest gain among the starts'.
pub(crate) fn best_start(values: &[f32; GROUP]) -> Sums {
    let extreme = values.iter().fold(0.0_f32, |m, &v| if v.abs() > m.abs() { v } else { m });
    let mut best = Sums::default();
    for start in STARTS {
        let sums = sums(values, inverse(extreme / start));
        if sums.gain() > best.gain() {
            best = sums;
        }
    }
    best
}

fn sums(values: &[f32; GROUP], inverse: f32) -> Sums {
    // A sum per lane: one running sum would force the additions into a sequence.
    let [mut xt, mut tt] = [[0.0_f32; LANES]; 2];
    for values in values.as_chunks::<LANES>().0 {
        for (lane, &value) in values.iter().enumerate() {
            let t = nearest(value * inverse);
            xt[lane] += value * t;
            tt[lane] += t * t;
        }
    }
    Sums { xt: xt.iter().sum(), tt: tt.iter().sum() }
}

/// What a scale costs, and the sums of its numbers.
struct Fit {
    cost: f32,
    worst: f32,
    sums: Sums,
}

fn fit(values: &[f32; GROUP], scale: f32) -> Fit {
    let inverse = inverse(scale);
    let [mut cost, mut worst] = [[0.0_f32; LANES]; 2];
    for values in values.as_chunks::<LANES>().0 {
        for (lane, &value) in values.iter().enumerate() {
            let error = (value - nearest(value * inverse) * scale).abs();
            cost[lane] += error * error;
            worst[lane] = worst[lane].max(error);
        }
    }
    let worst = worst.into_iter().fold(0.0, f32::max);
    Fit { cost: cost.iter().sum(), worst, sums: sums(values, inverse) }
}

/// The numbers of the table values nearest to the group's under `scale`, two to a byte.
pub(crate) fn quantize(values: &[f32; GROUP], scale: f32) -> [u8; GROUP / 2] {
    let inverse = inverse(scale);
    pack_halves(
        &values
            .map(|value| STEPS.iter().map(|&(middle, _)| u8::from(value * inverse > middle)).sum()),
    )
}

/// The table value nearest to `position`.
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

/// The smallest scale under which `reach` table units hold the largest magnitude.
///
/// # Errors
/// The value of that magnitude, if the scale is past half precision.
pub(crate) fn covering_scale(dtype: DType, values: &[f32], reach: f32) -> Result<f16, EncodeError> {
    let amax = finite_amax(values)?;
    let scale = round_up(amax / reach);
    if scale.is_finite() {
        return Ok(scale);
    }
    let index = values.iter().position(|value| value.abs() == amax).unwrap_or_default();
    Err(EncodeError::OutOfRange { dtype, index, value: values[index] })
}

/// The smallest half-precision number that is not below `value`, which is not negative.
pub(crate) fn round_up(value: f32) -> f16 {
    let nearest = f16::from_f32(value);
    if nearest.to_f32() < value { f16::from_bits(nearest.to_bits() + 1) } else { nearest }
}
