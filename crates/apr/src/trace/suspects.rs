//! Which tensors depart from a reference by more than the others of their kind.

use super::compare::Difference;
use super::report::{DamagedTensor, Trace};
use super::run::operation_of;

/// How much more than others of its kind.
const FACTOR: f64 = 2.0;
/// Below this a whole tensor is as good as the same: rounding of arithmetic, not of types.
const SAME: f64 = 1e-6;
/// Below this a run of values is not damaged, whatever others are.
const DAMAGED_RUN: f64 = 0.5;
/// Others of a kind, without which tensors of other parts have to do.
const ENOUGH: usize = 2;

/// The tensors that are damaged, the worst first.
pub(super) fn damaged(differences: &[Difference], trace: &Trace) -> Vec<DamagedTensor> {
    let mut damaged: Vec<(&Difference, Typical)> = differences
        .iter()
        .map(|difference| (difference, Typical::of(difference, differences)))
        .filter(|(difference, typical)| typical.is_exceeded_by(difference))
        .collect();
    damaged.sort_by(|(a, _), (b, _)| b.relative.total_cmp(&a.relative));
    damaged.iter().map(|(difference, typical)| describe(difference, typical, trace)).collect()
}

fn describe(difference: &Difference, typical: &Typical, trace: &Trace) -> DamagedTensor {
    let operation = operation_of(difference.role.part);
    let own = |layer| trace.operation(layer, operation).and_then(|operation| operation.own_error);
    let others = (0..trace.layers.len()).map(Some).filter(|layer| *layer != difference.layer);
    DamagedTensor {
        name: difference.name.clone(),
        part: difference.role.to_string(),
        layer: difference.layer,
        dtype: difference.dtypes.0.name(),
        difference: Some(difference.relative).filter(|share| share.is_finite()),
        typical_difference: typical.is_known.then_some(typical.relative),
        worst_run: Some(difference.worst_run).filter(|share| share.is_finite()),
        worst_at: difference.worst_at,
        not_finite: difference.not_finite.clone(),
        operation,
        own_error: own(difference.layer),
        typical_own_error: difference.layer.and(median(others.filter_map(own).collect())),
    }
}

/// What tensors like one depart by.
struct Typical {
    is_known: bool,
    relative: f64,
    worst_run: f64,
}

impl Typical {
    fn is_exceeded_by(&self, difference: &Difference) -> bool {
        let too_far = difference.relative > (FACTOR * self.relative).max(SAME);
        let torn = difference.worst_run > (FACTOR * self.worst_run).max(DAMAGED_RUN);
        torn || (self.is_known && too_far)
    }

    /// From the same part in other layers, stored in the same types; if there are not enough,
    /// from other parts in the same types.
    fn of(difference: &Difference, all: &[Difference]) -> Self {
        let is_other = |other: &&Difference| {
            (other.role, other.layer) != (difference.role, difference.layer)
                && other.dtypes == difference.dtypes
                && other.not_finite.is_none()
        };
        let mut like: Vec<&Difference> =
            all.iter().filter(is_other).filter(|other| other.role == difference.role).collect();
        if like.len() < ENOUGH {
            let is_matrix = difference.role.is_matrix();
            let alike = |other: &&Difference| other.role.is_matrix() == is_matrix;
            like = all.iter().filter(is_other).filter(alike).collect();
        }
        let of = |f: fn(&Difference) -> f64| median(like.iter().map(|other| f(other)).collect());
        let relative = of(|other| other.relative);
        Self {
            is_known: relative.is_some(),
            relative: relative.unwrap_or_default(),
            worst_run: of(|other| other.worst_run).unwrap_or_default(),
        }
    }
}

/// The middle value; of an even number the larger of two.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
