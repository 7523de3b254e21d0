//! What the layers of a batch compute in, one after the other: memory is taken once per batch.

/// Rows between the products of a layer; each is overwritten by the next layer.
#[derive(Default)]
pub(super) struct Scratch {
    /// Of attention or of the MLP, normalised: `[tokens, hidden_size]`.
    pub(super) input: Vec<f32>,
    /// `[tokens, heads · head_dim]`.
    pub(super) query: Vec<f32>,
    /// `[tokens, kv_heads · head_dim]`.
    pub(super) key: Vec<f32>,
    /// `[tokens, kv_heads · head_dim]`.
    pub(super) value: Vec<f32>,
    /// What the heads saw, `[tokens, heads · head_dim]`.
    pub(super) attended: Vec<f32>,
    /// Within the MLP.
    pub(super) inner: Inner,
    /// Of attention or of the MLP: `[tokens, hidden_size]`.
    pub(super) output: Vec<f32>,
}

/// Rows within an MLP, `[tokens, its width]`.
#[derive(Default)]
pub(super) struct Inner {
    /// What goes through the activation.
    pub(super) gate: Vec<f32>,
    pub(super) up: Vec<f32>,
}
