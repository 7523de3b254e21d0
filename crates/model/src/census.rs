//! Which tensor of a file plays which role: complete, with the right shapes, and nothing left over.

use crate::arch::{Arch, DerivedKind, Part, RowOrder, Stored, TensorName, TensorRole};
use crate::config::supported;
use crate::{ARCHS, ModelConfig, ModelError};
use apr_format::Container;
use std::collections::BTreeSet;

/// How the tensors of a file are named and oriented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// As published: perhaps with a prefix, some matrices `[in, out]`, tensors that are derived.
    Published,
    /// As in GGUF: names of its own, every matrix `[out, in]`, the heads of query and key perhaps
    /// in another order.
    Gguf,
    /// As in `.apr`: no prefix, every matrix `[out, in]`, weights only.
    Canonical,
}

/// A weight and where it is.
#[derive(Debug, Clone)]
pub struct PlacedTensor {
    /// Canonical name.
    pub name: String,
    /// Name in the file.
    pub source: String,
    /// What it is for.
    pub role: TensorRole,
    /// Layer, for the parts that every layer has.
    pub layer: Option<usize>,
    /// Whether the file holds the matrix as `[in, out]`.
    pub transposed: bool,
    /// Order of the rows within each of so many heads.
    pub row_order: RowOrder,
    /// Number of heads that the rows are of, for query and key.
    pub heads: Option<usize>,
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
        let placed: BTreeSet<&str> = tensors.iter().map(|tensor| tensor.source.as_str()).collect();
        let mut derived = Vec::new();
        for entry in
            container.tensors().iter().filter(|entry| !placed.contains(entry.name.as_str()))
        {
            let kind = derived_kind(config, naming, &entry.name).ok_or_else(|| {
                ModelError::UnknownTensor { tensor: entry.name.clone(), arch: config.arch.name }
            })?;
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
        query.map_or(RowOrder::Halves, |query| query.row_order)
    }
}

impl Arch {
    /// The architecture that all these tensor names belong to, and the number of layers, for
    /// files without a configuration beside them.
    ///
    /// # Errors
    /// When no architecture has all of these names and nothing else.
    pub fn infer(container: &Container) -> Result<(&'static Self, usize), ModelError> {
        let names: Vec<(String, Option<usize>)> =
            container.tensors().iter().map(|entry| split_layer(&entry.name)).collect();
        let patterns: BTreeSet<&str> = names.iter().map(|(pattern, _)| pattern.as_str()).collect();
        let layers = names.iter().filter_map(|(_, layer)| *layer).max().map_or(0, |last| last + 1);
        ARCHS
            .iter()
            .find(|arch| arch.has_exactly(&patterns))
            .map(|arch| (*arch, layers))
            .ok_or_else(|| ModelError::UnknownArchitecture {
                name: "(by the tensor names)".to_owned(),
                supported: supported(),
            })
    }

    fn has_exactly(&self, patterns: &BTreeSet<&str>) -> bool {
        let prefix = self.optional_prefix.unwrap_or_default();
        let bare: BTreeSet<&str> = patterns
            .iter()
            .map(|pattern| pattern.strip_prefix(prefix).unwrap_or(pattern))
            .collect();
        let needed = self.tensors.iter().filter(|tensor| tensor.role.part != Part::Head);
        let known = |pattern: &&str| {
            self.tensors.iter().any(|tensor| tensor.name == *pattern)
                || self.derived.iter().any(|derived| derived.name == *pattern)
        };
        needed.clone().all(|tensor| bare.contains(tensor.name)) && bare.iter().all(known)
    }
}

fn place(
    config: &ModelConfig,
    container: &Container,
    naming: Naming,
    tensor: &TensorName,
    layer: Option<usize>,
) -> Result<PlacedTensor, ModelError> {
    let name = tensor.name(layer);
    let in_file = match naming {
        Naming::Published | Naming::Canonical => name.clone(),
        Naming::Gguf => tensor.role.gguf_name(layer),
    };
    let prefixed = config
        .arch
        .optional_prefix
        .filter(|_| naming == Naming::Published)
        .map(|prefix| format!("{prefix}{name}"));
    let entry = container
        .entry(&in_file)
        .or_else(|| container.entry(prefixed.as_deref()?))
        .ok_or(ModelError::MissingTensor { tensor: in_file })?;
    let transposed = naming == Naming::Published && tensor.stored == Stored::InOut;
    let mut expected = config.shape(tensor.role);
    if transposed {
        expected.reverse();
    }
    if entry.layout.shape() != expected {
        let found = entry.layout.shape().to_vec();
        return Err(ModelError::Shape { tensor: entry.name.clone(), expected, found });
    }
    let heads = if tensor.role.part == Part::Query {
        Some(config.heads)
    } else {
        Some(config.kv_heads).filter(|_| tensor.role.part == Part::Key)
    };
    let row_order = match naming {
        Naming::Gguf if heads.is_some() => config.arch.gguf_heads,
        Naming::Gguf | Naming::Published | Naming::Canonical => RowOrder::Halves,
    };
    let (source, role) = (entry.name.clone(), tensor.role);
    Ok(PlacedTensor { name, source, role, layer, transposed, row_order, heads })
}

fn derived_kind(config: &ModelConfig, naming: Naming, name: &str) -> Option<DerivedKind> {
    if naming != Naming::Published {
        return None;
    }
    let prefix = config.arch.optional_prefix.unwrap_or_default();
    let (pattern, layer) = split_layer(name.strip_prefix(prefix).unwrap_or(name));
    let head = |tensor: &&TensorName| tensor.role.part == Part::Head && tensor.name == pattern;
    if config.tied && config.arch.tensors.iter().any(|tensor| head(&tensor)) {
        return Some(DerivedKind::TiedHead);
    }
    if layer.is_none_or(|layer| layer >= config.layers) {
        return None;
    }
    config.arch.derived.iter().find(|derived| derived.name == pattern).map(|derived| derived.kind)
}

/// The name with its layer number replaced by `{}`, and that number.
fn split_layer(name: &str) -> (String, Option<usize>) {
    let mut layer = None;
    let parts: Vec<&str> = name
        .split('.')
        .map(|part| match part.parse::<usize>() {
            // "+1" and "01" parse too, and are no layer numbers.
            Ok(number) if layer.is_none() && number.to_string() == part => {
                layer = Some(number);
                "{}"
            }
            Ok(_) | Err(_) => part,
        })
        .collect();
    (parts.join("."), layer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layer_numbers_are_found() {
        assert_eq!(split_layer("h.11.attn.bias"), ("h.{}.attn.bias".to_owned(), Some(11)));
        assert_eq!(split_layer("model.norm.weight"), ("model.norm.weight".to_owned(), None));
        assert_eq!(split_layer("h.+1.attn.bias"), ("h.+1.attn.bias".to_owned(), None));
    }
}
