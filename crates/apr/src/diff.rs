//! What differs between two files: tensors by value, whatever the formats.

use crate::compare::{Difference, MatchedBy, Matching, Place, ValueDifference, compare};
use crate::units::{self, Table};
use crate::{Checkpoint, Error, Progress};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Tensors that are shown.
const SHOWN: usize = 20;

/// What differs between two files.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Diff {
    /// Whether no tensor differs, in type, size, shape or value.
    pub identical: bool,
    /// Number of differences; a tensor may have several.
    pub difference_count: usize,
    /// The differences, those of the tensors whose values are farthest apart first.
    pub differences: Vec<TensorDifference>,
    /// The first file.
    pub a: DiffedFile,
    /// The second file.
    pub b: DiffedFile,
    /// Number of tensors that both files have.
    pub common_tensors: usize,
    /// Number of these that do not differ.
    pub identical_tensors: usize,
    /// Why tensors were matched by their names in the files, and not by what they are for; none
    /// where the architecture of both is known.
    pub matched_by_name: Option<String>,
    /// Tensors that one file alone has and that follow from the rest of a model, such as masks and
    /// a tied head: no difference.
    pub derived: Vec<String>,
}

/// A file that was compared.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DiffedFile {
    /// Where it was opened.
    pub path: PathBuf,
    /// Container format.
    pub format: &'static str,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Number of tensors.
    pub tensor_count: usize,
}

/// A difference between two files.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TensorDifference {
    /// What kind it is of.
    #[serde(rename = "type")]
    pub kind: TensorDifferenceKind,
    /// Canonical name of the tensor; where the architecture does not have it, that in the files.
    pub tensor: String,
    /// The tensor in the first file, if it is there.
    pub a: Option<DiffedTensor>,
    /// The tensor in the second file, if it is there.
    pub b: Option<DiffedTensor>,
    /// How far the values are apart, where both files have them in one shape.
    #[serde(flatten)]
    pub values: Option<ValueDifference>,
}

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TensorDifferenceKind {
    /// One file does not have the tensor.
    Missing,
    /// The dimensions, brought into one orientation.
    Shape,
    /// The type.
    Dtype,
    /// The number of bytes.
    Size,
    /// The values.
    Data,
}

impl fmt::Display for TensorDifferenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Missing => "missing",
            Self::Shape => "shape",
            Self::Dtype => "dtype",
            Self::Size => "size",
            Self::Data => "data",
        })
    }
}

/// A tensor of one of the files.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DiffedTensor {
    /// Its name there; where there is one for each expert, that of all together.
    pub name: String,
    /// Its type.
    pub dtype: &'static str,
    /// Its dimensions as they are stored, outermost first.
    pub shape: Vec<usize>,
    /// Its bytes.
    pub size_bytes: u64,
}

impl DiffedTensor {
    pub(crate) fn of(place: &Place) -> Self {
        Self {
            name: place.name.clone(),
            dtype: place.dtype().name(),
            shape: place.layout.shape().to_vec(),
            size_bytes: units::size(place.layout.byte_len()),
        }
    }
}

impl DiffedFile {
    pub(crate) fn of(checkpoint: &Checkpoint) -> Self {
        let container = checkpoint.container();
        Self {
            path: checkpoint.path().to_path_buf(),
            format: container.format(),
            size_bytes: container.byte_len(),
            tensor_count: container.tensors().len(),
        }
    }
}

/// Compares every tensor of `a` with that of `b`, each value with its counterpart.
///
/// Where the architecture of both is known, tensors find each other by what they are for, and
/// orientation, order of rows and names of the format make no difference; else by their names.
///
/// # Errors
/// When a tensor cannot be read.
pub fn diff(a: &Checkpoint, b: &Checkpoint, progress: &dyn Progress) -> Result<Diff, Error> {
    let matching = Matching::of(a, b)?;
    let compared = compare(&matching.pairs(a, b)?, progress)?;
    let by_name: BTreeMap<&str, &Difference> =
        compared.iter().map(|difference| (difference.name.as_str(), difference)).collect();
    let (mut tensors, mut common_tensors, mut identical_tensors) = (Vec::new(), 0, 0);
    for found in &matching.tensors {
        let difference = by_name.get(found.name.as_str()).copied();
        let kinds = kinds(found.a.as_ref(), found.b.as_ref(), difference);
        common_tensors += usize::from(found.a.is_some() && found.b.is_some());
        if kinds.is_empty() {
            identical_tensors += 1;
            continue;
        }
        let of = |kind| TensorDifference {
            kind,
            tensor: found.name.clone(),
            a: found.a.as_ref().map(DiffedTensor::of),
            b: found.b.as_ref().map(DiffedTensor::of),
            values: difference.map(|difference| difference.distance.values()),
        };
        tensors.push(kinds.into_iter().map(of).collect::<Vec<_>>());
    }
    tensors.sort_by(|a, b| distance(b).total_cmp(&distance(a)));
    let differences: Vec<TensorDifference> = tensors.into_iter().flatten().collect();
    Ok(Diff {
        identical: differences.is_empty(),
        difference_count: differences.len(),
        differences,
        a: DiffedFile::of(a),
        b: DiffedFile::of(b),
        common_tensors,
        identical_tensors,
        matched_by_name: match matching.by {
            MatchedBy::Role => None,
            MatchedBy::Name(reason) => Some(reason),
        },
        derived: matching.derived,
    })
}

fn kinds(
    a: Option<&Place>,
    b: Option<&Place>,
    difference: Option<&Difference>,
) -> Vec<TensorDifferenceKind> {
    let (Some(a), Some(b)) = (a, b) else { return vec![TensorDifferenceKind::Missing] };
    let differs = [
        (TensorDifferenceKind::Shape, a.shape() != b.shape()),
        (TensorDifferenceKind::Dtype, a.dtype() != b.dtype()),
        (TensorDifferenceKind::Size, a.layout.byte_len() != b.layout.byte_len()),
        (TensorDifferenceKind::Data, difference.is_some_and(|found| !found.distance.is_none())),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(kind, _)| kind).collect()
}

/// How far the tensor of these differences is apart: what cannot be measured comes first.
fn distance(differences: &[TensorDifference]) -> f64 {
    match differences.first().and_then(|difference| difference.values) {
        Some(values) if values.not_finite == 0 => values.relative,
        Some(_) | None => f64::INFINITY,
    }
}

impl Diff {
    /// Number of differences of this kind.
    fn count(&self, kind: TensorDifferenceKind) -> usize {
        self.differences.iter().filter(|difference| difference.kind == kind).count()
    }
}

/// `Q8_0 > Q4_0`, or the one that both are.
pub(crate) fn both(a: Option<String>, b: Option<String>) -> String {
    match (a, b) {
        (Some(a), Some(b)) if a == b => a,
        (Some(a), Some(b)) => format!("{a} > {b}"),
        (Some(a), None) => format!("{a} > none"),
        (None, Some(b)) => format!("none > {b}"),
        (None, None) => String::new(),
    }
}

/// The cells of a comparison by value: largest, RMS and relative difference, cosine.
pub(crate) fn cells(values: Option<&ValueDifference>) -> [String; 4] {
    let Some(values) = values else { return std::array::from_fn(|_| String::new()) };
    if values.not_finite > 0 {
        let count = format!("{} NaN or infinite", units::count(values.not_finite));
        return [count, String::new(), String::new(), String::new()];
    }
    [
        units::error(values.max_abs),
        units::error(values.rms),
        units::percent(values.relative),
        values.cosine.map_or_else(|| "none".to_owned(), |cosine| format!("{cosine:.6}")),
    ]
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["tensor", "type", "shape", "max diff", "rms diff", "relative", "cosine"];
        let mut table = Table::new(&header).right_align(3..7);
        let tensors = self.differences.chunk_by(|a, b| a.tensor == b.tensor);
        let count = tensors.clone().count();
        for differences in tensors.take(SHOWN) {
            let [first, ..] = differences else { continue };
            let [max, rms, relative, cosine] = cells(first.values.as_ref());
            let of = |f: fn(&DiffedTensor) -> String| {
                both(first.a.as_ref().map(f), first.b.as_ref().map(f))
            };
            table.row([
                first.tensor.escape_debug().to_string(),
                of(|tensor| tensor.dtype.to_owned()),
                of(|tensor| format!("{:?}", tensor.shape)),
                max,
                rms,
                relative,
                cosine,
            ]);
        }
        if count > 0 {
            write!(f, "{table}")?;
        }
        if let Some(more) = count.checked_sub(SHOWN).filter(|more| *more > 0) {
            writeln!(f, " and {more} more; --json has them all")?;
        }
        if count > 0 {
            writeln!(f)?;
        }
        self.write_summary(f, count)
    }
}

impl Diff {
    fn write_summary(&self, f: &mut fmt::Formatter<'_>, differing: usize) -> fmt::Result {
        for (name, file) in [("a", &self.a), ("b", &self.b)] {
            let (format, size) = (file.format, units::bytes(file.size_bytes));
            let tensors = file.tensor_count;
            writeln!(f, "{name}  {} ({format}, {size}, {tensors} tensors)", file.path.display())?;
        }
        if let Some(reason) = &self.matched_by_name {
            writeln!(f, "tensors were matched by their names in the files: {reason}")?;
        }
        if !self.derived.is_empty() {
            let (count, first) = (self.derived.len(), self.derived[0].escape_debug());
            writeln!(f, "{count} tensors of one file follow from the rest ({first}, …)")?;
        }
        if self.identical {
            return writeln!(f, "IDENTICAL  {} tensors, each value the same", self.common_tensors);
        }
        use TensorDifferenceKind::{Data, Dtype, Missing, Shape, Size};
        let counts: Vec<String> = [Data, Dtype, Size, Shape, Missing]
            .into_iter()
            .map(|kind| (kind, self.count(kind)))
            .filter(|(_, count)| *count > 0)
            .map(|(kind, count)| format!("{kind} {count}"))
            .collect();
        let (same, counts) = (self.identical_tensors, counts.join(", "));
        writeln!(f, "DIFFERENT  {differing} tensors ({counts}); {same} are identical")
    }
}
