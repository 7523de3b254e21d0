//! Passes through the model, each of which gives a token or, where guesses are right, several.

use super::speculation::Speculator;
use super::{Generate, StopReason};
use crate::{Error, TextModel};
use apr_model::{KvCache, Operation, Sampler};

/// What was done to get the tokens.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    /// Passes through the model.
    pub(super) passes: usize,
    /// Tokens that were guessed.
    pub(super) drafted: usize,
    /// Guessed tokens that the sampler chose as well.
    pub(super) accepted: usize,
}

/// The tokens so far, and what the model keeps of all but the last.
pub(super) struct Steps<'a> {
    model: &'a TextModel,
    cache: KvCache,
    sampler: Sampler,
    speculator: Option<Speculator<'a>>,
    /// Number of tokens in the end.
    total: usize,
    /// The prompt, then what was generated.
    pub(super) seen: Vec<u32>,
    pub(super) counts: Counts,
}

impl<'a> Steps<'a> {
    /// Before the first pass, with `count` tokens to come after the prompt.
    pub(super) fn begin(
        model: &'a TextModel,
        prompt: &[u32],
        count: usize,
        options: &Generate,
    ) -> Result<Self, Error> {
        let total = prompt.len() + count;
        Ok(Self {
            model,
            cache: model.decoder.cache(total).map_err(Error::model(&model.path))?,
            sampler: Sampler::new(options.sampling),
            speculator: Speculator::new(model, options.speculation, total)?,
            total,
            seen: prompt.to_vec(),
            counts: Counts::default(),
        })
    }

    /// Tokens to come.
    pub(super) const fn left(&self) -> usize {
        self.total - self.seen.len()
    }

    /// Goes through the model once. Hands each new token to `take` and ends when that says why.
    pub(super) fn advance(
        &mut self,
        take: &mut dyn FnMut(u32) -> Result<Option<StopReason>, Error>,
    ) -> Result<Option<StopReason>, Error> {
        let guess = self.guess()?;
        let logits = self.logits(&guess)?;
        self.counts.passes += 1;
        self.counts.drafted += guess.len();
        let (profile, mut right) = (self.model.decoder.profile(), 0);
        for logits in logits.chunks_exact(self.model.decoder.config().vocab_size) {
            let timer = profile.time(Operation::Sampling);
            let token = self.sampler.next(logits, &self.seen);
            drop(timer);
            self.seen.push(token);
            let guessed = guess.get(right) == Some(&token);
            right += usize::from(guessed);
            self.counts.accepted += usize::from(guessed);
            let timer = profile.time(Operation::Text);
            let ended = take(token)?;
            drop(timer);
            if let Some(reason) = ended {
                return Ok(Some(reason));
            }
            if !guessed {
                break;
            }
        }
        if let Some(speculator) = &mut self.speculator {
            speculator.learn(guess.len(), right);
        }
        self.cache.truncate(self.seen.len() - 1);
        Ok(None)
    }

    /// Tokens that may come; none before the prompt went through the model.
    fn guess(&mut self) -> Result<Vec<u32>, Error> {
        let Some(speculator) = self.speculator.as_mut().filter(|_| self.counts.passes > 0) else {
            return Ok(Vec::new());
        };
        let _timer = self.model.decoder.profile().time(Operation::Guess);
        // A right guess is followed by a token of its own logits, so there must be room for both.
        let limit = self.total - self.seen.len() - 1;
        speculator.guess(&self.seen, limit, &self.sampler)
    }

    /// The logits after the last token, and after each guessed one.
    fn logits(&mut self, guess: &[u32]) -> Result<Vec<f32>, Error> {
        let decoder = &self.model.decoder;
        let input = [&self.seen[self.cache.len()..], guess].concat();
        let rows = (guess.len() + 1) * decoder.config().hidden_size;
        decoder
            .forward(&mut self.cache, &input)
            .and_then(|hidden| decoder.logits(&hidden[hidden.len() - rows..]))
            .map_err(Error::model(&self.model.path))
    }
}
