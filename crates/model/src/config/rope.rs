//! Rotary positions: base, rotated part of a head, and how frequencies are scaled for texts that
//! are longer than those of training.
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    reason = "everything parsed here may be hostile"
)]

use super::json::{bad, count, lookup, number, positive, single};
use crate::ModelError;
use crate::arch::{Arch, Position};
use serde_json::Value;
use std::f32::consts::PI;

/// Rotary positions of some layers.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeConfig {
    /// Base of the frequencies.
    pub theta: f32,
    /// Elements of a head that are rotated, from its first on; even.
    pub dims: usize,
    /// What the frequencies are divided by.
    pub scaling: RopeScaling,
}

/// What the frequencies are divided by.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Nothing.
    None,
    /// All by the same (Chen et al. 2023).
    Linear {
        /// The divisor.
        factor: f32,
    },
    /// Low ones by a factor, high ones by nothing, between them a transition (Llama 3.1).
    Llama3 {
        /// Divisor of low frequencies.
        factor: f32,
        /// Frequencies with fewer periods in the original length are low.
        low: f32,
        /// Frequencies with more periods in the original length are high.
        high: f32,
        /// Length that the model was trained for first.
        original: usize,
    },
    /// Each by its own, one list for short and one for long texts (Ding et al. 2024).
    Long {
        /// Divisors for up to `original` positions.
        short: Vec<f32>,
        /// Divisors for more.
        long: Vec<f32>,
        /// Where long begins.
        original: usize,
        /// What rotated queries and keys are multiplied with.
        amplitude: f32,
    },
}

impl RopeConfig {
    /// The angle per position of each pair of elements, `[dims / 2]`, when up to `positions`
    /// positions are in use.
    #[must_use]
    pub fn frequencies(&self, positions: usize) -> Vec<f32> {
        let divisors = self.divisors(positions);
        (0..self.dims / 2).zip(divisors).map(|(i, divisor)| self.plain(i) / divisor).collect()
    }

    /// What each frequency is divided by, `[dims / 2]`.
    #[must_use]
    pub fn divisors(&self, positions: usize) -> Vec<f32> {
        match &self.scaling {
            RopeScaling::None => vec![1.0; self.dims / 2],
            RopeScaling::Linear { factor } => vec![*factor; self.dims / 2],
            &RopeScaling::Llama3 { factor, low, high, original } => (0..self.dims / 2)
                .map(|i| {
                    // 1 at and above the high end, 0 at and below the low end.
                    let periods = single(original) * self.plain(i) / (2.0 * PI);
                    let share = ((periods - low) / (high - low)).clamp(0.0, 1.0);
                    1.0 / ((1.0 - share) / factor + share)
                })
                .collect(),
            RopeScaling::Long { short, long, original, .. } => {
                if positions > *original {
                    long.clone()
                } else {
                    short.clone()
                }
            }
        }
    }

    /// What rotated queries and keys are multiplied with.
    #[must_use]
    pub const fn amplitude(&self) -> f32 {
        match self.scaling {
            RopeScaling::Long { amplitude, .. } => amplitude,
            RopeScaling::None | RopeScaling::Linear { .. } | RopeScaling::Llama3 { .. } => 1.0,
        }
    }

    /// θ^(−2i/d).
    fn plain(&self, i: usize) -> f32 {
        self.theta.powf(2.0 * single(i) / single(self.dims)).recip()
    }
}

/// Rotary positions of the layers that see everything, and of those with a window.
pub(super) fn read(
    config: &Value,
    arch: &'static Arch,
    head_dim: usize,
) -> Result<Option<(RopeConfig, RopeConfig)>, ModelError> {
    let Position::Rope { scalings } = arch.position else { return Ok(None) };
    let reader = Reader { config, arch, scalings, head_dim };
    // Older configurations have the scaling in an object and the base beside it, newer ones have
    // both in one object, or in one for each kind of layer. Where there are both, the older counts.
    let old = lookup(config, "rope_scaling");
    let key = arch.config.rope_theta;
    let Some(local_key) = arch.config.local_rope_theta else {
        let new = lookup(config, "rope_parameters");
        let rope = reader.read((old.or(new), new), key)?;
        return Ok(Some((rope.clone(), rope)));
    };
    let full = lookup(config, "rope_parameters.full_attention");
    let sliding = lookup(config, "rope_parameters.sliding_attention");
    let global = reader.read((old.or(full), full), key)?;
    Ok(Some((global, reader.read((sliding, sliding), local_key)?)))
}

struct Reader<'a> {
    config: &'a Value,
    arch: &'static Arch,
    scalings: &'static [&'static str],
    head_dim: usize,
}

impl Reader<'_> {
    /// By the objects with the scaling and with the base, where there are any.
    fn read(
        &self,
        (scaling, base): (Option<&Value>, Option<&Value>),
        theta_key: &'static str,
    ) -> Result<RopeConfig, ModelError> {
        let none = Value::Null;
        let parameters = scaling.unwrap_or(&none);
        let theta = match base.and_then(|base| lookup(base, "rope_theta")) {
            Some(value) => positive(theta_key, value)?,
            None => number(self.config, theta_key)?,
        };
        let dims = self.dims(base.unwrap_or(parameters))?;
        Ok(RopeConfig { theta, dims, scaling: self.scaling(parameters, dims)? })
    }

    fn dims(&self, parameters: &Value) -> Result<usize, ModelError> {
        let named = self.arch.config.partial_rotary;
        let key = named.map_or("partial_rotary_factor", |named| named.key);
        let share = lookup(parameters, "partial_rotary_factor").or(lookup(self.config, key));
        let share = match share {
            None if named.is_some_and(|named| !named.optional) => {
                return Err(ModelError::MissingKey { key });
            }
            None => 1.0,
            Some(value) => value
                .as_f64()
                .filter(|share| *share > 0.0 && *share <= 1.0)
                .ok_or_else(|| bad(key, value, "a number over 0 and up to 1"))?,
        };
        if named.is_none() && share < 1.0 {
            return Err(self.unsupported(key, share.to_string(), "1".to_owned()));
        }
        // A share that is a quotient of two integers must give the first of them again.
        let dims = whole(share, self.head_dim);
        if dims == 0 || !dims.is_multiple_of(2) {
            let key = if named.is_some() { key } else { "head_dim" };
            return Err(bad(key, &Value::from(dims), "an even number of rotated elements"));
        }
        Ok(dims)
    }

    fn scaling(&self, parameters: &Value, dims: usize) -> Result<RopeScaling, ModelError> {
        let kind = lookup(parameters, "rope_type").or_else(|| lookup(parameters, "type"));
        let Some(kind) = kind else {
            return match parameters.get("factor") {
                None => Ok(RopeScaling::None),
                Some(_) => Err(ModelError::MissingKey { key: "rope_scaling.rope_type" }),
            };
        };
        let name = kind.as_str().unwrap_or_default();
        if name == "default" {
            return Ok(RopeScaling::None);
        }
        if !self.scalings.contains(&name) {
            let known: Vec<&str> = ["default"].iter().chain(self.scalings).copied().collect();
            return Err(self.unsupported("rope_scaling", kind.to_string(), known.join(", ")));
        }
        match name {
            "linear" => Ok(RopeScaling::Linear { factor: part(parameters, FACTOR)? }),
            "llama3" => {
                let (low, high) = (part(parameters, LOW)?, part(parameters, HIGH)?);
                if low >= high {
                    let (value, expected) = (low.to_string(), "less than high_freq_factor");
                    return Err(ModelError::BadKey { key: LOW, value, expected });
                }
                let original = self.original(parameters)?;
                Ok(RopeScaling::Llama3 { factor: part(parameters, FACTOR)?, low, high, original })
            }
            _ => self.long(parameters, dims),
        }
    }

    fn long(&self, parameters: &Value, dims: usize) -> Result<RopeScaling, ModelError> {
        let list = |key: &'static str| -> Result<Vec<f32>, ModelError> {
            let value = lookup(parameters, last(key)).ok_or(ModelError::MissingKey { key })?;
            let list = value.as_array().filter(|list| list.len() == dims / 2);
            let list = list.ok_or_else(|| bad(key, value, "a number per rotated pair"))?;
            list.iter().map(|value| positive(key, value)).collect()
        };
        let original = self.original(parameters)?;
        let amplitude = match lookup(parameters, "attention_factor") {
            Some(value) => positive("rope_scaling.attention_factor", value)?,
            None => {
                let positions = count(self.config, self.arch.config.max_positions)?;
                let factor = match lookup(parameters, "factor") {
                    Some(value) => positive(FACTOR, value)?,
                    None => single(positions) / single(original),
                };
                // The more positions are squeezed in, the sharper attention must look.
                let growth = factor.max(1.0).ln() / single(original).ln();
                (1.0 + growth).sqrt()
            }
        };
        let (short, long) = (list("rope_scaling.short_factor")?, list("rope_scaling.long_factor")?);
        Ok(RopeScaling::Long { short, long, original, amplitude })
    }

    /// The length that the model was trained for first, in the object or at the top.
    fn original(&self, parameters: &Value) -> Result<usize, ModelError> {
        let at_top = lookup(self.config, ORIGINAL).is_some();
        let original = count(if at_top { self.config } else { parameters }, ORIGINAL)?;
        if original < 2 {
            return Err(bad(ORIGINAL, &Value::from(original), "more than one position"));
        }
        Ok(original)
    }

    fn unsupported(&self, key: &'static str, value: String, supported: String) -> ModelError {
        ModelError::Unsupported { key, value, arch: self.arch.name, supported }
    }
}

const ORIGINAL: &str = "original_max_position_embeddings";
const FACTOR: &str = "rope_scaling.factor";
const LOW: &str = "rope_scaling.low_freq_factor";
const HIGH: &str = "rope_scaling.high_freq_factor";

/// A number in the object of the scaling, whatever that is called in this configuration.
fn part(parameters: &Value, key: &'static str) -> Result<f32, ModelError> {
    positive(key, lookup(parameters, last(key)).ok_or(ModelError::MissingKey { key })?)
}

fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// That share of a size, rounded down, but for a share that is a quotient of integers.
#[allow(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounding down is meant"
)]
const fn whole(share: f64, of: usize) -> usize {
    (share * of as f64 + 1e-6) as usize
}
