//! SentencePiece BPE: scores in GGUF files, merges in `tokenizer.json`, and the ways of spaces.
//!
//! SentencePiece joins the neighbours whose union has the best score, the leftmost first. The
//! same tokens come from merges if every way to cut a token in two is one, those of better
//! tokens first: so the published conversions make them.

use crate::file::Merge;
use crate::pipeline::Pipeline;
use crate::{TokenError, TokenType, probe};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::HashMap;
use tokenizers::models::bpe::{Merges, Vocab};

/// Bytes of the longest token of which merges are made: finding them takes quadratic time.
const MAX_TOKEN_BYTES: usize = 1024;

/// Where `▁` is put before a text, as its first space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpacePrefix {
    /// Nowhere (Gemma).
    Never,
    /// Before every stretch of text between special tokens (Llama 2, and llama.cpp).
    Always,
    /// The same, unless the stretch begins with a space.
    UnlessSpace,
    /// Before the first stretch only, unless it begins with a space.
    FirstUnlessSpace,
}

impl SpacePrefix {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Never, Self::Always, Self::FirstUnlessSpace, Self::UnlessSpace];

    /// Its name in files of this project.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Always => "always",
            Self::UnlessSpace => "unless-space",
            Self::FirstUnlessSpace => "first-unless-space",
        }
    }

    /// The prefix that makes the pieces that `published` makes.
    ///
    /// # Errors
    /// When none does.
    pub(crate) fn recognise(published: &Pipeline) -> Result<Self, TokenError> {
        let pieces = probe::pieces(published)?;
        for prefix in Self::ALL {
            if probe::pieces(&prefix.pipeline()?)? == pieces {
                return Ok(prefix);
            }
        }
        Err(TokenError::Unsupported("it treats spaces in a way that GGUF cannot express"))
    }

    /// Normalizer and pre-tokenizer.
    pub(crate) fn pipeline(self) -> Result<Pipeline, TokenError> {
        let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
        let metaspace = |scheme: &str| {
            let step = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false});
            Pipeline::from_json(Value::Null, step)
        };
        match self {
            Self::Never => Pipeline::from_json(replace, Value::Null),
            Self::Always => {
                let steps = json!([{"type": "Prepend", "prepend": "▁"}, replace]);
                let normalizer = json!({"type": "Sequence", "normalizers": steps});
                Pipeline::from_json(normalizer, Value::Null)
            }
            Self::UnlessSpace => metaspace("always"),
            Self::FirstUnlessSpace => metaspace("first"),
        }
    }

    /// The decoder, as a `tokenizer.json` writes it.
    pub(crate) fn decoder(self) -> Value {
        let mut steps = vec![
            json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if self != Self::Never {
            steps.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        json!({"type": "Sequence", "decoders": steps})
    }
}

/// The merges that do what these scores say: every way to cut a token in two tokens, tokens of
/// better scores first.
///
/// # Errors
/// When a token is too long, or lacks a score.
pub(crate) fn merges_of_scores<'a>(
    vocab: &Vocab,
    tokens: impl Iterator<Item = (u32, Cow<'a, str>, TokenType)>,
    scores: &[f32],
) -> Result<Merges, TokenError> {
    let mut found: Vec<(f32, String, String)> = Vec::new();
    let mut cuts: Vec<((u32, u32), usize)> = Vec::new();
    for (id, token, _) in tokens {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::LongToken { id, bytes: token.len(), limit: MAX_TOKEN_BYTES });
        }
        let score = usize::try_from(id).ok().and_then(|id| scores.get(id)).copied();
        let score = score.filter(|score| !score.is_nan()).ok_or(TokenError::Score { id })?;
        cuts.clear();
        cuts.extend(token.char_indices().skip(1).filter_map(|(at, _)| {
            let (left, right) = token.split_at(at);
            Some(((*vocab.get(left)?, *vocab.get(right)?), at))
        }));
        cuts.sort_unstable();
        found.extend(cuts.iter().map(|&(_, at)| {
            let (left, right) = token.split_at(at);
            (score, left.to_owned(), right.to_owned())
        }));
    }
    found.sort_by(|(one, ..), (two, ..)| two.total_cmp(one));
    Ok(found.into_iter().map(|(_, left, right)| (left, right)).collect())
}

/// Scores of `tokens` that put them in the order in which `merges` make them; tokens that no
/// merge makes come last.
pub(crate) fn scores_of_merges(tokens: &[String], merges: &[Merge<'_>]) -> Vec<f32> {
    let mut ranks: HashMap<String, usize> = HashMap::with_capacity(merges.len());
    for Merge(left, right) in merges {
        let next = ranks.len();
        ranks.entry(format!("{left}{right}")).or_insert(next);
    }
    let mut next = ranks.len();
    let mut score = |token: &String| {
        let rank = ranks.get(token).copied().unwrap_or_else(|| {
            next = next.saturating_add(1);
            next
        });
        score_of(rank)
    };
    tokens.iter().map(&mut score).collect()
}

/// Exact: there are fewer than 2^24 tokens.
#[allow(clippy::as_conversions, reason = "f32 has no other conversion from a size")]
const fn score_of(rank: usize) -> f32 {
    -(rank as f32)
}

/// The byte that a token like `<0x0A>` stands for.
pub(crate) fn byte_of(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    let plain = digits.len() == 2 && !digits.bytes().any(|digit| digit.is_ascii_lowercase());
    u8::from_str_radix(digits, 16).ok().filter(|_| plain)
}
