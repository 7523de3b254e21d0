//! Attention: projections, rotation, and the weighted sum over positions.

use super::Decoder;
use super::rows::Rows;
use crate::ops::{self, Rope, Rotation};
use crate::weights::{Layer, Qkv};
use crate::{ModelError, RopeConfig};

/// Queries `[tokens, heads · head_dim]`, keys and values `[tokens, kv_heads · head_dim]`.
#[derive(Default)]
struct Projected {
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
}

/// The rotations of a batch, one per token; none where positions are not rotary.
pub(super) struct Rotations {
    global: Vec<Rotation>,
    /// For layers with a window.
    local: Vec<Rotation>,
}

impl Decoder {
    /// The rotations of the positions of these rows.
    pub(super) fn rotations(&self, rows: &Rows<'_, '_>) -> Rotations {
        let of = |config: &Option<RopeConfig>| {
            let Some(config) = config else { return Vec::new() };
            let rotations = rows.sequences().flat_map(|(cache, positions)| {
                let rope = Rope::new(config, cache.capacity(), self.query_order);
                positions.map(move |position| rope.at(position))
            });
            rotations.collect()
        };
        Rotations { global: of(&self.config.rope), local: of(&self.config.local_rope) }
    }

    pub(super) fn attention(
        &self,
        (index, layer): (usize, &Layer),
        rows: &mut Rows<'_, '_>,
        rotations: &Rotations,
        input: &[f32],
    ) -> Result<Vec<f32>, ModelError> {
        let Projected { query, key, value } = self.project(&layer.qkv, input)?;
        let mut query = self.post_norm(layer.query_norm.as_ref(), query);
        let mut key = self.post_norm(layer.key_norm.as_ref(), key);
        let has_window = self.config.window_of(index).is_some();
        let rotations = if has_window { &rotations.local } else { &rotations.global };
        let head_dim = self.config.head_dim;
        let (query_size, key_size) = (self.config.heads * head_dim, self.config.kv_size());
        let heads = query.chunks_exact_mut(query_size).zip(key.chunks_exact_mut(key_size));
        for ((query, key), rotation) in heads.zip(rotations) {
            rotation.apply(query, head_dim);
            rotation.apply(key, head_dim);
        }
        rows.store(index, &key, &value);
        let attended = self.attend(index, rows, &query);
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

    /// softmax(q·kᵀ · scale) · v for every token and head, over the positions up to its own that
    /// the layer sees.
    fn attend(&self, layer: usize, rows: &Rows<'_, '_>, query: &[f32]) -> Vec<f32> {
        let (heads, head_dim) = (self.config.heads, self.config.head_dim);
        let heads_per_kv = heads / self.config.kv_heads;
        let scale = 1.0 / self.config.query_scale.sqrt();
        let window = self.config.window_of(layer).unwrap_or(usize::MAX);
        let mut out = vec![0.0; query.len()];
        self.pool.for_each_chunk(&mut out, head_dim, |task, out| {
            let (token, head) = (task / heads, task % heads);
            let kv_head = head / heads_per_kv;
            let query = &query[task * head_dim..(task + 1) * head_dim];
            let (cache, position) = rows.place(token);
            let (keys, values) = (cache.keys(layer), cache.values(layer));
            let seen = (position + 1).saturating_sub(window)..position + 1;
            let mut scores: Vec<f32> = seen
                .clone()
                .map(|at| self.kernels.dot(query, keys.head(at, kv_head, head_dim)) * scale)
                .collect();
            if let Some(bound) = self.config.attention_softcap {
                ops::softcap(bound, &mut scores);
            }
            ops::softmax(&mut scores);
            for (at, &score) in seen.zip(&scores) {
                self.kernels.add_scaled(score, values.head(at, kv_head, head_dim), out);
            }
        });
        out
    }
}
