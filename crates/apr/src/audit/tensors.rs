//! What the values of the tensors tell.

use super::finding;
use crate::lint::{Severity, Violation};
use crate::statistics::{Statistics, decoded, runs};
use crate::{Checkpoint, Error, Progress, Step, units};
use apr_format::Hash128;
use apr_model::{Part, TensorRole};
use apr_tensor::TensorView;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Powers of two by which the largest value of a block may exceed that of the median block: what
/// trained weights do not do, and the scale of a damaged block does.
const FAR: usize = 10;
/// Share of blocks of zeros that is worth knowing.
const SOME: f64 = 0.01;
/// Share of blocks of zeros that is suspicious.
const MANY: f64 = 0.25;
/// Elements below which two tensors may be the same by chance.
const FEW: usize = 32;
/// Exponents of single precision.
const EXPONENTS: usize = 256;

/// What is known of the tensors of a file by their names.
struct Names {
    roles: BTreeMap<String, TensorRole>,
    derived: BTreeSet<String>,
}

impl Names {
    fn of(checkpoint: &Checkpoint) -> Self {
        let (mut roles, mut derived) = (BTreeMap::new(), BTreeSet::new());
        if let Ok((_, survey)) = checkpoint.survey() {
            for placed in survey.tensors {
                roles.extend(placed.sources.into_iter().map(|source| (source, placed.role)));
            }
            derived.extend(survey.derived.into_iter().map(|derived| derived.source));
        }
        Self { roles, derived }
    }

    fn is_matrix(&self, name: &str) -> bool {
        self.roles.get(name).is_some_and(|role| role.is_matrix())
    }

    /// Whether rows may be unused: those of tokens that do not occur.
    fn has_rows_of_tokens(&self, name: &str) -> bool {
        let part = self.roles.get(name).map(|role| role.part);
        matches!(part, Some(Part::TokenEmbedding | Part::Head))
    }
}

/// Everything questionable about the values.
///
/// # Errors
/// When a tensor cannot be read.
pub(super) fn findings(
    checkpoint: &Checkpoint,
    progress: &dyn Progress,
) -> Result<Vec<Violation>, Error> {
    let (container, names) = (checkpoint.container(), Names::of(checkpoint));
    let (mut findings, mut same) = (Vec::new(), BTreeMap::<String, Vec<&str>>::new());
    progress.begin(Step::Check, container.byte_len());
    for entry in container.tensors() {
        let (name, tensor) = (entry.name.as_str(), container.tensor(&entry.name)?);
        let (view, layout) = (tensor.view(), &entry.layout);
        let statistics = Statistics::of(view);
        let is_constant = statistics.min == statistics.max;
        findings.extend(not_finite(name, view, &statistics));
        if is_constant {
            findings.extend(constant(name, &names, &statistics));
        } else if layout.elem_count() >= FEW && !names.derived.contains(name) {
            let key = format!("{layout} {}", Hash128::of(view.bytes()));
            same.entry(key).or_default().push(name);
        }
        if layout.dtype().is_quantized() && !is_constant {
            findings.extend(blocks(name, &names, view));
        }
        progress.advance(units::size(layout.byte_len()));
    }
    progress.end();
    findings.extend(same.values().flat_map(|tensors| duplicates(tensors, &names)));
    Ok(findings)
}

fn not_finite(name: &str, view: TensorView<'_>, statistics: &Statistics) -> Option<Violation> {
    let Statistics { nan, inf, .. } = *statistics;
    if nan + inf == 0 {
        return None;
    }
    let mut message =
        format!("{} values are NaN, {} infinite", units::count(nan), units::count(inf));
    if view.dtype().is_quantized() {
        let blocks = Blocks::of(view).not_finite;
        message += &format!(": the scales of {} blocks", units::count(blocks));
    }
    Some(finding(Severity::Error, "not-finite", Some(name), message))
}

/// A tensor whose finite values are all the same.
fn constant(name: &str, names: &Names, statistics: &Statistics) -> Option<Violation> {
    let value = statistics.min?;
    let is_matrix = names.is_matrix(name);
    if value.to_f64() == 0.0 {
        let severity = if is_matrix { Severity::Error } else { Severity::Info };
        let message = format!("all {} values are zero", units::count(statistics.count));
        return Some(finding(severity, "all-zero", Some(name), message));
    }
    if statistics.count == 1 {
        return None;
    }
    let severity = if is_matrix { Severity::Warning } else { Severity::Info };
    let message = format!("all {} values are {value}", units::count(statistics.count));
    Some(finding(severity, "constant", Some(name), message))
}

/// Tensors with the same bytes.
fn duplicates(tensors: &[&str], names: &Names) -> Vec<Violation> {
    let Some((first, others)) = tensors.split_first() else { return Vec::new() };
    let found = others.iter().map(|name| {
        let is_tied = [first, name].iter().all(|name| names.has_rows_of_tokens(name));
        let (severity, why) = if is_tied {
            (Severity::Info, "; config.json could tie the two")
        } else {
            (Severity::Warning, "")
        };
        let message = format!("has the bytes of {first:?}{why}");
        finding(severity, "duplicate", Some(name), message)
    });
    found.collect()
}

/// The blocks of a quantized tensor by their largest value.
struct Blocks {
    zero: u64,
    not_finite: u64,
    /// Number of blocks by the exponent of the largest value, as its bits.
    exponents: Vec<u64>,
}

impl Blocks {
    fn of(view: TensorView<'_>) -> Self {
        let none = || Self { zero: 0, not_finite: 0, exponents: vec![0; EXPONENTS] };
        let count = |run: &[u8]| {
            let mut blocks = none();
            for values in decoded(view.dtype(), run).chunks(view.dtype().block_elems()) {
                match exponent(values) {
                    None => blocks.zero += 1,
                    Some(exponent) if exponent + 1 == EXPONENTS => blocks.not_finite += 1,
                    Some(exponent) => blocks.exponents[exponent] += 1,
                }
            }
            blocks
        };
        runs(view).map(count).reduce(none, Self::and)
    }

    fn and(mut self, other: Self) -> Self {
        self.zero += other.zero;
        self.not_finite += other.not_finite;
        self.exponents.iter_mut().zip(other.exponents).for_each(|(a, b)| *a += b);
        self
    }

    /// The exponent of the median block; none where all are zero.
    fn median(&self) -> Option<usize> {
        let total: u64 = self.exponents.iter().sum();
        let mut below = 0;
        self.exponents.iter().position(|count| {
            below += count;
            total > 0 && 2 * below >= total
        })
    }
}

/// The exponent of the largest value as its bits: 255 if one is not finite; none if all are zero.
fn exponent(values: &[f32]) -> Option<usize> {
    let bits = values.iter().map(|value| value.to_bits() & 0x7fff_ffff).max()?;
    (bits > 0).then(|| units::index(bits >> 23))
}

fn blocks(name: &str, names: &Names, view: TensorView<'_>) -> Vec<Violation> {
    let (blocks, mut findings) = (Blocks::of(view), Vec::new());
    let total = view.bytes().len() / view.dtype().block_bytes();
    let share = blocks.zero as f64 / total.max(1) as f64;
    if share >= SOME {
        let suspicious = share >= MANY && !names.has_rows_of_tokens(name);
        let severity = if suspicious { Severity::Warning } else { Severity::Info };
        let count = (units::count(blocks.zero), units::count(units::size(total)));
        let message = format!("{} of {} blocks decode to nothing but zero", count.0, count.1);
        findings.push(finding(severity, "zero-blocks", Some(name), message));
    }
    let Some(median) = blocks.median() else { return findings };
    let far: u64 = blocks.exponents.iter().skip(median + FAR + 1).sum();
    if far > 0 {
        let row = first_far(view, median + FAR);
        let message = format!(
            "{} blocks have values over {} times those of the median block, the first in row {row}",
            units::count(far),
            1_u32 << FAR
        );
        findings.push(finding(Severity::Warning, "block-scale", Some(name), message));
    }
    findings
}

/// The row of the first block whose exponent is past this one.
fn first_far(view: TensorView<'_>, limit: usize) -> usize {
    let (dtype, row_bytes) = (view.dtype(), view.layout().row_bytes().max(1));
    let mut blocks = view.bytes().chunks_exact(dtype.block_bytes());
    let is_far = |block: &[u8]| {
        let exponent = exponent(&decoded(dtype, block));
        exponent.is_some_and(|exponent| exponent > limit && exponent + 1 < EXPONENTS)
    };
    blocks.position(is_far).unwrap_or_default() * dtype.block_bytes() / row_bytes
}
