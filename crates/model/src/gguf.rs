//! The parameters of a model as GGUF keys. One table serves both directions.
//!
//! What llama.cpp takes for granted of an architecture must hold, or the model is refused: a file
//! that it would run differently is no copy. One exception: it has no windows in Mistral, Mixtral
//! and Phi-3, whose files are common all the same. They get the key, which we honour, so that texts
//! longer than the window differ there.
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    reason = "everything parsed here may be hostile"
)]

mod rope;

pub(crate) use rope::FACTORS;

use crate::arch::{Arch, Mlp, Norm, WindowRule};
use crate::config::{single, supported};
use crate::{ARCHS, ModelConfig, ModelError, Residual};
use apr_format::{Container, Metadata};
use serde_json::{Value, json};

/// A parameter for the metadata of a GGUF file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GgufKey {
    /// A count.
    Count(usize),
    /// A number.
    Number(f32),
    /// Yes or no.
    Flag(bool),
    /// A word.
    Text(&'static str),
}

/// A parameter: its GGUF key after the architecture's name, its key in `config.json`, its value
/// if the model has one.
struct Parameter {
    gguf: &'static str,
    hf: &'static str,
    value: fn(&ModelConfig) -> Option<GgufKey>,
}

const fn row(
    gguf: &'static str,
    hf: &'static str,
    value: fn(&ModelConfig) -> Option<GgufKey>,
) -> Parameter {
    Parameter { gguf, hf, value }
}

fn parameters(arch: &Arch) -> Vec<Parameter> {
    use GgufKey::{Count, Flag, Number};
    let keys = &arch.config;
    let epsilon = match arch.norm {
        Norm::Rms | Norm::RmsPlusOne => "attention.layer_norm_rms_epsilon",
        Norm::Layer => "attention.layer_norm_epsilon",
    };
    let mut rows = vec![
        row("embedding_length", keys.hidden_size, |c| Some(Count(c.hidden_size))),
        row("block_count", keys.layers, |c| Some(Count(c.layers))),
        row("attention.head_count", keys.heads, |c| Some(Count(c.heads))),
        row("feed_forward_length", keys.mlp_size, |c| Some(Count(c.mlp_size))),
        row("context_length", keys.max_positions, |c| Some(Count(c.max_positions))),
        row(epsilon, keys.norm_eps, |c| Some(Number(c.norm_eps))),
    ];
    if let Some(key) = keys.kv_heads {
        rows.push(row("attention.head_count_kv", key, |c| Some(Count(c.kv_heads))));
    }
    if arch.is_rotary() {
        rows.push(row("attention.key_length", "head_dim", |c| Some(Count(c.head_dim))));
        rows.push(row("attention.value_length", "head_dim", |c| Some(Count(c.head_dim))));
        rows.push(row("rope.freq_base", keys.rope_theta, |c| Some(Number(c.rope.as_ref()?.theta))));
    }
    if let Some(key) = keys.local_rope_theta {
        let theta = |c: &ModelConfig| Some(Number(c.local_rope.as_ref()?.theta));
        rows.push(row("rope.freq_base_swa", key, theta));
    }
    if arch.window != WindowRule::Never {
        let size = |c: &ModelConfig| c.window.map(|window| Count(window.size));
        rows.push(row("attention.sliding_window", "sliding_window", size));
    }
    if let WindowRule::AllButEvery(_) = arch.window {
        let every = |c: &ModelConfig| c.window.map(|window| Count(window.every));
        rows.push(row("attention.sliding_window_pattern", "sliding_window_pattern", every));
    }
    if let Some(key) = keys.attention_softcap {
        rows.push(row("attn_logit_softcapping", key, |c| c.attention_softcap.map(Number)));
    }
    if let Some(key) = keys.logit_softcap {
        rows.push(row("final_logit_softcapping", key, |c| c.logit_softcap.map(Number)));
    }
    if let Some(key) = keys.parallel_residual {
        let parallel = |c: &ModelConfig| Some(Flag(c.residual == Residual::Parallel));
        rows.push(row("use_parallel_residual", key, parallel));
    }
    if let Some(keys) = &keys.experts {
        let count = keys.count.first().copied().unwrap_or_default();
        rows.push(row("expert_count", count, |c| Some(Count(c.experts?.count))));
        rows.push(row("expert_used_count", keys.used, |c| Some(Count(c.experts?.used))));
        if keys.size != arch.config.mlp_size {
            let size = |c: &ModelConfig| Some(Count(c.experts?.size));
            rows.push(row("expert_feed_forward_length", keys.size, size));
        }
    }
    rows
}

impl Arch {
    /// The architecture of a GGUF file. One name stands for several that differ in their keys.
    fn of_gguf(metadata: &Metadata, name: &str) -> Option<&'static Self> {
        let number = |key: &str| metadata.get(&format!("{name}.{key}")).and_then(Value::as_u64);
        let has = |key: &str| number(key).is_some_and(|number| number > 0);
        let (experts, window) = (has("expert_count"), has("attention.sliding_window"));
        let named = ARCHS.iter().copied().filter(|arch| arch.gguf == name);
        named.min_by_key(|arch| {
            let has_experts = matches!(arch.mlp, Mlp::Experts(_));
            (has_experts != experts, (arch.window != WindowRule::Never) != window)
        })
    }
}

/// The parameters in the metadata of a GGUF file, as the `config.json` they came from would say.
///
/// # Errors
/// When the architecture is not supported, or a tensor with rotary factors cannot be read.
pub fn hf_config(container: &Container) -> Result<Value, ModelError> {
    let metadata = container.metadata();
    let name = metadata.get("general.architecture").and_then(Value::as_str).unwrap_or_default();
    let arch = Arch::of_gguf(metadata, name).ok_or_else(|| ModelError::UnknownArchitecture {
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
    if arch.is_rotary() {
        rope::read(container, arch, &mut config)?;
    }
    // A window of none is written as zero, or not at all.
    if config.get("sliding_window").and_then(Value::as_u64).unwrap_or_default() == 0 {
        config.insert("sliding_window".to_owned(), Value::Null);
    }
    let entry = container.entry("token_embd.weight");
    if let Some(vocab) = entry.and_then(|entry| entry.layout.shape().first()) {
        config.insert(arch.config.vocab_size.to_owned(), json!(vocab));
    }
    // A file without an output matrix ties it to the embedding; there is no key for it.
    let tied = container.entry("output.weight").is_none();
    config.insert("tie_word_embeddings".to_owned(), json!(tied));
    // Nor are there keys for these.
    if let Some(key) = arch.config.query_scale {
        config.insert(key.to_owned(), json!(implied_query_scale(&config, arch)));
    }
    if let Some(key) = arch.config.experts.as_ref().and_then(|keys| keys.renormalise) {
        config.insert(key.to_owned(), json!(true));
    }
    let roles = [("eos", "eos_token_id"), ("bos", "bos_token_id"), ("padding", "pad_token_id")];
    for (gguf, key) in roles {
        if let Some(token) = metadata.get(&format!("tokenizer.ggml.{gguf}_token_id")) {
            config.insert(key.to_owned(), token.clone());
        }
    }
    Ok(Value::Object(config))
}

/// llama.cpp knows the largest Gemma models by their number of layers; they scale scores by the
/// share of a head in the hidden size, all others by `head_dim`.
fn implied_query_scale(config: &Metadata, arch: &Arch) -> u64 {
    let get = |key: &str| config.get(key).and_then(Value::as_u64).unwrap_or_default();
    if is_large_gemma(arch, get(arch.config.layers)) {
        get(arch.config.hidden_size).checked_div(get(arch.config.heads)).unwrap_or_default()
    } else {
        get("head_dim")
    }
}

fn is_large_gemma(arch: &Arch, layers: u64) -> bool {
    matches!((arch.gguf, layers), ("gemma2", 46) | ("gemma3", 62))
}

/// The parameters as keys for a GGUF file, each with the architecture's name in front.
///
/// # Errors
/// When a parameter is another than llama.cpp takes for granted.
pub fn gguf_keys(config: &ModelConfig) -> Result<Vec<(String, GgufKey)>, ModelError> {
    let arch = config.arch;
    let is_large = u64::try_from(config.layers).is_ok_and(|layers| is_large_gemma(arch, layers));
    let of_hidden = config.hidden_size.checked_div(config.heads).unwrap_or_default();
    let scale = single(if is_large { of_hidden } else { config.head_dim });
    if let Some(key) = arch.config.query_scale.filter(|_| config.query_scale != scale) {
        let (value, implied) = (config.query_scale.to_string(), scale.to_string());
        return Err(ModelError::NotInGguf { key, value, implied });
    }
    if let Some(key) = arch.config.experts.as_ref().and_then(|keys| keys.renormalise)
        && config.experts.is_some_and(|experts| !experts.renormalise)
    {
        let (value, implied) = ("false".to_owned(), "true".to_owned());
        return Err(ModelError::NotInGguf { key, value, implied });
    }
    let rows = parameters(arch).into_iter();
    let mut keys: Vec<(String, GgufKey)> = rows
        .filter_map(|Parameter { gguf, value, .. }| {
            Some((format!("{}.{gguf}", arch.gguf), value(config)?))
        })
        .collect();
    keys.extend(rope::keys(config));
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RopeScaling, Window};
    use apr_tensor::{DType, Tensor, TensorLayout};

    /// What a file with these keys says, beside those that every file of llama.cpp has.
    fn config(
        arch: &str,
        keys: &Value,
        tensors: &[(&str, Vec<f32>)],
    ) -> Result<ModelConfig, ModelError> {
        let common = json!({
            "embedding_length": 2048, "block_count": 16, "attention.head_count": 32,
            "attention.head_count_kv": 8, "feed_forward_length": 8192, "context_length": 131_072,
            "attention.layer_norm_rms_epsilon": 1e-5, "rope.dimension_count": 64,
        });
        let mut metadata = Metadata::new();
        metadata.insert("general.architecture".to_owned(), json!(arch));
        for (key, value) in [&common, keys].into_iter().filter_map(Value::as_object).flatten() {
            metadata.insert(format!("{arch}.{key}"), value.clone());
        }
        let tensor = |name: &str, shape: &[usize], values: &[f32]| {
            let layout = TensorLayout::new(DType::F32, shape).unwrap();
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (name.to_owned(), Tensor::owned(layout, bytes).unwrap())
        };
        let mut all = vec![tensor("token_embd.weight", &[3, 1], &[0.0; 3])];
        all.extend(tensors.iter().map(|(name, values)| tensor(name, &[values.len()], values)));
        let container = Container::in_memory("x.gguf".as_ref(), "gguf", metadata, all).unwrap();
        ModelConfig::from_json(&hf_config(&container)?)
    }

    #[test]
    fn one_name_stands_for_three_architectures() {
        let arch = |keys: Value| config("llama", &keys, &[]).unwrap().arch.name;
        assert_eq!(arch(json!({})), "llama");
        assert_eq!(arch(json!({"expert_count": 0})), "llama");
        assert_eq!(arch(json!({"attention.sliding_window": 4096})), "mistral");
        assert_eq!(arch(json!({"expert_count": 8, "expert_used_count": 2})), "mixtral");
        assert!(config("mamba", &json!({}), &[]).unwrap_err().to_string().contains("mamba"));
    }

    #[test]
    fn scaling_of_llama_3_is_told_by_its_divisors() {
        let published = RopeScaling::Llama3 { factor: 32.0, low: 1.0, high: 4.0, original: 8192 };
        let rope = |divisors| {
            let keys = json!({"rope.freq_base": 500_000.0});
            config("llama", &keys, &[("rope_freqs.weight", divisors)]).unwrap().rope.unwrap()
        };
        let mut expected = rope(vec![1.0; 32]);
        expected.scaling = published;
        assert_eq!(rope(expected.divisors(0)), expected);
    }

    #[test]
    fn what_a_file_leaves_out_is_what_llama_cpp_takes() {
        let keys = json!({"attention.key_length": 256, "attention.sliding_window": 512,
            "rope.freq_base": 1e6, "rope.scaling.type": "linear", "rope.scaling.factor": 8.0});
        let gemma = config("gemma3", &keys, &[]).unwrap();
        assert_eq!((gemma.head_dim, gemma.query_scale), (256, 256.0));
        assert_eq!(gemma.window, Some(Window { size: 512, every: 6 }));
        assert_eq!(gemma.rope.unwrap().scaling, RopeScaling::Linear { factor: 8.0 });
        let local = gemma.local_rope.unwrap();
        assert_eq!((local.theta, local.scaling), (10_000.0, RopeScaling::None));
        let large = json!({"attention.key_length": 128, "block_count": 46,
            "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
            "attention.sliding_window": 4096});
        assert_eq!(config("gemma2", &large, &[]).unwrap().query_scale, 64.0);
        // Older files tell the size of a head by what is rotated; and some scale by YaRN.
        assert_eq!(
            config("llama", &json!({"rope.dimension_count": 128}), &[]).unwrap().head_dim,
            128
        );
        let yarn = json!({"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0});
        assert!(config("qwen2", &yarn, &[]).unwrap_err().to_string().contains("yarn"));
    }
}
