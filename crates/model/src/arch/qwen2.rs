//! Qwen2: Llama with biases on query, key and value. transformers: `modeling_qwen2.py`.

use super::Setting::{Bool, Null, Text};
use super::llama::KEYS;
use super::{Activation, Arch, Mlp, Norm, Part, Position, Requirement, RowOrder, bias, weight};

pub(super) static QWEN2: Arch = Arch {
    name: "qwen2",
    class: "Qwen2ForCausalLM",
    norm: Norm::Rms,
    position: Position::Rope,
    mlp: Mlp::Gated(Activation::Silu),
    config: KEYS,
    requirements: &[
        Requirement { key: "hidden_act", value: Text("silu") },
        Requirement { key: "use_sliding_window", value: Bool(false) },
        Requirement { key: "rope_scaling", value: Null },
        Requirement { key: "rope_parameters.rope_type", value: Text("default") },
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
    optional_prefix: None,
    derived: &[],
};
