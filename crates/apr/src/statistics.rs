//! Figures of the values of a tensor: its range, its moments and its histogram, in double
//! precision, a run of blocks at a time.

mod wide;

use crate::exact::Figure;
use crate::units;
use apr_kernel::{Kernels, Task};
use apr_tensor::{DType, TensorView};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::Serialize;

/// Elements that one worker decodes at a time. Fixed, so that results do not depend on the number
/// of threads.
const RUN_ELEMS: usize = 1 << 15;
/// Elements that are summed side by side.
const LANES: usize = 8;
/// Bars of a histogram.
const BINS: usize = 256;

/// Range and moments of the finite values of a tensor.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct Statistics {
    /// Number of elements.
    pub count: u64,
    /// Elements that are NaN; no other figure counts them.
    pub nan: u64,
    /// Elements that are infinite; no other figure counts them.
    pub inf: u64,
    /// Elements that are zero.
    pub zeros: u64,
    /// The smallest; none where no value is finite.
    pub min: Option<Figure>,
    /// The largest.
    pub max: Option<Figure>,
    /// The mean.
    pub mean: Option<f64>,
    /// The standard deviation of the population: the root of the mean squared distance from the
    /// mean.
    pub std: Option<f64>,
    /// The third standardised moment; none where all values are the same.
    pub skewness: Option<f64>,
    /// The fourth standardised moment less 3, so that a normal distribution has 0; none where all
    /// values are the same.
    pub kurtosis: Option<f64>,
}

/// How the finite values of a tensor are spread over their range.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Histogram {
    /// The entropy in bits of the bar that a value falls into: 8 if all bars are equally high.
    pub entropy: f64,
    /// Values in each of the bars, which are equally wide from the smallest value to the largest.
    pub bins: Vec<u64>,
}

impl Statistics {
    /// Those of a tensor.
    pub(crate) fn of(view: TensorView<'_>) -> Self {
        let dtype = view.dtype();
        if dtype.is_wide() {
            return wide::statistics(view);
        }
        Self::of_runs(runs(view).map(|run| decoded(dtype, run)))
    }

    /// Those of values that come in runs of a fixed length.
    pub(crate) fn of_runs(runs: impl IndexedParallelIterator<Item = Vec<f32>>) -> Self {
        // In the order of the tensor, whichever thread is done first.
        let parts: Vec<Moments> = runs.map(|run| Moments::of(&run)).collect();
        parts.into_iter().fold(Moments::default(), Moments::merge).statistics()
    }

    /// `min=… max=… mean=… std=…`
    pub(crate) fn line(&self) -> String {
        let [min, max] = [self.min, self.max].map(shown);
        let [mean, std] = [self.mean, self.std].map(known);
        format!("min={min} max={max} mean={mean} std={std}")
    }

    /// What the figures leave out, if anything.
    pub(crate) fn left_out(&self) -> Option<String> {
        let (nan, inf) = (units::count(self.nan), units::count(self.inf));
        (self.nan + self.inf > 0).then(|| format!("{nan} NaN and {inf} infinities are left out"))
    }
}

/// A value, or that there is none.
pub(crate) fn shown(value: Option<Figure>) -> String {
    value.map_or_else(|| "undefined".to_owned(), |value| value.to_string())
}

/// A figure, or that there is none.
pub(crate) fn known(value: Option<f64>) -> String {
    value.map_or_else(|| "undefined".to_owned(), units::number)
}

impl Histogram {
    /// That of a tensor with these statistics.
    pub(crate) fn of(view: TensorView<'_>, statistics: &Statistics) -> Self {
        let (Some(min), Some(max)) = (statistics.min, statistics.max) else {
            return Self { entropy: 0.0, bins: vec![0; BINS] };
        };
        let dtype = view.dtype();
        if dtype.is_wide() {
            return wide::histogram(view, min, max);
        }
        let range = (min.to_f64(), max.to_f64());
        Self::between(range, runs(view).map(|run| decoded(dtype, run)))
    }

    /// That of values that come in runs, over a range that holds all of the finite ones.
    pub(crate) fn between(
        (min, max): (f64, f64),
        runs: impl IndexedParallelIterator<Item = Vec<f32>>,
    ) -> Self {
        let count = |run: Vec<f32>| {
            let mut bins = vec![0_u64; BINS];
            for value in run.into_iter().filter(|value| value.is_finite()) {
                bins[bin(f64::from(value), min, max)] += 1;
            }
            bins
        };
        let add = |mut a: Vec<u64>, b: Vec<u64>| {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
            a
        };
        let bins = runs.map(count).reduce(|| vec![0; BINS], add);
        Self { entropy: entropy(&bins), bins }
    }
}

/// The bar of a value. The largest value falls into the last one.
#[allow(clippy::cast_possible_truncation, reason = "a share of the number of bars")]
fn bin(value: f64, min: f64, max: f64) -> usize {
    let share = (value - min) / (max - min).max(f64::MIN_POSITIVE);
    ((share * BINS as f64) as usize).min(BINS - 1)
}

/// Shannon's entropy in bits.
fn entropy(bins: &[u64]) -> f64 {
    let total: u64 = bins.iter().sum();
    let bits = |&count: &u64| {
        let share = count as f64 / total as f64;
        -share * share.log2()
    };
    // A sum that starts at 0.0, so that the entropy of one bar is not −0.
    bins.iter().filter(|count| **count > 0).map(bits).fold(0.0, |sum, bits| sum + bits)
}

/// The bytes of a tensor in runs of whole blocks.
pub(crate) fn runs<'a>(view: TensorView<'a>) -> impl IndexedParallelIterator<Item = &'a [u8]> {
    view.bytes().par_chunks(run_bytes(view.dtype()))
}

/// Bytes of a run of this type.
pub(crate) const fn run_bytes(dtype: DType) -> usize {
    RUN_ELEMS / dtype.block_elems() * dtype.block_bytes()
}

/// The values of whole blocks.
pub(crate) fn decoded(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    let mut values = vec![0.0; bytes.len() / dtype.block_bytes() * dtype.block_elems()];
    if Kernels::best().decode(dtype, bytes, &mut values).is_err() {
        unreachable!("as many values as the blocks have");
    }
    values
}

/// Count, range, mean and sums of powers of the distance from the mean.
#[derive(Debug, Clone, Copy)]
struct Moments {
    finite: f64,
    nan: u64,
    inf: u64,
    zeros: u64,
    min: f32,
    max: f32,
    mean: f64,
    powers: [f64; 3],
}

impl Default for Moments {
    fn default() -> Self {
        let (min, max) = (f32::INFINITY, f32::NEG_INFINITY);
        Self { finite: 0.0, nan: 0, inf: 0, zeros: 0, min, max, mean: 0.0, powers: [0.0; 3] }
    }
}

impl Moments {
    fn of(values: &[f32]) -> Self {
        let kernels = Kernels::best();
        let finite: Vec<f32>;
        let kept = if kernels.run(AllFinite(values)) {
            values
        } else {
            finite = values.iter().copied().filter(|value| value.is_finite()).collect();
            &finite
        };
        let nan = values.iter().filter(|value| value.is_nan()).count();
        let (sum, min, max, zeros) = kernels.run(Range(kept));
        let mean = if kept.is_empty() { 0.0 } else { sum / kept.len() as f64 };
        Self {
            finite: kept.len() as f64,
            nan: units::size(nan),
            inf: units::size(values.len() - kept.len() - nan),
            zeros,
            min,
            max,
            mean,
            powers: kernels.run(Powers { values: kept, mean }),
        }
    }

    /// Both together (Pébay 2008, equations 2.1 and 3.1).
    fn merge(self, other: Self) -> Self {
        let (a, b) = (self.finite, other.finite);
        let n = a + b;
        let delta = other.mean - self.mean;
        let (by_n, [a2, a3, a4], [b2, b3, b4]) = (delta / n.max(1.0), self.powers, other.powers);
        let second = a2 + b2 + delta * by_n * a * b;
        let third =
            a3 + b3 + delta * by_n * by_n * a * b * (a - b) + 3.0 * by_n * (a * b2 - b * a2);
        let fourth = a4
            + b4
            + delta * by_n.powi(3) * a * b * (a * a - a * b + b * b)
            + 6.0 * by_n * by_n * (a * a * b2 + b * b * a2)
            + 4.0 * by_n * (a * b3 - b * a3);
        Self {
            finite: n,
            nan: self.nan + other.nan,
            inf: self.inf + other.inf,
            zeros: self.zeros + other.zeros,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            mean: self.mean + by_n * b,
            powers: [second, third, fourth],
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "a number of elements in memory")]
    fn statistics(self) -> Statistics {
        let (finite, n) = (self.finite > 0.0, self.finite);
        let [second, third, fourth] = self.powers;
        let varies = finite && self.min < self.max && second > 0.0;
        let variance = second / n;
        Statistics {
            count: n as u64 + self.nan + self.inf,
            nan: self.nan,
            inf: self.inf,
            zeros: self.zeros,
            min: finite.then_some(Figure::Float(f64::from(self.min))),
            max: finite.then_some(Figure::Float(f64::from(self.max))),
            mean: finite.then_some(self.mean),
            std: finite.then_some(variance.sqrt()),
            skewness: varies.then(|| third / n / variance.powf(1.5)),
            kurtosis: varies.then(|| fourth / n / (variance * variance) - 3.0),
        }
    }
}

/// Whether all values are finite.
pub(crate) struct AllFinite<'a>(pub(crate) &'a [f32]);

impl Task for AllFinite<'_> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        self.0.iter().fold(true, |finite, value| finite & value.is_finite())
    }
}

/// Sum, smallest, largest and number of zeros.
struct Range<'a>(&'a [f32]);

impl Task for Range<'_> {
    type Output = (f64, f32, f32, u64);

    #[inline(always)]
    fn run(self) -> Self::Output {
        let mut sums = [0.0; LANES];
        let (mut min, mut max) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
        let mut zeros = [0; LANES];
        for values in self.0.chunks(LANES) {
            for (lane, &value) in values.iter().enumerate() {
                sums[lane] += f64::from(value);
                min[lane] = if value < min[lane] { value } else { min[lane] };
                max[lane] = if value > max[lane] { value } else { max[lane] };
                zeros[lane] += u64::from(value == 0.0);
            }
        }
        let min = min.into_iter().fold(f32::INFINITY, f32::min);
        let max = max.into_iter().fold(f32::NEG_INFINITY, f32::max);
        (sums.iter().sum(), min, max, zeros.iter().sum())
    }
}

/// Sums of the second, third and fourth power of the distance from the mean.
struct Powers<'a> {
    values: &'a [f32],
    mean: f64,
}

impl Task for Powers<'_> {
    type Output = [f64; 3];

    #[inline(always)]
    fn run(self) -> [f64; 3] {
        let mut sums = [[0.0; LANES]; 3];
        for values in self.values.chunks(LANES) {
            for (lane, &value) in values.iter().enumerate() {
                let distance = f64::from(value) - self.mean;
                let square = distance * distance;
                sums[0][lane] += square;
                sums[1][lane] += square * distance;
                sums[2][lane] += square * square;
            }
        }
        sums.map(|lanes| lanes.iter().sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apr_tensor::TensorLayout;

    fn statistics(values: &[f32]) -> Statistics {
        let layout = TensorLayout::new(DType::F32, &[values.len()]).unwrap();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Statistics::of(TensorView::new(&layout, &bytes).unwrap())
    }

    /// A value for each index, without a pattern, and farther from zero than they are spread.
    fn values(len: u32) -> Vec<f32> {
        let value = |at: u32| f32::from(at.wrapping_mul(2_654_435_761).to_be_bytes()[0]);
        (0..len).map(|at| 1000.0 + value(at) * value(at) / 4096.0).collect()
    }

    #[test]
    fn runs_give_together_what_all_values_give() {
        for len in [1, 2, 7, 32_768, 100_003] {
            let values: Vec<f64> = values(len).into_iter().map(f64::from).collect();
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            let moment =
                |power| values.iter().map(|value| (value - mean).powi(power)).sum::<f64>() / n;
            let found = statistics(&self::values(len));
            let close = |found: Option<f64>, expected: f64| {
                (found.unwrap() - expected).abs() <= 1e-9 * expected.abs().max(1.0)
            };
            assert!(close(found.mean, mean), "{len}: mean {found:?}");
            assert!(close(found.std, moment(2).sqrt()), "{len}: std {found:?}");
            if len > 1 {
                let skewness = moment(3) / moment(2).powf(1.5);
                assert!(close(found.skewness, skewness), "{len}: {skewness}, {found:?}");
                let kurtosis = moment(4) / moment(2).powi(2) - 3.0;
                assert!(close(found.kurtosis, kurtosis), "{len}: {kurtosis}, {found:?}");
            }
            let [min, max] = [f64::min, f64::max].map(|f| values.iter().copied().reduce(f));
            assert_eq!((found.min, found.max), (min.map(Figure::Float), max.map(Figure::Float)));
            assert_eq!(found.count, u64::from(len));
        }
    }

    #[test]
    fn what_is_not_finite_is_counted_and_left_out() {
        let found = statistics(&[1.0, f32::NAN, 0.0, f32::INFINITY, -3.0, f32::NEG_INFINITY]);
        assert_eq!((found.count, found.nan, found.inf, found.zeros), (6, 1, 2, 1));
        assert_eq!((found.min, found.max), (Some(Figure::Float(-3.0)), Some(Figure::Float(1.0))));
        assert!((found.mean.unwrap() + 2.0 / 3.0).abs() < 1e-12);
        assert!(found.left_out().is_some());
        let none = statistics(&[f32::NAN]);
        assert_eq!((none.min, none.mean, none.std, none.kurtosis), (None, None, None, None));
        assert_eq!(none.line(), "min=undefined max=undefined mean=undefined std=undefined");
    }

    #[test]
    fn a_constant_has_no_shape() {
        let found = statistics(&[0.1; 1000]);
        assert_eq!((found.skewness, found.kurtosis), (None, None));
        assert!(found.std.unwrap() < 1e-9, "{found:?}");
        let empty = statistics(&[]);
        assert_eq!((empty.count, empty.min), (0, None));
    }

    #[test]
    fn entropy_counts_bars() {
        assert_eq!(entropy(&[5, 0, 0]), 0.0);
        assert!(entropy(&[5]).is_sign_positive());
        assert_eq!(entropy(&[1, 1, 1, 1]), 2.0);
        assert_eq!((bin(-1.0, -1.0, 1.0), bin(1.0, -1.0, 1.0), bin(0.0, -1.0, 1.0)), (0, 255, 128));
        assert_eq!(bin(3.0, 3.0, 3.0), 0);
    }
}
