//! Choosing the next token: a chain of filters over the logits, then one draw.

use std::borrow::Cow;
use std::cmp::Ordering;

/// How to choose tokens. The default is greedy: always the most likely one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Logits are divided by this; 0 is greedy.
    pub temperature: f32,
    /// Keep this many of the most likely tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep the most likely tokens that together reach this probability; 1 keeps all.
    pub top_p: f32,
    /// Keep tokens of at least this share of the most likely one's probability; 0 keeps all.
    pub min_p: f32,
    /// Logits of tokens seen before are divided (if positive) or multiplied by this; 1 is off.
    pub repetition_penalty: f32,
    /// Start of the random sequence.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 0,
        }
    }
}

/// Draws tokens by a [`Sampling`]. The same settings and seed give the same tokens.
#[derive(Debug, Clone)]
pub struct Sampler {
    settings: Sampling,
    random: SplitMix64,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    token: usize,
    logit: f32,
}

impl Sampler {
    /// A sampler at the start of its random sequence.
    #[must_use]
    pub const fn new(settings: Sampling) -> Self {
        Self { settings, random: SplitMix64(settings.seed) }
    }

    /// The next token, given the logits of the vocabulary and the tokens so far.
    #[must_use]
    pub fn next(&mut self, logits: &[f32], seen: &[u32]) -> u32 {
        let logits = self.penalised(logits, seen);
        let token =
            if self.settings.temperature > 0.0 { self.draw(&logits) } else { argmax(&logits) };
        u32::try_from(token).unwrap_or(u32::MAX)
    }

    /// Keskar et al. 2019, as transformers applies it: once per distinct token.
    fn penalised<'a>(&self, logits: &'a [f32], seen: &[u32]) -> Cow<'a, [f32]> {
        let penalty = self.settings.repetition_penalty;
        if penalty == 1.0 {
            return Cow::Borrowed(logits);
        }
        let (mut logits, mut seen) = (logits.to_vec(), seen.to_vec());
        seen.sort_unstable();
        seen.dedup();
        for token in seen {
            let at = usize::try_from(token).unwrap_or(usize::MAX);
            if let Some(logit) = logits.get_mut(at) {
                *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            }
        }
        Cow::Owned(logits)
    }

    fn draw(&mut self, logits: &[f32]) -> usize {
        let Sampling { temperature, top_k, top_p, min_p, .. } = self.settings;
        let mut candidates: Vec<Candidate> = logits
            .iter()
            .enumerate()
            .map(|(token, logit)| Candidate { token, logit: logit / temperature })
            .collect();
        candidates.sort_by(by_logit);
        if top_k > 0 {
            candidates.truncate(top_k);
        }
        let mut probabilities: Vec<f32> = candidates.iter().map(|c| c.logit).collect();
        crate::ops::softmax(&mut probabilities);
        let mut reached = 0.0;
        let by_mass = probabilities.iter().take_while(|&&p| {
            let kept = reached < top_p;
            reached += p;
            kept
        });
        let floor = min_p * probabilities.first().copied().unwrap_or_default();
        let kept = by_mass.take_while(|&&p| p >= floor).count().max(1);
        let mass: f32 = probabilities.iter().take(kept).sum();
        let mut left = self.random.unit() * mass;
        for (candidate, p) in candidates.iter().zip(&probabilities).take(kept) {
            left -= p;
            if left < 0.0 {
                return candidate.token;
            }
        }
        // Rounding can leave a remainder of the mass: it belongs to the last kept token.
        candidates.get(kept - 1).map_or(0, |candidate| candidate.token)
    }
}

/// Most likely first; equal logits by token, so that the order is total.
fn by_logit(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token))
}

/// The first of the largest logits; 0 of none.
#[must_use]
pub fn argmax(logits: &[f32]) -> usize {
    // Runs in which nothing is larger are passed by vectors.
    const RUN: usize = 64;
    let mut best = 0;
    for (run, logits_of_run) in logits.chunks(RUN).enumerate() {
        let bound = logits[best];
        if logits_of_run.iter().fold(false, |any, logit| any | (*logit > bound)) {
            for (i, logit) in logits_of_run.iter().enumerate() {
                if *logit > logits[best] {
                    best = run * RUN + i;
                }
            }
        }
    }
    best
}

/// log softmax of one token's logit, in double precision.
#[must_use]
pub fn log_softmax_at(logits: &[f32], token: usize) -> f64 {
    let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - max).exp()).sum();
    f64::from(logits[token]) - max - sum.ln()
}

/// Steele, Lea & Flood 2014: the generator that Java and others seed with. Own code because the
/// sequence of a seed is part of our output and must not change with a library's version.
#[derive(Debug, Clone)]
struct SplitMix64(u64);

impl SplitMix64 {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 * f32::powi(2.0, -24)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 4] = [1.0, 3.0, 2.0, 3.0];

    fn drawn(settings: Sampling) -> Vec<u32> {
        let mut sampler = Sampler::new(settings);
        (0..200).map(|_| sampler.next(&LOGITS, &[])).collect()
    }

    #[test]
    fn greedy_takes_the_first_of_the_largest() {
        assert_eq!(drawn(Sampling::default()), [1; 200]);
    }

    #[test]
    fn filters_keep_what_they_say() {
        let warm = Sampling { temperature: 1.0, ..Sampling::default() };
        let all = drawn(warm);
        assert!((0..4).all(|token| all.contains(&token)));
        // The probabilities are 0.054, 0.400, 0.147 and 0.400.
        let within = |settings, tokens: &[u32]| {
            let drawn = drawn(settings);
            assert!(drawn.iter().all(|token| tokens.contains(token)), "{settings:?}: {drawn:?}");
            assert!(tokens.iter().all(|token| drawn.contains(token)), "{settings:?}: {drawn:?}");
        };
        within(Sampling { top_k: 2, ..warm }, &[1, 3]);
        within(Sampling { top_k: 1, ..warm }, &[1]);
        within(Sampling { top_p: 0.7, ..warm }, &[1, 3]);
        within(Sampling { top_p: 0.9, ..warm }, &[1, 2, 3]);
        within(Sampling { min_p: 0.3, ..warm }, &[1, 2, 3]);
        within(Sampling { min_p: 0.5, ..warm }, &[1, 3]);
        within(Sampling { temperature: 0.01, ..warm }, &[1, 3]);
    }

    #[test]
    fn a_seed_gives_its_sequence() {
        let warm = Sampling { temperature: 1.0, seed: 7, ..Sampling::default() };
        assert_eq!(drawn(warm), drawn(warm));
        assert_ne!(drawn(warm), drawn(Sampling { seed: 8, ..warm }));
        // First output of the published reference for seed 0.
        assert_eq!(SplitMix64(0).next(), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn repetition_is_penalised_once_per_token() {
        let settings = Sampling { repetition_penalty: 1.4, ..Sampling::default() };
        let mut sampler = Sampler::new(settings);
        assert_eq!(sampler.next(&LOGITS, &[1, 1, 1]), 3);
        // 3 / 1.4 is still above 2; 3 / 1.4 / 1.4 would not be.
        assert_eq!(sampler.next(&LOGITS, &[1, 3, 3]), 1);
    }

    #[test]
    fn log_softmax_is_normalised() {
        let sum: f64 = (0..4).map(|token| log_softmax_at(&LOGITS, token).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-12);
    }
}
