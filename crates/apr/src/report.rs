//! A model as one page that people look at and send around: what is in a file, what is proven of
//! it, and how far it is from its source.

mod data;
mod divergence;
mod page;
mod rows;
mod show;
mod summary;
mod values;
mod verdict;

use crate::{Checkpoint, Error, EvalText, LoadOptions, Progress, Step, units};
use apr_format::{AtomicFile, SystemDisk};
pub use data::{
    CertificateOrigin, KlRange, MetadataEntry, ModelReport, ReportContent, ReportedCertificate,
    ReportedConfig, ReportedDivergence, ReportedHistogram, ReportedTensor, SizeOfRole, SourceFile,
    Verdict, VerdictStatus,
};
use rows::{Row, Rows};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;
use values::Shape;
use verdict::Certificates;

/// Tensors that have a histogram: of more, only the largest ones, so that a page stays small.
const MOST_HISTOGRAMS: usize = 2000;

/// What to report beside the file itself.
#[derive(Clone)]
pub struct ReportOptions<'a> {
    /// What the file was made from. With it everything is measured; without it the report shows
    /// what the file says.
    pub against: Option<&'a Checkpoint>,
    /// The text over which both are run.
    pub text: ReportText,
    /// Tokens per window of the text; without it 256, or fewer if the model holds no more.
    pub window: Option<usize>,
    /// How to load the models.
    pub load: LoadOptions,
}

/// The text over which a model is compared with its source.
#[derive(Debug, Clone, Default)]
pub enum ReportText {
    /// That of [`EvalText::default`], if the models can be run.
    #[default]
    Default,
    /// This one; the models must run.
    Given(EvalText),
    /// None.
    None,
}

impl Default for ReportOptions<'_> {
    fn default() -> Self {
        let (text, load) = (ReportText::default(), LoadOptions::default());
        Self { against: None, text, window: None, load }
    }
}

/// Writes a page about a model to the file `target`, in one piece: it loads nothing from anywhere.
/// What is wrong with the model is on the page; [`verdict`](ReportContent::verdict) has the word.
///
/// # Errors
/// When a file cannot be read or written, when `target` is something else than such a page, when
/// both are files of different models, or when a text is given and the models cannot be run.
pub fn report(
    checkpoint: &Checkpoint,
    target: &Path,
    options: &ReportOptions<'_>,
    progress: &dyn Progress,
) -> Result<ModelReport, Error> {
    check_target(target)?;
    let mut file = AtomicFile::create(&SystemDisk, target)?;
    let content = content(checkpoint, options, progress)?;
    let page = page::page(&content)?;
    file.write(page.as_bytes())?;
    file.commit(|path| {
        let opened = [Some(checkpoint), options.against];
        opened.into_iter().flatten().try_for_each(Checkpoint::check_unchanged)?;
        if fs::read(path).map_err(Error::io(path))? == page.as_bytes() {
            return Ok(());
        }
        let cause = "the page that was written is not the page that is there".to_owned();
        Err(Error::BadPart { path: target.to_path_buf(), cause })
    })?;
    let (output, output_size) = (target.to_path_buf(), units::size(page.len()));
    Ok(ModelReport { output, output_size, content })
}

/// Refuses to replace anything but a page: not the model, nor what lies beside it.
fn check_target(target: &Path) -> Result<(), Error> {
    let file = match File::open(target) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        file => file.map_err(Error::io(target))?,
    };
    // Anything but a regular file is refused where it is written.
    if !file.metadata().map_err(Error::io(target))?.is_file() {
        return Ok(());
    }
    let mut beginning = Vec::new();
    let most = units::size(page::BEGINNING.len());
    file.take(most).read_to_end(&mut beginning).map_err(Error::io(target))?;
    if beginning.is_empty() || beginning.eq_ignore_ascii_case(page::BEGINNING.as_bytes()) {
        return Ok(());
    }
    let name = target.display();
    Err(Error::Argument(format!(
        "{name}: it is there and no HTML page; a report replaces no other file"
    )))
}

fn content(
    checkpoint: &Checkpoint,
    options: &ReportOptions<'_>,
    progress: &dyn Progress,
) -> Result<ReportContent, Error> {
    let against = options.against;
    let Rows { rows, arch, mut remarks } = rows::rows(checkpoint, against)?;
    let (verdict, proven) = verdict::verdict(checkpoint, against, progress)?;
    let stored = if against.is_some() { Certificates::new() } else { verdict::stored(checkpoint) };
    let certificates = proven.unwrap_or(stored);
    let tensors = tensors(checkpoint, rows, &certificates, progress)?;
    let known = tensors.iter().any(|tensor| tensor.certificate.is_some());
    if tensors.len() > MOST_HISTOGRAMS {
        remarks.push(format!(
            "Distributions are those of the {MOST_HISTOGRAMS} largest of {} tensors.",
            tensors.len()
        ));
    }
    let divergence = divergence(checkpoint, options, &mut remarks, progress)?;
    let origin =
        if against.is_some() { CertificateOrigin::Measured } else { CertificateOrigin::File };
    let mut content = summary::content(checkpoint, arch, verdict);
    content.against = against.map(|against| name(against.path()));
    content.sizes = summary::sizes(&tensors);
    content.certificates = known.then_some(origin);
    content.tensors = tensors;
    content.divergence = divergence;
    content.remarks = remarks;
    content.hide_folders(&[Some(checkpoint), against]);
    Ok(content)
}

fn tensors(
    checkpoint: &Checkpoint,
    rows: Vec<Row>,
    certificates: &Certificates,
    progress: &dyn Progress,
) -> Result<Vec<ReportedTensor>, Error> {
    let container = checkpoint.container();
    let elems = |name: &str| container.entry(name).map_or(0, |entry| entry.layout.elem_count());
    let mut sizes: Vec<usize> = rows.iter().map(|row| elems(&row.name)).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let least = sizes.get(MOST_HISTOGRAMS).map_or(0, |size| size + 1);
    progress.begin(Step::Describe, container.byte_len());
    let tensors = rows.into_iter().map(|row| {
        let shape = if elems(&row.name) >= least { Shape::Wanted } else { Shape::Omitted };
        let certificate = certificates.get(&row.name);
        let tensor = values::tensor(checkpoint, row, certificate, shape)?;
        progress.advance(tensor.size_bytes);
        Ok(tensor)
    });
    let tensors = tensors.collect::<Result<_, Error>>()?;
    progress.end();
    Ok(tensors)
}

/// The comparison over a text; where nobody asked for a certain one, a remark may take its place.
fn divergence(
    checkpoint: &Checkpoint,
    options: &ReportOptions<'_>,
    remarks: &mut Vec<String>,
    progress: &dyn Progress,
) -> Result<Option<ReportedDivergence>, Error> {
    let Some(against) = options.against else { return Ok(None) };
    let run = |text| divergence::divergence((checkpoint, against), text, options, progress);
    match &options.text {
        ReportText::None => Ok(None),
        ReportText::Given(text) => run(text).map(Some),
        ReportText::Default => match run(&EvalText::default()) {
            Ok(divergence) => Ok(Some(divergence)),
            Err(error @ Error::Io { .. }) => Err(error),
            Err(error) => {
                remarks.push(format!("Both were not run over a text: {error}."));
                Ok(None)
            }
        },
    }
}

/// The name of a model without its folders; of one in the hub's cache, that of the hub.
fn name(path: &Path) -> String {
    let of_hub = || {
        let snapshots = path.parent().filter(|folder| folder.ends_with("snapshots"))?;
        let model = snapshots.parent()?.file_name()?.to_string_lossy();
        Some(model.strip_prefix("models--")?.replacen("--", "/", 1))
    };
    let of_file = || {
        let whole = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let file = path.file_name().or_else(|| whole.file_name()).unwrap_or(path.as_os_str());
        file.to_string_lossy().into_owned()
    };
    of_hub().unwrap_or_else(of_file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_named_without_their_folders() {
        for (path, expected) in [
            ("/home/someone/tiny.apr", "tiny.apr"),
            ("models/tiny-llama/", "tiny-llama"),
            ("/cache/models--Org--Some--Name/snapshots/0123abcd", "Org/Some--Name"),
            ("/cache/models--Org--Name/snapshots/0123abcd/q4.gguf", "q4.gguf"),
        ] {
            assert_eq!(name(Path::new(path)), expected);
        }
        assert_ne!(name(Path::new(".")), ".");
    }
}
