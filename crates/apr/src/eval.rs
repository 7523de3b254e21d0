//! Perplexity of a text, and how far a model's distributions are from those of a reference.

mod divergence;
mod logits;
mod noise;
mod text;

use crate::{Error, Progress, Step, TextModel, units};
use apr_model::log_softmax_at;
pub use divergence::Divergence;
use divergence::{Position, table};
use logits::{Reader, Subject, Writer};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;
use std::path::Path;
pub use text::EvalText;

/// Positions whose logits are computed together: bounds memory at large vocabularies.
const POSITIONS_AT_ONCE: usize = 32;

/// How to evaluate.
#[derive(Clone, Copy)]
pub struct EvalOptions<'a> {
    /// Tokens per window. Every window is scored alone, from its second token on.
    pub window: usize,
    /// The perplexity that is still good.
    pub threshold: Option<f64>,
    /// What to compare with.
    pub reference: Option<Reference<'a>>,
    /// Where to write the logits of the model, to be a reference later.
    pub save_logits: Option<&'a Path>,
}

impl Default for EvalOptions<'_> {
    fn default() -> Self {
        Self { window: 256, threshold: None, reference: None, save_logits: None }
    }
}

/// What a model is compared with.
#[derive(Clone, Copy)]
pub enum Reference<'a> {
    /// Another model, with the same tokens.
    Model(&'a TextModel),
    /// Logits of one, as [`save_logits`](EvalOptions::save_logits) wrote them.
    Logits(&'a Path),
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
    /// Where the text comes from, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_source: Option<&'static str>,
    /// Tokens of the text.
    pub tokens: usize,
    /// Tokens that were scored.
    pub scored: usize,
    /// Tokens per window.
    pub window: usize,
    /// The perplexity that is still good, if one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Whether the perplexity is at most the threshold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passed: Option<bool>,
    /// The comparison with a reference, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<Comparison>,
}

/// A model beside a reference.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Comparison {
    /// The model or the file of logits.
    pub reference: String,
    /// exp of the reference's mean negative log-likelihood.
    pub reference_perplexity: f64,
    /// How far the model is from the reference.
    #[serde(flatten)]
    pub divergence: Divergence,
    /// How far the model is from itself when nothing but rounding changes: on the first window,
    /// the last bit of every value of its embeddings flipped, and, where the reference is a file,
    /// the logits rounded as there. What is not above this says nothing.
    pub noise_floor: Divergence,
    /// The divergence of every scored position, in order.
    #[serde(skip)]
    pub(crate) by_position: Vec<f64>,
}

/// Scores `text` in windows that do not see each other.
///
/// # Errors
/// When the text has fewer than two tokens, the window does not fit the model, the reference has
/// other tokens, or logits are not finite.
pub fn evaluate(
    model: &TextModel,
    text: &EvalText,
    options: &EvalOptions<'_>,
    progress: &dyn Progress,
) -> Result<Evaluation, Error> {
    let tokens = tokens(model, text, options.window)?;
    let vocab = model.decoder.config().vocab_size;
    let subject = Subject::new(vocab, options.window, &tokens);
    let mut reference = options.reference.map(|of| Beside::open(of, text, &tokens, subject));
    let mut reference = reference.take().transpose()?;
    let mut writer = options.save_logits.map(|path| Writer::create(path, subject)).transpose()?;
    let (mut nll, mut scored) = (0.0, 0);
    progress.begin(Step::Evaluate, units::size(tokens.len()));
    for window in tokens.chunks(options.window).filter(|window| window.len() >= 2) {
        let hidden = hidden(model, window)?;
        let mut beside =
            reference.as_mut().map(|reference| reference.window(window)).transpose()?;
        let of_reference = &mut beside;
        for_logits(model, &hidden, window, |found, targets| {
            nll -= targets
                .iter()
                .zip(found.chunks_exact(vocab))
                .map(|(target, logits)| log_softmax_at(logits, units::index(*target)))
                .sum::<f64>();
            if let Some(writer) = &mut writer {
                found.chunks_exact(vocab).try_for_each(|logits| writer.push(logits))?;
            }
            of_reference.as_mut().map_or(Ok(()), |beside| beside.compare(found, targets))
        })?;
        scored += window.len() - 1;
        progress.advance(units::size(window.len()));
    }
    progress.end();
    let mean_nll = finite(nll, &model.path)? / scored as f64;
    writer.map_or(Ok(()), Writer::finish)?;
    let noise = |beside: Beside<'_>| {
        let floor = noise::floor(model, &tokens[..tokens.len().min(options.window)], &beside)?;
        beside.finish(floor)
    };
    Ok(Evaluation {
        perplexity: mean_nll.exp(),
        mean_nll,
        text: text.name.clone(),
        text_source: text.source,
        tokens: tokens.len(),
        scored,
        window: options.window,
        threshold: options.threshold,
        passed: options.threshold.map(|threshold| mean_nll.exp() <= threshold),
        reference: reference.map(noise).transpose()?,
    })
}

/// The tokens of a text, at least two, all within the model's vocabulary.
fn tokens(model: &TextModel, text: &EvalText, window: usize) -> Result<Vec<u32>, Error> {
    if window < 2 {
        return Err(Error::Argument("a window needs at least 2 tokens".to_owned()));
    }
    let tokens = model.tokenizer.encode(&text.text).map_err(Error::token(&model.path))?;
    let vocab = model.decoder.config().vocab_size;
    if let Some(&token) = tokens.iter().find(|&&token| units::index(token) >= vocab) {
        let cause = format!("token {token} of the text is past the model's vocabulary of {vocab}");
        return Err(Error::Argument(cause));
    }
    if tokens.len() < 2 {
        let (name, count) = (&text.name, tokens.len());
        return Err(Error::Argument(format!("{name} has {count} tokens, at least 2 are needed")));
    }
    Ok(tokens)
}

/// A sum of likelihoods, which are finite if the logits are.
fn finite(nll: f64, path: &Path) -> Result<f64, Error> {
    let cause = || "its logits are not finite; `apr check` finds where".to_owned();
    let bad = || Error::BadPart { path: path.to_path_buf(), cause: cause() };
    Some(nll).filter(|nll| nll.is_finite()).ok_or_else(bad)
}

/// The hidden states of a window.
fn hidden(model: &TextModel, window: &[u32]) -> Result<Vec<f32>, Error> {
    let mut cache = model.decoder.cache(window.len()).map_err(Error::model(&model.path))?;
    model.decoder.forward(&mut cache, window).map_err(Error::model(&model.path))
}

/// Hands out the logits of some positions at a time, with the tokens that follow them.
fn for_logits(
    model: &TextModel,
    hidden: &[f32],
    window: &[u32],
    mut f: impl FnMut(&[f32], &[u32]) -> Result<(), Error>,
) -> Result<(), Error> {
    let hidden_size = model.decoder.config().hidden_size;
    let targets = window[1..].chunks(POSITIONS_AT_ONCE);
    for (hidden, targets) in hidden.chunks(POSITIONS_AT_ONCE * hidden_size).zip(targets) {
        let hidden = &hidden[..targets.len() * hidden_size];
        let logits = model.decoder.logits(hidden).map_err(Error::model(&model.path))?;
        f(&logits, targets)?;
    }
    Ok(())
}

/// A reference, and what its comparison has found so far.
struct Beside<'a> {
    name: String,
    source: Source<'a>,
    vocab: usize,
    nll: f64,
    positions: Vec<Position>,
}

enum Source<'a> {
    /// A model, and its hidden states of the current window that are left.
    Model(&'a TextModel, Vec<f32>),
    File(Reader),
}

impl<'a> Beside<'a> {
    fn open(
        reference: Reference<'a>,
        text: &EvalText,
        tokens: &[u32],
        subject: Subject,
    ) -> Result<Self, Error> {
        let (name, source) = match reference {
            Reference::Model(model) => {
                let vocab = model.decoder.config().vocab_size;
                let name = model.path.display().to_string();
                if vocab != subject.vocab {
                    let cause = format!("{name}: {vocab} tokens, the model has {}", subject.vocab);
                    return Err(Error::Argument(cause));
                }
                if self::tokens(model, text, subject.window)? != tokens {
                    let cause = format!("{name}: its tokenizer makes other tokens of the text");
                    return Err(Error::Argument(cause));
                }
                (name, Source::Model(model, Vec::new()))
            }
            Reference::Logits(path) => {
                (path.display().to_string(), Source::File(Reader::open(path, subject)?))
            }
        };
        Ok(Self { name, source, vocab: subject.vocab, nll: 0.0, positions: Vec::new() })
    }

    /// Begins a window.
    fn window(&mut self, window: &[u32]) -> Result<&mut Self, Error> {
        if let Source::Model(model, states) = &mut self.source {
            *states = hidden(model, window)?;
        }
        Ok(self)
    }

    /// Compares the logits of the next positions.
    fn compare(&mut self, found: &[f32], targets: &[u32]) -> Result<(), Error> {
        let expected = match &mut self.source {
            Source::Model(model, states) => {
                let elems = targets.len() * model.decoder.config().hidden_size;
                let rest = states.split_off(elems);
                let states = std::mem::replace(states, rest);
                model.decoder.logits(&states).map_err(Error::model(&model.path))?
            }
            Source::File(reader) => {
                let mut logits = Vec::with_capacity(found.len());
                targets.iter().try_for_each(|_| reader.next(&mut logits))?;
                logits
            }
        };
        let rows = expected.par_chunks_exact(self.vocab).zip(found.par_chunks_exact(self.vocab));
        let rows = rows.zip(targets).map(|((expected, found), target)| {
            let target = units::index(*target);
            (Position::of(expected, found, target), log_softmax_at(expected, target))
        });
        let (positions, likelihoods): (Vec<_>, Vec<f64>) = rows.unzip();
        self.positions.extend(positions);
        self.nll -= likelihoods.iter().sum::<f64>();
        Ok(())
    }

    fn finish(self, noise_floor: Divergence) -> Result<Comparison, Error> {
        let nll = finite(self.nll, Path::new(&self.name))?;
        Ok(Comparison {
            reference: self.name,
            reference_perplexity: (nll / self.positions.len() as f64).exp(),
            divergence: Divergence::of(&self.positions),
            noise_floor,
            by_position: self.positions.iter().map(|position| position.kl).collect(),
        })
    }
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "perplexity {:.4}", self.perplexity)?;
        match (self.threshold, self.passed) {
            (Some(threshold), Some(true)) => writeln!(f, ", at most {threshold}")?,
            (Some(threshold), _) => writeln!(f, ", above {threshold}")?,
            (None, _) => writeln!(f)?,
        }
        writeln!(
            f,
            "{}: {} tokens, {} scored in windows of {}, each alone from its second token",
            self.text, self.tokens, self.scored, self.window
        )?;
        if let Some(source) = self.text_source {
            writeln!(f, "({source})")?;
        }
        let Some(reference) = &self.reference else { return Ok(()) };
        writeln!(
            f,
            "\nbeside {}, perplexity {:.4}:",
            reference.reference, reference.reference_perplexity
        )?;
        let floor = ("noise floor", &reference.noise_floor);
        table(&[("model", &reference.divergence), floor]).fmt(f)
    }
}
