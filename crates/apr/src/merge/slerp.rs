//! Spherical linear interpolation (Shoemake 1985, "Animating rotation with quaternion curves") of
//! whole tensors, taken as vectors.

use super::linear::Linear;
use crate::Error;
use crate::source::{Compute, Source};
use rayon::prelude::*;
use std::ops::Range;

/// Vectors whose sine is smaller are taken for parallel: the mean is as good there, and in the
/// case of opposite ones the only answer.
const PARALLEL: f64 = 1e-6;

/// sin((1−t)·θ)/sin θ · a + sin(t·θ)/sin θ · b, where θ is the angle between a and b.
pub(super) struct Slerp(Linear);

impl Slerp {
    /// # Errors
    /// When a tensor cannot be read.
    pub(super) fn new(models: Vec<Source>, t: f64) -> Result<Self, Error> {
        let angle = match &models[..] {
            [a, b] => angle(a, b)?,
            _ => 0.0,
        };
        let sine = angle.sin();
        let weights = if sine < PARALLEL {
            vec![1.0 - t, t]
        } else {
            vec![((1.0 - t) * angle).sin() / sine, (t * angle).sin() / sine]
        };
        Ok(Self(Linear::new(models, weights)))
    }
}

/// The angle between two tensors; 0 if one of them is zero.
fn angle(a: &Source, b: &Source) -> Result<f64, Error> {
    let products = |rows: Range<usize>| {
        let (a, b) = (a.read(rows.clone())?, b.read(rows)?);
        let mut sums = [0.0; 3];
        for (a, b) in a.into_iter().zip(b) {
            let (a, b) = (f64::from(a), f64::from(b));
            sums = [sums[0] + a * a, sums[1] + b * b, sums[2] + a * b];
        }
        Ok(sums)
    };
    // One after the other, so that the sums do not depend on the number of threads.
    let chunks: Vec<Result<[f64; 3], Error>> = a.chunks().map(products).collect();
    let mut total = [0.0; 3];
    for sums in chunks {
        total.iter_mut().zip(sums?).for_each(|(total, sum)| *total += sum);
    }
    let [aa, bb, ab] = total;
    let length = (aa * bb).sqrt();
    Ok(if length > 0.0 { (ab / length).clamp(-1.0, 1.0).acos() } else { 0.0 })
}

impl Compute for Slerp {
    fn sources(&self) -> Vec<&Source> {
        self.0.sources()
    }

    fn rows(&self, rows: Range<usize>) -> Result<Vec<f32>, Error> {
        self.0.rows(rows)
    }
}
