//! Import, quantize, prove and run language models.
//!
//! A function per task; each returns a report that prints for people (`Display`) and for programs
//! (`Serialize`). This crate is where tokenizer and model meet; it writes nothing to the terminal.
//!
//! ```no_run
//! use apr::{Checkpoint, Generate, ConvertOptions, Recipe, TextModel};
//! # fn main() -> Result<(), apr::Error> {
//! let source = Checkpoint::open("tests/models/tiny-llama")?;
//! let recipe = Recipe::named("int8")?;
//! let proof = apr::convert(&source, "tiny.apr".as_ref(), &ConvertOptions::new(recipe), &())?;
//! println!("{proof}");
//! let model = TextModel::open(&Checkpoint::open("tiny.apr")?, &apr::LoadOptions::default(), &())?;
//! let answer = model.generate("The capital of France is", &Generate::default(), &mut |_| Ok(()))?;
//! println!("{}", answer.text);
//! # Ok(())
//! # }
//! ```

mod advice;
mod audit;
mod bench;
mod chat;
mod check;
mod checkpoint;
mod compare;
mod compare_hf;
mod convert;
mod debug;
mod derived;
mod diff;
mod doctor;
mod encode;
mod error;
mod eval;
mod exact;
mod explain;
mod flow;
mod folder;
mod formula;
mod generate;
mod gguf;
mod hex;
mod hub;
mod inspect;
mod lint;
mod magnitude;
mod memory;
mod merge;
mod operation;
mod oracle;
mod parity;
mod plan;
mod progress;
mod proof;
mod provenance;
mod prune;
mod qa;
mod recipe;
mod report;
mod rosetta;
mod source;
mod statistics;
mod stream;
mod target;
mod text_model;
mod trace;
mod tree;
mod units;
mod validate;
mod verify;

pub use apr_format::{check_closed_files, copy_files, explain_bus_errors};
pub use apr_hub::HubError;
pub use apr_model::{CacheType, Sampling};
pub use apr_token::{Message, panic_is_told};
pub use audit::{Audit, audit};
pub use bench::{Bench, BenchOptions, Limit, Rate, Shares, bench};
pub use chat::chat_prompt;
pub use check::{SAMPLE_TEXT, SelfCheck, check};
pub use checkpoint::Checkpoint;
pub use compare::ValueDifference;
pub use compare_hf::{ComparedTensor, HubComparison, TensorVerdict, compare_hf, published};
pub use convert::{ConvertOptions, Floats, Requantize, convert, plan};
pub use debug::{Debug, Health, debug};
pub use diff::{Diff, DiffedFile, DiffedTensor, TensorDifference, TensorDifferenceKind, diff};
pub use doctor::{Doctor, HubHealth, doctor};
pub use error::Error;
pub use eval::{Comparison, Divergence, EvalOptions, EvalText, Evaluation, Reference, evaluate};
pub use exact::Figure;
pub use explain::{Explanation, explain};
pub use flow::{Flow, FlowLayers, FlowStep, flow};
pub use generate::{
    Generate, Generation, Length, OperationTime, Phase, Profile, Prompt, Speculation, StopReason,
};
pub use hex::{
    DistributionView, DumpView, HeaderFile, HeaderView, Slice, SliceView, StatisticsView,
    TensorPlace, hex_distribution, hex_dump, hex_header, hex_slice, hex_statistics,
};
pub use hub::{CachedModel, CachedModels, PulledModel, RemovedModel, list, pull, remove};
pub use inspect::{Inspection, TensorList, inspect, tensors};
pub use lint::{Lint, Severity, Violation, lint};
pub use merge::{Merge, MergeInput, MergePlan, MergedModels, Strategy, merge, merge_plan};
pub use oracle::{Oracle, OracleFormat, OracleRuntime, oracle};
pub use parity::{KernelParity, Parity, ParityPath, parity};
pub use plan::{Plan, PlannedTensor};
pub use progress::{Progress, Step};
pub use proof::{Exception, Proof, ProofFailure, ProvenTensor};
pub use prune::{Prune, PruneMethod, PrunePlan, PruneSettings, prune, prune_plan};
pub use qa::{Gate, Qa, qa};
pub use recipe::{RECIPES, Recipe, TypeOverride};
pub use report::{
    CertificateOrigin, KlRange, MetadataEntry, ModelReport, ReportContent, ReportOptions,
    ReportText, ReportedCertificate, ReportedConfig, ReportedDivergence, ReportedHistogram,
    ReportedTensor, SizeOfRole, SourceFile, Verdict, VerdictStatus, report,
};
pub use rosetta::{LayoutDifference, StoredLayout, TensorMismatch, TensorNames, diff_tensors};
pub use statistics::{Histogram, Statistics};
pub use stream::stream;
pub use text_model::{LoadOptions, TextModel};
pub use trace::{
    Against, DEFAULT_THRESHOLD, DamagedTensor, Trace, TracedLayer, TracedOperation, trace,
    trace_against, trace_prompt,
};
pub use tree::{Node, NodeKind, Tree, tree};
pub use validate::{Check, Status, Validation, validate};
pub use verify::verify;
