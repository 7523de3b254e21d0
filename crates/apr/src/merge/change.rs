//! What models changed in the one that they were made from: their task vectors (Ilharco et al.
//! 2022, arXiv 2212.04089).

use super::linear::single;
use crate::Error;
use crate::source::Source;
use std::ops::Range;

/// What a model changed in the base, rounded to single precision.
pub(super) fn changes(model: &Source, base: &[f32], rows: Range<usize>) -> Result<Vec<f32>, Error> {
    let values = model.read(rows)?;
    Ok(values.into_iter().zip(base).map(|(value, base)| value - base).collect())
}

/// base + change, rounded once.
pub(super) fn add(base: &[f32], changes: impl Iterator<Item = f64>) -> Vec<f32> {
    base.iter().zip(changes).map(|(base, change)| single(f64::from(*base) + change)).collect()
}
