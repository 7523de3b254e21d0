//! What to do about an error: the next step, where the common mistakes have one.

use crate::{Error, RECIPES};
use apr_format::{FORMATS, FormatError};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Component, Path};

/// Model files that are named at most.
const SHOWN: usize = 5;
/// Bytes by which what is no model is recognised.
const PREFIX: usize = 64;

/// What people take for models: how it begins, and what to do.
const LOOKALIKES: [(&[u8], &str); 5] = [
    (
        b"version https://git-lfs",
        "this is a Git LFS pointer and not the weights: run `git lfs pull` in its folder",
    ),
    (
        b"PK\x03\x04",
        "this is a PyTorch archive; pickles can run code and are not read: take the SafeTensors of the same model",
    ),
    (
        b"\x80\x02",
        "this is a pickle; pickles can run code and are not read: take the SafeTensors of the same model",
    ),
    (b"<!DOCTYPE", "this is a web page, perhaps instead of the file it links to"),
    (b"{", "this is JSON; give the folder that it lies in"),
];

impl Error {
    /// The next step, if there is an obvious one.
    #[must_use]
    #[expect(clippy::wildcard_enum_match_arm, reason = "most errors say all there is to say")]
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Format(FormatError::Io { path, source }) | Self::Io { path, source } => {
                missing(path, source)
            }
            Self::Format(FormatError::UnknownFormat { path }) => lookalike(path),
            Self::Format(FormatError::NoWeights { path }) => {
                let files = model_files(path);
                Some(files.map_or_else(
                    || "a model of the hub is fetched whole by `apr pull hf://ORG/NAME`".to_owned(),
                    |files| format!("give one of its files: {files}"),
                ))
            }
            Self::MissingPart { what, .. } => Some(format!(
                "copy the {what} of the published model to the weights, or fetch it whole by `apr pull hf://ORG/NAME`"
            )),
            Self::UnknownRecipe { name, .. } => similar_recipe(name),
            _ => None,
        }
    }
}

fn missing(path: &Path, error: &io::Error) -> Option<String> {
    if error.kind() != ErrorKind::NotFound {
        return None;
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if folder.is_dir() {
        return model_files(folder).map(|files| format!("in its folder there is {files}"));
    }
    let parts: Vec<Component<'_>> = path.components().collect();
    if let [Component::Normal(_), Component::Normal(_)] = parts[..] {
        let name = path.display();
        return Some(format!("for a model of the hub write hf://{name}"));
    }
    Some(format!("there is no folder {}", folder.display()))
}

/// The model files in a folder; none if there are none.
fn model_files(folder: &Path) -> Option<String> {
    let is_model = |name: &String| {
        let extension = Path::new(name).extension();
        FORMATS.iter().any(|format| extension.is_some_and(|found| found == format.extension))
    };
    let entries = fs::read_dir(folder).ok()?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(is_model)
        .collect();
    names.sort();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!names.is_empty()).then(|| format!("{}{rest}", names.join(", ")))
}

fn lookalike(path: &Path) -> Option<String> {
    let mut prefix = Vec::new();
    let file = File::open(path).ok().filter(|file| file.metadata().is_ok_and(|m| m.is_file()))?;
    file.take(u64::try_from(PREFIX).ok()?).read_to_end(&mut prefix).ok()?;
    let like = LOOKALIKES.iter().find(|(begins, _)| prefix.starts_with(begins));
    like.map(|(_, advice)| (*advice).to_owned())
}

/// The recipe that is spelled with other signs or in capitals.
fn similar_recipe(name: &str) -> Option<String> {
    let plain = |name: &str| -> String {
        name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let same = |known: &&str| plain(known) == plain(name);
    let recipe = RECIPES.iter().map(|recipe| recipe.name).find(same)?;
    Some(format!("did you mean {recipe}?"))
}
