//! The feed-forward block: plain, gated, or a mixture of gated experts.

use super::Decoder;
use crate::arch::Activation;
use crate::ops;
use crate::weights::{GateUp, GatedMlp, Linear, MlpWeights};
use crate::{Experts, ModelError};

impl Decoder {
    pub(super) fn mlp(&self, weights: &MlpWeights, input: &[f32]) -> Result<Vec<f32>, ModelError> {
        match weights {
            MlpWeights::Gated(gated) => self.gated(gated, input),
            MlpWeights::Plain { activation, up, down } => {
                let mut inner = self.apply(up, input)?;
                self.activate(*activation, &mut inner, up.weight.layout().row_count());
                self.apply(down, &inner)
            }
            MlpWeights::Experts { router, experts } => self.mixture(router, experts, input),
        }
    }

    /// down(act(gate(x)) · up(x)).
    fn gated(&self, weights: &GatedMlp, input: &[f32]) -> Result<Vec<f32>, ModelError> {
        let width = weights.down.weight.layout().row_elems();
        let (mut gate, up) = match &weights.gate_up {
            GateUp::Split { gate, up } => (self.apply(gate, input)?, self.apply(up, input)?),
            GateUp::Fused(both) => {
                let (mut gate, mut up) = (Vec::new(), Vec::new());
                for row in self.apply(both, input)?.chunks_exact(2 * width) {
                    gate.extend_from_slice(&row[..width]);
                    up.extend_from_slice(&row[width..]);
                }
                (gate, up)
            }
        };
        self.activate(weights.activation, &mut gate, width);
        ops::multiply(&mut gate, &up);
        self.apply(&weights.down, &gate)
    }

    /// The sum of the experts that the router picks for each token, by their weights. Each expert
    /// runs once, on all of its tokens.
    fn mixture(
        &self,
        router: &Linear,
        experts: &[GatedMlp],
        input: &[f32],
    ) -> Result<Vec<f32>, ModelError> {
        let hidden = self.config.hidden_size;
        let mut shares = self.apply(router, input)?;
        if let Some(rule) = self.config.experts {
            shares.chunks_exact_mut(rule.count).for_each(|row| keep_largest(row, rule));
        }
        let mut out = vec![0.0; input.len()];
        for (at, expert) in experts.iter().enumerate() {
            let of_expert = shares.iter().skip(at).step_by(experts.len()).enumerate();
            let chosen: Vec<(usize, f32)> =
                of_expert.map(|(token, share)| (token, *share)).filter(|(_, s)| *s > 0.0).collect();
            if chosen.is_empty() {
                continue;
            }
            let rows = chosen.iter().flat_map(|(token, _)| &input[token * hidden..][..hidden]);
            let output = self.gated(expert, &rows.copied().collect::<Vec<f32>>())?;
            for ((token, share), row) in chosen.iter().zip(output.chunks_exact(hidden)) {
                self.kernels.add_scaled(*share, row, &mut out[token * hidden..][..hidden]);
            }
        }
        Ok(out)
    }

    fn activate(&self, activation: Activation, rows: &mut [f32], width: usize) {
        self.pool.for_each_chunk(rows, width, |_, row| ops::activate(activation, row));
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
