//! A model file beside the checkpoint that was published: what each tensor departs by, and whether
//! its type explains that.

use crate::compare::{Difference, Match, MatchedBy, Matching, Typical, ValueDifference, compare};
use crate::diff::{DiffedFile, DiffedTensor, both, cells};
use crate::units::{self, Table};
use crate::{Checkpoint, Error, Progress};
use apr_hub::ModelName;
use apr_tensor::DType;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Tensors that are shown.
const SHOWN: usize = 20;
/// What storing in b bits per element may leave of a tensor as |difference| / |tensor|, times 2ᵇ.
/// Rounding of normally distributed values in blocks of 32 leaves about a quarter of it.
const ROUNDING: f64 = 6.0;
/// Whatever the type: a tensor of zeros departs by 1.
const MOST: f64 = 0.9;

/// A model file beside the checkpoint that was published.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HubComparison {
    /// The worst verdict over all tensors.
    pub verdict: TensorVerdict,
    /// Whether every tensor is that of the checkpoint, up to the rounding of its type.
    pub is_faithful: bool,
    /// The file.
    pub file: DiffedFile,
    /// The checkpoint.
    pub reference: DiffedFile,
    /// Number of tensors that were compared by value.
    pub compared: usize,
    /// Number of tensors with each verdict.
    pub counts: BTreeMap<TensorVerdict, usize>,
    /// The tensors, the worst first.
    pub tensors: Vec<ComparedTensor>,
    /// Why tensors were matched by their names in the files, and not by what they are for; none
    /// where the architecture of both is known.
    pub matched_by_name: Option<String>,
    /// Tensors that one side alone has and that follow from the rest of a model.
    pub derived: Vec<String>,
}

/// What to think of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TensorVerdict {
    /// Every value is the same.
    Identical,
    /// The values differ by no more than the rounding of the types, nor by more than others of
    /// the kind.
    Rounded,
    /// The file has it, the checkpoint does not.
    Added,
    /// The values differ by more.
    Different,
    /// The dimensions differ.
    Shape,
    /// The checkpoint has it, the file does not.
    Missing,
}

impl fmt::Display for TensorVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Identical => "identical",
            Self::Rounded => "rounded",
            Self::Added => "added",
            Self::Different => "different",
            Self::Shape => "shape",
            Self::Missing => "missing",
        })
    }
}

/// A tensor beside that of the checkpoint.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ComparedTensor {
    /// Canonical name; where the architecture does not have it, that in the files.
    pub name: String,
    /// What to think of it.
    pub verdict: TensorVerdict,
    /// Why, where it is not what the types explain.
    pub reason: Option<String>,
    /// The tensor in the file.
    pub file: Option<DiffedTensor>,
    /// The tensor in the checkpoint.
    pub reference: Option<DiffedTensor>,
    /// How far the values are apart.
    #[serde(flatten)]
    pub values: Option<ValueDifference>,
    /// The most that rounding to the types of both may leave of `relative`.
    pub explained: Option<f64>,
}

/// Where a published checkpoint is: a path that exists, else `ORG/NAME` as `hf://ORG/NAME`.
#[must_use]
pub fn published(name: &Path) -> PathBuf {
    if name.exists() || ModelName::is_meant(name) || name.is_absolute() {
        return name.to_path_buf();
    }
    PathBuf::from(format!("hf://{}", name.display()))
}

/// Compares every tensor of a file with that of the checkpoint.
///
/// A tensor is `different` that departs by more than its type explains: by more than 6 · 2⁻ᵇ of its
/// size where it has b bits an element, or by more than twice what tensors of its kind do, as a
/// whole or in the worst run of 32 values.
///
/// # Errors
/// When a tensor cannot be read.
pub fn compare_hf(
    file: &Checkpoint,
    reference: &Checkpoint,
    progress: &dyn Progress,
) -> Result<HubComparison, Error> {
    let matching = Matching::of(file, reference)?;
    let compared = compare(&matching.pairs(file, reference)?, progress)?;
    let by_name: BTreeMap<&str, &Difference> =
        compared.iter().map(|difference| (difference.name.as_str(), difference)).collect();
    let judge = |found: &Match| {
        let difference = by_name.get(found.name.as_str()).copied();
        judged(found, difference, &compared)
    };
    let mut tensors: Vec<ComparedTensor> = matching.tensors.iter().map(judge).collect();
    let size = |tensor: &ComparedTensor| match tensor.values {
        Some(values) if values.not_finite == 0 => values.relative,
        Some(_) | None => f64::INFINITY,
    };
    tensors.sort_by(|a, b| b.verdict.cmp(&a.verdict).then(size(b).total_cmp(&size(a))));
    let mut counts = BTreeMap::new();
    for tensor in &tensors {
        *counts.entry(tensor.verdict).or_insert(0) += 1;
    }
    let verdict = tensors.first().map_or(TensorVerdict::Identical, |worst| worst.verdict);
    Ok(HubComparison {
        verdict,
        is_faithful: verdict <= TensorVerdict::Rounded,
        file: DiffedFile::of(file),
        reference: DiffedFile::of(reference),
        compared: compared.len(),
        counts,
        tensors,
        matched_by_name: match matching.by {
            MatchedBy::Role => None,
            MatchedBy::Name(reason) => Some(reason),
        },
        derived: matching.derived,
    })
}

fn judged(found: &Match, difference: Option<&Difference>, all: &[Difference]) -> ComparedTensor {
    let (verdict, reason) = match (&found.a, &found.b, difference) {
        (None, _, _) => (TensorVerdict::Missing, Some("not in the file".to_owned())),
        (_, None, _) => (TensorVerdict::Added, Some("not in the checkpoint".to_owned())),
        (Some(a), Some(b), None) => (
            TensorVerdict::Shape,
            Some(format!("{:?}, the checkpoint has {:?}", a.shape(), b.shape())),
        ),
        (_, _, Some(difference)) => verdict(difference, all),
    };
    ComparedTensor {
        name: found.name.clone(),
        verdict,
        reason,
        file: found.a.as_ref().map(DiffedTensor::of),
        reference: found.b.as_ref().map(DiffedTensor::of),
        values: difference.map(|difference| difference.distance.values()),
        explained: difference.map(|difference| explained(difference.dtypes)),
    }
}

fn verdict(difference: &Difference, all: &[Difference]) -> (TensorVerdict, Option<String>) {
    let distance = &difference.distance;
    if distance.is_none() {
        return (TensorVerdict::Identical, None);
    }
    let values = distance.values();
    if values.not_finite > 0 {
        let reason = format!("{} values are NaN or infinite", units::count(values.not_finite));
        return (TensorVerdict::Different, Some(reason));
    }
    let (relative, most) = (values.relative, explained(difference.dtypes));
    if relative > most {
        let (relative, most) = (units::percent(relative), units::percent(most));
        let reason = format!("departs by {relative}, rounding explains {most}");
        return (TensorVerdict::Different, Some(reason));
    }
    let typical = Typical::of(difference, all);
    if !typical.is_exceeded_by(difference) {
        return (TensorVerdict::Rounded, None);
    }
    let others = typical.relative.unwrap_or_default();
    let [row, col] = distance.worst_at;
    let reason = format!(
        "departs by {}, others of its kind by {}; most in row {row} from column {col}: {}",
        units::percent(relative),
        units::percent(others),
        units::percent(distance.worst_run)
    );
    (TensorVerdict::Different, Some(reason))
}

/// What rounding may leave as |difference| / |tensor|: nothing where one float type is kept.
fn explained((found, expected): (DType, DType)) -> f64 {
    if found == expected && !found.is_quantized() {
        return 0.0;
    }
    (rounding(found) + rounding(expected)).min(MOST)
}

fn rounding(dtype: DType) -> f64 {
    if dtype.is_quantized() {
        let bits = 8.0 * dtype.block_bytes() as f64 / dtype.block_elems() as f64;
        return ROUNDING * 2_f64.powf(-bits);
    }
    // Half a unit in the last place of a value, by the bits of the fraction.
    if dtype == DType::BF16 {
        2_f64.powi(-8)
    } else if dtype == DType::F16 {
        2_f64.powi(-11)
    } else {
        0.0
    }
}

impl HubComparison {
    /// The tensors that are not those of the checkpoint.
    pub fn unfaithful(&self) -> impl Iterator<Item = &ComparedTensor> {
        self.tensors.iter().filter(|tensor| tensor.verdict > TensorVerdict::Rounded)
    }
}

impl fmt::Display for HubComparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["verdict", "tensor", "type", "max diff", "rms diff", "relative", "cosine"];
        let mut table = Table::new(&header).right_align(3..7);
        for tensor in self.tensors.iter().take(SHOWN) {
            let [max, rms, relative, cosine] = cells(tensor.values.as_ref());
            let dtype =
                |of: &Option<DiffedTensor>| of.as_ref().map(|tensor| tensor.dtype.to_owned());
            table.row([
                tensor.verdict.to_string(),
                tensor.name.escape_debug().to_string(),
                both(dtype(&tensor.reference), dtype(&tensor.file)),
                max,
                rms,
                relative,
                cosine,
            ]);
        }
        write!(f, "{table}")?;
        if let Some(more) = self.tensors.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            writeln!(f, " and {more} more, none worse; --json has them all")?;
        }
        writeln!(f)?;
        for tensor in self.unfaithful().take(SHOWN) {
            let reason = tensor.reason.as_deref().unwrap_or_default();
            writeln!(f, "{}: {reason}", tensor.name.escape_debug())?;
        }
        for (what, file) in [("file", &self.file), ("checkpoint", &self.reference)] {
            let (path, format) = (file.path.display(), file.format);
            writeln!(f, "{what:<11} {path} ({format}, {})", units::bytes(file.size_bytes))?;
        }
        if let Some(reason) = &self.matched_by_name {
            writeln!(f, "tensors were matched by their names in the files: {reason}")?;
        }
        let counts: Vec<String> =
            self.counts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
        let verdict = if self.is_faithful { "FAITHFUL" } else { "DIFFERENT" };
        writeln!(f, "{verdict:<11} {}", counts.join(", "))
    }
}
