//! The tensors of a file in the order of the model, each with its source if there is one.

use crate::source::Source;
use crate::{Checkpoint, Error};
use apr_model::{Arch, Census, ModelConfig, PlacedTensor, Survey, layer_and_pattern};
use std::collections::BTreeMap;

/// A tensor of the file.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) role: String,
    pub(super) layer: Option<usize>,
    /// What it was made from.
    pub(super) source: Option<Source>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) rows: Vec<Row>,
    pub(super) arch: Option<&'static Arch>,
    /// What is not known of them, and why.
    pub(super) remarks: Vec<String>,
}

/// # Errors
/// When the files are of two architectures, or a tensor of the source cannot be read.
pub(super) fn rows(checkpoint: &Checkpoint, against: Option<&Checkpoint>) -> Result<Rows, Error> {
    match Placed::new(checkpoint, against) {
        Ok(placed) => placed.rows(checkpoint, against),
        Err(error @ Error::Argument(_)) => Err(error),
        Err(error) => {
            let remark =
                format!("Roles are not known: {error}. Tensors are grouped by their names.");
            Ok(Rows { rows: by_name(checkpoint, against)?, arch: None, remarks: vec![remark] })
        }
    }
}

/// Tensors of a supported architecture with their roles.
struct Placed {
    arch: &'static Arch,
    survey: Survey,
    reference: Option<Survey>,
    /// Whether all shapes are those of the parameters, so that heads can be brought into order.
    has_heads: bool,
}

impl Placed {
    fn new(checkpoint: &Checkpoint, against: Option<&Checkpoint>) -> Result<Self, Error> {
        let (arch, _) = checkpoint.arch_and_layers()?;
        let reference = against.map(Checkpoint::arch_and_layers).transpose()?;
        if let (Some(against), Some((other, _))) = (against, reference)
            && other.name != arch.name
        {
            let (path, other) = (against.path().display(), other.name);
            let cause =
                format!("{path}: another model: its architecture is {other}, not {}", arch.name);
            return Err(Error::Argument(cause));
        }
        // A file of weights may lie alone; then the other one knows the parameters.
        let config = match checkpoint.known_config()? {
            None => against.map(Checkpoint::known_config).transpose()?.flatten(),
            config => config,
        };
        let survey = |of: &Checkpoint| {
            Survey::take(arch, config.as_ref(), of.container(), of.naming())
                .map_err(Error::model(of.path()))
        };
        let complete = |of: &Checkpoint, config: &ModelConfig| {
            Census::take(config, of.container(), of.naming()).is_ok()
        };
        let has_heads = config.as_ref().is_some_and(|config| {
            complete(checkpoint, config) && against.is_none_or(|against| complete(against, config))
        });
        let reference = against.map(survey).transpose()?;
        Ok(Self { arch, survey: survey(checkpoint)?, reference, has_heads })
    }

    fn rows(self, checkpoint: &Checkpoint, against: Option<&Checkpoint>) -> Result<Rows, Error> {
        let reference = self.reference.as_ref().map(|survey| &survey.tensors[..]);
        let expected: BTreeMap<&str, &PlacedTensor> =
            reference.unwrap_or_default().iter().map(|p| (p.name.as_str(), p)).collect();
        let mut rows = Vec::new();
        for placed in &self.survey.tensors {
            let expected = expected.get(placed.name.as_str()).copied();
            let same_order = |e: &&PlacedTensor| e.form.row_order == placed.form.row_order;
            let expected = expected.filter(|e| self.has_heads || same_order(e));
            let source = against.zip(expected).map(|(against, expected)| {
                Source::new(against.container(), expected, placed.form, against.path())
            });
            let source = source.transpose()?;
            let is_same = expected.is_some_and(|e| e.layout.shape() == placed.layout.shape());
            let experts = placed.sources.len();
            for (at, name) in placed.sources.iter().enumerate() {
                let source = match &source {
                    Some(stack) if experts > 1 && is_same => Some(stack.clone().expert(at)?),
                    Some(source) if experts == 1 => Some(source.clone()),
                    Some(_) | None => None,
                };
                let (role, layer) = (placed.role.to_string(), placed.layer);
                rows.push(Row { name: name.clone(), role, layer, source });
            }
        }
        let plain = |name: &String, role: String| Row {
            layer: layer_and_pattern(name).0,
            name: name.clone(),
            role,
            source: None,
        };
        let derived = self.survey.derived.iter();
        rows.extend(derived.map(|d| plain(&d.source, d.kind.name().replace('_', " "))));
        let unknown = self.survey.unknown.iter();
        rows.extend(unknown.map(|name| plain(name, "of no part".to_owned())));
        let remarks = unfamiliar(checkpoint, &self.survey).into_iter().collect();
        Ok(Rows { rows, arch: Some(self.arch), remarks })
    }
}

fn unfamiliar(checkpoint: &Checkpoint, survey: &Survey) -> Option<String> {
    let (count, of) = (survey.unknown.len(), checkpoint.container().tensors().len());
    (count > 0).then(|| format!("{count} of {of} tensors belong to no part of the architecture."))
}

/// Tensors of an architecture that is not known: by name alone, compared as they are stored.
fn by_name(checkpoint: &Checkpoint, against: Option<&Checkpoint>) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    for entry in checkpoint.container().tensors() {
        let (layer, role) = layer_and_pattern(&entry.name);
        let expected = against.filter(|against| {
            let found = against.container().entry(&entry.name);
            found.is_some_and(|found| found.layout.shape() == entry.layout.shape())
        });
        let source = expected.map(|against| Source::as_it_is(against, &entry.name)).transpose()?;
        rows.push(Row { name: entry.name.clone(), role, layer, source });
    }
    rows.sort_by_key(|row| row.layer);
    Ok(rows)
}
