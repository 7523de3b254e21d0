//! Attention: projections, rotation, and the weighted sum over positions.

use super::Decoder;
use super::rows::Rows;
use super::scratch::Scratch;
use crate::observe::{Point, Watch};
use crate::ops::{Rope, Rotation};
use crate::weights::{Layer, Qkv};
use crate::{KvCache, ModelError, Operation};
use apr_kernel::Attention;

/// Tokens that read keys and values together, at most: what belongs to them stays in the second
/// cache.
const MAX_TASK_TOKENS: usize = 16;

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
        watch: &mut Watch<'_, '_>,
    ) -> Result<(), ModelError> {
        let Scratch { input, query, key, value, attended, output, .. } = scratch;
        let Qkv { query: to_query, key: to_key, value: to_value } = &layer.qkv;
        let products = [(to_query, &mut *query), (to_key, &mut *key), (to_value, &mut *value)];
        self.apply_all(Operation::QueryKeyValue, products, input)?;
        for (point, rows) in
            [(Point::Query, &mut *query), (Point::Key, &mut *key), (Point::Value, &mut *value)]
        {
            watch.at(point, rows);
        }
        for (point, norm, rows) in [
            (Point::QueryNorm, &layer.query_norm, &mut *query),
            (Point::KeyNorm, &layer.key_norm, &mut *key),
        ] {
            if let Some(norm) = norm {
                self.norm_in_place(norm, rows);
                watch.at(point, rows);
            }
        }
        let has_window = self.config.window_of(index).is_some();
        let rotations = if has_window { &rotations.local } else { &rotations.global };
        if !rotations.is_empty() {
            let _timer = self.profile.time(Operation::Rope);
            let head_dim = self.config.head_dim;
            let (query_elems, key_elems) = (self.config.heads * head_dim, self.config.kv_size());
            for (point, row_elems, rows) in [
                (Point::RotatedQuery, query_elems, &mut *query),
                (Point::RotatedKey, key_elems, &mut *key),
            ] {
                self.for_each_row(rows, row_elems, |row, data| {
                    rotations[row].apply(data, head_dim);
                });
                watch.at(point, rows);
            }
        }
        let timer = self.profile.time(Operation::Cache);
        rows.store(self.kernels, index, (key, value))?;
        drop(timer);
        attended.resize(query.len(), 0.0);
        self.attend(index, rows, query, attended);
        watch.at(Point::Attended, attended);
        self.apply(Operation::AttentionOutput, &layer.attention_output, attended, output)?;
        watch.at(Point::AttentionOutput, output);
        Ok(())
    }

    /// softmax(q·kᵀ · scale) · v for every token and head, over the positions up to its own that
    /// the layer sees.
    fn attend(&self, layer: usize, rows: &Rows<'_, '_>, query: &[f32], out: &mut [f32]) {
        let _timer = self.profile.time(Operation::Attention);
        let width = self.config.heads * self.config.head_dim;
        let (tokens, heads) = self.attention_task(query.len() / width);
        let len = if tokens > 1 { tokens * width } else { heads * self.config.head_dim };
        self.pool.for_each_chunk(out, len, |task, out| {
            let (start, end) = (task * len, task * len + out.len());
            let first_seen = |position| self.first_seen(layer, position);
            for tokens in rows.together(start / width..end.div_ceil(width), first_seen) {
                let elems = start.max(tokens.start * width)..end.min(tokens.end * width);
                let head = elems.start % width / self.config.head_dim;
                let out = &mut out[elems.start - start..elems.end - start];
                self.attend_together(
                    (layer, head, heads),
                    rows.place(tokens.start),
                    &query[elems],
                    out,
                );
            }
        });
    }

    /// What one task is of so many tokens: how many of them, and how many heads go together. A
    /// task of one token is these heads alone, one of several has all heads.
    fn attention_task(&self, tokens: usize) -> (usize, usize) {
        let heads_per_kv = self.config.heads / self.config.kv_heads;
        let (threads, enough) = (self.pool.threads(), 4 * self.pool.threads());
        let together = (tokens / enough).clamp(1, MAX_TASK_TOKENS);
        // Heads that share keys and values read them together, if that leaves no thread idle.
        let groups = tokens * self.config.kv_heads;
        let shared = together > 1 || groups.is_multiple_of(threads) || groups >= enough;
        (together, if shared { heads_per_kv } else { 1 })
    }

    /// Attention of tokens that follow one another, from `position` on, and see the same first
    /// position: of all their heads, or of some of one token's, from number `head` on.
    fn attend_together(
        &self,
        (layer, head, heads): (usize, usize, usize),
        (cache, position): (&KvCache, usize),
        query: &[f32],
        out: &mut [f32],
    ) {
        let head_dim = self.config.head_dim;
        let width = self.config.heads * head_dim;
        let first = self.first_seen(layer, position);
        for start in (0..out.len().min(width)).step_by(heads * head_dim) {
            let kv_head = (head + start / head_dim) * self.config.kv_heads / self.config.heads;
            let attention = Attention {
                head_dim,
                heads,
                token_stride: width,
                positions: position + 1 - first,
                keys: cache.keys(layer, (kv_head * head_dim, first)),
                values: cache.values(layer, (kv_head * head_dim, first)),
                stride: self.config.kv_size(),
                scale: 1.0 / self.config.query_scale.sqrt(),
                softcap: self.config.attention_softcap,
            };
            self.kernels.attend(attention, &query[start..], &mut out[start..]);
        }
    }

    /// The first position that a token sees.
    fn first_seen(&self, layer: usize, position: usize) -> usize {
        let window = self.config.window_of(layer).unwrap_or(usize::MAX);
        (position + 1).saturating_sub(window)
    }
}
