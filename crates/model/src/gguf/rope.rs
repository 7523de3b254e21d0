//! Scaled rotary positions in GGUF files: partly keys, partly tensors.
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    reason = "everything parsed here may be hostile"
)]

use super::GgufKey;
use crate::arch::{Arch, Position};
use crate::{ModelConfig, ModelError, RopeScaling};
use apr_format::{Container, Metadata};
use serde_json::{Value, json};

const TYPE: &str = "rope.scaling.type";
const FACTOR: &str = "rope.scaling.factor";
const ORIGINAL: &str = "rope.scaling.original_context_length";
const AMPLITUDE: &str = "rope.scaling.attn_factor";
const DIMS: &str = "rope.dimension_count";
/// Llama 3.1's divisors; llama.cpp's files have them instead of the parameters they follow from.
const DIVISORS: &str = "rope_freqs.weight";
const SHORT: &str = "rope_factors_short.weight";
const LONG: &str = "rope_factors_long.weight";
/// All of these names.
pub(crate) const FACTORS: [&str; 3] = [DIVISORS, SHORT, LONG];
/// Our keys for these parameters, and what the published models have.
const LLAMA3: [(&str, &str, f32); 3] = [
    ("apr.rope.factor", "factor", 0.0),
    ("apr.rope.low_freq_factor", "low_freq_factor", 1.0),
    ("apr.rope.high_freq_factor", "high_freq_factor", 4.0),
];
const LLAMA3_ORIGINAL: u64 = 8192;
/// Pairs of elements of a head, of which no model has nearly as many. The size of a tensor whose
/// data were not read is no more than a claim.
const MAX_FACTORS: usize = 1 << 16;
/// llama.cpp's base where a file has none.
const DEFAULT_THETA: f32 = 10_000.0;

/// The keys beside the table's.
pub(super) fn keys(config: &ModelConfig) -> Vec<(String, GgufKey)> {
    use GgufKey::{Count, Number, Text};
    let Some(rope) = &config.rope else { return Vec::new() };
    let key = |key: &str| format!("{}.{key}", config.arch.gguf);
    let mut keys = vec![(key(DIMS), Count(rope.dims))];
    match &rope.scaling {
        RopeScaling::None => {}
        RopeScaling::Linear { factor } => {
            keys.push((key(TYPE), Text("linear")));
            keys.push((key(FACTOR), Number(*factor)));
        }
        &RopeScaling::Llama3 { factor, low, high, original } => {
            let values = [factor, low, high];
            keys.extend(LLAMA3.iter().zip(values).map(|(row, x)| (row.0.to_owned(), Number(x))));
            keys.push((key(ORIGINAL), Count(original)));
        }
        RopeScaling::Long { original, amplitude, .. } => {
            keys.push((key(ORIGINAL), Count(*original)));
            keys.push((key(AMPLITUDE), Number(*amplitude)));
        }
    }
    keys
}

impl ModelConfig {
    /// The tensors by which a GGUF file scales rotary positions: names and values.
    #[must_use]
    pub fn gguf_factors(&self) -> Vec<(&'static str, Vec<f32>)> {
        let Some(rope) = &self.rope else { return Vec::new() };
        match &rope.scaling {
            RopeScaling::None | RopeScaling::Linear { .. } => Vec::new(),
            RopeScaling::Llama3 { .. } => vec![(DIVISORS, rope.divisors(0))],
            RopeScaling::Long { short, long, .. } => {
                vec![(LONG, long.clone()), (SHORT, short.clone())]
            }
        }
    }
}

/// Adds what a GGUF file says of rotary positions to `config`.
pub(super) fn read(
    container: &Container,
    arch: &Arch,
    config: &mut Metadata,
) -> Result<(), ModelError> {
    let metadata = container.metadata();
    let get = |key: &str| metadata.get(&format!("{}.{key}", arch.gguf));
    config.entry(arch.config.rope_theta).or_insert_with(|| json!(DEFAULT_THETA));
    if let Some(key) = arch.config.local_rope_theta {
        config.entry(key).or_insert_with(|| json!(DEFAULT_THETA));
    }
    if let Some(dims) = get(DIMS) {
        match (arch.config.partial_rotary, head_dim(arch, config)) {
            (Some(share_key), Some(of)) => {
                let share = dims.as_f64().map(|dims| share(dims, of));
                config.insert(share_key.key.to_owned(), json!(share));
            }
            (Some(_), None) => {}
            // Older files have this key alone.
            (None, _) => {
                config.entry("head_dim").or_insert_with(|| dims.clone());
            }
        }
    }
    if let Some(scaling) = scaling(container, arch, &get)? {
        config.insert("rope_scaling".to_owned(), scaling);
    }
    Ok(())
}

#[allow(clippy::as_conversions, reason = "it rounds, as double precision does")]
const fn share(dims: f64, of: u64) -> f64 {
    dims / of as f64
}

fn head_dim(arch: &Arch, config: &Metadata) -> Option<u64> {
    let get = |key: &str| config.get(key).and_then(Value::as_u64);
    get("head_dim").or_else(|| get(arch.config.hidden_size)?.checked_div(get(arch.config.heads)?))
}

fn scaling<'a>(
    container: &'a Container,
    arch: &Arch,
    get: &dyn Fn(&str) -> Option<&'a Value>,
) -> Result<Option<Value>, ModelError> {
    let kind = get(TYPE).and_then(Value::as_str).filter(|kind| *kind != "none");
    let takes = |name| match arch.position {
        Position::Rope { scalings } => scalings.contains(&name),
        Position::Learned => false,
    };
    let original = get(ORIGINAL);
    if takes("llama3") && container.entry(DIVISORS).is_some() {
        let divisors = values(container, DIVISORS)?;
        let largest = divisors.iter().copied().fold(1.0, f32::max);
        let mut object = Metadata::new();
        object.insert("rope_type".to_owned(), json!("llama3"));
        for (ours, key, published) in LLAMA3 {
            let implied = if published > 0.0 { published } else { largest };
            let value = container.metadata().get(ours).cloned().unwrap_or(json!(implied));
            object.insert(key.to_owned(), value);
        }
        let original = original.cloned().unwrap_or(json!(LLAMA3_ORIGINAL));
        object.insert("original_max_position_embeddings".to_owned(), original);
        return Ok(Some(Value::Object(object)));
    }
    if takes("longrope") && container.entry(LONG).is_some() {
        return Ok(Some(json!({
            "rope_type": "longrope",
            "long_factor": values(container, LONG)?,
            "short_factor": values(container, SHORT)?,
            "original_max_position_embeddings": original,
            "attention_factor": get(AMPLITUDE),
        })));
    }
    Ok(kind.map(|kind| json!({ "rope_type": kind, "factor": get(FACTOR) })))
}

/// The values of a tensor of the file; none if only its header was read.
fn values(container: &Container, name: &str) -> Result<Vec<f32>, ModelError> {
    let len = container.entry(name).map_or(0, |entry| entry.layout.elem_count());
    if len > MAX_FACTORS {
        let cause = "has more rotary factors than a head has elements";
        return Err(ModelError::Derived { tensor: name.to_owned(), cause });
    }
    if container.files().iter().any(|file| file.bytes().is_none()) {
        return Ok(vec![1.0; len]);
    }
    Ok(container.tensor(name)?.view().to_f32())
}
