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
mod bench;
mod check;
mod checkpoint;
mod convert;
mod debug;
mod derived;
mod doctor;
mod encode;
mod error;
mod eval;
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
mod memory;
mod oracle;
mod parity;
mod plan;
mod progress;
mod proof;
mod provenance;
mod qa;
mod recipe;
mod source;
mod statistics;
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
pub use apr_token::panic_is_told;
pub use bench::{Bench, BenchOptions, Limit, Rate, Shares, bench};
pub use check::{SAMPLE_TEXT, SelfCheck, check};
pub use checkpoint::Checkpoint;
pub use convert::{ConvertOptions, Floats, Requantize, convert, plan};
pub use debug::{Debug, Health, debug};
pub use doctor::{Doctor, HubHealth, doctor};
pub use error::Error;
pub use eval::{Comparison, Divergence, EvalOptions, EvalText, Evaluation, Reference, evaluate};
pub use explain::{Explanation, explain};
pub use flow::{Flow, FlowLayers, FlowStep, flow};
pub use generate::{
    Generate, Generation, Length, OperationTime, Phase, Profile, Speculation, StopReason,
};
pub use hex::{
    DistributionView, DumpView, HeaderFile, HeaderView, Slice, SliceView, StatisticsView,
    TensorPlace, hex_distribution, hex_dump, hex_header, hex_slice, hex_statistics,
};
pub use hub::{CachedModel, CachedModels, PulledModel, RemovedModel, list, pull, remove};
pub use inspect::{Inspection, TensorList, inspect, tensors};
pub use lint::{Lint, Severity, Violation, lint};
pub use oracle::{Oracle, OracleFormat, OracleRuntime, oracle};
pub use parity::{KernelParity, Parity, ParityPath, parity};
pub use plan::{Plan, PlannedTensor};
pub use progress::{Progress, Step};
pub use proof::{Exception, Proof, ProofFailure, ProvenTensor};
pub use qa::{Gate, Qa, qa};
pub use recipe::{RECIPES, Recipe, TypeOverride};
pub use statistics::{Histogram, Statistics};
pub use text_model::{LoadOptions, TextModel};
pub use trace::{
    Against, DEFAULT_THRESHOLD, DamagedTensor, Trace, TracedLayer, TracedOperation, trace,
    trace_against, trace_prompt,
};
pub use tree::{Node, NodeKind, Tree, tree};
pub use validate::{Check, Status, Validation, validate};
pub use verify::verify;
