//! The file that a conversion writes: how it names, orders and types the tensors, and what it says
//! beside them.

use crate::checkpoint::key;
use crate::operation::{Origin, Piece};
use crate::source::Source;
use crate::{Checkpoint, Error, gguf};
use apr_format::{FORMATS, Format, Metadata, NewTensor, apr, safetensors};
use apr_model::{Census, DerivedKind, DerivedTensor, Form, ModelConfig, Naming, Part};
use apr_model::{PlacedTensor, TensorRole};
use apr_tensor::DType;
use serde_json::{Value, json};
use std::path::Path;

/// Key of the provenance in GGUF and SafeTensors files.
pub(crate) const PROVENANCE: &str = "apr.provenance";

/// The kind of file that is written.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// Its container.
    pub(crate) format: &'static Format,
    naming: Naming,
}

impl Target {
    /// The format of this name; without one, that of the file's extension.
    ///
    /// # Errors
    /// Lists the known ones.
    pub(crate) fn new(path: &Path, format: Option<&str>) -> Result<Self, Error> {
        let named = |name: &str| FORMATS.iter().find(|format| format.name == name);
        let found = format.map_or_else(|| Format::of_path(path), named);
        let format = found.ok_or_else(|| {
            let known: Vec<&str> = FORMATS.iter().map(|format| format.extension).collect();
            let known = known.join(", .");
            Error::Argument(match format {
                Some(name) => format!("no format is called {name:?} (known: .{known})"),
                None => format!("{}: the output must end in .{known}", path.display()),
            })
        })?;
        Ok(Self { format, naming: Naming::of(format.name) })
    }

    /// A model in memory.
    ///
    /// # Errors
    /// None while there is a format `.apr`.
    pub(crate) fn memory() -> Result<Self, Error> {
        Self::new(Path::new(""), Some(apr::NAME))
    }

    /// The type for tensors of which nothing else is asked; `None` keeps the source's.
    pub(crate) fn dtype(
        self,
        role: TensorRole,
        source: DType,
        decoded: DecodedTypes,
    ) -> Option<DType> {
        let single = match self.naming {
            // llama.cpp adds norms, biases and positions in single precision only.
            Naming::Gguf => !role.is_matrix(),
            // There are no packed types; single precision holds all of their values.
            Naming::Published => source.is_quantized() || decoded == DecodedTypes::Single,
            Naming::Canonical => false,
        };
        Some(DType::F32).filter(|_| single)
    }

    /// The tensor's name in the file; several where experts have a tensor each.
    pub(crate) fn names(
        self,
        checkpoint: &Checkpoint,
        config: &ModelConfig,
        placed: &PlacedTensor,
    ) -> Vec<String> {
        let published = |expert| {
            let tensor = config.arch.tensor(placed.role);
            tensor.map_or_else(String::new, |tensor| tensor.published(placed.layer, expert))
        };
        match self.naming {
            Naming::Canonical => vec![placed.name.clone()],
            Naming::Gguf => vec![placed.role.gguf_name(placed.layer)],
            Naming::Published if checkpoint.naming() == Naming::Published => placed.sources.clone(),
            Naming::Published if placed.role.part.is_expert() => {
                let experts = placed.layout.shape().first().copied().unwrap_or_default();
                (0..experts).map(published).collect()
            }
            Naming::Published => vec![published(0)],
        }
    }

    /// The form that a tensor has in the file.
    pub(crate) fn form(self, config: &ModelConfig, placed: &PlacedTensor) -> Form {
        let tensor = config.arch.tensor(placed.role);
        tensor.map_or(Form::CANONICAL, |tensor| config.arch.form(tensor, self.naming))
    }

    /// Tensors of the file that are no weights: what says the same as `config`, and what a
    /// published checkpoint has beside its weights.
    ///
    /// # Errors
    /// When they cannot be read, or have more values than can be stored.
    pub(crate) fn extras(
        self,
        origin: Origin<'_>,
        config: &ModelConfig,
        census: &Census,
    ) -> Result<Vec<Extra>, Error> {
        match self.naming {
            Naming::Canonical => Ok(Vec::new()),
            Naming::Gguf => config
                .gguf_factors()
                .into_iter()
                .map(|(name, values)| Source::of_values(name, &values).map(Extra::new))
                .collect(),
            Naming::Published if origin.checkpoint.naming() == Naming::Published => census
                .derived
                .iter()
                .map(|derived| Extra::derived(origin, derived, census))
                .collect(),
            Naming::Published => Ok(Vec::new()),
        }
    }

    /// What the file says beside its tensors.
    ///
    /// # Errors
    /// When the format cannot say what must be said.
    pub(crate) fn metadata(
        self,
        Origin { checkpoint, operation }: Origin<'_>,
        config: &ModelConfig,
        (recipe, split): (&str, Option<&str>),
        provenance: impl FnOnce() -> Result<(Value, Value), Error>,
    ) -> Result<Metadata, Error> {
        let mut metadata = match self.naming {
            Naming::Gguf => gguf::keys(checkpoint, config, split)?,
            Naming::Published => published_metadata(checkpoint),
            Naming::Canonical => self_contained(checkpoint, config)?,
        };
        match self.naming {
            Naming::Canonical => {
                let (derived, provenance) = provenance()?;
                metadata.insert(key::RECIPE.to_owned(), json!(recipe));
                metadata.insert(key::DERIVED.to_owned(), derived);
                metadata.insert(key::PROVENANCE.to_owned(), provenance);
            }
            // Of a conversion the source is said to be kept; that new values are new must be said.
            Naming::Gguf | Naming::Published if operation.is_some() => {
                let (_, provenance) = provenance()?;
                metadata.insert(PROVENANCE.to_owned(), json!(provenance.to_string()));
            }
            Naming::Gguf | Naming::Published => {}
        }
        Ok(metadata)
    }

    /// Whether the files of a Hugging Face folder belong to the file.
    pub(crate) fn is_safetensors(self) -> bool {
        self.format.name == safetensors::NAME
    }
}

/// A tensor of a new file that is no weight.
pub(crate) struct Extra {
    pub(crate) new: NewTensor,
    pub(crate) source: Source,
}

impl Extra {
    fn new(source: Source) -> Self {
        Self { new: source.as_new_tensor(), source }
    }

    /// A tensor that a published checkpoint has beside its weights: as it is, unless it repeats a
    /// weight that has new values.
    fn derived(
        origin: Origin<'_>,
        derived: &DerivedTensor,
        census: &Census,
    ) -> Result<Self, Error> {
        let Self { new, source } = Self::new(Source::as_it_is(origin.checkpoint, &derived.source)?);
        let is_embedding = |placed: &&PlacedTensor| placed.role.part == Part::TokenEmbedding;
        let repeated = census.tensors.iter().filter(|_| derived.kind == DerivedKind::TiedHead);
        match repeated.filter(|placed| origin.computes(placed)).find(is_embedding) {
            None => Ok(Self { new, source }),
            Some(placed) => {
                let piece = Piece { placed, form: placed.form, expert: None };
                Ok(Self { new, source: origin.source(&piece)? })
            }
        }
    }
}

/// In which type floats are stored beside decoded ones, where packed types must be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecodedTypes {
    /// In that of the source.
    Kept,
    /// All in single precision.
    Single,
}

/// What the source's SafeTensors file says of itself; a file without any says what
/// `transformers` looks for.
fn published_metadata(checkpoint: &Checkpoint) -> Metadata {
    let source = checkpoint.source_metadata();
    let texts = source.as_ref().and_then(Value::as_object).into_iter().flatten();
    let texts = texts.filter(|(_, value)| value.is_string());
    let mut metadata: Metadata = texts.map(|(key, value)| (key.clone(), value.clone())).collect();
    metadata.entry("format").or_insert_with(|| json!("pt"));
    metadata
}

/// Everything about the model that is not a tensor (docs/format.md).
fn self_contained(checkpoint: &Checkpoint, config: &ModelConfig) -> Result<Metadata, Error> {
    let mut metadata = Metadata::new();
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            metadata.insert(key.to_owned(), value);
        }
    };
    set(key::ARCHITECTURE, Some(json!(config.arch.name)));
    set(key::CONFIG, checkpoint.config_json().cloned());
    set(key::GENERATION_CONFIG, checkpoint.generation_config_json().cloned());
    set(key::CHAT_TEMPLATE, checkpoint.chat_template().map(Value::from));
    let tokens = checkpoint.special_tokens();
    let tokens = Some(tokens).filter(|tokens| !tokens.is_empty());
    set(
        key::SPECIAL_TOKENS,
        tokens.filter(|_| checkpoint.chat_template().is_some()).cloned().map(Value::Object),
    );
    set(key::SOURCE_METADATA, checkpoint.source_metadata());
    set(key::TOKENIZER, checkpoint.tokenizer_json()?.map(|json| Value::from(json.into_owned())));
    Ok(metadata)
}
