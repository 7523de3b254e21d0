//! Language models: architectures as data, their parameters and weights, and one decoder.
//!
//! An architecture is a description ([`Arch`]): which norm, positions, activation and tensor
//! names. [`Decoder`] is the only forward pass; it matches on those descriptions, never on a
//! name. This crate neither prints nor opens paths, and knows no tokenizer.

pub mod arch;
mod cache;
mod census;
mod config;
mod decoder;
mod error;
mod gguf;
mod identify;
mod observe;
mod ops;
mod profile;
mod sample;
mod survey;
mod weights;

pub use arch::{ARCHS, Arch, DerivedKind, Form, Param, Part, RowOrder, TensorRole};
pub use cache::{CacheType, KvCache};
pub use census::{Census, DerivedTensor, Naming, PlacedTensor};
pub use config::{Experts, ModelConfig, Residual, RopeConfig, RopeScaling, Window};
pub use decoder::Decoder;
pub use error::ModelError;
pub use gguf::{GgufKey, gguf_keys, hf_config};
pub use identify::{Identity, layer_and_pattern, layers_in};
pub use observe::{Observer, Point};
pub use profile::{Operation, Profile, Timer, Usage, Usages};
pub use sample::{Sampler, Sampling, argmax, log_softmax_at};
pub use survey::Survey;
