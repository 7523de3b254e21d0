//! `apr completions SHELL`

use super::Task;
use crate::output::Output;
use crate::{Cli, Outcome};
use apr::Error;
use clap::CommandFactory;
use clap_complete::Shell;
use schemars::JsonSchema;
use serde::Serialize;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The shell; `apr completions bash > ~/.local/share/bash-completion/completions/apr`
    shell: Shell,
}

/// What a shell reads to complete the words of a command line.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Completions {
    /// The shell that reads it.
    shell: String,
    /// Its program.
    script: String,
}

impl Task for Args {
    type Report = Completions;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "apr", &mut script);
        let script = String::from_utf8_lossy(&script).into_owned();
        if output.is_json() {
            output.document(&Completions { shell: self.shell.to_string(), script })?;
        } else {
            output.text(&script)?;
        }
        Ok(Outcome::Success)
    }
}
