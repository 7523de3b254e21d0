//! The parameters of a model, read from its `config.json`.

use crate::arch::{Arch, Part, Position, Requirement, Setting, TensorRole};
use crate::{ARCHS, ModelError, Param};
use serde_json::Value;

/// The parameters of a model.
#[derive(Debug, Clone)]
pub struct ModelConfig {
    /// Its architecture.
    pub arch: &'static Arch,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Number of layers.
    pub layers: usize,
    /// Number of query heads.
    pub heads: usize,
    /// Number of key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Width of the MLP.
    pub mlp_size: usize,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Longest sequence.
    pub max_positions: usize,
    /// ε of the norms.
    pub norm_eps: f32,
    /// Base of the rotary frequencies, where positions are rotary.
    pub rope_theta: Option<f32>,
    /// Whether the head is the embedding.
    pub tied: bool,
    /// Tokens that end a text.
    pub end_tokens: Vec<u32>,
}

impl ModelConfig {
    /// Reads the parameters from the object in `config.json`.
    ///
    /// # Errors
    /// When the architecture is not supported, a key that matters is missing, or a setting asks
    /// for a computation that is not built. Nothing is guessed.
    pub fn from_json(json: &Value) -> Result<Self, ModelError> {
        let arch = find_arch(json)?;
        for requirement in arch.requirements {
            check(arch, requirement, json)?;
        }
        let keys = &arch.config;
        let hidden_size = count(json, keys.hidden_size)?;
        let heads = count(json, keys.heads)?;
        let kv_heads = keys.kv_heads.map_or(Ok(heads), |key| count(json, key))?;
        if !heads.is_multiple_of(kv_heads) {
            let key = keys.kv_heads.unwrap_or(keys.heads);
            let value = format!("{kv_heads}, which does not divide {:?} ({heads})", keys.heads);
            return Err(ModelError::BadKey { key, value, expected: "a divisor of it" });
        }
        let config = Self {
            arch,
            hidden_size,
            layers: count(json, keys.layers)?,
            heads,
            kv_heads,
            head_dim: head_dim(json, arch, hidden_size, heads)?,
            mlp_size: mlp_size(json, arch, hidden_size)?,
            vocab_size: count(json, keys.vocab_size)?,
            max_positions: count(json, keys.max_positions)?,
            norm_eps: number(json, keys.norm_eps)?,
            rope_theta: rope_theta(json, arch)?,
            tied: tied(json, arch)?,
            end_tokens: end_tokens(json)?,
        };
        // From here on the product of two parameters cannot overflow.
        if arch.tensors.iter().any(|tensor| config.try_shape(tensor.role).is_none()) {
            return Err(bad(
                keys.heads,
                &Value::from(heads),
                "a number of heads that can be addressed",
            ));
        }
        Ok(config)
    }

    /// Takes the end tokens from the object in `generation_config.json`, if it has any: that is
    /// where generation looks for them.
    ///
    /// # Errors
    /// When they are no token ids.
    pub fn with_generation(mut self, generation: &Value) -> Result<Self, ModelError> {
        let tokens = end_tokens(generation)?;
        if !tokens.is_empty() {
            self.end_tokens = tokens;
        }
        Ok(self)
    }

    /// The shape of a tensor, `[out, in]` for matrices.
    #[must_use]
    pub fn shape(&self, role: TensorRole) -> Vec<usize> {
        self.try_shape(role).expect("products were checked when the configuration was read")
    }

    fn try_shape(&self, role: TensorRole) -> Option<Vec<usize>> {
        let hidden = self.hidden_size;
        let query = self.heads.checked_mul(self.head_dim)?;
        let key = self.kv_heads.checked_mul(self.head_dim)?;
        let (rows, cols) = match role.part {
            Part::TokenEmbedding | Part::Head => (self.vocab_size, hidden),
            Part::PositionEmbedding => (self.max_positions, hidden),
            Part::AttentionNorm | Part::MlpNorm | Part::FinalNorm => return Some(vec![hidden]),
            Part::Query => (query, hidden),
            Part::Key | Part::Value => (key, hidden),
            Part::QueryKeyValue => (query.checked_add(key.checked_mul(2)?)?, hidden),
            Part::AttentionOutput => (hidden, query),
            Part::MlpGate | Part::MlpUp => (self.mlp_size, hidden),
            Part::MlpDown => (hidden, self.mlp_size),
        };
        Some(match role.param {
            Param::Weight => vec![rows, cols],
            Param::Bias => vec![rows],
        })
    }

    /// Elements of a key or value of one position: `kv_heads · head_dim`.
    #[must_use]
    pub const fn kv_size(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}

fn find_arch(config: &Value) -> Result<&'static Arch, ModelError> {
    let named = config
        .get("architectures")
        .and_then(|list| list.get(0))
        .or_else(|| config.get("model_type"))
        .ok_or(ModelError::MissingKey { key: "architectures" })?;
    let name = named.as_str().unwrap_or_default();
    Arch::named(name).ok_or_else(|| ModelError::UnknownArchitecture {
        name: named.to_string(),
        supported: supported(),
    })
}

pub(crate) fn supported() -> String {
    ARCHS.iter().map(|arch| arch.class).collect::<Vec<_>>().join(", ")
}

fn check(arch: &Arch, requirement: &Requirement, config: &Value) -> Result<(), ModelError> {
    let Some(value) = lookup(config, requirement.key) else { return Ok(()) };
    let (matches, supported) = match requirement.value {
        Setting::Null => (false, "null".to_owned()),
        Setting::Bool(expected) => (value.as_bool() == Some(expected), expected.to_string()),
        Setting::Text(expected) => (value.as_str() == Some(expected), format!("{expected:?}")),
        Setting::Number(expected) => (value.as_f64() == Some(expected), expected.to_string()),
    };
    if matches {
        return Ok(());
    }
    let (key, value, arch) = (requirement.key, value.to_string(), arch.name);
    Err(ModelError::Unsupported { key, value, arch, supported })
}

/// The value of a key (`a.b`: in an object), unless it is null.
fn lookup<'a>(config: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(config, |object, key| object.get(key)).filter(|value| !value.is_null())
}

fn bad(key: &'static str, value: &Value, expected: &'static str) -> ModelError {
    ModelError::BadKey { key, value: value.to_string(), expected }
}

fn count(config: &Value, key: &'static str) -> Result<usize, ModelError> {
    let value = lookup(config, key).ok_or(ModelError::MissingKey { key })?;
    value
        .as_u64()
        .and_then(|count| usize::try_from(count).ok())
        .filter(|&count| count > 0)
        .ok_or_else(|| bad(key, value, "a positive integer"))
}

fn number(config: &Value, key: &'static str) -> Result<f32, ModelError> {
    let value = lookup(config, key).ok_or(ModelError::MissingKey { key })?;
    positive(key, value)
}

#[allow(clippy::cast_possible_truncation, reason = "parameters are single precision in the model")]
fn positive(key: &'static str, value: &Value) -> Result<f32, ModelError> {
    value
        .as_f64()
        .map(|number| number as f32)
        .filter(|number| number.is_finite() && *number > 0.0)
        .ok_or_else(|| bad(key, value, "a positive number"))
}

/// `head_dim` where the configuration has it; else it is defined as hidden size / heads.
fn head_dim(
    config: &Value,
    arch: &Arch,
    hidden_size: usize,
    heads: usize,
) -> Result<usize, ModelError> {
    const KEY: &str = "head_dim";
    let dim = if lookup(config, KEY).is_some() {
        count(config, KEY)?
    } else if hidden_size.is_multiple_of(heads) {
        hidden_size / heads
    } else {
        return Err(bad(arch.config.heads, &Value::from(heads), "a divisor of the hidden size"));
    };
    if arch.position == Position::Rope && !dim.is_multiple_of(2) {
        return Err(bad(KEY, &Value::from(dim), "an even number"));
    }
    Ok(dim)
}

fn mlp_size(config: &Value, arch: &Arch, hidden_size: usize) -> Result<usize, ModelError> {
    let key = arch.config.mlp_size;
    match (lookup(config, key), arch.config.mlp_default) {
        (None, Some(factor)) => hidden_size
            .checked_mul(factor)
            .ok_or_else(|| bad(key, &Value::Null, "a size that can be addressed")),
        (Some(_), _) | (None, None) => count(config, key),
    }
}

/// Older configurations have the key at the top, newer ones in `rope_parameters`.
fn rope_theta(config: &Value, arch: &Arch) -> Result<Option<f32>, ModelError> {
    const KEY: &str = "rope_theta";
    if arch.position != Position::Rope {
        return Ok(None);
    }
    let value = lookup(config, "rope_parameters.rope_theta")
        .or_else(|| lookup(config, KEY))
        .ok_or(ModelError::MissingKey { key: KEY })?;
    positive(KEY, value).map(Some)
}

fn tied(config: &Value, arch: &Arch) -> Result<bool, ModelError> {
    const KEY: &str = "tie_word_embeddings";
    match lookup(config, KEY) {
        None => Ok(arch.config.tied_default),
        Some(value) => value.as_bool().ok_or_else(|| bad(KEY, value, "true or false")),
    }
}

fn end_tokens(config: &Value) -> Result<Vec<u32>, ModelError> {
    const KEY: &str = "eos_token_id";
    let token = |value: &Value| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| bad(KEY, value, "a token id or a list of them"))
    };
    match lookup(config, KEY) {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => list.iter().map(token).collect(),
        Some(value) => Ok(vec![token(value)?]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn llama() -> Value {
        json!({
            "architectures": ["LlamaForCausalLM"], "hidden_size": 576, "num_hidden_layers": 30,
            "num_attention_heads": 9, "num_key_value_heads": 3, "intermediate_size": 1536,
            "vocab_size": 49152, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0, "tie_word_embeddings": true, "eos_token_id": [0, 2],
        })
    }

    #[test]
    fn parameters_are_read() {
        let config = ModelConfig::from_json(&llama()).unwrap();
        assert_eq!((config.head_dim, config.kv_size(), config.tied), (64, 192, true));
        assert_eq!(config.end_tokens, [0, 2]);
        let role = TensorRole { part: Part::Key, param: Param::Weight };
        assert_eq!(config.shape(role), [192, 576]);
    }

    #[test]
    fn newer_key_names_are_read() {
        let mut config = llama();
        config["rope_theta"] = Value::Null;
        config["rope_parameters"] = json!({"rope_theta": 1e6, "rope_type": "default"});
        assert_eq!(ModelConfig::from_json(&config).unwrap().rope_theta, Some(1e6));
    }

    #[test]
    fn every_key_that_matters_is_named_when_missing() {
        for key in [
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
            "intermediate_size",
            "vocab_size",
            "max_position_embeddings",
            "rms_norm_eps",
            "rope_theta",
            "architectures",
        ] {
            let mut config = llama();
            config.as_object_mut().unwrap().remove(key);
            let error = ModelConfig::from_json(&config).unwrap_err().to_string();
            assert!(error.contains(&format!("{key:?} is missing")), "{error}");
        }
    }

    #[test]
    fn computations_that_are_not_built_are_refused() {
        for (key, value) in [
            ("hidden_act", json!("gelu")),
            ("attention_bias", json!(true)),
            ("rope_scaling", json!({"type": "linear"})),
            ("quantization_config", json!({"bits": 4})),
        ] {
            let mut config = llama();
            config[key] = value;
            assert!(matches!(
                ModelConfig::from_json(&config),
                Err(ModelError::Unsupported { key: found, .. }) if found == key
            ));
        }
    }

    #[test]
    fn senseless_parameters_are_refused() {
        for (key, value) in [
            ("hidden_size", json!(0)),
            ("num_attention_heads", json!("nine")),
            ("num_key_value_heads", json!(2)),
            ("head_dim", json!(63)),
            ("rms_norm_eps", json!(-1.0)),
            ("eos_token_id", json!("end")),
        ] {
            let mut config = llama();
            config[key] = value;
            assert!(
                matches!(ModelConfig::from_json(&config), Err(ModelError::BadKey { .. })),
                "{key}"
            );
        }
    }
}
