//! Perplexity of a text.

use crate::{Error, Progress, Step, TextModel, units};
use apr_model::log_softmax_at;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;

/// Positions whose logits are computed together: bounds memory at large vocabularies.
const POSITIONS_AT_ONCE: usize = 32;

/// How to evaluate.
#[derive(Debug, Clone, Copy)]
pub struct EvalOptions {
    /// Tokens per window. Every window is scored alone, from its second token on.
    pub window: usize,
}

/// The score of a text.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evaluation {
    /// exp of the mean negative log-likelihood.
    pub perplexity: f64,
    /// Mean negative log-likelihood of a scored token, in nats.
    pub mean_nll: f64,
    /// Name of the text.
    pub text: String,
    /// Tokens of the text.
    pub tokens: usize,
    /// Tokens that were scored.
    pub scored: usize,
    /// Tokens per window.
    pub window: usize,
}

/// Scores `text` in windows that do not see each other.
///
/// # Errors
/// When the text has fewer than two tokens, or the window does not fit the model.
pub fn evaluate(
    model: &TextModel,
    (name, text): (&str, &str),
    options: EvalOptions,
    progress: &dyn Progress,
) -> Result<Evaluation, Error> {
    let window = options.window;
    if window < 2 {
        return Err(Error::Argument("a window needs at least 2 tokens".to_owned()));
    }
    let tokens = model.tokenizer.encode(text).map_err(Error::token(&model.path))?;
    let vocab = model.decoder.config().vocab_size;
    if let Some(&token) = tokens.iter().find(|&&token| units::index(token) >= vocab) {
        let cause = format!("token {token} of the text is past the model's vocabulary of {vocab}");
        return Err(Error::Argument(cause));
    }
    let (mut nll, mut scored) = (0.0, 0);
    progress.begin(Step::Evaluate, units::size(tokens.len()));
    for window in tokens.chunks(window).filter(|window| window.len() >= 2) {
        nll += window_nll(model, window)?;
        scored += window.len() - 1;
        progress.advance(units::size(window.len()));
    }
    progress.end();
    if scored == 0 {
        return Err(Error::Argument(format!(
            "{name} has {} tokens, at least 2 are needed",
            tokens.len()
        )));
    }
    let mean_nll = nll / scored as f64;
    Ok(Evaluation {
        perplexity: mean_nll.exp(),
        mean_nll,
        text: name.to_owned(),
        tokens: tokens.len(),
        scored,
        window,
    })
}

fn window_nll(model: &TextModel, window: &[u32]) -> Result<f64, Error> {
    let decoder = &model.decoder;
    let (hidden_size, vocab) = (decoder.config().hidden_size, decoder.config().vocab_size);
    let as_error = || Error::model(&model.path);
    let mut cache = decoder.cache(window.len()).map_err(as_error())?;
    let hidden = decoder.forward(&mut cache, window).map_err(as_error())?;
    let mut nll = 0.0;
    let targets = window[1..].chunks(POSITIONS_AT_ONCE);
    for (hidden, targets) in hidden.chunks(POSITIONS_AT_ONCE * hidden_size).zip(targets) {
        let hidden = &hidden[..targets.len() * hidden_size];
        let logits = decoder.logits(hidden).map_err(as_error())?;
        for (logits, &target) in logits.chunks_exact(vocab).zip(targets) {
            nll -= log_softmax_at(logits, units::index(target));
        }
    }
    Ok(nll)
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "perplexity {:.4}", self.perplexity)?;
        writeln!(
            f,
            "{}: {} tokens, {} scored in windows of {}, each alone from its second token",
            self.text, self.tokens, self.scored, self.window
        )
    }
}
