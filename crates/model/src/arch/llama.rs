//! Llama (SmolLM and many others are Llama by name too). transformers: `modeling_llama.py`.

use super::Setting::{Bool, Null, Text};
use super::{
    Activation, Arch, ConfigKeys, DerivedKind, DerivedName, EmbeddingScale, Mlp, Norm, Part,
    Position, Requirement, RowOrder, TensorName, WindowRule, weight,
};

pub(super) static LLAMA: Arch = Arch {
    name: "llama",
    class: "LlamaForCausalLM",
    requirements: &[
        Requirement { key: "hidden_act", value: Text("silu") },
        Requirement { key: "attention_bias", value: Bool(false) },
        Requirement { key: "mlp_bias", value: Bool(false) },
        Requirement { key: "quantization_config", value: Null },
    ],
    ..BASE
};

/// What Llama's descendants begin with.
pub(super) const BASE: Arch = Arch {
    name: "",
    class: "",
    gguf: "llama",
    embedding_scale: EmbeddingScale::One,
    norm: Norm::Rms,
    position: Position::Rope { scalings: &["linear", "llama3"] },
    window: WindowRule::Never,
    mlp: Mlp::Gated(Activation::Silu),
    config: KEYS,
    requirements: &[],
    tensors: TENSORS,
    gguf_heads: RowOrder::Neighbours,
    optional_prefix: None,
    derived: &[DerivedName {
        kind: DerivedKind::RopeFrequencies,
        name: "model.layers.{}.self_attn.rotary_emb.inv_freq",
    }],
};

const TENSORS: &[TensorName] = &[
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
];

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
    rope_theta: "rope_theta",
    local_rope_theta: None,
    partial_rotary: None,
    query_scale: None,
    attention_softcap: None,
    logit_softcap: None,
    parallel_residual: None,
    experts: None,
    tied_default: false,
};
