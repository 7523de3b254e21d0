//! A Hugging Face folder as the output of a conversion: `model.safetensors` and what belongs to it.

use crate::{Checkpoint, ConvertOptions, Error};
use apr_format::{AtomicFile, safetensors};
use serde_json::Value;
use std::borrow::Cow;
use std::fs;
use std::path::Path;

/// Whether the output is a folder: its name has no extension.
pub(crate) fn is_folder(target: &Path, options: &ConvertOptions) -> bool {
    options.format.is_none() && target.extension().is_none()
}

/// The file of the weights.
pub(crate) fn weights<'a>(target: &'a Path, options: &ConvertOptions) -> Cow<'a, Path> {
    if is_folder(target, options) {
        Cow::Owned(target.join(safetensors::SINGLE_FILE))
    } else {
        Cow::Borrowed(target)
    }
}

/// Makes the folder, lets `write` fill it, and removes it again if that fails and it was not there.
pub(crate) fn with_folder<T>(
    target: &Path,
    write: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let existed = target.is_dir();
    fs::create_dir_all(target).map_err(Error::io(target))?;
    let result = write();
    if result.is_err() && !existed {
        // What was written has removed itself; a folder that somebody else filled stays.
        let _ = fs::remove_dir(target);
    }
    result
}

/// Writes the files that belong to the weights.
pub(crate) fn write_companions(checkpoint: &Checkpoint, folder: &Path) -> Result<(), Error> {
    let json = |value: &Value| serde_json::to_string_pretty(value).ok();
    let tokenizer = checkpoint.tokenizer_json()?.map(Cow::into_owned);
    for (name, content) in [
        ("config.json", checkpoint.config_json().and_then(json)),
        ("generation_config.json", checkpoint.generation_config_json().and_then(json)),
        ("tokenizer.json", tokenizer),
        ("chat_template.jinja", checkpoint.chat_template().map(str::to_owned)),
    ] {
        if let Some(content) = content {
            let mut file = AtomicFile::create(&folder.join(name))?;
            file.write(content.as_bytes())?;
            file.commit(|_| Ok::<(), Error>(()))?;
        }
    }
    Ok(())
}
