//! Arguments of every verb that writes a model, and what they all do.

use crate::Outcome;
use crate::output::Output;
use crate::progress::Bar;
use apr::{Checkpoint, ConvertOptions, Error, Recipe, Requantize, TypeOverride};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct ConvertArgs {
    /// Store the matrices whose names match the regular expression in this type; may be given
    /// several times, the last match counts
    #[arg(long, value_name = "PATTERN=TYPE")]
    tensor_type: Vec<TypeOverride>,
    /// Quantize anew what is quantized already; the errors add up
    #[arg(long)]
    allow_requantize: bool,
    /// The file to write; its extension decides the format
    #[arg(short, long, value_name = "FILE", required_unless_present = "plan")]
    output: Option<PathBuf>,
    /// Show what would be written, tensor by tensor and to the byte, and write nothing
    #[arg(long)]
    plan: bool,
}

impl ConvertArgs {
    pub(crate) fn run(
        self,
        source: &Path,
        recipe: Recipe,
        output: &mut Output,
    ) -> Result<Outcome, Error> {
        let options = ConvertOptions {
            types: self.tensor_type,
            requantize: if self.allow_requantize { Requantize::Allow } else { Requantize::Refuse },
            ..ConvertOptions::new(recipe)
        };
        let checkpoint = Checkpoint::open(source)?;
        let target = self.output.unwrap_or_else(|| PathBuf::from("plan.apr"));
        if self.plan {
            output.report(&apr::plan(&checkpoint, &target, &options)?)?;
        } else {
            output.report(&apr::convert(&checkpoint, &target, &options, &Bar::default())?)?;
        }
        Ok(Outcome::Success)
    }
}
