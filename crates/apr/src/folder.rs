//! A Hugging Face folder as the output of a conversion: `model.safetensors` and what belongs to it.

use crate::{Checkpoint, ConvertOptions, Error};
use apr_format::{AtomicFile, Disk, safetensors};
use serde_json::Value;
use std::borrow::Cow;
use std::ffi::OsString;
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

/// Lets `write` fill a folder, which gets its name when it is complete. In a folder that is there
/// already, files appear one by one.
pub(crate) fn with_folder<T>(
    target: &Path,
    options: &ConvertOptions,
    write: impl FnOnce(&Path) -> Result<T, Error>,
) -> Result<T, Error> {
    if target.is_dir() {
        return write(target);
    }
    let parent = target.parent().filter(|parent| *parent != Path::new(""));
    let parent = parent.unwrap_or(Path::new("."));
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(".apr-partial");
    let partial = parent.join(name);
    fs::create_dir_all(&partial).map_err(Error::io(target))?;
    let complete = || {
        let written = write(&partial)?;
        options.disk.rename(&partial, target).map_err(Error::io(target))?;
        options.disk.sync_folder(parent).map_err(Error::io(parent))?;
        Ok(written)
    };
    let result = complete();
    if result.is_err() && !options.resume {
        // Why the writing ended is told; this is no more than tidiness.
        let _ = fs::remove_dir_all(&partial);
    }
    result
}

/// Writes the files that belong to the weights.
pub(crate) fn write_companions(
    checkpoint: &Checkpoint,
    disk: &'static dyn Disk,
    folder: &Path,
) -> Result<(), Error> {
    let json = |value: &Value| serde_json::to_string_pretty(value).ok();
    let tokenizer = checkpoint.tokenizer_json()?.map(Cow::into_owned);
    for (name, content) in [
        ("config.json", checkpoint.config_json().and_then(json)),
        ("generation_config.json", checkpoint.generation_config_json().and_then(json)),
        ("tokenizer.json", tokenizer),
        ("chat_template.jinja", checkpoint.chat_template().map(str::to_owned)),
    ] {
        if let Some(content) = content {
            let mut file = AtomicFile::create(disk, &folder.join(name))?;
            file.write(content.as_bytes())?;
            file.commit(|_| Ok::<(), Error>(()))?;
        }
    }
    Ok(())
}
