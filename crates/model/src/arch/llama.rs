//! Llama and its many descendants (SmolLM among them). transformers: `modeling_llama.py`.

use super::Setting::{Bool, Null, Number, Text};
use super::{
    Activation, Arch, ConfigKeys, Mlp, Norm, Part, Position, Requirement, RowOrder, weight,
};

pub(super) static LLAMA: Arch = Arch {
    name: "llama",
    class: "LlamaForCausalLM",
    norm: Norm::Rms,
    position: Position::Rope,
    mlp: Mlp::Gated(Activation::Silu),
    config: KEYS,
    requirements: &[
        Requirement { key: "hidden_act", value: Text("silu") },
        Requirement { key: "attention_bias", value: Bool(false) },
        Requirement { key: "mlp_bias", value: Bool(false) },
        Requirement { key: "rope_scaling", value: Null },
        Requirement { key: "rope_parameters.rope_type", value: Text("default") },
        Requirement { key: "partial_rotary_factor", value: Number(1.0) },
        Requirement { key: "quantization_config", value: Null },
    ],
    tensors: &[
        weight(Part::TokenEmbedding, "model.embed_tokens.weight"),
        weight(Part::AttentionNorm, "model.layers.{}.input_layernorm.weight"),
        weight(Part::Query, "model.layers.{}.self_attn.q_proj.weight"),
        weight(Part::Key, "model.layers.{}.self_attn.k_proj.weight"),
        weight(Part::Value, "model.layers.{}.self_attn.v_proj.weight"),
        weight(Part::AttentionOutput, "model.layers.{}.self_attn.o_proj.weight"),
        weight(Part::MlpNorm, "model.layers.{}.post_attention_layernorm.weight"),
        weight(Part::MlpGate, "model.layers.{}.mlp.gate_proj.weight"),
        weight(Part::MlpUp, "model.layers.{}.mlp.up_proj.weight"),
        weight(Part::MlpDown, "model.layers.{}.mlp.down_proj.weight"),
        weight(Part::FinalNorm, "model.norm.weight"),
        weight(Part::Head, "lm_head.weight"),
    ],
    gguf_heads: RowOrder::Neighbours,
    optional_prefix: None,
    derived: &[],
};

/// The keys that Llama's descendants share.
pub(super) const KEYS: ConfigKeys = ConfigKeys {
    hidden_size: "hidden_size",
    layers: "num_hidden_layers",
    heads: "num_attention_heads",
    kv_heads: Some("num_key_value_heads"),
    mlp_size: "intermediate_size",
    mlp_default: None,
    vocab_size: "vocab_size",
    max_positions: "max_position_embeddings",
    norm_eps: "rms_norm_eps",
    tied_default: false,
};
