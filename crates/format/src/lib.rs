//! Containers of models: what is in a file, where, and under which checks.
//!
//! Reading: [`open`] finds the format from the content, maps the file and returns a [`Container`],
//! whose tensors exist only with exactly the bytes of their layout. Writing: a [`Writer`], begun by
//! [`Format::create`], streams tensors into an [`AtomicFile`], which appears under its name only
//! after it has been read back and proven.
//! This crate never interprets weights.
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    reason = "everything parsed here may be hostile"
)]

pub mod apr;
mod atomic_file;
mod certificate;
mod container;
mod disk;
mod error;
mod folder;
pub mod gguf;
mod hash;
mod journal;
mod json;
mod mmap;
mod open;
pub mod safetensors;
mod size;
mod writer;

pub use atomic_file::AtomicFile;
pub use certificate::Certificate;
pub use container::{Container, ContainerFile, Metadata, TensorEntry};
pub use disk::{Disk, DiskFile, SystemDisk};
pub use error::{FormatError, Malformed};
pub use folder::{open_in_folder, read_in_folder};
pub use hash::{Hash128, Hasher128};
pub use json::parse_json;
pub use mmap::{check_closed_files, copy_files, explain_bus_errors};
pub use open::{FORMATS, Format, open, open_bytes, open_header, read_header};
pub use writer::{Destination, NewTensor, Unchanged, Writer};
