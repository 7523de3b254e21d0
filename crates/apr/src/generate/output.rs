//! The text of a generation as it becomes known, and what in it ends the generation.

use super::{Generate, Length, StopReason};
use crate::{Error, TextModel};
use apr_token::TextStream;
use std::io;

/// Turns tokens into text and hands it out.
pub(super) struct Output<'a> {
    model: &'a TextModel,
    ends_at_end_token: bool,
    stream: TextStream<'a>,
    filter: StopFilter<'a>,
}

impl<'a> Output<'a> {
    /// Of what follows `prompt`.
    pub(super) fn new(
        model: &'a TextModel,
        prompt: &[u32],
        options: &'a Generate,
        on_text: &'a mut dyn FnMut(&str) -> io::Result<()>,
    ) -> Self {
        Self {
            model,
            ends_at_end_token: !matches!(options.length, Length::Exactly(_)),
            stream: model.tokenizer.stream_after(prompt),
            filter: StopFilter::new(&options.stop, on_text),
        }
    }

    /// Takes the next token. Returns why the text ends with it, if it does.
    pub(super) fn push(&mut self, token: u32) -> Result<Option<StopReason>, Error> {
        if self.ends_at_end_token && self.model.decoder.config().end_tokens.contains(&token) {
            return Ok(Some(StopReason::EndToken));
        }
        let text = self.stream.push(token).map_err(Error::token(&self.model.path))?;
        Ok(self.filter.push(&text)?.then_some(StopReason::StopText))
    }

    /// Hands out what was held back. Returns the whole text, and why it ended if its tokens did
    /// not run out.
    pub(super) fn finish(
        mut self,
        ended: Option<StopReason>,
    ) -> Result<(String, Option<StopReason>), Error> {
        let mut ended = ended;
        if ended != Some(StopReason::StopText) {
            let rest = self.stream.finish().map_err(Error::token(&self.model.path))?;
            if self.filter.push(&rest)? {
                ended = Some(StopReason::StopText);
            }
        }
        Ok((self.filter.finish()?, ended))
    }
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
