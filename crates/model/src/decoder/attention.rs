//! Attention: projections, rotation, and the weighted sum over positions.

use super::Decoder;
use super::rows::Rows;
use super::scratch::Scratch;
use crate::ops::{Rope, Rotation};
use crate::weights::{Layer, Qkv};
use crate::{ModelError, Operation};
use apr_kernel::Attention;

/// The rotations of a batch, one per token; none where positions are not rotary.
pub(super) struct Rotations {
    global: Vec<Rotation>,
    /// For layers with a window.
    local: Vec<Rotation>,
}

impl Decoder {
    /// The rotations of the positions of these rows.
    pub(super) fn rotations(&self, rows: &Rows<'_, '_>) -> Rotations {
        let of = |rope: fn(&crate::cache::Ropes) -> &Option<Rope>| {
            let rotations = rows.sequences().flat_map(|(cache, positions)| {
                let rope = rope(cache.ropes()).as_ref();
                rope.into_iter().flat_map(move |rope| positions.clone().map(|at| rope.at(at)))
            });
            rotations.collect()
        };
        Rotations { global: of(|ropes| &ropes.global), local: of(|ropes| &ropes.local) }
    }

    /// From `input` to `output`.
    pub(super) fn attention(
        &self,
        (index, layer): (usize, &Layer),
        rows: &mut Rows<'_, '_>,
        rotations: &Rotations,
        scratch: &mut Scratch,
    ) -> Result<(), ModelError> {
        let Scratch { input, query, key, value, attended, output, .. } = scratch;
        let Qkv { query: to_query, key: to_key, value: to_value } = &layer.qkv;
        let products = [(to_query, &mut *query), (to_key, &mut *key), (to_value, &mut *value)];
        self.apply_all(Operation::QueryKeyValue, products, input)?;
        self.norm_in_place(layer.query_norm.as_ref(), query);
        self.norm_in_place(layer.key_norm.as_ref(), key);
        let has_window = self.config.window_of(index).is_some();
        let rotations = if has_window { &rotations.local } else { &rotations.global };
        if !rotations.is_empty() {
            let _timer = self.profile.time(Operation::Rope);
            let head_dim = self.config.head_dim;
            for (row_elems, rows) in
                [(self.config.heads * head_dim, &mut *query), (self.config.kv_size(), &mut *key)]
            {
                self.for_each_row(rows, row_elems, |row, data| {
                    rotations[row].apply(data, head_dim);
                });
            }
        }
        let timer = self.profile.time(Operation::Cache);
        rows.store(self.kernels, index, (key, value))?;
        drop(timer);
        attended.resize(query.len(), 0.0);
        self.attend(index, rows, query, attended);
        self.apply(Operation::AttentionOutput, &layer.attention_output, attended, output)
    }

    /// softmax(q·kᵀ · scale) · v for every token and head, over the positions up to its own that
    /// the layer sees.
    fn attend(&self, layer: usize, rows: &Rows<'_, '_>, query: &[f32], out: &mut [f32]) {
        let _timer = self.profile.time(Operation::Attention);
        let (heads, kv_heads, head_dim) =
            (self.config.heads, self.config.kv_heads, self.config.head_dim);
        let heads_per_kv = heads / kv_heads;
        // Heads that share keys and values read them together, if that leaves no thread idle.
        let groups = query.len() / (heads_per_kv * head_dim);
        let (threads, enough) = (self.pool.threads(), 4 * self.pool.threads());
        let together =
            if groups.is_multiple_of(threads) || groups >= enough { heads_per_kv } else { 1 };
        let scale = 1.0 / self.config.query_scale.sqrt();
        let window = self.config.window_of(layer).unwrap_or(usize::MAX);
        let chunk = together * head_dim;
        self.pool.for_each_chunk(out, chunk, |task, out| {
            let (token, head) = (task * together / heads, task * together % heads);
            let (cache, position) = rows.place(token);
            let first = (position + 1).saturating_sub(window);
            let at = (head / heads_per_kv * head_dim, first);
            let attention = Attention {
                head_dim,
                positions: position + 1 - first,
                keys: cache.keys(layer, at),
                values: cache.values(layer, at),
                stride: self.config.kv_size(),
                scale,
                softcap: self.config.attention_softcap,
            };
            self.kernels.attend(attention, &query[task * chunk..][..chunk], out);
        });
    }
}
