//! The rules. To add one: a function and its name in [`RULES`].

use super::{Severity, Violation};
use crate::{Checkpoint, units};
use apr_format::{TensorEntry, gguf, safetensors};
use apr_model::{Arch, ModelConfig, Naming, Part, Survey, TensorRole, layers_in};
use serde_json::Value;
use std::collections::BTreeSet;

/// A rule: every way in which a file breaks it.
type Rule = fn(&Subject) -> Vec<Violation>;

/// Every rule.
pub(super) static RULES: &[Rule] = &[
    architecture,
    unknown_tensors,
    missing_tensors,
    shapes,
    packed_vectors,
    redundant_tensors,
    tensor_names,
    empty_tensors,
    companions,
    format_key,
    alignment,
    description,
];

/// A file, and what is known of it.
pub(super) struct Subject<'a> {
    checkpoint: &'a Checkpoint,
    config: Option<ModelConfig>,
    /// The tensors and their roles, or why they have none.
    survey: Result<(&'static Arch, Survey), String>,
}

impl<'a> Subject<'a> {
    pub(super) fn new(checkpoint: &'a Checkpoint) -> Self {
        Self {
            checkpoint,
            config: checkpoint.known_config().ok().flatten(),
            survey: checkpoint.survey().map_err(|error| error.to_string()),
        }
    }

    fn entries(&self) -> &[TensorEntry] {
        self.checkpoint.container().tensors()
    }

    fn format(&self) -> &'static str {
        self.checkpoint.container().format()
    }
}

fn violation(
    severity: Severity,
    rule: &'static str,
    tensor: Option<&str>,
    message: impl Into<String>,
) -> Violation {
    Violation { severity, rule, tensor: tensor.map(str::to_owned), message: message.into() }
}

fn architecture(subject: &Subject) -> Vec<Violation> {
    let reason = subject.survey.as_ref().err();
    reason
        .map(|reason| violation(Severity::Error, "architecture", None, reason.clone()))
        .into_iter()
        .collect()
}

fn unknown_tensors(subject: &Subject) -> Vec<Violation> {
    let Ok((arch, survey)) = &subject.survey else { return Vec::new() };
    let message = format!("belongs to no part of a {} model", arch.name);
    let unknown = survey.unknown.iter();
    unknown
        .map(|name| violation(Severity::Error, "unknown-tensor", Some(name), message.clone()))
        .collect()
}

fn missing_tensors(subject: &Subject) -> Vec<Violation> {
    let Ok((arch, survey)) = &subject.survey else { return Vec::new() };
    let (layers, severity, message) = match &subject.config {
        Some(config) => (config.layers, Severity::Error, "is missing"),
        None => (
            layers_in(subject.checkpoint.container()),
            Severity::Warning,
            "is not in this file, which may be a part of a model",
        ),
    };
    // Without a configuration, a missing head may be the embedding.
    let tied = subject.config.as_ref().is_none_or(|config| config.tied);
    let found: BTreeSet<(Option<usize>, TensorRole)> =
        survey.tensors.iter().map(|tensor| (tensor.layer, tensor.role)).collect();
    let weights = arch.weights(layers, subject.checkpoint.naming()).into_iter();
    weights
        .filter(|(role, layer, _)| !found.contains(&(*layer, *role)))
        .filter(|(role, ..)| role.part != Part::Head || !tied)
        .map(|(.., name)| violation(severity, "missing-tensor", Some(&name), message))
        .collect()
}

fn shapes(subject: &Subject) -> Vec<Violation> {
    let (Ok((_, survey)), Some(config)) = (&subject.survey, &subject.config) else {
        return Vec::new();
    };
    let mut violations = Vec::new();
    for tensor in &survey.tensors {
        let mut expected = config.shape(tensor.role);
        if tensor.form.transposed {
            expected.reverse();
        }
        let found = tensor.layout.shape();
        if found != expected {
            let message = format!("has the shape {found:?}, the configuration says {expected:?}");
            violations.push(violation(Severity::Error, "shape", Some(tensor.source()), message));
        }
    }
    violations
}

/// Vectors and routers are small, and every error in them counts.
fn packed_vectors(subject: &Subject) -> Vec<Violation> {
    let Ok((_, survey)) = &subject.survey else { return Vec::new() };
    let packed = survey
        .tensors
        .iter()
        .filter(|tensor| !tensor.role.is_matrix() && tensor.layout.dtype().is_quantized());
    packed
        .map(|tensor| {
            let message = format!(
                "is {}; a {} is better kept in a float type",
                tensor.layout.dtype(),
                tensor.role
            );
            violation(Severity::Warning, "packed-vector", Some(tensor.source()), message)
        })
        .collect()
}

fn redundant_tensors(subject: &Subject) -> Vec<Violation> {
    let Ok((_, survey)) = &subject.survey else { return Vec::new() };
    let container = subject.checkpoint.container();
    let redundant = survey.derived.iter().filter(|_| container.format() == safetensors::NAME);
    redundant
        .map(|derived| {
            let entry = container.entry(&derived.source);
            let bytes = entry.map_or(0, |entry| units::size(entry.layout.byte_len()));
            let message = format!("{} that follow from the rest", units::bytes(bytes));
            violation(Severity::Info, "redundant-tensor", Some(&derived.source), message)
        })
        .collect()
}

fn tensor_names(subject: &Subject) -> Vec<Violation> {
    let strange = |name: &str| !name.chars().all(|c| c.is_ascii_graphic()) || name.is_empty();
    let names = subject.entries().iter().filter(|entry| strange(&entry.name));
    let message = "other characters than visible ASCII; some programs cannot name it";
    names
        .map(|entry| violation(Severity::Warning, "tensor-name", Some(&entry.name), message))
        .collect()
}

fn empty_tensors(subject: &Subject) -> Vec<Violation> {
    let empty = subject.entries().iter().filter(|entry| entry.layout.elem_count() == 0);
    empty
        .map(|entry| violation(Severity::Warning, "empty-tensor", Some(&entry.name), "no elements"))
        .collect()
}

fn companions(subject: &Subject) -> Vec<Violation> {
    let checkpoint = subject.checkpoint;
    let mut violations = Vec::new();
    let mut lacks = |severity, rule, message: &str| {
        violations.push(violation(severity, rule, None, message));
    };
    if checkpoint.config_json().is_none() {
        lacks(
            Severity::Warning,
            "config",
            "no config.json beside it: it can be shown, but not run",
        );
    }
    match checkpoint.tokenizer_json() {
        Ok(Some(_)) => {}
        Ok(None) => lacks(Severity::Warning, "tokenizer", "no tokenizer: texts cannot be run"),
        Err(error) => lacks(Severity::Error, "tokenizer", &error.to_string()),
    }
    if checkpoint.chat_template().is_none() {
        lacks(Severity::Info, "chat-template", "no chat template: a base model, or it was lost");
    }
    violations
}

/// `transformers` refuses SafeTensors files that do not say which framework wrote them.
fn format_key(subject: &Subject) -> Vec<Violation> {
    let metadata = subject.checkpoint.container().metadata();
    let says = metadata.get("format").and_then(Value::as_str);
    if subject.format() != safetensors::NAME || says.is_some() {
        return Vec::new();
    }
    let message = "__metadata__ has no \"format\" (as in \"pt\"), which transformers asks for";
    vec![violation(Severity::Warning, "format-key", None, message)]
}

fn alignment(subject: &Subject) -> Vec<Violation> {
    let files = subject.checkpoint.container().files().iter();
    let unaligned = files.filter(|file| !file.data_start().is_multiple_of(8));
    unaligned
        .map(|file| {
            let (path, start) = (file.path().display(), file.data_start());
            let message = format!("{path}: the tensors begin at {start}, no multiple of 8");
            violation(Severity::Warning, "alignment", None, message)
        })
        .collect()
}

/// What a GGUF file should say of itself.
fn description(subject: &Subject) -> Vec<Violation> {
    if subject.format() != gguf::NAME || subject.checkpoint.naming() != Naming::Gguf {
        return Vec::new();
    }
    let metadata = subject.checkpoint.container().metadata();
    let missing =
        ["general.name", "general.license"].into_iter().filter(|key| !metadata.contains_key(*key));
    missing
        .map(|key| violation(Severity::Info, "description", None, format!("no key {key:?}")))
        .collect()
}
