//! Which tensor of a file plays which role: complete, with the right shapes, and nothing left over.
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    reason = "everything parsed here may be hostile"
)]

use crate::arch::{DerivedKind, Form, Part, RowOrder, Stored, TensorName, TensorRole};
use crate::{Identity, ModelConfig, ModelError};
use apr_format::{Container, TensorEntry};
use apr_tensor::TensorLayout;
use std::collections::BTreeSet;

/// How the tensors of a file are named and oriented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// As published: perhaps with a prefix, some matrices `[in, out]`, a tensor per expert,
    /// tensors that are derived.
    Published,
    /// As in GGUF: names of its own, every matrix `[out, in]`, the heads of query and key perhaps
    /// in another order, the experts of a layer stacked.
    Gguf,
    /// As in `.apr`: no prefix, every matrix `[out, in]`, the experts of a layer stacked, weights
    /// only.
    Canonical,
}

impl Naming {
    /// That of files of this format.
    #[must_use]
    pub fn of(format: &str) -> Self {
        match format {
            apr_format::apr::NAME => Self::Canonical,
            apr_format::gguf::NAME => Self::Gguf,
            _ => Self::Published,
        }
    }
}

/// A weight and where it is.
#[derive(Debug, Clone)]
pub struct PlacedTensor {
    /// Canonical name.
    pub name: String,
    /// Names in the file: one, or those of all experts, whose rows follow each other.
    pub sources: Vec<String>,
    /// Type and shape of these together, as they are stored.
    pub layout: TensorLayout,
    /// What it is for.
    pub role: TensorRole,
    /// Layer, for the parts that every layer has.
    pub layer: Option<usize>,
    /// How the values lie in the file.
    pub form: Form,
    /// Number of heads that the rows are of, for query, key and what contains them.
    pub heads: usize,
    /// Rows of a head.
    pub head_dim: usize,
}

impl PlacedTensor {
    /// Its name in the file; where there are several, that of all together.
    #[must_use]
    pub fn source(&self) -> &str {
        match &self.sources[..] {
            [only] => only,
            _ => &self.name,
        }
    }
}

/// A tensor of a file that is not a weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DerivedTensor {
    /// Name in the file.
    pub source: String,
    /// What it is.
    pub kind: DerivedKind,
}

/// Every tensor of a file, accounted for.
#[derive(Debug)]
pub struct Census {
    /// The weights, in the order of the model.
    pub tensors: Vec<PlacedTensor>,
    /// The others.
    pub derived: Vec<DerivedTensor>,
}

impl Census {
    /// Assigns every tensor of `container` to its role.
    ///
    /// # Errors
    /// When a weight is missing or has another shape than the configuration says, or when a
    /// tensor has no role.
    pub fn take(
        config: &ModelConfig,
        container: &Container,
        naming: Naming,
    ) -> Result<Self, ModelError> {
        let mut tensors = Vec::new();
        let per_layer = config.arch.tensors.iter().filter(|tensor| tensor.role.part.is_per_layer());
        for tensor in config.arch.tensors.iter().filter(|tensor| !tensor.role.part.is_per_layer()) {
            if tensor.role.part != Part::Head || !config.tied {
                tensors.push(place(config, container, naming, tensor, None)?);
            }
        }
        for layer in 0..config.layers {
            for tensor in per_layer.clone() {
                tensors.push(place(config, container, naming, tensor, Some(layer))?);
            }
        }
        let placed: BTreeSet<&str> =
            tensors.iter().flat_map(|tensor| &tensor.sources).map(String::as_str).collect();
        let mut derived = Vec::new();
        for entry in
            container.tensors().iter().filter(|entry| !placed.contains(entry.name.as_str()))
        {
            let kind = derived_kind(config, naming, &entry.name).ok_or_else(|| {
                ModelError::UnknownTensor { tensor: entry.name.clone(), arch: config.arch.name }
            })?;
            if kind == DerivedKind::RopeFactors {
                check_factors(config, container, entry)?;
            }
            derived.push(DerivedTensor { source: entry.name.clone(), kind });
        }
        Ok(Self { tensors, derived })
    }
}

impl Census {
    /// The order of the rows within each head of query and key.
    #[must_use]
    pub fn query_row_order(&self) -> RowOrder {
        let query = self.tensors.iter().find(|tensor| tensor.role.part == Part::Query);
        query.map_or(RowOrder::Halves, |query| query.form.row_order)
    }
}

fn place(
    config: &ModelConfig,
    container: &Container,
    naming: Naming,
    tensor: &TensorName,
    layer: Option<usize>,
) -> Result<PlacedTensor, ModelError> {
    let form = config.arch.form(tensor, naming);
    let mut shape = config.shape(tensor.role);
    if form.transposed {
        shape.reverse();
    }
    let stacked = naming == Naming::Published && tensor.stored == Stored::PerExpert;
    let (parts, of_part) = match &shape[..] {
        [experts, of_expert @ ..] if stacked => (*experts, of_expert),
        whole => (1, whole),
    };
    let mut sources = Vec::new();
    let mut dtype = None;
    for part in 0..parts {
        let entry = find(config, container, naming, (tensor, layer, part))?;
        if entry.layout.shape() != of_part {
            let (expected, found) = (of_part.to_vec(), entry.layout.shape().to_vec());
            return Err(ModelError::Shape { tensor: entry.name.clone(), expected, found });
        }
        let (expected, found) = (*dtype.get_or_insert(entry.layout.dtype()), entry.layout.dtype());
        if expected != found {
            return Err(ModelError::MixedTypes { tensor: entry.name.clone(), expected, found });
        }
        sources.push(entry.name.clone());
    }
    let missing = || ModelError::MissingTensor { tensor: tensor.name(layer) };
    let (heads, head_dim) = config.heads_of(tensor.role);
    Ok(PlacedTensor {
        name: tensor.name(layer),
        sources,
        layout: TensorLayout::new(dtype.ok_or_else(missing)?, &shape)?,
        role: tensor.role,
        layer,
        form,
        heads,
        head_dim,
    })
}

/// The tensor's entry in the file: by its name there, with or without the optional prefix.
fn find<'a>(
    config: &ModelConfig,
    container: &'a Container,
    naming: Naming,
    (tensor, layer, part): (&TensorName, Option<usize>, usize),
) -> Result<&'a TensorEntry, ModelError> {
    let name = match naming {
        Naming::Published => tensor.published(layer, part),
        Naming::Canonical => tensor.name(layer),
        Naming::Gguf => tensor.role.gguf_name(layer),
    };
    let prefix = config.arch.optional_prefix.filter(|_| naming == Naming::Published);
    container
        .entry(&name)
        .or_else(|| container.entry(&format!("{}{name}", prefix?)))
        .ok_or(ModelError::MissingTensor { tensor: name })
}

fn derived_kind(config: &ModelConfig, naming: Naming, name: &str) -> Option<DerivedKind> {
    match naming {
        Naming::Canonical => return None,
        Naming::Gguf => {
            let factors = config.gguf_factors();
            let is_factor = factors.iter().any(|(of, _)| *of == name);
            return is_factor.then_some(DerivedKind::RopeFactors);
        }
        Naming::Published => {}
    }
    match config.arch.identify(naming, name)? {
        Identity::Weight { tensor, .. } => {
            let head = config.tied && tensor.role.part == Part::Head;
            head.then_some(DerivedKind::TiedHead)
        }
        Identity::Derived { kind, layer } => {
            layer.is_some_and(|layer| layer < config.layers).then_some(kind)
        }
    }
}

/// The parameters were taken from the keys beside this tensor: they must give its values.
fn check_factors(
    config: &ModelConfig,
    container: &Container,
    entry: &TensorEntry,
) -> Result<(), ModelError> {
    if container.files().iter().any(|file| file.bytes().is_none()) {
        return Ok(());
    }
    let found = container.tensor(&entry.name)?.view().to_f32();
    let expected = config.gguf_factors().into_iter().find(|(name, _)| *name == entry.name);
    let expected = expected.map(|(_, values)| values).unwrap_or_default();
    // Powers of the base are rounded in more than one way.
    let close = |(found, expected): (&f32, &f32)| (found - expected).abs() <= 1e-5 * expected;
    if found.len() == expected.len() && found.iter().zip(&expected).all(close) {
        return Ok(());
    }
    let cause = "holds other divisors of rotary frequencies than the keys of the file imply";
    Err(ModelError::Derived { tensor: entry.name.clone(), cause })
}
