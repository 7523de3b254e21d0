//! Tests of the containers as a whole, on files.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a failed unwrap or cast is a failed test"
)]

mod bench;
mod certificates;
mod gguf;
mod gguf_file;
mod model;
mod peers;
