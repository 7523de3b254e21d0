//! The stages, each judged by what it computed.

use super::SAMPLE_TEXT;
use crate::trace::TracedOperation;
use crate::validate::Check;
use crate::{Error, TextModel, units};
use apr_model::{PlacedTensor, Point, Sampler, Sampling, argmax};

/// Root mean squares beyond these are no activations of a trained model. The largest known are
/// some thousands, in single elements of the residual stream.
const SIZES: std::ops::Range<f64> = 1e-9..1e6;
/// How much the length of a rotated vector may change by rounding.
const ROUNDING: f64 = 1e-3;

/// What went through a model.
pub(super) struct Stages<'a> {
    seen: Vec<(Option<usize>, Point, TracedOperation)>,
    /// Layers in which attention hands on more than the largest value that it saw.
    escaped: Vec<usize>,
    logits: Vec<f32>,
    vocab: usize,
    tensors: &'a [PlacedTensor],
}

/// Whether the text comes back from its tokens, and these.
pub(super) fn tokenizer(model: &TextModel) -> (Check, Vec<u32>) {
    let vocab = model.decoder.config().vocab_size;
    let tokens = model.tokenizer.encode(SAMPLE_TEXT);
    let result = tokens.and_then(|tokens| Ok((model.tokenizer.decode(&tokens)?, tokens)));
    let judged = match result {
        Err(error) => Err(error.to_string()),
        Ok((_, tokens)) if tokens.is_empty() => Err("makes no tokens of a text".to_owned()),
        Ok((_, tokens)) if tokens.iter().any(|&token| units::index(token) >= vocab) => {
            Err(format!("makes tokens past the vocabulary of {vocab}"))
        }
        Ok((text, _)) if text.trim() != SAMPLE_TEXT => {
            Err(format!("{SAMPLE_TEXT:?} became {text:?}"))
        }
        Ok((_, tokens)) => Ok(tokens),
    };
    match judged {
        Ok(tokens) => {
            let message = format!("{} tokens, and back to the text", tokens.len());
            (Check::new("tokenizer", Ok(message)), tokens)
        }
        // What follows can be judged with any tokens.
        Err(cause) => (Check::new("tokenizer", Err(cause)), vec![0; 8]),
    }
}

impl<'a> Stages<'a> {
    pub(super) fn run(
        model: &TextModel,
        tokens: &[u32],
        tensors: &'a [PlacedTensor],
    ) -> Result<Self, Error> {
        let as_error = || Error::model(&model.path);
        let (mut seen, mut escaped, mut values) = (Vec::new(), Vec::new(), 0.0);
        let mut cache = model.decoder.cache(tokens.len()).map_err(as_error())?;
        let observe = &mut |layer: Option<usize>, point: Point, rows: &mut [f32]| {
            let operation = TracedOperation::of(point.name(), rows);
            match (point, layer) {
                (Point::Value, _) => values = operation.max_abs,
                (Point::Attended, Some(layer)) if operation.max_abs > values * (1.0 + ROUNDING) => {
                    escaped.push(layer)
                }
                _ => {}
            }
            seen.push((layer, point, operation));
        };
        let hidden = model.decoder.forward_observed(&mut cache, tokens, observe);
        let logits = model.decoder.logits(&hidden.map_err(as_error())?).map_err(as_error())?;
        let vocab = model.decoder.config().vocab_size;
        Ok(Self { seen, escaped, logits, vocab, tensors })
    }

    pub(super) fn embedding(&self) -> Check {
        Check::new("embedding", self.sizes(&[Point::Embedding]))
    }

    /// The same token at several positions: it must not be the same everywhere.
    pub(super) fn positions(&self, model: &TextModel, token: u32) -> Result<Check, Error> {
        let as_error = || Error::model(&model.path);
        let tokens = [token; 3];
        let mut cache = model.decoder.cache(tokens.len()).map_err(as_error())?;
        let mut rows_of = std::collections::BTreeMap::new();
        let observe = &mut |layer: Option<usize>, point: Point, rows: &mut [f32]| {
            if layer.unwrap_or_default() == 0 {
                rows_of.insert(point, rows.to_vec());
            }
        };
        model.decoder.forward_observed(&mut cache, &tokens, observe).map_err(as_error())?;
        let rows = |point| rows_of.get(&point).map_or(&[][..], Vec::as_slice);
        let config = model.decoder.config();
        let is_rotary = rows_of.contains_key(&Point::RotatedKey);
        let placed = if is_rotary { Point::RotatedKey } else { Point::Embedding };
        let row_len = (rows(placed).len() / tokens.len()).max(1);
        let mut places = rows(placed).chunks(row_len);
        let first = places.next().unwrap_or_default();
        let result = if places.any(|row| row == first) {
            Err("a token is the same at every position".to_owned())
        } else if is_rotary {
            let before = rows_of.get(&Point::KeyNorm).map_or(rows(Point::Key), Vec::as_slice);
            let amplitude = config.rope.as_ref().map_or(1.0, apr_model::RopeConfig::amplitude);
            rotation(before, rows(placed), f64::from(amplitude))
        } else {
            Ok("every position has its own row".to_owned())
        };
        let finite = self.sizes(&[Point::RotatedQuery, Point::RotatedKey]);
        let finite = if is_rotary { finite.map(drop) } else { Ok(()) };
        Ok(Check::new("positions", finite.and(result)))
    }

    pub(super) fn norms(&self) -> Check {
        let norms = [
            Point::AttentionNorm,
            Point::QueryNorm,
            Point::KeyNorm,
            Point::PostAttentionNorm,
            Point::MlpNorm,
            Point::PostMlpNorm,
            Point::FinalNorm,
        ];
        Check::new("norms", self.sizes(&norms))
    }

    pub(super) fn projections(&self) -> Check {
        Check::new("qkv", self.sizes(&[Point::Query, Point::Key, Point::Value]))
    }

    pub(super) fn attention(&self) -> Check {
        let sizes = self.sizes(&[Point::Attended, Point::AttentionOutput]);
        let result = match self.escaped.first() {
            Some(layer) if sizes.is_ok() => {
                Err(format!("layer {layer} hands on more than the largest value that it saw"))
            }
            Some(_) | None => sizes,
        };
        Check::new("attention", result)
    }

    pub(super) fn mlp(&self) -> Check {
        let points =
            [Point::Router, Point::MlpGate, Point::MlpUp, Point::MlpInner, Point::MlpOutput];
        Check::new("mlp", self.sizes(&points))
    }

    pub(super) fn residual(&self) -> Check {
        Check::new("residual", self.sizes(&[Point::AttentionSum, Point::LayerOutput]))
    }

    pub(super) fn head(&self) -> Check {
        let all = TracedOperation::of("logits", &self.logits);
        let constant =
            self.logits.chunks(self.vocab).position(|row| row.iter().all(|x| *x == row[0]));
        Check::new(
            "head",
            if all.not_finite > 0 {
                Err(format!("{} of {} logits are not finite", all.not_finite, self.logits.len()))
            } else if let Some(row) = constant {
                Err(format!("at token {row} every logit is the same"))
            } else {
                Ok(format!("{} logits a token, up to {:.1}", self.vocab, all.max_abs))
            },
        )
    }

    pub(super) fn sampling(&self) -> Check {
        let last = self.logits.chunks(self.vocab).next_back().unwrap_or_default();
        let draw = |temperature| {
            let settings = Sampling { temperature, ..Sampling::default() };
            units::index(Sampler::new(settings).next(last, &[]))
        };
        let (greedy, drawn, again) = (draw(0.0), draw(1.0), draw(1.0));
        let likely = last.get(greedy).copied().unwrap_or(f32::NAN);
        Check::new(
            "sampling",
            if greedy != argmax(last) || !last.iter().all(|logit| *logit <= likely) {
                Err(format!("greedy choice took token {greedy}, which is not the most likely"))
            } else if drawn != again || drawn >= self.vocab {
                Err(format!("one seed drew tokens {drawn} and {again}"))
            } else {
                Ok(format!("greedy choice is token {greedy}; a seed draws the same token again"))
            },
        )
    }

    /// How large the values at these points are, or which of them are no values.
    fn sizes(&self, points: &[Point]) -> Result<String, String> {
        let here = || self.seen.iter().filter(|(_, point, _)| points.contains(point));
        let wrong = here().find_map(|(layer, point, operation)| {
            let cause = if operation.not_finite > 0 {
                format!("{} values are not finite", operation.not_finite)
            } else if !SIZES.contains(&operation.rms) {
                format!("the root mean square is {}", units::error(operation.rms))
            } else {
                return None;
            };
            Some(self.name(*layer, *point) + &cause)
        });
        let rms = || here().map(|(_, _, operation)| operation.rms);
        let (least, most) = (rms().fold(f64::INFINITY, f64::min), rms().fold(0.0, f64::max));
        wrong.map_or_else(
            || {
                let count = here().count();
                let (least, most) = (units::error(least), units::error(most));
                Ok(format!("{count} finite, root mean squares from {least} to {most}"))
            },
            Err,
        )
    }

    /// `layer 3, mlp_output (model.layers.3.mlp.down_proj.weight): `
    fn name(&self, layer: Option<usize>, point: Point) -> String {
        let parts = point.parts();
        let used = self
            .tensors
            .iter()
            .filter(|tensor| tensor.layer == layer && parts.contains(&tensor.role.part));
        let used: Vec<&str> = used.map(PlacedTensor::source).collect();
        let of = if used.is_empty() { String::new() } else { format!(" ({})", used.join(", ")) };
        let layer = layer.map(|layer| format!("layer {layer}, ")).unwrap_or_default();
        format!("{layer}{}{of}: ", point.name())
    }
}

/// Whether lengths are kept, but for the amplitude on what is rotated.
fn rotation(before: &[f32], after: &[f32], amplitude: f64) -> Result<String, String> {
    let length = |values: &[f32]| TracedOperation::of("", values).rms;
    let ratio = length(after) / length(before);
    let (least, most) = (amplitude.min(1.0) - ROUNDING, amplitude.max(1.0) + ROUNDING);
    if (least..=most).contains(&ratio) {
        return Ok("rotated by position, lengths are kept".to_owned());
    }
    Err(format!("rotated keys are {ratio:.4} times as long as before"))
}
