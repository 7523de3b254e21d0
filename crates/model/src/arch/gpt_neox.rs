//! GPT-NeoX and Pythia: a part of each head is rotated, and attention and MLP of a layer have the
//! same input unless `use_parallel_residual` is false. transformers: `modeling_gpt_neox.py`.

use super::Setting::{Bool, Null, Text};
use super::llama::{BASE, KEYS};
use super::{
    Activation, Arch, ConfigKeys, DerivedKind, DerivedName, Mlp, Norm, Param, Part, Position,
    Requirement, RowOrder, ShareKey, Stored, bias, tensor, weight,
};

pub(super) static GPT_NEOX: Arch = Arch {
    name: "gpt_neox",
    class: "GPTNeoXForCausalLM",
    gguf: "gptneox",
    norm: Norm::Layer,
    position: Position::Rope { scalings: &["linear"] },
    mlp: Mlp::Plain(Activation::Gelu),
    config: ConfigKeys {
        kv_heads: None,
        norm_eps: "layer_norm_eps",
        rope_theta: "rotary_emb_base",
        partial_rotary: Some(ShareKey { key: "rotary_pct", optional: false }),
        parallel_residual: Some("use_parallel_residual"),
        ..KEYS
    },
    requirements: &[
        Requirement { key: "hidden_act", value: Text("gelu") },
        Requirement { key: "attention_bias", value: Bool(true) },
        Requirement { key: "quantization_config", value: Null },
    ],
    tensors: &[
        weight(Part::TokenEmbedding, "gpt_neox.embed_in.weight"),
        weight(Part::AttentionNorm, "gpt_neox.layers.{}.input_layernorm.weight"),
        bias(Part::AttentionNorm, "gpt_neox.layers.{}.input_layernorm.bias"),
        tensor(Part::QueryKeyValue, Param::Weight, QKV_WEIGHT, Stored::HeadByHead),
        tensor(Part::QueryKeyValue, Param::Bias, QKV_BIAS, Stored::HeadByHead),
        weight(Part::AttentionOutput, "gpt_neox.layers.{}.attention.dense.weight"),
        bias(Part::AttentionOutput, "gpt_neox.layers.{}.attention.dense.bias"),
        weight(Part::MlpNorm, "gpt_neox.layers.{}.post_attention_layernorm.weight"),
        bias(Part::MlpNorm, "gpt_neox.layers.{}.post_attention_layernorm.bias"),
        weight(Part::MlpUp, "gpt_neox.layers.{}.mlp.dense_h_to_4h.weight"),
        bias(Part::MlpUp, "gpt_neox.layers.{}.mlp.dense_h_to_4h.bias"),
        weight(Part::MlpDown, "gpt_neox.layers.{}.mlp.dense_4h_to_h.weight"),
        bias(Part::MlpDown, "gpt_neox.layers.{}.mlp.dense_4h_to_h.bias"),
        weight(Part::FinalNorm, "gpt_neox.final_layer_norm.weight"),
        bias(Part::FinalNorm, "gpt_neox.final_layer_norm.bias"),
        weight(Part::Head, "embed_out.weight"),
    ],
    gguf_heads: RowOrder::Halves,
    derived: &[
        DerivedName { kind: DerivedKind::CausalMask, name: "gpt_neox.layers.{}.attention.bias" },
        DerivedName {
            kind: DerivedKind::MaskedBias,
            name: "gpt_neox.layers.{}.attention.masked_bias",
        },
        DerivedName {
            kind: DerivedKind::RopeFrequencies,
            name: "gpt_neox.layers.{}.attention.rotary_emb.inv_freq",
        },
    ],
    ..BASE
};

const QKV_WEIGHT: &str = "gpt_neox.layers.{}.attention.query_key_value.weight";
const QKV_BIAS: &str = "gpt_neox.layers.{}.attention.query_key_value.bias";
