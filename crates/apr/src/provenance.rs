//! Where a model came from: the files that were read, by name, size and SHA-256, which is the
//! digest that model hubs publish.

use crate::operation::Origin;
use crate::{Checkpoint, Error, Progress, units};
use apr_format::read_in_folder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Files beside the weights that an import reads.
const COMPANIONS: [&str; 5] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
];
/// Bytes between two reports of progress.
const STEP: usize = 1 << 24;

/// The record for the metadata: a function of the source files and this program's version.
pub(crate) fn record(
    Origin { checkpoint, operation }: Origin<'_>,
    digest: impl Fn(&[u8]) -> String,
) -> Result<Value, Error> {
    let sources = sources(checkpoint, &digest)?;
    let version = env!("CARGO_PKG_VERSION");
    let mut record = json!({ "tool": "apr", "version": version, "sources": sources });
    if let Some(operation) = operation {
        let others = operation.others().into_iter().map(|other| self::sources(other, &digest));
        let others: Vec<Value> = others.collect::<Result<_, _>>()?;
        let mut settings = operation.settings();
        if !others.is_empty() {
            settings.insert("others".to_owned(), Value::Array(others));
        }
        record["operation"] = Value::Object(settings);
    }
    Ok(record)
}

/// The files of a checkpoint that were read.
fn sources(checkpoint: &Checkpoint, digest: &impl Fn(&[u8]) -> String) -> Result<Value, Error> {
    let entry = |path: &Path, bytes: &[u8]| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        json!({ "name": name, "size": bytes.len(), "sha256": digest(bytes) })
    };
    let mut sources = Vec::new();
    for file in checkpoint.container().files() {
        sources.push(entry(file.path(), file.bytes().unwrap_or_default()));
    }
    if checkpoint.path().is_dir() {
        for name in COMPANIONS {
            if let Some(text) = read_in_folder(checkpoint.path(), name)? {
                sources.push(entry(Path::new(name), &text));
            }
        }
    }
    Ok(Value::Array(sources))
}

/// The SHA-256 of these bytes in hexadecimal.
pub(crate) fn sha256(bytes: &[u8], progress: &dyn Progress) -> String {
    let mut hasher = Sha256::new();
    for part in bytes.chunks(STEP) {
        hasher.update(part);
        progress.advance(units::size(part.len()));
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is as long as a digest, for a plan.
pub(crate) fn placeholder(_bytes: &[u8]) -> String {
    "0".repeat(64)
}
