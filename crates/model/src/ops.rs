//! The small operations between matrix products, each on one row.

use crate::RopeConfig;
use crate::arch::{Activation, Norm, RowOrder};
use apr_kernel::Kernels;

/// Normalises a row, in place; it has the length of `weight`, which has its one added.
pub(crate) fn norm(
    norm: Norm,
    eps: f32,
    (weight, bias): (&[f32], Option<&[f32]>),
    row: &mut [f32],
) {
    let count = row.len() as f32;
    let mean = match norm {
        Norm::Rms | Norm::RmsPlusOne => 0.0,
        Norm::Layer => sum(row, |x| x) / count,
    };
    let variance = sum(row, |x| (x - mean) * (x - mean)) / count;
    let scale = 1.0 / (variance + eps).sqrt();
    for (x, weight) in row.iter_mut().zip(weight) {
        *x = (*x - mean) * scale * weight;
    }
    if let Some(bias) = bias {
        add(row, bias);
    }
}

/// The sum of `f` of each element, in sixteen parts, so that it can be computed by vectors.
fn sum(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; 16];
    let (whole, rest) = row.as_chunks::<16>();
    for elements in whole {
        lanes.iter_mut().zip(elements).for_each(|(lane, x)| *lane += f(*x));
    }
    lanes.iter_mut().zip(rest).for_each(|(lane, x)| *lane += f(*x));
    lanes.iter().sum()
}

/// `out += x`.
pub(crate) fn add(out: &mut [f32], x: &[f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out += x;
    }
}

/// `out *= x`.
pub(crate) fn multiply(out: &mut [f32], x: &[f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out *= x;
    }
}

/// Exponentials that sum to one.
pub(crate) fn softmax(row: &mut [f32]) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for x in row.iter_mut() {
        *x = (*x - max).exp();
        sum += *x;
    }
    for x in row {
        *x /= sum;
    }
}

pub(crate) fn activate(kernels: &Kernels, activation: Activation, row: &mut [f32]) {
    match activation {
        Activation::Gelu => row.iter_mut().for_each(|x| {
            *x = 0.5 * *x * (1.0 + libm::erff(*x * std::f32::consts::FRAC_1_SQRT_2));
        }),
        Activation::Silu => kernels.silu(row),
        Activation::GeluTanh => kernels.gelu_tanh(row),
    }
}

/// `x` becomes `bound · tanh(x / bound)`.
pub(crate) fn softcap(bound: f32, row: &mut [f32]) {
    row.iter_mut().for_each(|x| *x = bound * (*x / bound).tanh());
}

/// The indices of the `count` largest values, the largest first; of equal ones the first.
pub(crate) fn largest(row: &[f32], count: usize) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..row.len()).collect();
    // The sort is stable, so that equal ones stay in order.
    indices.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
    indices.truncate(count);
    indices
}

/// Rotary position embedding: pairs of elements, rotated by an angle per pair and position.
#[derive(Debug, Clone)]
pub(crate) struct Rope {
    frequencies: Vec<f32>,
    amplitude: f32,
    order: RowOrder,
}

/// Cosine and sine of every angle of one position, times the amplitude.
pub(crate) struct Rotation {
    cos: Vec<f32>,
    sin: Vec<f32>,
    order: RowOrder,
}

impl Rope {
    /// For up to `positions` positions.
    pub(crate) fn new(config: &RopeConfig, positions: usize, order: RowOrder) -> Self {
        let (frequencies, amplitude) = (config.frequencies(positions), config.amplitude());
        Self { frequencies, amplitude, order }
    }

    pub(crate) fn at(&self, position: usize) -> Rotation {
        let angles = self.frequencies.iter().map(|frequency| {
            let (sin, cos) = (position as f32 * frequency).sin_cos();
            (cos * self.amplitude, sin * self.amplitude)
        });
        let (cos, sin) = angles.unzip();
        Rotation { cos, sin, order: self.order }
    }
}

impl Rotation {
    /// Rotates the first elements of every head of a row of queries or keys.
    pub(crate) fn apply(&self, row: &mut [f32], head_dim: usize) {
        let rotate = |a: &mut f32, b: &mut f32, (cos, sin): (&f32, &f32)| {
            (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
        };
        let pairs = self.cos.len();
        for head in row.chunks_exact_mut(head_dim) {
            let head = &mut head[..2 * pairs];
            let angles = self.cos.iter().zip(&self.sin);
            if self.order == RowOrder::Neighbours {
                for ([a, b], angle) in head.as_chunks_mut::<2>().0.iter_mut().zip(angles) {
                    rotate(a, b, angle);
                }
            } else {
                let (first, second) = head.split_at_mut(pairs);
                for ((a, b), angle) in first.iter_mut().zip(second).zip(angles) {
                    rotate(a, b, angle);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RopeScaling;

    #[test]
    fn norms_of_a_small_row() {
        let mut row = [1.0, 3.0];
        norm(Norm::Rms, 0.0, (&[1.0, 2.0], None), &mut row);
        let rms = 5.0_f32.sqrt();
        assert_eq!(row, [1.0 / rms, 6.0 / rms]);
        let mut row = [1.0, 3.0];
        norm(Norm::Layer, 0.0, (&[1.0, 2.0], Some(&[0.0, 1.0])), &mut row);
        assert_eq!(row, [-1.0, 3.0]);
    }

    #[test]
    fn sums_have_every_element_once() {
        for len in [0, 1, 15, 16, 17, 40] {
            let row: Vec<f32> = (1..=len).map(|x| x as f32).collect();
            assert_eq!(sum(&row, |x| 2.0 * x), (len * (len + 1)) as f32);
        }
    }

    #[test]
    fn softmax_of_large_scores_is_finite() {
        let mut row = [1000.0, 1000.0, -1000.0];
        softmax(&mut row);
        assert_eq!(row, [0.5, 0.5, 0.0]);
    }

    /// Values of `torch.nn.functional.silu`, `gelu` and `gelu(approximate="tanh")` at 1 and −2.
    #[test]
    fn activations_have_the_reference_values() {
        let close = |found: f32, expected: f32| assert!((found - expected).abs() < 1e-6, "{found}");
        let mut row = [1.0, -2.0];
        activate(Kernels::best(), Activation::Silu, &mut row);
        close(row[0], 0.731_058_6);
        close(row[1], -0.238_405_84);
        let mut row = [1.0, -2.0];
        activate(Kernels::best(), Activation::Gelu, &mut row);
        close(row[0], 0.841_344_8);
        close(row[1], -0.045_500_25);
        let mut row = [1.0, -2.0];
        activate(Kernels::best(), Activation::GeluTanh, &mut row);
        close(row[0], 0.841_192);
        close(row[1], -0.045_402_3);
    }

    #[test]
    fn of_equal_values_the_first_are_taken() {
        assert_eq!(largest(&[1.0, 3.0, 3.0, 2.0, 3.0], 2), [1, 2]);
        assert_eq!(largest(&[0.5; 4], 3), [0, 1, 2]);
    }

    #[test]
    fn rotation_keeps_lengths_and_position_zero() {
        let config = RopeConfig { theta: 10_000.0, dims: 4, scaling: RopeScaling::None };
        let rope = Rope::new(&config, 8, RowOrder::Halves);
        let mut row = [1.0, 2.0, 3.0, 4.0];
        rope.at(0).apply(&mut row, 4);
        assert_eq!(row, [1.0, 2.0, 3.0, 4.0]);
        rope.at(7).apply(&mut row, 4);
        assert!((row[0] * row[0] + row[2] * row[2] - 10.0).abs() < 1e-5);
        assert!((row[0] - (7.0_f32.cos() - 3.0 * 7.0_f32.sin())).abs() < 1e-5);
        // The same pairs, side by side.
        let mut neighbours = [1.0, 3.0, 2.0, 4.0];
        Rope::new(&config, 8, RowOrder::Neighbours).at(7).apply(&mut neighbours, 4);
        assert_eq!(neighbours, [row[0], row[2], row[1], row[3]]);
    }
}
