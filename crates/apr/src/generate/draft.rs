//! Guessing the next tokens with a smaller model (Leviathan et al. 2023, here without a rule for
//! acceptance: a guess counts where the sampler chooses the same token).

use super::speculation::Guesser;
use crate::{Error, TextModel, units};
use apr_model::{KvCache, Sampler};

/// A draft model and what it has read.
pub(super) struct Draft<'a> {
    model: &'a TextModel,
    cache: KvCache,
    /// The tokens in the cache.
    read: Vec<u32>,
    /// Tokens below this are rows of both models.
    vocab: usize,
}

impl<'a> Draft<'a> {
    /// For a text of `total` tokens in the end. Where the draft has fewer positions, it guesses up
    /// to those.
    ///
    /// # Errors
    /// When the model has no draft.
    pub(super) fn new(model: &'a TextModel, total: usize) -> Result<Self, Error> {
        let draft = model.draft.as_deref();
        let draft = draft.ok_or_else(|| Error::Argument("there is no draft model".to_owned()))?;
        let (config, own) = (model.decoder.config(), draft.decoder.config());
        let cache = draft.decoder.cache(total.min(own.max_positions));
        Ok(Self {
            model: draft,
            cache: cache.map_err(Error::model(&draft.path))?,
            read: Vec::new(),
            vocab: config.vocab_size.min(own.vocab_size),
        })
    }

    /// The logits after `text`, of which the tokens beyond those already read go through the model.
    fn logits(&mut self, text: &[u32]) -> Result<Vec<f32>, Error> {
        let same = self.read.iter().zip(text).take_while(|(a, b)| a == b).count();
        // The last token has to go through the model, for its logits.
        let kept = same.min(text.len().saturating_sub(1));
        self.read.truncate(kept);
        self.cache.truncate(kept);
        let decoder = &self.model.decoder;
        let logits = decoder.next_logits(&mut self.cache, &text[kept..]);
        self.read.extend_from_slice(&text[kept..]);
        logits.map_err(Error::model(&self.model.path))
    }
}

impl Guesser for Draft<'_> {
    /// The sampler sees the draft's logits in the state in which it will see the model's, so that
    /// its draws agree wherever the models do.
    fn guess(&mut self, seen: &[u32], wanted: usize, sampler: &Sampler) -> Result<Vec<u32>, Error> {
        if seen.iter().any(|&token| units::index(token) >= self.vocab) {
            return Ok(Vec::new());
        }
        let (mut text, mut sampler) = (seen.to_vec(), sampler.clone());
        let end = (seen.len() + wanted).min(self.cache.capacity() + 1);
        while text.len() < end {
            let logits = self.logits(&text)?;
            text.push(sampler.next(&logits[..self.vocab], &text));
        }
        Ok(text.split_off(seen.len()))
    }
}
