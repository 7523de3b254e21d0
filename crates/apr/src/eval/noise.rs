//! How far a model is from itself when nothing but rounding changes.

use super::divergence::{Divergence, Position};
use super::logits::rounded;
use super::{Beside, Source, for_logits, hidden};
use crate::{Error, TextModel, units};
use apr_model::Point;

/// The model on `window` against itself with the last bit of every value of its embeddings
/// flipped: a change that no stored weight can express, so that what becomes of it on the way to
/// the logits is rounding alone. Where the reference is a file, its rounding is added.
pub(super) fn floor(
    model: &TextModel,
    window: &[u32],
    reference: &Beside<'_>,
) -> Result<Divergence, Error> {
    let vocab = model.decoder.config().vocab_size;
    let mut flipped = flipped(model, window)?;
    let is_file = matches!(reference.source, Source::File(_));
    let mut positions = Vec::new();
    for_logits(model, &hidden(model, window)?, window, |expected, targets| {
        let rest = flipped.split_off(targets.len() * model.decoder.config().hidden_size);
        let found = model.decoder.logits(&flipped).map_err(Error::model(&model.path))?;
        flipped = rest;
        let rows = expected.chunks_exact(vocab).zip(found.chunks_exact(vocab)).zip(targets);
        positions.extend(rows.map(|((expected, found), target)| {
            let target = units::index(*target);
            if is_file {
                Position::of(&rounded(expected), found, target)
            } else {
                Position::of(expected, found, target)
            }
        }));
        Ok(())
    })?;
    Ok(Divergence::of(&positions))
}

/// The hidden states of a window whose embeddings have their last bits flipped.
fn flipped(model: &TextModel, window: &[u32]) -> Result<Vec<f32>, Error> {
    let mut cache = model.decoder.cache(window.len()).map_err(Error::model(&model.path))?;
    let flip = &mut |_, point: Point, rows: &mut [f32]| {
        if point == Point::Embedding {
            rows.iter_mut().for_each(|value| *value = f32::from_bits(value.to_bits() ^ 1));
        }
    };
    let hidden = model.decoder.forward_observed(&mut cache, window, flip);
    hidden.map_err(Error::model(&model.path))
}
