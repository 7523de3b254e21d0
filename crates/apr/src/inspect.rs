//! What a file is, from its header alone.

use crate::units::{self, Table};
use crate::{Checkpoint, Error};
use apr_format::{Container, Metadata};
use apr_model::Arch;
use apr_tensor::TensorLayout;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// What a file is.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Inspection {
    /// Name of the architecture.
    pub architecture: &'static str,
    /// Number of layers.
    pub num_layers: usize,
    /// Number of query heads; unknown without a configuration.
    pub num_heads: Option<usize>,
    /// Number of key and value heads; unknown without a configuration.
    pub num_kv_heads: Option<usize>,
    /// Width of the residual stream.
    pub hidden_size: Option<usize>,
    /// Rows of the embedding.
    pub vocab_size: Option<usize>,
    /// Container format.
    pub format: &'static str,
    /// Bytes of the weight files.
    pub file_size: u64,
    /// Number of tensors.
    pub tensor_count: usize,
    /// Elements of all tensors that have dimensions.
    pub total_params: u64,
    /// Number of tensors of each type.
    pub dtypes: BTreeMap<&'static str, usize>,
    /// What the file says of itself.
    pub metadata: Metadata,
}

/// Describes a model from its header.
///
/// # Errors
/// When its architecture is not supported.
pub fn inspect(checkpoint: &Checkpoint) -> Result<Inspection, Error> {
    let container = checkpoint.container();
    let config = checkpoint.known_config()?;
    let (arch, layers) = checkpoint.arch_and_layers()?;
    let embedding = match &config {
        Some(config) => Some((config.vocab_size, config.hidden_size)),
        None => embedding_shape(checkpoint, arch),
    };
    let mut dtypes = BTreeMap::new();
    for entry in container.tensors() {
        *dtypes.entry(entry.layout.dtype().name()).or_default() += 1;
    }
    Ok(Inspection {
        architecture: arch.name,
        num_layers: layers,
        num_heads: config.as_ref().map(|config| config.heads),
        num_kv_heads: config.as_ref().map(|config| config.kv_heads),
        hidden_size: embedding.map(|(_, hidden)| hidden),
        vocab_size: embedding.map(|(vocab, _)| vocab),
        format: container.format(),
        file_size: container.byte_len(),
        tensor_count: container.tensors().len(),
        total_params: total_params(container),
        dtypes,
        metadata: container.metadata().clone(),
    })
}

/// Elements of all tensors that have dimensions: what has none is a setting, no weight.
pub(crate) fn total_params(container: &Container) -> u64 {
    units::total(container.tensors().iter().map(|entry| params(&entry.layout)))
}

/// Elements of a tensor that has dimensions.
pub(crate) fn params(layout: &TensorLayout) -> u64 {
    if layout.shape().is_empty() { 0 } else { units::size(layout.elem_count()) }
}

/// Vocabulary and hidden size, from the embedding's own shape.
fn embedding_shape(checkpoint: &Checkpoint, arch: &Arch) -> Option<(usize, usize)> {
    let name = arch.token_embedding();
    let prefixed = format!("{}{name}", arch.optional_prefix.unwrap_or_default());
    let container = checkpoint.container();
    let entry = container.entry(name).or_else(|| container.entry(&prefixed))?;
    match entry.layout.shape() {
        &[vocab, hidden] => Some((vocab, hidden)),
        _ => None,
    }
}

/// Metadata longer than this is shown by its size.
const SHORT_TEXT: usize = 45;

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |value: Option<usize>| value.map_or("unknown".to_owned(), |v| v.to_string());
        let dtypes: Vec<String> =
            self.dtypes.iter().map(|(dtype, count)| format!("{count} {dtype}")).collect();
        let width =
            self.metadata.keys().map(|key| key.chars().count()).max().unwrap_or(0).max(16) + 2;
        for (what, value) in [
            ("architecture", self.architecture.to_owned()),
            ("layers", self.num_layers.to_string()),
            ("heads", known(self.num_heads)),
            ("kv heads", known(self.num_kv_heads)),
            ("hidden size", known(self.hidden_size)),
            ("vocabulary", known(self.vocab_size)),
            ("format", self.format.to_owned()),
            ("size", units::bytes(self.file_size)),
            ("tensors", format!("{} ({})", self.tensor_count, dtypes.join(", "))),
            ("parameters", units::count(self.total_params)),
        ] {
            writeln!(f, "{what:<width$}{value}")?;
        }
        for (key, value) in &self.metadata {
            let key = key.escape_debug().to_string();
            let text = value.as_str().map(|text| text.escape_debug().to_string());
            let text = text.unwrap_or_else(|| value.to_string());
            if text.len() > SHORT_TEXT {
                writeln!(f, "{key:<width$}({})", units::bytes(units::size(text.len())))?;
            } else {
                writeln!(f, "{key:<width$}{text}")?;
            }
        }
        Ok(())
    }
}

/// Every tensor of a file.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TensorList {
    /// Sorted by name.
    pub tensors: Vec<ListedTensor>,
}

/// A tensor of a file.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ListedTensor {
    /// Its name.
    pub name: String,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Its type, as the file's format spells it.
    pub dtype: &'static str,
    /// Its bytes.
    pub size_bytes: u64,
}

/// Lists the tensors of a file, from its header.
#[must_use]
pub fn tensors(checkpoint: &Checkpoint) -> TensorList {
    let list = checkpoint.container().tensors().iter().map(|entry| ListedTensor {
        name: entry.name.clone(),
        shape: entry.layout.shape().to_vec(),
        dtype: entry.layout.dtype().name(),
        size_bytes: units::size(entry.layout.byte_len()),
    });
    TensorList { tensors: list.collect() }
}

impl fmt::Display for TensorList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(&["tensor", "shape", "type", "size"]).right_align([3]);
        for tensor in &self.tensors {
            table.row([
                tensor.name.escape_debug().to_string(),
                format!("{:?}", tensor.shape),
                tensor.dtype.to_owned(),
                units::bytes(tensor.size_bytes),
            ]);
        }
        table.fmt(f)
    }
}
