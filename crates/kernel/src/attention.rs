//! Attention of a few tokens: what their heads see of the keys and values before them.
//!
//! Keys and values are read once for all queries that come together, in runs of positions that fit
//! the nearest cache, with a softmax that is corrected as larger scores appear. Keys of a run are
//! transposed, so that both products are the same: rows, weighted and added up. The order of
//! additions depends on the positions alone: a query has the same bits with others and without.
#![allow(unsafe_code, reason = "kernels are compiled for instruction sets that must be detected")]

use crate::Kernels;
use apr_tensor::DType;
use std::cell::RefCell;
use std::ops::Range;

/// Positions of a run.
pub(crate) const RUN: usize = 64;
/// Queries whose sums are added up together, as far as whole tokens allow.
const QUERIES: usize = 6;

/// Rows of keys or of values of one head, as they lie in a cache.
#[derive(Debug, Clone, Copy)]
pub enum CacheRows<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// The bytes of another type; heads and rows are whole blocks.
    Packed(DType, &'a [u8]),
}

/// What queries that share a head of the cache attend to.
#[derive(Debug, Clone, Copy)]
pub struct Attention<'a> {
    /// Elements of a head.
    pub head_dim: usize,
    /// Queries of a token.
    pub heads: usize,
    /// Elements from the queries of a token to those of the next one, and of the outputs.
    pub token_stride: usize,
    /// Positions that the first token sees: the first ones of the cache. Each token after it sees
    /// one more.
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

/// Rows that begin every `stride` elements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strided<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) stride: usize,
}

/// Weights of rows, `[query, row]`.
#[derive(Debug, Clone)]
pub(crate) struct Weights<'a> {
    pub(crate) data: Strided<'a>,
    /// The rows that count.
    pub(crate) rows: Range<usize>,
}

/// Adds weighted rows to the sum of each query, `[query, element]`. Memory-safe for any lengths; the
/// only condition on calling it is the instruction set.
pub(crate) type AddWeighted = unsafe fn(Weights<'_>, Strided<'_>, &mut [f32]);
/// Writes so many rows, at most [`RUN`], as columns: `[element, row]`, a row of [`RUN`] for each
/// element. Those past the last one are left to chance. Likewise.
pub(crate) type Transpose = unsafe fn(Strided<'_>, usize, &mut [f32]);

impl<'a> Strided<'a> {
    /// The first `len` elements of a row.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize, len: usize) -> &'a [f32] {
        &self.data[row * self.stride..][..len]
    }

    /// All rows, where they lie one after the other.
    pub(crate) fn rows(&self) -> std::slice::ChunksExact<'a, f32> {
        self.data.chunks_exact(self.stride)
    }
}

impl<'a> CacheRows<'a> {
    fn len(&self) -> usize {
        match self {
            Self::F32(rows) => rows.len(),
            Self::Packed(dtype, bytes) => bytes.len() / dtype.block_bytes() * dtype.block_elems(),
        }
    }

    /// Elements that are stored together.
    fn block_elems(&self) -> usize {
        match self {
            Self::F32(_) => 1,
            Self::Packed(dtype, _) => dtype.block_elems(),
        }
    }

    /// `positions` of them, `stride` apart, in single precision: where they lie, or decoded to
    /// `buffer`.
    fn run(
        self,
        kernels: &Kernels,
        (positions, stride): (Range<usize>, usize),
        head_dim: usize,
        buffer: &'a mut Vec<f32>,
    ) -> Strided<'a> {
        let (dtype, bytes) = match self {
            Self::F32(data) => return Strided { data: &data[positions.start * stride..], stride },
            Self::Packed(dtype, bytes) => (dtype, bytes),
        };
        let len = |elems: usize| elems / dtype.block_elems() * dtype.block_bytes();
        buffer.resize(RUN * head_dim, 0.0);
        for (position, out) in positions.zip(buffer.chunks_exact_mut(head_dim)) {
            let row = &bytes[len(position * stride)..][..len(head_dim)];
            kernels.decode(dtype, row, out).expect("whole blocks: checked before");
        }
        Strided { data: buffer, stride: head_dim }
    }
}

impl Attention<'_> {
    /// The number of tokens.
    fn check(&self, queries: &[f32], out: &[f32]) -> usize {
        let Self { head_dim, heads, token_stride, positions, keys, values, stride, .. } = *self;
        assert_eq!(queries.len(), out.len(), "an output for each query");
        let width = heads * head_dim;
        assert!(width > 0 && width <= token_stride, "{heads} queries of {head_dim}");
        let tokens = queries.len().div_ceil(token_stride);
        assert!(
            tokens > 0 && queries.len() >= (tokens - 1) * token_stride + width,
            "queries of whole tokens"
        );
        let needed = (positions + tokens - 1).checked_sub(1);
        let needed = needed.map_or(0, |last| last * stride + head_dim);
        assert!(keys.len() >= needed && values.len() >= needed, "rows for {positions} positions");
        for rows in [keys, values] {
            let whole = |elems: usize| elems.is_multiple_of(rows.block_elems());
            assert!(whole(head_dim) && whole(stride), "heads and rows of whole blocks");
        }
        tokens
    }

    /// The number of positions of a run that a token sees.
    fn seen(&self, token: usize, run: &Range<usize>) -> usize {
        (self.positions + token).saturating_sub(run.start).min(run.len())
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch::NEW) };
}

/// What a thread keeps from one call to the next: queries, and what is known of each.
struct Scratch {
    /// `[query, element]`, those of a token after those of the token before.
    queries: Vec<f32>,
    /// Likewise.
    sums: Vec<f32>,
    /// Scores, then weights of a run: `[query, position]`.
    weights: Vec<f32>,
    states: Vec<State>,
    /// Keys or values of a run in single precision.
    rows: Vec<f32>,
    /// Keys of a run, `[element, position]`.
    keys: Vec<f32>,
}

impl Scratch {
    const NEW: Self = Self {
        queries: Vec::new(),
        sums: Vec::new(),
        weights: Vec::new(),
        states: Vec::new(),
        rows: Vec::new(),
        keys: Vec::new(),
    };

    /// Begins with these queries.
    fn begin(&mut self, attention: &Attention<'_>, queries: &[f32]) {
        let width = attention.heads * attention.head_dim;
        self.queries.clear();
        for token in queries.chunks(attention.token_stride) {
            self.queries.extend_from_slice(&token[..width]);
        }
        self.sums.clear();
        self.sums.resize(self.queries.len(), 0.0);
        self.states.clear();
        self.states.resize(self.queries.len() / attention.head_dim, State::EMPTY);
    }

    /// A run of positions.
    fn add_run(&mut self, kernels: &Kernels, attention: &Attention<'_>, run: &Range<usize>) {
        self.score(kernels, attention, run);
        self.weigh(kernels, attention, run);
        self.add_values(kernels, attention, run);
    }

    /// The products of all queries with all keys of the run.
    fn score(&mut self, kernels: &Kernels, attention: &Attention<'_>, run: &Range<usize>) {
        let Attention { head_dim, keys, stride, .. } = *attention;
        let keys = keys.run(kernels, (run.clone(), stride), head_dim, &mut self.rows);
        self.keys.resize(head_dim * RUN, 0.0);
        kernels.transpose(keys, run.len(), &mut self.keys);
        self.weights.clear();
        self.weights.resize(self.states.len() * RUN, 0.0);
        let queries = Strided { data: &self.queries, stride: head_dim };
        let keys = Strided { data: &self.keys, stride: RUN };
        kernels.add_weighted(Weights { data: queries, rows: 0..head_dim }, keys, &mut self.weights);
    }

    /// Makes weights of the scores that each query sees.
    fn weigh(&mut self, kernels: &Kernels, attention: &Attention<'_>, run: &Range<usize>) {
        let sums = self.sums.chunks_exact_mut(attention.head_dim);
        let queries = self.states.iter_mut().zip(sums).zip(self.weights.chunks_exact_mut(RUN));
        for (i, ((state, sums), weights)) in queries.enumerate() {
            let weights = &mut weights[..attention.seen(i / attention.heads, run)];
            if weights.is_empty() {
                continue;
            }
            weights.iter_mut().for_each(|score| *score *= attention.scale);
            if let Some(bound) = attention.softcap {
                weights.iter_mut().for_each(|x| *x = bound * (*x / bound).tanh());
            }
            state.admit(kernels, weights, sums);
        }
    }

    /// Adds the weighted values. A few tokens take together the positions that all of them see;
    /// then each adds its own.
    fn add_values(&mut self, kernels: &Kernels, attention: &Attention<'_>, run: &Range<usize>) {
        let Attention { head_dim, heads, values, stride, .. } = *attention;
        let values = values.run(kernels, (run.clone(), stride), head_dim, &mut self.rows);
        let together = (QUERIES / heads).max(1);
        let weights = self.weights.chunks(together * heads * RUN);
        let sums = self.sums.chunks_mut(together * heads * head_dim);
        for (i, (weights, sums)) in weights.zip(sums).enumerate() {
            let first = i * together;
            let shared = attention.seen(first, run);
            let of = |data, rows| Weights { data: Strided { data, stride: RUN }, rows };
            kernels.add_weighted(of(weights, 0..shared), values, sums);
            let tokens = weights.chunks(heads * RUN).zip(sums.chunks_mut(heads * head_dim));
            for (token, (weights, sums)) in (first..).zip(tokens) {
                let own = of(weights, shared..attention.seen(token, run));
                kernels.add_weighted(own, values, sums);
            }
        }
    }

    /// Writes what came of it.
    fn finish(&mut self, attention: &Attention<'_>, out: &mut [f32]) {
        let width = attention.heads * attention.head_dim;
        for (sums, state) in self.sums.chunks_exact_mut(attention.head_dim).zip(&self.states) {
            sums.iter_mut().for_each(|x| *x /= state.sum);
        }
        let tokens = out.chunks_mut(attention.token_stride);
        for (out, sums) in tokens.zip(self.sums.chunks_exact(width)) {
            out[..width].copy_from_slice(sums);
        }
    }
}

impl Kernels {
    /// `out[q] = softmax(scale * keys · queries[q]) · values` for each query, the scores capped
    /// where that is asked for; `queries` and `out` are `[tokens, heads, head_dim]`, the tokens
    /// `token_stride` apart: what lies between them is left as it is.
    ///
    /// # Panics
    /// When the lengths of `queries` and `out` differ or are not those of whole tokens, or when
    /// the cache has not the rows that the last token sees, or of a packed type not whole blocks.
    pub fn attend(&self, attention: Attention<'_>, queries: &[f32], out: &mut [f32]) {
        let tokens = attention.check(queries, out);
        let positions = attention.positions + tokens - 1;
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.begin(&attention, queries);
            for start in (0..positions).step_by(RUN) {
                scratch.add_run(self, &attention, &(start..positions.min(start + RUN)));
            }
            scratch.finish(&attention, out);
        });
    }

    fn transpose(&self, rows: Strided<'_>, count: usize, out: &mut [f32]) {
        // SAFETY: the table was handed out after its instruction set was detected.
        unsafe { (self.transpose)(rows, count, out) }
    }

    fn add_weighted(&self, weights: Weights<'_>, rows: Strided<'_>, out: &mut [f32]) {
        if !weights.rows.is_empty() {
            // SAFETY: the table was handed out after its instruction set was detected.
            unsafe { (self.add_weighted)(weights, rows, out) }
        }
    }
}

/// What is known of the softmax so far.
#[derive(Clone, Copy)]
struct State {
    max: f32,
    sum: f32,
}

impl State {
    const EMPTY: Self = Self { max: f32::NEG_INFINITY, sum: 0.0 };

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

    /// Of one token with three queries.
    fn attention<'a>(
        (head_dim, positions): (usize, usize),
        stride: usize,
        [keys, values]: [CacheRows<'a>; 2],
    ) -> Attention<'a> {
        Attention {
            head_dim,
            heads: 3,
            token_stride: 3 * head_dim,
            positions,
            keys,
            values,
            stride,
            scale: 0.5,
            softcap: None,
        }
    }

    fn attend(table: &Kernels, attention: Attention<'_>, queries: &[f32]) -> Vec<f32> {
        let mut out = vec![f32::NAN; queries.len()];
        table.attend(attention, queries, &mut out);
        out
    }

    /// In double precision.
    fn exact(attention: &Attention<'_>, query: &[f32], [keys, values]: [&[f32]; 2]) -> Vec<f64> {
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

    const SIZES: [(usize, usize); 9] =
        [(1, 1), (8, 3), (63, 64), (64, 65), (64, 200), (96, 129), (128, 1), (20, 70), (7, 67)];

    #[test]
    fn attention_is_that_of_double_precision() {
        let mut random = Xorshift::new(21);
        for (head_dim, positions) in SIZES {
            let stride = head_dim + 5;
            let rows = [0, 1].map(|_| {
                random.floats(positions * stride).iter().map(|x| x * 4.0).collect::<Vec<_>>()
            });
            let [keys, values] = rows.each_ref().map(Vec::as_slice);
            let queries = random.floats(3 * head_dim);
            let of_rows = [CacheRows::F32(keys), CacheRows::F32(values)];
            let plain = attention((head_dim, positions), stride, of_rows);
            for table in Kernels::available() {
                for attention in [plain, Attention { softcap: Some(3.0), ..plain }] {
                    let out = attend(table, attention, &queries);
                    for (query, out) in queries.chunks(head_dim).zip(out.chunks(head_dim)) {
                        let exact = exact(&attention, query, [keys, values]);
                        for (found, exact) in out.iter().zip(exact) {
                            // Scores up to 250 are off by 2^-24 of that, values are up to 4.
                            assert!((f64::from(*found) - exact).abs() <= 2e-4, "{found} {exact}");
                        }
                    }
                }
            }
        }
    }

    /// Rows that are cut out of wider ones, as a head is out of a position.
    #[test]
    fn packed_rows_have_the_bits_of_decoded_ones() {
        let mut random = Xorshift::new(31);
        for dtype in [DType::F16, DType::Q8_0] {
            for (head_dim, positions) in
                [(32, 1), (32, 63), (64, 64), (64, 65), (96, 200), (128, 3)]
            {
                let stride = head_dim + 32;
                let [keys, values] = [0, 1].map(|_| {
                    let floats = random.floats(positions * stride);
                    let blocks = floats.len() / dtype.block_elems();
                    let mut bytes = vec![0; blocks * dtype.block_bytes()];
                    Kernels::best().encode(dtype, &floats, &mut bytes).unwrap();
                    let mut decoded = vec![0.0; floats.len()];
                    dtype.decode(&bytes, &mut decoded).unwrap();
                    (bytes, decoded)
                });
                let first = 32 / dtype.block_elems() * dtype.block_bytes();
                let packed = [&keys.0, &values.0].map(|x| CacheRows::Packed(dtype, &x[first..]));
                let decoded = [&keys.1, &values.1].map(|x| CacheRows::F32(&x[32..]));
                let queries = random.floats(3 * head_dim);
                for table in Kernels::available() {
                    let of = |rows| attention((head_dim, positions), stride, rows);
                    let found = attend(table, of(packed), &queries);
                    assert!(found == attend(table, of(decoded), &queries), "{}", table.name());
                }
            }
        }
    }

    /// Tokens that read keys and values together, and each by itself.
    #[test]
    fn a_token_has_the_same_bits_alone() {
        let mut random = Xorshift::new(22);
        for (head_dim, positions) in SIZES {
            let (stride, tokens) = (head_dim + 3, 9);
            let count = (positions + tokens - 1) * stride;
            let [keys, values] = [0, 1].map(|_| random.floats(count));
            for heads in [1, 2, 3, 7] {
                // Other heads lie between the tokens.
                let token_stride = heads * head_dim + 4;
                let queries = random.floats((tokens - 1) * token_stride + heads * head_dim);
                let rows = [CacheRows::F32(&keys), CacheRows::F32(&values)];
                let of_rows = attention((head_dim, positions), stride, rows);
                let together = Attention { heads, token_stride, ..of_rows };
                for table in Kernels::available() {
                    let found = attend(table, together, &queries);
                    let tokens = queries.chunks(token_stride).zip(found.chunks(token_stride));
                    for (token, (query, found)) in tokens.enumerate() {
                        let alone = Attention { positions: positions + token, ..together };
                        for head in 0..heads {
                            let at = head * head_dim..(head + 1) * head_dim;
                            let alone = Attention { heads: 1, ..alone };
                            let expected = attend(table, alone, &query[at.clone()]);
                            assert!(found[at] == expected, "{} {head_dim}", table.name());
                        }
                        let between = found[heads * head_dim..].iter();
                        assert!(between.copied().all(f32::is_nan), "outputs of others");
                    }
                }
            }
        }
    }

    /// What a token does not see may be anything.
    #[test]
    fn later_positions_do_not_reach_earlier_tokens() {
        let (head_dim, tokens) = (16, 7);
        let mut rows = Xorshift::new(23).floats(tokens * head_dim);
        rows[(tokens - 1) * head_dim..].fill(f32::NAN);
        let cache = [CacheRows::F32(&rows), CacheRows::F32(&rows)];
        let attention = Attention {
            heads: 1,
            token_stride: head_dim,
            ..attention((head_dim, 1), head_dim, cache)
        };
        for table in Kernels::available() {
            let out = attend(table, attention, &vec![1.0; tokens * head_dim]);
            let (earlier, last) = out.split_at((tokens - 1) * head_dim);
            assert!(earlier.iter().all(|x| x.is_finite()) && last.iter().all(|x| x.is_nan()));
        }
    }

    #[test]
    fn nothing_seen_is_not_a_number_and_large_scores_are_finite() {
        let rows = [CacheRows::F32(&[1e4, -1e4]), CacheRows::F32(&[3.0, 5.0])];
        let attention =
            Attention { heads: 1, token_stride: 1, scale: 1.0, ..attention((1, 2), 1, rows) };
        for table in Kernels::available() {
            assert_eq!(attend(table, attention, &[1.0]), [3.0]);
            assert!(attend(table, Attention { positions: 0, ..attention }, &[1.0])[0].is_nan());
        }
    }

    #[test]
    #[should_panic(expected = "rows for 3 positions")]
    fn a_cache_that_is_too_short_is_refused() {
        let rows = [CacheRows::F32(&[0.0; 6]), CacheRows::F32(&[0.0; 5])];
        attend(Kernels::best(), attention((2, 3), 2, rows), &[0.0; 6]);
    }

    #[test]
    #[should_panic(expected = "rows for 2 positions")]
    fn a_cache_that_is_too_short_for_the_last_token_is_refused() {
        let rows = [CacheRows::F32(&[0.0; 6]); 2];
        attend(Kernels::best(), attention((2, 2), 2, rows), &[0.0; 18]);
    }

    #[test]
    #[should_panic(expected = "queries of whole tokens")]
    fn parts_of_tokens_are_refused() {
        attend(Kernels::best(), attention((2, 2), 2, [CacheRows::F32(&[0.0; 8]); 2]), &[0.0; 8]);
    }

    #[test]
    #[should_panic(expected = "heads and rows of whole blocks")]
    fn heads_within_a_block_are_refused() {
        let rows = [CacheRows::Packed(DType::Q8_0, &[0; 34]); 2];
        attend(Kernels::best(), attention((16, 1), 32, rows), &[0.0; 48]);
    }
}
