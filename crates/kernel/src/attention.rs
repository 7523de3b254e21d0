//! Attention of one position: what its heads see of the keys and values before it.
//!
//! Keys and values are read once, in runs of positions that fit the nearest cache, with a softmax
//! that is corrected as larger scores appear. The order of additions depends on the positions
//! alone.
#![allow(unsafe_code, reason = "kernels are compiled for instruction sets that must be detected")]

use crate::Kernels;
use crate::scalar::blocks;
use apr_tensor::{Block, BlockQ8_0};

/// Positions of a run.
const RUN: usize = 64;

/// Rows of keys or of values of one head, as they lie in a cache.
#[derive(Debug, Clone, Copy)]
pub enum CacheRows<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// The bits of half precision.
    F16(&'a [u16]),
    /// The bytes of Q8_0; heads and rows are whole blocks.
    Q8_0(&'a [u8]),
}

/// What queries that share a head of the cache attend to.
#[derive(Debug, Clone, Copy)]
pub struct Attention<'a> {
    /// Elements of a head.
    pub head_dim: usize,
    /// Positions that the queries see: the first ones of the cache.
    pub positions: usize,
    /// Keys; position `p` begins at element `p * stride`.
    pub keys: CacheRows<'a>,
    /// Values, likewise.
    pub values: CacheRows<'a>,
    /// Elements from one position to the next.
    pub stride: usize,
    /// What a product of query and key is multiplied with, in general `1 / sqrt(head_dim)`.
    pub scale: f32,
    /// Scaled products `x` become `bound * tanh(x / bound)`, if there is a bound.
    pub softcap: Option<f32>,
}

/// The functions of a table for rows of one kind. They are memory-safe for any lengths; the only
/// condition on calling them is the instruction set.
#[derive(Clone, Copy)]
pub(crate) struct CacheKernels<T> {
    /// `out[p] = dot(query, rows[p * stride..])`.
    pub(crate) scores: unsafe fn(&[f32], Strided<'_, T>, &mut [f32]),
    /// `out += sum of weights[p] * rows[p * stride..]`.
    pub(crate) add_weighted: unsafe fn(&[f32], Strided<'_, T>, &mut [f32]),
}

/// Rows that begin every `stride` elements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strided<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) stride: usize,
}

impl<'a> Strided<'a, BlockQ8_0> {
    /// Rows of whole blocks, one beginning every `stride` elements.
    fn blocks(bytes: &'a [u8], stride: usize) -> Self {
        Self { data: blocks(bytes), stride: stride / BlockQ8_0::ELEMS }
    }
}

impl<'a, T> Strided<'a, T> {
    /// The first `len` elements of a row.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize, len: usize) -> &'a [T] {
        &self.data[row * self.stride..][..len]
    }

    fn from(&self, row: usize) -> Self {
        Self { data: &self.data[row * self.stride..], stride: self.stride }
    }
}

impl CacheRows<'_> {
    fn len(&self) -> usize {
        match self {
            Self::F32(rows) => rows.len(),
            Self::F16(rows) => rows.len(),
            Self::Q8_0(bytes) => blocks::<BlockQ8_0>(bytes).len() * BlockQ8_0::ELEMS,
        }
    }
}

impl Kernels {
    /// `out[q] = softmax(scale * keys · queries[q]) · values` for each query, the scores capped
    /// where that is asked for; `queries` and `out` are `[queries, head_dim]`.
    ///
    /// # Panics
    /// When the lengths of `queries` and `out` differ or are no multiple of `head_dim`, or when
    /// the cache has not `positions` rows, or of Q8_0 not whole blocks.
    pub fn attend(&self, attention: Attention<'_>, queries: &[f32], out: &mut [f32]) {
        let Attention { head_dim, positions, keys, values, stride, .. } = attention;
        assert_eq!(queries.len(), out.len(), "an output for each query");
        assert!(head_dim > 0 && queries.len().is_multiple_of(head_dim), "queries of {head_dim}");
        let needed = positions.checked_sub(1).map_or(0, |last| last * stride + head_dim);
        assert!(keys.len() >= needed && values.len() >= needed, "rows for {positions} positions");
        if matches!((keys, values), (CacheRows::Q8_0(_), _) | (_, CacheRows::Q8_0(_))) {
            let whole = |elems: usize| elems.is_multiple_of(BlockQ8_0::ELEMS);
            assert!(whole(head_dim) && whole(stride), "heads and rows of whole blocks");
        }
        out.fill(0.0);
        let count = queries.len() / head_dim;
        let mut states = vec![State { max: f32::NEG_INFINITY, sum: 0.0 }; count];
        let heads = || queries.chunks_exact(head_dim);
        for start in (0..positions).step_by(RUN) {
            let run = RUN.min(positions - start);
            for ((query, out), state) in
                heads().zip(out.chunks_exact_mut(head_dim)).zip(&mut states)
            {
                let mut weights = [0.0; RUN];
                let weights = &mut weights[..run];
                self.scores(query, (keys, stride, start), weights);
                weights.iter_mut().for_each(|score| *score *= attention.scale);
                if let Some(bound) = attention.softcap {
                    weights.iter_mut().for_each(|x| *x = bound * (*x / bound).tanh());
                }
                state.admit(self, weights, out);
                self.add_weighted(weights, (values, stride, start), out);
            }
        }
        for (out, state) in out.chunks_exact_mut(head_dim).zip(states) {
            out.iter_mut().for_each(|x| *x /= state.sum);
        }
    }

    fn scores(
        &self,
        query: &[f32],
        (rows, stride, at): (CacheRows<'_>, usize, usize),
        out: &mut [f32],
    ) {
        match rows {
            CacheRows::F32(data) => {
                call(self.cache_f32.scores, query, Strided { data, stride }.from(at), out);
            }
            CacheRows::F16(data) => {
                call(self.cache_f16.scores, query, Strided { data, stride }.from(at), out);
            }
            CacheRows::Q8_0(bytes) => {
                call(self.cache_q8_0.scores, query, Strided::blocks(bytes, stride).from(at), out);
            }
        }
    }

    fn add_weighted(
        &self,
        weights: &[f32],
        (rows, stride, at): (CacheRows<'_>, usize, usize),
        out: &mut [f32],
    ) {
        match rows {
            CacheRows::F32(data) => {
                call(self.cache_f32.add_weighted, weights, Strided { data, stride }.from(at), out);
            }
            CacheRows::F16(data) => {
                call(self.cache_f16.add_weighted, weights, Strided { data, stride }.from(at), out);
            }
            CacheRows::Q8_0(bytes) => {
                let rows = Strided::blocks(bytes, stride).from(at);
                call(self.cache_q8_0.add_weighted, weights, rows, out);
            }
        }
    }
}

/// Calls a function of a table.
fn call<T>(
    function: unsafe fn(&[f32], Strided<'_, T>, &mut [f32]),
    input: &[f32],
    rows: Strided<'_, T>,
    out: &mut [f32],
) {
    // SAFETY: tables are handed out after their instruction sets were detected.
    unsafe { function(input, rows, out) }
}

/// What is known of the softmax so far.
#[derive(Clone, Copy)]
struct State {
    max: f32,
    sum: f32,
}

impl State {
    /// Turns scores into weights relative to the largest score up to now, and corrects what was
    /// weighted before.
    fn admit(&mut self, kernels: &Kernels, scores: &mut [f32], out: &mut [f32]) {
        let max = kernels.max(scores).max(self.max);
        if max > self.max {
            let correction = (self.max - max).exp();
            out.iter_mut().for_each(|x| *x *= correction);
            self.sum *= correction;
            self.max = max;
        }
        self.sum += kernels.exp_sum(scores, max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::Xorshift;
    use half::f16;

    /// In double precision, with the sum of magnitudes that errors are measured by.
    fn exact(attention: &Attention<'_>, query: &[f32], keys: &[f32], values: &[f32]) -> Vec<f64> {
        let (stride, dim) = (attention.stride, attention.head_dim);
        let scores: Vec<f64> = (0..attention.positions)
            .map(|p| {
                let key = &keys[p * stride..][..dim];
                let dot: f64 =
                    query.iter().zip(key).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
                let score = dot * f64::from(attention.scale);
                attention.softcap.map(f64::from).map_or(score, |cap| cap * (score / cap).tanh())
            })
            .collect();
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|score| (score - max).exp()).sum();
        (0..dim)
            .map(|i| {
                let weighted = scores
                    .iter()
                    .enumerate()
                    .map(|(p, score)| (score - max).exp() * f64::from(values[p * stride + i]));
                weighted.sum::<f64>() / sum
            })
            .collect()
    }

    #[test]
    fn attention_is_that_of_double_precision() {
        let mut random = Xorshift::new(21);
        for (head_dim, positions) in
            [(1, 1), (8, 3), (63, 64), (64, 65), (64, 200), (96, 129), (128, 1), (20, 70)]
        {
            let stride = head_dim + 5;
            let halves: [Vec<u16>; 2] = [0, 1].map(|_| {
                let floats = random.floats(positions * stride);
                floats.iter().map(|x| f16::from_f32(x * 4.0).to_bits()).collect()
            });
            let floats = halves
                .each_ref()
                .map(|rows| rows.iter().map(|x| f16::from_bits(*x).to_f32()).collect::<Vec<_>>());
            let queries = random.floats(3 * head_dim);
            let in_f16 = Attention {
                head_dim,
                positions,
                keys: CacheRows::F16(&halves[0]),
                values: CacheRows::F16(&halves[1]),
                stride,
                scale: 0.5,
                softcap: None,
            };
            let (keys, values) = (CacheRows::F32(&floats[0]), CacheRows::F32(&floats[1]));
            for table in Kernels::available() {
                let in_f32 = Attention { keys, values, ..in_f16 };
                for attention in [in_f16, in_f32, Attention { softcap: Some(3.0), ..in_f32 }] {
                    let mut out = vec![f32::NAN; queries.len()];
                    table.attend(attention, &queries, &mut out);
                    for (query, out) in queries.chunks(head_dim).zip(out.chunks(head_dim)) {
                        let exact = exact(&attention, query, &floats[0], &floats[1]);
                        for (found, exact) in out.iter().zip(exact) {
                            // Scores up to 250 are off by 2^-24 of that, values are up to 4.
                            assert!((f64::from(*found) - exact).abs() <= 2e-4, "{found} {exact}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_seen_is_not_a_number_and_large_scores_are_finite() {
        for table in Kernels::available() {
            let (keys, values) = ([1e4, -1e4], [3.0, 5.0]);
            let attention = Attention {
                head_dim: 1,
                positions: 2,
                keys: CacheRows::F32(&keys),
                values: CacheRows::F32(&values),
                stride: 1,
                scale: 1.0,
                softcap: None,
            };
            let mut out = [0.0];
            table.attend(attention, &[1.0], &mut out);
            assert_eq!(out, [3.0]);
            table.attend(Attention { positions: 0, ..attention }, &[1.0], &mut out);
            assert!(out[0].is_nan());
        }
    }

    #[test]
    #[should_panic(expected = "rows for 3 positions")]
    fn a_cache_that_is_too_short_is_refused() {
        let attention = Attention {
            head_dim: 2,
            positions: 3,
            keys: CacheRows::F32(&[0.0; 6]),
            values: CacheRows::F32(&[0.0; 5]),
            stride: 2,
            scale: 1.0,
            softcap: None,
        };
        Kernels::best().attend(attention, &[0.0; 2], &mut [0.0; 2]);
    }
}
