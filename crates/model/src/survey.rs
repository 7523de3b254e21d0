//! The tensors of a file with their roles as far as they have one: a [`Census`](crate::Census)
//! that refuses nothing, for comparing and describing files that may be incomplete or damaged.
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    reason = "everything parsed here may be hostile"
)]

use crate::arch::{Arch, DerivedKind, Form, Part, TensorName};
use crate::{DerivedTensor, Identity, ModelConfig, ModelError, Naming, PlacedTensor};
use apr_format::{Container, TensorEntry};
use apr_tensor::TensorLayout;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry::{Occupied, Vacant};

/// The tensors of a file.
#[derive(Debug, Default)]
pub struct Survey {
    /// Those that are weights by their names, in the order of the model, with the shapes that the
    /// file gives them.
    pub tensors: Vec<PlacedTensor>,
    /// Those that follow from the rest.
    pub derived: Vec<DerivedTensor>,
    /// Names of those that the architecture does not have.
    pub unknown: Vec<String>,
}

/// Layer, row in the architecture's table.
type Place = (Option<usize>, usize);

impl Survey {
    /// Looks at every tensor of `container`. Without the parameters, a head beside a tied
    /// embedding counts as a weight, and tensors whose rows are ordered by heads cannot be
    /// brought into another order.
    ///
    /// # Errors
    /// When the experts of a layer differ in type or shape.
    pub fn take(
        arch: &'static Arch,
        config: Option<&ModelConfig>,
        container: &Container,
        naming: Naming,
    ) -> Result<Self, ModelError> {
        let mut survey = Self::default();
        let mut places: BTreeMap<Place, BTreeMap<Option<usize>, &TensorEntry>> = BTreeMap::new();
        for entry in container.tensors() {
            let derived = |kind| DerivedTensor { source: entry.name.clone(), kind };
            match arch.identify(naming, &entry.name) {
                Some(Identity::Weight { tensor, .. })
                    if tensor.role.part == Part::Head && config.is_some_and(|c| c.tied) =>
                {
                    survey.derived.push(derived(DerivedKind::TiedHead));
                }
                Some(Identity::Weight { tensor, layer, expert }) => {
                    let row = arch.tensors.iter().position(|row| row.role == tensor.role);
                    let place = places.entry((layer, row.unwrap_or_default())).or_default();
                    match place.entry(expert) {
                        Vacant(place) => _ = place.insert(entry),
                        // The same name with the optional prefix and without.
                        Occupied(_) => survey.unknown.push(entry.name.clone()),
                    }
                }
                Some(Identity::Derived { kind, .. }) => survey.derived.push(derived(kind)),
                None => survey.unknown.push(entry.name.clone()),
            }
        }
        for ((layer, row), entries) in places {
            let entries = entries.into_values().collect();
            let Some(tensor) = arch.tensors.get(row) else { continue };
            let placed = place(arch.form(tensor, naming), (tensor, layer), entries, config)?;
            survey.tensors.push(placed);
        }
        Ok(survey)
    }
}

fn place(
    form: Form,
    (tensor, layer): (&TensorName, Option<usize>),
    entries: Vec<&TensorEntry>,
    config: Option<&ModelConfig>,
) -> Result<PlacedTensor, ModelError> {
    let missing = || ModelError::MissingTensor { tensor: tensor.name(layer) };
    let first = &entries.first().ok_or_else(missing)?.layout;
    for entry in &entries {
        let (expected, found) = (first.dtype(), entry.layout.dtype());
        if expected != found {
            return Err(ModelError::MixedTypes { tensor: entry.name.clone(), expected, found });
        }
        if first.shape() != entry.layout.shape() {
            let (expected, found) = (first.shape().to_vec(), entry.layout.shape().to_vec());
            return Err(ModelError::Shape { tensor: entry.name.clone(), expected, found });
        }
    }
    let experts = tensor.name.contains("{e}") && first.shape().len() < 3;
    let layout = if experts {
        let shape = [&[entries.len()], first.shape()].concat();
        TensorLayout::new(first.dtype(), &shape)?
    } else {
        first.clone()
    };
    let (heads, head_dim) = config.map_or((1, 1), |config| config.heads_of(tensor.role));
    Ok(PlacedTensor {
        name: tensor.name(layer),
        sources: entries.into_iter().map(|entry| entry.name.clone()).collect(),
        layout,
        role: tensor.role,
        layer,
        form,
        heads,
        head_dim,
    })
}
