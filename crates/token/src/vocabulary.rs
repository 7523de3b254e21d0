//! A tokenizer as GGUF stores it: tokens by id, their types, and merges or scores.

use crate::file::NO_CACHE;
use crate::guard::guarded;
use crate::pipeline::{Pipeline, part};
use crate::sentence_piece::{SpacePrefix, merges_of_scores};
use crate::split::Split;
use crate::{TokenError, Tokenizer};
use serde_json::{Value, json};
use std::borrow::Cow;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::{AddedToken, Tokenizer as Inner};

/// What a token is for, with GGUF's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum TokenType {
    /// Part of texts.
    Normal = 1,
    /// Stands for what no token covers; special.
    Unknown = 2,
    /// Special: dropped when decoding.
    Control = 3,
    /// Added by hand, and part of texts.
    UserDefined = 4,
    /// A row of the embedding without a token.
    Unused = 5,
    /// One byte of a character that no token covers.
    Byte = 6,
}

/// A vocabulary of either kind. [`tokenizer`](Self::tokenizer) checks what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct Vocabulary {
    /// Tokens by id.
    pub tokens: Vec<String>,
    /// Their types.
    pub types: Vec<TokenType>,
    /// How texts become tokens.
    pub kind: VocabularyKind,
    /// Tokens with a role.
    pub special: SpecialTokens,
    /// Tokens outside of texts that take the white space before them, in the order of ids.
    pub left_strip: Vec<u32>,
    /// The same, for the white space behind them.
    pub right_strip: Vec<u32>,
}

/// How texts become tokens.
#[derive(Debug, Clone, PartialEq)]
pub enum VocabularyKind {
    /// Byte-level BPE.
    ByteLevel {
        /// Name of the split, as in `tokenizer.ggml.pre`.
        pre: String,
        /// Merges, the first to be done first: two tokens with a space between.
        merges: Vec<String>,
    },
    /// BPE as SentencePiece does it.
    SentencePiece {
        /// Scores of the tokens: the pair whose union has the greatest is merged first.
        scores: Vec<f32>,
        /// The published merges where they are not those that the scores say; else empty.
        merges: Vec<String>,
        /// Where a space is added.
        prefix: SpacePrefix,
    },
}

/// Tokens with a role, and which of them are put around a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpecialTokens {
    /// Begin of a text.
    pub bos: Option<u32>,
    /// End of a text.
    pub eos: Option<u32>,
    /// What no token covers.
    pub unk: Option<u32>,
    /// Padding.
    pub pad: Option<u32>,
    /// Texts begin with `bos`.
    pub add_bos: bool,
    /// Texts end with `eos`.
    pub add_eos: bool,
}

impl Vocabulary {
    /// Whether texts begin with BOS where a file with this `tokenizer.ggml.pre` does not say.
    ///
    /// # Errors
    /// When the name is unknown.
    pub fn adds_bos_by_default(pre: &str) -> Result<bool, TokenError> {
        Ok(Split::named(pre)?.add_bos)
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// When lists differ in length, a token occurs twice, a merge or a role names a token that
    /// is not there, or the name of the split is unknown.
    pub fn tokenizer(&self) -> Result<Tokenizer, TokenError> {
        guarded(|| self.build())
    }

    fn build(&self) -> Result<Tokenizer, TokenError> {
        let vocab = self.vocab()?;
        let unk = self.role("unk", self.special.unk)?;
        let (pipeline, decoder, builder) = match &self.kind {
            VocabularyKind::ByteLevel { pre, merges } => {
                let split = Split::named(pre)?;
                let builder = BPE::builder()
                    .cache_capacity(NO_CACHE)
                    .vocab_and_merges(vocab, self.split_merges(merges)?);
                (
                    split.pipeline()?,
                    byte_level_decoder(),
                    builder.ignore_merges(split.ignore_merges),
                )
            }
            VocabularyKind::SentencePiece { scores, merges, prefix } => {
                self.same_length("scores", scores.len())?;
                let merges = match merges.as_slice() {
                    [] => merges_of_scores(&vocab, self.used(), scores)?,
                    merges => self.split_merges(merges)?,
                };
                let builder =
                    BPE::builder().cache_capacity(NO_CACHE).vocab_and_merges(vocab, merges);
                let builder = builder.byte_fallback(true).fuse_unk(true);
                (prefix.pipeline()?, prefix.decoder(), builder)
            }
        };
        let builder = match unk {
            Some(token) => builder.unk_token(token),
            None => builder,
        };
        let Pipeline { normalizer, pre_tokenizer } = pipeline;
        let bpe = builder.build().map_err(|error| self.wrong_merge(TokenError::Load(error)))?;
        let mut inner = Inner::new(bpe);
        inner.with_normalizer(normalizer).map_err(TokenError::Load)?;
        inner.with_pre_tokenizer(pre_tokenizer);
        inner.with_decoder(Some(part::<tokenizers::DecoderWrapper>(decoder)?));
        inner.with_post_processor(part::<Option<tokenizers::PostProcessorWrapper>>(
            self.template()?,
        )?);
        inner.add_tokens(self.added_tokens()).map_err(TokenError::Load)?;
        Ok(Tokenizer::new(inner))
    }

    /// The tokenizer as a `tokenizer.json`.
    ///
    /// # Errors
    /// As for [`tokenizer`](Self::tokenizer).
    pub fn to_json(&self) -> Result<String, TokenError> {
        self.tokenizer()?.to_json()
    }

    /// Every token that can occur, with its id.
    fn vocab(&self) -> Result<Vocab, TokenError> {
        self.same_length("token types", self.types.len())?;
        let mut vocab = Vocab::with_capacity(self.tokens.len());
        for (id, token, _) in self.used() {
            let twice = |first| TokenError::Twice { token: token.to_string(), ids: [first, id] };
            vocab.insert(token.to_string(), id).map_or(Ok(()), |first| Err(twice(first)))?;
        }
        Ok(vocab)
    }

    /// The merges as the `tokenizers` crate takes them. Whether their tokens exist, it finds itself;
    /// that none makes a token longer than all tokens, it relies on.
    fn split_merges(&self, merges: &[String]) -> Result<Merges, TokenError> {
        let longest = self.used().map(|(_, token, _)| token.len()).max().unwrap_or_default();
        let split = |(index, merge): (usize, &String)| {
            parts(merge)
                .filter(|(left, right)| left.len().saturating_add(right.len()) <= longest)
                .map(|(left, right)| (left.to_owned(), right.to_owned()))
                .ok_or_else(|| TokenError::Merge { index, merge: merge.clone() })
        };
        merges.iter().enumerate().map(split).collect()
    }

    /// The first merge whose parts or whole are no tokens; `other` if there is none.
    fn wrong_merge(&self, other: TokenError) -> TokenError {
        let Ok(vocab) = self.vocab() else { return other };
        let (VocabularyKind::ByteLevel { merges, .. }
        | VocabularyKind::SentencePiece { merges, .. }) = &self.kind;
        let known = |merge: &str| {
            let (left, right) = parts(merge)?;
            let tokens = [left, right, &[left, right].concat()];
            tokens.iter().all(|token| vocab.contains_key(*token)).then_some(())
        };
        let wrong = merges.iter().enumerate().find(|(_, merge)| known(merge).is_none());
        wrong.map_or(other, |(index, merge)| TokenError::Merge { index, merge: merge.clone() })
    }

    /// Id, text and type of the tokens that can occur.
    fn used(&self) -> impl Iterator<Item = (u32, Cow<'_, str>, TokenType)> {
        let spaces = matches!(self.kind, VocabularyKind::SentencePiece { .. });
        // Converters write the runs of spaces that were added by hand (Gemma) as spaces.
        let text = move |token: &'_ str, kind| match token.bytes().all(|byte| byte == b' ') {
            true if spaces && kind == TokenType::UserDefined => Some("▁".repeat(token.len())),
            _ => None,
        };
        (0_u32..)
            .zip(self.tokens.iter().zip(&self.types))
            .filter(|(_, (token, kind))| **kind != TokenType::Unused && !token.is_empty())
            .map(move |(id, (token, kind))| {
                let run = text(token, *kind);
                (id, run.map_or(Cow::Borrowed(token.as_str()), Cow::Owned), *kind)
            })
    }

    /// The tokens that are looked for before texts are split.
    fn added_tokens(&self) -> impl Iterator<Item = AddedToken> {
        self.used().filter_map(|(id, token, kind)| {
            let special = match kind {
                TokenType::Unknown | TokenType::Control => true,
                TokenType::UserDefined => false,
                TokenType::Normal | TokenType::Unused | TokenType::Byte => return None,
            };
            Some(
                AddedToken::from(token, special)
                    .normalized(false)
                    .lstrip(self.left_strip.binary_search(&id).is_ok())
                    .rstrip(self.right_strip.binary_search(&id).is_ok()),
            )
        })
    }

    /// The token with a role.
    fn role(&self, role: &'static str, id: Option<u32>) -> Result<Option<String>, TokenError> {
        let Some(id) = id else { return Ok(None) };
        let token = usize::try_from(id).ok().and_then(|id| self.tokens.get(id));
        let count = self.tokens.len();
        token.cloned().map(Some).ok_or(TokenError::Role { role, id, count })
    }

    /// What is put around a text, as a `tokenizer.json` writes it; `null` for nothing.
    fn template(&self) -> Result<Value, TokenError> {
        let SpecialTokens { bos, eos, pad, add_bos, add_eos, .. } = self.special;
        let (bos_text, eos_text) = (self.role("bos", bos)?, self.role("eos", eos)?);
        self.role("pad", pad)?;
        let around = |add: bool, id: Option<u32>, text: Option<String>, role| match (add, id, text)
        {
            (false, ..) => Ok(None),
            (true, Some(id), Some(text)) => Ok(Some((id, text))),
            (true, ..) => Err(TokenError::NoRole { role }),
        };
        let before = around(add_bos, bos, bos_text, "bos")?;
        let after = around(add_eos, eos, eos_text, "eos")?;
        if before.is_none() && after.is_none() {
            return Ok(Value::Null);
        }
        let mut tokens = serde_json::Map::new();
        for (id, text) in before.iter().chain(&after) {
            tokens.insert(text.clone(), json!({"id": text, "ids": [id], "tokens": [text]}));
        }
        let special = |token: &Option<(u32, String)>, sequence: u32| {
            token
                .as_ref()
                .map(|(_, text)| json!({"SpecialToken": {"id": text, "type_id": sequence}}))
        };
        let side = |name: &str, sequence: u32| {
            let text = Some(json!({"Sequence": {"id": name, "type_id": sequence}}));
            [special(&before, sequence), text, special(&after, sequence)].into_iter().flatten()
        };
        let single: Vec<Value> = side("A", 0).collect();
        let pair: Vec<Value> = side("A", 0).chain(side("B", 1)).collect();
        Ok(
            json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens}),
        )
    }

    fn same_length(&self, what: &'static str, found: usize) -> Result<(), TokenError> {
        let tokens = self.tokens.len();
        if found == tokens { Ok(()) } else { Err(TokenError::Length { what, found, tokens }) }
    }
}

fn byte_level_decoder() -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true})
}

/// The two tokens of a merge. The first one is at least one character, which may be a space.
fn parts(merge: &str) -> Option<(&str, &str)> {
    let first = merge.chars().next().map_or(0, char::len_utf8);
    let at = merge.get(first..)?.find(' ')?.checked_add(first)?;
    Some((merge.get(..at)?, merge.get(at.checked_add(1)?..)?))
}
