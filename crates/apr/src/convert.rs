//! Conversion: a checkpoint becomes a proven file, or a model in memory.

use crate::encode::{Part, Parts, encode, write_beside};
use crate::operation::{Origin, Piece};
use crate::proof::certify;
use crate::recipe::TypeOverride;
use crate::source::Source;
use crate::target::{Extra, Target};
use crate::verify::verify_origin;
use crate::{Checkpoint, Error, Plan, PlannedTensor, Progress, Proof, Recipe, Step};
use crate::{derived, folder, provenance, units};
use apr_format::{
    Certificate, Container, Destination, Disk, Hash128, Metadata, NewTensor, SystemDisk, Unchanged,
    Writer, apr, safetensors,
};
use apr_model::ModelConfig;
use apr_tensor::{Tensor, TensorLayout};
use serde_json::Value;
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
    /// Which types floats get where packed types must be decoded.
    pub floats: Floats,
    /// Name of the format, if not by the extension of the file.
    pub format: Option<String>,
    /// Name of the tokenizer's split in GGUF, if what the tokenizer does has none.
    pub split: Option<String>,
    /// Continue what an interrupted conversion of the same kind left, and keep what is written if
    /// this one fails.
    pub resume: bool,
    /// Where the file is written.
    pub disk: &'static dyn Disk,
}

/// Which types floats get in a SafeTensors file of a source with packed types, which are decoded
/// to single precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Floats {
    /// Single precision like the rest.
    #[default]
    Single,
    /// Those of the source.
    Keep,
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
        Self {
            recipe,
            types: Vec::new(),
            requantize: Requantize::Refuse,
            floats: Floats::Single,
            format: None,
            split: None,
            resume: false,
            disk: &SystemDisk,
        }
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
    plan_origin(Origin::of(checkpoint), target, options)
}

/// What writing this file would do.
pub(crate) fn plan_origin(
    origin: Origin<'_>,
    target: &Path,
    options: &ConvertOptions,
) -> Result<Plan, Error> {
    let target = &folder::weights(target, options);
    let conversion = Conversion::new(origin, target, options)?;
    // Digests of the same length: nothing but the header of the source is read.
    let metadata = conversion.metadata(provenance::placeholder)?;
    let format = conversion.target.format;
    let size = format.file_len(target, &metadata, conversion.new_tensors())?;
    Ok(conversion.plan.of_file_size(size))
}

/// Writes `checkpoint` as the file `target` and proves it: the file is read back, and every tensor
/// compared with its source, before it gets its name. The same input gives the same bytes. A
/// target without an extension becomes a Hugging Face folder.
///
/// Memory beyond the file maps: a few parts of 4 MiB, and a small buffer per thread.
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
    write(Origin::of(checkpoint), target, options, progress)
}

/// Writes what comes from `origin` as a proven file or folder.
pub(crate) fn write(
    origin: Origin<'_>,
    target: &Path,
    options: &ConvertOptions,
    progress: &dyn Progress,
) -> Result<Proof, Error> {
    let weights = folder::weights(target, options);
    if !folder::is_folder(target, options) {
        return write_file(origin, &weights, options, progress);
    }
    let mut proof = folder::with_folder(target, options, |folder| {
        let weights = folder.join(safetensors::SINGLE_FILE);
        let proof = write_file(origin, &weights, options, progress)?;
        folder::write_companions(origin.checkpoint, options.disk, folder)?;
        Ok(proof)
    })?;
    proof.file = weights.into_owned();
    Ok(proof)
}

fn write_file(
    origin: Origin<'_>,
    target: &Path,
    options: &ConvertOptions,
    progress: &dyn Progress,
) -> Result<Proof, Error> {
    let conversion = Conversion::new(origin, target, options)?;
    progress.begin(Step::Hash, origin.byte_len());
    let metadata = conversion.metadata(|bytes| provenance::sha256(bytes, progress))?;
    progress.end();
    let format = conversion.target.format;
    progress.begin(Step::Convert, conversion.plan.output_size);
    let mut unchanged = |tensor: &NewTensor, certificate: &Certificate| {
        let same = conversion.source_hash(&tensor.name) == Some(certificate.source_hash);
        if same {
            progress.advance(units::size(tensor.layout.byte_len()));
        }
        same
    };
    let resume: Option<&mut Unchanged<'_>> =
        if options.resume { Some(&mut unchanged) } else { None };
    let to = Destination { path: target, disk: options.disk, resume };
    let mut writer = format.create(to, &metadata, conversion.new_tensors())?;
    conversion.write(&mut writer, target, progress)?;
    progress.end();
    let mut proof = writer.commit(|path| {
        let mut written = Checkpoint::open(path)?;
        if conversion.target.is_safetensors() {
            // What lies beside the target may belong to another model.
            written.describe_as(origin.checkpoint);
        }
        let proof = verify_origin(&written, origin, progress)?;
        origin.checkpoints().into_iter().try_for_each(Checkpoint::check_unchanged)?;
        Ok::<_, Error>(proof)
    })?;
    proof.file = target.to_path_buf();
    proof.recipe.clone_from(&conversion.plan.recipe);
    proof.exceptions = conversion.plan.exceptions();
    Ok(proof)
}

/// What is decided before the first byte is written.
struct Conversion<'a> {
    origin: Origin<'a>,
    config: ModelConfig,
    options: &'a ConvertOptions,
    target: Target,
    plan: Plan,
    derived: Value,
    /// Tensors that are no weights.
    extras: Vec<Extra>,
}

impl<'a> Conversion<'a> {
    fn new(origin: Origin<'a>, path: &Path, options: &'a ConvertOptions) -> Result<Self, Error> {
        let checkpoint = origin.checkpoint;
        let target = Target::new(path, options.format.as_deref())?;
        let config = checkpoint.config()?;
        let census = checkpoint.census(&config)?;
        let derived = derived::check(checkpoint, &config, &census)?;
        let extras = target.extras(origin, &config, &census)?;
        let plan = Plan::new(origin, census, &config, (options, target), &extras)?;
        Ok(Self { origin, config, options, target, plan, derived, extras })
    }

    fn metadata(&self, digest: impl Fn(&[u8]) -> String) -> Result<Metadata, Error> {
        let names = (self.plan.recipe.as_str(), self.options.split.as_deref());
        self.target.metadata(self.origin, &self.config, names, || {
            Ok((self.derived.clone(), provenance::record(self.origin, digest)?))
        })
    }

    /// The hash of the source of the tensor of this name.
    fn source_hash(&self, name: &str) -> Option<Hash128> {
        if let Some(extra) = self.extras.iter().find(|extra| extra.new.name == name) {
            return extra.source.hash().ok();
        }
        let tensor = self.plan.tensors.iter().find(|tensor| tensor.name == name)?;
        source(self.origin, &self.config, tensor, self.target).ok()?.hash().ok()
    }

    fn new_tensors(&self) -> Vec<NewTensor> {
        let extras = self.extras.iter().map(|extra| extra.new.clone());
        self.plan.tensors.iter().map(PlannedTensor::as_new_tensor).chain(extras).collect()
    }

    /// Encodes and certifies the tensors in the order of the file, while those before are written.
    fn write(
        &self,
        writer: &mut Writer,
        path: &Path,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let planned: BTreeMap<&str, &PlannedTensor> =
            self.plan.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let extras: BTreeMap<&str, &Extra> =
            self.extras.iter().map(|extra| (extra.new.name.as_str(), extra)).collect();
        let ended = writer.ended();
        let order: Vec<String> = writer.order().iter().map(|tensor| tensor.name.clone()).collect();
        write_beside(writer, path, |parts| {
            for name in order.get(ended..).unwrap_or_default() {
                if let Some(Extra { new, source }) = extras.get(name.as_str()) {
                    put(source, &new.layout, parts, progress)?;
                } else {
                    let tensor = planned[name.as_str()];
                    let source = source(self.origin, &self.config, tensor, self.target)?;
                    put(&source, &tensor.layout, parts, progress)?;
                }
            }
            Ok(())
        })
    }
}

/// Encodes a tensor in the type of `layout`, certifies it and hands it to the file.
fn put(
    source: &Source,
    layout: &TensorLayout,
    parts: &Parts<'_>,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let certificate = if let Some(as_is) = source.as_is(layout) {
        progress.advance(units::size(layout.byte_len()));
        let certificate = certify(source, as_is.view())?;
        parts.put(Part::Whole(as_is.clone()))?;
        certificate
    } else {
        encode(source, layout, progress, |bytes| parts.put(Part::Bytes(bytes)))?
    };
    parts.put(Part::End(Box::new(certificate)))
}

/// The model in memory, by this recipe: matrices in the types of the plan, everything that keeps
/// its type where it lies in the file. Whatever is converted is compared with its source.
pub(crate) fn in_memory(
    checkpoint: &Checkpoint,
    config: &ModelConfig,
    recipe: Recipe,
    progress: &dyn Progress,
) -> Result<Container, Error> {
    let (target, origin) = (Target::memory()?, Origin::of(checkpoint));
    let options = ConvertOptions::new(recipe);
    let plan = Plan::new(origin, checkpoint.census(config)?, config, (&options, target), &[])?;
    // Where matrices must be transposed, the map is let go, so that nothing is held twice.
    let share = !plan.tensors.iter().any(|tensor| tensor.placed.form.transposed);
    let mut tensors = Vec::new();
    progress.begin(Step::Convert, plan.output_size);
    for tensor in &plan.tensors {
        let source = source(origin, config, tensor, target)?;
        let as_is = source.as_is(&tensor.layout).filter(|_| share);
        let stored = if let Some(as_is) = as_is {
            progress.advance(tensor.size);
            // A model that runs as it is published is not read from end to end before it starts.
            if recipe != Recipe::KEEP {
                certify(&source, as_is.view())?;
            }
            as_is.clone()
        } else {
            let mut bytes = Vec::with_capacity(tensor.layout.byte_len());
            encode(&source, &tensor.layout, progress, |part| {
                bytes.extend_from_slice(&part);
                Ok(())
            })?;
            Tensor::owned(tensor.layout.clone(), bytes)
                .map_err(Error::layout(checkpoint.path(), &tensor.name))?
        };
        tensors.push((tensor.name.clone(), stored));
    }
    progress.end();
    Ok(Container::in_memory(checkpoint.path(), apr::NAME, Metadata::new(), tensors)?)
}

fn source(
    origin: Origin<'_>,
    config: &ModelConfig,
    tensor: &PlannedTensor,
    target: Target,
) -> Result<Source, Error> {
    let form = target.form(config, &tensor.placed);
    origin.source(&Piece { placed: &tensor.placed, form, expert: tensor.expert })
}
