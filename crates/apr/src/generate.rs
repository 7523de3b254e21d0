//! Continuing a text, token by token.

use crate::{Error, TextModel};
use apr_model::{Sampler, Sampling};
use serde::Serialize;
use std::io;
use std::time::Instant;

/// How to continue a text.
#[derive(Debug, Clone, Default)]
pub struct Generate {
    /// When to end.
    pub length: Length,
    /// How to choose tokens.
    pub sampling: Sampling,
    /// Texts that end the generation where they begin.
    pub stop: Vec<String>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Serialize)]
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
}

impl TextModel {
    /// Continues `prompt`, handing out text as soon as it is known.
    ///
    /// # Errors
    /// When the prompt is empty or too long for the model, or `on_text` fails.
    pub fn generate(
        &self,
        prompt: &str,
        options: &Generate,
        on_text: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> Result<Generation, Error> {
        let as_error = || Error::token(&self.path);
        let prompt_tokens = self.tokenizer.encode(prompt).map_err(as_error())?;
        let (count, full) = self.tokens_to_generate(prompt_tokens.len(), options.length)?;
        let mut cache =
            self.decoder.cache(prompt_tokens.len() + count).map_err(Error::model(&self.path))?;
        let mut sampler = Sampler::new(options.sampling);
        let mut stream = self.tokenizer.stream_after(&prompt_tokens);
        let mut output = StopFilter::new(&options.stop, on_text);
        let mut seen = prompt_tokens.clone();
        let (start, mut first) = (Instant::now(), None);
        let mut stop_reason = full;
        let mut input = prompt_tokens.as_slice();
        let mut next;
        while seen.len() < prompt_tokens.len() + count {
            let logits =
                self.decoder.next_logits(&mut cache, input).map_err(Error::model(&self.path))?;
            next = [sampler.next(&logits, &seen)];
            first.get_or_insert_with(Instant::now);
            input = &next;
            seen.extend(next);
            if !matches!(options.length, Length::Exactly(_)) && self.is_end(next[0]) {
                stop_reason = StopReason::EndToken;
                break;
            }
            if output.push(&stream.push(next[0]).map_err(as_error())?)? {
                stop_reason = StopReason::StopText;
                break;
            }
        }
        if stop_reason != StopReason::StopText
            && output.push(&stream.finish().map_err(as_error())?)?
        {
            stop_reason = StopReason::StopText;
        }
        let text = output.finish()?;
        let tokens = seen.split_off(prompt_tokens.len());
        let steps = tokens.len().saturating_sub(1);
        Ok(Generation {
            prefill_tokens_per_second: first.map(|first| rate(prompt_tokens.len(), first - start)),
            tokens_per_second: first
                .filter(|_| steps > 0)
                .map(|first| rate(steps, first.elapsed())),
            tokens,
            text,
            prompt: prompt.to_owned(),
            prompt_tokens,
            stop_reason,
            kernels: self.decoder.kernels(),
            threads: self.decoder.threads(),
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

    fn is_end(&self, token: u32) -> bool {
        self.decoder.config().end_tokens.contains(&token)
    }
}

fn rate(tokens: usize, time: std::time::Duration) -> f64 {
    tokens as f64 / time.as_secs_f64().max(1e-9)
}

/// Hands out text, holding back what may be the beginning of a stop text.
struct StopFilter<'a> {
    stop: &'a [String],
    on_text: &'a mut dyn FnMut(&str) -> io::Result<()>,
    text: String,
    handed_out: usize,
}

impl<'a> StopFilter<'a> {
    fn new(stop: &'a [String], on_text: &'a mut dyn FnMut(&str) -> io::Result<()>) -> Self {
        Self { stop, on_text, text: String::new(), handed_out: 0 }
    }

    /// Takes more text. Returns whether a stop text was completed; then the text ends before it.
    fn push(&mut self, piece: &str) -> Result<bool, Error> {
        self.text.push_str(piece);
        let found = self
            .stop
            .iter()
            .filter(|stop| !stop.is_empty())
            .filter_map(|stop| self.text.find(stop.as_str()))
            .min();
        if let Some(end) = found {
            self.text.truncate(end);
            self.hand_out(end)?;
            return Ok(true);
        }
        let held = self.stop.iter().map(|stop| overlap(&self.text, stop)).max().unwrap_or(0);
        self.hand_out(self.text.len() - held)?;
        Ok(false)
    }

    fn finish(mut self) -> Result<String, Error> {
        self.hand_out(self.text.len())?;
        Ok(self.text)
    }

    fn hand_out(&mut self, end: usize) -> Result<(), Error> {
        if end > self.handed_out {
            (self.on_text)(&self.text[self.handed_out..end]).map_err(Error::Output)?;
            self.handed_out = end;
        }
        Ok(())
    }
}

/// Length of the longest end of `text` that begins `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    stop.char_indices()
        .map(|(at, _)| at)
        .filter(|&len| len > 0 && text.ends_with(&stop[..len]))
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(pieces: &[&str], stop: &[&str]) -> (Vec<String>, String) {
        let stop: Vec<String> = stop.iter().map(|&stop| stop.to_owned()).collect();
        let mut out = Vec::new();
        let mut on_text = |text: &str| {
            out.push(text.to_owned());
            Ok(())
        };
        let mut filter = StopFilter::new(&stop, &mut on_text);
        for piece in pieces {
            if filter.push(piece).unwrap() {
                break;
            }
        }
        let text = filter.finish().unwrap();
        assert_eq!(out.concat(), text);
        (out, text)
    }

    #[test]
    fn stop_texts_are_cut_even_across_pieces() {
        assert_eq!(filtered(&["one\n", "\ntwo"], &["\n\n"]).1, "one");
        assert_eq!(filtered(&["a<e", "nd> b"], &["<end>", "zzz"]).1, "a");
        assert_eq!(filtered(&["xabxac"], &["ac", "ab"]).1, "x");
    }

    #[test]
    fn text_that_only_resembles_a_stop_text_comes_out() {
        let (out, text) = filtered(&["a<e", "x", "<en"], &["<end>"]);
        assert_eq!(text, "a<ex<en");
        assert_eq!(out, ["a", "<ex", "<en"]);
    }

    #[test]
    fn without_stop_texts_nothing_is_held_back() {
        assert_eq!(filtered(&["é", "€"], &[]).0, ["é", "€"]);
    }
}
