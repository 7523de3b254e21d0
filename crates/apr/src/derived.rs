//! Tensors that are not stored: each is checked to be exactly what follows from the rest.

use crate::{Checkpoint, Error};
use apr_model::{Census, DerivedKind, ModelConfig, ModelError, Part};
use apr_tensor::{DType, Tensor, TensorError};
use serde_json::{Value, json};

/// Checks every derived tensor of the source and lists them for the metadata.
///
/// # Errors
/// Names the first that does not follow from the rest: then dropping it would lose information.
pub(crate) fn check(
    checkpoint: &Checkpoint,
    config: &ModelConfig,
    census: &Census,
) -> Result<Value, Error> {
    let mut list = Vec::new();
    for derived in &census.derived {
        let tensor = checkpoint.container().tensor(&derived.source)?;
        let wrong = |cause: &'static str| {
            let source = ModelError::Derived { tensor: derived.source.clone(), cause };
            Error::Model { path: checkpoint.path().to_path_buf(), source: Box::new(source) }
        };
        let layout = Error::layout(checkpoint.path(), &derived.source);
        let mut entry = json!({
            "name": derived.source,
            "kind": derived.kind.name(),
            "dtype": tensor.layout().dtype().name(),
            "shape": tensor.layout().shape(),
        });
        match derived.kind {
            DerivedKind::CausalMask if !is_causal_mask(&tensor, config).map_err(layout)? => {
                return Err(wrong("is not the causal mask of the model's positions"));
            }
            DerivedKind::TiedHead if !is_embedding(checkpoint, census, &tensor)? => {
                return Err(wrong("differs from the embedding that config.json ties it to"));
            }
            DerivedKind::MaskedBias => {
                let [value] = tensor.view().to_f32()[..] else {
                    return Err(wrong("is not a single number"));
                };
                entry["value"] = json!(value);
            }
            DerivedKind::RopeFrequencies if !are_close(&tensor, frequencies(config)) => {
                return Err(wrong("differs from the frequencies that config.json implies"));
            }
            // The census has compared factors with what they imply.
            DerivedKind::RopeFactors
            | DerivedKind::CausalMask
            | DerivedKind::TiedHead
            | DerivedKind::RopeFrequencies => {}
        }
        list.push(entry);
    }
    Ok(Value::Array(list))
}

fn frequencies(config: &ModelConfig) -> Vec<f32> {
    config.rope.as_ref().map(|rope| rope.frequencies(0)).unwrap_or_default()
}

/// Whether these are the same numbers, but for the rounding of their type and of powers.
fn are_close(tensor: &Tensor, expected: Vec<f32>) -> bool {
    let tolerance = if tensor.layout().dtype() == DType::F32 { 1e-5 } else { 1e-2 };
    let found = tensor.view().to_f32();
    let close = |(found, expected): (&f32, &f32)| (found - expected).abs() <= tolerance * expected;
    found.len() == expected.len() && found.iter().zip(&expected).all(close)
}

/// Ones up to the diagonal, zeros behind it.
fn is_causal_mask(tensor: &Tensor, config: &ModelConfig) -> Result<bool, TensorError> {
    let positions = config.max_positions;
    if tensor.layout().shape() != [1, 1, positions, positions] {
        return Ok(false);
    }
    let mut row = vec![0.0; positions];
    for at in 0..positions {
        tensor.view().decode_rows(at..at + 1, &mut row)?;
        let (ones, zeros) = row.split_at(at + 1);
        if ones.iter().any(|&x| x != 1.0) || zeros.iter().any(|&x| x != 0.0) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_embedding(checkpoint: &Checkpoint, census: &Census, head: &Tensor) -> Result<bool, Error> {
    let Some(placed) =
        census.tensors.iter().find(|placed| placed.role.part == Part::TokenEmbedding)
    else {
        return Ok(false);
    };
    let embedding = checkpoint.container().tensor(placed.source())?;
    Ok(embedding.layout() == head.layout() && embedding.view().bytes() == head.view().bytes())
}
