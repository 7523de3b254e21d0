//! A model that is ready to continue texts.

use crate::validate::check_bytes;
use crate::{Checkpoint, Error, Progress, Recipe, convert};
use apr_kernel::Kernels;
use apr_model::{CacheType, Census, Decoder, Naming, TensorRole};
use apr_tensor::TensorLayout;
use apr_token::Tokenizer;
use std::path::{Path, PathBuf};
use std::thread;

/// How to load a model.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Quantize in memory by this recipe; nothing is written.
    pub recipe: Option<Recipe>,
    /// Threads; as many as there are processors if absent.
    pub threads: Option<usize>,
    /// Name of a kernel table; the best one for this processor if absent.
    pub kernels: Option<String>,
    /// Compare every tensor with the hash in the file first; a file that holds none is refused.
    pub verify: bool,
    /// How keys and values are stored.
    pub cache: CacheType,
    /// Count what each operation takes, for [`Generation::profile`](crate::Generation::profile).
    pub profile: bool,
}

/// A decoder and its tokenizer.
pub struct TextModel {
    pub(crate) decoder: Decoder,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) path: PathBuf,
    pub(crate) draft: Option<Box<TextModel>>,
}

impl TextModel {
    /// Makes a checkpoint ready to run. Weights that keep their type are used where they lie in
    /// the file.
    ///
    /// # Errors
    /// When the checkpoint is incomplete, not supported or damaged.
    pub fn open(
        checkpoint: &Checkpoint,
        options: &LoadOptions,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        // Of several missing parts the one that says what the model is comes first.
        checkpoint.config()?;
        let tokenizer = checkpoint.tokenizer()?;
        let Loaded { decoder, .. } = load(checkpoint, options, progress)?;
        Ok(Self { decoder, tokenizer, path: checkpoint.path().to_path_buf(), draft: None })
    }

    /// The same with a smaller model that guesses tokens, if
    /// [`Speculation::Draft`](crate::Speculation::Draft) asks for it.
    ///
    /// # Errors
    /// When a token is another one in the draft.
    pub fn with_draft(self, draft: Self) -> Result<Self, Error> {
        if let Some(difference) = self.tokenizer.difference(&draft.tokenizer) {
            return Err(Error::Argument(format!(
                "{} cannot draft for {}, its vocabulary is another: {difference}",
                draft.path.display(),
                self.path.display(),
            )));
        }
        Ok(Self { draft: Some(Box::new(draft)), ..self })
    }

    /// Keeps each thread, the calling one too, on a processor of its own. Call it when all models
    /// are open: what the calling thread starts afterwards stays on its processor.
    ///
    /// # Errors
    /// When the system refuses, or is not Linux.
    pub fn pin(&self) -> Result<(), Error> {
        self.decoder.pin()?;
        self.draft.as_ref().map_or(Ok(()), |draft| draft.pin())
    }

    /// The decoder.
    #[must_use]
    pub const fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The tokenizer.
    #[must_use]
    pub const fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Where it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A decoder, and what its weights are.
pub(crate) struct Loaded {
    pub(crate) decoder: Decoder,
    pub(crate) weights: Vec<(TensorRole, TensorLayout)>,
    pub(crate) kernels: &'static Kernels,
}

/// Makes the weights of a checkpoint ready to run.
pub(crate) fn load(
    checkpoint: &Checkpoint,
    options: &LoadOptions,
    progress: &dyn Progress,
) -> Result<Loaded, Error> {
    let kernels = match &options.kernels {
        Some(name) => Kernels::named(name)?,
        None => Kernels::best(),
    };
    let threads = options.threads.unwrap_or_else(default_threads);
    let config = checkpoint.config()?;
    if options.verify {
        has_hashes(checkpoint)?;
        check_bytes(checkpoint, progress)?;
    }
    let converted = match (options.recipe, checkpoint.naming()) {
        (None, Naming::Canonical | Naming::Gguf) => None,
        (recipe, Naming::Canonical | Naming::Gguf | Naming::Published) => {
            let recipe = recipe.unwrap_or(Recipe::KEEP);
            Some(convert::in_memory(checkpoint, &config, recipe, progress)?)
        }
    };
    let (container, naming) = match &converted {
        Some(container) => (container, Naming::Canonical),
        None => (checkpoint.container(), checkpoint.naming()),
    };
    let as_error = || Error::model(checkpoint.path());
    let census = Census::take(&config, container, naming).map_err(as_error())?;
    let weights = census.tensors.iter().map(|placed| (placed.role, placed.layout.clone()));
    let weights = weights.collect();
    let decoder = Decoder::new(config, container, &census, kernels, threads)
        .and_then(|decoder| decoder.with_cache(options.cache))
        .map_err(as_error())?;
    let decoder = if options.profile { decoder.profiled() } else { decoder };
    Ok(Loaded { weights, decoder, kernels })
}

/// That there is something to compare the bytes with.
fn has_hashes(checkpoint: &Checkpoint) -> Result<(), Error> {
    let tensors = checkpoint.container().tensors();
    match tensors.iter().find(|entry| entry.hash.is_none()) {
        None => Ok(()),
        Some(entry) => {
            Err(Error::NoHash { path: checkpoint.path().to_path_buf(), tensor: entry.name.clone() })
        }
    }
}

fn default_threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
