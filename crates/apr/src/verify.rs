//! The proof again, from two files alone.

use crate::operation::{Operation, Origin, Piece};
use crate::proof::{ProvenTensor, certify};
use crate::source::Source;
use crate::validate::check_bytes;
use crate::{Checkpoint, Error, Progress, Proof, ProofFailure, Step, derived};
use apr_format::Hash128;
use apr_model::{Census, PlacedTensor, TensorRole};
use std::collections::{BTreeMap, BTreeSet};

/// Proves that `stored` was made from `source` and is what its certificates say: every
/// byte under its hash, the same tensors on both sides, every tensor decoded and every element
/// compared, and each certificate computed anew the one in the file.
///
/// # Errors
/// Names the first tensor that fails and how.
pub fn verify(
    stored: &Checkpoint,
    source: &Checkpoint,
    progress: &dyn Progress,
) -> Result<Proof, Error> {
    verify_origin(stored, Origin::of(source), progress)
}

/// Proves that `stored` is what comes from `origin`.
pub(crate) fn verify_origin(
    stored: &Checkpoint,
    origin: Origin<'_>,
    progress: &dyn Progress,
) -> Result<Proof, Error> {
    let source = origin.checkpoint;
    check_bytes(stored, progress)?;
    let source_config = source.config()?;
    // A file of weights may lie alone; then the source says what its tensors should be.
    let alone = stored.config_json().is_none() && !stored.path().is_dir();
    let config = if alone { source_config.clone() } else { stored.config()? };
    let (census, source_census) = (stored.census(&config)?, source.census(&source_config)?);
    derived::check(source, &source_config, &source_census)?;
    derived::check(stored, &config, &census)?;
    same_tensors(stored, &census, &source_census)?;
    let mut tensors = Vec::new();
    progress.begin(Step::Prove, stored.container().byte_len());
    let of_stored: BTreeMap<&str, &PlacedTensor> =
        census.tensors.iter().map(|placed| (placed.name.as_str(), placed)).collect();
    for placed in &source_census.tensors {
        let proven = prove((stored, of_stored[placed.name.as_str()]), (origin, placed))?;
        progress.advance(proven.iter().map(ProvenTensor::byte_len).sum());
        tensors.extend(proven);
    }
    progress.end();
    Ok(Proof {
        file: stored.path().to_path_buf(),
        source: source.path().to_path_buf(),
        architecture: config.arch.name,
        recipe: stored.recipe().unwrap_or_default().to_owned(),
        seal: stored.container().seal(),
        file_size: stored.container().byte_len(),
        elements: tensors.iter().map(ProvenTensor::elem_count).sum(),
        tensors,
        derived: source_census.derived.iter().map(|derived| derived.source.clone()).collect(),
        exceptions: Vec::new(),
        operation: origin.operation.map(Operation::label),
        verdict: "proven",
    })
}

fn same_tensors(stored: &Checkpoint, census: &Census, source: &Census) -> Result<(), Error> {
    let names = |census: &Census| -> BTreeSet<String> {
        census.tensors.iter().map(|tensor| tensor.name.clone()).collect()
    };
    let (found, expected) = (names(census), names(source));
    let differs = |names: Option<&String>, cause| match names {
        None => Ok(()),
        Some(tensor) => {
            let failure = ProofFailure::Census { tensor: tensor.clone(), cause };
            Err(Error::Proof { path: stored.path().to_path_buf(), source: Box::new(failure) })
        }
    };
    differs(expected.difference(&found).next(), "in the source and not in the file")?;
    differs(found.difference(&expected).next(), "in the file and not in the source")
}

/// Compares a weight with its source: one tensor, or one for each expert.
fn prove(
    (stored, in_stored): (&Checkpoint, &PlacedTensor),
    (origin, in_source): (Origin<'_>, &PlacedTensor),
) -> Result<Vec<ProvenTensor>, Error> {
    let source = |expert| origin.source(&Piece { placed: in_source, form: in_stored.form, expert });
    let [_, _, ..] = &in_stored.sources[..] else {
        let source = source(None)?;
        return Ok(vec![prove_tensor(stored, (in_stored.source(), in_stored.role), &source)?]);
    };
    let (expected, found) = (in_source.layout.shape().to_vec(), in_stored.layout.shape().to_vec());
    if expected != found {
        let failure = ProofFailure::Shape { tensor: in_stored.name.clone(), expected, found };
        return Err(Error::Proof { path: stored.path().to_path_buf(), source: Box::new(failure) });
    }
    let experts = in_stored.sources.iter().enumerate();
    experts
        .map(|(at, name)| prove_tensor(stored, (name, in_stored.role), &source(Some(at))?))
        .collect()
}

/// Compares a stored tensor with its source, and what the comparison gives with what the file
/// claims, in the formats that store a certificate.
fn prove_tensor(
    stored: &Checkpoint,
    (name, role): (&str, TensorRole),
    source: &Source,
) -> Result<ProvenTensor, Error> {
    let fail =
        |failure| Error::Proof { path: stored.path().to_path_buf(), source: Box::new(failure) };
    let tensor = || name.to_owned();
    let container = stored.container();
    let stored_tensor = container.tensor(name)?;
    let certificate = certify(source, stored_tensor.view())?;
    let entry = container.entry(name);
    if let Some(claimed) = entry.and_then(|entry| entry.certificate) {
        let (expected, found) = (claimed.source_hash, certificate.source_hash);
        if expected != found {
            return Err(fail(ProofFailure::Source { tensor: tensor(), expected, found }));
        }
        if certificate != claimed {
            return Err(fail(ProofFailure::Certificate { tensor: tensor() }));
        }
    }
    // Where the file has a hash, `verify` has compared it with the bytes.
    let hash = entry.and_then(|entry| entry.hash);
    let hash = hash.unwrap_or_else(|| Hash128::of(stored_tensor.view().bytes()));
    Ok(ProvenTensor::new(name, role, stored_tensor.layout(), hash, certificate))
}
