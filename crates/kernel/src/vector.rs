//! Operations on vectors of activations: the safe face of the table's functions, and the portable
//! ones.
#![allow(unsafe_code, reason = "kernels are compiled for instruction sets that must be detected")]

use crate::Kernels;
use crate::attention::{RUN, Strided, Weights};

/// √(2/π), of the approximation of GELU with a hyperbolic tangent.
pub(crate) const SQRT_2_OVER_PI: f32 = 0.797_884_6;
/// The factor of the cube in it.
pub(crate) const GELU_CUBE: f32 = 0.044_715;

impl Kernels {
    /// Exponentials that sum to one, in place.
    pub fn softmax(&self, row: &mut [f32]) {
        let max = self.max(row);
        let sum = self.exp_sum(row, max);
        row.iter_mut().for_each(|x| *x /= sum);
    }

    /// `x[i] = x[i] / (1 + exp(-x[i]))`.
    pub fn silu(&self, x: &mut [f32]) {
        // SAFETY: the table was handed out after its instruction set was detected.
        unsafe { (self.silu)(x) }
    }

    /// GELU by its approximation with a hyperbolic tangent, in place:
    /// `x[i] * (1 + tanh(√(2/π) (x[i] + 0.044715 x[i]³))) / 2`.
    pub fn gelu_tanh(&self, x: &mut [f32]) {
        // SAFETY: the table was handed out after its instruction set was detected.
        unsafe { (self.gelu_tanh)(x) }
    }

    /// The largest element, negative infinity if there is none.
    pub(crate) fn max(&self, x: &[f32]) -> f32 {
        // SAFETY: the table was handed out after its instruction set was detected.
        unsafe { (self.max)(x) }
    }

    /// `x[i] = exp(x[i] - max)`, and the sum of these.
    pub(crate) fn exp_sum(&self, x: &mut [f32], max: f32) -> f32 {
        // SAFETY: the table was handed out after its instruction set was detected.
        unsafe { (self.exp_sum)(x, max) }
    }
}

pub(crate) fn silu(x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x /= 1.0 + (-*x).exp());
}

/// As a logistic function: `(1 + tanh(u)) / 2 = 1 / (1 + exp(-2u))`.
pub(crate) fn gelu_tanh(x: &mut [f32]) {
    for x in x {
        let inner = SQRT_2_OVER_PI * (*x + GELU_CUBE * *x * *x * *x);
        *x /= 1.0 + (-2.0 * inner).exp();
    }
}

pub(crate) fn max(x: &[f32]) -> f32 {
    x.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

pub(crate) fn exp_sum(x: &mut [f32], max: f32) -> f32 {
    x.iter_mut()
        .map(|x| {
            *x = (*x - max).exp();
            *x
        })
        .sum()
}

pub(crate) fn transpose(rows: Strided<'_>, count: usize, out: &mut [f32]) {
    let elems = out.len() / RUN;
    for p in 0..count {
        let row = rows.row(p, elems).iter();
        out.chunks_exact_mut(RUN).zip(row).for_each(|(out, x)| out[p] = *x);
    }
}

pub(crate) fn add_weighted(weights: Weights<'_>, rows: Strided<'_>, out: &mut [f32]) {
    let queries = weights.data.rows();
    let len = out.len() / queries.len();
    for (query, out) in queries.zip(out.chunks_exact_mut(len)) {
        for p in weights.rows.clone() {
            let row = rows.row(p, len);
            out.iter_mut().zip(row).for_each(|(out, x)| *out += query[p] * x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::Xorshift;

    /// Asserts that a function of one number is within 4 units in the last place of what double
    /// precision gives, or negligibly far from it.
    fn check(
        (name, negligible): (&str, f64),
        found: impl Fn(&Kernels, &mut [f32]),
        exact: impl Fn(f64) -> f64,
    ) {
        let mut random = Xorshift::new(31);
        let mut inputs: Vec<f32> = [1e-3, 1.0, 10.0, 80.0, 200.0]
            .into_iter()
            .flat_map(|size| random.floats(203).into_iter().map(move |x| x * size))
            .collect();
        inputs.extend([0.0, -0.0, 1e-40, -1e-40, 88.0, -88.0, -87.4, -104.0, f32::MIN_POSITIVE]);
        for table in Kernels::available() {
            for len in [1, 7, 8, 9, inputs.len()] {
                let mut out = inputs[..len].to_vec();
                found(table, &mut out);
                for (&x, &found) in inputs.iter().zip(&out) {
                    let exact = exact(f64::from(x));
                    let bound = exact.abs() * 4.0 * f64::from(f32::EPSILON);
                    let error = (f64::from(found) - exact).abs();
                    assert!(
                        error <= bound + negligible || f64::from(found) == exact,
                        "{} {name}({x}): {found} is not {exact}",
                        table.name()
                    );
                }
            }
            let mut bad = [f32::NAN; 9];
            found(table, &mut bad);
            assert!(bad.iter().all(|x| x.is_nan()), "{} {name}", table.name());
        }
    }

    #[test]
    fn exponentials_are_those_of_double_precision() {
        let exp = |x: f64| if x > 88.722 { f64::INFINITY } else { x.exp() };
        let found = |table: &Kernels, x: &mut [f32]| {
            table.exp_sum(x, 0.0);
        };
        check(("exp", f64::from(f32::MIN_POSITIVE)), found, exp);
    }

    /// Where the exponential overflows, the result is zero instead of up to 89 / `f32::MAX`.
    #[test]
    fn activations_are_those_of_double_precision() {
        check(("silu", 3e-37), Kernels::silu, |x| x / (1.0 + (-x).exp()));
    }

    /// `exp(-2u)` is off by the rounding of `u`, up to 2u units.
    #[test]
    fn gelu_is_that_of_double_precision() {
        let mut random = Xorshift::new(32);
        for table in Kernels::available() {
            let inputs: Vec<_> = random.floats(1001).iter().map(|x| x * 8.0).collect();
            let mut out = inputs.clone();
            table.gelu_tanh(&mut out);
            for (&x, &found) in inputs.iter().zip(&out) {
                let x = f64::from(x);
                let inner = f64::from(SQRT_2_OVER_PI) * (x + f64::from(GELU_CUBE) * x.powi(3));
                let exact = 0.5 * x * (1.0 + inner.tanh());
                let bound = exact.abs() * (4.0 + 4.0 * inner.abs()) * f64::from(f32::EPSILON);
                assert!((f64::from(found) - exact).abs() <= bound + 1e-9, "{x}: {found} {exact}");
            }
        }
    }

    #[test]
    fn softmax_sums_to_one() {
        let mut random = Xorshift::new(33);
        for table in Kernels::available() {
            for len in [1, 2, 7, 8, 9, 300] {
                let mut row: Vec<_> = random.floats(len).iter().map(|x| x * 30.0).collect();
                let before = row.clone();
                let max = max(&before);
                assert_eq!(table.max(&before), max);
                table.softmax(&mut row);
                let sum: f64 = before.iter().map(|x| f64::from(x - max).exp()).sum();
                for (x, found) in before.iter().zip(&row) {
                    let exact = f64::from(x - max).exp() / sum;
                    assert!((f64::from(*found) - exact).abs() <= 3e-6 * exact + 1e-38);
                }
            }
            let mut row = [1000.0, 1000.0, -1000.0];
            table.softmax(&mut row);
            assert_eq!(row, [0.5, 0.5, 0.0]);
            table.softmax(&mut []);
        }
    }
}
