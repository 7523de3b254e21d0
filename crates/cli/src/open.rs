//! Models that verbs name: opened, with a bar where one is pulled from the hub first.

use crate::progress::Bar;
use apr::{Checkpoint, Error};
use std::path::Path;

/// Opens a model file or folder, or `hf://ORG/NAME[@REVISION]`.
pub(crate) fn open(source: &Path) -> Result<Checkpoint, Error> {
    Checkpoint::open_with(source, &Bar::default())
}

/// Opens a model of which only the header is needed, of a pipe too.
pub(crate) fn open_header(source: &Path) -> Result<Checkpoint, Error> {
    Checkpoint::open_header_with(source, &Bar::default())
}
