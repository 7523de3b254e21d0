//! Decoding tokens as they come.

use crate::{TokenError, Tokenizer};

/// Tokens of a prompt that decoding what follows takes into account: more than the bytes of a
/// character, and the special tokens that may end a prompt.
const CONTEXT: usize = 16;

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

impl<'a> TextStream<'a> {
    pub(crate) const fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { tokenizer, tokens: Vec::new(), context: 0, emitted: 0 }
    }

    pub(crate) fn after(tokenizer: &'a Tokenizer, prompt: &[u32]) -> Self {
        let tokens =
            prompt.get(prompt.len().saturating_sub(CONTEXT)..).unwrap_or_default().to_vec();
        Self { tokenizer, emitted: tokens.len(), tokens, context: 0 }
    }

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
