//! The parts of a `tokenizer.json` that the `tokenizers` crate does not hand out.

use crate::TokenError;
use crate::pipeline::{Pipeline, part};
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;
use tokenizers::models::bpe::{BPE, Vocab as BpeVocab};
use tokenizers::{
    AddedToken, DecoderWrapper, ModelWrapper, PostProcessorWrapper, Tokenizer as Inner,
};

/// A `tokenizer.json` of a BPE, borrowing from its text.
#[derive(Deserialize)]
pub(crate) struct File<'a> {
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    #[serde(borrow, default)]
    pub(crate) added_tokens: Vec<Added<'a>>,
    #[serde(borrow)]
    pub(crate) model: Bpe<'a>,
}

/// Key of a compiled table of normalisations. The crate that reads it allocates by a number in the
/// table and follows its links without looking; no architecture that runs has one.
const TABLE: &str = "precompiled_charsmap";

/// That no normalizer of a text has a compiled table, for texts that are no [`File`].
///
/// # Errors
/// When one has.
pub(crate) fn check_normalizers(json: &str) -> Result<(), TokenError> {
    // What is no JSON, is refused where it is read.
    let Ok(Normalizers(all)) = serde_json::from_str(json) else { return Ok(()) };
    all.iter().try_for_each(check_table)
}

fn check_table(normalizer: &Value) -> Result<(), TokenError> {
    if normalizer.to_string().contains(TABLE) {
        return Err(TokenError::Unsupported("its normalizer has a precompiled table"));
    }
    Ok(())
}

/// Every normalizer of a tokenizer: the `tokenizers` crate takes the last of several.
struct Normalizers(Vec<Value>);

/// A token that is looked for before texts are split.
#[derive(Deserialize)]
pub(crate) struct Added<'a> {
    pub(crate) id: u32,
    #[serde(borrow)]
    pub(crate) content: Cow<'a, str>,
    #[serde(default)]
    pub(crate) special: bool,
    #[serde(default)]
    pub(crate) lstrip: bool,
    #[serde(default)]
    pub(crate) rstrip: bool,
    single_word: Option<bool>,
    normalized: Option<bool>,
}

#[derive(Deserialize)]
pub(crate) struct Bpe<'a> {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    dropout: Option<f32>,
    #[serde(default)]
    unk_token: Option<String>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    fuse_unk: Option<bool>,
    #[serde(default)]
    byte_fallback: Option<bool>,
    #[serde(default)]
    ignore_merges: Option<bool>,
    #[serde(borrow)]
    pub(crate) vocab: Vocab<'a>,
    #[serde(borrow)]
    pub(crate) merges: Vec<Merge<'a>>,
}

/// The `tokenizers` crate keeps what words became per thread, and does not let go of it when the
/// tokenizer is dropped: a process that opens one model after the other would fill its memory.
pub(crate) const NO_CACHE: usize = 0;

/// A tokenizer of the `tokenizers` crate without that cache.
pub(crate) fn without_cache(mut inner: Inner) -> Inner {
    if let ModelWrapper::BPE(bpe) = inner.get_model() {
        let mut bpe = bpe.clone();
        bpe.resize_cache(NO_CACHE);
        inner.with_model(bpe);
    }
    inner
}

/// Tokens and ids, as the file lists them.
pub(crate) struct Vocab<'a>(pub(crate) Vec<(Cow<'a, str>, u32)>);

/// Two tokens that become one.
pub(crate) struct Merge<'a>(pub(crate) Cow<'a, str>, pub(crate) Cow<'a, str>);

/// A text that is borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> File<'a> {
    /// Reads the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// When it is no JSON, or no BPE.
    pub(crate) fn parse(json: &'a str) -> Result<Self, TokenError> {
        serde_json::from_str(json).map_err(|error| TokenError::Load(error.into()))
    }

    /// That its normalizer has no compiled table.
    ///
    /// # Errors
    /// When it has.
    pub(crate) fn check_normalizer(&self) -> Result<(), TokenError> {
        check_table(&self.normalizer)
    }

    /// That the merges are what the `tokenizers` crate relies on: none makes a token longer
    /// than all tokens, and the second part has the prefix of continuations.
    ///
    /// # Errors
    /// When one does, or has not.
    pub(crate) fn check_merges(&self) -> Result<(), TokenError> {
        let prefix = self.model.continuing_subword_prefix.as_deref().unwrap_or_default();
        let lengths = self.model.vocab.0.iter().map(|(token, _)| token.len());
        let longest = lengths.max().unwrap_or_default();
        for (index, Merge(left, right)) in self.model.merges.iter().enumerate() {
            let rest = right.strip_prefix(prefix).map(str::len);
            if rest.is_none_or(|rest| left.len().saturating_add(rest) > longest) {
                return Err(TokenError::Merge { index, merge: format!("{left} {right}") });
            }
        }
        Ok(())
    }
}

impl File<'_> {
    /// The tokenizer, in the memory and the time that it needs: the `tokenizers` crate would keep
    /// a copy of the whole text while it finds out what kind of model it is. None where the text
    /// is not plainly a BPE; the crate then says what it is, or what is wrong with it.
    pub(crate) fn tokenizer(self) -> Option<Inner> {
        let plain = self.model.kind.as_deref() == Some("BPE")
            && self.version.as_deref() == Some("1.0")
            && !self.model.merges.iter().any(|Merge(left, _)| left.starts_with("#version"));
        if !plain {
            return None;
        }
        let added: Option<Vec<AddedToken>> =
            self.added_tokens.iter().map(Added::as_added).collect();
        let mut inner = Inner::new(self.model.build()?);
        let pipeline = Pipeline::from_json(self.normalizer, self.pre_tokenizer).ok()?;
        inner.with_normalizer(pipeline.normalizer).ok()?;
        inner.with_pre_tokenizer(pipeline.pre_tokenizer);
        let post_processor: Option<PostProcessorWrapper> = part(self.post_processor).ok()?;
        inner.with_post_processor(post_processor);
        inner.with_decoder(part::<Option<DecoderWrapper>>(self.decoder).ok()?);
        inner.add_tokens(added?).ok()?;
        Some(inner)
    }
}

impl Added<'_> {
    fn as_added(&self) -> Option<AddedToken> {
        let token = AddedToken::from(self.content.to_string(), self.special);
        Some(
            token
                .single_word(self.single_word?)
                .normalized(self.normalized?)
                .lstrip(self.lstrip)
                .rstrip(self.rstrip),
        )
    }
}

impl Bpe<'_> {
    fn build(self) -> Option<BPE> {
        let vocab = self.vocab.0.into_iter().map(|(token, id)| (token.into_owned(), id));
        let merges = self.merges.into_iter();
        let merges = merges.map(|Merge(left, right)| (left.into_owned(), right.into_owned()));
        let mut builder = BPE::builder()
            .cache_capacity(NO_CACHE)
            .vocab_and_merges(vocab.collect::<BpeVocab>(), merges.collect())
            .fuse_unk(self.fuse_unk.unwrap_or_default())
            .byte_fallback(self.byte_fallback.unwrap_or_default())
            .ignore_merges(self.ignore_merges.unwrap_or_default());
        if let Some(dropout) = self.dropout {
            builder = builder.dropout(dropout);
        }
        if let Some(token) = self.unk_token {
            builder = builder.unk_token(token);
        }
        if let Some(prefix) = self.continuing_subword_prefix {
            builder = builder.continuing_subword_prefix(prefix);
        }
        if let Some(suffix) = self.end_of_word_suffix {
            builder = builder.end_of_word_suffix(suffix);
        }
        builder.build().ok()
    }
}

impl<'de> Deserialize<'de> for Normalizers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts;
        impl<'de> Visitor<'de> for Parts {
            type Value = Normalizers;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a tokenizer")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(Text(key)) = map.next_key()? {
                    if key == "normalizer" {
                        all.push(map.next_value()?);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Normalizers(all))
            }
        }
        deserializer.deserialize_map(Parts)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Vocab<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Vocab<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("tokens with their ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((Text(token), id)) = map.next_entry()? {
                    pairs.push((token, id));
                }
                Ok(Vocab(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Merge<'a> {
    /// Newer files list the two parts, older ones put a space between them.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts;
        impl<'de> Visitor<'de> for Parts {
            type Value = Merge<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("two tokens")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                let (left, right) =
                    text.split_once(' ').ok_or(E::custom("a merge is not two tokens"))?;
                Ok(Merge(Cow::Owned(left.to_owned()), Cow::Owned(right.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
                let mut next = |index| {
                    let part = parts.next_element()?.map(|Text(part)| part);
                    part.ok_or_else(|| A::Error::invalid_length(index, &"two tokens"))
                };
                Ok(Merge(next(0)?, next(1)?))
            }
        }
        deserializer.deserialize_any(Parts)
    }
}
