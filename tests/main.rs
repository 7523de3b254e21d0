//! Tests of the whole: the binary as its users call it, and the library on the shipped models.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a failed unwrap or cast is a failed test; what is printed explains one"
)]

mod architectures;
mod bad_input;
mod bench;
mod caches;
mod checkpoints;
mod cli;
mod conversion;
mod defect;
mod encoders;
mod export;
mod gguf;
#[path = "../crates/format/tests/integration/gguf_file.rs"]
mod gguf_file;
mod goldens;
mod harness;
mod profile;
mod quality;
mod recipes;
mod speculation;
