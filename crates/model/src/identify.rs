//! What a tensor is by its name alone: for files without a configuration, parts of a model, and
//! files that are damaged.
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    reason = "everything parsed here may be hostile"
)]

use crate::arch::{Arch, DerivedKind, Part, TensorName, TensorRole};
use crate::config::{MAX_LAYERS, supported};
use crate::gguf::FACTORS;
use crate::{ARCHS, ModelError, Naming};
use apr_format::{Container, TensorEntry};
use std::collections::BTreeSet;

/// What a tensor is by its name.
#[derive(Debug, Clone, Copy)]
pub enum Identity {
    /// A weight.
    Weight {
        /// Its row in the architecture's table.
        tensor: &'static TensorName,
        /// Layer, for the parts that every layer has.
        layer: Option<usize>,
        /// Expert, where each has a tensor of its own.
        expert: Option<usize>,
    },
    /// A tensor that follows from the rest.
    Derived {
        /// What it is.
        kind: DerivedKind,
        /// Layer, for those that every layer has.
        layer: Option<usize>,
    },
}

impl Arch {
    /// What the tensor of this name is in a file that names its tensors in this way; none if the
    /// architecture has no such tensor.
    #[must_use]
    pub fn identify(&self, naming: Naming, name: &str) -> Option<Identity> {
        let prefix = self.optional_prefix.filter(|_| naming == Naming::Published);
        let name = name.strip_prefix(prefix.unwrap_or_default()).unwrap_or(name);
        let Split { pattern, layer, expert } = Split::of(name);
        let is_named = |tensor: &&TensorName| match naming {
            Naming::Published | Naming::Canonical => names(tensor, &pattern),
            Naming::Gguf => tensor.role.gguf_name(None) == pattern,
        };
        if let Some(tensor) = self.tensors.iter().find(is_named) {
            return Some(Identity::Weight { tensor, layer, expert });
        }
        match naming {
            Naming::Published => {
                let derived = self.derived.iter().find(|derived| derived.name == pattern)?;
                Some(Identity::Derived { kind: derived.kind, layer })
            }
            Naming::Gguf if self.is_rotary() && FACTORS.contains(&name) => {
                Some(Identity::Derived { kind: DerivedKind::RopeFactors, layer: None })
            }
            Naming::Gguf | Naming::Canonical => None,
        }
    }

    /// Every weight of a model with so many layers: role, layer, and name in a file that names its
    /// tensors in this way, where the experts of a layer count as one.
    #[must_use]
    pub fn weights(
        &self,
        layers: usize,
        naming: Naming,
    ) -> Vec<(TensorRole, Option<usize>, String)> {
        let named = |tensor: &TensorName, layer| {
            let name = match naming {
                Naming::Published | Naming::Canonical => tensor.name(layer),
                Naming::Gguf => tensor.role.gguf_name(layer),
            };
            (tensor.role, layer, name)
        };
        let of = |tensor: &'static TensorName| {
            let count = if tensor.role.part.is_per_layer() { layers } else { 1 };
            (0..count).map(move |at| named(tensor, tensor.role.part.is_per_layer().then_some(at)))
        };
        self.tensors.iter().flat_map(of).collect()
    }

    /// The architecture that these tensor names belong to, and the number of layers, for files
    /// without a configuration beside them. A file may be a part of a model: what counts is that
    /// the architecture knows every name, and of several that do, the one of whose names the file
    /// lacks the fewest.
    ///
    /// # Errors
    /// When no architecture knows all of these names.
    pub fn infer(container: &Container) -> Result<(&'static Self, usize), ModelError> {
        let names: Vec<Split> =
            container.tensors().iter().map(|entry| Split::of(&entry.name)).collect();
        let patterns: BTreeSet<&str> = names.iter().map(|name| name.pattern.as_str()).collect();
        ARCHS
            .iter()
            .filter_map(|arch| Some((*arch, arch.lacks(&patterns)?)))
            .min_by_key(|(_, lacks)| *lacks)
            .map(|(arch, _)| (arch, layers_in(container)))
            .ok_or_else(|| ModelError::UnknownArchitecture {
                name: "(by the tensor names)".to_owned(),
                supported: supported(),
            })
    }

    /// How many of the architecture's names are not among these; none if one of these is not
    /// among the architecture's, or none is that of a weight.
    fn lacks(&self, patterns: &BTreeSet<&str>) -> Option<usize> {
        let prefix = self.optional_prefix.unwrap_or_default();
        let bare: BTreeSet<&str> = patterns
            .iter()
            .map(|pattern| pattern.strip_prefix(prefix).unwrap_or(pattern))
            .collect();
        let derived = |pattern: &&str| self.derived.iter().any(|derived| derived.name == *pattern);
        let weight = |pattern: &&str| self.tensors.iter().any(|tensor| names(tensor, pattern));
        if !bare.iter().any(weight) || !bare.iter().all(|name| weight(name) || derived(name)) {
            return None;
        }
        let needed = self.tensors.iter().filter(|tensor| tensor.role.part != Part::Head);
        Some(needed.filter(|tensor| !bare.iter().any(|pattern| names(tensor, pattern))).count())
    }
}

/// Number of layers by the tensor names alone, whatever the architecture.
#[must_use]
pub fn layers_in(container: &Container) -> usize {
    let layer = |entry: &TensorEntry| Split::of(&entry.name).layer;
    container.tensors().iter().filter_map(layer).max().map_or(0, |last| last.saturating_add(1))
}

/// A tensor's layer by its name alone, whatever the architecture, and the name with `{}` in place
/// of the layer's number and `{e}` in place of an expert's.
#[must_use]
pub fn layer_and_pattern(name: &str) -> (Option<usize>, String) {
    let Split { layer, pattern, .. } = Split::of(name);
    (layer, pattern)
}

/// Whether this is the tensor's published or its canonical name.
fn names(tensor: &TensorName, pattern: &str) -> bool {
    tensor.name == pattern || tensor.name.replace(".{e}", "") == pattern
}

/// A name with its layer number replaced by `{}` and its expert number by `{e}`.
#[derive(Debug, PartialEq, Eq)]
struct Split {
    pattern: String,
    layer: Option<usize>,
    expert: Option<usize>,
}

impl Split {
    fn of(name: &str) -> Self {
        let (mut layer, mut expert) = (None, None);
        let parts: Vec<&str> = name
            .split('.')
            .map(|part| match part.parse::<usize>() {
                // "+1" and "01" parse too, and are no numbers of layers or experts; nor are those
                // past all models, which would make one tensor a model of as many layers.
                Ok(number) if number < MAX_LAYERS && number.to_string() == part => {
                    if layer.is_some() {
                        expert = Some(number);
                        return "{e}";
                    }
                    layer = Some(number);
                    "{}"
                }
                Ok(_) | Err(_) => part,
            })
            .collect();
        Self { pattern: parts.join("."), layer, expert }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layer_numbers_are_found() {
        let split = |name| {
            let Split { pattern, layer, expert } = Split::of(name);
            (pattern, layer, expert)
        };
        assert_eq!(split("h.11.attn.bias"), ("h.{}.attn.bias".to_owned(), Some(11), None));
        assert_eq!(split("model.norm.weight"), ("model.norm.weight".to_owned(), None, None));
        assert_eq!(
            split("layers.3.experts.12.w1"),
            ("layers.{}.experts.{e}.w1".to_owned(), Some(3), Some(12))
        );
        assert_eq!(split("h.+1.attn.bias"), ("h.+1.attn.bias".to_owned(), None, None));
    }

    #[test]
    fn a_name_is_found_in_every_naming() {
        for arch in ARCHS {
            for tensor in arch.tensors {
                let layer = tensor.role.part.is_per_layer().then_some(7);
                for (naming, name) in [
                    (Naming::Published, tensor.published(layer, 3)),
                    (Naming::Canonical, tensor.name(layer)),
                    (Naming::Gguf, tensor.role.gguf_name(layer)),
                ] {
                    let Some(Identity::Weight { tensor: found, layer: at, .. }) =
                        arch.identify(naming, &name)
                    else {
                        panic!("{}: {name} is not found", arch.name);
                    };
                    // GGUF calls "up" what is up alone or gate and up in one.
                    assert_eq!((found.role, at), (tensor.role, layer), "{}: {name}", arch.name);
                }
            }
            assert!(arch.identify(Naming::Published, "model.extra.weight").is_none());
        }
    }
}
