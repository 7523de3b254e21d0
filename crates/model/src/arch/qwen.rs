//! Qwen2 and 2.5: Llama with biases on query, key and value. Qwen3: norms of every query and key
//! instead. transformers: `modeling_qwen2.py`, `modeling_qwen3.py`.

use super::Setting::{Bool, Null, Text};
use super::llama::BASE;
use super::{Arch, Part, Position, Requirement, RowOrder, bias, weight};

pub(super) static QWEN2: Arch = Arch {
    name: "qwen2",
    class: "Qwen2ForCausalLM",
    gguf: "qwen2",
    position: Position::Rope { scalings: &["linear"] },
    requirements: &[
        Requirement { key: "hidden_act", value: Text("silu") },
        Requirement { key: "use_sliding_window", value: Bool(false) },
        Requirement { key: "quantization_config", value: Null },
    ],
    tensors: &[
        weight(Part::TokenEmbedding, "model.embed_tokens.weight"),
        weight(Part::AttentionNorm, "model.layers.{}.input_layernorm.weight"),
        weight(Part::Query, "model.layers.{}.self_attn.q_proj.weight"),
        bias(Part::Query, "model.layers.{}.self_attn.q_proj.bias"),
        weight(Part::Key, "model.layers.{}.self_attn.k_proj.weight"),
        bias(Part::Key, "model.layers.{}.self_attn.k_proj.bias"),
        weight(Part::Value, "model.layers.{}.self_attn.v_proj.weight"),
        bias(Part::Value, "model.layers.{}.self_attn.v_proj.bias"),
        weight(Part::AttentionOutput, "model.layers.{}.self_attn.o_proj.weight"),
        weight(Part::MlpNorm, "model.layers.{}.post_attention_layernorm.weight"),
        weight(Part::MlpGate, "model.layers.{}.mlp.gate_proj.weight"),
        weight(Part::MlpUp, "model.layers.{}.mlp.up_proj.weight"),
        weight(Part::MlpDown, "model.layers.{}.mlp.down_proj.weight"),
        weight(Part::FinalNorm, "model.norm.weight"),
        weight(Part::Head, "lm_head.weight"),
    ],
    gguf_heads: RowOrder::Halves,
    ..BASE
};

pub(super) static QWEN3: Arch = Arch {
    name: "qwen3",
    class: "Qwen3ForCausalLM",
    gguf: "qwen3",
    tensors: &[
        weight(Part::TokenEmbedding, "model.embed_tokens.weight"),
        weight(Part::AttentionNorm, "model.layers.{}.input_layernorm.weight"),
        weight(Part::Query, "model.layers.{}.self_attn.q_proj.weight"),
        weight(Part::Key, "model.layers.{}.self_attn.k_proj.weight"),
        weight(Part::Value, "model.layers.{}.self_attn.v_proj.weight"),
        weight(Part::QueryNorm, "model.layers.{}.self_attn.q_norm.weight"),
        weight(Part::KeyNorm, "model.layers.{}.self_attn.k_norm.weight"),
        weight(Part::AttentionOutput, "model.layers.{}.self_attn.o_proj.weight"),
        weight(Part::MlpNorm, "model.layers.{}.post_attention_layernorm.weight"),
        weight(Part::MlpGate, "model.layers.{}.mlp.gate_proj.weight"),
        weight(Part::MlpUp, "model.layers.{}.mlp.up_proj.weight"),
        weight(Part::MlpDown, "model.layers.{}.mlp.down_proj.weight"),
        weight(Part::FinalNorm, "model.norm.weight"),
        weight(Part::Head, "lm_head.weight"),
    ],
    ..QWEN3_BASE
};

/// What dense and sparse Qwen3 share.
pub(super) const QWEN3_BASE: Arch = Arch {
    position: Position::Rope { scalings: &["linear"] },
    requirements: &[
        Requirement { key: "hidden_act", value: Text("silu") },
        Requirement { key: "attention_bias", value: Bool(false) },
        Requirement { key: "use_sliding_window", value: Bool(false) },
        Requirement { key: "quantization_config", value: Null },
    ],
    gguf_heads: RowOrder::Halves,
    ..BASE
};
