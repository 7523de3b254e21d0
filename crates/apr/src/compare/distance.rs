//! How far values are from others.

use crate::exact::{Number, numbers};
use crate::units;
use apr_kernel::{Kernels, Task};
use apr_tensor::TensorView;
use schemars::JsonSchema;
use serde::Serialize;

/// Values of a row that are looked at together.
const RUN: usize = 32;
/// Of the mean square of a row: runs with less are compared with this, lest rounding of next to
/// nothing counts as damage.
const LEAST_SHARE: f64 = 0.01;
/// Values that are summed side by side.
const LANES: usize = 8;

/// How the values of a tensor differ from another's. Only pairs of finite values are measured.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct ValueDifference {
    /// The largest |a − b|.
    pub max_abs: f64,
    /// Where that is: row and column in the first file, all dimensions but the last in one.
    pub max_at: [usize; 2],
    /// Root of the mean of (a − b)².
    pub rms: f64,
    /// |a − b| / |b| over all values: 0 where they are the same, 1 where b is zero and a is not.
    pub relative: f64,
    /// a · b / (|a| |b|); none where one of them is zero.
    pub cosine: Option<f64>,
    /// Number of values that differ.
    pub differing: u64,
    /// Number of those of which one is NaN or infinite.
    pub not_finite: u64,
}

/// Sums over pairs of values.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Distance {
    /// Pairs.
    pub(crate) count: u64,
    /// Pairs that are not the same number.
    pub(crate) differing: u64,
    /// Of these, those of which one is not finite; no other figure counts them.
    pub(crate) not_finite: u64,
    max_abs: f64,
    max_at: [usize; 2],
    /// Sums of squares: of the differences, of the values, of the reference's values.
    error: f64,
    found: f64,
    expected: f64,
    /// Sum of products.
    product: f64,
    /// |found − expected| / |expected| over the 32 values of a row that depart most.
    pub(crate) worst_run: f64,
    /// Where these begin: row and column.
    pub(crate) worst_at: [usize; 2],
}

impl Distance {
    /// Of values that are all the same.
    pub(super) fn none(count: u64) -> Self {
        Self { count, ..Self::default() }
    }

    /// Of rows of `cols` values, the first of which has the number `first`.
    pub(super) fn of_rows(first: usize, cols: usize, found: &[f32], expected: &[f32]) -> Self {
        Kernels::best().run(Rows { first, cols, found, expected })
    }

    /// Of numbers that single precision cannot hold.
    pub(super) fn of_numbers(found: TensorView<'_>, expected: TensorView<'_>) -> Self {
        let cols = found.layout().row_elems().max(1);
        let mut sum = Self::default();
        for (at, (a, b)) in numbers(found).zip(numbers(expected)).enumerate() {
            sum.add(a, b, [at / cols, at % cols]);
        }
        sum.worst_run = sum.relative();
        sum
    }

    fn add(&mut self, a: Number, b: Number, at: [usize; 2]) {
        self.count += 1;
        if a.is_same(b) {
            let size = a.to_f64();
            if size.is_finite() {
                self.square(size, size, 0.0, at);
            }
            return;
        }
        self.differing += 1;
        let (x, y, error) = (a.to_f64(), b.to_f64(), a.minus(b));
        if x.is_finite() && y.is_finite() {
            self.square(x, y, error, at);
        } else {
            self.not_finite += 1;
        }
    }

    fn square(&mut self, found: f64, expected: f64, error: f64, at: [usize; 2]) {
        self.error += error * error;
        self.found += found * found;
        self.expected += expected * expected;
        self.product += found * expected;
        if error.abs() > self.max_abs {
            (self.max_abs, self.max_at) = (error.abs(), at);
        }
    }

    /// Both together; `next` comes later in the tensor.
    pub(super) fn and(self, next: Self) -> Self {
        let later_max = next.max_abs > self.max_abs;
        let later_run = next.worst_run > self.worst_run;
        Self {
            count: self.count + next.count,
            differing: self.differing + next.differing,
            not_finite: self.not_finite + next.not_finite,
            max_abs: if later_max { next.max_abs } else { self.max_abs },
            max_at: if later_max { next.max_at } else { self.max_at },
            error: self.error + next.error,
            found: self.found + next.found,
            expected: self.expected + next.expected,
            product: self.product + next.product,
            worst_run: if later_run { next.worst_run } else { self.worst_run },
            worst_at: if later_run { next.worst_at } else { self.worst_at },
        }
    }

    /// |found − expected| / |expected| over all finite values.
    pub(crate) fn relative(&self) -> f64 {
        share(self.error, self.expected)
    }

    /// Whether every value is the same.
    pub(crate) const fn is_none(&self) -> bool {
        self.differing == 0
    }

    /// The figures of it.
    pub(crate) fn values(&self) -> ValueDifference {
        let finite = self.count.saturating_sub(self.not_finite).max(1);
        let sizes = self.found.sqrt() * self.expected.sqrt();
        let cosine = (sizes > 0.0).then(|| (self.product / sizes).clamp(-1.0, 1.0));
        ValueDifference {
            max_abs: self.max_abs,
            max_at: self.max_at,
            rms: (self.error / finite as f64).sqrt(),
            relative: self.relative(),
            cosine: if self.is_none() { Some(1.0) } else { cosine },
            differing: self.differing,
            not_finite: self.not_finite,
        }
    }
}

/// The root of error over expected; all of it where nothing was expected.
fn share(error: f64, expected: f64) -> f64 {
    match error {
        0.0 => 0.0,
        _ if expected == 0.0 => 1.0,
        _ => (error / expected).sqrt(),
    }
}

/// Rows of values.
struct Rows<'a> {
    first: usize,
    cols: usize,
    found: &'a [f32],
    expected: &'a [f32],
}

impl Task for Rows<'_> {
    type Output = Distance;

    #[inline(always)]
    fn run(self) -> Distance {
        let cols = self.cols.max(1);
        let mut sum = Distance::default();
        let rows = self.found.chunks(cols).zip(self.expected.chunks(cols));
        for (row, (found, expected)) in rows.enumerate() {
            let runs = found.chunks(RUN).zip(expected.chunks(RUN));
            let runs = runs.enumerate().map(|(at, (found, expected))| {
                let at = [self.first + row, at * RUN];
                run_of(at, found, expected)
            });
            // The row is looked at as a whole before its runs are weighed.
            let of_row = mean_square(expected);
            for mut run in runs {
                let least = LEAST_SHARE * of_row * run.count as f64;
                run.worst_run = share(run.error, run.expected.max(least));
                sum = sum.and(run);
            }
        }
        sum
    }
}

#[inline(always)]
fn mean_square(values: &[f32]) -> f64 {
    let mut sums = [0.0; LANES];
    for values in values.chunks(LANES) {
        for (sum, value) in sums.iter_mut().zip(values) {
            let value = f64::from(*value);
            *sum += value * value;
        }
    }
    let mean = sums.iter().sum::<f64>() / values.len().max(1) as f64;
    if mean.is_finite() { mean } else { 0.0 }
}

/// The sums of a run, which begins at this place.
#[inline(always)]
fn run_of(at: [usize; 2], found: &[f32], expected: &[f32]) -> Distance {
    let [mut error, mut a, mut b, mut product, mut max] = [[0.0; LANES]; 5];
    let mut differing = [0_u64; LANES];
    for (found, expected) in found.chunks(LANES).zip(expected.chunks(LANES)) {
        for (lane, (found, expected)) in found.iter().zip(expected).enumerate() {
            let (x, y) = (f64::from(*found), f64::from(*expected));
            let difference = (x - y).abs();
            error[lane] += difference * difference;
            a[lane] += x * x;
            b[lane] += y * y;
            product[lane] += x * y;
            max[lane] = if difference > max[lane] { difference } else { max[lane] };
            differing[lane] += u64::from(x != y);
        }
    }
    let total = |lanes: [f64; LANES]| lanes.iter().sum::<f64>();
    let max_abs = max.into_iter().fold(0.0, f64::max);
    let mut run = Distance {
        count: units::size(found.len()),
        differing: differing.iter().sum(),
        max_abs,
        max_at: at,
        error: total(error),
        found: total(a),
        expected: total(b),
        product: total(product),
        worst_at: at,
        ..Distance::default()
    };
    // Squares of finite single-precision numbers do not overflow in double precision.
    if !(run.found + run.expected).is_finite() {
        return finite_run(at, found, expected);
    }
    if max_abs > 0.0 {
        let is_max = |(x, y): (&f32, &f32)| (f64::from(*x) - f64::from(*y)).abs() == max_abs;
        let within = found.iter().zip(expected).position(is_max).unwrap_or_default();
        run.max_at = [at[0], at[1] + within];
    }
    run
}

/// The same for a run with values that are not finite.
#[cold]
fn finite_run(at: [usize; 2], found: &[f32], expected: &[f32]) -> Distance {
    let mut run = Distance { worst_at: at, max_at: at, ..Distance::default() };
    for (within, (x, y)) in found.iter().zip(expected).enumerate() {
        let [x, y] = [x, y].map(|value| Number::Float(f64::from(*value)));
        run.add(x, y, [at[0], at[1] + within]);
    }
    run
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_their_definitions() {
        let expected: Vec<f32> = (0..83_u8).map(|x| f32::from(x) - 40.0).collect();
        let mut found = expected.clone();
        found[7] += 3.0;
        found[70] -= 4.0;
        for cols in [83, 41, 1] {
            let sum = Distance::of_rows(5, cols, &found, &expected);
            let figures = sum.values();
            let squares: f64 = expected.iter().map(|x| f64::from(*x).powi(2)).sum();
            assert_eq!((figures.max_abs, figures.differing, sum.count), (4.0, 2, 83));
            assert_eq!(figures.max_at, [5 + 70 / cols, 70 % cols]);
            assert!((figures.rms - (25.0 / 83.0_f64).sqrt()).abs() < 1e-12);
            assert!((figures.relative - (25.0 / squares).sqrt()).abs() < 1e-12);
            let product: f64 =
                found.iter().zip(&expected).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let own: f64 = found.iter().map(|x| f64::from(*x).powi(2)).sum();
            let cosine = product / (own.sqrt() * squares.sqrt());
            assert!((figures.cosine.unwrap() - cosine).abs() < 1e-12);
        }
    }

    #[test]
    fn what_is_not_finite_is_counted_and_not_measured() {
        let found = [1.0, f32::NAN, 3.0, f32::INFINITY, f32::NAN, 6.5];
        let expected = [1.0, 2.0, 3.0, f32::INFINITY, f32::NAN, 6.0];
        let figures = Distance::of_rows(0, 6, &found, &expected).values();
        assert_eq!((figures.differing, figures.not_finite), (2, 1));
        assert_eq!((figures.max_abs, figures.max_at), (0.5, [0, 5]));
        let zeros = Distance::of_rows(0, 2, &[0.0, 0.0], &[1.0, -1.0]).values();
        assert_eq!((zeros.relative, zeros.cosine), (1.0, None));
    }
}
