//! What the fuzz targets share: a bound on time and memory, and everything that is done with a
//! file that opens.

mod bounds;
mod exercise;
mod repair;

pub use bounds::bounded;
pub use exercise::exercise;
pub use repair::variants;

/// A model file: whatever it holds, it is opened and looked at in bounded time and memory.
pub fn model_file(bytes: &[u8]) {
    for bytes in variants(bytes) {
        bounded(bytes.len(), || {
            if let Ok(checkpoint) = apr::Checkpoint::header_from("fuzz", &mut &bytes[..]) {
                exercise(&checkpoint);
            }
        });
        bounded(bytes.len(), || {
            if let Ok(checkpoint) = apr::Checkpoint::from_bytes("fuzz", bytes) {
                exercise(&checkpoint);
            }
        });
    }
}
