//! The weighted mean (Wortsman et al. 2022, "Model soups", arXiv 2203.05482).

use crate::Error;
use crate::source::{Compute, Source};
use std::ops::Range;

/// Σ wᵢ·xᵢ, summed in double precision in the order of the models.
pub(super) struct Linear {
    models: Vec<Source>,
    weights: Vec<f64>,
}

impl Linear {
    /// `weights` sum to one.
    pub(super) const fn new(models: Vec<Source>, weights: Vec<f64>) -> Self {
        Self { models, weights }
    }
}

impl Compute for Linear {
    fn sources(&self) -> Vec<&Source> {
        self.models.iter().collect()
    }

    fn rows(&self, rows: Range<usize>) -> Result<Vec<f32>, Error> {
        let mut sums = Vec::new();
        for (model, weight) in self.models.iter().zip(&self.weights) {
            let values = model.read(rows.clone())?;
            sums.resize(values.len(), 0.0);
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += weight * f64::from(value);
            }
        }
        Ok(sums.into_iter().map(single).collect())
    }
}

/// The nearest single.
#[allow(clippy::cast_possible_truncation, reason = "rounding to the nearest is what is wanted")]
pub(super) const fn single(value: f64) -> f32 {
    value as f32
}
