//! TIES (Yadav et al. 2023, arXiv 2306.01708): trim, elect a sign, mean of those that have it.

use super::change::{add, changes};
use crate::Error;
use crate::magnitude::{ranked, share_of};
use crate::source::{Compute, Source};
use std::ops::Range;

/// base + Σ wᵢ·τᵢ / Σ wᵢ over the models whose trimmed change τᵢ has the sign of Σ wᵢ·τᵢ.
pub(super) struct Ties {
    base: Source,
    models: Vec<Source>,
    weights: Vec<f64>,
    /// For each model, the smallest magnitude that is kept; none keeps nothing.
    thresholds: Vec<Option<f32>>,
}

impl Ties {
    /// # Errors
    /// When a tensor cannot be read.
    pub(super) fn new(
        base: Source,
        models: Vec<Source>,
        weights: Vec<f64>,
        density: f64,
    ) -> Result<Self, Error> {
        let (rows, cols) = base.rows_and_cols();
        let count = rows * cols;
        let kept = share_of(density, count);
        let threshold = |model: &Source| {
            let values = |rows: Range<usize>| changes(model, &base.read(rows.clone())?, rows);
            let ranked = (kept > 0).then(|| ranked(&base, count - kept, values)).transpose()?;
            Ok(ranked.map(|ranked| ranked.magnitude))
        };
        let thresholds = models.iter().map(threshold).collect::<Result<_, Error>>()?;
        Ok(Self { base, models, weights, thresholds })
    }
}

impl Compute for Ties {
    fn sources(&self) -> Vec<&Source> {
        self.models.iter().chain([&self.base]).collect()
    }

    fn rows(&self, rows: Range<usize>) -> Result<Vec<f32>, Error> {
        let base = self.base.read(rows.clone())?;
        let mut trimmed = Vec::new();
        for ((model, weight), threshold) in
            self.models.iter().zip(&self.weights).zip(&self.thresholds)
        {
            let keep = |change: f32| threshold.is_some_and(|least| change.abs() >= least);
            let changes = changes(model, &base, rows.clone())?.into_iter();
            let kept = changes.map(|change| if keep(change) { f64::from(change) } else { 0.0 });
            trimmed.push((*weight, kept.collect::<Vec<f64>>()));
        }
        let merged = (0..base.len()).map(|at| agreed(trimmed.iter().map(|(w, of)| (*w, of[at]))));
        Ok(add(&base, merged))
    }
}

/// The weighted mean of the changes that have the sign of their weighted sum; 0 if it has none.
fn agreed(changes: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let elected: f64 = changes.clone().map(|(weight, change)| weight * change).sum();
    let (mut sum, mut weights) = (0.0, 0.0);
    for (weight, change) in changes.filter(|(_, change)| change * elected > 0.0) {
        sum += weight * change;
        weights += weight;
    }
    if weights > 0.0 { sum / weights } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_majority_by_weight_decides_the_sign() {
        for (changes, expected) in [
            (&[(0.5, 2.0), (0.5, -1.0)][..], 2.0),
            (&[(0.25, 2.0), (0.75, -1.0)], -1.0),
            (&[(0.5, 1.0), (0.5, -1.0)], 0.0),
            (&[(0.2, 3.0), (0.6, 1.0), (0.2, 0.0)], 1.5),
            (&[(0.5, 0.0), (0.5, 0.0)], 0.0),
        ] {
            assert!((agreed(changes.iter().copied()) - expected).abs() < 1e-12, "{changes:?}");
        }
    }
}
