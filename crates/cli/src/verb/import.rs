//! `apr import SRC --quantize RECIPE -o OUT.apr`

use super::model_args::RecipeArgs;
use crate::Outcome;
use crate::output::Output;
use crate::progress::Bar;
use apr::{Checkpoint, Error, ImportOptions, Recipe};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A Hugging Face folder, a SafeTensors, GGUF or .apr file, or hf://ORG/NAME from the local cache
    source: PathBuf,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// The file to write; its extension, .apr or .gguf, decides the format
    #[arg(short, long, value_name = "FILE", required_unless_present = "plan")]
    output: Option<PathBuf>,
    /// Show what would be written, and write nothing
    #[arg(long)]
    plan: bool,
}

impl Args {
    pub(crate) fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        let recipe = self.recipe.recipe()?.unwrap_or(Recipe::KEEP);
        let checkpoint = Checkpoint::open(&self.source)?;
        let target = self.output.unwrap_or_else(|| PathBuf::from("plan.apr"));
        if self.plan {
            output.report(&apr::plan_import(&checkpoint, &target, recipe)?)?;
            return Ok(Outcome::Success);
        }
        let options = ImportOptions::new(recipe);
        output.report(&apr::import(&checkpoint, &target, &options, &Bar::default())?)?;
        Ok(Outcome::Success)
    }
}
