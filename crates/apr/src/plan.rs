//! What a conversion will do, tensor by tensor, before it does it.

use crate::units::{self, Table};
use crate::{Checkpoint, Error, Recipe};
use apr_format::NewTensor;
use apr_model::{Census, ModelConfig, PlacedTensor, RowOrder, TensorRole};
use apr_tensor::{DType, TensorLayout};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// The kind of file that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// `.apr`, or a model in memory.
    Apr,
    /// GGUF.
    Gguf,
}

impl Target {
    /// The type for tensors that no recipe asks anything of; `None` keeps the source's.
    fn dtype(self, role: TensorRole) -> Option<DType> {
        // llama.cpp adds norms, biases and positions in single precision only.
        Some(DType::F32).filter(|_| self == Self::Gguf && !role.is_matrix())
    }

    fn name(self, placed: &PlacedTensor) -> String {
        match self {
            Self::Apr => placed.name.clone(),
            Self::Gguf => placed.role.gguf_name(placed.layer),
        }
    }

    /// The order of the rows within the heads of query and key.
    pub(crate) const fn row_order(self, config: &ModelConfig) -> RowOrder {
        match self {
            Self::Apr => RowOrder::Halves,
            Self::Gguf => config.arch.gguf_heads,
        }
    }
}

/// What a conversion will do.
#[derive(Debug, Serialize)]
pub struct Plan {
    /// Name of the architecture.
    pub architecture: &'static str,
    /// Name of the recipe.
    pub recipe: &'static str,
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
}

/// What a conversion will do with one tensor.
#[derive(Debug, Serialize)]
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
    #[serde(skip)]
    pub(crate) layout: TensorLayout,
}

impl Plan {
    pub(crate) fn new(
        checkpoint: &Checkpoint,
        census: Census,
        config: &ModelConfig,
        (recipe, target): (Recipe, Target),
    ) -> Result<Self, Error> {
        let mut plan = Self {
            architecture: config.arch.name,
            recipe: recipe.name,
            tensors: Vec::new(),
            derived: census.derived.iter().map(|derived| derived.source.clone()).collect(),
            elements: 0,
            input_size: 0,
            output_size: 0,
            bits_per_weight: 0.0,
        };
        for placed in census.tensors {
            let tensor = checkpoint
                .container()
                .entry(&placed.source)
                .ok_or_else(|| Error::Argument(format!("{} vanished", placed.source)))?;
            let planned = PlannedTensor::new(checkpoint, placed, &tensor.layout, (recipe, target))?;
            plan.elements += units::size(planned.layout.elem_count());
            plan.input_size += units::size(tensor.layout.byte_len());
            plan.output_size += planned.size;
            plan.tensors.push(planned);
        }
        plan.bits_per_weight = plan.output_size as f64 * 8.0 / plan.elements as f64;
        Ok(plan)
    }
}

impl Plan {
    /// The tensors of the file, in the order of the model.
    pub(crate) fn new_tensors(&self) -> Vec<NewTensor> {
        let new = |tensor: &PlannedTensor| NewTensor {
            name: tensor.name.clone(),
            layout: tensor.layout.clone(),
        };
        self.tensors.iter().map(new).collect()
    }
}

impl PlannedTensor {
    fn new(
        checkpoint: &Checkpoint,
        placed: PlacedTensor,
        source: &TensorLayout,
        (recipe, target): (Recipe, Target),
    ) -> Result<Self, Error> {
        let wanted = recipe
            .dtype(placed.role)
            .or_else(|| target.dtype(placed.role))
            .unwrap_or(source.dtype());
        if wanted != source.dtype() && !source.dtype().is_float() {
            return Err(Error::SourceType {
                path: checkpoint.path().to_path_buf(),
                tensor: placed.source,
                dtype: source.dtype(),
            });
        }
        let mut shape = source.shape().to_vec();
        if placed.transposed {
            shape.reverse();
        }
        let row = shape.last().copied().unwrap_or(1);
        let block = wanted.block_elems();
        let (dtype, exception) = if row.is_multiple_of(block) {
            (wanted, None)
        } else {
            let kept = source.dtype();
            let why =
                format!("rows of {row} are no multiple of {block}: stays {kept}, not {wanted}");
            (kept, Some(why))
        };
        let layout = TensorLayout::new(dtype, &shape)
            .map_err(Error::layout(checkpoint.path(), &placed.source))?;
        Ok(Self {
            name: target.name(&placed),
            role: placed.role.to_string(),
            shape,
            source_dtype: source.dtype().name(),
            dtype: dtype.name(),
            size: units::size(layout.byte_len()),
            exception,
            placed,
            layout,
        })
    }
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
        for tensor in &self.tensors {
            if let Some(exception) = &tensor.exception {
                writeln!(f, "exception: {}: {exception}", tensor.name)?;
            }
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
        )
    }
}
