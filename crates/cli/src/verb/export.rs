//! `apr export SRC [--format FORMAT] -o OUT`

use super::Task;
use super::convert_args::{ConvertArgs, Converted};
use super::model_args::RecipeArgs;
use crate::Outcome;
use crate::output::Output;
use apr::{Error, Floats, Recipe};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// An .apr, GGUF or SafeTensors file, a Hugging Face folder, or hf://ORG/NAME
    source: PathBuf,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// The format to write, whatever the file is called: apr, gguf or safetensors; with -o -, to
    /// standard output
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// In a SafeTensors file whose packed tensors are decoded, keep the types of the others;
    /// without it all are F32
    #[arg(long)]
    keep_types: bool,
    /// Accepted for callers that ask for it: every file is proven all the same
    #[arg(long)]
    skip_contract: bool,
    #[command(flatten)]
    convert: ConvertArgs,
}

impl Task for Args {
    type Report = Converted;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        let mut options = self.convert.options(self.recipe.recipe()?.unwrap_or(Recipe::KEEP));
        options.format = self.format;
        options.floats = if self.keep_types { Floats::Keep } else { Floats::Single };
        self.convert.run(&self.source, &options, output)
    }
}
