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

mod bench;
mod checkpoint;
mod convert;
mod derived;
mod encode;
mod error;
mod eval;
mod folder;
mod generate;
mod gguf;
mod hub;
mod inspect;
mod plan;
mod progress;
mod proof;
mod provenance;
mod recipe;
mod source;
mod target;
mod text_model;
mod units;
mod validate;
mod verify;

pub use apr_model::{CacheType, Sampling};
pub use bench::{Bench, BenchOptions, Limit, Rate, Shares, bench};
pub use checkpoint::Checkpoint;
pub use convert::{ConvertOptions, Floats, Requantize, convert, plan};
pub use error::Error;
pub use eval::{EvalOptions, Evaluation, evaluate};
pub use generate::{
    Generate, Generation, Length, OperationTime, Phase, Profile, Speculation, StopReason,
};
pub use hub::{CachedModel, CachedModels, list};
pub use inspect::{Inspection, TensorList, inspect, tensors};
pub use plan::{Plan, PlannedTensor};
pub use progress::{Progress, Step};
pub use proof::{Exception, Proof, ProofFailure, ProvenTensor};
pub use recipe::{RECIPES, Recipe, TypeOverride};
pub use text_model::{LoadOptions, TextModel};
pub use validate::{Check, Status, Validation, validate};
pub use verify::verify;
