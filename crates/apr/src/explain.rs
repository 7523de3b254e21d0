//! What a tensor is for, from the role that it plays.

use crate::formula::formula;
use crate::inspect::{params, total_params};
use crate::units;
use crate::{Checkpoint, Error, hex};
use apr_model::arch::Stored;
use apr_model::{Arch, Form, Identity, Naming, Param, Part, RowOrder, TensorRole, layers_in};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;

/// What a tensor is and does.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Explanation {
    /// Its name.
    pub tensor: String,
    /// Name of the architecture.
    pub architecture: &'static str,
    /// What it is for, in a word or two.
    pub role: String,
    /// Its layer, for the parts that every layer has.
    pub layer: Option<usize>,
    /// Number of layers.
    pub num_layers: usize,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// What the dimensions are.
    pub dimensions: &'static str,
    /// Its type, as the file's format spells it.
    pub dtype: &'static str,
    /// Its bytes.
    pub size_bytes: u64,
    /// Its elements, if it has dimensions.
    pub params: u64,
    /// Its share of the elements of the file.
    pub share: f64,
    /// What it does.
    pub purpose: String,
    /// What is computed with it; none for what is not computed with.
    pub formula: Option<String>,
    /// How it lies in the file, where that is not row by row.
    pub layout: Option<&'static str>,
    /// Its name in a published checkpoint.
    pub published_name: Option<String>,
    /// Its name in a GGUF file.
    pub gguf_name: Option<String>,
}

/// Explains the tensor that is meant by `name`, from the header.
///
/// # Errors
/// When no or more than one tensor is meant, the architecture is not supported, or has no such
/// tensor.
pub fn explain(checkpoint: &Checkpoint, name: &str) -> Result<Explanation, Error> {
    let entry = hex::find(checkpoint, name)?;
    let (arch, _) = checkpoint.arch_and_layers()?;
    let naming = checkpoint.naming();
    let identity = arch.identify(naming, &entry.name).ok_or_else(|| {
        let cause = format!("{:?} belongs to no part of a {} model", entry.name, arch.name);
        Error::NoTensor { path: checkpoint.path().to_path_buf(), cause }
    })?;
    let total = total_params(checkpoint.container()).max(1);
    let explanation = Explanation {
        tensor: entry.name.clone(),
        architecture: arch.name,
        role: String::new(),
        layer: None,
        num_layers: layers_in(checkpoint.container()),
        shape: entry.layout.shape().to_vec(),
        dimensions: "",
        dtype: entry.layout.dtype().name(),
        size_bytes: units::size(entry.layout.byte_len()),
        params: params(&entry.layout),
        share: params(&entry.layout) as f64 / total as f64,
        purpose: String::new(),
        formula: None,
        layout: None,
        published_name: None,
        gguf_name: None,
    };
    Ok(explanation.with_identity(arch, naming, identity))
}

impl Explanation {
    fn with_identity(self, arch: &Arch, naming: Naming, identity: Identity) -> Self {
        let (tensor, layer, expert) = match identity {
            Identity::Derived { kind, layer } => {
                let role = kind.name().replace('_', " ");
                return Self { role, layer, purpose: kind.purpose().to_owned(), ..self };
            }
            Identity::Weight { tensor, layer, expert } => (tensor, layer, expert),
        };
        let form = arch.form(tensor, naming);
        let stacked = tensor.stored == Stored::PerExpert && expert.is_none();
        let published =
            if stacked { tensor.name(layer) } else { tensor.published(layer, expert.unwrap_or(0)) };
        Self {
            role: tensor.role.to_string(),
            layer,
            dimensions: dimensions(tensor.role, form, stacked),
            purpose: purpose(tensor.role, expert),
            formula: Some(formula(arch, tensor.role.part)),
            layout: layout(form),
            published_name: Some(published),
            gguf_name: Some(tensor.role.gguf_name(layer)),
            ..self
        }
    }
}

fn purpose(role: TensorRole, expert: Option<usize>) -> String {
    let of_part = role.part.purpose();
    let text = match role.param {
        Param::Weight => of_part.to_owned(),
        Param::Bias => {
            format!("What is added after the weight of the same name. The weight: {of_part}")
        }
    };
    expert.map_or(text.clone(), |expert| format!("Of expert {expert}. {text}"))
}

/// What the dimensions of a tensor are.
fn dimensions(role: TensorRole, form: Form, stacked: bool) -> &'static str {
    match (role.param, role.part) {
        (Param::Weight, Part::QueryNorm | Part::KeyNorm) => "[head]",
        (Param::Weight | Param::Bias, part) if part.is_norm() => "[hidden]",
        (Param::Bias, _) => "[out]",
        (Param::Weight, Part::TokenEmbedding | Part::Head) => "[vocabulary, hidden]",
        (Param::Weight, Part::PositionEmbedding) => "[positions, hidden]",
        (Param::Weight, Part::Router) => "[experts, hidden]",
        (Param::Weight, _) if stacked => "[experts, out, in]",
        (Param::Weight, _) if form.transposed => "[in, out]",
        (Param::Weight, _) => "[out, in]",
    }
}

/// How a form differs from rows by output, head after head.
fn layout(form: Form) -> Option<&'static str> {
    match form.row_order {
        RowOrder::Neighbours => {
            Some("within each head, the two rows that are rotated together stand side by side")
        }
        RowOrder::HeadByHead => Some("query, key and value of the first head, then of the next"),
        RowOrder::Halves if form.transposed => Some("transposed: a row per input"),
        RowOrder::Halves if form.offset != 0.0 => Some("1 has been added to every value"),
        RowOrder::Halves => None,
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layer = self.layer.map(|layer| format!(", layer {layer} of {}", self.num_layers));
        let (params, size) = (units::count(self.params), units::bytes(self.size_bytes));
        let share = self.share * 100.0;
        let names = [("published", &self.published_name), ("GGUF", &self.gguf_name)];
        let other = names.iter().filter_map(|(kind, name)| {
            let name = name.as_ref().filter(|name| **name != self.tensor)?;
            Some(format!("{} ({kind})", name.escape_debug()))
        });
        let also: Vec<String> = other.collect();
        writeln!(f, "{}\n", self.tensor.escape_debug())?;
        writeln!(f, "{}\n", self.purpose)?;
        for (what, value) in [
            ("Role", Some(format!("{}{}", self.role, layer.unwrap_or_default()))),
            ("Formula", self.formula.clone()),
            ("Shape", Some(format!("{:?} {}", self.shape, self.dimensions).trim_end().to_owned())),
            ("Type", Some(format!("{}, {size}", self.dtype))),
            ("Elements", Some(format!("{params}, {share:.2} % of the file's"))),
            ("Layout", self.layout.map(str::to_owned)),
            ("Also", Some(also.join(", ")).filter(|also| !also.is_empty())),
            ("Model", Some(self.architecture.to_owned())),
        ] {
            if let Some(value) = value {
                writeln!(f, "{what:<10}{value}")?;
            }
        }
        Ok(())
    }
}
