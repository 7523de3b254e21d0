//! The tensors of the two files of a trace.

use crate::compare::{Difference, Pair, compare};
use crate::source::Source;
use crate::{Checkpoint, Error, Progress};
use apr_model::{Census, Form};

/// Every tensor in both files.
pub(super) struct Tensors(Vec<Pair>);

/// How far a tensor is from the reference's.
pub(super) struct Departure {
    /// The figures; the name is that in the file.
    pub(super) difference: Difference,
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
                role: Some(placed.role),
                layer: placed.layer,
                found: source(checkpoint, placed)?,
                expected: source(against, expected)?,
            })
        });
        pairs.collect::<Result<_, Error>>().map(Self)
    }

    /// Compares them.
    ///
    /// # Errors
    /// When the reference has a value that is not finite.
    pub(super) fn compare(&self, progress: &dyn Progress) -> Result<Vec<Departure>, Error> {
        let differences = compare(&self.0, progress)?;
        let pairs = self.0.iter().zip(differences);
        pairs
            .map(|(pair, difference)| {
                let not_finite = not_finite(pair, &difference)?;
                Ok(Departure { difference, not_finite })
            })
            .collect()
    }
}

/// The first value of the file that is not finite, where the comparison met one.
fn not_finite(pair: &Pair, difference: &Difference) -> Result<Option<String>, Error> {
    if difference.distance.not_finite == 0 {
        return Ok(None);
    }
    pair.expected.check_finite()?;
    match pair.found.check_finite() {
        Ok(()) => Ok(None),
        Err(Error::NotFinite { index, value, .. }) => {
            Ok(Some(format!("element {index:?} is {value}")))
        }
        Err(error) => Err(error),
    }
}
