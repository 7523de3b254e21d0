//! How the tensors of two files of a model are called and laid out, from their headers.

use crate::compare::{MatchedBy, Matching, Place};
use crate::units::Table;
use crate::{Checkpoint, Error};
use apr_model::RowOrder;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// Tensors that are shown.
const SHOWN: usize = 40;

/// How the names and layouts of two files differ.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TensorNames {
    /// Where the first file was opened.
    pub a: PathBuf,
    /// Where the second file was opened.
    pub b: PathBuf,
    /// Number of tensors that both have.
    pub common_tensors: usize,
    /// Tensors whose name or layout differs, or that one file alone has.
    pub mismatches: Vec<TensorMismatch>,
    /// Why tensors were matched by their names in the files, and not by what they are for; none
    /// where the architecture of both is known.
    pub matched_by_name: Option<String>,
    /// Tensors that one file alone has and that follow from the rest of a model.
    pub derived: Vec<String>,
}

/// A tensor whose name or layout differs.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TensorMismatch {
    /// Canonical name; where the architecture does not have it, that in the file.
    pub tensor: String,
    /// What differs.
    pub differs: Vec<LayoutDifference>,
    /// The tensor in the first file, if it is there.
    pub a: Option<StoredLayout>,
    /// The tensor in the second file, if it is there.
    pub b: Option<StoredLayout>,
}

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LayoutDifference {
    /// One file does not have it.
    Missing,
    /// It is called otherwise.
    Name,
    /// The dimensions, brought into one orientation.
    Shape,
    /// The matrix lies the other way round.
    Orientation,
    /// The rows of the heads are in another order.
    RowOrder,
    /// It is one tensor in one file, and a tensor for each expert in the other.
    Parts,
}

impl LayoutDifference {
    const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Name => "name",
            Self::Shape => "shape",
            Self::Orientation => "orientation",
            Self::RowOrder => "row order",
            Self::Parts => "parts",
        }
    }
}

/// How a file has a tensor.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StoredLayout {
    /// Its name there; where there is one for each expert, that of all together.
    pub name: String,
    /// Its dimensions as they are stored, outermost first.
    pub shape: Vec<usize>,
    /// Whether the matrix lies `[in, out]`.
    pub transposed: bool,
    /// The order of its rows.
    pub row_order: &'static str,
    /// Number of tensors that it is.
    pub parts: usize,
}

impl StoredLayout {
    fn of(place: &Place) -> Self {
        Self {
            name: place.name.clone(),
            shape: place.layout.shape().to_vec(),
            transposed: place.is_transposed(),
            row_order: match place.row_order() {
                RowOrder::Halves => "halves",
                RowOrder::Neighbours => "neighbours",
                RowOrder::HeadByHead => "head by head",
            },
            parts: place.parts(),
        }
    }
}

/// Holds names and layouts of the tensors of two files of a model against each other. Types are
/// no part of a layout.
///
/// # Errors
/// When a tensor has no layout of its own.
pub fn diff_tensors(a: &Checkpoint, b: &Checkpoint) -> Result<TensorNames, Error> {
    let matching = Matching::of(a, b)?;
    let common = matching.tensors.iter().filter(|found| found.a.is_some() && found.b.is_some());
    let common_tensors = common.count();
    let mismatches = matching.tensors.iter().filter_map(|found| {
        let (a, b) = (found.a.as_ref(), found.b.as_ref());
        let differs = differs(a, b);
        (!differs.is_empty()).then(|| TensorMismatch {
            tensor: found.name.clone(),
            differs,
            a: a.map(StoredLayout::of),
            b: b.map(StoredLayout::of),
        })
    });
    Ok(TensorNames {
        a: a.path().to_path_buf(),
        b: b.path().to_path_buf(),
        common_tensors,
        mismatches: mismatches.collect(),
        matched_by_name: match matching.by {
            MatchedBy::Role => None,
            MatchedBy::Name(reason) => Some(reason),
        },
        derived: matching.derived,
    })
}

fn differs(a: Option<&Place>, b: Option<&Place>) -> Vec<LayoutDifference> {
    let (Some(a), Some(b)) = (a, b) else { return vec![LayoutDifference::Missing] };
    let differs = [
        (LayoutDifference::Name, a.name != b.name),
        (LayoutDifference::Shape, a.shape() != b.shape()),
        (LayoutDifference::Orientation, a.is_transposed() != b.is_transposed()),
        (LayoutDifference::RowOrder, a.row_order() != b.row_order()),
        (LayoutDifference::Parts, a.parts() != b.parts()),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(what, _)| what).collect()
}

impl fmt::Display for TensorNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(&["a", "shape", "b", "shape", "differs"]);
        let cells = |layout: &Option<StoredLayout>| match layout {
            Some(layout) => [layout.name.escape_debug().to_string(), format!("{:?}", layout.shape)],
            None => ["none".to_owned(), String::new()],
        };
        for mismatch in self.mismatches.iter().take(SHOWN) {
            let ([a, of_a], [b, of_b]) = (cells(&mismatch.a), cells(&mismatch.b));
            let differs: Vec<&str> = mismatch.differs.iter().map(|what| what.name()).collect();
            table.row([a, of_a, b, of_b, differs.join(", ")]);
        }
        if !self.mismatches.is_empty() {
            write!(f, "{table}")?;
        }
        if let Some(more) = self.mismatches.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            writeln!(f, " and {more} more; --json has them all")?;
        }
        if !self.mismatches.is_empty() {
            writeln!(f)?;
        }
        if let Some(reason) = &self.matched_by_name {
            writeln!(f, "tensors were matched by their names in the files: {reason}")?;
        }
        let (common, mismatches) = (self.common_tensors, self.mismatches.len());
        writeln!(f, "{common} tensors in both files, {mismatches} mismatches")
    }
}
