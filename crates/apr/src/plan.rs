//! What a conversion will do, tensor by tensor, before it does it.

use crate::Error;
use crate::convert::{ConvertOptions, Floats, Requantize};
use crate::operation::Origin;
use crate::proof::Exception;
use crate::recipe::fallback;
use crate::target::{DecodedTypes, Extra, Target};
use crate::units::{self, Table};
use apr_format::NewTensor;
use apr_model::{Census, ModelConfig, PlacedTensor};
use apr_tensor::{DType, TensorLayout};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// What a conversion will do.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Plan {
    /// Name of the architecture.
    pub architecture: &'static str,
    /// Name of the recipe.
    pub recipe: String,
    /// Every tensor, in the order of the model.
    pub tensors: Vec<PlannedTensor>,
    /// Tensors that are not stored because they follow from the rest.
    pub derived: Vec<String>,
    /// Elements of all tensors.
    pub elements: u64,
    /// Bytes of the tensors in the source.
    pub input_size: u64,
    /// Bytes of the tensors in the output.
    pub output_size: u64,
    /// Bits per element of the output.
    pub bits_per_weight: f64,
    /// Bytes of the file that will be written, to the byte.
    pub estimated_output_size: u64,
    /// Bytes of the tensors in the source, over those of the file.
    pub reduction_ratio: f64,
}

/// What a conversion will do with one tensor.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PlannedTensor {
    /// Its name in the output.
    pub name: String,
    /// What it is for.
    pub role: String,
    /// Shape in the output.
    pub shape: Vec<usize>,
    /// Type in the source.
    pub source_dtype: &'static str,
    /// Type in the output.
    pub dtype: &'static str,
    /// Bytes in the output.
    pub size: u64,
    /// Why it is not in the type that the recipe asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exception: Option<String>,
    #[serde(skip)]
    pub(crate) placed: PlacedTensor,
    /// Which of the experts, if it is that of one.
    #[serde(skip)]
    pub(crate) expert: Option<usize>,
    #[serde(skip)]
    pub(crate) layout: TensorLayout,
}

impl Plan {
    pub(crate) fn new(
        origin: Origin<'_>,
        census: Census,
        config: &ModelConfig,
        (options, target): (&ConvertOptions, Target),
        extras: &[Extra],
    ) -> Result<Self, Error> {
        let packed = census.tensors.iter().any(|placed| placed.layout.dtype().is_quantized());
        let single = packed && options.floats == Floats::Single;
        let decoded = if single { DecodedTypes::Single } else { DecodedTypes::Kept };
        let mut plan = Self {
            architecture: config.arch.name,
            recipe: options.recipe.label(),
            tensors: Vec::new(),
            derived: census.derived.iter().map(|derived| derived.source.clone()).collect(),
            elements: 0,
            input_size: 0,
            output_size: 0,
            bits_per_weight: 0.0,
            estimated_output_size: 0,
            reduction_ratio: 0.0,
        };
        let planner = Planner { origin, config, options, target, decoded };
        for placed in census.tensors {
            plan.input_size += units::size(placed.layout.byte_len());
            for planned in planner.tensors(&placed)? {
                plan.elements += units::size(planned.layout.elem_count());
                plan.output_size += planned.size;
                plan.tensors.push(planned);
            }
        }
        planner.check_overrides(&plan.tensors)?;
        for extra in extras {
            plan.output_size += units::size(extra.new.layout.byte_len());
        }
        plan.bits_per_weight = plan.output_size as f64 * 8.0 / plan.elements as f64;
        Ok(plan)
    }
}

impl Plan {
    pub(crate) fn of_file_size(self, bytes: u64) -> Self {
        let reduction_ratio = self.input_size as f64 / bytes.max(1) as f64;
        Self { estimated_output_size: bytes, reduction_ratio, ..self }
    }

    /// Tensors in another type than the recipe asks for.
    pub(crate) fn exceptions(&self) -> Vec<Exception> {
        let exception = |tensor: &PlannedTensor| {
            let (name, role) = (tensor.name.clone(), tensor.role.clone());
            Some(Exception { tensor: name, role, why: tensor.exception.clone()? })
        };
        self.tensors.iter().filter_map(exception).collect()
    }
}

impl PlannedTensor {
    pub(crate) fn as_new_tensor(&self) -> NewTensor {
        NewTensor { name: self.name.clone(), layout: self.layout.clone() }
    }
}

/// What decides the type of every tensor.
struct Planner<'a> {
    origin: Origin<'a>,
    config: &'a ModelConfig,
    options: &'a ConvertOptions,
    target: Target,
    decoded: DecodedTypes,
}

impl Planner<'_> {
    /// The tensors that this one becomes: itself, or one for each expert.
    fn tensors(&self, placed: &PlacedTensor) -> Result<Vec<PlannedTensor>, Error> {
        let source = placed.layout.dtype();
        let mut shape = placed.layout.shape().to_vec();
        if placed.form.transposed != self.target.form(self.config, placed).transposed {
            shape.reverse();
        }
        let names = self.target.names(self.origin.checkpoint, self.config, placed);
        let per_expert = names.len() > 1;
        if per_expert {
            shape.remove(0);
        }
        let row = shape.last().copied().unwrap_or(1);
        let wanted = self.wanted(&names, placed).unwrap_or(source);
        let (dtype, exception) = fit(wanted, row, source);
        self.check_types(placed, source, dtype)?;
        let layout = TensorLayout::new(dtype, &shape)
            .map_err(Error::layout(self.origin.checkpoint.path(), placed.source()))?;
        let planned = |(at, name): (usize, String)| PlannedTensor {
            name,
            role: placed.role.to_string(),
            shape: shape.clone(),
            source_dtype: source.name(),
            dtype: dtype.name(),
            size: units::size(layout.byte_len()),
            exception: exception.clone(),
            placed: placed.clone(),
            expert: Some(at).filter(|_| per_expert),
            layout: layout.clone(),
        };
        Ok(names.into_iter().enumerate().map(planned).collect())
    }

    /// The type that is asked for; `None` keeps the source's.
    fn wanted(&self, names: &[String], placed: &PlacedTensor) -> Option<DType> {
        let names = [names, &all_names(placed)].concat();
        let overridden = || {
            let matches = self.options.types.iter().rev().find(|over| over.matches(&names));
            matches.filter(|_| placed.role.is_matrix()).map(|over| over.dtype)
        };
        overridden()
            .or_else(|| self.options.recipe.dtype(placed.role, placed.layer, self.config))
            .or_else(|| self.target.dtype(placed.role, placed.layout.dtype(), self.decoded))
    }

    /// Values that were rounded once are rounded again only on request; decoding them is no loss.
    fn check_types(
        &self,
        placed: &PlacedTensor,
        source: DType,
        stored: DType,
    ) -> Result<(), Error> {
        if self.target.is_safetensors() && stored.safetensors_name().is_none() {
            return Err(Error::Argument(format!(
                "SafeTensors has no type {stored}: choose a recipe of floats, or .apr or .gguf"
            )));
        }
        if self.origin.computes(placed) && !stored.is_encodable() {
            return Err(Error::Argument(format!(
                "{}: tensor {:?} is {stored}, a type that is read and not written: decode the model first (apr export … -o NAME.safetensors)",
                self.origin.checkpoint.path().display(),
                placed.source()
            )));
        }
        let allowed = source == stored
            || source.is_float()
            || (source.is_quantized()
                && (stored.is_float() || self.options.requantize == Requantize::Allow));
        if allowed {
            return Ok(());
        }
        let checkpoint = self.origin.checkpoint;
        let (path, tensor) = (checkpoint.path().to_path_buf(), placed.source().to_owned());
        Err(Error::SourceType { path, tensor, dtype: source })
    }

    /// An override that changes nothing was meant for another model.
    fn check_overrides(&self, tensors: &[PlannedTensor]) -> Result<(), Error> {
        for over in &self.options.types {
            let matches = |tensor: &PlannedTensor| {
                let names = [&[tensor.name.clone()][..], &all_names(&tensor.placed)].concat();
                tensor.placed.role.is_matrix() && over.matches(&names)
            };
            if !tensors.iter().any(matches) {
                return Err(Error::Argument(format!(
                    "--tensor-type {over}: no matrix has such a name"
                )));
            }
        }
        Ok(())
    }
}

/// The names that a tensor has in `.apr` and in the source.
fn all_names(placed: &PlacedTensor) -> Vec<String> {
    [&[placed.name.clone()][..], &placed.sources].concat()
}

/// The type for rows of this many elements: the one that is wanted, else its fallback, else that
/// of the source; and why it is another one.
fn fit(wanted: DType, row: usize, source: DType) -> (DType, Option<String>) {
    let fits = |dtype: &DType| row.is_multiple_of(dtype.block_elems());
    if fits(&wanted) {
        return (wanted, None);
    }
    let why = format!("rows of {row} are no multiple of {}", wanted.block_elems());
    match fallback(wanted).filter(fits) {
        Some(other) => (other, Some(format!("{why}: {other} instead of {wanted}"))),
        None => (source, Some(format!("{why}: stays {source}, not {wanted}"))),
    }
}

/// Exceptions as lines for people, like ones together.
pub(crate) fn exception_lines<'a>(
    exceptions: impl Iterator<Item = (&'a str, &'a str)>,
) -> Vec<String> {
    let mut grouped: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for exception in exceptions {
        *grouped.entry(exception).or_default() += 1;
    }
    let line = |((role, why), count)| format!("exception: {role} × {}: {why}", units::count(count));
    grouped.into_iter().map(line).collect()
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: BTreeMap<_, (u64, u64, u64)> = BTreeMap::new();
        for tensor in &self.tensors {
            let kind = (tensor.placed.role, tensor.source_dtype, tensor.dtype);
            let (count, elements, size) = kinds.entry(kind).or_default();
            *count += 1;
            *elements += units::size(tensor.layout.elem_count());
            *size += tensor.size;
        }
        writeln!(f, "{} by recipe {}", self.architecture, self.recipe)?;
        let header = ["tensor", "count", "elements", "from", "to", "size"];
        let mut table = Table::new(&header).right_align([1, 2, 5]);
        for ((role, from, to), (count, elements, size)) in kinds {
            table.row([
                role.to_string(),
                units::count(count),
                units::count(elements),
                from.to_owned(),
                to.to_owned(),
                units::bytes(size),
            ]);
        }
        write!(f, "{table}")?;
        let exceptions = self
            .tensors
            .iter()
            .filter_map(|tensor| Some((tensor.role.as_str(), tensor.exception.as_deref()?)));
        for line in exception_lines(exceptions) {
            writeln!(f, "{line}")?;
        }
        if !self.derived.is_empty() {
            writeln!(f, "not stored, follows from the rest: {}", self.derived.join(", "))?;
        }
        writeln!(
            f,
            "{} tensors, {} elements: {} to {}, {:.2} bits per weight",
            units::count(units::size(self.tensors.len())),
            units::count(self.elements),
            units::bytes(self.input_size),
            units::bytes(self.output_size),
            self.bits_per_weight
        )?;
        let (size, ratio) = (units::count(self.estimated_output_size), self.reduction_ratio);
        writeln!(f, "the file will have {size} bytes, {ratio:.2} times fewer than the source")
    }
}
