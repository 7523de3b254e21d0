//! What kind of model a file holds, and what it takes to run it, from its header alone.

use crate::formula::{mlp_name, norm_name};
use crate::inspect::{Inspection, inspect};
use crate::units;
use crate::{Checkpoint, Error};
use apr_model::{Arch, ModelConfig, RopeScaling};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;

/// What kind of model it is.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Oracle {
    /// Name of the architecture.
    pub architecture: &'static str,
    /// Its class in `transformers`.
    pub class: &'static str,
    /// Its name in GGUF files.
    pub gguf_architecture: &'static str,
    /// Elements of all tensors that have dimensions.
    pub parameters: u64,
    /// What the file says.
    pub format: OracleFormat,
    /// Normalisation.
    pub norm: &'static str,
    /// How positions enter.
    pub positions: String,
    /// The feed-forward block.
    pub mlp: String,
    /// How heads share keys and values, and more that only a configuration tells.
    pub runtime: Option<OracleRuntime>,
}

/// What the file says.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OracleFormat {
    /// Container format.
    pub name: &'static str,
    /// Name of the architecture.
    pub architecture: &'static str,
    /// Elements of all tensors that have dimensions.
    pub total_params: u64,
    /// Number of tensors.
    pub tensor_count: usize,
    /// Bytes of the weight files.
    pub file_size: u64,
    /// Bits of the file for each parameter.
    pub bits_per_weight: f64,
}

/// What the configuration tells.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OracleRuntime {
    /// How heads share keys and values.
    pub attention: &'static str,
    /// Number of query heads.
    pub num_heads: usize,
    /// Number of key and value heads.
    pub num_kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Number of layers.
    pub num_layers: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub mlp_size: usize,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Longest sequence.
    pub context_length: usize,
    /// Whether the head is the embedding.
    pub tied: bool,
    /// Memory for keys and values of a position, in bytes.
    pub cache_bytes_per_token: u64,
    /// The same for the longest sequence.
    pub cache_bytes_full: u64,
}

/// Says what kind of model a file holds.
///
/// # Errors
/// When the architecture is not supported.
pub fn oracle(checkpoint: &Checkpoint) -> Result<Oracle, Error> {
    let config = checkpoint.known_config()?;
    let (arch, _) = checkpoint.arch_and_layers()?;
    let Inspection { format, file_size, tensor_count, total_params, .. } = inspect(checkpoint)?;
    Ok(Oracle {
        architecture: arch.name,
        class: arch.class,
        gguf_architecture: arch.gguf,
        parameters: total_params,
        format: OracleFormat {
            name: format,
            architecture: arch.name,
            total_params,
            tensor_count,
            file_size,
            bits_per_weight: file_size as f64 * 8.0 / total_params.max(1) as f64,
        },
        norm: norm_name(arch),
        positions: positions(arch, config.as_ref()),
        mlp: mlp_name(arch),
        runtime: config.as_ref().map(runtime),
    })
}

fn positions(arch: &Arch, config: Option<&ModelConfig>) -> String {
    if !arch.is_rotary() {
        return "learned".to_owned();
    }
    let Some(rope) = config.and_then(|config| config.rope.as_ref()) else {
        return "rotary".to_owned();
    };
    let scaling = match &rope.scaling {
        RopeScaling::None => String::new(),
        RopeScaling::Linear { factor } => format!(", stretched by {factor}"),
        RopeScaling::Llama3 { factor, .. } => format!(", low frequencies stretched by {factor}"),
        RopeScaling::Long { original, .. } => format!(", LongRoPE past {original}"),
    };
    format!("rotary, base {}, {} elements of a head{scaling}", rope.theta, rope.dims)
}

fn runtime(config: &ModelConfig) -> OracleRuntime {
    // Keys and values of every layer, in single precision.
    let cached = config.kv_size().saturating_mul(config.layers);
    let per_token = units::size(cached.saturating_mul(2 * size_of::<f32>()));
    OracleRuntime {
        attention: match config.kv_heads {
            1 if config.heads > 1 => "multi-query",
            kv_heads if kv_heads == config.heads => "multi-head",
            _ => "grouped-query",
        },
        num_heads: config.heads,
        num_kv_heads: config.kv_heads,
        head_dim: config.head_dim,
        num_layers: config.layers,
        hidden_size: config.hidden_size,
        mlp_size: config.mlp_size,
        vocab_size: config.vocab_size,
        context_length: config.max_positions,
        tied: config.tied,
        cache_bytes_per_token: per_token,
        cache_bytes_full: per_token.saturating_mul(units::size(config.max_positions)),
    }
}

impl fmt::Display for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OracleFormat { name, tensor_count, file_size, bits_per_weight, .. } = &self.format;
        let mut line = |what: &str, value: String| writeln!(f, "{what:<16}{value}");
        line("architecture", format!("{} ({})", self.architecture, self.class))?;
        line("parameters", units::count(self.parameters))?;
        let size = units::bytes(*file_size);
        line("format", format!("{name}, {tensor_count} tensors, {size}"))?;
        line("per weight", format!("{bits_per_weight:.2} bits of the file"))?;
        line("norm", self.norm.to_owned())?;
        line("positions", self.positions.clone())?;
        line("MLP", self.mlp.clone())?;
        let Some(runtime) = &self.runtime else {
            return line("heads", "unknown: no configuration beside the file".to_owned());
        };
        let OracleRuntime { attention, num_heads, num_kv_heads, head_dim, .. } = runtime;
        let heads =
            format!("{num_heads} heads, {num_kv_heads} of keys and values, {head_dim} wide");
        line("attention", format!("{attention}: {heads}"))?;
        let (layers, hidden, mlp) = (runtime.num_layers, runtime.hidden_size, runtime.mlp_size);
        line("layers", format!("{layers}, {hidden} wide, MLP {mlp} wide"))?;
        let tied = if runtime.tied { "embedding and head are one" } else { "a head of its own" };
        line(
            "vocabulary",
            format!("{} tokens, {tied}", units::count(units::size(runtime.vocab_size))),
        )?;
        line("context", format!("{} tokens", units::count(units::size(runtime.context_length))))?;
        let (token, full) = (runtime.cache_bytes_per_token, runtime.cache_bytes_full);
        let (token, full) = (units::bytes(token), units::bytes(full));
        line("cache", format!("{token} a token, {full} for the whole context"))
    }
}
