//! One path of computation against another.

use crate::units::{self, Table};
use crate::{Checkpoint, Error, EvalText, LoadOptions, Progress, TextModel};
use apr_kernel::Kernels;
use apr_model::argmax;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;

/// Tokens that go through both.
const TOKENS: usize = 64;
/// Logits may differ by this share of the largest: what sums in another order do.
const TOLERANCE: f64 = 1e-3;

/// Which path to compare with the reference path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParityPath {
    /// That of an accelerator.
    Gpu,
    /// The kernels for this processor's vector instructions, with the portable ones.
    Cpu,
}

/// Paths of computation beside the reference.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Parity {
    /// Whether every path gives the reference's logits.
    #[serde(rename = "match")]
    pub matches: bool,
    /// Where the model was opened.
    pub model: String,
    /// The kernels of the reference path.
    pub reference: &'static str,
    /// Every other.
    pub paths: Vec<KernelParity>,
    /// The share of the largest logit by which others may differ.
    pub tolerance: f64,
    /// Tokens that went through each.
    pub tokens: usize,
}

/// A table of kernels beside the reference.
#[derive(Debug, Serialize, JsonSchema)]
pub struct KernelParity {
    /// Its name.
    pub kernels: &'static str,
    /// Whether its logits are the reference's.
    #[serde(rename = "match")]
    pub matches: bool,
    /// The largest difference of a logit; none if one is not finite.
    pub max_difference: Option<f64>,
    /// The same as a share of the reference's largest logit.
    pub relative_difference: Option<f64>,
    /// Share of tokens after which both have the same most likely token.
    pub same_top1: f64,
}

/// Runs the beginning of the text that comes with this crate on each path and compares all
/// logits.
///
/// # Errors
/// When the model cannot be run, or there is no accelerator and one is asked for.
pub fn parity(
    checkpoint: &Checkpoint,
    path: ParityPath,
    load: &LoadOptions,
    progress: &dyn Progress,
) -> Result<Parity, Error> {
    if path == ParityPath::Gpu {
        return Err(Error::NoAccelerator { path: checkpoint.path().to_path_buf() });
    }
    let mut tables = Kernels::available().into_iter().map(Kernels::name);
    let logits = |kernels: &str| {
        let options = LoadOptions { kernels: Some(kernels.to_owned()), ..load.clone() };
        logits(&TextModel::open(checkpoint, &options, progress)?)
    };
    let reference = tables.next().unwrap_or_default();
    let (expected, vocab, tokens) = logits(reference)?;
    let paths = tables.map(|kernels| {
        let (found, _, _) = logits(kernels)?;
        Ok(KernelParity::new(kernels, &found, &expected, vocab))
    });
    let paths = paths.collect::<Result<Vec<_>, Error>>()?;
    Ok(Parity {
        matches: paths.iter().all(|path| path.matches),
        model: checkpoint.path().display().to_string(),
        reference,
        paths,
        tolerance: TOLERANCE,
        tokens,
    })
}

/// The logits of every token, their number, and the number of tokens.
fn logits(model: &TextModel) -> Result<(Vec<f32>, usize, usize), Error> {
    let as_error = || Error::model(&model.path);
    let config = model.decoder.config();
    let text = EvalText::default().text;
    let mut tokens = model.tokenizer.encode(&text).map_err(Error::token(&model.path))?;
    tokens.truncate(TOKENS.min(config.max_positions));
    let mut cache = model.decoder.cache(tokens.len()).map_err(as_error())?;
    let hidden = model.decoder.forward(&mut cache, &tokens).map_err(as_error())?;
    let logits = model.decoder.logits(&hidden).map_err(as_error())?;
    Ok((logits, config.vocab_size, tokens.len()))
}

impl KernelParity {
    fn new(kernels: &'static str, found: &[f32], expected: &[f32], vocab: usize) -> Self {
        let largest = expected.iter().fold(0.0_f32, |max, logit| max.max(logit.abs()));
        let pairs = found.iter().zip(expected);
        // What is not a number is no match, whatever follows.
        let difference = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
        let max_difference =
            difference.fold(
                0.0,
                |max: f64, difference| {
                    if max.is_nan() || difference <= max { max } else { difference }
                },
            );
        let rows = || found.chunks(vocab).zip(expected.chunks(vocab));
        let same = rows().filter(|(a, b)| argmax(a) == argmax(b)).count();
        let relative_difference = max_difference / f64::from(largest);
        let finite = |difference: f64| Some(difference).filter(|found| found.is_finite());
        Self {
            kernels,
            matches: relative_difference <= TOLERANCE,
            max_difference: finite(max_difference),
            relative_difference: finite(relative_difference),
            same_top1: same as f64 / rows().count() as f64,
        }
    }
}

impl fmt::Display for Parity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let difference = |found: Option<f64>| found.map_or("not finite".to_owned(), units::error);
        let mut table =
            Table::new(&["kernels", "match", "largest difference", "of largest", "same top-1"])
                .right_align([2, 3, 4]);
        for path in &self.paths {
            table.row([
                path.kernels.to_owned(),
                if path.matches { "yes" } else { "no" }.to_owned(),
                difference(path.max_difference),
                difference(path.relative_difference),
                format!("{:.1} %", 100.0 * path.same_top1),
            ]);
        }
        table.fmt(f)?;
        let (tokens, reference) = (self.tokens, self.reference);
        writeln!(f, "logits of {tokens} tokens beside those of the {reference} kernels")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_number_is_no_match() {
        let expected = [1.0, 8.0, 2.0, 4.0];
        let of = |found: [f32; 4]| KernelParity::new("x", &found, &expected, 2);
        let same = of(expected);
        assert!(same.matches && same.max_difference == Some(0.0) && same.same_top1 == 1.0);
        assert!(of([1.0, 8.004, 2.0, 4.0]).matches);
        let swapped = of([1.0, 8.0, 4.0, 2.0]);
        assert!(!swapped.matches && swapped.same_top1 == 0.5);
        assert_eq!(swapped.relative_difference, Some(0.25));
        let broken = of([f32::NAN, 8.0, 2.0, 4.0]);
        assert!(!broken.matches && broken.max_difference.is_none());
    }
}
