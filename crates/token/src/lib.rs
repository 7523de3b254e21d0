//! Text to tokens and back, as the published tokenizer does it.
//!
//! The `tokenizers` crate is the implementation that the models were trained with; this crate
//! loads it from a `tokenizer.json` or from what a GGUF file says, turns either into the other,
//! decodes a stream of tokens without breaking characters that span several of them, and renders
//! conversations by the model's chat template, within limits.
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    reason = "everything parsed here may be hostile"
)]

mod chat;
mod difference;
mod error;
mod file;
mod guard;
mod pipeline;
mod probe;
mod published;
mod sentence_piece;
mod split;
mod stream;
mod vocabulary;

pub use chat::{Chat, ChatError, ChatTemplate, Message};
pub use difference::Difference;
pub use error::TokenError;
pub use guard::panic_is_told;
pub use sentence_piece::SpacePrefix;
pub use stream::TextStream;
pub use vocabulary::{SpecialTokens, TokenType, Vocabulary, VocabularyKind};

use file::{File, check_normalizers, without_cache};
use guard::guarded;
use std::str::FromStr;
use tokenizers::Tokenizer as Inner;

/// A loaded tokenizer.
pub struct Tokenizer {
    inner: Inner,
}

impl Tokenizer {
    /// Loads the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// When the text is not a tokenizer.
    pub fn from_json(json: &str) -> Result<Self, TokenError> {
        guarded(|| Self::read(json))
    }

    fn read(json: &str) -> Result<Self, TokenError> {
        // What else is wrong with a text, the `tokenizers` crate says.
        let known = match File::parse(json) {
            Ok(file) => {
                file.check_merges()?;
                file.check_normalizer()?;
                file.tokenizer()
            }
            Err(_) => {
                check_normalizers(json)?;
                None
            }
        };
        let unknown = || Inner::from_str(json).map(without_cache).map_err(TokenError::Load);
        let mut inner = known.map_or_else(unknown, Ok)?;
        // Both would change the tokens of a text behind the caller's back.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(TokenError::Load)?;
        Ok(Self { inner })
    }

    pub(crate) const fn new(inner: Inner) -> Self {
        Self { inner }
    }

    /// The tokenizer as a `tokenizer.json`.
    ///
    /// # Errors
    /// When the `tokenizers` crate cannot write it, or would need memory for more than a million
    /// ids that no token has.
    pub fn to_json(&self) -> Result<String, TokenError> {
        /// The crate lists every id below the largest one that has no token.
        const UNUSED: usize = 1 << 20;

        let vocab = self.inner.get_vocab(false);
        let (id, count) = (vocab.into_values().max().unwrap_or_default(), self.vocab_size());
        if usize::try_from(id).is_ok_and(|id| id > count.saturating_add(UNUSED)) {
            return Err(TokenError::Sparse { id, count });
        }
        guarded(|| self.inner.to_string(false).map_err(TokenError::Load))
    }

    /// The tokens of a text, with the BOS or EOS token that the published tokenizer puts around
    /// every text, if it does: what `transformers` gives by default. Special tokens that are
    /// written out in the text are recognised.
    ///
    /// # Errors
    /// When the tokenizer refuses the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenError> {
        let encode = || self.inner.encode_fast(text, true).map_err(TokenError::Encode);
        let encoding = guarded(encode)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The tokens of a text that says itself where it begins and ends, as a rendered
    /// [`ChatTemplate`] does: nothing is put around it. Special tokens are recognised.
    ///
    /// # Errors
    /// When the tokenizer refuses the text.
    pub fn encode_as_is(&self, text: &str) -> Result<Vec<u32>, TokenError> {
        let encode = || self.inner.encode_fast(text, false).map_err(TokenError::Encode);
        let encoding = guarded(encode)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of a token as the vocabulary has it; none if there is no such token.
    #[must_use]
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The text of tokens; special tokens are dropped. A leading space is kept, unless the
    /// tokenizer itself puts one before every text (SentencePiece).
    ///
    /// # Errors
    /// When the tokenizer refuses the tokens.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, TokenError> {
        guarded(|| self.inner.decode(tokens, true).map_err(TokenError::Decode))
    }

    /// Number of tokens, added ones included.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Begins to decode a stream of tokens.
    #[must_use]
    pub const fn stream(&self) -> TextStream<'_> {
        TextStream::new(self)
    }

    /// Begins to decode the tokens that continue `prompt`: a space between the two is kept, and
    /// a character that began in the prompt is completed.
    #[must_use]
    pub fn stream_after(&self, prompt: &[u32]) -> TextStream<'_> {
        TextStream::after(self, prompt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn tokenizers() -> Vec<Tokenizer> {
        ["tiny-llama", "tiny-qwen2", "tiny-gpt2"]
            .map(|model| {
                let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/models");
                let json = fs::read_to_string(format!("{models}/{model}/tokenizer.json")).unwrap();
                Tokenizer::from_json(&json).unwrap()
            })
            .into()
    }

    #[test]
    fn a_stream_gives_the_text_of_all_tokens() {
        for tokenizer in tokenizers() {
            for text in
                [" leading space", "naïve café — 東京 🗼 costs €5", "  a\tb\n\n    return", ""]
            {
                let tokens = tokenizer.encode(text).unwrap();
                let mut stream = tokenizer.stream();
                let mut pieces: String =
                    tokens.iter().map(|&token| stream.push(token).unwrap()).collect();
                assert!(!pieces.contains(char::REPLACEMENT_CHARACTER));
                pieces += &stream.finish().unwrap();
                assert_eq!(pieces, tokenizer.decode(&tokens).unwrap());
                assert_eq!(pieces, text);
            }
        }
    }

    #[test]
    fn an_unfinished_character_comes_out_at_the_end() {
        for tokenizer in tokenizers() {
            let tokens = tokenizer.encode("€🗼").unwrap();
            let cut = &tokens[..tokens.len() - 1];
            let mut stream = tokenizer.stream();
            let mut pieces: String = cut.iter().map(|&token| stream.push(token).unwrap()).collect();
            assert!(pieces.is_empty() || pieces == "€", "{pieces:?}");
            pieces += &stream.finish().unwrap();
            assert_eq!(pieces, tokenizer.decode(cut).unwrap());
            assert!(pieces.ends_with(char::REPLACEMENT_CHARACTER));
        }
    }

    #[test]
    fn a_tokenizer_is_what_the_tokenizers_crate_reads() {
        for model in ["tiny-llama", "tiny-qwen2", "tiny-gpt2"] {
            let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/models");
            let json = fs::read_to_string(format!("{models}/{model}/tokenizer.json")).unwrap();
            assert_same(&json);
            for (from, to) in [
                ("\"byte_fallback\":false", "\"byte_fallback\":true"),
                ("\"ignore_merges\":false", "\"ignore_merges\":true"),
                ("\"fuse_unk\":false", "\"fuse_unk\":true"),
                ("\"dropout\":null", "\"dropout\":0.5"),
                ("\"unk_token\":null", "\"unk_token\":\"a\""),
                ("\"end_of_word_suffix\":null", "\"end_of_word_suffix\":\"</w>\""),
                ("\"rstrip\":false", "\"rstrip\":true"),
                ("\"single_word\":false", "\"single_word\":true"),
                ("\"normalized\":false", "\"normalized\":true"),
            ] {
                let compact = serde_json::from_str::<serde_json::Value>(&json).unwrap();
                let compact = compact.to_string();
                let changed = compact.replace(from, to);
                assert_same(&changed);
            }
        }
    }

    /// Compares with what the crate reads by itself.
    fn assert_same(json: &str) {
        let file = File::parse(json).unwrap().tokenizer().expect("a plain BPE");
        let theirs = Inner::from_str(json).unwrap();
        let value = |inner: &Inner| -> serde_json::Value {
            let mut value: serde_json::Value =
                serde_json::from_str(&inner.to_string(false).unwrap()).unwrap();
            // Both are set aside by `from_json`.
            value["padding"].take();
            value["truncation"].take();
            value
        };
        assert!(value(&file) == value(&theirs), "{}", &json[..200]);
    }

    #[test]
    fn text_that_is_no_tokenizer_is_refused() {
        for text in ["", "{}", "[1]", "{\"model\": 3}"] {
            assert!(matches!(Tokenizer::from_json(text), Err(TokenError::Load(_))), "{text:?}");
        }
    }
}
