//! What a report says of a file as a whole.

use super::data::{
    MetadataEntry, ReportContent, ReportedConfig, ReportedTensor, SizeOfRole, SourceFile, Verdict,
};
use super::name;
use crate::Checkpoint;
use crate::checkpoint::key;
use crate::inspect::total_params;
use apr_format::Metadata;
use apr_model::{Arch, ModelConfig, layers_in};
use serde_json::Value;
use std::path::MAIN_SEPARATOR;

/// Metadata longer than this is left out, in bytes.
const SHORT_TEXT: usize = 200;
/// Entries of metadata that are shown.
const MOST_METADATA: usize = 100;

/// The content with everything that the header tells.
pub(super) fn content(
    checkpoint: &Checkpoint,
    arch: Option<&'static Arch>,
    verdict: Verdict,
) -> ReportContent {
    let container = checkpoint.container();
    let (parameters, file_size) = (total_params(container), container.byte_len());
    let config = checkpoint.known_config().ok().flatten();
    ReportContent {
        tool: format!("apr {}", env!("CARGO_PKG_VERSION")),
        name: name(checkpoint.path()),
        against: None,
        format: container.format(),
        architecture: arch.map(|arch| arch.name),
        num_layers: layers_in(container),
        config: config.as_ref().map(reported_config),
        parameters,
        file_size,
        bits_per_weight: file_size as f64 * 8.0 / parameters.max(1) as f64,
        recipe: checkpoint.recipe().map(str::to_owned),
        verdict,
        sources: sources(container.metadata()),
        metadata: metadata(checkpoint),
        sizes: Vec::new(),
        certificates: None,
        tensors: Vec::new(),
        divergence: None,
        remarks: Vec::new(),
    }
}

const fn reported_config(config: &ModelConfig) -> ReportedConfig {
    ReportedConfig {
        num_heads: config.heads,
        num_kv_heads: config.kv_heads,
        hidden_size: config.hidden_size,
        vocab_size: config.vocab_size,
        context_length: config.max_positions,
    }
}

/// The record of an import, as far as it is one.
fn sources(metadata: &Metadata) -> Vec<SourceFile> {
    let record = metadata.get(key::PROVENANCE).and_then(|record| record.get("sources"));
    let files = record.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let file = |file: &Value| {
        let text = |key: &str| file.get(key)?.as_str().map(str::to_owned);
        let size = file.get("size")?.as_u64()?;
        Some(SourceFile { name: text("name")?, size, sha256: text("sha256")? })
    };
    files.iter().filter_map(file).collect()
}

fn metadata(checkpoint: &Checkpoint) -> Vec<MetadataEntry> {
    let own = checkpoint.container().metadata().iter();
    let of_source = checkpoint.container().metadata().get(key::SOURCE_METADATA);
    let of_source = of_source.and_then(Value::as_object).into_iter().flatten();
    let entry = |(key, value): (&String, &Value)| {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        let is_short = key.len() <= SHORT_TEXT && value.len() <= SHORT_TEXT;
        is_short.then(|| MetadataEntry { key: key.clone(), value })
    };
    own.chain(of_source).filter_map(entry).take(MOST_METADATA).collect()
}

/// Sums over the tensors of one role and type, in their order.
pub(super) fn sizes(tensors: &[ReportedTensor]) -> Vec<SizeOfRole> {
    let mut sizes: Vec<SizeOfRole> = Vec::new();
    for tensor in tensors {
        let (role, dtype) = (&tensor.role, tensor.dtype);
        let same = |size: &&mut SizeOfRole| size.role == *role && size.dtype == dtype;
        let zero =
            || SizeOfRole { role: role.clone(), dtype, tensors: 0, elements: 0, size_bytes: 0 };
        match sizes.iter_mut().find(same) {
            Some(size) => size.add(tensor),
            None => {
                let mut size = zero();
                size.add(tensor);
                sizes.push(size);
            }
        }
    }
    sizes
}

impl SizeOfRole {
    const fn add(&mut self, tensor: &ReportedTensor) {
        self.tensors += 1;
        self.elements += tensor.elements;
        self.size_bytes += tensor.size_bytes;
    }
}

impl ReportContent {
    /// Replaces paths in messages by names: where a file lies is nobody's business who gets the
    /// page.
    pub(super) fn hide_folders(&mut self, models: &[Option<&Checkpoint>]) {
        let mut names: Vec<(String, String)> = Vec::new();
        for checkpoint in models.iter().copied().flatten() {
            let files = checkpoint.container().files().iter().map(|file| file.path());
            for path in files.chain([checkpoint.path()]) {
                names.push((path.display().to_string(), name(path)));
            }
        }
        // Files before the folders that they lie in.
        names.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        let hide = |text: &mut String| {
            for (path, name) in names.iter().filter(|(path, _)| path.contains(MAIN_SEPARATOR)) {
                *text = text.replace(path.as_str(), name);
            }
        };
        hide(&mut self.verdict.reason);
        self.remarks.iter_mut().for_each(hide);
        self.tensors.iter_mut().filter_map(|tensor| tensor.problem.as_mut()).for_each(hide);
    }
}
