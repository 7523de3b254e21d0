//! GPT-2. transformers: `modeling_gpt2.py`. Its matrices are `Conv1D` weights, `[in, out]`, and
//! published checkpoints carry the causal mask of every layer as a tensor.

use super::Setting::{Bool, Null, Text};
use super::llama::{BASE, KEYS};
use super::{
    Activation, Arch, ConfigKeys, DerivedKind, DerivedName, Mlp, Norm, Part, Position, Requirement,
    RowOrder, bias, conv1d, weight,
};

pub(super) static GPT2: Arch = Arch {
    name: "gpt2",
    class: "GPT2LMHeadModel",
    gguf: "gpt2",
    norm: Norm::Layer,
    position: Position::Learned,
    mlp: Mlp::Plain(Activation::GeluTanh),
    config: ConfigKeys {
        hidden_size: "n_embd",
        layers: "n_layer",
        heads: "n_head",
        kv_heads: None,
        mlp_size: "n_inner",
        mlp_default: Some(4),
        vocab_size: "vocab_size",
        max_positions: "n_positions",
        norm_eps: "layer_norm_epsilon",
        tied_default: true,
        ..KEYS
    },
    requirements: &[
        Requirement { key: "activation_function", value: Text("gelu_new") },
        Requirement { key: "scale_attn_weights", value: Bool(true) },
        Requirement { key: "scale_attn_by_inverse_layer_idx", value: Bool(false) },
        Requirement { key: "add_cross_attention", value: Bool(false) },
        Requirement { key: "quantization_config", value: Null },
    ],
    tensors: &[
        weight(Part::TokenEmbedding, "wte.weight"),
        weight(Part::PositionEmbedding, "wpe.weight"),
        weight(Part::AttentionNorm, "h.{}.ln_1.weight"),
        bias(Part::AttentionNorm, "h.{}.ln_1.bias"),
        conv1d(Part::QueryKeyValue, "h.{}.attn.c_attn.weight"),
        bias(Part::QueryKeyValue, "h.{}.attn.c_attn.bias"),
        conv1d(Part::AttentionOutput, "h.{}.attn.c_proj.weight"),
        bias(Part::AttentionOutput, "h.{}.attn.c_proj.bias"),
        weight(Part::MlpNorm, "h.{}.ln_2.weight"),
        bias(Part::MlpNorm, "h.{}.ln_2.bias"),
        conv1d(Part::MlpUp, "h.{}.mlp.c_fc.weight"),
        bias(Part::MlpUp, "h.{}.mlp.c_fc.bias"),
        conv1d(Part::MlpDown, "h.{}.mlp.c_proj.weight"),
        bias(Part::MlpDown, "h.{}.mlp.c_proj.bias"),
        weight(Part::FinalNorm, "ln_f.weight"),
        bias(Part::FinalNorm, "ln_f.bias"),
        weight(Part::Head, "lm_head.weight"),
    ],
    gguf_heads: RowOrder::Halves,
    optional_prefix: Some("transformer."),
    derived: &[
        DerivedName { kind: DerivedKind::CausalMask, name: "h.{}.attn.bias" },
        DerivedName { kind: DerivedKind::MaskedBias, name: "h.{}.attn.masked_bias" },
    ],
    ..BASE
};
