//! How far the distributions of a model are from those of a reference.

use crate::units;
use apr_model::{argmax, log_softmax_at};
use schemars::JsonSchema;
use serde::Serialize;

/// How far a model's distributions of the next token are from those of a reference, over the
/// positions of a text. Divergences are those of Kullback and Leibler, Σ p · ln(p / q) with p of
/// the reference and q of the model, in nats, computed in double precision.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Divergence {
    /// Mean over the positions.
    pub mean_kl: f64,
    /// The middle one.
    pub median_kl: f64,
    /// The 99th percentile, between ranks by linear interpolation.
    pub p99_kl: f64,
    /// The largest.
    pub max_kl: f64,
    /// Share of positions at which both have the same most likely token.
    pub same_top1: f64,
    /// Root of the mean square of the change of the right token's probability.
    pub rms_p_change: f64,
    /// Number of positions.
    pub positions: usize,
}

/// What one position tells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    pub(super) kl: f64,
    pub(super) same_top1: bool,
    pub(super) p_change: f64,
}

impl Position {
    /// From the logits of both, and the token that follows.
    pub(super) fn of(reference: &[f32], model: &[f32], target: usize) -> Self {
        let (log_p, log_q) = (log_softmax_at(reference, target), log_softmax_at(model, target));
        // ln p of any token is its logit and a constant, which the target tells.
        let p_shift = log_p - f64::from(reference[target]);
        let q_shift = log_q - f64::from(model[target]);
        let terms = reference.iter().zip(model).map(|(&p, &q)| {
            let (log_p, log_q) = (f64::from(p) + p_shift, f64::from(q) + q_shift);
            log_p.exp() * (log_p - log_q)
        });
        let kl: f64 = terms.sum();
        Self {
            // Not negative but for rounding; what is not a number stays so.
            kl: if kl < 0.0 { 0.0 } else { kl },
            same_top1: argmax(reference) == argmax(model),
            p_change: log_q.exp() - log_p.exp(),
        }
    }
}

impl Divergence {
    pub(super) fn of(positions: &[Position]) -> Self {
        let count = positions.len() as f64;
        let mean = |f: fn(&Position) -> f64| positions.iter().map(f).sum::<f64>() / count;
        let mut sorted: Vec<f64> = positions.iter().map(|position| position.kl).collect();
        sorted.sort_by(f64::total_cmp);
        Self {
            mean_kl: mean(|position| position.kl),
            median_kl: percentile(&sorted, 50),
            p99_kl: percentile(&sorted, 99),
            max_kl: percentile(&sorted, 100),
            same_top1: mean(|position| f64::from(u8::from(position.same_top1))),
            rms_p_change: mean(|position| position.p_change.powi(2)).sqrt(),
            positions: positions.len(),
        }
    }
}

/// Of sorted values.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let hundredths = sorted.len().saturating_sub(1) * percent;
    let (below, rest) = (hundredths / 100, hundredths % 100);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    match rest {
        0 => at(below),
        _ => at(below) + (at(below + 1) - at(below)) * rest as f64 / 100.0,
    }
}

/// Divergences under each other.
pub(super) fn table(rows: &[(&str, &Divergence)]) -> units::Table {
    let header = ["", "mean KL", "median", "99 %", "max", "same top-1", "RMS Δp", "positions"];
    let mut table = units::Table::new(&header).right_align(1..header.len());
    for (name, divergence) in rows {
        let errors =
            [divergence.mean_kl, divergence.median_kl, divergence.p99_kl, divergence.max_kl];
        let row = [(*name).to_owned()].into_iter().chain(errors.map(units::error)).chain([
            format!("{:.2} %", 100.0 * divergence.same_top1),
            units::error(divergence.rms_p_change),
            divergence.positions.to_string(),
        ]);
        table.row(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_tokens_have_the_divergence_of_the_formula() {
        // p = (1/2, 1/2), q = (1/4, 3/4).
        let position = Position::of(&[0.0, 0.0], &[0.0, 3.0_f32.ln()], 1);
        let expected = 0.5 * (2.0_f64.ln() + (0.5_f64 / 0.75).ln());
        assert!((position.kl - expected).abs() < 1e-7, "{}", position.kl);
        assert!((position.p_change - 0.25).abs() < 1e-7);
        assert!(!position.same_top1);
    }

    /// As `numpy.percentile` has them.
    #[test]
    fn percentiles_lie_between_ranks() {
        let sorted = [1.0, 2.0, 4.0, 8.0];
        assert_eq!([50, 99, 100].map(|percent| percentile(&sorted, percent)), [3.0, 7.88, 8.0]);
        assert_eq!(percentile(&[5.0], 99), 5.0);
    }
}
