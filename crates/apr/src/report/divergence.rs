//! How far a model's distributions are from those of its source, position by position.

use super::ReportOptions;
use super::data::{KlRange, ReportedDivergence};
use crate::{Checkpoint, Error, EvalOptions, EvalText, Progress, Reference, TextModel, evaluate};

/// Ranges that a chart along the text has at most.
const MOST_ALONG: usize = 480;
/// Ranges that a chart along the window has at most.
const MOST_IN_WINDOW: usize = 240;

/// Runs both models over the text.
///
/// # Errors
/// As for [`evaluate`], and when one of them cannot be loaded.
pub(super) fn divergence(
    (checkpoint, against): (&Checkpoint, &Checkpoint),
    text: &EvalText,
    options: &ReportOptions<'_>,
    progress: &dyn Progress,
) -> Result<ReportedDivergence, Error> {
    let model = TextModel::open(checkpoint, &options.load, progress)?;
    let reference = TextModel::open(against, &options.load, progress)?;
    let usual = EvalOptions { reference: Some(Reference::Model(&reference)), ..Default::default() };
    let fitting = usual.window.min(model.decoder.config().max_positions);
    let how = EvalOptions { window: options.window.unwrap_or(fitting), ..usual };
    let evaluation = evaluate(&model, text, &how, progress)?;
    let missing = || Error::Argument("the evaluation made no comparison".to_owned());
    let comparison = evaluation.reference.ok_or_else(missing)?;
    let per_window = evaluation.window.saturating_sub(1).max(1);
    let kl = &comparison.by_position;
    Ok(ReportedDivergence {
        text: evaluation.text,
        text_source: evaluation.text_source,
        tokens: evaluation.tokens,
        scored: evaluation.scored,
        window: evaluation.window,
        perplexity: evaluation.perplexity,
        reference_perplexity: comparison.reference_perplexity,
        divergence: comparison.divergence,
        noise_floor: comparison.noise_floor,
        along_text: along_text(kl, per_window),
        in_window: in_window(kl, per_window),
    })
}

/// The first token of every window is not scored.
fn along_text(kl: &[f64], per_window: usize) -> Vec<KlRange> {
    let token = |scored: usize| scored / per_window + scored + 1;
    let width = kl.len().div_ceil(MOST_ALONG).max(1);
    let ranges = kl.chunks(width).enumerate().filter_map(|(at, part)| {
        let first = at * width;
        range((token(first), token(first + part.len() - 1)), part.iter().copied())
    });
    ranges.collect()
}

/// Over all windows, of which the last may be shorter.
fn in_window(kl: &[f64], per_window: usize) -> Vec<KlRange> {
    let width = per_window.min(kl.len()).div_ceil(MOST_IN_WINDOW).max(1);
    let ranges = (0..per_window.min(kl.len())).step_by(width).filter_map(|first| {
        let end = (first + width).min(per_window).min(kl.len());
        let of_window = |window: &'_ [f64]| -> Vec<f64> {
            window.get(first..end.min(window.len())).unwrap_or_default().to_vec()
        };
        range((first + 1, end), kl.chunks(per_window).flat_map(of_window))
    });
    ranges.collect()
}

fn range((first, last): (usize, usize), values: impl Iterator<Item = f64>) -> Option<KlRange> {
    let (mut count, mut sum, mut max_kl) = (0_u32, 0.0, 0.0_f64);
    for value in values {
        count += 1;
        sum += value;
        max_kl = max_kl.max(value);
    }
    (count > 0).then(|| KlRange { first, last, mean_kl: sum / f64::from(count), max_kl })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_tokens_of_the_text_and_places_in_windows() {
        // Windows of 4 tokens, the last of 3: tokens 1, 2, 3, 5, 6, 7, 9, 10 are scored.
        let kl = [1.0, 2.0, 3.0, 5.0, 6.0, 7.0, 9.0, 10.0];
        let along = along_text(&kl, 3);
        let tokens: Vec<usize> = along.iter().map(|range| range.first).collect();
        assert_eq!(tokens, [1, 2, 3, 5, 6, 7, 9, 10]);
        assert!(along.iter().all(|range| range.first == range.last));
        let places = in_window(&kl, 3);
        let means: Vec<f64> = places.iter().map(|range| range.mean_kl).collect();
        assert_eq!(means, [5.0, 6.0, 5.0]);
        assert_eq!(places.iter().map(|range| range.max_kl).fold(0.0, f64::max), 10.0);
        assert_eq!((places[2].first, places[2].last), (3, 3));
    }

    #[test]
    fn long_texts_are_summed_up() {
        let kl: Vec<f64> = (0..10_000_u32).map(f64::from).collect();
        let along = along_text(&kl, 255);
        assert!(along.len() <= MOST_ALONG, "{}", along.len());
        assert_eq!(along.last().map(|range| range.max_kl), Some(9999.0));
        let width = (along[0].last - along[0].first + 1) as f64;
        assert_eq!(along[0].mean_kl, (width - 1.0) / 2.0);
        let places = in_window(&kl, 999);
        assert!(places.len() <= MOST_IN_WINDOW, "{}", places.len());
        assert_eq!((places[0].first, places.last().map(|range| range.last)), (1, Some(999)));
    }
}
