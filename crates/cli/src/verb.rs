//! The verbs. To add one: a file in `verb/` and its line in [`Verb`].

mod audit;
mod bench;
mod check;
mod compare_hf;
mod completions;
mod convert_args;
mod debug;
mod diff;
mod doctor;
mod eval;
mod explain;
mod export;
mod flow;
mod hex;
mod import;
mod inspect;
mod lint;
mod list;
mod man;
mod merge;
mod model_args;
mod oracle;
mod parity;
mod prune;
mod pull;
mod qa;
mod quantize;
mod report;
mod rm;
mod rosetta;
mod run;
mod schema;
mod tensors;
mod trace;
mod tree;
mod validate;
mod verify;

use crate::Outcome;
use crate::output::Output;
use apr::Error;
use clap::{Command, Subcommand};
use schemars::{JsonSchema, Schema};

/// What a verb does.
pub(crate) trait Task {
    /// What it prints with `--json`, as `apr schema` describes it.
    type Report: JsonSchema;

    /// Does it.
    fn run(self, output: &mut Output) -> Result<Outcome, Error>;
}

macro_rules! verbs {
    ($($(#[$doc:meta])* $variant:ident($module:ident),)*) => {
        #[derive(Subcommand)]
        pub(crate) enum Verb {
            $($(#[$doc])* $variant($module::Args),)*
        }

        impl Verb {
            pub(crate) fn run(self, output: &mut Output) -> Result<Outcome, Error> {
                match self { $(Self::$variant(args) => args.run(output),)* }
            }

            /// The name of every verb, and the schema of its report.
            fn schemas() -> Vec<(String, fn() -> Schema)> {
                let command = Self::augment_subcommands(Command::new("apr"));
                let names = command.get_subcommands().map(|verb| verb.get_name().to_owned());
                let schemas: &[fn() -> Schema] =
                    &[$(schema::of::<<$module::Args as Task>::Report>,)*];
                names.zip(schemas.iter().copied()).collect()
            }
        }
    };
}

verbs! {
    /// Turn a published checkpoint into one proven file: .apr, .gguf or .safetensors
    Import(import),
    /// Turn a model file into another format, every tensor proven
    Convert(import),
    /// Write a model for other programs: GGUF, or SafeTensors with packed tensors decoded
    Export(export),
    /// Store a model in fewer bits, every tensor proven
    Quantize(quantize),
    /// Make one model of several of the same kind, every tensor proven
    Merge(merge),
    /// Make the smallest weights of a model zero, every tensor proven
    Prune(prune),
    /// Continue a text
    Run(run),
    /// Prove an .apr file again, tensor by tensor, against the checkpoint it was made from
    Verify(verify),
    /// Measure how fast a model runs
    Bench(bench),
    /// Measure the perplexity of a text
    Eval(eval),
    /// Write a page about a model that people look at: sizes, errors, distributions, certificates
    Report(report),
    /// Show what a model file is
    Inspect(inspect),
    /// List the tensors of a model file
    Tensors(tensors),
    /// Follow a model layer by layer, and find where it departs from another file of it
    Trace(trace),
    /// Compare two model files tensor by tensor, by value, whatever their formats
    Diff(diff),
    /// Look at a file that somebody else made: structure, values, block scales, tokenizer
    Audit(audit),
    /// Compare a model file with the checkpoint that was published
    CompareHf(compare_hf),
    /// Show which tensors of two files are called or laid out differently
    Rosetta(rosetta),
    /// Run a model stage by stage and check what each computes
    Check(check),
    /// Put a model through every gate before it is handed on
    Qa(qa),
    /// Compare paths of computation: an accelerator's, or the vector kernels with the portable
    Parity(parity),
    /// Show the tensors of a model file as a tree
    Tree(tree),
    /// Show bytes, values and statistics of a tensor, or the header of a file
    Hex(hex),
    /// Say what a tensor does in its model
    Explain(explain),
    /// Show how a token's vector goes through a model, step by step
    Flow(flow),
    /// Say what kind of model a file holds and what it takes to run it
    Oracle(oracle),
    /// Show a file at a glance, and whether its header is sound
    Debug(debug),
    /// List what is questionable about a file, from its header
    Lint(lint),
    /// Check a model file: structure, hashes, values, tokenizer
    Validate(validate),
    /// Bring a model of the hub into the local cache
    Pull(pull),
    /// List the models in the local cache of the hub
    List(list),
    /// Remove a model from the local cache of the hub
    Rm(rm),
    /// Describe what a verb prints with --json
    Schema(schema),
    /// Show what this machine is and how models run on it
    Doctor(doctor),
    /// Print what a shell needs to complete command lines
    Completions(completions),
    /// Write the manual pages
    Man(man),
}

impl Verb {
    /// Whether the verb's own arguments ask for JSON.
    pub(crate) fn wants_json(&self) -> bool {
        matches!(self, Self::Run(args) if args.wants_json())
    }
}
