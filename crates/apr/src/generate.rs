//! Continuing a text, token by token.

mod draft;
mod lookup;
mod output;
mod profile;
mod speculation;
mod steps;

use crate::{Error, TextModel};
use apr_model::Sampling;
use output::Output;
pub use profile::{OperationTime, Phase, Profile};
use schemars::JsonSchema;
use serde::Serialize;
pub use speculation::Speculation;
use std::io;
use std::time::{Duration, Instant};
use steps::Steps;

/// How to continue a text.
#[derive(Debug, Clone, Default)]
pub struct Generate {
    /// When to end.
    pub length: Length,
    /// How to choose tokens.
    pub sampling: Sampling,
    /// Texts that end the generation where they begin.
    pub stop: Vec<String>,
    /// Who guesses tokens, so that several can be checked in one pass over the weights.
    pub speculation: Speculation,
    /// What the prompt is.
    pub prompt: Prompt,
}

/// What a prompt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prompt {
    /// Text, around which the tokenizer puts the tokens that it puts around every text.
    #[default]
    Text,
    /// What a chat template rendered: it has such tokens already.
    Rendered,
}

/// How long a continuation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So many tokens, whatever they are: an end token does not end the text.
    Exactly(usize),
    /// Until the model's end token, at most so many tokens, and no more than it has positions.
    AtMost(usize),
}

impl Default for Length {
    fn default() -> Self {
        Self::AtMost(256)
    }
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The number of tokens that was asked for.
    Length,
    /// The model's end token.
    EndToken,
    /// A stop text.
    StopText,
    /// The model has no more positions.
    Positions,
}

/// A continued text.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Generation {
    /// Generated tokens.
    pub tokens: Vec<u32>,
    /// Their text, without special tokens, up to a stop text.
    pub text: String,
    /// The text that was continued.
    pub prompt: String,
    /// Its tokens.
    pub prompt_tokens: Vec<u32>,
    /// Why it ended.
    pub stop_reason: StopReason,
    /// Name of the kernel table that ran.
    pub kernels: &'static str,
    /// Threads that ran.
    pub threads: usize,
    /// Prompt tokens per second, until the first token was known; none if none was asked for.
    pub prefill_tokens_per_second: Option<f64>,
    /// Tokens per second after the first; none if there was only one.
    pub tokens_per_second: Option<f64>,
    /// Passes over the weights, that of the prompt included.
    pub passes: usize,
    /// Tokens that were guessed.
    pub drafted: usize,
    /// Guessed tokens that were right.
    pub accepted: usize,
    /// Where the time went, if the model was loaded to tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
}

impl TextModel {
    /// Continues `prompt`, handing out text as soon as it is known.
    ///
    /// With [`speculation`](Generate::speculation), guessed tokens go through the model together with the
    /// last one, and those are kept that the sampler chooses as well: it is asked in the same
    /// order, with the same state, as without. The logits of several tokens at once may differ in
    /// their last bits from those of one token at a time where a type of weights has other
    /// kernels for it, so that in a near tie another token may be chosen.
    ///
    /// # Errors
    /// When the prompt is empty or too long for the model, a draft model is asked for that is not
    /// there, or `on_text` fails.
    pub fn generate(
        &self,
        prompt: &str,
        options: &Generate,
        on_text: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> Result<Generation, Error> {
        let prompt_tokens = match options.prompt {
            Prompt::Text => self.tokenizer.encode(prompt),
            Prompt::Rendered => self.tokenizer.encode_as_is(prompt),
        }
        .map_err(Error::token(&self.path))?;
        let (count, full) = self.tokens_to_generate(prompt_tokens.len(), options.length)?;
        let mut steps = Steps::begin(self, &prompt_tokens, count, options)?;
        let mut output = Output::new(self, &prompt_tokens, options, on_text);
        // What was counted before belongs to others.
        let _ = self.decoder.profile().take();
        let (start, mut first, mut ended) = (Instant::now(), None, None);
        while ended.is_none() && steps.left() > 0 {
            ended = steps.advance(&mut |token| output.push(token))?;
            first.get_or_insert_with(|| (Instant::now(), self.decoder.profile().take()));
        }
        let (text, stopped) = output.finish(ended)?;
        let end = Instant::now();
        let Steps { mut seen, counts, .. } = steps;
        let tokens = seen.split_off(prompt_tokens.len());
        let after_first = tokens.len().saturating_sub(1);
        let (first, of_prefill) = first.unzip();
        let phases = of_prefill.flatten().zip(self.decoder.profile().take()).zip(first);
        let profile = phases.map(|((prefill, decode), first)| Profile {
            prefill: Phase::new(&prefill, first - start, (prompt_tokens.len(), 1)),
            decode: Phase::new(&decode, end - first, (after_first, counts.passes - 1)),
        });
        Ok(Generation {
            prefill_tokens_per_second: first.map(|first| rate(prompt_tokens.len(), first - start)),
            tokens_per_second: first
                .filter(|_| after_first > 0)
                .map(|first| rate(after_first, end - first)),
            tokens,
            text,
            prompt: prompt.to_owned(),
            prompt_tokens,
            stop_reason: stopped.unwrap_or(full),
            kernels: self.decoder.kernels(),
            threads: self.decoder.threads(),
            passes: counts.passes,
            drafted: counts.drafted,
            accepted: counts.accepted,
            profile,
        })
    }

    /// How many tokens can follow the prompt, and why it ends after them.
    fn tokens_to_generate(
        &self,
        prompt: usize,
        length: Length,
    ) -> Result<(usize, StopReason), Error> {
        let limit = self.decoder.config().max_positions;
        if prompt == 0 {
            return Err(Error::Argument("the prompt is empty".to_owned()));
        }
        match length {
            Length::Exactly(count) if prompt.saturating_add(count) > limit => {
                Err(Error::Argument(format!(
                    "a prompt of {prompt} tokens and {count} more are past the model's {limit} positions"
                )))
            }
            Length::AtMost(_) if prompt >= limit => Err(Error::Argument(format!(
                "a prompt of {prompt} tokens leaves none of the model's {limit} positions"
            ))),
            Length::Exactly(count) => Ok((count, StopReason::Length)),
            Length::AtMost(count) if prompt.saturating_add(count) > limit => {
                Ok((limit - prompt, StopReason::Positions))
            }
            Length::AtMost(count) => Ok((count, StopReason::Length)),
        }
    }
}

/// Tokens per second.
pub(crate) fn rate(tokens: usize, time: Duration) -> f64 {
    tokens as f64 / time.as_secs_f64().max(1e-9)
}
