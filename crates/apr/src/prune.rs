//! Pruning: the smallest weights of a model become zero.

mod report;

pub use report::{Prune, PrunePlan, PruneSettings};

use crate::magnitude::{Ranked, ranked, share_of};
use crate::operation::{Operation, Origin, Piece};
use crate::source::{Compute, Source};
use crate::{Checkpoint, ConvertOptions, Error, Progress, convert};
use apr_model::PlacedTensor;
use rayon::prelude::*;
use serde_json::{Map, Value, json};
use std::ops::Range;
use std::path::Path;

/// Which weights become zero; docs/operations.md has the rules.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PruneMethod {
    /// Of each matrix, this share: those of the smallest magnitude.
    Magnitude {
        /// From 0 to 1.
        ratio: f64,
    },
    /// Of every four weights of one output that follow each other, the two smallest.
    TwoOfFour,
}

/// Weights that follow each other and of which half are kept.
const GROUP: usize = 4;

impl PruneMethod {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Magnitude { .. } => "magnitude",
            Self::TwoOfFour => "2:4",
        }
    }

    /// The share of the weights that it makes zero.
    #[must_use]
    pub const fn ratio(self) -> f64 {
        match self {
            Self::Magnitude { ratio } => ratio,
            Self::TwoOfFour => 0.5,
        }
    }
}

/// What pruning would write.
///
/// # Errors
/// When the model cannot be pruned or stored.
pub fn prune_plan(
    checkpoint: &Checkpoint,
    method: PruneMethod,
    target: &Path,
    options: &ConvertOptions,
) -> Result<PrunePlan, Error> {
    let pruning = Pruning(method);
    let plan = convert::plan_origin(pruning.origin(checkpoint), target, options)?;
    for tensor in plan.tensors.iter().filter(|tensor| pruning.changes(&tensor.placed)) {
        let dtype = tensor.layout.dtype();
        if !dtype.keeps_zero() {
            return Err(Error::Argument(format!(
                "{}: tensor {:?} is {dtype}, whose blocks cannot hold zeros: prune the original checkpoint, or a file in Q8_0, Q6_K, Q4_0 or floats",
                checkpoint.path().display(),
                tensor.name,
            )));
        }
    }
    Ok(PrunePlan::new(method, plan))
}

/// Prunes the matrices of the layers into the file `target` and proves it: the file is read back
/// and every element compared with its value, computed anew. Embeddings, head, norms, biases and
/// routers keep their bytes, all tensors their names, shapes and types.
///
/// # Errors
/// When the model is damaged, or has a type that cannot hold zeros, or the file cannot be written
/// or proven. Then no file is left behind.
pub fn prune(
    checkpoint: &Checkpoint,
    method: PruneMethod,
    target: &Path,
    options: &ConvertOptions,
    progress: &dyn Progress,
) -> Result<Prune, Error> {
    let plan = prune_plan(checkpoint, method, target, options)?;
    let proof = convert::write(Pruning(method).origin(checkpoint), target, options, progress)?;
    Ok(Prune::new(method, plan.plan.input_size, proof))
}

struct Pruning(PruneMethod);

impl Pruning {
    fn origin<'a>(&'a self, checkpoint: &'a Checkpoint) -> Origin<'a> {
        Origin { checkpoint, operation: Some(self) }
    }
}

impl Operation for Pruning {
    fn changes(&self, placed: &PlacedTensor) -> bool {
        placed.role.is_matrix() && placed.role.part.is_per_layer()
    }

    fn apply(&self, own: Source, piece: &Piece<'_>) -> Result<Source, Error> {
        let plain = own.clone();
        Ok(match self.0 {
            PruneMethod::Magnitude { ratio } => own.computed(Smallest::new(plain, ratio)?, 0.0),
            PruneMethod::TwoOfFour => {
                own.computed(Groups { source: plain, down: piece.form.transposed }, 0.0)
            }
        })
    }

    fn others(&self) -> Vec<&Checkpoint> {
        Vec::new()
    }

    fn settings(&self) -> Map<String, Value> {
        let mut settings = Map::new();
        settings.insert("name".to_owned(), json!("prune"));
        settings.insert("method".to_owned(), json!(self.0.name()));
        settings.insert("target_ratio".to_owned(), json!(self.0.ratio()));
        settings
    }

    fn label(&self) -> String {
        format!("the {} pruning of the source", self.0.name())
    }
}

/// The smallest of all weights become zero; of equal ones the first.
struct Smallest {
    source: Source,
    /// The largest magnitude that becomes zero; none if no weight does.
    largest: Option<f32>,
    /// For each row, how many of that magnitude before its end become zero.
    equal: Vec<usize>,
}

impl Smallest {
    fn new(source: Source, ratio: f64) -> Result<Self, Error> {
        let (rows, cols) = source.rows_and_cols();
        let count = share_of(ratio, rows * cols);
        let Some(rank) = count.checked_sub(1) else {
            return Ok(Self { source, largest: None, equal: Vec::new() });
        };
        let Ranked { magnitude, smaller } = ranked(&source, rank, |rows| source.read(rows))?;
        let in_rows = |rows: Range<usize>| -> Result<Vec<usize>, Error> {
            let values = source.read(rows)?;
            let equal = |row: &[f32]| row.iter().filter(|value| value.abs() == magnitude).count();
            Ok(values.chunks(cols.max(1)).map(equal).collect())
        };
        let chunks: Vec<Result<Vec<usize>, Error>> = source.chunks().map(in_rows).collect();
        let (mut left, mut equal) = (count - smaller, Vec::with_capacity(rows));
        for chunk in chunks {
            for found in chunk? {
                let zeroed = found.min(left);
                left -= zeroed;
                equal.push(zeroed);
            }
        }
        Ok(Self { source, largest: Some(magnitude), equal })
    }
}

impl Compute for Smallest {
    fn sources(&self) -> Vec<&Source> {
        vec![&self.source]
    }

    fn rows(&self, rows: Range<usize>) -> Result<Vec<f32>, Error> {
        let (_, cols) = self.source.rows_and_cols();
        let mut values = self.source.read(rows.clone())?;
        let Some(largest) = self.largest else { return Ok(values) };
        for (row, values) in rows.zip(values.chunks_mut(cols.max(1))) {
            let mut equal = self.equal.get(row).copied().unwrap_or_default();
            for value in values {
                let size = value.abs();
                if size < largest {
                    *value = 0.0;
                } else if size == largest && equal > 0 {
                    *value = 0.0;
                    equal -= 1;
                }
            }
        }
        Ok(values)
    }
}

/// The two smallest of every four inputs of an output become zero.
struct Groups {
    source: Source,
    /// Whether the inputs of an output lie below each other.
    down: bool,
}

impl Compute for Groups {
    fn sources(&self) -> Vec<&Source> {
        vec![&self.source]
    }

    fn rows_together(&self) -> usize {
        if self.down { GROUP } else { 1 }
    }

    fn rows(&self, rows: Range<usize>) -> Result<Vec<f32>, Error> {
        let cols = self.source.rows_and_cols().1.max(1);
        let mut values = self.source.read(rows)?;
        if self.down {
            for groups in values.chunks_exact_mut(GROUP * cols) {
                for col in 0..cols {
                    keep_two(groups, std::array::from_fn(|row| row * cols + col));
                }
            }
        } else {
            for row in values.chunks_exact_mut(cols) {
                for group in row.chunks_exact_mut(GROUP) {
                    keep_two(group, std::array::from_fn(|at| at));
                }
            }
        }
        Ok(values)
    }
}

/// Makes two of these four zero: the smallest, of equal ones the first.
fn keep_two(values: &mut [f32], group: [usize; GROUP]) {
    let mut order = group;
    // Stable: equal ones keep their order.
    order.sort_by(|&a, &b| values[a].abs().total_cmp(&values[b].abs()));
    for at in &order[..GROUP / 2] {
        values[*at] = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_four_are_the_smallest_and_of_equal_ones_the_first() {
        for (mut values, expected) in [
            ([1.0, -3.0, 2.0, -0.5], [0.0, -3.0, 2.0, 0.0]),
            ([1.0, 1.0, -1.0, 1.0], [0.0, 0.0, -1.0, 1.0]),
            ([0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]),
        ] {
            keep_two(&mut values, [0, 1, 2, 3]);
            assert_eq!(values, expected);
        }
    }

    #[test]
    fn exactly_the_share_becomes_zero_whatever_is_equal() {
        let values: Vec<f32> = (0_u8..100).map(|i| f32::from(i % 4) - 1.5).collect();
        let source = Source::of_values("values", &values).unwrap();
        for share in [0.0, 0.01, 0.3, 0.5, 0.77, 1.0] {
            let pruned = Smallest::new(source.clone(), share).unwrap().rows(0..1).unwrap();
            let zeros = pruned.iter().filter(|value| **value == 0.0).count();
            assert_eq!(zeros, share_of(share, 100), "{share}");
            let kept = pruned.iter().zip(&values).filter(|(new, _)| **new != 0.0);
            assert!(kept.clone().all(|(new, old)| new == old));
            let least = kept.map(|(new, _)| new.abs()).fold(f32::MAX, f32::min);
            let expected =
                [0.5, 1.5, f32::MAX][usize::from(share >= 0.5) + usize::from(share == 1.0)];
            assert_eq!(least, expected, "{share}");
        }
    }
}
