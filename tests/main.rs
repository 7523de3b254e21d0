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
mod checkpoints;
mod checks;
mod cli;
mod conversion;
mod crash;
mod defect;
mod encoders;
mod eval;
mod export;
mod gguf;
#[path = "../crates/format/tests/integration/gguf_file.rs"]
mod gguf_file;
mod goldens;
mod harness;
mod hex;
mod mapped;
mod observe;
mod profile;
mod quality;
mod recipes;
mod speculation;
mod trace;
mod tree;
