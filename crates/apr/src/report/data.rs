//! What a report says: the data of the page, and the document for programs.

use crate::eval::Divergence;
use crate::statistics::Statistics;
use apr_format::Hash128;
use schemars::JsonSchema;
use serde::Serialize;
use std::path::PathBuf;

/// A report that was written.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ModelReport {
    /// The page.
    pub output: PathBuf,
    /// Its size in bytes.
    pub output_size: u64,
    /// What it says.
    #[serde(flatten)]
    pub content: ReportContent,
}

/// What a report says. It names files without their folders: a page is sent around.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ReportContent {
    /// The program that made it, with its version.
    pub tool: String,
    /// Name of the model's file or folder.
    pub name: String,
    /// Name of what it was compared with, if it was.
    pub against: Option<String>,
    /// Container format.
    pub format: &'static str,
    /// Name of the architecture; none if it is not a supported one.
    pub architecture: Option<&'static str>,
    /// Number of layers.
    pub num_layers: usize,
    /// What the configuration tells; none if there is none that is supported.
    pub config: Option<ReportedConfig>,
    /// Elements of all tensors that have dimensions.
    pub parameters: u64,
    /// Bytes of the weight files.
    pub file_size: u64,
    /// Bits of the file for each parameter.
    pub bits_per_weight: f64,
    /// Name of the recipe that chose its types, if it was made by one.
    pub recipe: Option<String>,
    /// What is proven of it.
    pub verdict: Verdict,
    /// The files that it was made from, as it says.
    pub sources: Vec<SourceFile>,
    /// What it says of itself, as far as that is short.
    pub metadata: Vec<MetadataEntry>,
    /// Tensors of each role and type, in the order of the model.
    pub sizes: Vec<SizeOfRole>,
    /// Where the certificates come from; none if there are none.
    pub certificates: Option<CertificateOrigin>,
    /// Every tensor, in the order of the model.
    pub tensors: Vec<ReportedTensor>,
    /// How far its distributions of the next token are from those of its source.
    pub divergence: Option<ReportedDivergence>,
    /// What could not be shown, and why.
    pub remarks: Vec<String>,
}

/// What a configuration tells.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ReportedConfig {
    /// Number of query heads.
    pub num_heads: usize,
    /// Number of key and value heads.
    pub num_kv_heads: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Longest sequence.
    pub context_length: usize,
}

/// What is proven of a file.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Verdict {
    /// In a word.
    pub status: VerdictStatus,
    /// In a sentence.
    pub reason: String,
    /// One digest over the whole file, in the formats that have it.
    #[schemars(with = "Option<String>")]
    pub seal: Option<Hash128>,
    /// Tensors whose certificate is in the file.
    pub certified_tensors: usize,
}

/// What is proven of a file, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerdictStatus {
    /// Every element was compared with the source for this report, and is within its bound.
    Proven,
    /// The file says so of itself since it was written, and every byte still has its hash.
    Certified,
    /// Nothing is known.
    NotCertified,
    /// It is not what its certificates or its source say.
    NotProven,
}

/// A file that a model was made from.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SourceFile {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: String,
}

/// Something that a file says of itself.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MetadataEntry {
    /// The key.
    pub key: String,
    /// The value, as text.
    pub value: String,
}

/// The tensors of one role and type.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SizeOfRole {
    /// What they are for.
    pub role: String,
    /// Their type.
    pub dtype: &'static str,
    /// Their number.
    pub tensors: u64,
    /// Their elements.
    pub elements: u64,
    /// Their bytes.
    pub size_bytes: u64,
}

/// Where certificates come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CertificateOrigin {
    /// They are stored in the file.
    File,
    /// They were measured for this report.
    Measured,
}

/// A tensor.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ReportedTensor {
    /// Its name in the file.
    pub name: String,
    /// What it is for; of an architecture that is not supported, its name with `{}` for the layer.
    pub role: String,
    /// Its layer, if it is in one.
    pub layer: Option<usize>,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Its type.
    pub dtype: &'static str,
    /// Its elements.
    pub elements: u64,
    /// Its bytes.
    pub size_bytes: u64,
    /// XXH3-128 of its bytes.
    #[schemars(with = "String")]
    pub hash: Hash128,
    /// How it compares with its source, if that is known.
    pub certificate: Option<ReportedCertificate>,
    /// Why it has no certificate, where it was to be compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Its values.
    pub statistics: Statistics,
    /// Those of its source, if that was at hand.
    pub before: Option<Statistics>,
    /// How both are distributed; of a file with thousands of tensors, for the largest alone.
    pub histogram: Option<ReportedHistogram>,
}

/// The comparison of a tensor with its source, element by element.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ReportedCertificate {
    /// Type of the source tensor.
    pub source_dtype: &'static str,
    /// XXH3-128 of the source tensor's bytes.
    #[schemars(with = "String")]
    pub source_hash: Hash128,
    /// Largest absolute difference of an element.
    pub max_error: f64,
    /// Root of the mean squared difference.
    pub rms_error: f64,
    /// The same as a share of the root of the mean square of the source; none where all of that is
    /// zero and the tensor is not.
    pub relative_error: Option<f64>,
    /// Signal to quantization noise in decibels; none where it is infinite.
    pub sqnr_db: Option<f64>,
    /// Largest bound that the type allows in any block, given the source.
    pub bound: f64,
    /// Largest share of its block's bound that an element's error takes; none where an error is
    /// that must not be.
    pub bound_share: Option<f64>,
}

/// How the finite values of a tensor are distributed, in bars of one width from `min` to `max`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ReportedHistogram {
    /// Smallest value of the tensor and its source.
    pub min: f64,
    /// Largest value of both.
    pub max: f64,
    /// Values of the tensor in each bar.
    pub bins: Vec<u64>,
    /// Values of its source in each bar, if it was at hand.
    pub before: Option<Vec<u64>>,
}

/// How far the distributions of the next token are from those of the source, over a text.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ReportedDivergence {
    /// Name of the text.
    pub text: String,
    /// Where the text comes from, if that is known.
    pub text_source: Option<&'static str>,
    /// Tokens of the text.
    pub tokens: usize,
    /// Tokens that were scored.
    pub scored: usize,
    /// Tokens per window; every window is scored alone, from its second token on.
    pub window: usize,
    /// exp of the model's mean negative log-likelihood.
    pub perplexity: f64,
    /// The same of the source.
    pub reference_perplexity: f64,
    /// How far the model is from its source.
    pub divergence: Divergence,
    /// How far the model is from itself when nothing but rounding changes.
    pub noise_floor: Divergence,
    /// Along the text, by the number of the token that is predicted.
    pub along_text: Vec<KlRange>,
    /// By the place of that token in its window.
    pub in_window: Vec<KlRange>,
}

/// Divergences (Kullback-Leibler, in nats) at neighbouring positions.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub struct KlRange {
    /// The first position.
    pub first: usize,
    /// The last.
    pub last: usize,
    /// Mean over them.
    pub mean_kl: f64,
    /// The largest.
    pub max_kl: f64,
}
