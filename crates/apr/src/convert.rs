//! Conversion: a checkpoint becomes a proven file, or a model in memory.

use crate::checkpoint::key;
use crate::plan::Target;
use crate::proof::{Exception, certify};
use crate::recipe::TypeOverride;
use crate::source::Source;
use crate::{Checkpoint, Error, Plan, PlannedTensor, Progress, Proof, Recipe, Step};
use crate::{derived, gguf, provenance, units, verify};
use apr_format::{Container, Format, Metadata, apr};
use apr_model::ModelConfig;
use apr_tensor::{EncodeError, Tensor, TensorView};
use rayon::prelude::*;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// How to convert.
#[derive(Debug, Clone)]
pub struct ConvertOptions {
    /// The types to store.
    pub recipe: Recipe,
    /// Other types for single matrices; the last that matches counts.
    pub types: Vec<TypeOverride>,
    /// Whether quantized values may be quantized again.
    pub requantize: Requantize,
}

/// Whether quantized values may be quantized again: the errors of both times add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Requantize {
    /// The source must hold floats.
    #[default]
    Refuse,
    /// Quantized sources are decoded and quantized anew.
    Allow,
}

impl ConvertOptions {
    /// Convert by this recipe alone.
    #[must_use]
    pub const fn new(recipe: Recipe) -> Self {
        Self { recipe, types: Vec::new(), requantize: Requantize::Refuse }
    }
}

/// What a conversion into this file would do.
///
/// # Errors
/// When the checkpoint is incomplete, not supported, or cannot be stored by the recipe, or when
/// no format has the extension of `target`.
pub fn plan(
    checkpoint: &Checkpoint,
    target: &Path,
    options: &ConvertOptions,
) -> Result<Plan, Error> {
    let config = checkpoint.config()?;
    let census = checkpoint.census(&config)?;
    let derived = derived::check(checkpoint, &config, &census)?;
    let format = format_of(target)?;
    let mut plan = Plan::new(checkpoint, census, &config, (options, format))?;
    // Digests of the same length: nothing but the header of the source is read.
    let provenance = || provenance::record(checkpoint, provenance::placeholder);
    let metadata = match format {
        Target::Apr => metadata(checkpoint, &plan, derived, provenance()?)?,
        Target::Gguf => gguf::keys(checkpoint, &config)?,
    };
    let container = Format::of_path(target).ok_or_else(|| no_format(target))?;
    plan.set_file_size(container.file_len(target, &metadata, plan.new_tensors())?);
    Ok(plan)
}

/// The format of a file to be written, by its extension.
fn format_of(target: &Path) -> Result<Target, Error> {
    match Format::of_path(target).map(|format| format.name) {
        Some(apr::NAME) => Ok(Target::Apr),
        Some(apr_format::gguf::NAME) => Ok(Target::Gguf),
        _ => Err(no_format(target)),
    }
}

fn no_format(target: &Path) -> Error {
    Error::Argument(format!("{}: the output must end in .apr or .gguf", target.display()))
}

/// Writes `checkpoint` as the `.apr` or GGUF file `target` and proves it: the file is read back,
/// and every tensor compared with its source, before it gets its name. The same input gives the
/// same bytes.
///
/// Memory beyond the file maps: the largest tensor of the output, and a small buffer per thread.
///
/// # Errors
/// When the checkpoint is incomplete, not supported or damaged, when the file cannot be written,
/// or when the proof fails. Then no file is left behind, and an older `target` is untouched.
pub fn convert(
    checkpoint: &Checkpoint,
    target: &Path,
    options: &ConvertOptions,
    progress: &dyn Progress,
) -> Result<Proof, Error> {
    let config = checkpoint.config()?;
    let census = checkpoint.census(&config)?;
    let derived = derived::check(checkpoint, &config, &census)?;
    let format = format_of(target)?;
    let plan = Plan::new(checkpoint, census, &config, (options, format))?;
    let metadata = match format {
        Target::Apr => {
            progress.begin(Step::Hash, checkpoint.container().byte_len());
            let digest = |bytes: &[u8]| provenance::sha256(bytes, progress);
            let provenance = provenance::record(checkpoint, digest)?;
            progress.end();
            metadata(checkpoint, &plan, derived, provenance)?
        }
        Target::Gguf => gguf::keys(checkpoint, &config)?,
    };
    let container = Format::of_path(target).ok_or_else(|| no_format(target))?;
    let factors = format.factors(&config)?;
    let tensors = plan.new_tensors().into_iter().chain(factors.iter().map(Source::as_new_tensor));
    let mut writer = container.create(target, &metadata, tensors.collect())?;
    let by_name: BTreeMap<&str, &PlannedTensor> =
        plan.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    progress.begin(Step::Convert, plan.output_size);
    for at in 0..writer.order().len() {
        let name = writer.order()[at].name.as_str();
        if let Some(factor) = factors.iter().find(|factor| factor.name() == name) {
            let view = factor.tensor().view();
            writer.put(view.bytes(), &certify(factor, view)?)?;
            continue;
        }
        let tensor = by_name[name];
        let source = source(checkpoint, &config, tensor, format)?;
        let bytes = encode(&source, tensor, progress)?;
        let view = TensorView::new(&tensor.layout, &bytes)
            .map_err(Error::layout(checkpoint.path(), &tensor.name))?;
        writer.put(&bytes, &certify(&source, view)?)?;
    }
    progress.end();
    let mut proof = writer.commit(|path| {
        let written = Checkpoint::open(path)?;
        verify(&written, checkpoint, progress)
    })?;
    proof.file = target.to_path_buf();
    proof.recipe.clone_from(&plan.recipe);
    proof.exceptions = plan
        .tensors
        .iter()
        .filter_map(|tensor| {
            let (tensor, role) = (tensor, tensor.role.clone());
            let why = tensor.exception.clone()?;
            Some(Exception { tensor: tensor.name.clone(), role, why })
        })
        .collect();
    Ok(proof)
}

/// The model in memory, by this recipe: matrices in the types of the plan, everything that keeps
/// its type where it lies in the file. Whatever is converted is compared with its source.
pub(crate) fn in_memory(
    checkpoint: &Checkpoint,
    config: &ModelConfig,
    recipe: Recipe,
    progress: &dyn Progress,
) -> Result<Container, Error> {
    let format = Target::Apr;
    let options = ConvertOptions::new(recipe);
    let plan = Plan::new(checkpoint, checkpoint.census(config)?, config, (&options, format))?;
    // Where matrices must be transposed, the map is let go, so that nothing is held twice.
    let share = !plan.tensors.iter().any(|tensor| tensor.placed.transposed);
    let mut tensors = Vec::new();
    progress.begin(Step::Convert, plan.output_size);
    for tensor in &plan.tensors {
        let source = source(checkpoint, config, tensor, format)?;
        let as_is = source.as_is(&tensor.layout).filter(|_| share);
        let stored = if let Some(as_is) = as_is {
            progress.advance(tensor.size);
            as_is.clone()
        } else {
            let bytes = encode(&source, tensor, progress)?.into_owned();
            Tensor::owned(tensor.layout.clone(), bytes)
                .map_err(Error::layout(checkpoint.path(), &tensor.name))?
        };
        // A model that runs as it is published is not read from end to end before it starts.
        if recipe != Recipe::KEEP || !share {
            certify(&source, stored.view())?;
        }
        tensors.push((tensor.name.clone(), stored));
    }
    progress.end();
    Ok(Container::in_memory(checkpoint.path(), apr::NAME, Metadata::new(), tensors)?)
}

fn source(
    checkpoint: &Checkpoint,
    config: &ModelConfig,
    tensor: &PlannedTensor,
    target: Target,
) -> Result<Source, Error> {
    let form = target.form(config, &tensor.placed);
    Source::new(checkpoint.container(), &tensor.placed, form, checkpoint.path())
}

/// The bytes of a tensor in the type of the plan.
fn encode<'a>(
    source: &'a Source,
    tensor: &PlannedTensor,
    progress: &dyn Progress,
) -> Result<Cow<'a, [u8]>, Error> {
    let layout = &tensor.layout;
    if let Some(as_is) = source.as_is(layout) {
        progress.advance(tensor.size);
        return Ok(Cow::Borrowed(as_is.view().bytes()));
    }
    let mut bytes = vec![0; layout.byte_len()];
    let chunk_bytes = source.rows_per_chunk().saturating_mul(layout.row_bytes()).max(1);
    bytes.par_chunks_mut(chunk_bytes).zip(source.chunks()).try_for_each(|(bytes, rows)| {
        if source.keeps_bytes_of_rows(layout) {
            source.copy_rows(rows, bytes).map_err(Error::layout(source.path(), source.name()))?;
        } else {
            let first = rows.start * layout.row_elems();
            layout
                .dtype()
                .encode(&source.read(rows)?, bytes)
                .map_err(|error| encode_error(source, error.offset_by(first)))?;
        }
        progress.advance(units::size(bytes.len()));
        Ok::<(), Error>(())
    })?;
    Ok(Cow::Owned(bytes))
}

fn encode_error(source: &Source, error: EncodeError) -> Error {
    let (path, tensor) = (source.path().to_path_buf(), source.name().to_owned());
    Error::Encode { path, tensor, source: error }
}

/// Everything about the model that is not a tensor (docs/format.md).
fn metadata(
    checkpoint: &Checkpoint,
    plan: &Plan,
    derived: Value,
    provenance: Value,
) -> Result<Metadata, Error> {
    let mut metadata = Metadata::new();
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            metadata.insert(key.to_owned(), value);
        }
    };
    set(key::ARCHITECTURE, Some(json!(plan.architecture)));
    set(key::RECIPE, Some(json!(plan.recipe)));
    set(key::CONFIG, checkpoint.config_json().cloned());
    set(key::GENERATION_CONFIG, checkpoint.generation_config_json().cloned());
    set(key::CHAT_TEMPLATE, checkpoint.chat_template().map(Value::from));
    set(key::DERIVED, Some(derived));
    set(key::PROVENANCE, Some(provenance));
    set(key::SOURCE_METADATA, checkpoint.source_metadata());
    set(key::TOKENIZER, checkpoint.tokenizer_json()?.map(|json| Value::from(json.into_owned())));
    Ok(metadata)
}
