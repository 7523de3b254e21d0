//! The parameters of a model as GGUF keys. One table serves both directions.

use crate::arch::{Arch, Norm, Position};
use crate::config::supported;
use crate::{ModelConfig, ModelError};
use apr_format::{Container, Metadata};
use serde_json::{Value, json};

/// A parameter for the metadata of a GGUF file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GgufKey {
    /// A count.
    Count(usize),
    /// A number.
    Number(f32),
}

/// A parameter: its GGUF key after the architecture's name, its key in `config.json`, its value.
struct Parameter {
    gguf: &'static str,
    hf: &'static str,
    value: fn(&ModelConfig) -> GgufKey,
}

fn parameters(arch: &Arch) -> Vec<Parameter> {
    use GgufKey::{Count, Number};
    let keys = &arch.config;
    let epsilon = match arch.norm {
        Norm::Rms => "attention.layer_norm_rms_epsilon",
        Norm::Layer => "attention.layer_norm_epsilon",
    };
    let row = |gguf, hf, value| Parameter { gguf, hf, value };
    let mut rows = vec![
        row("embedding_length", keys.hidden_size, |config| Count(config.hidden_size)),
        row("block_count", keys.layers, |config| Count(config.layers)),
        row("attention.head_count", keys.heads, |config| Count(config.heads)),
        row("feed_forward_length", keys.mlp_size, |config| Count(config.mlp_size)),
        row("context_length", keys.max_positions, |config| Count(config.max_positions)),
        row(epsilon, keys.norm_eps, |config| Number(config.norm_eps)),
    ];
    if let Some(kv_heads) = keys.kv_heads {
        rows.push(row("attention.head_count_kv", kv_heads, |config| Count(config.kv_heads)));
    }
    if arch.position == Position::Rope {
        let theta = |config: &ModelConfig| Number(config.rope_theta.unwrap_or_default());
        rows.push(row("rope.freq_base", "rope_theta", theta));
        rows.push(row("rope.dimension_count", "head_dim", |config| Count(config.head_dim)));
    }
    rows
}

/// The parameters in the metadata of a GGUF file, as the `config.json` they came from would say.
///
/// # Errors
/// When the architecture is not supported, or the file asks for scaled rotary positions.
pub fn hf_config(container: &Container) -> Result<Value, ModelError> {
    let metadata = container.metadata();
    let name = metadata.get("general.architecture").and_then(Value::as_str).unwrap_or_default();
    let arch = Arch::named(name).ok_or_else(|| ModelError::UnknownArchitecture {
        name: name.to_owned(),
        supported: supported(),
    })?;
    let mut config = Metadata::new();
    config.insert("architectures".to_owned(), json!([arch.class]));
    config.insert("model_type".to_owned(), json!(arch.name));
    for Parameter { gguf, hf, .. } in parameters(arch) {
        if let Some(value) = metadata.get(&format!("{name}.{gguf}")) {
            config.insert(hf.to_owned(), value.clone());
        }
    }
    let scaling = metadata.get(&format!("{name}.rope.scaling.type")).and_then(Value::as_str);
    if let Some(scaling) = scaling.filter(|scaling| *scaling != "none") {
        config.insert("rope_scaling".to_owned(), json!({ "rope_type": scaling }));
    }
    let entry = container.entry("token_embd.weight");
    if let Some(vocab) = entry.and_then(|entry| entry.layout.shape().first()) {
        config.insert(arch.config.vocab_size.to_owned(), json!(vocab));
    }
    // A file without an output matrix ties it to the embedding; there is no key for it.
    let tied = container.entry("output.weight").is_none();
    config.insert("tie_word_embeddings".to_owned(), json!(tied));
    for (gguf, key) in [("eos", "eos_token_id"), ("bos", "bos_token_id")] {
        if let Some(token) = metadata.get(&format!("tokenizer.ggml.{gguf}_token_id")) {
            config.insert(key.to_owned(), token.clone());
        }
    }
    Ok(Value::Object(config))
}

/// The parameters as keys for a GGUF file, each with the architecture's name in front.
#[must_use]
pub fn gguf_keys(config: &ModelConfig) -> Vec<(String, GgufKey)> {
    let name = config.arch.name;
    parameters(config.arch)
        .into_iter()
        .map(|Parameter { gguf, value, .. }| (format!("{name}.{gguf}"), value(config)))
        .collect()
}
