//! Tensors of two files, compared by value.

use crate::source::Source;
use crate::{Checkpoint, Error, Progress, Step, units};
use apr_model::{Census, Form, TensorRole};
use apr_tensor::DType;
use rayon::prelude::*;
use std::ops::Range;

/// Values of a row that are looked at together.
const RUN: usize = 32;
/// Of the mean square of a row: runs with less are compared with this, lest rounding of next to
/// nothing counts as damage.
const LEAST_SHARE: f64 = 0.01;

/// A tensor in both files.
struct Pair {
    name: String,
    role: TensorRole,
    layer: Option<usize>,
    found: Source,
    expected: Source,
}

/// Every tensor in both files.
pub(super) struct Tensors(Vec<Pair>);

/// How far a tensor is from the reference's.
#[derive(Debug, Clone)]
pub(super) struct Difference {
    /// Name in the file.
    pub(super) name: String,
    pub(super) role: TensorRole,
    pub(super) layer: Option<usize>,
    /// Types in both files.
    pub(super) dtypes: (DType, DType),
    /// |found − expected| / |expected| over all values.
    pub(super) relative: f64,
    /// The same over the 32 values of a row that depart most.
    pub(super) worst_run: f64,
    /// Where those are: row and first column, as the decoder sees the matrix.
    pub(super) worst_at: [usize; 2],
    /// A value that is not finite, and where.
    pub(super) not_finite: Option<String>,
}

impl Tensors {
    pub(super) fn new(
        (checkpoint, census): (&Checkpoint, &Census),
        (against, reference): (&Checkpoint, &Census),
    ) -> Result<Self, Error> {
        let pairs = census.tensors.iter().zip(&reference.tensors).map(|(placed, expected)| {
            let source = |checkpoint: &Checkpoint, placed| {
                Source::new(checkpoint.container(), placed, Form::CANONICAL, checkpoint.path())
            };
            Ok(Pair {
                name: placed.source().to_owned(),
                role: placed.role,
                layer: placed.layer,
                found: source(checkpoint, placed)?,
                expected: source(against, expected)?,
            })
        });
        pairs.collect::<Result<_, Error>>().map(Self)
    }

    pub(super) fn compare(&self, progress: &dyn Progress) -> Result<Vec<Difference>, Error> {
        let elems = |pair: &Pair| {
            let (rows, cols) = pair.found.rows_and_cols();
            units::size(rows * cols)
        };
        progress.begin(Step::Compare, self.0.iter().map(elems).sum());
        let compared = self.0.iter().map(|pair| {
            let difference = pair.difference();
            progress.advance(elems(pair));
            difference
        });
        let compared = compared.collect();
        progress.end();
        compared
    }
}

/// What a range of rows tells.
#[derive(Clone, Copy, Default)]
struct Sums {
    error: f64,
    expected: f64,
    worst_run: f64,
    worst_at: [usize; 2],
}

impl Pair {
    fn difference(&self) -> Result<Difference, Error> {
        // Matrices that lie the other way round are read in whole blocks of theirs.
        let by = if self.expected.transposed() { &self.expected } else { &self.found };
        let sums: Result<Vec<Sums>, Error> = by.chunks().map(|rows| self.sums(rows)).collect();
        let mut difference = Difference {
            name: self.name.clone(),
            role: self.role,
            layer: self.layer,
            dtypes: (self.found.dtype(), self.expected.dtype()),
            relative: f64::INFINITY,
            worst_run: f64::INFINITY,
            worst_at: [0, 0],
            not_finite: None,
        };
        match sums {
            Ok(sums) => {
                let total = sums.into_iter().fold(Sums::default(), Sums::and);
                difference.relative = share(total.error, total.expected);
                difference.worst_run = total.worst_run;
                difference.worst_at = total.worst_at;
            }
            Err(Error::NotFinite { path, index, value, .. }) if path == self.found.path() => {
                difference.not_finite = Some(format!("element {index:?} is {value}"));
            }
            Err(error) => return Err(error),
        }
        Ok(difference)
    }

    fn sums(&self, rows: Range<usize>) -> Result<Sums, Error> {
        let (_, cols) = self.found.rows_and_cols();
        let (found, expected) = (self.found.read(rows.clone())?, self.expected.read(rows.clone())?);
        let mut sums = Sums::default();
        let pairs = found.chunks(cols.max(1)).zip(expected.chunks(cols.max(1)));
        for (row, (found, expected)) in rows.zip(pairs) {
            let of_row = squares(expected.iter().map(|x| f64::from(*x)));
            sums.expected += of_row;
            let least = LEAST_SHARE * of_row / expected.len() as f64;
            for (at, (found, expected)) in found.chunks(RUN).zip(expected.chunks(RUN)).enumerate() {
                let pairs = found.iter().zip(expected);
                let error = squares(pairs.map(|(a, b)| f64::from(*a) - f64::from(*b)));
                let of_run = squares(expected.iter().map(|x| f64::from(*x)));
                sums.error += error;
                let run = share(error, of_run.max(least * expected.len() as f64));
                if run > sums.worst_run {
                    (sums.worst_run, sums.worst_at) = (run, [row, at * RUN]);
                }
            }
        }
        Ok(sums)
    }
}

impl Sums {
    fn and(self, next: Self) -> Self {
        let worst = if next.worst_run > self.worst_run { next } else { self };
        Self { error: self.error + next.error, expected: self.expected + next.expected, ..worst }
    }
}

fn squares(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|x| x * x).sum()
}

/// The root of error over expected; all of it where nothing was expected.
fn share(error: f64, expected: f64) -> f64 {
    match error {
        0.0 => 0.0,
        _ if expected == 0.0 => 1.0,
        _ => (error / expected).sqrt(),
    }
}
