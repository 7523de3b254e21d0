//! The `apr` command line: arguments in, a task of the library, its report out.

mod open;
mod output;
mod progress;
mod verb;

use apr::Error;
use clap::Parser;
use output::Output;
use std::env;
use std::panic;
use std::process::ExitCode;

/// Quantize language models, prove that no tensor was corrupted, and run them on a CPU.
#[derive(Parser)]
#[command(name = "apr", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    verb: verb::Verb,
    /// Print exactly one JSON document on standard output
    #[arg(long, global = true)]
    json: bool,
    /// Read model files into memory instead of mapping them: safe from other processes that write
    /// to them
    #[arg(long, global = true)]
    no_mmap: bool,
    /// Show neither progress nor remarks
    #[arg(short, long, global = true)]
    quiet: bool,
}

/// What a verb found counts if the files that it read are still the same.
fn unchanged(outcome: Outcome) -> Result<Outcome, Error> {
    apr::check_closed_files()?;
    Ok(outcome)
}

/// Prints what was asked for instead of a verb (help, version), or what is wrong with the command
/// line: exit code 2.
fn usage(error: &clap::Error) -> ExitCode {
    let wants_json = env::args_os().any(|argument| argument == "--json");
    if error.use_stderr() && wants_json {
        Output::new(true, true).usage(&error.kind().to_string());
    }
    // Nowhere is left to report a terminal that cannot be written.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// How a verb ended that was able to do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// What was asked holds or is done: exit code 0.
    Success,
    /// The check that was asked for failed: exit code 1.
    Failure,
}

fn main() -> ExitCode {
    panic::set_hook(Box::new(|panic| {
        if !apr::panic_is_told() {
            output::internal_error(&panic.to_string());
        }
    }));
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    if cli.no_mmap {
        apr::copy_files();
    }
    apr::explain_bus_errors();
    if cli.quiet {
        progress::hide();
    }
    let mut output = Output::new(cli.json || cli.verb.wants_json(), cli.quiet);
    match cli.verb.run(&mut output).and_then(unchanged) {
        Ok(Outcome::Success) => ExitCode::SUCCESS,
        Ok(Outcome::Failure) => ExitCode::FAILURE,
        // Whoever read our output has enough of it.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::FAILURE
        }
    }
}
