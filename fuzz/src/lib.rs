//! What the fuzz targets share: a bound on time and memory, and everything that is done with a
//! file that opens.

mod bounds;
mod container;
mod exercise;
mod repair;

pub use bounds::bounded;

use apr::Checkpoint;
use apr_token::panic_is_told;
use std::panic;
use std::path::Path;
use std::sync::Once;

/// Lets a panic pass that becomes an error, which is none; the fuzzer's hook would end the process.
pub fn allow_panics_that_are_told() {
    static HOOK: Once = Once::new();

    HOOK.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !panic_is_told() {
                report(panic);
            }
        }));
    });
}

/// A model file: whatever it holds, it is opened and looked at in bounded time and memory, whole
/// and as the header that comes through a pipe.
pub fn model_file(bytes: &[u8]) {
    allow_panics_that_are_told();
    let name = Path::new("fuzz");
    for bytes in repair::variants(bytes) {
        bounded(bytes.len(), || {
            if let Ok(container) = apr_format::read_header(name, &mut &bytes[..]) {
                container::exercise(&container);
            }
            if let Ok(checkpoint) = Checkpoint::header_from(name, &mut &bytes[..]) {
                exercise::exercise(&checkpoint);
            }
        });
        bounded(bytes.len(), || {
            if let Ok(container) = apr_format::open_bytes(name, bytes.clone()) {
                container::exercise(&container);
            }
        });
        bounded(bytes.len(), || {
            if let Ok(checkpoint) = Checkpoint::from_bytes(name, bytes.clone()) {
                exercise::exercise(&checkpoint);
            }
        });
    }
}
