//! The search behind the K-quants: 256 elements in sub-blocks whose scales (and offsets) are small
//! integers times one f16.
//!
//! Sub-blocks are lanes. First each is fitted by itself from several starts; then d and dmin are
//! chosen for which the integers fall nearest to what was found; then the integers around are
//! tried with the values rounded anew; at last d and dmin are fitted to the outcome. The measure
//! is the plain squared error. See docs/quantization.md for the bound.
#![allow(clippy::needless_range_loop, reason = "one index walks the lanes of several arrays")]

use crate::block::{finite_amax, out_of_range};
use crate::lanes::{Fit, Lanes, Params, transpose};
use crate::scale_search::{Grid, Rounding, above, inverse, largest, least};
use crate::{DType, EncodeError};
use half::f16;

/// Elements of a super-block.
pub(crate) const ELEMS: usize = 256;

/// What a K-quant can express, and how hard to search.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) dtype: DType,
    /// Integers of the elements.
    pub(crate) grid: Grid,
    /// Integers that a sub-block's scale can be.
    pub(crate) scales: Grid,
    /// Integers that a sub-block's offset can be; nothing but 0 for the types without.
    pub(crate) mins: Grid,
    /// Where fits start. With offsets, every pair of these is cut from the lower and the upper
    /// end of the range, relative to it; without, these are factors of extreme / grid.min.
    pub(crate) starts: &'static [f32],
    /// Integers around those found that are tried for scales and offsets.
    pub(crate) around: &'static [f32],
}

/// A super-block but for its integers.
#[derive(Debug, Clone, Copy)]
struct Found<const L: usize> {
    d: f16,
    dmin: f16,
    /// The integers, as floats.
    scales: Lanes<L>,
    mins: Lanes<L>,
}

/// A super-block, not yet packed.
#[derive(Debug)]
pub(crate) struct Encoded<const L: usize> {
    pub(crate) d: f16,
    pub(crate) dmin: f16,
    /// Integers of the sub-blocks' scales, the negative ones in two's complement.
    pub(crate) scales: [u8; L],
    /// Integers of the sub-blocks' offsets.
    pub(crate) mins: [u8; L],
    /// Integers of the elements, less the smallest of the grid.
    pub(crate) q: [u8; ELEMS],
}

/// Encodes 256 values as `L` sub-blocks of `N` elements. `MIN` says whether the type has offsets.
///
/// # Errors
/// When a value is not finite or past what f16 scales can reach.
#[inline(always)]
pub(crate) fn encode<const MIN: bool, const L: usize, const N: usize>(
    values: &[f32],
    shape: &Shape,
) -> Result<Encoded<L>, EncodeError> {
    finite_amax(values)?;
    let rows = transpose::<L, N>(values);
    let ends = Ends::new::<MIN>(&rows);
    let plain = Plain::new::<MIN, L>(&ends, shape);
    if !plain.d.is_finite() || !plain.dmin.is_finite() {
        return Err(out_of_range(shape.dtype, values));
    }
    let found = search::<MIN, L>(&rows, &ends, shape);
    let rounding = Rounding { grid: shape.grid, max_error: plain.bound() };
    let encoded = found.rounded::<N>(values, rounding);
    Ok(encoded.unwrap_or_else(|| {
        let unlimited = Rounding { grid: shape.grid, max_error: f32::INFINITY };
        let plain = plain.found::<MIN, L>(&ends, shape);
        plain.rounded::<N>(values, unlimited).expect("no error is past infinity")
    }))
}

/// The largest error that [`encode`] leaves.
#[inline(always)]
pub(crate) fn error_bound<const MIN: bool, const L: usize, const N: usize>(
    values: &[f32],
    shape: &Shape,
) -> f32 {
    Plain::new::<MIN, L>(&Ends::new::<MIN>(&transpose::<L, N>(values)), shape).bound()
}

/// The smallest and the largest value per lane. The range of a type with offsets reaches up to
/// zero at least, because offsets are subtracted and not negative; that of the others includes it.
struct Ends<const L: usize> {
    low: Lanes<L>,
    high: Lanes<L>,
}

impl<const L: usize> Ends<L> {
    #[inline(always)]
    fn new<const MIN: bool>(rows: &[Lanes<L>]) -> Self {
        let high = if MIN { f32::NEG_INFINITY } else { 0.0 };
        let mut ends = Self { low: [0.0; L], high: [high; L] };
        for row in rows {
            for lane in 0..L {
                ends.low[lane] = least(ends.low[lane], row[lane]);
                ends.high[lane] = largest(ends.high[lane], row[lane]);
            }
        }
        ends
    }

    /// The value of largest magnitude in a lane.
    #[inline(always)]
    fn extreme(&self, lane: usize) -> f32 {
        if -self.low[lane] > self.high[lane] { self.low[lane] } else { self.high[lane] }
    }

    /// What the steps of a lane must span.
    #[inline(always)]
    fn span<const MIN: bool>(&self, lane: usize) -> f64 {
        if MIN {
            f64::from(self.high[lane]) - f64::from(self.low[lane])
        } else {
            f64::from(self.extreme(lane).abs())
        }
    }
}

/// Plain rounding, by which no element is off by more than the largest step: every lane's grid
/// covers its range. In double precision, where none of this over- or underflows.
struct Plain {
    d: f16,
    dmin: f16,
    /// The largest step that a lane asks for.
    step: f64,
}

impl Plain {
    #[inline(always)]
    fn new<const MIN: bool, const L: usize>(ends: &Ends<L>, shape: &Shape) -> Self {
        let span = (0..L).fold(0.0, |max: f64, lane| max.max(ends.span::<MIN>(lane)));
        let low = ends.low.into_iter().fold(0.0, least);
        let dmin = if MIN { above(-f64::from(low) / f64::from(shape.mins.max)) } else { f16::ZERO };
        let step = (span + dmin.to_f64()) / steps::<MIN>(shape);
        Self { d: above(step / f64::from(shape.scales.max)), dmin, step }
    }

    #[allow(clippy::cast_possible_truncation, reason = "an f16 times an integer below 2⁷")]
    #[inline(always)]
    fn bound(&self) -> f32 {
        let d = self.d.to_f64();
        let integer = if d > 0.0 { (self.step / d).ceil() } else { 0.0 };
        (d * integer) as f32
    }

    #[allow(clippy::cast_possible_truncation, reason = "integers below 2⁷")]
    #[inline(always)]
    fn found<const MIN: bool, const L: usize>(&self, ends: &Ends<L>, shape: &Shape) -> Found<L> {
        let (d, dmin) = (self.d.to_f64(), self.dmin.to_f64());
        let up =
            |number: f64, step: f64| if step > 0.0 { (number / step).ceil() as f32 } else { 0.0 };
        let mut found = Found { d: self.d, dmin: self.dmin, scales: [0.0; L], mins: [0.0; L] };
        for lane in 0..L {
            let scale = up((ends.span::<MIN>(lane) + dmin) / steps::<MIN>(shape), d);
            // The extreme lies at the grid's smallest integer, which has the largest magnitude.
            let flip = !MIN && ends.extreme(lane) > 0.0;
            found.scales[lane] = if flip { -scale } else { scale };
            found.mins[lane] = up(-f64::from(ends.low[lane]), dmin);
        }
        found
    }
}

/// Steps from one end of the grid to the other, or from zero to its far end.
#[inline(always)]
fn steps<const MIN: bool>(shape: &Shape) -> f64 {
    f64::from(if MIN { shape.grid.max } else { -shape.grid.min })
}

impl<const L: usize> Found<L> {
    #[inline(always)]
    fn params(&self) -> Params<L> {
        let (d, dmin) = (self.d.to_f32(), self.dmin.to_f32());
        Params { scale: self.scales.map(|s| d * s), min: self.mins.map(|m| dmin * m) }
    }

    /// Rounds all values; nothing if one of them is off by more than what is allowed.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "integers of a byte"
    )]
    #[inline(always)]
    fn rounded<const N: usize>(&self, values: &[f32], rounding: Rounding) -> Option<Encoded<L>> {
        let params = self.params();
        let mut q = [0; ELEMS];
        let mut held = true;
        for (lane, (values, q)) in values.chunks_exact(N).zip(q.chunks_exact_mut(N)).enumerate() {
            held &= rounding.round(values, params.scale[lane], params.min[lane], q);
        }
        held.then(|| Encoded {
            d: self.d,
            dmin: self.dmin,
            scales: self.scales.map(|s| (s as i8).cast_unsigned()),
            mins: self.mins.map(|m| m as u8),
            q,
        })
    }
}

#[inline(always)]
fn search<const MIN: bool, const L: usize>(
    rows: &[Lanes<L>],
    ends: &Ends<L>,
    shape: &Shape,
) -> Found<L> {
    let fit = best_free::<MIN, L>(rows, ends, shape);
    let (found, fit) = around::<MIN, L>(rows, shape, &quantize::<MIN, L>(&fit, shape));
    let refitted = refit::<MIN, L>(&fit, &found);
    let cost = |fit: &Fit<L>| fit.rr.iter().sum::<f32>();
    let refit = Fit::new::<MIN>(rows, shape.grid, refitted.params());
    if cost(&refit) < cost(&fit) { refitted } else { found }
}

/// The best fit of every lane with scales and offsets of any value.
#[inline(always)]
fn best_free<const MIN: bool, const L: usize>(
    rows: &[Lanes<L>],
    ends: &Ends<L>,
    shape: &Shape,
) -> Fit<L> {
    let mut best = Params::ZERO;
    let mut best_cost = [f32::INFINITY; L];
    let cuts = if MIN { shape.starts } else { &[0.0] };
    for &start in shape.starts {
        for &cut in cuts {
            let start = start_at::<MIN, L>(ends, shape, (start, cut));
            let (params, cost) = Fit::new::<MIN>(rows, shape.grid, start).refined::<MIN>(0.0);
            best.improve(&mut best_cost, &params, &cost);
        }
    }
    let (best, _) = Fit::new::<MIN>(rows, shape.grid, best).refined::<MIN>(0.0);
    Fit::new::<MIN>(rows, shape.grid, best)
}

#[inline(always)]
fn start_at<const MIN: bool, const L: usize>(
    ends: &Ends<L>,
    shape: &Shape,
    (start, cut): (f32, f32),
) -> Params<L> {
    let mut at = Params::ZERO;
    for lane in 0..L {
        if MIN {
            let range = ends.high[lane] - ends.low[lane];
            let low = least(ends.low[lane] + start * range, 0.0);
            at.scale[lane] = (ends.high[lane] - cut * range - low) / shape.grid.max;
            at.min[lane] = -low;
        } else {
            at.scale[lane] = ends.extreme(lane) / shape.grid.min * start;
        }
    }
    at
}

/// Chooses d by the error that it causes through the scales, then dmin by that of the offsets
/// which suit these scales.
#[inline(always)]
fn quantize<const MIN: bool, const L: usize>(fit: &Fit<L>, shape: &Shape) -> Found<L> {
    let (target, _) = fit.refined::<MIN>(0.0);
    let weight = std::array::from_fn(|lane| if MIN { fit.spread(lane) } else { fit.qq[lane] });
    let (d, scales) = nearest_step(&target.scale, &weight, shape.scales);
    let mut found = Found { d, dmin: f16::ZERO, scales, mins: [0.0; L] };
    if MIN {
        let scales = found.params().scale;
        let mins = std::array::from_fn(|lane| largest(fit.best_min(lane, scales[lane]), 0.0));
        (found.dmin, found.mins) = nearest_step(&mins, &[1.0; L], shape.mins);
        settle::<L>(fit, &target, shape, &mut found);
    }
    found
}

/// The f16 step whose multiples are nearest to `numbers`, by squared error times `weight`, and
/// these multiples. Tried are steps that put the largest number at the end of the grid and
/// below, every quarter of an integer.
#[inline(always)]
fn nearest_step<const L: usize>(
    numbers: &Lanes<L>,
    weight: &Lanes<L>,
    grid: Grid,
) -> (f16, Lanes<L>) {
    const STEPS: usize = 32;
    let end = numbers.map(f32::abs).into_iter().fold(0.0, largest);
    let inverses: [f32; STEPS] =
        std::array::from_fn(|i| (grid.max + 0.5 - 0.25 * i as f32) * inverse(end));
    let steps = inverses.map(inverse);
    let mut costs = [0.0_f32; STEPS];
    for (&number, &weight) in numbers.iter().zip(weight) {
        for i in 0..STEPS {
            let r = number - grid.round(number * inverses[i]) * steps[i];
            costs[i] += weight * r * r;
        }
    }
    let best = (0..STEPS).fold(0, |a, b| if costs[b] < costs[a] { b } else { a });
    let [mut xq, mut qq] = [0.0_f32; 2];
    for (&number, &weight) in numbers.iter().zip(weight) {
        let q = grid.round(number * inverses[best]);
        xq += weight * number * q;
        qq += weight * q * q;
    }
    let step = f16::from_f32(xq * inverse(qq));
    let inverse = inverse(step.to_f32());
    (step, numbers.map(|number| grid.round(number * inverse)))
}

/// Moves every lane to the best of the scales beside its `target`, each with the offset that
/// suits it, for the integers of `fit`.
#[inline(always)]
fn settle<const L: usize>(fit: &Fit<L>, target: &Params<L>, shape: &Shape, found: &mut Found<L>) {
    let (d, dmin) = (found.d.to_f32(), found.dmin.to_f32());
    let (per_d, per_dmin) = (inverse(d), inverse(dmin));
    let mut best = [f32::INFINITY; L];
    for beside in [0.0, -1.0, 1.0] {
        for lane in 0..L {
            let scale = shape.scales.round(target.scale[lane] * per_d + beside);
            let min = shape.mins.round(fit.best_min(lane, scale * d) * per_dmin);
            let cost = fit.cost(lane, scale * d, min * dmin);
            if cost < best[lane] {
                (best[lane], found.scales[lane], found.mins[lane]) = (cost, scale, min);
            }
        }
    }
}

/// The best of all integers around those found, with the values rounded anew for each.
#[inline(always)]
fn around<const MIN: bool, const L: usize>(
    rows: &[Lanes<L>],
    shape: &Shape,
    found: &Found<L>,
) -> (Found<L>, Fit<L>) {
    let mut best = Params { scale: found.scales, min: found.mins };
    let mut best_cost = [f32::INFINITY; L];
    let by_min = if MIN { shape.around } else { &[0.0] };
    for &by in shape.around {
        for &by_min in by_min {
            let scales = found.scales.map(|scale| shape.scales.round(scale + by));
            let mins = found.mins.map(|min| shape.mins.round(min + by_min));
            let fit = Fit::new::<MIN>(rows, shape.grid, Found { scales, mins, ..*found }.params());
            best.improve(&mut best_cost, &Params { scale: scales, min: mins }, &fit.rr);
        }
    }
    let best = Found { scales: best.scale, mins: best.min, ..*found };
    (best, Fit::new::<MIN>(rows, shape.grid, best.params()))
}

/// d and dmin of least squares for all integers as they are.
#[inline(always)]
fn refit<const MIN: bool, const L: usize>(fit: &Fit<L>, found: &Found<L>) -> Found<L> {
    let [mut ss, mut sm, mut mm, mut by_d, mut by_dmin] = [0.0_f32; 5];
    for lane in 0..L {
        let (s, m) = (found.scales[lane], found.mins[lane]);
        ss += s * s * fit.qq[lane];
        sm += s * m * fit.q[lane];
        mm += m * m * fit.n;
        by_d += s * fit.rq[lane];
        by_dmin -= m * fit.r[lane];
    }
    let (d, dmin) = (found.d.to_f32(), found.dmin.to_f32());
    let (d, dmin) = if mm > 0.0 {
        let inverse = inverse(ss * mm - sm * sm);
        (d + (mm * by_d + sm * by_dmin) * inverse, dmin + (ss * by_dmin + sm * by_d) * inverse)
    } else {
        (d + by_d * inverse(ss), dmin)
    };
    Found { d: f16::from_f32(d), dmin: f16::from_f32(dmin), ..*found }
}
