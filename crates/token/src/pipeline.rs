//! What happens to a text before its tokens are looked up: normalizer and pre-tokenizer.

use crate::TokenError;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::{
    NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
    SplitDelimiterBehavior,
};

/// Normalizer and pre-tokenizer; either may be absent.
pub(crate) struct Pipeline {
    pub(crate) normalizer: Option<NormalizerWrapper>,
    pub(crate) pre_tokenizer: Option<PreTokenizerWrapper>,
}

impl Pipeline {
    /// The steps as a `tokenizer.json` writes them; `null` for none.
    ///
    /// # Errors
    /// When the `tokenizers` crate does not read them.
    pub(crate) fn from_json(normalizer: Value, pre_tokenizer: Value) -> Result<Self, TokenError> {
        Ok(Self { normalizer: part(normalizer)?, pre_tokenizer: part(pre_tokenizer)? })
    }

    /// The pieces within which tokens are merged. U+0000 stands for a special token: what
    /// follows it is a stretch of its own.
    ///
    /// # Errors
    /// When a step fails on this text.
    pub(crate) fn pieces(&self, text: &str) -> Result<Vec<String>, TokenError> {
        let mut pieces = PreTokenizedString::from(text);
        let stretches =
            |_, text: NormalizedString| text.split('\0', SplitDelimiterBehavior::Isolated);
        pieces.split(stretches).map_err(TokenError::Encode)?;
        if let Some(normalizer) = &self.normalizer {
            pieces.normalize(|text| normalizer.normalize(text)).map_err(TokenError::Encode)?;
        }
        if let Some(pre_tokenizer) = &self.pre_tokenizer {
            pre_tokenizer.pre_tokenize(&mut pieces).map_err(TokenError::Encode)?;
        }
        let splits = pieces.get_splits(OffsetReferential::Normalized, OffsetType::None);
        Ok(splits.into_iter().map(|(piece, ..)| piece.to_owned()).collect())
    }
}

/// A part of a tokenizer from the form it has in a `tokenizer.json`.
///
/// # Errors
/// When the `tokenizers` crate does not read it.
pub(crate) fn part<T: DeserializeOwned>(json: Value) -> Result<T, TokenError> {
    serde_json::from_value(json).map_err(|error| TokenError::Load(error.into()))
}
