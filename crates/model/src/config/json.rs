//! Values of `config.json`, each checked when it is read.
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    reason = "everything parsed here may be hostile"
)]

use crate::ModelError;
use serde_json::Value;

/// The value of a key (`a.b`: in an object), unless it is null.
pub(super) fn lookup<'a>(config: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(config, |object, key| object.get(key)).filter(|value| !value.is_null())
}

pub(super) fn bad(key: &'static str, value: &Value, expected: &'static str) -> ModelError {
    ModelError::BadKey { key, value: value.to_string(), expected }
}

pub(super) fn need<'a>(config: &'a Value, key: &'static str) -> Result<&'a Value, ModelError> {
    lookup(config, key).ok_or(ModelError::MissingKey { key })
}

pub(super) fn count(config: &Value, key: &'static str) -> Result<usize, ModelError> {
    let value = need(config, key)?;
    value
        .as_u64()
        .and_then(|count| usize::try_from(count).ok())
        .filter(|&count| count > 0)
        .ok_or_else(|| bad(key, value, "a positive integer"))
}

pub(super) fn number(config: &Value, key: &'static str) -> Result<f32, ModelError> {
    positive(key, need(config, key)?)
}

pub(super) fn flag(config: &Value, key: &'static str) -> Result<bool, ModelError> {
    let value = need(config, key)?;
    value.as_bool().ok_or_else(|| bad(key, value, "true or false"))
}

#[allow(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "parameters are single precision in the model"
)]
pub(super) fn positive(key: &'static str, value: &Value) -> Result<f32, ModelError> {
    value
        .as_f64()
        .map(|number| number as f32)
        .filter(|number| number.is_finite() && *number > 0.0)
        .ok_or_else(|| bad(key, value, "a positive number"))
}

/// A size as a number to compute with.
#[allow(clippy::as_conversions, reason = "it rounds, as single precision does")]
pub(crate) const fn single(size: usize) -> f32 {
    size as f32
}
