//! Tests of the whole: the binary as its users call it, and the library on the shipped models.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a failed unwrap or cast is a failed test; what is printed explains one"
)]

mod architectures;
mod attacks;
mod audit;
mod bad_input;
mod bench;
mod bit_rot;
mod caches;
mod chat;
mod checkpoints;
mod checks;
mod cli;
mod comfort;
mod conversion;
mod crash;
mod defect;
mod dependencies;
mod diff;
mod encoders;
mod eval;
mod export;
mod gguf;
#[path = "../crates/format/tests/integration/gguf_file.rs"]
mod gguf_file;
mod goldens;
mod harness;
mod hex;
mod hub;
#[path = "../crates/hub/tests/integration/hub_server.rs"]
#[allow(dead_code, reason = "the tests of the hub's own crate use all of it")]
mod hub_server;
mod mapped;
mod merge;
mod observe;
mod profile;
mod prune;
mod quality;
mod recipes;
mod report;
mod speculation;
mod tour;
mod trace;
mod tree;
