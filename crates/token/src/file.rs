//! The parts of a `tokenizer.json` that the `tokenizers` crate does not hand out.

use crate::TokenError;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;

/// A `tokenizer.json` of a BPE, borrowing from its text.
#[derive(Deserialize)]
pub(crate) struct File<'a> {
    #[serde(borrow, default)]
    pub(crate) added_tokens: Vec<Added<'a>>,
    #[serde(borrow)]
    pub(crate) model: Bpe<'a>,
}

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
}

#[derive(Deserialize)]
pub(crate) struct Bpe<'a> {
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(borrow)]
    pub(crate) vocab: Vocab<'a>,
    #[serde(borrow)]
    pub(crate) merges: Vec<Merge<'a>>,
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
