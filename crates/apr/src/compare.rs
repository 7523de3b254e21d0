//! Tensors of two files, compared by value: the one engine of every verb that does so.

mod distance;
mod matching;
mod typical;

pub(crate) use distance::Distance;
pub use distance::ValueDifference;
pub(crate) use matching::{Match, MatchedBy, Matching, Place};
pub(crate) use typical::{Typical, median};

use crate::source::Source;
use crate::{Error, Progress, Step, units};
use apr_model::TensorRole;
use apr_tensor::DType;
use rayon::prelude::*;
use std::ops::Range;

/// A tensor in both files, in one orientation and order.
pub(crate) struct Pair {
    /// What it is called in reports.
    pub(crate) name: String,
    /// What it is for, if that is known.
    pub(crate) role: Option<TensorRole>,
    /// Its layer, if it is in one.
    pub(crate) layer: Option<usize>,
    /// The tensor that is looked at.
    pub(crate) found: Source,
    /// The one that it is held against.
    pub(crate) expected: Source,
}

/// How far a tensor is from the reference's.
#[derive(Debug, Clone)]
pub(crate) struct Difference {
    /// What it is called in reports.
    pub(crate) name: String,
    /// What it is for, if that is known.
    pub(crate) role: Option<TensorRole>,
    /// Its layer, if it is in one.
    pub(crate) layer: Option<usize>,
    /// Types in both files.
    pub(crate) dtypes: (DType, DType),
    /// The figures.
    pub(crate) distance: Distance,
}

/// Compares pairs one after the other, each by all threads.
///
/// # Errors
/// When one cannot be read.
pub(crate) fn compare(pairs: &[Pair], progress: &dyn Progress) -> Result<Vec<Difference>, Error> {
    progress.begin(Step::Compare, pairs.iter().map(Pair::elem_count).sum());
    let compared = pairs.iter().map(|pair| {
        let difference = pair.difference();
        progress.advance(pair.elem_count());
        difference
    });
    let compared = compared.collect();
    progress.end();
    compared
}

impl Pair {
    fn elem_count(&self) -> u64 {
        let (rows, cols) = self.found.rows_and_cols();
        units::size(rows.saturating_mul(cols))
    }

    fn difference(&self) -> Result<Difference, Error> {
        Ok(Difference {
            name: self.name.clone(),
            role: self.role,
            layer: self.layer,
            dtypes: (self.found.dtype(), self.expected.dtype()),
            distance: self.distance()?,
        })
    }

    fn distance(&self) -> Result<Distance, Error> {
        if self.found.has_bytes_of(&self.expected) {
            return Ok(Distance::none(self.elem_count()));
        }
        if let (Some(found), Some(expected)) = (self.found.stored(), self.expected.stored())
            && (found.dtype().is_wide() || expected.dtype().is_wide())
        {
            return Ok(Distance::of_numbers(found, expected));
        }
        // Matrices that lie the other way round are read in whole blocks of theirs.
        let by = if self.expected.transposed() { &self.expected } else { &self.found };
        // In the order of the tensor, whichever thread is done first.
        let parts: Vec<Result<Distance, Error>> = by.chunks().map(|rows| self.rows(rows)).collect();
        parts.into_iter().try_fold(Distance::default(), |sum, part| Ok(sum.and(part?)))
    }

    fn rows(&self, rows: Range<usize>) -> Result<Distance, Error> {
        let (_, cols) = self.found.rows_and_cols();
        let (found, expected) = (self.found.values(&rows)?, self.expected.values(&rows)?);
        Ok(Distance::of_rows(rows.start, cols, &found, &expected))
    }
}
