//! `apr bench MODEL`

use super::Task;
use super::model_args::LoadArgs;
use crate::Outcome;
use crate::output::Output;
use crate::progress::Bar;
use apr::{Bench, BenchOptions, Error};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A model file or folder, or hf://ORG/NAME
    model: PathBuf,
    /// Tokens of the prompt [default: 256]
    #[arg(long, value_name = "N")]
    prompt_tokens: Option<usize>,
    /// Tokens to generate [default: 64]
    #[arg(long, value_name = "N")]
    gen_tokens: Option<usize>,
    /// Positions in the cache before the first token is generated
    #[arg(long, value_name = "N", default_value_t = 0)]
    depth: usize,
    /// Sequences that are generated together; the rate is that of all
    #[arg(long, value_name = "N", default_value_t = 1)]
    batch: usize,
    /// Rounds that count; each has a prompt and a generation
    #[arg(long, value_name = "N", default_value_t = 5)]
    iterations: usize,
    /// Rounds before those
    #[arg(long, value_name = "N", default_value_t = 1)]
    warmup: usize,
    /// Measure what this machine can do at most, and show the share that is reached
    #[arg(long)]
    limits: bool,
    /// Keep each thread on a processor of its own (Linux)
    #[arg(long)]
    pin: bool,
    #[command(flatten)]
    load: LoadArgs,
}

impl Task for Args {
    type Report = Bench;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        let options = BenchOptions {
            prompt_tokens: self.prompt_tokens,
            gen_tokens: self.gen_tokens,
            depth: self.depth,
            batch: self.batch,
            iterations: self.iterations,
            warmup: self.warmup,
            limits: self.limits,
            pin: self.pin,
        };
        let load = self.load.options()?;
        output.report(&apr::bench(&self.model, &load, options, &Bar::default())?)?;
        Ok(Outcome::Success)
    }
}
