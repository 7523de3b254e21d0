//! What was proven of a file, for people and programs.

use crate::plan::exception_lines;
use crate::units::{self, Table};
use apr_format::{Certificate, Hash128};
use apr_model::TensorRole;
use apr_tensor::TensorLayout;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The comparison of a whole file with its source.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Proof {
    /// The file that was proven.
    pub file: PathBuf,
    /// The source that it was compared with.
    pub source: PathBuf,
    /// Name of the architecture.
    pub architecture: &'static str,
    /// Name of the recipe.
    pub recipe: String,
    /// One digest over the whole file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub seal: Option<Hash128>,
    /// Size of the file in bytes.
    pub file_size: u64,
    /// Every tensor with its certificate.
    pub tensors: Vec<ProvenTensor>,
    /// Tensors of the source that are not stored because they follow from the rest.
    pub derived: Vec<String>,
    /// Tensors in another type than the recipe asks for, and why.
    pub exceptions: Vec<Exception>,
    /// What was made of the source, and is what the file was compared with; none if the source was
    /// taken as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Elements that were compared.
    pub elements: u64,
    /// `proven`: a proof that fails is an error.
    pub verdict: &'static str,
}

/// A tensor in another type than was asked for.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Exception {
    /// Its name in the file.
    pub tensor: String,
    /// What it is for.
    pub role: String,
    /// Why it has another type, and which.
    pub why: String,
}

/// A tensor and what was proven of it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ProvenTensor {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its type.
    pub dtype: &'static str,
    /// XXH3-128 of its bytes.
    #[schemars(with = "String")]
    pub hash: Hash128,
    /// How it compares with its source.
    #[serde(flatten)]
    pub certificate: Certificate,
    #[serde(skip)]
    kind: TensorRole,
    #[serde(skip)]
    elements: u64,
    #[serde(skip)]
    bytes: u64,
}

impl ProvenTensor {
    pub(crate) fn new(
        name: &str,
        role: TensorRole,
        layout: &TensorLayout,
        hash: Hash128,
        certificate: Certificate,
    ) -> Self {
        Self {
            name: name.to_owned(),
            role: role.to_string(),
            shape: layout.shape().to_vec(),
            dtype: layout.dtype().name(),
            hash,
            certificate,
            kind: role,
            elements: units::size(layout.elem_count()),
            bytes: units::size(layout.byte_len()),
        }
    }

    pub(crate) const fn role(&self) -> TensorRole {
        self.kind
    }

    pub(crate) const fn byte_len(&self) -> u64 {
        self.bytes
    }

    pub(crate) const fn elem_count(&self) -> u64 {
        self.elements
    }
}

/// Figures over tensors of one kind.
#[derive(Default)]
struct Kind {
    count: u64,
    elements: u64,
    bytes: u64,
    max_error: f64,
    error_power: f64,
    worst_sqnr: Option<f64>,
    bound_share: f64,
}

impl Kind {
    fn add(&mut self, tensor: &ProvenTensor) {
        let certificate = &tensor.certificate;
        self.count += 1;
        self.elements += tensor.elements;
        self.bytes += tensor.bytes;
        self.max_error = self.max_error.max(certificate.max_error);
        self.error_power += certificate.rms_error.powi(2) * tensor.elements as f64;
        self.worst_sqnr = Some(
            self.worst_sqnr.map_or(certificate.sqnr_db, |worst| worst.min(certificate.sqnr_db)),
        );
        self.bound_share = self.bound_share.max(certificate.bound_share);
    }

    fn row(&self, name: String, types: String) -> [String; 9] {
        [
            name,
            units::count(self.count),
            units::count(self.elements),
            types,
            units::bytes(self.bytes),
            units::error(self.max_error),
            units::error((self.error_power / self.elements.max(1) as f64).sqrt()),
            units::decibels(self.worst_sqnr.unwrap_or(f64::INFINITY)),
            format!("{:.0} %", self.bound_share * 100.0),
        ]
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: BTreeMap<_, Kind> = BTreeMap::new();
        let mut total = Kind::default();
        for tensor in &self.tensors {
            let kind = (tensor.kind, tensor.certificate.source_dtype.name(), tensor.dtype);
            kinds.entry(kind).or_default().add(tensor);
            total.add(tensor);
        }
        writeln!(f, "{} ({}, {})", self.file.display(), self.architecture, self.recipe)?;
        let source = self.source.display().to_string();
        let with = self.operation.as_ref().unwrap_or(&source);
        writeln!(f, "compared with {with}, every element, read back from the file\n")?;
        let header = [
            "tensor",
            "count",
            "elements",
            "type",
            "size",
            "max error",
            "rms error",
            "min SQNR",
            "of bound",
        ];
        let mut table = Table::new(&header).right_align([1, 2, 4, 5, 6, 7, 8]);
        for ((role, from, to), kind) in &kinds {
            let types = if from == to { (*from).to_owned() } else { format!("{from} > {to}") };
            table.row(kind.row(role.to_string(), types));
        }
        table.row(total.row("total".to_owned(), String::new()));
        writeln!(f, "{table}")?;
        let exceptions = self.exceptions.iter().map(|e| (e.role.as_str(), e.why.as_str()));
        for line in exception_lines(exceptions) {
            writeln!(f, "{line}")?;
        }
        if !self.derived.is_empty() {
            let list = self.derived.join(", ");
            writeln!(f, "checked and not stored, follows from the rest: {list}")?;
        }
        if let Some(seal) = self.seal {
            writeln!(f, "seal      {seal} ({})", units::bytes(self.file_size))?;
        }
        writeln!(
            f,
            "PROVEN    {} tensors, {} elements, each within the bound of its type; none missing, none added",
            units::count(total.count),
            units::count(total.elements)
        )
    }
}
