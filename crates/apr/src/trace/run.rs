//! One pass of a prompt through a model, and what each operation computed.

use super::report::TracedOperation;
use crate::{Error, TextModel};
use apr_model::{Part, Point};

/// What a pass does beside computing.
pub(super) enum Pass<'a> {
    /// Nothing.
    Alone,
    /// Every operation is compared with that of another run.
    Beside(&'a Run),
    /// The same, and the other's values go on: every operation has the inputs of the other, so
    /// that what it departs by is its own doing.
    Corrected(&'a Run),
}

/// What every operation computed, in order.
#[derive(Default)]
pub(super) struct Run {
    pub(super) computed: Vec<Computed>,
}

/// What an operation computed.
pub(super) struct Computed {
    pub(super) layer: Option<usize>,
    pub(super) operation: TracedOperation,
    /// The values, where other runs are compared with this one.
    rows: Vec<f32>,
}

impl Run {
    /// Runs `tokens` from an empty cache.
    pub(super) fn of(model: &TextModel, tokens: &[u32], pass: &Pass<'_>) -> Result<Self, Error> {
        let as_error = || Error::model(&model.path);
        let mut run = Self::default();
        let mut cache = model.decoder.cache(tokens.len()).map_err(as_error())?;
        let observe = &mut |layer, point: Point, rows: &mut [f32]| {
            run.add((layer, point.name()), rows, tokens.len(), pass);
        };
        let hidden = model.decoder.forward_observed(&mut cache, tokens, observe);
        let mut logits = model.decoder.logits(&hidden.map_err(as_error())?).map_err(as_error())?;
        run.add((None, LOGITS), &mut logits, tokens.len(), pass);
        Ok(run)
    }

    fn add(
        &mut self,
        (layer, name): (Option<usize>, &'static str),
        rows: &mut [f32],
        count: usize,
        pass: &Pass<'_>,
    ) {
        let mut operation = TracedOperation::of(name, rows);
        let at = self.computed.len();
        let kept = match pass {
            Pass::Alone => rows.to_vec(),
            Pass::Beside(other) | Pass::Corrected(other) => {
                // One architecture computes one sequence of operations.
                let expected = other.computed.get(at).map_or(&[][..], |computed| &computed.rows);
                operation.error = Some(relative_error(rows, expected, count));
                if matches!(pass, Pass::Corrected(_)) && expected.len() == rows.len() {
                    rows.copy_from_slice(expected);
                }
                Vec::new()
            }
        };
        self.computed.push(Computed { layer, operation, rows: kept });
    }
}

/// The name of the operation that no observer sees.
pub(super) const LOGITS: &str = "logits";

/// The operation that a part's parameters take part in.
pub(super) fn operation_of(part: Part) -> &'static str {
    let points = [
        Point::Embedding,
        Point::AttentionNorm,
        Point::Query,
        Point::Key,
        Point::Value,
        Point::QueryNorm,
        Point::KeyNorm,
        Point::AttentionOutput,
        Point::PostAttentionNorm,
        Point::MlpNorm,
        Point::Router,
        Point::MlpGate,
        Point::MlpUp,
        Point::MlpOutput,
        Point::PostMlpNorm,
        Point::FinalNorm,
    ];
    points.iter().find(|point| point.parts().contains(&part)).map_or(LOGITS, |point| point.name())
}

/// The root of the mean over rows of |found − expected|² / |expected|²; infinite where something
/// is not finite or was to be zero.
fn relative_error(found: &[f32], expected: &[f32], rows: usize) -> f64 {
    if found.len() != expected.len() {
        return f64::INFINITY;
    }
    let len = (found.len() / rows.max(1)).max(1);
    let of_row = |(found, expected): (&[f32], &[f32])| {
        let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
        let pairs = found.iter().zip(expected).map(|(a, b)| f64::from(*a) - f64::from(*b));
        let error = squares(&mut { pairs });
        if error == 0.0 {
            return 0.0;
        }
        error / squares(&mut expected.iter().map(|x| f64::from(*x)))
    };
    let sum: f64 = found.chunks(len).zip(expected.chunks(len)).map(of_row).sum();
    let error = (sum / rows.max(1) as f64).sqrt();
    if error.is_nan() { f64::INFINITY } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_shares_of_the_rows_they_are_in() {
        let expected = [3.0, 4.0, 300.0, 400.0];
        assert_eq!(relative_error(&expected, &expected, 2), 0.0);
        // A fifth of the first row: 0.2² over two rows.
        let found = relative_error(&[3.0, 5.0, 300.0, 400.0], &expected, 2);
        assert!((found - 0.2 / 2.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(relative_error(&[f32::NAN, 4.0, 300.0, 400.0], &expected, 2), f64::INFINITY);
        assert_eq!(relative_error(&[1.0], &[0.0], 1), f64::INFINITY);
        assert_eq!(relative_error(&[1.0], &[], 1), f64::INFINITY);
    }

    #[test]
    fn every_part_has_its_operation() {
        assert_eq!(operation_of(Part::QueryKeyValue), "query");
        assert_eq!(operation_of(Part::ExpertDown), "mlp_output");
        assert_eq!(operation_of(Part::Head), "logits");
    }
}
