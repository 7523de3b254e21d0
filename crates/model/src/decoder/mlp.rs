//! The feed-forward block: plain, gated, or a mixture of gated experts.

use super::Decoder;
use super::scratch::{Inner, Scratch};
use crate::ops;
use crate::weights::{GatedMlp, Linear, MlpWeights};
use crate::{Experts, ModelError, Operation};

impl Decoder {
    /// From `input` to `output`.
    pub(super) fn mlp(
        &self,
        weights: &MlpWeights,
        scratch: &mut Scratch,
    ) -> Result<(), ModelError> {
        let Scratch { input, inner, output, .. } = scratch;
        match weights {
            MlpWeights::Gated(gated) => self.gated(gated, input, (inner, output)),
            MlpWeights::Plain { activation, up, down } => {
                let width = up.weight.layout().row_count();
                self.apply(Operation::MlpIn, up, input, &mut inner.gate)?;
                let timer = self.profile.time(Operation::Activation);
                self.for_each_row(&mut inner.gate, width, |_, row| {
                    ops::activate(self.kernels, *activation, row);
                });
                drop(timer);
                self.apply(Operation::MlpOut, down, &inner.gate, output)
            }
            MlpWeights::Experts { router, experts } => {
                self.mixture((router, experts), input, (inner, output))
            }
        }
    }

    /// down(act(gate(x)) · up(x)).
    fn gated(
        &self,
        weights: &GatedMlp,
        input: &[f32],
        (Inner { gate, up }, output): (&mut Inner, &mut Vec<f32>),
    ) -> Result<(), ModelError> {
        let width = weights.gate.weight.layout().row_count();
        let products = [(&weights.gate, &mut *gate), (&weights.up, &mut *up)];
        self.apply_all(Operation::MlpIn, products, input)?;
        let timer = self.profile.time(Operation::Activation);
        self.for_each_row(gate, width, |row, gate| {
            ops::activate(self.kernels, weights.activation, gate);
            ops::multiply(gate, &up[row * width..][..width]);
        });
        drop(timer);
        self.apply(Operation::MlpOut, &weights.down, gate, output)
    }

    /// The sum of the experts that the router picks for each token, by their weights. Each expert
    /// runs once, on all of its tokens.
    fn mixture(
        &self,
        (router, experts): (&Linear, &[GatedMlp]),
        input: &[f32],
        (inner, out): (&mut Inner, &mut Vec<f32>),
    ) -> Result<(), ModelError> {
        let hidden = self.config.hidden_size;
        let mut shares = Vec::new();
        self.apply(Operation::Router, router, input, &mut shares)?;
        if let Some(rule) = self.config.experts {
            self.for_each_row(&mut shares, rule.count, |_, row| keep_largest(row, rule));
        }
        out.clear();
        out.resize(input.len(), 0.0);
        let (mut rows, mut output) = (Vec::new(), Vec::new());
        for (at, expert) in experts.iter().enumerate() {
            let of_expert = shares.iter().skip(at).step_by(experts.len()).enumerate();
            let chosen: Vec<(usize, f32)> =
                of_expert.map(|(token, share)| (token, *share)).filter(|(_, s)| *s > 0.0).collect();
            if chosen.is_empty() {
                continue;
            }
            rows.clear();
            for (token, _) in &chosen {
                rows.extend_from_slice(&input[token * hidden..][..hidden]);
            }
            self.gated(expert, &rows, (inner, &mut output))?;
            for ((token, share), row) in chosen.iter().zip(output.chunks_exact(hidden)) {
                self.kernels.add_scaled(*share, row, &mut out[token * hidden..][..hidden]);
            }
        }
        Ok(())
    }
}

/// Scores of the experts become the shares of those with the largest; the others' become zero.
fn keep_largest(scores: &mut [f32], rule: Experts) {
    ops::softmax(scores);
    let chosen = ops::largest(scores, rule.used);
    let sum: f32 = chosen.iter().map(|&expert| scores[expert]).sum();
    let divisor = if rule.renormalise { sum } else { 1.0 };
    let mut shares = vec![0.0; scores.len()];
    for expert in chosen {
        shares[expert] = scores[expert] / divisor;
    }
    scores.copy_from_slice(&shares);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_scores_share_the_output() {
        let rule = Experts { count: 4, used: 2, size: 8, renormalise: true };
        let mut scores = [0.0, 2.0_f32.ln(), f32::NEG_INFINITY, 2.0_f32.ln()];
        keep_largest(&mut scores, rule);
        assert_eq!(scores, [0.0, 0.5, 0.0, 0.5]);
        let mut scores = [0.0, 2.0_f32.ln(), f32::NEG_INFINITY, 2.0_f32.ln()];
        keep_largest(&mut scores, Experts { renormalise: false, used: 1, ..rule });
        assert!((scores[1] - 0.4).abs() < 1e-6);
        assert_eq!([scores[0], scores[2], scores[3]], [0.0; 3]);
    }
}
