//! The verbs. To add one: a file in `verb/` and its line in [`Verb`].

mod bench;
mod convert_args;
mod eval;
mod export;
mod import;
mod inspect;
mod list;
mod model_args;
mod quantize;
mod run;
mod tensors;
mod validate;
mod verify;

use crate::Outcome;
use crate::output::Output;
use apr::Error;
use clap::Subcommand;

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
    /// Continue a text
    Run(run),
    /// Prove an .apr file again, tensor by tensor, against the checkpoint it was made from
    Verify(verify),
    /// Measure how fast a model runs
    Bench(bench),
    /// Measure the perplexity of a text
    Eval(eval),
    /// Show what a model file is
    Inspect(inspect),
    /// List the tensors of a model file
    Tensors(tensors),
    /// Check a model file: structure, hashes, values, tokenizer
    Validate(validate),
    /// List the models in the local cache of the hub
    List(list),
}

impl Verb {
    /// Whether the verb's own arguments ask for JSON.
    pub(crate) fn wants_json(&self) -> bool {
        matches!(self, Self::Run(args) if args.wants_json())
    }
}
