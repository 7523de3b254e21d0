//! A model in several files, `NAME-00001-of-0000N.gguf`, as llama.cpp's gguf-split makes them.

use crate::open::open_part;
use crate::{Container, FormatError, Malformed};
use std::path::{Path, PathBuf};

const NUMBER_KEY: &str = "split.no";
const COUNT_KEY: &str = "split.count";
const TENSORS_KEY: &str = "split.tensors.count";
/// Digits of a number in a name.
const DIGITS: usize = 5;

/// Completes a container whose file is one of several: its metadata is that of the first, its
/// tensors those of all.
///
/// # Errors
/// When a file is missing, or keys and names of the files do not agree.
pub(crate) fn join(opened: Container) -> Result<Container, FormatError> {
    let count = opened.metadata.get(COUNT_KEY).map_or(Ok(1), |_| number(&opened, COUNT_KEY))?;
    if count <= 1 {
        return Ok(opened);
    }
    let names = Names::new(opened.path())?;
    expect(&opened, COUNT_KEY, names.count, "the count in the file's name")?;
    expect(&opened, NUMBER_KEY, names.number, "the number in the file's name, less one")?;
    let total = number(&opened, TENSORS_KEY)?;
    let (own, mut opened, mut joined) = (names.number, Some(opened), None);
    for at in 0..count {
        let part = match opened.take_if(|_| at == own) {
            Some(part) => part,
            None => open_part(&names.folder, &names.name(at))?,
        };
        expect(&part, NUMBER_KEY, at, "the number in the file's name, less one")?;
        expect(&part, COUNT_KEY, count, "that of the other files")?;
        expect(&part, TENSORS_KEY, total, "that of the other files")?;
        match &mut joined {
            None => joined = Some(part),
            Some(joined) => joined.absorb(part)?,
        }
    }
    let Some(joined) = joined else { return Err(pattern(Path::new(&names.name(0)))) };
    let found = u64::try_from(joined.tensors.len()).unwrap_or(u64::MAX);
    if found != total {
        let (what, expected) = (TENSORS_KEY, "the number of tensors in all files");
        return Err(FormatError::malformed(joined.path())(Malformed::Field {
            what,
            expected,
            found: total,
        }));
    }
    Ok(joined)
}

fn number(container: &Container, key: &'static str) -> Result<u64, FormatError> {
    let value = container.metadata.get(key).and_then(serde_json::Value::as_u64);
    let cause = Malformed::Key { key: key.to_owned(), cause: "is missing or no count" };
    value.ok_or_else(|| FormatError::malformed(container.path())(cause))
}

fn expect(
    container: &Container,
    what: &'static str,
    wanted: u64,
    expected: &'static str,
) -> Result<(), FormatError> {
    let found = number(container, what)?;
    if found == wanted {
        return Ok(());
    }
    Err(FormatError::malformed(container.path())(Malformed::Field { what, expected, found }))
}

fn pattern(path: &Path) -> FormatError {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    FormatError::malformed(path)(Malformed::SplitName { name })
}

/// The names of the files of a model, by the name of one of them.
struct Names {
    folder: PathBuf,
    stem: String,
    /// From zero.
    number: u64,
    count: u64,
}

impl Names {
    fn new(path: &Path) -> Result<Self, FormatError> {
        let parse = || {
            let name = path.file_name()?.to_str()?.strip_suffix(".gguf")?;
            let (rest, count) = name.rsplit_once("-of-")?;
            let (stem, number) = rest.rsplit_once('-')?;
            let number = digits(number)?.checked_sub(1)?;
            let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
            Some(Self { folder, stem: stem.to_owned(), number, count: digits(count)? })
        };
        parse().ok_or_else(|| pattern(path))
    }

    /// Plain names: each differs from the one that was given in its digits only.
    fn name(&self, at: u64) -> String {
        let (stem, number) = (&self.stem, at.saturating_add(1));
        format!("{stem}-{number:05}-of-{:05}.gguf", self.count)
    }
}

fn digits(text: &str) -> Option<u64> {
    let plain = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}
