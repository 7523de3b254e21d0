//! Is this model fit to be handed on? Gates that it must pass.

use crate::check::check_model;
use crate::lint::Severity;
use crate::units::Table;
use crate::validate::Status;
use crate::{
    Checkpoint, Error, EvalOptions, EvalText, Generate, Length, LoadOptions, ParityPath, Progress,
    SAMPLE_TEXT, TextModel, evaluate, parity, validate,
};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;

/// Tokens that are generated on each number of threads.
const GREEDY_TOKENS: usize = 16;
/// Characters of the default text that are scored.
const SCORED_CHARS: usize = 2000;
/// Tokens per second below which nobody waits for a model.
const SLOW: f64 = 1.0;

/// The gates of a model.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Qa {
    /// Every gate.
    pub gates: Vec<Gate>,
    /// Whether none failed that is an error.
    pub passed: bool,
    /// Number of gates.
    pub total_gates: usize,
    /// Number that failed.
    pub failed: usize,
    /// Where the model was opened.
    pub model: String,
}

/// A gate and its result.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Gate {
    /// Its name.
    pub name: &'static str,
    /// Its result.
    pub status: Status,
    /// What it means if it fails.
    pub severity: Severity,
    /// What was found.
    pub message: String,
}

/// Checks the file, loads the model, and puts it through every gate.
///
/// # Errors
/// When the model cannot be loaded.
pub fn qa(
    checkpoint: &Checkpoint,
    load: &LoadOptions,
    progress: &dyn Progress,
) -> Result<Qa, Error> {
    let model = TextModel::open(checkpoint, load, progress)?;
    let census = checkpoint.census(model.decoder.config())?;
    let critical = |name, result| Gate::new(name, Severity::Error, result);
    let (deterministic, rate) = determinism(checkpoint, &model, load, progress)?;
    let gates = vec![
        critical("file", file(checkpoint, progress)?),
        critical("tokenizer_round_trip", round_trip(&model)),
        critical("pipeline", pipeline(&model, &census.tensors)?),
        critical("determinism", deterministic),
        critical("kernel_parity", kernels(checkpoint, load, progress)?),
        critical("perplexity", perplexity(&model, progress)?),
        Gate::new("throughput", Severity::Warning, rate),
    ];
    let failed = || gates.iter().filter(|gate| gate.status == Status::Fail);
    Ok(Qa {
        passed: failed().all(|gate| gate.severity != Severity::Error),
        total_gates: gates.len(),
        failed: failed().count(),
        model: checkpoint.path().display().to_string(),
        gates,
    })
}

/// What was found, or what is wrong.
type Finding = Result<String, String>;

/// What `apr validate` checks.
fn file(checkpoint: &Checkpoint, progress: &dyn Progress) -> Result<Finding, Error> {
    let validation = validate(checkpoint, progress)?;
    let failures: Vec<String> = validation.failures().map(ToString::to_string).collect();
    Ok(if failures.is_empty() {
        Ok(format!("{} checks of the file passed", validation.total_checks))
    } else {
        Err(failures.join("; "))
    })
}

/// Every line of the default text comes back from its tokens.
fn round_trip(model: &TextModel) -> Finding {
    let (text, mut count) = (EvalText::default().text, 0);
    for line in text.lines().chain([SAMPLE_TEXT]) {
        let tokens = model.tokenizer.encode(line).map_err(|error| error.to_string())?;
        let back = model.tokenizer.decode(&tokens).map_err(|error| error.to_string())?;
        if back != line {
            return Err(format!("{line:?} became {back:?}"));
        }
        count += tokens.len();
    }
    Ok(format!("a text of {count} tokens came back from them"))
}

/// What `apr check` does.
fn pipeline(model: &TextModel, tensors: &[apr_model::PlacedTensor]) -> Result<Finding, Error> {
    let check = check_model(model, tensors)?;
    let failures: Vec<String> = check.failures().map(ToString::to_string).collect();
    Ok(if failures.is_empty() {
        Ok(format!("{} stages passed", check.total_stages))
    } else {
        Err(failures.join("; "))
    })
}

/// Greedy tokens on two numbers of threads, and how fast they came.
fn determinism(
    checkpoint: &Checkpoint,
    model: &TextModel,
    load: &LoadOptions,
    progress: &dyn Progress,
) -> Result<(Finding, Finding), Error> {
    let options = Generate { length: Length::Exactly(GREEDY_TOKENS), ..Generate::default() };
    let generated = model.generate(SAMPLE_TEXT, &options, &mut |_| Ok(()))?;
    let other = LoadOptions {
        threads: Some(if model.decoder.threads() == 1 { 2 } else { 1 }),
        ..load.clone()
    };
    let other = TextModel::open(checkpoint, &other, progress)?;
    let again = other.generate(SAMPLE_TEXT, &options, &mut |_| Ok(()))?;
    let (one, two) = (model.decoder.threads(), other.decoder.threads());
    let same = if generated.tokens == again.tokens {
        Ok(format!("the same {GREEDY_TOKENS} greedy tokens on {one} threads and on {two}"))
    } else {
        let (a, b) = (generated.tokens, again.tokens);
        Err(format!("{one} threads give tokens {a:?}, {two} give {b:?}"))
    };
    let rate = generated.tokens_per_second.unwrap_or_default();
    let said = format!("{rate:.1} tokens/s");
    Ok((same, if rate >= SLOW { Ok(said) } else { Err(said) }))
}

/// What `apr parity --path cpu` does.
fn kernels(
    checkpoint: &Checkpoint,
    load: &LoadOptions,
    progress: &dyn Progress,
) -> Result<Finding, Error> {
    let parity = parity(checkpoint, ParityPath::Cpu, load, progress)?;
    let paths = parity.paths.iter().map(|path| {
        let share = path.relative_difference.unwrap_or(f64::INFINITY);
        format!("{} {share:.1e}", path.kernels)
    });
    let paths = paths.collect::<Vec<_>>().join(", ");
    let said = format!("shares of the largest logit, beside {}: {paths}", parity.reference);
    Ok(if parity.matches { Ok(said) } else { Err(said) })
}

/// The model knows more than nothing: a uniform guess has the perplexity of the vocabulary.
fn perplexity(model: &TextModel, progress: &dyn Progress) -> Result<Finding, Error> {
    let config = model.decoder.config();
    let mut text = EvalText::default();
    text.text = text.text.chars().take(SCORED_CHARS).collect();
    let window = EvalOptions::default().window.min(config.max_positions);
    let options = EvalOptions { window, ..EvalOptions::default() };
    let evaluation = match evaluate(model, &text, &options, progress) {
        Ok(evaluation) => evaluation,
        Err(error @ Error::BadPart { .. }) => return Ok(Err(error.to_string())),
        Err(error) => return Err(error),
    };
    let (found, uniform) = (evaluation.perplexity, config.vocab_size);
    let said = format!("{found:.2} over {} tokens; a guess has {uniform}", evaluation.scored);
    Ok(if found < uniform as f64 { Ok(said) } else { Err(said) })
}

impl Gate {
    fn new(name: &'static str, severity: Severity, result: Finding) -> Self {
        let (status, message) = match result {
            Ok(message) => (Status::Pass, message),
            Err(message) => (Status::Fail, message),
        };
        Self { name, status, severity, message }
    }
}

impl Qa {
    /// The gates that failed and are errors.
    pub fn failures(&self) -> impl Iterator<Item = &Gate> {
        let failed = |gate: &&Gate| gate.status == Status::Fail;
        self.gates.iter().filter(failed).filter(|gate| gate.severity == Severity::Error)
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}

impl fmt::Display for Qa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(&["gate", "status", "severity", ""]);
        for gate in &self.gates {
            table.row([
                gate.name.to_owned(),
                gate.status.to_string(),
                gate.severity.to_string(),
                gate.message.clone(),
            ]);
        }
        table.fmt(f)?;
        writeln!(f, "{} of {} gates passed", self.total_gates - self.failed, self.total_gates)
    }
}
