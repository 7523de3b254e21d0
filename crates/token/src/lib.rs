//! Text to tokens and back, as the published tokenizer does it.
//!
//! The `tokenizers` crate is the implementation that the models were trained with; this crate
//! only loads it, leaves out what the callers of `apr` do not want (special tokens), and decodes
//! a stream of tokens without breaking characters that span several of them.

mod vocabulary;

pub use vocabulary::{TokenType, Vocabulary};

use std::str::FromStr;
use tokenizers::Tokenizer as Inner;

/// A tokenizer that could not be loaded, or failed on its input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not a `tokenizer.json` that the `tokenizers` crate reads.
    #[error("tokenizer: {0}")]
    Load(tokenizers::Error),
    /// A tokenizer that cannot be carried over to another format.
    #[error("tokenizer: {0}")]
    Unsupported(&'static str),
    /// The tokenizer refused a text.
    #[error("text could not be tokenized: {0}")]
    Encode(tokenizers::Error),
    /// The tokenizer refused tokens.
    #[error("tokens could not be decoded: {0}")]
    Decode(tokenizers::Error),
}

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
        let mut inner = Inner::from_str(json).map_err(TokenError::Load)?;
        // Both would change the tokens of a text behind the caller's back.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(TokenError::Load)?;
        Ok(Self { inner })
    }

    /// The tokens of a text, without any that the tokenizer would add around it.
    ///
    /// # Errors
    /// When the tokenizer refuses the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenError> {
        let encoding = self.inner.encode_fast(text, false).map_err(TokenError::Encode)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of tokens; special tokens are dropped, a leading space is kept.
    ///
    /// # Errors
    /// When the tokenizer refuses the tokens.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, TokenError> {
        self.inner.decode(tokens, true).map_err(TokenError::Decode)
    }

    /// Number of tokens, added ones included.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Begins to decode a stream of tokens.
    #[must_use]
    pub const fn stream(&self) -> TextStream<'_> {
        TextStream { tokenizer: self, tokens: Vec::new(), context: 0, emitted: 0 }
    }
}

/// Decodes tokens one by one. Text comes out as soon as its last byte is known; all pieces
/// together are the decoding of all tokens.
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    tokens: Vec<u32>,
    /// First token that decoding starts from: what a token decodes to may depend on the one before.
    context: usize,
    /// Tokens whose text has been returned.
    emitted: usize,
}

impl TextStream<'_> {
    /// The text that this token completes; empty while a character is unfinished.
    ///
    /// # Errors
    /// When the tokenizer refuses the tokens.
    pub fn push(&mut self, token: u32) -> Result<String, TokenError> {
        self.tokens.push(token);
        let (old, new) = self.decode_window()?;
        if new.ends_with(char::REPLACEMENT_CHARACTER) || new.len() <= old.len() {
            return Ok(String::new());
        }
        self.context = self.emitted;
        self.emitted = self.tokens.len();
        Ok(new.get(old.len()..).unwrap_or_default().to_owned())
    }

    /// What is left at the end: the replacement characters of an unfinished character.
    ///
    /// # Errors
    /// When the tokenizer refuses the tokens.
    pub fn finish(&mut self) -> Result<String, TokenError> {
        let (old, new) = self.decode_window()?;
        self.context = self.tokens.len();
        self.emitted = self.tokens.len();
        Ok(new.get(old.len()..).unwrap_or_default().to_owned())
    }

    /// The text of the context alone, and with the tokens that have not been emitted.
    fn decode_window(&self) -> Result<(String, String), TokenError> {
        let old = self.tokens.get(self.context..self.emitted).unwrap_or_default();
        let new = self.tokens.get(self.context..).unwrap_or_default();
        Ok((self.tokenizer.decode(old)?, self.tokenizer.decode(new)?))
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
    fn text_that_is_no_tokenizer_is_refused() {
        for text in ["", "{}", "[1]", "{\"model\": 3}"] {
            assert!(matches!(Tokenizer::from_json(text), Err(TokenError::Load(_))), "{text:?}");
        }
    }
}
