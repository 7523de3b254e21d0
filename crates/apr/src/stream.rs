//! A proven file as a stream of bytes.

use crate::{Checkpoint, ConvertOptions, Error, Progress, Proof, convert};
use apr_format::FORMATS;
use std::env;
use std::fs::File;
use std::io::{self, Write};

/// [Converts](crate::convert()) to a file in the system's folder for temporary files, and writes
/// its bytes to `to` once it is proven. The format is that of the options.
///
/// # Errors
/// As for [`convert`](crate::convert()), when the options name no format, and when `to` fails.
pub fn stream(
    checkpoint: &Checkpoint,
    to: &mut dyn Write,
    options: &ConvertOptions,
    progress: &dyn Progress,
) -> Result<Proof, Error> {
    let format = FORMATS.iter().find(|format| Some(format.name) == options.format.as_deref());
    let format = format.ok_or_else(|| {
        let known: Vec<&str> = FORMATS.iter().map(|format| format.name).collect();
        Error::Argument(format!("a stream needs a format: {}", known.join(", ")))
    })?;
    let folder = tempfile::tempdir().map_err(Error::io(&env::temp_dir()))?;
    let path = folder.path().join("model").with_extension(format.extension);
    let proof = convert(checkpoint, &path, options, progress)?;
    let mut file = File::open(&path).map_err(Error::io(&path))?;
    io::copy(&mut file, to).and_then(|_| to.flush()).map_err(Error::Output)?;
    Ok(proof)
}
