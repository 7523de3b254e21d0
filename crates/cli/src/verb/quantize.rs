//! `apr quantize SRC --scheme RECIPE -o OUT`

use super::Task;
use super::convert_args::{ConvertArgs, Converted};
use crate::Outcome;
use crate::output::Output;
use apr::{Error, Recipe};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A Hugging Face folder, a SafeTensors, GGUF or .apr file, or hf://ORG/NAME
    source: PathBuf,
    /// The recipe: int4, int8, q4_k_m, q6_k, … (an unknown one lists them all)
    #[arg(long, value_name = "RECIPE")]
    scheme: String,
    /// Store every matrix in the recipe's one type
    #[arg(long)]
    pure: bool,
    #[command(flatten)]
    convert: ConvertArgs,
}

impl Task for Args {
    type Report = Converted;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        let recipe = Recipe::named(&self.scheme)?;
        let recipe = if self.pure { recipe.pure()? } else { recipe };
        self.convert.run(&self.source, &self.convert.options(recipe), output)
    }
}
