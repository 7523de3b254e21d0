//! Phi-3 and Phi-4-mini: Llama with query, key and value in one matrix, gate and up in another,
//! and perhaps `LongRoPE` (Ding et al. 2024). transformers: `modeling_phi3.py`.

use super::Setting::{Bool, Null, Text};
use super::llama::{BASE, KEYS};
use super::{
    Arch, ConfigKeys, Part, Position, Requirement, RowOrder, ShareKey, WindowRule, weight,
};

pub(super) static PHI3: Arch = Arch {
    name: "phi3",
    class: "Phi3ForCausalLM",
    gguf: "phi3",
    position: Position::Rope { scalings: &["longrope", "su"] },
    window: WindowRule::All,
    config: ConfigKeys {
        partial_rotary: Some(ShareKey { key: "partial_rotary_factor", optional: true }),
        ..KEYS
    },
    requirements: &[
        Requirement { key: "hidden_act", value: Text("silu") },
        Requirement { key: "attention_bias", value: Bool(false) },
        Requirement { key: "quantization_config", value: Null },
    ],
    tensors: &[
        weight(Part::TokenEmbedding, "model.embed_tokens.weight"),
        weight(Part::AttentionNorm, "model.layers.{}.input_layernorm.weight"),
        weight(Part::QueryKeyValue, "model.layers.{}.self_attn.qkv_proj.weight"),
        weight(Part::AttentionOutput, "model.layers.{}.self_attn.o_proj.weight"),
        weight(Part::MlpNorm, "model.layers.{}.post_attention_layernorm.weight"),
        weight(Part::MlpGateUp, "model.layers.{}.mlp.gate_up_proj.weight"),
        weight(Part::MlpDown, "model.layers.{}.mlp.down_proj.weight"),
        weight(Part::FinalNorm, "model.norm.weight"),
        weight(Part::Head, "lm_head.weight"),
    ],
    gguf_heads: RowOrder::Halves,
    ..BASE
};
