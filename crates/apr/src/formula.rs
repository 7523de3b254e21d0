//! What the parts of an architecture compute, as formulas that people read.

use apr_model::arch::{Activation, EmbeddingScale, Mlp, Norm};
use apr_model::{Arch, Param, Part, TensorRole};

/// What a part computes: x is the vector of a position, n the same after a norm.
pub(crate) fn formula(arch: &Arch, part: Part) -> String {
    let product = |of: &str| product(arch, part, of);
    let gated = !matches!(arch.mlp, Mlp::Plain(_));
    let act = activation(arch);
    let added = |norm: Part, what: String| {
        let has_norm = has(arch, norm, Param::Weight);
        if has_norm { format!("y = {what}") } else { format!("x = x + {what}") }
    };
    match part {
        Part::TokenEmbedding => match arch.embedding_scale {
            EmbeddingScale::One => "x = E[token]".to_owned(),
            EmbeddingScale::SqrtHidden => "x = √hidden · E[token]".to_owned(),
        },
        Part::PositionEmbedding => "x = x + P[position]".to_owned(),
        Part::AttentionNorm | Part::MlpNorm => format!("n = {}", norm(arch, "x")),
        Part::FinalNorm => format!("x = {}", norm(arch, "x")),
        Part::QueryNorm => format!("q = {}", norm(arch, "q")),
        Part::KeyNorm => format!("k = {}", norm(arch, "k")),
        Part::PostAttentionNorm | Part::PostMlpNorm => format!("x = x + {}", norm(arch, "y")),
        Part::Query => format!("q = {}", product("n")),
        Part::Key => format!("k = {}", product("n")),
        Part::Value => format!("v = {}", product("n")),
        Part::QueryKeyValue => format!("[q, k, v] = {}", product("n")),
        Part::AttentionOutput => added(Part::PostAttentionNorm, product("a")),
        Part::MlpGate => format!("g = {act}({})", product("n")),
        Part::MlpUp if gated => format!("u = {}", product("n")),
        Part::MlpUp => format!("u = {act}({})", product("n")),
        Part::MlpGateUp => format!("[g, u] = {}, g = {act}(g)", product("n")),
        Part::MlpDown if gated => added(Part::PostMlpNorm, product("(g ⊙ u)")),
        Part::MlpDown => added(Part::PostMlpNorm, product("u")),
        Part::Router => "p = softmax(W·n), of which the largest count".to_owned(),
        Part::ExpertGate => format!("gₑ = {act}(Wₑ·n)"),
        Part::ExpertUp => "uₑ = Wₑ·n".to_owned(),
        Part::ExpertDown => added(Part::PostMlpNorm, "Σ pₑ · Wₑ·(gₑ ⊙ uₑ)".to_owned()),
        Part::Head => format!("logits = {}", product("x")),
    }
}

/// Whether the architecture has this parameter.
pub(crate) fn has(arch: &Arch, part: Part, param: Param) -> bool {
    arch.tensor(TensorRole { part, param }).is_some()
}

/// Its matrix times a vector.
fn product(arch: &Arch, part: Part, of: &str) -> String {
    let bias = if has(arch, part, Param::Bias) { " + b" } else { "" };
    format!("W·{of}{bias}")
}

fn norm(arch: &Arch, of: &str) -> String {
    match arch.norm {
        Norm::Rms => format!("{of} / √(mean {of}² + ε) ⊙ w"),
        Norm::RmsPlusOne => format!("{of} / √(mean {of}² + ε) ⊙ (1 + w)"),
        Norm::Layer => format!("({of} − mean {of}) / √(var {of} + ε) ⊙ w + b"),
    }
}

/// The name of the architecture's normalisation.
pub(crate) const fn norm_name(arch: &Arch) -> &'static str {
    match arch.norm {
        Norm::Rms => "RMSNorm",
        Norm::RmsPlusOne => "RMSNorm with 1 + w",
        Norm::Layer => "LayerNorm",
    }
}

/// The name of the architecture's feed-forward block.
pub(crate) fn mlp_name(arch: &Arch) -> String {
    let kind = match arch.mlp {
        Mlp::Gated(_) => "gated",
        Mlp::Plain(_) => "plain",
        Mlp::Experts(_) => "gated experts",
    };
    format!("{kind}, {}", activation(arch))
}

/// The name of the architecture's non-linearity.
pub(crate) const fn activation(arch: &Arch) -> &'static str {
    let (Mlp::Gated(activation) | Mlp::Plain(activation) | Mlp::Experts(activation)) = arch.mlp;
    match activation {
        Activation::Silu => "silu",
        Activation::Gelu => "gelu",
        Activation::GeluTanh => "gelu_tanh",
    }
}
