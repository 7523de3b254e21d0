//! A model as it is found: weights, parameters and tokenizer, from one `.apr` file or from the
//! files of a Hugging Face folder.

use crate::{Error, Progress, hub};
use apr_format::{
    Container, apr, gguf, open, open_bytes, open_header, parse_json, read_header, read_in_folder,
};
use apr_model::{Arch, Census, ModelConfig, Naming, Survey};
use apr_token::Tokenizer;
use serde_json::Value;
use std::borrow::Cow;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;

/// Keys of the `.apr` metadata (docs/format.md).
pub(crate) mod key {
    pub(crate) const ARCHITECTURE: &str = "architecture";
    pub(crate) const CONFIG: &str = "config";
    pub(crate) const GENERATION_CONFIG: &str = "generation_config";
    pub(crate) const TOKENIZER: &str = "tokenizer";
    pub(crate) const CHAT_TEMPLATE: &str = "chat_template";
    pub(crate) const RECIPE: &str = "recipe";
    pub(crate) const DERIVED: &str = "derived";
    pub(crate) const PROVENANCE: &str = "provenance";
    pub(crate) const SOURCE_METADATA: &str = "source_metadata";
}

/// An opened model. Opening takes time proportional to its headers.
pub struct Checkpoint {
    path: PathBuf,
    container: Container,
    config: Option<Value>,
    generation_config: Option<Value>,
    tokenizer: Option<String>,
    chat_template: Option<String>,
}

impl Checkpoint {
    /// Opens a `.apr`, GGUF or SafeTensors file, a Hugging Face folder, or `hf://ORG/NAME[@REVISION]`:
    /// from the local cache, or [pulled](crate::pull()) into it if it is not there.
    ///
    /// # Errors
    /// When there is no such model, or one of its files is malformed.
    pub fn open(source: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(source, &())
    }

    /// [Opens](Self::open) a model and tells how far a download is.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_with(source: impl AsRef<Path>, progress: &dyn Progress) -> Result<Self, Error> {
        let path = hub::resolve(source.as_ref(), progress)?;
        let container = open(&path)?;
        Self::with_parts(path, container)
    }

    /// Opens a `.apr`, GGUF or SafeTensors file that is in memory already; `name` stands for it in
    /// errors. A SafeTensors file has no companions there: its architecture follows from the names
    /// of its tensors.
    ///
    /// # Errors
    /// When the bytes are no model file, or are malformed.
    pub fn from_bytes(name: impl AsRef<Path>, bytes: Vec<u8>) -> Result<Self, Error> {
        let path = name.as_ref().to_path_buf();
        let container = open_bytes(&path, bytes)?;
        match container.format() {
            apr::NAME => Ok(Self::embedded(path, container)),
            gguf::NAME => Self::from_gguf(path, container),
            _ => Ok(Self::alone(path, container)),
        }
    }

    /// Opens a model of which only the header is needed, from a stream; `name` stands for it in
    /// errors. No more than the header is read.
    ///
    /// # Errors
    /// As for [`open_header`](Self::open_header).
    pub fn header_from(name: impl AsRef<Path>, stream: &mut dyn Read) -> Result<Self, Error> {
        let path = name.as_ref().to_path_buf();
        let container = read_header(&path, stream)?;
        Self::with_parts(path, container)
    }

    /// Opens a model of which only the header is needed: anything that [`open`](Self::open)
    /// takes, or a pipe (`-` is standard input).
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_header(source: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_header_with(source, &())
    }

    /// [Opens](Self::open_header) the header of a model and tells how far a download is.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_header_with(
        source: impl AsRef<Path>,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let path = hub::resolve(source.as_ref(), progress)?;
        let container = open_header(&path)?;
        Self::with_parts(path, container)
    }

    fn with_parts(path: PathBuf, container: Container) -> Result<Self, Error> {
        match container.format() {
            apr::NAME => return Ok(Self::embedded(path, container)),
            gguf::NAME => return Self::from_gguf(path, container),
            _ => {}
        }
        if container.files().iter().any(|file| file.bytes().is_none()) {
            // A pipe has no folder whose files could belong to it.
            return Ok(Self::alone(path, container));
        }
        // A file's companions lie beside it.
        let folder = if path.is_dir() { Some(path.as_path()) } else { path.parent() };
        let folder = folder.unwrap_or(Path::new("."));
        Ok(Self {
            config: read_json(folder, "config.json")?,
            generation_config: read_json(folder, "generation_config.json")?,
            tokenizer: read_text(folder, "tokenizer.json")?,
            chat_template: read_chat_template(folder)?,
            path,
            container,
        })
    }

    /// Weights without the files that belong to them.
    const fn alone(path: PathBuf, container: Container) -> Self {
        let (config, generation_config, tokenizer, chat_template) = (None, None, None, None);
        Self { path, container, config, generation_config, tokenizer, chat_template }
    }

    fn embedded(path: PathBuf, container: Container) -> Self {
        let metadata = container.metadata();
        let text = |key| metadata.get(key).and_then(Value::as_str).map(str::to_owned);
        Self {
            config: metadata.get(key::CONFIG).cloned(),
            generation_config: metadata.get(key::GENERATION_CONFIG).cloned(),
            tokenizer: text(key::TOKENIZER),
            chat_template: text(key::CHAT_TEMPLATE),
            path,
            container,
        }
    }

    fn from_gguf(path: PathBuf, container: Container) -> Result<Self, Error> {
        let config = apr_model::hf_config(&container).map_err(Error::model(&path))?;
        let template = container.metadata().get(crate::gguf::CHAT_TEMPLATE).and_then(Value::as_str);
        Ok(Self {
            config: Some(config),
            generation_config: None,
            tokenizer: None,
            chat_template: template.map(str::to_owned),
            path,
            container,
        })
    }

    /// Where it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// # Errors
    /// Names the first weight file that another process wrote to since it was opened.
    pub fn check_unchanged(&self) -> Result<(), Error> {
        Ok(self.container.check_unchanged()?)
    }

    pub(crate) const fn container(&self) -> &Container {
        &self.container
    }

    pub(crate) const fn config_json(&self) -> Option<&Value> {
        self.config.as_ref()
    }

    pub(crate) const fn generation_config_json(&self) -> Option<&Value> {
        self.generation_config.as_ref()
    }

    /// The tokenizer as a `tokenizer.json`; none if there is none.
    ///
    /// # Errors
    /// When it is in a GGUF file and of a kind that is not supported.
    pub(crate) fn tokenizer_json(&self) -> Result<Option<Cow<'_, str>>, Error> {
        if self.naming() != Naming::Gguf {
            return Ok(self.tokenizer.as_deref().map(Cow::Borrowed));
        }
        crate::gguf::tokenizer_json(self.container.metadata())
            .map(|json| json.map(Cow::Owned))
            .map_err(|cause| Error::BadPart { path: self.path.clone(), cause })
    }

    pub(crate) fn chat_template(&self) -> Option<&str> {
        self.chat_template.as_deref()
    }

    /// What a SafeTensors or GGUF source says of itself: in GGUF its name, authors, licence, …
    pub(crate) fn source_metadata(&self) -> Option<Value> {
        let metadata = self.container.metadata();
        match self.naming() {
            Naming::Canonical => metadata.get(key::SOURCE_METADATA).cloned(),
            Naming::Published => Some(Value::Object(metadata.clone())),
            // What the other keys say is in the configuration and the tokenizer.
            Naming::Gguf => Some(Value::Object(crate::gguf::general(metadata))),
        }
    }

    /// Name of the recipe that chose its types, if it was made by one.
    pub(crate) fn recipe(&self) -> Option<&str> {
        self.container.metadata().get(key::RECIPE).and_then(Value::as_str)
    }

    /// How its tensors are named and oriented.
    pub(crate) fn naming(&self) -> Naming {
        Naming::of(self.container.format())
    }

    /// Takes everything but the weights from another checkpoint.
    pub(crate) fn describe_as(&mut self, other: &Self) {
        self.config.clone_from(&other.config);
        self.generation_config.clone_from(&other.generation_config);
        self.tokenizer.clone_from(&other.tokenizer);
        self.chat_template.clone_from(&other.chat_template);
    }

    /// The parameters of the model.
    ///
    /// # Errors
    /// When there is no `config.json`, or it does not describe a model that runs.
    pub fn config(&self) -> Result<ModelConfig, Error> {
        let missing = || Error::MissingPart { path: self.path.clone(), what: "config.json" };
        let config = ModelConfig::from_json(self.config.as_ref().ok_or_else(missing)?);
        match &self.generation_config {
            None => config,
            Some(generation) => config.and_then(|config| config.with_generation(generation)),
        }
        .map_err(Error::model(&self.path))
    }

    /// Architecture and number of layers, from the parameters or, without any, from the tensor
    /// names.
    ///
    /// # Errors
    /// When the architecture is not supported.
    pub(crate) fn arch_and_layers(&self) -> Result<(&'static Arch, usize), Error> {
        if self.config.is_some() {
            let config = self.config()?;
            return Ok((config.arch, config.layers));
        }
        Arch::infer(&self.container).map_err(Error::model(&self.path))
    }

    /// The parameters of the model; none where there is no configuration.
    ///
    /// # Errors
    /// When there is one that does not describe a model that runs.
    pub(crate) fn known_config(&self) -> Result<Option<ModelConfig>, Error> {
        self.config.as_ref().map(|_| self.config()).transpose()
    }

    /// The tensors and their roles as far as they have any.
    ///
    /// # Errors
    /// When the architecture is not supported.
    pub(crate) fn survey(&self) -> Result<(&'static Arch, Survey), Error> {
        let ((arch, _), config) = (self.arch_and_layers()?, self.known_config()?);
        let survey = Survey::take(arch, config.as_ref(), &self.container, self.naming());
        Ok((arch, survey.map_err(Error::model(&self.path))?))
    }

    /// Every tensor's role.
    ///
    /// # Errors
    /// When a weight is missing, has another shape than the parameters say, or has no role.
    pub(crate) fn census(&self, config: &ModelConfig) -> Result<Census, Error> {
        Census::take(config, &self.container, self.naming()).map_err(Error::model(&self.path))
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// When there is none, or it cannot be loaded.
    pub fn tokenizer(&self) -> Result<Tokenizer, Error> {
        let missing = || Error::MissingPart { path: self.path.clone(), what: "tokenizer.json" };
        if self.naming() == Naming::Gguf {
            return crate::gguf::tokenizer(self.container.metadata())
                .map_err(|cause| Error::BadPart { path: self.path.clone(), cause })?
                .ok_or_else(missing);
        }
        let json = self.tokenizer_json()?.ok_or_else(missing)?;
        Tokenizer::from_json(&json).map_err(Error::token(&self.path))
    }
}

fn read_text(folder: &Path, name: &str) -> Result<Option<String>, Error> {
    let bad = |error: FromUtf8Error| Error::BadPart {
        path: folder.join(name),
        cause: error.utf8_error().to_string(),
    };
    let text = read_in_folder(folder, name)?;
    text.map(|text| String::from_utf8(text).map_err(bad)).transpose()
}

fn read_json(folder: &Path, name: &str) -> Result<Option<Value>, Error> {
    let Some(text) = read_in_folder(folder, name)? else { return Ok(None) };
    let bad = |cause: String| Error::BadPart { path: folder.join(name), cause };
    let value: Value = parse_json(&text, "JSON").map_err(|error| bad(error.to_string()))?;
    if value.is_object() { Ok(Some(value)) } else { Err(bad("not a JSON object".to_owned())) }
}

/// `chat_template.jinja`, else the `chat_template` of `tokenizer_config.json`: a template, or a
/// list of named ones, of which the one named `default` counts.
fn read_chat_template(folder: &Path) -> Result<Option<String>, Error> {
    if let Some(template) = read_text(folder, "chat_template.jinja")? {
        return Ok(Some(template));
    }
    let config = read_json(folder, "tokenizer_config.json")?;
    let Some(template) = config.as_ref().and_then(|config| config.get("chat_template")) else {
        return Ok(None);
    };
    let is_default = |named: &&Value| named.get("name").and_then(Value::as_str) == Some("default");
    let named = template.as_array().and_then(|list| list.iter().find(is_default));
    let text = named.map_or(template, |named| &named["template"]);
    Ok(text.as_str().map(str::to_owned))
}
