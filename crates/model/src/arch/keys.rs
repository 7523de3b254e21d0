//! Where `config.json` keeps the parameters of an architecture, and what it must say.

/// Names of the parameters in `config.json`.
#[derive(Debug)]
pub struct ConfigKeys {
    /// Width of the residual stream.
    pub hidden_size: &'static str,
    /// Number of layers.
    pub layers: &'static str,
    /// Number of query heads.
    pub heads: &'static str,
    /// Number of key and value heads; `None` where it is always that of the query heads.
    pub kv_heads: Option<&'static str>,
    /// Width of the MLP.
    pub mlp_size: &'static str,
    /// What a null or absent MLP width means, in multiples of the hidden size, where the
    /// architecture defines that.
    pub mlp_default: Option<usize>,
    /// Number of rows of the embedding.
    pub vocab_size: &'static str,
    /// Longest sequence.
    pub max_positions: &'static str,
    /// ε of the norms.
    pub norm_eps: &'static str,
    /// Base of the rotary frequencies, outside `rope_parameters`.
    pub rope_theta: &'static str,
    /// The same for the layers with a window, where they have their own.
    pub local_rope_theta: Option<&'static str>,
    /// Share of a head that is rotated, where it may be another than all.
    pub partial_rotary: Option<ShareKey>,
    /// The number whose inverse square root scales the scores, where it is not `head_dim`.
    pub query_scale: Option<&'static str>,
    /// Bound of the scores, where they are bounded.
    pub attention_softcap: Option<&'static str>,
    /// Bound of the logits, where they are bounded.
    pub logit_softcap: Option<&'static str>,
    /// Whether attention and MLP of a layer have the same input, where that is a setting.
    pub parallel_residual: Option<&'static str>,
    /// The experts, where there are any.
    pub experts: Option<ExpertKeys>,
    /// Whether the head is the embedding when the key `tie_word_embeddings` is absent.
    pub tied_default: bool,
}

/// Name of a share.
#[derive(Debug, Clone, Copy)]
pub struct ShareKey {
    /// Its name.
    pub key: &'static str,
    /// Whether an absent one means all.
    pub optional: bool,
}

/// Names of the parameters of a mixture of experts.
#[derive(Debug)]
pub struct ExpertKeys {
    /// How many there are; the first of these names that is there counts.
    pub count: &'static [&'static str],
    /// How many a token goes through.
    pub used: &'static str,
    /// Width of each.
    pub size: &'static str,
    /// Whether the weights of the chosen ones are scaled to sum to one; always where there is no
    /// key. An absent key is false.
    pub renormalise: Option<&'static str>,
}

/// A setting of `config.json` that must be absent, null, or equal to this value.
#[derive(Debug)]
pub struct Requirement {
    /// Key; `a.b` is the key `b` of the object `a`.
    pub key: &'static str,
    /// The one supported value.
    pub value: Setting,
}

/// A value in `config.json`.
#[derive(Debug, Clone, Copy)]
pub enum Setting {
    /// Absent or null.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A string.
    Text(&'static str),
    /// A number.
    Number(f64),
    /// An empty list.
    Empty,
}
