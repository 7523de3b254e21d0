//! What following a model shows.

use super::run::Run;
use crate::units::{self, Table, percent};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// A model, layer by layer.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Trace {
    /// Where it was opened.
    pub model: String,
    /// Name of the architecture.
    pub architecture: &'static str,
    /// Container format.
    pub format: &'static str,
    /// The layers, in order.
    pub layers: Vec<TracedLayer>,
    /// The text that was followed, if one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Its tokens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<u32>,
    /// Operations before and after the layers: embedding, final norm and logits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outside: Vec<TracedOperation>,
    /// The comparison with another file of the model, if one was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
}

/// A layer of a model.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct TracedLayer {
    /// Its name.
    pub name: String,
    /// Its number, from 0.
    pub index: usize,
    /// Number of its tensors.
    pub tensors: usize,
    /// Elements of its tensors.
    pub parameters: u64,
    /// Bytes of its tensors.
    pub size_bytes: u64,
    /// Number of tensors of each type.
    pub dtypes: BTreeMap<&'static str, usize>,
    /// How far what it hands on is from the reference's, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
    /// What it computed for the prompt, in order; the last is what it hands on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<TracedOperation>,
}

/// What an operation computed.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TracedOperation {
    /// What it is.
    pub name: &'static str,
    /// Root of the mean square of the finite values.
    pub rms: f64,
    /// Largest absolute value of the finite ones.
    pub max_abs: f64,
    /// Values that are NaN or infinite.
    pub not_finite: usize,
    /// How far the values are from the reference's: the root of the mean over tokens of
    /// |difference|² / |reference|². Infinite (`null`) if one is not finite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
    /// The same when the operation gets the reference's inputs: what it departs by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_error: Option<f64>,
}

/// A model beside another file of it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Against {
    /// The other file.
    pub reference: String,
    /// The error that is too much.
    pub threshold: f64,
    /// The first layer whose error is past the threshold, if one is.
    pub first_layer: Option<usize>,
    /// Tensors that depart by more than others of their kind, the worst first.
    pub damaged: Vec<DamagedTensor>,
    /// Number of tensors that were compared by value.
    pub compared: usize,
}

/// A tensor that departs from the reference by more than others of its kind.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DamagedTensor {
    /// Its name in the file.
    pub name: String,
    /// What it is for.
    pub part: String,
    /// Its layer, if it is in one.
    pub layer: Option<usize>,
    /// Its type in the file.
    pub dtype: &'static str,
    /// |difference| / |reference| over all values; none if one is not finite.
    pub difference: Option<f64>,
    /// That of others of its kind, stored in its type; none if there is no other.
    pub typical_difference: Option<f64>,
    /// The same over the 32 values of a row that depart most.
    pub worst_run: Option<f64>,
    /// Where these begin: row (output) and column (input).
    pub worst_at: [usize; 2],
    /// A value that is not finite, and where, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_finite: Option<String>,
    /// The operation that it takes part in.
    pub operation: &'static str,
    /// The error of that operation on the reference's inputs.
    pub own_error: Option<f64>,
    /// That in other layers.
    pub typical_own_error: Option<f64>,
}

impl TracedOperation {
    pub(crate) fn of(name: &'static str, values: &[f32]) -> Self {
        let finite = || values.iter().filter(|value| value.is_finite());
        let count = finite().count();
        let squares: f64 = finite().map(|value| f64::from(*value).powi(2)).sum();
        Self {
            name,
            rms: (squares / count.max(1) as f64).sqrt(),
            max_abs: f64::from(finite().fold(0.0_f32, |max, value| max.max(value.abs()))),
            not_finite: values.len() - count,
            error: None,
            own_error: None,
        }
    }
}

impl Trace {
    pub(super) fn add_run(&mut self, prompt: &str, tokens: &[u32], run: Run) {
        self.prompt = Some(prompt.to_owned());
        self.tokens = tokens.to_vec();
        for computed in run.computed {
            match computed.layer.and_then(|layer| self.layers.get_mut(layer)) {
                Some(layer) => {
                    layer.error = computed.operation.error;
                    layer.operations.push(computed.operation);
                }
                None => self.outside.push(computed.operation),
            }
        }
    }

    pub(super) fn add_own_errors(&mut self, run: &Run) {
        for computed in &run.computed {
            if let Some(operation) = self.operation_mut(computed.layer, computed.operation.name) {
                operation.own_error = computed.operation.error;
            }
        }
    }

    pub(super) fn operation(&self, layer: Option<usize>, name: &str) -> Option<&TracedOperation> {
        let operations = match layer {
            Some(layer) => &self.layers.get(layer)?.operations,
            None => &self.outside,
        };
        operations.iter().find(|operation| operation.name == name)
    }

    fn operation_mut(&mut self, layer: Option<usize>, name: &str) -> Option<&mut TracedOperation> {
        let operations = match layer {
            Some(layer) => &mut self.layers.get_mut(layer)?.operations,
            None => &mut self.outside,
        };
        operations.iter_mut().find(|operation| operation.name == name)
    }

    pub(super) fn first_layer_past(&self, threshold: f64) -> Option<usize> {
        self.layers.iter().position(|layer| layer.error.is_some_and(|error| error > threshold))
    }

    /// Whether a comparison was made and found nothing.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let sound = |against: &Against| against.first_layer.is_none() && against.damaged.is_empty();
        self.against.as_ref().is_none_or(sound)
    }

    /// One row per layer, with what it hands on.
    fn layers(&self) -> Table {
        let mut header = vec!["layer", "tensors", "parameters", "size", "types"];
        if self.prompt.is_some() {
            header.extend(["RMS", "largest"]);
        }
        if self.against.is_some() {
            header.extend(["error", "largest own error"]);
        }
        let mut table = Table::new(&header).right_align([1, 2, 3, 5, 6, 7]);
        for layer in &self.layers {
            let dtypes = layer.dtypes.iter().map(|(dtype, count)| format!("{count} {dtype}"));
            let mut row = vec![
                layer.name.clone(),
                layer.tensors.to_string(),
                units::count(layer.parameters),
                units::bytes(layer.size_bytes),
                dtypes.collect::<Vec<_>>().join(", "),
            ];
            if let Some(output) = layer.operations.last() {
                row.extend([format!("{:.3}", output.rms), format!("{:.3}", output.max_abs)]);
            }
            if let Some(error) = layer.error {
                let own = |operation: &TracedOperation| operation.own_error.unwrap_or_default();
                let worst = layer.operations.iter().max_by(|a, b| own(a).total_cmp(&own(b)));
                let worst = worst.filter(|worst| own(worst) > 0.0);
                let worst = worst.map(|worst| format!("{} {}", worst.name, percent(own(worst))));
                row.extend([percent(error), worst.unwrap_or_default()]);
            }
            table.row(row);
        }
        table
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.layers().fmt(f)?;
        for operation in &self.outside {
            write!(f, "{}: RMS {:.3}", operation.name, operation.rms)?;
            if operation.not_finite > 0 {
                write!(f, ", {} values are not finite", operation.not_finite)?;
            }
            if let Some(error) = operation.error {
                let own = operation.own_error.unwrap_or_default();
                write!(f, ", error {}, own error {}", percent(error), percent(own))?;
            }
            writeln!(f)?;
        }
        let Some(against) = &self.against else { return Ok(()) };
        match against.first_layer {
            Some(layer) => {
                let threshold = percent(against.threshold);
                writeln!(f, "layer {layer} is the first whose error is past {threshold}")?;
            }
            None => writeln!(f, "no layer's error is past {}", percent(against.threshold))?,
        }
        if against.damaged.is_empty() {
            let count = against.compared;
            writeln!(f, "none of {count} tensors departs by more than others of its kind")?;
        }
        against.damaged.iter().try_for_each(|tensor| tensor.fmt(f))
    }
}

impl fmt::Display for DamagedTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "damaged: {} ({}, {})", self.name.escape_debug(), self.part, self.dtype)?;
        if let Some(what) = &self.not_finite {
            return writeln!(f, ": {what}");
        }
        write!(f, ": departs by {}", percent(self.difference.unwrap_or_default()))?;
        if let Some(typical) = self.typical_difference {
            write!(f, ", others of its kind by {}", percent(typical))?;
        }
        let [row, col] = self.worst_at;
        let worst = percent(self.worst_run.unwrap_or_default());
        writeln!(f, "; most in row {row} from column {col}: {worst}")?;
        let Some(own) = self.own_error else { return Ok(()) };
        write!(f, "  its operation {} departs by {}", self.operation, percent(own))?;
        if let Some(typical) = self.typical_own_error {
            write!(f, ", in other layers by {}", percent(typical))?;
        }
        writeln!(f)
    }
}
