//! The one forward pass, for every architecture.
//!
//! Shapes are row-major, one row per token: the residual stream is `[tokens, hidden_size]`.

mod attention;
mod mlp;
mod products;
mod rows;
mod scratch;

use crate::arch::{EmbeddingScale, RowOrder};
use crate::cache::{CacheType, Ropes};
use crate::observe::{Observer, Point, Watch};
use crate::ops::{self, Rope};
use crate::weights::{NormWeights, Weights};
use crate::{Census, KvCache, ModelConfig, ModelError, Operation, Profile, Residual, RopeConfig};
use apr_format::Container;
use apr_kernel::{KernelError, Kernels, Pool};
use rows::Rows;
use scratch::Scratch;

/// Tokens that go through the model together; more are split.
const MAX_BATCH: usize = 256;

/// A model that is ready to run.
pub struct Decoder {
    config: ModelConfig,
    weights: Weights,
    query_order: RowOrder,
    kernels: &'static Kernels,
    pool: Pool,
    cache: CacheType,
    profile: Profile,
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
        let query_order = census.query_row_order();
        let pool = Pool::new(threads);
        let (cache, profile) = (CacheType::default(), Profile::default());
        Ok(Self { config, weights, query_order, kernels, pool, cache, profile })
    }

    /// The same with caches of this type.
    ///
    /// # Errors
    /// When the model's heads are no whole blocks of it.
    pub fn with_cache(self, cache: CacheType) -> Result<Self, ModelError> {
        cache.check(self.config.head_dim)?;
        Ok(Self { cache, ..self })
    }

    /// How keys and values are stored.
    #[must_use]
    pub const fn cache_type(&self) -> CacheType {
        self.cache
    }

    /// Keeps each thread on a processor of its own, as [`Pool::pin`] does.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn pin(&self) -> Result<(), KernelError> {
        self.pool.pin()
    }

    /// The same, counting what each operation takes.
    #[must_use]
    pub fn profiled(self) -> Self {
        Self { profile: Profile::counting(), ..self }
    }

    /// What the operations of all sequences together took, if that is counted; callers add what
    /// they do themselves.
    #[must_use]
    pub const fn profile(&self) -> &Profile {
        &self.profile
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
        let rope = |config: &Option<RopeConfig>| {
            config.as_ref().map(|config| Rope::new(config, positions, self.query_order))
        };
        let ropes = Ropes { global: rope(&self.config.rope), local: rope(&self.config.local_rope) };
        Ok(KvCache::new(self.cache, (self.config.layers, self.config.kv_size()), positions, ropes))
    }

    /// Runs `tokens` at the positions after those in `cache` and returns the hidden states after
    /// the final norm, `[tokens, hidden_size]`.
    ///
    /// # Errors
    /// When a token is past the vocabulary or the cache is too small.
    pub fn forward(&self, cache: &mut KvCache, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
        self.forward_observed(cache, tokens, &mut |_, _, _| {})
    }

    /// The same, and `observer` sees what each operation computes. Of many tokens it sees those
    /// that go through the model together: 256, then the next.
    ///
    /// # Errors
    /// As for [`forward`](Self::forward).
    pub fn forward_observed(
        &self,
        cache: &mut KvCache,
        tokens: &[u32],
        observer: &mut Observer<'_>,
    ) -> Result<Vec<f32>, ModelError> {
        check_room(cache, tokens.len())?;
        let mut hidden = Vec::with_capacity(tokens.len() * self.config.hidden_size);
        for batch in tokens.chunks(MAX_BATCH) {
            let caches = &mut [&mut *cache];
            hidden.extend(self.batch(Rows::new(caches, batch.len()), batch, observer)?);
        }
        Ok(hidden)
    }

    /// Runs one token of each of several sequences together, at the position after those in its
    /// cache, and returns the logits after each, `[sequences, vocab_size]`. The weights are read
    /// once for all of them.
    ///
    /// # Errors
    /// When there is not a token for each cache, a token is past the vocabulary, or a cache is
    /// full.
    pub fn step(
        &self,
        caches: &mut [&mut KvCache],
        tokens: &[u32],
    ) -> Result<Vec<f32>, ModelError> {
        if caches.len() != tokens.len() {
            return Err(ModelError::Sequences { caches: caches.len(), tokens: tokens.len() });
        }
        caches.iter().try_for_each(|cache| check_room(cache, 1))?;
        let mut logits = Vec::with_capacity(tokens.len() * self.config.vocab_size);
        for (caches, tokens) in caches.chunks_mut(MAX_BATCH).zip(tokens.chunks(MAX_BATCH)) {
            logits.extend(self.logits(&self.batch(
                Rows::new(caches, 1),
                tokens,
                &mut |_, _, _| {},
            )?)?);
        }
        Ok(logits)
    }

    /// The logits of hidden states, `[tokens, hidden_size]` → `[tokens, vocab_size]`.
    ///
    /// # Errors
    /// When `hidden` is no whole number of rows.
    pub fn logits(&self, hidden: &[f32]) -> Result<Vec<f32>, ModelError> {
        let mut logits = Vec::new();
        self.apply(Operation::Head, &self.weights.head, hidden, &mut logits)?;
        if let Some(bound) = self.config.logit_softcap {
            ops::softcap(bound, &mut logits);
        }
        Ok(logits)
    }

    /// Runs `tokens` and returns the logits after the last one.
    ///
    /// # Errors
    /// As for [`forward`](Self::forward).
    pub fn next_logits(&self, cache: &mut KvCache, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
        let hidden = self.forward(cache, tokens)?;
        self.logits(&hidden[hidden.len().saturating_sub(self.config.hidden_size)..])
    }

    fn batch(
        &self,
        mut rows: Rows<'_, '_>,
        tokens: &[u32],
        observer: &mut Observer<'_>,
    ) -> Result<Vec<f32>, ModelError> {
        let mut watch = Watch::new(observer);
        let mut stream = self.embed(tokens, &rows)?;
        watch.at(Point::Embedding, &mut stream);
        let rotations = self.rotations(&rows);
        let mut scratch = Scratch::default();
        for (index, layer) in self.weights.layers.iter().enumerate() {
            watch.layer = Some(index);
            self.norm(&layer.attention_norm, &stream, &mut scratch.input);
            watch.at(Point::AttentionNorm, &mut scratch.input);
            self.attention((index, layer), &mut rows, &rotations, &mut scratch, &mut watch)?;
            if let Some(norm) = &layer.post_attention_norm {
                self.norm_in_place(norm, &mut scratch.output);
                watch.at(Point::PostAttentionNorm, &mut scratch.output);
            }
            match self.config.residual {
                Residual::Sequential => {
                    self.add(&mut stream, &scratch.output);
                    watch.at(Point::AttentionSum, &mut stream);
                    self.norm(&layer.mlp_norm, &stream, &mut scratch.input);
                }
                Residual::Parallel => {
                    self.norm(&layer.mlp_norm, &stream, &mut scratch.input);
                    self.add(&mut stream, &scratch.output);
                    watch.at(Point::AttentionSum, &mut stream);
                }
            }
            watch.at(Point::MlpNorm, &mut scratch.input);
            self.mlp(&layer.mlp, &mut scratch, &mut watch)?;
            if let Some(norm) = &layer.post_mlp_norm {
                self.norm_in_place(norm, &mut scratch.output);
                watch.at(Point::PostMlpNorm, &mut scratch.output);
            }
            self.add(&mut stream, &scratch.output);
            watch.at(Point::LayerOutput, &mut stream);
        }
        rows.advance();
        self.norm_in_place(&self.weights.final_norm, &mut stream);
        watch.layer = None;
        watch.at(Point::FinalNorm, &mut stream);
        Ok(stream)
    }

    fn embed(&self, tokens: &[u32], rows: &Rows<'_, '_>) -> Result<Vec<f32>, ModelError> {
        let (hidden, vocab) = (self.config.hidden_size, self.config.vocab_size);
        let row_bytes = self.weights.embedding.layout().row_bytes();
        let _timer = self.profile.time_reading(Operation::Embedding, || tokens.len() * row_bytes);
        let mut stream = vec![0.0; tokens.len() * hidden];
        let mut position_row = vec![0.0; hidden];
        let positions_of_rows = rows.sequences().flat_map(|(_, positions)| positions);
        let out = stream.chunks_exact_mut(hidden);
        for ((&token, position), row) in tokens.iter().zip(positions_of_rows).zip(out) {
            let index = usize::try_from(token).unwrap_or(usize::MAX);
            if index >= vocab {
                return Err(ModelError::Token { token, vocab });
            }
            self.weights.embedding.view().decode_rows(index..index + 1, row)?;
            if let Some(positions) = &self.weights.positions {
                positions.view().decode_rows(position..position + 1, &mut position_row)?;
                ops::add(row, &position_row);
            }
        }
        match self.config.arch.embedding_scale {
            EmbeddingScale::One => {}
            EmbeddingScale::SqrtHidden => {
                let scale = (hidden as f32).sqrt();
                stream.iter_mut().for_each(|x| *x *= scale);
            }
        }
        Ok(stream)
    }

    /// Every row as long as the norm's weights, normalised.
    fn norm(&self, weights: &NormWeights, rows: &[f32], out: &mut Vec<f32>) {
        let _timer = self.profile.time(Operation::Norm);
        let len = weights.weight.len();
        out.resize(rows.len(), 0.0);
        self.for_each_row(out, len, |row, out| {
            out.copy_from_slice(&rows[row * len..][..len]);
            self.norm_row(weights, out);
        });
    }

    /// The same in place.
    fn norm_in_place(&self, weights: &NormWeights, rows: &mut [f32]) {
        let _timer = self.profile.time(Operation::Norm);
        self.for_each_row(rows, weights.weight.len(), |_, row| self.norm_row(weights, row));
    }

    fn norm_row(&self, NormWeights { weight, bias }: &NormWeights, row: &mut [f32]) {
        let ModelConfig { arch, norm_eps, .. } = &self.config;
        ops::norm(arch.norm, *norm_eps, (weight, bias.as_deref()), row);
    }

    /// `stream += rows`.
    fn add(&self, stream: &mut [f32], rows: &[f32]) {
        let _timer = self.profile.time(Operation::Residual);
        let len = self.config.hidden_size;
        self.for_each_row(stream, len, |row, out| ops::add(out, &rows[row * len..][..len]));
    }
}

/// That so many positions fit behind those in the cache.
fn check_room(cache: &KvCache, tokens: usize) -> Result<(), ModelError> {
    let (needed, limit) = (cache.len().saturating_add(tokens), cache.capacity());
    if needed > limit {
        return Err(ModelError::TooLong { what: "cache", needed, limit });
    }
    Ok(())
}
