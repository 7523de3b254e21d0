//! The same figures of numbers that single precision does not hold.

use super::{BINS, Histogram, Statistics, bin, entropy};
use crate::exact::{Figure, Number, numbers};
use apr_tensor::TensorView;

/// What two passes over the values add up to. Distances are taken from the first finite value, so
/// that large integers close to each other keep their differences.
#[derive(Default)]
struct Sums {
    base: Option<Number>,
    count: u64,
    nan: u64,
    inf: u64,
    zeros: u64,
    range: Option<(Number, Number)>,
    sum: f64,
}

impl Sums {
    fn add(&mut self, number: Number) {
        self.count += 1;
        let value = number.to_f64();
        if !value.is_finite() {
            self.nan += u64::from(value.is_nan());
            self.inf += u64::from(value.is_infinite());
            return;
        }
        self.zeros += u64::from(value == 0.0);
        self.sum += number.minus(*self.base.get_or_insert(number));
        let (min, max) = self.range.unwrap_or((number, number));
        let smaller = |a: Number, b: Number| if a.minus(b) < 0.0 { a } else { b };
        let larger = |a: Number, b: Number| if a.minus(b) > 0.0 { a } else { b };
        self.range = Some((smaller(number, min), larger(number, max)));
    }
}

pub(super) fn statistics(view: TensorView<'_>) -> Statistics {
    let mut sums = Sums::default();
    numbers(view).for_each(|number| sums.add(number));
    let finite = sums.count - sums.nan - sums.inf;
    let n = finite as f64;
    let mean = if finite == 0 { 0.0 } else { sums.sum / n };
    let mut powers = [0.0; 3];
    for number in numbers(view).filter(|number| number.to_f64().is_finite()) {
        let distance = number.minus(sums.base.unwrap_or(number)) - mean;
        let square = distance * distance;
        powers[0] += square;
        powers[1] += square * distance;
        powers[2] += square * square;
    }
    let [second, third, fourth] = powers;
    let variance = second / n;
    let varies = second > 0.0;
    let base = sums.base.map(Number::to_f64);
    Statistics {
        count: sums.count,
        nan: sums.nan,
        inf: sums.inf,
        zeros: sums.zeros,
        min: sums.range.and_then(|(min, _)| Figure::of(min)),
        max: sums.range.and_then(|(_, max)| Figure::of(max)),
        mean: base.map(|base| base + mean),
        std: base.map(|_| variance.sqrt()),
        skewness: varies.then(|| third / n / variance.powf(1.5)),
        kurtosis: varies.then(|| fourth / n / (variance * variance) - 3.0),
    }
}

pub(super) fn histogram(view: TensorView<'_>, min: Figure, max: Figure) -> Histogram {
    let (min, max) = (min.number(), max.number());
    let mut bins = vec![0; BINS];
    for number in numbers(view).filter(|number| number.to_f64().is_finite()) {
        bins[bin(number.minus(min), 0.0, max.minus(min))] += 1;
    }
    Histogram { entropy: entropy(&bins), bins }
}
