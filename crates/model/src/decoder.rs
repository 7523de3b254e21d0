//! The one forward pass, for every architecture.
//!
//! Shapes are row-major, one row per token: the residual stream is `[tokens, hidden_size]`.

use crate::arch::Activation;
use crate::ops::{self, Rope};
use crate::weights::{Layer, Linear, MlpWeights, NormWeights, Qkv, Weights};
use crate::{Census, KvCache, ModelConfig, ModelError};
use apr_format::Container;
use apr_kernel::{Kernels, Pool};

/// Tokens that go through the model together; more are split.
const MAX_BATCH: usize = 256;

/// A model that is ready to run.
pub struct Decoder {
    config: ModelConfig,
    weights: Weights,
    rope: Option<Rope>,
    kernels: &'static Kernels,
    pool: Pool,
}

/// Queries `[tokens, heads · head_dim]`, keys and values `[tokens, kv_heads · head_dim]`.
#[derive(Default)]
struct Projected {
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
}

impl Decoder {
    /// Puts the tensors of `container` in their places. Nothing is expanded: matrices are used
    /// in the type and the memory they are stored in. `census` must have no transposed matrices.
    ///
    /// # Errors
    /// When a matrix is of a type that no kernel multiplies with, or a tensor cannot be read.
    pub fn new(
        config: ModelConfig,
        container: &Container,
        census: &Census,
        kernels: &'static Kernels,
        threads: usize,
    ) -> Result<Self, ModelError> {
        let weights = Weights::load(&config, container, census, kernels)?;
        let order = census.query_row_order();
        let rope = config.rope_theta.map(|theta| Rope::new(theta, config.head_dim, order));
        Ok(Self { config, weights, rope, kernels, pool: Pool::new(threads) })
    }

    /// Its parameters.
    #[must_use]
    pub const fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Name of the kernel table in use.
    #[must_use]
    pub fn kernels(&self) -> &'static str {
        self.kernels.name()
    }

    /// Threads in use.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// An empty cache for up to `positions` positions.
    ///
    /// # Errors
    /// When the model has fewer positions.
    pub fn cache(&self, positions: usize) -> Result<KvCache, ModelError> {
        let limit = self.config.max_positions;
        if positions > limit {
            return Err(ModelError::TooLong { what: "model", needed: positions, limit });
        }
        Ok(KvCache::new(self.config.layers, self.config.kv_size(), positions))
    }

    /// Runs `tokens` at the positions after those in `cache` and returns the hidden states after
    /// the final norm, `[tokens, hidden_size]`.
    ///
    /// # Errors
    /// When a token is past the vocabulary or the cache is too small.
    pub fn forward(&self, cache: &mut KvCache, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
        let needed = cache.len().saturating_add(tokens.len());
        if needed > cache.capacity() {
            return Err(ModelError::TooLong { what: "cache", needed, limit: cache.capacity() });
        }
        let mut hidden = Vec::with_capacity(tokens.len() * self.config.hidden_size);
        for batch in tokens.chunks(MAX_BATCH) {
            hidden.extend(self.batch(cache, batch)?);
        }
        Ok(hidden)
    }

    /// The logits of hidden states, `[tokens, hidden_size]` → `[tokens, vocab_size]`.
    ///
    /// # Errors
    /// When `hidden` is no whole number of rows.
    pub fn logits(&self, hidden: &[f32]) -> Result<Vec<f32>, ModelError> {
        self.apply(&self.weights.head, hidden)
    }

    /// Runs `tokens` and returns the logits after the last one.
    ///
    /// # Errors
    /// As for [`forward`](Self::forward).
    pub fn next_logits(&self, cache: &mut KvCache, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
        let hidden = self.forward(cache, tokens)?;
        self.logits(&hidden[hidden.len().saturating_sub(self.config.hidden_size)..])
    }

    fn batch(&self, cache: &mut KvCache, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
        let mut stream = self.embed(tokens, cache.len())?;
        for (index, layer) in self.weights.layers.iter().enumerate() {
            let input = self.norm(&layer.attention_norm, &stream);
            let attended = self.attention(index, layer, cache, &input)?;
            ops::add(&mut stream, &attended);
            let input = self.norm(&layer.mlp_norm, &stream);
            let output = self.mlp(&layer.mlp, &input)?;
            ops::add(&mut stream, &output);
        }
        cache.advance(tokens.len());
        Ok(self.norm(&self.weights.final_norm, &stream))
    }

    fn embed(&self, tokens: &[u32], start: usize) -> Result<Vec<f32>, ModelError> {
        let (hidden, vocab) = (self.config.hidden_size, self.config.vocab_size);
        let mut stream = vec![0.0; tokens.len() * hidden];
        let mut position_row = vec![0.0; hidden];
        for (at, (&token, row)) in tokens.iter().zip(stream.chunks_exact_mut(hidden)).enumerate() {
            let index = usize::try_from(token).unwrap_or(usize::MAX);
            if index >= vocab {
                return Err(ModelError::Token { token, vocab });
            }
            self.weights.embedding.view().decode_rows(index..index + 1, row)?;
            if let Some(positions) = &self.weights.positions {
                let position = start + at;
                positions.view().decode_rows(position..position + 1, &mut position_row)?;
                ops::add(row, &position_row);
            }
        }
        Ok(stream)
    }

    fn norm(&self, weights: &NormWeights, stream: &[f32]) -> Vec<f32> {
        let ModelConfig { arch, norm_eps, hidden_size: hidden, .. } = self.config;
        let mut out = vec![0.0; stream.len()];
        for (row, out) in stream.chunks_exact(hidden).zip(out.chunks_exact_mut(hidden)) {
            ops::norm(arch.norm, norm_eps, (&weights.weight, weights.bias.as_deref()), row, out);
        }
        out
    }

    fn attention(
        &self,
        index: usize,
        layer: &Layer,
        cache: &mut KvCache,
        input: &[f32],
    ) -> Result<Vec<f32>, ModelError> {
        let Projected { mut query, mut key, value } = self.project(&layer.qkv, input)?;
        if let Some(rope) = &self.rope {
            let head_dim = self.config.head_dim;
            let (query_size, key_size) = (self.config.heads * head_dim, self.config.kv_size());
            let rows = query.chunks_exact_mut(query_size).zip(key.chunks_exact_mut(key_size));
            for (at, (query, key)) in rows.enumerate() {
                let rotation = rope.at(cache.len() + at);
                rotation.apply(query, head_dim);
                rotation.apply(key, head_dim);
            }
        }
        cache.store(index, &key, &value);
        let attended = self.attend(index, cache, &query);
        self.apply(&layer.attention_output, &attended)
    }

    /// Queries, keys and values.
    fn project(&self, qkv: &Qkv, input: &[f32]) -> Result<Projected, ModelError> {
        let apply = |linear| self.apply(linear, input);
        match qkv {
            Qkv::Split { query, key, value } => {
                Ok(Projected { query: apply(query)?, key: apply(key)?, value: apply(value)? })
            }
            Qkv::Fused(linear) => {
                let (query_size, key_size) =
                    (self.config.heads * self.config.head_dim, self.config.kv_size());
                let mut projected = Projected::default();
                for row in apply(linear)?.chunks_exact(query_size + 2 * key_size) {
                    let (of_query, rest) = row.split_at(query_size);
                    let (of_key, of_value) = rest.split_at(key_size);
                    projected.query.extend_from_slice(of_query);
                    projected.key.extend_from_slice(of_key);
                    projected.value.extend_from_slice(of_value);
                }
                Ok(projected)
            }
        }
    }

    /// softmax(q·kᵀ / √head_dim) · v for every token and head, over the positions up to its own.
    fn attend(&self, layer: usize, cache: &KvCache, query: &[f32]) -> Vec<f32> {
        let (heads, head_dim) = (self.config.heads, self.config.head_dim);
        let heads_per_kv = heads / self.config.kv_heads;
        let scale = 1.0 / (head_dim as f32).sqrt();
        let (keys, values, start) = (cache.keys(layer), cache.values(layer), cache.len());
        let mut out = vec![0.0; query.len()];
        self.pool.for_each_chunk(&mut out, head_dim, |task, out| {
            let (token, head) = (task / heads, task % heads);
            let kv_head = head / heads_per_kv;
            let query = &query[task * head_dim..(task + 1) * head_dim];
            let mut scores: Vec<f32> = (0..=start + token)
                .map(|at| self.kernels.dot(query, keys.head(at, kv_head, head_dim)) * scale)
                .collect();
            ops::softmax(&mut scores);
            for (at, &score) in scores.iter().enumerate() {
                self.kernels.add_scaled(score, values.head(at, kv_head, head_dim), out);
            }
        });
        out
    }

    fn mlp(&self, weights: &MlpWeights, input: &[f32]) -> Result<Vec<f32>, ModelError> {
        let activate = |activation: Activation, rows: &mut [f32]| {
            self.pool.for_each_chunk(rows, self.config.mlp_size, |_, row| {
                ops::activate(activation, row);
            });
        };
        let (inner, down) = match weights {
            MlpWeights::Gated { activation, gate, up, down } => {
                let mut gate = self.apply(gate, input)?;
                activate(*activation, &mut gate);
                let mut inner = self.apply(up, input)?;
                ops::multiply(&mut inner, &gate);
                (inner, down)
            }
            MlpWeights::Plain { activation, up, down } => {
                let mut inner = self.apply(up, input)?;
                activate(*activation, &mut inner);
                (inner, down)
            }
        };
        self.apply(down, &inner)
    }

    /// `[tokens, in]` → `[tokens, out]`.
    fn apply(&self, linear: &Linear, input: &[f32]) -> Result<Vec<f32>, ModelError> {
        linear.apply(self.kernels, &self.pool, input)
    }
}
