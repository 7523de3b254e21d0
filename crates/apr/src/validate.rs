//! Is this file whole? Every check that needs no other file.

use crate::units::{self, Table};
use crate::{Checkpoint, Error, Progress, Step};
use apr_format::{Certificate, TensorEntry};
use apr_tensor::TensorView;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;

/// Elements that one worker decodes at a time: whole blocks of every type.
const CHUNK_ELEMS: usize = 1 << 16;

/// The checks of a file.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Validation {
    /// Every check that applies to the file's format.
    pub checks: Vec<Check>,
    /// Number of checks.
    pub total_checks: usize,
    /// Number that failed.
    pub failed: usize,
    /// Number of tensors.
    pub total_tensors: usize,
    /// Elements that are NaN.
    pub total_nan: u64,
    /// Elements that are infinite.
    pub total_inf: u64,
    /// Container format.
    pub format: &'static str,
}

/// A check and its result.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// Its result.
    pub status: Status,
    /// What was checked, or what is wrong.
    pub message: String,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
}

impl Validation {
    /// The checks that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.status == Status::Fail)
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.name, self.message)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(if *self == Self::Pass { "PASS" } else { "FAIL" })
    }
}

impl Check {
    pub(crate) fn new(name: &'static str, result: Result<String, String>) -> Self {
        match result {
            Ok(message) => Self { name, status: Status::Pass, message },
            Err(message) => Self { name, status: Status::Fail, message },
        }
    }
}

/// Runs every check that needs no other file. The structure was checked when it was opened: a
/// file whose structure is broken cannot be opened.
///
/// # Errors
/// None of its own: what fails is in the report.
pub fn validate(checkpoint: &Checkpoint, progress: &dyn Progress) -> Result<Validation, Error> {
    let container = checkpoint.container();
    let structure = "header, sizes and extents hold; opened".to_owned();
    let mut checks = vec![Check::new("structure", Ok(structure))];
    checks.push(Check::new("architecture", architecture(checkpoint)));
    if container.seal().is_some() {
        let hashes = check_bytes(checkpoint, progress);
        let passed = "every byte is under a hash that holds".to_owned();
        checks.push(Check::new("hashes", hashes.map(|()| passed).map_err(|e| e.to_string())));
        checks.push(Check::new("certificates", certificates(container.tensors())));
    }
    if checkpoint.tokenizer_json().map_or(true, |json| json.is_some()) {
        checks.push(Check::new("tokenizer", tokenizer(checkpoint)));
    }
    let (counts, first) = not_finite(checkpoint, progress)?;
    checks.push(Check::new(
        "finite values",
        match first {
            None => Ok("no NaN, no infinity".to_owned()),
            Some(tensor) => Err(format!(
                "tensor {tensor:?}: {} NaN and {} infinities in the file",
                counts.0, counts.1
            )),
        },
    ));
    Ok(Validation {
        total_checks: checks.len(),
        failed: checks.iter().filter(|check| check.status == Status::Fail).count(),
        checks,
        total_tensors: container.tensors().len(),
        total_nan: counts.0,
        total_inf: counts.1,
        format: container.format(),
    })
}

/// Compares every tensor with its hash, and the padding with zero.
pub(crate) fn check_bytes(checkpoint: &Checkpoint, progress: &dyn Progress) -> Result<(), Error> {
    let container = checkpoint.container();
    if container.seal().is_some() {
        container.check_padding()?;
    }
    progress.begin(Step::Check, container.byte_len());
    let check = |entry: &TensorEntry| {
        let failure = container.check_hash(entry).err();
        progress.advance(units::size(entry.layout.byte_len()));
        failure
    };
    // The first by name, whichever thread finds one first.
    if let Some(failure) = container.tensors().par_iter().find_map_first(check) {
        return Err(failure.into());
    }
    progress.end();
    Ok(())
}

fn architecture(checkpoint: &Checkpoint) -> Result<String, String> {
    if checkpoint.config_json().is_none() {
        let (arch, _) = checkpoint.arch_and_layers().map_err(|error| error.to_string())?;
        return Ok(format!("{} by its tensor names; no config.json to check shapes by", arch.name));
    }
    let config = checkpoint.config().map_err(|error| error.to_string())?;
    let census = checkpoint.census(&config).map_err(|error| error.to_string())?;
    let weights = census.tensors.len();
    Ok(format!("{}: {weights} weights, complete and in shape", config.arch.name))
}

/// Checks that every tensor has a certificate that keeps its bound.
pub(crate) fn certificates(tensors: &[TensorEntry]) -> Result<String, String> {
    let within = |entry: &TensorEntry, certificate: &Certificate| {
        certificate.bound_share <= 1.0
            && certificate.max_error <= certificate.bound
            && (certificate.source_zeros <= certificate.zeros || !entry.layout.dtype().keeps_zero())
    };
    let certified = |entry: &&TensorEntry| {
        entry.certificate.as_ref().is_some_and(|certificate| within(entry, certificate))
    };
    match tensors.iter().find(|entry| !certified(entry)) {
        None => Ok(format!("{} tensors certified within their bounds", tensors.len())),
        Some(entry) => Err(format!("tensor {:?} is not certified within its bound", entry.name)),
    }
}

fn tokenizer(checkpoint: &Checkpoint) -> Result<String, String> {
    let tokenizer = checkpoint.tokenizer().map_err(|error| error.to_string())?;
    let tokens = tokenizer.vocab_size();
    match checkpoint.config() {
        Ok(config) if config.vocab_size < tokens => {
            Err(format!("{tokens} tokens, the embedding has {} rows", config.vocab_size))
        }
        Ok(_) | Err(_) => Ok(format!("{tokens} tokens")),
    }
}

/// NaN and infinities over all tensors, and the first tensor that has any.
fn not_finite(
    checkpoint: &Checkpoint,
    progress: &dyn Progress,
) -> Result<((u64, u64), Option<String>), Error> {
    let container = checkpoint.container();
    let (mut total, mut first) = ((0, 0), None);
    progress.begin(Step::Check, container.byte_len());
    for entry in container.tensors() {
        let tensor = container.tensor(&entry.name)?;
        let (nan, inf) = count_not_finite(tensor.view());
        if nan + inf > 0 {
            first.get_or_insert_with(|| entry.name.clone());
        }
        total = (total.0 + nan, total.1 + inf);
        progress.advance(units::size(entry.layout.byte_len()));
    }
    progress.end();
    Ok((total, first))
}

fn count_not_finite(view: TensorView<'_>) -> (u64, u64) {
    let dtype = view.dtype();
    let (elems, bytes) = (dtype.block_elems(), dtype.block_bytes());
    // Blocks and not rows: a row may be the whole tensor, which is many times larger in single
    // precision.
    let count = |blocks: &[u8]| {
        let mut values = vec![0.0_f32; blocks.len() / bytes * elems];
        if dtype.decode(blocks, &mut values).is_err() {
            // The bytes are those of the layout, and the buffer is made for them.
            unreachable!("whole blocks of the tensor's own layout");
        }
        let nan = values.iter().filter(|value| value.is_nan()).count();
        let inf = values.iter().filter(|value| value.is_infinite()).count();
        (units::size(nan), units::size(inf))
    };
    let add = |a: (u64, u64), b: (u64, u64)| (a.0 + b.0, a.1 + b.1);
    view.bytes().par_chunks(CHUNK_ELEMS / elems * bytes).map(count).reduce(|| (0, 0), add)
}

impl fmt::Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(&["check", "status", ""]);
        for check in &self.checks {
            let (name, status) = (check.name.to_owned(), check.status.to_string());
            table.row([name, status, check.message.clone()]);
        }
        table.fmt(f)?;
        writeln!(
            f,
            "{} of {} checks passed, {} tensors ({})",
            self.total_checks - self.failed,
            self.total_checks,
            self.total_tensors,
            self.format
        )
    }
}
