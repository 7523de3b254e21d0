//! Which tensors depart from a reference by more than the others of their kind.

use super::compare::Departure;
use super::report::{DamagedTensor, Trace};
use super::run::operation_of;
use crate::compare::{Difference, Typical, median};

/// The tensors that are damaged, the worst first.
pub(super) fn damaged(departures: &[Departure], trace: &Trace) -> Vec<DamagedTensor> {
    let all: Vec<Difference> =
        departures.iter().map(|departure| departure.difference.clone()).collect();
    let mut damaged: Vec<(&Departure, Typical)> = departures
        .iter()
        .map(|departure| (departure, Typical::of(&departure.difference, &all)))
        .filter(|(departure, typical)| typical.is_exceeded_by(&departure.difference))
        .collect();
    // What has no figure comes first.
    let size = |departure: &Departure| match departure.not_finite {
        Some(_) => f64::INFINITY,
        None => departure.difference.distance.relative(),
    };
    damaged.sort_by(|(a, _), (b, _)| size(b).total_cmp(&size(a)));
    damaged.iter().filter_map(|(found, typical)| describe(found, typical, trace)).collect()
}

fn describe(departure: &Departure, typical: &Typical, trace: &Trace) -> Option<DamagedTensor> {
    let difference = &departure.difference;
    let (role, distance) = (difference.role?, &difference.distance);
    let operation = operation_of(role.part);
    let own = |layer| trace.operation(layer, operation).and_then(|operation| operation.own_error);
    let others = (0..trace.layers.len()).map(Some).filter(|layer| *layer != difference.layer);
    let is_finite = departure.not_finite.is_none();
    Some(DamagedTensor {
        name: difference.name.clone(),
        part: role.to_string(),
        layer: difference.layer,
        dtype: difference.dtypes.0.name(),
        difference: is_finite.then(|| distance.relative()),
        typical_difference: typical.relative,
        worst_run: is_finite.then_some(distance.worst_run),
        worst_at: if is_finite { distance.worst_at } else { [0, 0] },
        not_finite: departure.not_finite.clone(),
        operation,
        own_error: own(difference.layer),
        typical_own_error: difference.layer.and(median(others.filter_map(own).collect())),
    })
}
