//! Arguments of every verb that writes a model, and what they all do.

use crate::Outcome;
use crate::open::open;
use crate::output::Output;
use crate::progress::Bar;
use apr::{ConvertOptions, Error, Plan, Proof, Recipe, Requantize, TypeOverride};
use schemars::JsonSchema;
use std::path::{Path, PathBuf};

/// Names of standard output.
const STREAMS: [&str; 2] = ["-", "/dev/stdout"];

#[derive(clap::Args)]
pub(crate) struct ConvertArgs {
    /// Store the matrices whose names match the regular expression in this type; may be given
    /// several times, the last match counts
    #[arg(long, value_name = "PATTERN=TYPE")]
    tensor_type: Vec<TypeOverride>,
    /// Quantize anew what is quantized already; the errors add up
    #[arg(long)]
    allow_requantize: bool,
    /// In GGUF, name the tokenizer's split so; for tokenizers whose own split has no name
    #[arg(long, value_name = "NAME")]
    pre: Option<String>,
    /// The file to write; its extension, .apr, .gguf or .safetensors, decides the format. A name
    /// without one becomes a Hugging Face folder
    #[arg(short, long, value_name = "FILE", required_unless_present = "plan")]
    output: Option<PathBuf>,
    /// Continue behind the last proven tensor of an interrupted conversion to the same file, and
    /// keep what is written if this one fails; the file is the same, byte for byte
    #[arg(long)]
    resume: bool,
    /// Show what would be written, tensor by tensor and to the byte, and write nothing
    #[arg(long)]
    plan: bool,
}

/// What such a verb reports: the proof of the file, or the plan of it.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is needed")]
pub(crate) enum Converted {
    Proof(Proof),
    Plan(Plan),
}

impl ConvertArgs {
    /// The options, with this recipe.
    pub(crate) fn options(&self, recipe: Recipe) -> ConvertOptions {
        ConvertOptions {
            types: self.tensor_type.clone(),
            requantize: if self.allow_requantize { Requantize::Allow } else { Requantize::Refuse },
            split: self.pre.clone(),
            resume: self.resume,
            ..ConvertOptions::new(recipe)
        }
    }

    /// Whether nothing is to be written.
    pub(crate) const fn is_plan(&self) -> bool {
        self.plan
    }

    /// The file to write.
    pub(crate) fn target(&self) -> Result<&Path, Error> {
        if self.is_stream() {
            let text = "standard output needs a format: apr export MODEL --format FORMAT -o -";
            return Err(Error::Argument(text.to_owned()));
        }
        Ok(self.output.as_deref().unwrap_or(Path::new("plan.apr")))
    }

    /// Whether the file goes to standard output.
    pub(crate) fn is_stream(&self) -> bool {
        self.output.as_deref().is_some_and(|output| STREAMS.iter().any(|name| output == *name))
    }

    /// Writes the file, or shows the plan of it.
    pub(crate) fn run(
        &self,
        source: &Path,
        options: &ConvertOptions,
        output: &mut Output,
    ) -> Result<Outcome, Error> {
        let streams = self.is_stream() && options.format.is_some();
        if streams && !self.plan {
            return self.stream(source, options, output);
        }
        let target = if streams { Path::new("plan") } else { self.target()? };
        let checkpoint = open(source)?;
        if self.plan {
            output.report(&apr::plan(&checkpoint, target, options)?)?;
        } else {
            output.report(&apr::convert(&checkpoint, target, options, &Bar::default())?)?;
        }
        Ok(Outcome::Success)
    }

    /// Prints the proven file, and nothing else.
    fn stream(
        &self,
        source: &Path,
        options: &ConvertOptions,
        output: &mut Output,
    ) -> Result<Outcome, Error> {
        if output.is_json() || self.resume {
            let other = if output.is_json() { "--json" } else { "--resume" };
            let text = "standard output is the file's: write to a file instead";
            return Err(Error::Argument(format!("-o - and {other} exclude each other: {text}")));
        }
        let checkpoint = open(source)?;
        let proof = apr::stream(&checkpoint, &mut output.bytes(), options, &Bar::default())?;
        let count = proof.tensors.len();
        output.remark(&format!("[proven: {count} tensors, {} bytes]", proof.file_size));
        Ok(Outcome::Success)
    }
}
