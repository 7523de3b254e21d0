//! The layers of a model, from its header.

use super::report::{Trace, TracedLayer};
use crate::{Checkpoint, Error, units};
use apr_model::Identity;

pub(super) fn trace(checkpoint: &Checkpoint) -> Result<Trace, Error> {
    let (arch, count) = checkpoint.arch_and_layers()?;
    let layer = |index| TracedLayer { index, name: format!("layer {index}"), ..Default::default() };
    let mut layers: Vec<TracedLayer> = (0..count).map(layer).collect();
    for entry in checkpoint.container().tensors() {
        let index = match arch.identify(checkpoint.naming(), &entry.name) {
            Some(Identity::Weight { layer, .. } | Identity::Derived { layer, .. }) => layer,
            None => None,
        };
        let Some(layer) = index.and_then(|index| layers.get_mut(index)) else { continue };
        layer.tensors += 1;
        layer.parameters += units::size(entry.layout.elem_count());
        layer.size_bytes += units::size(entry.layout.byte_len());
        *layer.dtypes.entry(entry.layout.dtype().name()).or_default() += 1;
    }
    Ok(Trace {
        model: checkpoint.path().display().to_string(),
        architecture: arch.name,
        format: checkpoint.container().format(),
        layers,
        prompt: None,
        tokens: Vec::new(),
        outside: Vec::new(),
        against: None,
    })
}
