//! The search behind the types whose blocks are 32 elements with one f16 scale, with or without an
//! f16 offset.
//!
//! Lanes are guesses: each starts elsewhere, is fitted by least squares and rounded to f16, and is
//! judged by the plain squared error of the values rounded anew. See docs/quantization.md for the
//! bound.
#![allow(clippy::needless_range_loop, reason = "one index walks the lanes of several arrays")]

use crate::block::{finite_amax, out_of_range};
use crate::lanes::{Fit, Lanes, Params};
use crate::scale_search::{Grid, Rounding, above, largest, least, round_f16};
use crate::{DType, EncodeError};
use half::f16;

/// Elements of a block.
pub(crate) const ELEMS: usize = 32;

/// Elements that are compared side by side.
const LANES: usize = 8;
const GUESSES: usize = 16;
/// How often guesses are fitted.
const ROUNDS: usize = 2;

/// What a type can express, and where to start.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) dtype: DType,
    /// Integers of the elements.
    pub(crate) grid: Grid,
    /// With offsets, what is cut from the lower and the upper end of the range, relative to it;
    /// without, the first is the factor of extreme / grid.min.
    pub(crate) starts: [(f32, f32); GUESSES],
}

/// A block, not yet packed.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) d: f16,
    /// The offset, which is added; zero for the types without.
    pub(crate) m: f16,
    /// Integers of the elements, less the smallest of the grid.
    pub(crate) q: [u8; ELEMS],
}

/// Encodes 32 values. `MIN` says whether the type has an offset.
///
/// # Errors
/// When a value is not finite or past what an f16 scale can reach.
#[inline(always)]
pub(crate) fn encode<const MIN: bool>(
    values: &[f32],
    shape: &Shape,
) -> Result<Encoded, EncodeError> {
    finite_amax(values)?;
    let ends = Ends::new(values);
    let plain = Plain::new::<MIN>(ends, shape.grid);
    if !plain.d.is_finite() || !plain.m.is_finite() {
        return Err(out_of_range(shape.dtype, values));
    }
    let rounding = Rounding { grid: shape.grid, max_error: plain.bound::<MIN>() };
    let mut encoded = Encoded { d: plain.d, m: plain.m, q: [0; ELEMS] };
    let (guesses, mut costs) = guesses::<MIN>(values, ends, shape);
    loop {
        let best = (0..GUESSES).fold(0, |a, b| if costs[b] < costs[a] { b } else { a });
        let (mut scale, mut min) = (guesses.scale[best], guesses.min[best]);
        let last = !costs[best].is_finite();
        if last {
            let extreme = if ends.low.abs() > ends.high { ends.low } else { ends.high };
            let sign = if !MIN && extreme > 0.0 { -1.0 } else { 1.0 };
            (scale, min) = (sign * plain.d.to_f32(), -plain.m.to_f32());
        }
        if rounding.round(values, scale, min, &mut encoded.q) || last {
            (encoded.d, encoded.m) = (f16::from_f32(scale), f16::from_f32(-min));
            return Ok(encoded);
        }
        costs[best] = f32::INFINITY;
    }
}

/// The largest error that [`encode`] leaves.
#[inline(always)]
pub(crate) fn error_bound<const MIN: bool>(values: &[f32], shape: &Shape) -> f32 {
    Plain::new::<MIN>(Ends::new(values), shape.grid).bound::<MIN>()
}

/// The smallest and the largest value.
#[derive(Debug, Clone, Copy)]
struct Ends {
    low: f32,
    high: f32,
}

impl Ends {
    #[inline(always)]
    fn new(values: &[f32]) -> Self {
        // Lane by lane: one running minimum would force the comparisons into a sequence.
        let (mut low, mut high) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
        for values in values.as_chunks::<LANES>().0 {
            for lane in 0..LANES {
                low[lane] = least(low[lane], values[lane]);
                high[lane] = largest(high[lane], values[lane]);
            }
        }
        Self {
            low: low.into_iter().fold(f32::INFINITY, least),
            high: high.into_iter().fold(f32::NEG_INFINITY, largest),
        }
    }
}

/// Plain rounding, by which no element is off by more than a step, with every f16 rounded to the
/// side where the grid covers the range. In double precision, where nothing over- or underflows.
struct Plain {
    /// The size of a step.
    d: f16,
    m: f16,
}

impl Plain {
    #[inline(always)]
    fn new<const MIN: bool>(ends: Ends, grid: Grid) -> Self {
        let (low, high) = (f64::from(ends.low), f64::from(ends.high));
        if MIN {
            let m = -above(-low);
            Self { d: above((high - m.to_f64()) / f64::from(grid.max)), m }
        } else {
            Self { d: above(high.max(-low) / f64::from(-grid.min)), m: f16::ZERO }
        }
    }

    /// A step. Where decoding adds an offset, the sum is rounded and the integer was found through
    /// a rounded product: the factor covers these.
    #[inline(always)]
    fn bound<const MIN: bool>(&self) -> f32 {
        let rounding = if MIN { f32::powi(2.0, -16) } else { 0.0 };
        self.d.to_f32() * (1.0 + rounding)
    }
}

/// Scales and offsets that f16 holds, with the squared errors they leave.
#[inline(always)]
fn guesses<const MIN: bool>(
    values: &[f32],
    ends: Ends,
    shape: &Shape,
) -> (Params<GUESSES>, Lanes<GUESSES>) {
    let mut rows = [[0.0; GUESSES]; ELEMS];
    for (row, &value) in rows.iter_mut().zip(values) {
        *row = [value; GUESSES];
    }
    let mut fit = Fit::new::<MIN>(&rows, shape.grid, starts::<MIN>(ends, shape));
    let (mut best, mut cost) = (Params::ZERO, [f32::INFINITY; GUESSES]);
    for _ in 0..ROUNDS {
        let (mut at, _) = fit.refined::<MIN>(f32::NEG_INFINITY);
        at.scale = at.scale.map(round_f16);
        if MIN {
            at.min = std::array::from_fn(|lane| round_f16(fit.best_min(lane, at.scale[lane])));
        }
        fit = Fit::new::<MIN>(&rows, shape.grid, at);
        best.improve(&mut cost, &at, &fit.rr);
    }
    (best, cost)
}

#[inline(always)]
fn starts<const MIN: bool>(ends: Ends, shape: &Shape) -> Params<GUESSES> {
    let mut at = Params::ZERO;
    for (lane, (start, cut)) in shape.starts.into_iter().enumerate() {
        if MIN {
            let range = ends.high - ends.low;
            let low = ends.low + start * range;
            at.scale[lane] = (ends.high - cut * range - low) / shape.grid.max;
            at.min[lane] = -low;
        } else {
            let extreme = if -ends.low > ends.high { ends.low } else { ends.high };
            at.scale[lane] = extreme / shape.grid.min * start;
        }
    }
    at
}

/// All pairs of four cuts.
pub(crate) const fn pairs(cuts: [f32; 4]) -> [(f32, f32); GUESSES] {
    let mut pairs = [(0.0, 0.0); GUESSES];
    let mut i = 0;
    while i < GUESSES {
        pairs[i] = (cuts[i / 4], cuts[i % 4]);
        i += 1;
    }
    pairs
}

/// Factors from `first` to `last`, evenly.
pub(crate) const fn factors(first: f32, last: f32) -> [(f32, f32); GUESSES] {
    let mut factors = [(0.0, 0.0); GUESSES];
    let mut i = 0;
    while i < GUESSES {
        factors[i].0 = first + (last - first) * i as f32 / (GUESSES - 1) as f32;
        i += 1;
    }
    factors
}
