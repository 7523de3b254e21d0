//! Mixtures of experts: Mixtral is Mistral, Qwen3-MoE is Qwen3, with a router and experts in place
//! of the MLP. transformers: `modeling_mixtral.py`, `modeling_qwen3_moe.py`.

use super::Setting::{Bool, Empty, Null, Number, Text};
use super::llama::{BASE, KEYS};
use super::qwen::QWEN3_BASE;
use super::{
    Activation, Arch, ConfigKeys, ExpertKeys, Mlp, Part, Requirement, WindowRule, expert, weight,
};

pub(super) static MIXTRAL: Arch = Arch {
    name: "mixtral",
    class: "MixtralForCausalLM",
    window: WindowRule::All,
    mlp: Mlp::Experts(Activation::Silu),
    config: ConfigKeys {
        experts: Some(ExpertKeys {
            count: &["num_local_experts"],
            used: "num_experts_per_tok",
            size: "intermediate_size",
            renormalise: None,
        }),
        ..KEYS
    },
    requirements: &[
        Requirement { key: "hidden_act", value: Text("silu") },
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
        weight(Part::Router, "model.layers.{}.block_sparse_moe.gate.weight"),
        expert(Part::ExpertGate, "model.layers.{}.block_sparse_moe.experts.{e}.w1.weight"),
        expert(Part::ExpertUp, "model.layers.{}.block_sparse_moe.experts.{e}.w3.weight"),
        expert(Part::ExpertDown, "model.layers.{}.block_sparse_moe.experts.{e}.w2.weight"),
        weight(Part::FinalNorm, "model.norm.weight"),
        weight(Part::Head, "lm_head.weight"),
    ],
    ..BASE
};

pub(super) static QWEN3_MOE: Arch = Arch {
    name: "qwen3_moe",
    class: "Qwen3MoeForCausalLM",
    gguf: "qwen3moe",
    mlp: Mlp::Experts(Activation::Silu),
    config: ConfigKeys {
        experts: Some(ExpertKeys {
            count: &["num_experts", "num_local_experts"],
            used: "num_experts_per_tok",
            size: "moe_intermediate_size",
            renormalise: Some("norm_topk_prob"),
        }),
        ..KEYS
    },
    requirements: &[
        Requirement { key: "hidden_act", value: Text("silu") },
        Requirement { key: "attention_bias", value: Bool(false) },
        Requirement { key: "use_sliding_window", value: Bool(false) },
        Requirement { key: "decoder_sparse_step", value: Number(1.0) },
        Requirement { key: "mlp_only_layers", value: Empty },
        Requirement { key: "quantization_config", value: Null },
    ],
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
        weight(Part::Router, "model.layers.{}.mlp.gate.weight"),
        expert(Part::ExpertGate, "model.layers.{}.mlp.experts.{e}.gate_proj.weight"),
        expert(Part::ExpertUp, "model.layers.{}.mlp.experts.{e}.up_proj.weight"),
        expert(Part::ExpertDown, "model.layers.{}.mlp.experts.{e}.down_proj.weight"),
        weight(Part::FinalNorm, "model.norm.weight"),
        weight(Part::Head, "lm_head.weight"),
    ],
    ..QWEN3_BASE
};
