//! The parameters of a model, read from its `config.json`.
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    reason = "everything parsed here may be hostile"
)]

mod json;
mod rope;

pub(crate) use json::single;
pub use rope::{RopeConfig, RopeScaling};

use crate::arch::{Arch, Part, Requirement, Setting, TensorRole, WindowRule};
use crate::{ARCHS, ModelError, Param};
use json::{bad, count, flag, lookup, number};
use serde_json::Value;

/// Layers that a model may have at most, ten times what is known: what is listed for every layer
/// stays small.
pub(crate) const MAX_LAYERS: usize = 4096;

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
    /// Rotary positions, where positions are rotary.
    pub rope: Option<RopeConfig>,
    /// The same in layers with a window.
    pub local_rope: Option<RopeConfig>,
    /// Layers that see only the positions just before.
    pub window: Option<Window>,
    /// What scores are multiplied with is the inverse square root of this.
    pub query_scale: f32,
    /// Bound of the scores: s becomes bound · tanh(s / bound).
    pub attention_softcap: Option<f32>,
    /// Bound of the logits.
    pub logit_softcap: Option<f32>,
    /// What the MLP of a layer reads.
    pub residual: Residual,
    /// The experts, where there are any.
    pub experts: Option<Experts>,
    /// Whether the head is the embedding.
    pub tied: bool,
    /// Tokens that end a text.
    pub end_tokens: Vec<u32>,
}

/// Layers that see only the positions just before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Positions that they see, their own among them.
    pub size: usize,
    /// Every so manieth layer sees everything; 0 if none does.
    pub every: usize,
}

impl Window {
    /// Whether this layer has the window.
    #[must_use]
    pub const fn is_on(self, layer: usize) -> bool {
        self.every == 0 || !layer.saturating_add(1).is_multiple_of(self.every)
    }
}

/// What the MLP of a layer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residual {
    /// The stream with what attention added to it.
    Sequential,
    /// The stream that attention read (Wang & Komatsuzaki 2021).
    Parallel,
}

/// A mixture of experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Experts {
    /// How many there are.
    pub count: usize,
    /// How many a token goes through.
    pub used: usize,
    /// Width of each.
    pub size: usize,
    /// Whether the weights of the chosen ones are scaled to sum to one.
    pub renormalise: bool,
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
        let head_dim = head_dim(json, arch, hidden_size, heads)?;
        let (rope, local_rope) = rope::read(json, arch, head_dim)?.unzip();
        let optional = |key: Option<&'static str>| key.map(|key| number(json, key)).transpose();
        let config = Self {
            arch,
            hidden_size,
            layers: layers(json, arch)?,
            heads,
            kv_heads,
            head_dim,
            mlp_size: mlp_size(json, arch, hidden_size)?,
            vocab_size: count(json, keys.vocab_size)?,
            max_positions: count(json, keys.max_positions)?,
            norm_eps: number(json, keys.norm_eps)?,
            rope,
            local_rope,
            window: window(json, arch)?,
            query_scale: optional(keys.query_scale)?.unwrap_or(single(head_dim)),
            attention_softcap: optional(keys.attention_softcap)?,
            logit_softcap: optional(keys.logit_softcap)?,
            residual: residual(json, arch)?,
            experts: experts(json, arch)?,
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

    /// Number and width of the heads that the rows of a tensor are of, for query, key, value and
    /// what contains them.
    #[must_use]
    pub const fn heads_of(&self, role: TensorRole) -> (usize, usize) {
        let of_keys = matches!(role.part, Part::Key | Part::Value);
        (if of_keys { self.kv_heads } else { self.heads }, self.head_dim)
    }

    /// The shape of a tensor, `[out, in]` for matrices, `[experts, out, in]` for those of experts.
    #[must_use]
    #[allow(clippy::expect_used, reason = "a configuration exists only after this was tried")]
    pub fn shape(&self, role: TensorRole) -> Vec<usize> {
        self.try_shape(role).expect("products were checked when the configuration was read")
    }

    fn try_shape(&self, role: TensorRole) -> Option<Vec<usize>> {
        let hidden = self.hidden_size;
        let query = self.heads.checked_mul(self.head_dim)?;
        let key = self.kv_heads.checked_mul(self.head_dim)?;
        let Experts { count, size, .. } = self.experts.unwrap_or(Experts::NONE);
        let (rows, cols) = match role.part {
            Part::TokenEmbedding | Part::Head => (self.vocab_size, hidden),
            Part::PositionEmbedding => (self.max_positions, hidden),
            Part::AttentionNorm
            | Part::PostAttentionNorm
            | Part::MlpNorm
            | Part::PostMlpNorm
            | Part::FinalNorm => return Some(vec![hidden]),
            Part::QueryNorm | Part::KeyNorm => return Some(vec![self.head_dim]),
            Part::Query => (query, hidden),
            Part::Key | Part::Value => (key, hidden),
            Part::QueryKeyValue => (query.checked_add(key.checked_mul(2)?)?, hidden),
            Part::AttentionOutput => (hidden, query),
            Part::MlpGate | Part::MlpUp => (self.mlp_size, hidden),
            Part::MlpGateUp => (self.mlp_size.checked_mul(2)?, hidden),
            Part::MlpDown => (hidden, self.mlp_size),
            Part::Router => (count, hidden),
            Part::ExpertGate | Part::ExpertUp => return Some(vec![count, size, hidden]),
            Part::ExpertDown => return Some(vec![count, hidden, size]),
        };
        Some(match role.param {
            Param::Weight => vec![rows, cols],
            Param::Bias => vec![rows],
        })
    }

    /// Elements of a key or value of one position: `kv_heads · head_dim`.
    #[must_use]
    pub const fn kv_size(&self) -> usize {
        self.kv_heads.saturating_mul(self.head_dim)
    }

    /// The window of a layer, if it has one.
    #[must_use]
    pub fn window_of(&self, layer: usize) -> Option<usize> {
        self.window.filter(|window| window.is_on(layer)).map(|window| window.size)
    }
}

impl Experts {
    const NONE: Self = Self { count: 0, used: 0, size: 0, renormalise: false };
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
        Setting::Empty => (value.as_array().is_some_and(Vec::is_empty), "[]".to_owned()),
    };
    if matches {
        return Ok(());
    }
    let (key, value, arch) = (requirement.key, value.to_string(), arch.name);
    Err(ModelError::Unsupported { key, value, arch, supported })
}

/// `head_dim` where the configuration has it; else it is defined as hidden size / heads.
fn head_dim(
    config: &Value,
    arch: &Arch,
    hidden_size: usize,
    heads: usize,
) -> Result<usize, ModelError> {
    const KEY: &str = "head_dim";
    if lookup(config, KEY).is_some() {
        count(config, KEY)
    } else {
        let width = hidden_size.checked_div(heads).filter(|_| hidden_size.is_multiple_of(heads));
        width.ok_or_else(|| {
            bad(arch.config.heads, &Value::from(heads), "a divisor of the hidden size")
        })
    }
}

fn layers(config: &Value, arch: &Arch) -> Result<usize, ModelError> {
    let key = arch.config.layers;
    let layers = count(config, key)?;
    if layers <= MAX_LAYERS {
        return Ok(layers);
    }
    Err(bad(key, &Value::from(layers), "at most 4096 layers"))
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

fn window(config: &Value, arch: &Arch) -> Result<Option<Window>, ModelError> {
    const SIZE: &str = "sliding_window";
    if arch.window == WindowRule::Never || config.get(SIZE).is_some_and(Value::is_null) {
        return Ok(None);
    }
    let size = count(config, SIZE)?;
    let every = match arch.window {
        WindowRule::Never | WindowRule::All => 0,
        WindowRule::AllButEvery(every) => full_layers(config, every)?,
    };
    Ok(Some(Window { size, every }))
}

/// Every so manieth layer sees everything: by the list of layers, else the number, else `usual`.
fn full_layers(config: &Value, usual: usize) -> Result<usize, ModelError> {
    const LIST: &str = "layer_types";
    let Some(list) = lookup(config, LIST) else {
        return ["sliding_window_pattern", "_sliding_window_pattern"]
            .into_iter()
            .find(|key| lookup(config, key).is_some())
            .map_or(Ok(usual), |key| count(config, key));
    };
    let is_full = |kind: &Value| match kind.as_str() {
        Some("full_attention") => Some(true),
        Some("sliding_attention") => Some(false),
        _ => None,
    };
    let full: Option<Vec<bool>> =
        list.as_array().and_then(|list| list.iter().map(is_full).collect());
    let full = full
        .ok_or_else(|| bad(LIST, list, r#"a list of "full_attention" and "sliding_attention""#))?;
    let every = full.iter().position(|full| *full).map_or(0, |first| first.saturating_add(1));
    let window = Window { size: 1, every };
    if full.iter().enumerate().any(|(layer, full)| window.is_on(layer) == *full) {
        return Err(bad(LIST, list, r#""full_attention" at regular distances"#));
    }
    Ok(every)
}

fn residual(config: &Value, arch: &Arch) -> Result<Residual, ModelError> {
    let parallel = arch.config.parallel_residual.map_or(Ok(false), |key| flag(config, key))?;
    Ok(if parallel { Residual::Parallel } else { Residual::Sequential })
}

fn experts(config: &Value, arch: &Arch) -> Result<Option<Experts>, ModelError> {
    let Some(keys) = &arch.config.experts else { return Ok(None) };
    let experts = Experts {
        count: count(config, first_present(config, keys.count))?,
        used: count(config, keys.used)?,
        size: count(config, keys.size)?,
        renormalise: match keys.renormalise {
            None => true,
            Some(key) => lookup(config, key).is_some() && flag(config, key)?,
        },
    };
    if experts.used > experts.count {
        return Err(bad(keys.used, &Value::from(experts.used), "at most the number of experts"));
    }
    Ok(Some(experts))
}

fn first_present(config: &Value, keys: &'static [&'static str]) -> &'static str {
    let present = keys.iter().find(|key| lookup(config, key).is_some()).or(keys.first());
    present.copied().unwrap_or_default()
}

fn tied(config: &Value, arch: &Arch) -> Result<bool, ModelError> {
    const KEY: &str = "tie_word_embeddings";
    if lookup(config, KEY).is_none() { Ok(arch.config.tied_default) } else { flag(config, KEY) }
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
mod tests;
