//! Gemma 2 and the text part of Gemma 3: norms before and after each block, windows in most
//! layers. Gemma 2 bounds scores and logits; Gemma 3 norms queries and keys, and rotates the
//! layers with a window by frequencies of their own. transformers: `modeling_gemma2.py`,
//! `modeling_gemma3.py`.

use super::Setting::{Bool, Null, Text};
use super::llama::{BASE, KEYS};
use super::{
    Activation, Arch, ConfigKeys, EmbeddingScale, Mlp, Norm, Part, Position, Requirement, RowOrder,
    WindowRule, weight,
};

pub(super) static GEMMA2: Arch = Arch {
    name: "gemma2",
    class: "Gemma2ForCausalLM",
    gguf: "gemma2",
    window: WindowRule::AllButEvery(2),
    config: ConfigKeys {
        attention_softcap: Some("attn_logit_softcapping"),
        logit_softcap: Some("final_logit_softcapping"),
        ..GEMMA_KEYS
    },
    requirements: &[
        Requirement { key: "hidden_activation", value: Text("gelu_pytorch_tanh") },
        Requirement { key: "attention_bias", value: Bool(false) },
        Requirement { key: "use_bidirectional_attention", value: Bool(false) },
        Requirement { key: "tie_word_embeddings", value: Bool(true) },
        Requirement { key: "quantization_config", value: Null },
    ],
    tensors: &[
        weight(Part::TokenEmbedding, "model.embed_tokens.weight"),
        weight(Part::AttentionNorm, "model.layers.{}.input_layernorm.weight"),
        weight(Part::Query, "model.layers.{}.self_attn.q_proj.weight"),
        weight(Part::Key, "model.layers.{}.self_attn.k_proj.weight"),
        weight(Part::Value, "model.layers.{}.self_attn.v_proj.weight"),
        weight(Part::AttentionOutput, "model.layers.{}.self_attn.o_proj.weight"),
        weight(Part::PostAttentionNorm, "model.layers.{}.post_attention_layernorm.weight"),
        weight(Part::MlpNorm, "model.layers.{}.pre_feedforward_layernorm.weight"),
        weight(Part::MlpGate, "model.layers.{}.mlp.gate_proj.weight"),
        weight(Part::MlpUp, "model.layers.{}.mlp.up_proj.weight"),
        weight(Part::MlpDown, "model.layers.{}.mlp.down_proj.weight"),
        weight(Part::PostMlpNorm, "model.layers.{}.post_feedforward_layernorm.weight"),
        weight(Part::FinalNorm, "model.norm.weight"),
        weight(Part::Head, "lm_head.weight"),
    ],
    ..GEMMA_BASE
};

pub(super) static GEMMA3: Arch = Arch {
    name: "gemma3_text",
    class: "Gemma3ForCausalLM",
    gguf: "gemma3",
    window: WindowRule::AllButEvery(6),
    config: ConfigKeys { local_rope_theta: Some("rope_local_base_freq"), ..GEMMA_KEYS },
    requirements: &[
        Requirement { key: "hidden_activation", value: Text("gelu_pytorch_tanh") },
        Requirement { key: "attention_bias", value: Bool(false) },
        Requirement { key: "attn_logit_softcapping", value: Null },
        Requirement { key: "final_logit_softcapping", value: Null },
        Requirement { key: "use_bidirectional_attention", value: Bool(false) },
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
        weight(Part::PostAttentionNorm, "model.layers.{}.post_attention_layernorm.weight"),
        weight(Part::MlpNorm, "model.layers.{}.pre_feedforward_layernorm.weight"),
        weight(Part::MlpGate, "model.layers.{}.mlp.gate_proj.weight"),
        weight(Part::MlpUp, "model.layers.{}.mlp.up_proj.weight"),
        weight(Part::MlpDown, "model.layers.{}.mlp.down_proj.weight"),
        weight(Part::PostMlpNorm, "model.layers.{}.post_feedforward_layernorm.weight"),
        weight(Part::FinalNorm, "model.norm.weight"),
        weight(Part::Head, "lm_head.weight"),
    ],
    ..GEMMA_BASE
};

/// What both generations share.
const GEMMA_BASE: Arch = Arch {
    embedding_scale: EmbeddingScale::SqrtHidden,
    norm: Norm::RmsPlusOne,
    position: Position::Rope { scalings: &["linear"] },
    mlp: Mlp::Gated(Activation::GeluTanh),
    gguf_heads: RowOrder::Halves,
    ..BASE
};

const GEMMA_KEYS: ConfigKeys =
    ConfigKeys { query_scale: Some("query_pre_attn_scalar"), tied_default: true, ..KEYS };
