//! The model hub and its local cache, in the layout of `huggingface_hub`: names, listings and
//! verified downloads. Knows files and their digests, and nothing of what is in them, except
//! which weight files belong together.
//!
//! Two rules hold throughout. No name that comes from the hub becomes a path outside the cache:
//! names are checked (`name::is_plain`) before they are joined to anything. And a file gets its
//! place in the cache only after its bytes on disk have the digest that the hub publishes.

mod cache;
mod client;
mod digest;
mod download;
mod error;
mod listing;
mod name;
mod pull;
mod retry;
mod select;
mod settings;
mod weights;

pub use cache::{Cache, CacheState, CachedFile, Removed};
pub use error::HubError;
pub use name::ModelName;
pub use pull::{Pulled, PulledFile, SkippedFile, locate, pull};
pub use settings::Settings;

/// What takes long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Bytes come from the hub.
    Download,
    /// The digest of a file is computed.
    Check,
}

/// Told how far a download is. `()` ignores it.
pub trait Observer {
    /// A stage of `bytes` bytes begins.
    fn begin(&self, stage: Stage, bytes: u64);
    /// So many more bytes of the current stage are done.
    fn advance(&self, bytes: u64);
    /// The current stage is over.
    fn end(&self);
}

impl Observer for () {
    fn begin(&self, _stage: Stage, _bytes: u64) {}
    fn advance(&self, _bytes: u64) {}
    fn end(&self) {}
}
