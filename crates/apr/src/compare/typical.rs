//! What tensors of a kind depart by: a tensor that departs by much more is damaged, whatever its
//! type explains.

use super::Difference;

/// How much more than others of its kind.
const FACTOR: f64 = 2.0;
/// Below this a whole tensor is as good as the same: rounding of arithmetic, not of types.
const SAME: f64 = 1e-6;
/// Below this a run of values is not damaged, whatever others are.
const DAMAGED_RUN: f64 = 0.5;
/// Others of a kind, without which tensors of other parts have to do.
const ENOUGH: usize = 2;

/// What tensors like one depart by.
pub(crate) struct Typical {
    /// Over all values; none if there is no other.
    pub(crate) relative: Option<f64>,
    worst_run: f64,
}

impl Typical {
    /// Whether a tensor departs by more than twice this, as a whole or in its worst run.
    pub(crate) fn is_exceeded_by(&self, difference: &Difference) -> bool {
        let distance = &difference.distance;
        let exceeds = |typical: f64| distance.relative() > (FACTOR * typical).max(SAME);
        let torn = distance.worst_run > (FACTOR * self.worst_run).max(DAMAGED_RUN);
        distance.not_finite > 0 || torn || self.relative.is_some_and(exceeds)
    }

    /// From the same part in other layers, stored in the same types; if there are not enough,
    /// from other parts in the same types.
    pub(crate) fn of(difference: &Difference, all: &[Difference]) -> Self {
        let is_other = |other: &&Difference| {
            other.name != difference.name
                && other.dtypes == difference.dtypes
                && other.distance.not_finite == 0
        };
        let mut like: Vec<&Difference> =
            all.iter().filter(is_other).filter(|other| other.role == difference.role).collect();
        if like.len() < ENOUGH {
            let is_matrix = |of: &Difference| of.role.is_some_and(|role| role.is_matrix());
            let alike = |other: &&Difference| is_matrix(other) == is_matrix(difference);
            like = all.iter().filter(is_other).filter(alike).collect();
        }
        let of = |f: fn(&Difference) -> f64| median(like.iter().map(|other| f(other)).collect());
        Self {
            relative: of(|other| other.distance.relative()),
            worst_run: of(|other| other.distance.worst_run).unwrap_or_default(),
        }
    }
}

/// The middle value; of an even number the larger of two.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
