//! `apr import SRC --quantize RECIPE -o OUT`, also under the name `convert`

use super::Task;
use super::convert_args::{ConvertArgs, Converted};
use super::model_args::RecipeArgs;
use crate::Outcome;
use crate::output::Output;
use apr::{Error, Recipe};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A Hugging Face folder, a SafeTensors, GGUF or .apr file, or hf://ORG/NAME
    source: PathBuf,
    #[command(flatten)]
    recipe: RecipeArgs,
    #[command(flatten)]
    convert: ConvertArgs,
}

impl Task for Args {
    type Report = Converted;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        let recipe = self.recipe.recipe()?.unwrap_or(Recipe::KEEP);
        self.convert.run(&self.source, &self.convert.options(recipe), output)
    }
}
