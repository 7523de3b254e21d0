//! `apr run MODEL -p PROMPT`, also `apr run MODEL PROMPT -f json`

use super::Task;
use super::model_args::LoadArgs;
use crate::Outcome;
use crate::open::open;
use crate::output::{self, Output};
use crate::progress::Bar;
use apr::{Error, Generate, Generation, Length, LoadOptions, Message, Prompt, Sampling};
use apr::{Speculation, TextModel};
use clap::ValueEnum;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// An .apr or SafeTensors file, a Hugging Face folder, or hf://ORG/NAME
    model: PathBuf,
    /// The text to continue
    #[arg(value_name = "PROMPT", required_unless_present = "prompt", conflicts_with = "prompt")]
    text: Option<String>,
    /// The text to continue
    #[arg(short, long)]
    prompt: Option<String>,
    /// Generate exactly so many tokens [default: to the end token, at most 256]
    #[arg(short = 'n', long, value_name = "N")]
    tokens: Option<usize>,
    /// End where this text begins; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Continue the prompt as it is, without a chat template; this is the default
    #[arg(long)]
    raw: bool,
    /// Take the prompt for a user's message and answer it, by the model's chat template
    #[arg(long, conflicts_with = "raw")]
    chat: bool,
    /// What the model is told before the conversation
    #[arg(long, value_name = "TEXT", requires = "chat")]
    system: Option<String>,
    /// How to print
    #[arg(short, long, default_value = "text")]
    format: Format,
    /// Guess up to N tokens at a time from repetitions in the text and check them in one pass: the
    /// same tokens, sooner where the text repeats itself; 0 is off, --lookup alone is 16
    #[arg(long, value_name = "N", default_value_t = 0, default_missing_value = "16", num_args = 0..=1, require_equals = true)]
    lookup: usize,
    /// A smaller model with the same vocabulary that guesses tokens, which are checked in one pass:
    /// the same tokens, sooner where it guesses right
    #[arg(long, value_name = "MODEL", conflicts_with = "lookup")]
    draft: Option<PathBuf>,
    /// Guesses of the draft model at a time, at most
    #[arg(long, value_name = "N", default_value_t = 8, requires = "draft")]
    draft_tokens: usize,
    /// Keep each thread on a processor of its own (Linux)
    #[arg(long)]
    pin: bool,
    /// Show where the time went, per operation
    #[arg(long)]
    profile: bool,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    load: LoadArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The text, as it is generated
    Text,
    /// One JSON document at the end
    Json,
}

#[derive(clap::Args)]
struct SamplingArgs {
    /// 0 always takes the most likely token; higher values are more varied
    #[arg(short, long, default_value_t = 0.0, value_parser = at_least_zero)]
    temperature: f32,
    /// Draw among this many of the most likely tokens; 0 is all
    #[arg(long, value_name = "N", default_value_t = 0)]
    top_k: usize,
    /// Draw among the most likely tokens that together reach this probability
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = share)]
    top_p: f32,
    /// Draw among tokens of at least this share of the most likely one's probability
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = share)]
    min_p: f32,
    /// Make tokens that occurred before less likely; 1 is off
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = above_zero)]
    repetition_penalty: f32,
    /// The same seed gives the same text
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

impl Args {
    pub(crate) fn wants_json(&self) -> bool {
        self.format == Format::Json
    }
}

impl Task for Args {
    type Report = Generation;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        let mut prompt = self.prompt.or(self.text).unwrap_or_default();
        let options = Generate {
            prompt: if self.chat { Prompt::Rendered } else { Prompt::Text },
            length: self.tokens.map_or(Length::default(), Length::Exactly),
            sampling: self.sampling.settings(),
            stop: self.stop,
            speculation: match self.draft {
                Some(_) => Speculation::Draft(self.draft_tokens),
                None => Speculation::Lookup(self.lookup),
            },
        };
        let load = LoadOptions { profile: self.profile, ..self.load.options()? };
        let checkpoint = open(&self.model)?;
        if self.chat {
            let system = self.system.iter().map(|text| Message::new("system", text));
            let messages: Vec<Message> = system.chain([Message::new("user", &prompt)]).collect();
            prompt = apr::chat_prompt(&checkpoint, &checkpoint.tokenizer()?, &messages)?;
        }
        let mut model = TextModel::open(&checkpoint, &load, &Bar::default())?;
        drop(checkpoint);
        if let Some(draft) = &self.draft {
            // A recipe and a profile are about the model itself.
            let load = LoadOptions { recipe: None, profile: false, ..load };
            model = model.with_draft(text_model(draft, &load)?)?;
        }
        if self.pin {
            model.pin()?;
        }
        if output.is_json() {
            output.document(&model.generate(&prompt, &options, &mut |_| Ok(()))?)?;
        } else {
            let generation = model.generate(&prompt, &options, &mut output::stream)?;
            output.text("\n")?;
            output.remark(&summary(&generation));
            if let Some(profile) = &generation.profile {
                output.aside(profile);
            }
        }
        Ok(Outcome::Success)
    }
}

fn text_model(path: &Path, load: &LoadOptions) -> Result<TextModel, Error> {
    TextModel::open(&open(path)?, load, &Bar::default())
}

fn summary(generation: &Generation) -> String {
    let count = generation.tokens.len();
    let rate = generation.tokens_per_second.map(|rate| format!(", {rate:.1} tokens/s"));
    format!("[{count} tokens{}]", rate.unwrap_or_default())
}

impl SamplingArgs {
    const fn settings(&self) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            seed: self.seed,
        }
    }
}

fn at_least_zero(text: &str) -> Result<f32, String> {
    number(text, |value| value >= 0.0, "a number of at least 0")
}

fn above_zero(text: &str) -> Result<f32, String> {
    number(text, |value| value > 0.0, "a number above 0")
}

fn share(text: &str) -> Result<f32, String> {
    number(text, |value| (0.0..=1.0).contains(&value), "a number from 0 to 1")
}

fn number(text: &str, holds: impl Fn(f32) -> bool, expected: &str) -> Result<f32, String> {
    let value: Option<f32> = text.parse().ok();
    value
        .filter(|&value| value.is_finite() && holds(value))
        .ok_or_else(|| format!("not {expected}"))
}
