//! What is proven of the file that is reported on.

use super::data::{Verdict, VerdictStatus};
use crate::validate::{certificates, check_bytes};
use crate::{Checkpoint, Error, Progress, units, verify};
use apr_format::Certificate;
use std::collections::BTreeMap;

/// Certificates by the names of their tensors.
pub(super) type Certificates = BTreeMap<String, Certificate>;

/// The verdict, and the certificates of all tensors where a proof succeeds.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn verdict(
    checkpoint: &Checkpoint,
    against: Option<&Checkpoint>,
    progress: &dyn Progress,
) -> Result<(Verdict, Option<Certificates>), Error> {
    let container = checkpoint.container();
    let (count, certified) = (container.tensors().len(), stored(checkpoint).len());
    let verdict = |status, reason| Verdict {
        status,
        reason,
        seal: container.seal(),
        certified_tensors: certified,
    };
    if let Some(against) = against {
        return match verify(checkpoint, against, progress) {
            Ok(proof) => {
                let (tensors, elements) = (units::size(proof.tensors.len()), proof.elements);
                let reason = format!(
                    "All {} elements of {} tensors were compared with {} for this page: each is within the bound of its type, none is missing, none was added.",
                    units::count(elements),
                    units::count(tensors),
                    super::name(against.path()),
                );
                let proven = proof.tensors.into_iter().map(|t| (t.name, t.certificate)).collect();
                Ok((verdict(VerdictStatus::Proven, reason), Some(proven)))
            }
            Err(error @ Error::Io { .. }) => Err(error),
            Err(error) if checkpoint.config().and(against.config()).is_err() => {
                let reason = format!("The file as a whole was not proven: {error}.");
                Ok((verdict(VerdictStatus::NotCertified, reason), None))
            }
            Err(error) => Ok((verdict(VerdictStatus::NotProven, format!("{error}.")), None)),
        };
    }
    if certified == 0 || certified < count {
        let has = if certified == 0 { "no".to_owned() } else { format!("{certified} of {count}") };
        let reason = format!(
            "The file holds {has} certificates, and its source was not at hand: apr report FILE --against SOURCE measures it."
        );
        return Ok((verdict(VerdictStatus::NotCertified, reason), None));
    }
    let sound = check_bytes(checkpoint, progress).map_err(|error| error.to_string());
    Ok((
        match sound.and_then(|()| certificates(container.tensors())) {
            Ok(_) => verdict(
                VerdictStatus::Certified,
                format!(
                    "Each of {count} tensors was proven against its source when the file was written, and every byte still has its hash."
                ),
            ),
            Err(cause) => verdict(VerdictStatus::NotProven, format!("{cause}.")),
        },
        None,
    ))
}

/// The certificates that the file holds.
pub(super) fn stored(checkpoint: &Checkpoint) -> Certificates {
    let entries = checkpoint.container().tensors().iter();
    entries.filter_map(|entry| Some((entry.name.clone(), entry.certificate?))).collect()
}
