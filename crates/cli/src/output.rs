//! The only place that writes to the terminal: reports as text or JSON on standard output,
//! messages on standard error.

mod escape;

use apr::Error;
use escape::{escaped, json_escaped};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write, stderr, stdout};

/// The document of a failure.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ErrorDocument {
    error: Failure,
}

/// Why a verb failed.
#[derive(Serialize, JsonSchema)]
struct Failure {
    /// What kind of failure it is.
    kind: &'static str,
    /// What standard error says, too.
    message: String,
    /// The tensor that is to blame, if it is one.
    tensor: Option<String>,
    /// What to do about it, if that is known.
    advice: Option<String>,
}

/// Where a verb puts what it found.
pub(crate) struct Output {
    json: bool,
    /// Whether the document was printed.
    printed: bool,
    quiet: bool,
}

impl Output {
    pub(crate) const fn new(json: bool, quiet: bool) -> Self {
        Self { json, printed: false, quiet }
    }

    /// Whether the one JSON document is wanted, and nothing else on standard output.
    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a report.
    pub(crate) fn report(&mut self, report: &(impl Serialize + Display)) -> Result<(), Error> {
        if self.json {
            self.document(report)
        } else {
            self.text(&escaped(&report.to_string(), &['\n']))
        }
    }

    /// Prints a JSON document.
    pub(crate) fn document(&mut self, document: &impl Serialize) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(document).map_err(io::Error::from);
        self.printed = true;
        self.text(&(json_escaped(&text.map_err(Error::Output)?) + "\n"))
    }

    /// Prints text at once.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Error> {
        write(text).map_err(Error::Output)
    }

    /// Standard output for the bytes of a file, which are all that is printed.
    #[allow(clippy::unused_self, reason = "whoever has the output may write to it")]
    pub(crate) fn bytes(&mut self) -> impl Write {
        stdout().lock()
    }

    /// A remark for a person; not shown when nobody looks.
    pub(crate) fn remark(&self, text: &str) {
        if !self.json && !self.quiet && stderr().is_terminal() {
            message(text);
        }
    }

    /// Prints a report that goes beside the text on standard output.
    pub(crate) fn aside(&self, report: &impl Display) {
        // Nowhere is left to report a standard error that cannot be written.
        let _ = write!(stderr(), "{}", escaped(&report.to_string(), &['\n']));
    }

    /// Says in a line on standard error what a report says at length.
    pub(crate) fn verdict(&self, text: &str) {
        message(&format!("apr: {text}"));
    }

    /// Prints the document of a wrong command line.
    pub(crate) fn usage(&mut self, text: &str) {
        let error = Failure { kind: "usage", message: text.to_owned(), tensor: None, advice: None };
        // Standard error says it too; a closed pipe has no reader to tell.
        let _ = self.document(&ErrorDocument { error });
    }

    /// Says why a verb failed: a line on standard error, and the document if one is wanted.
    pub(crate) fn error(&mut self, error: &Error) {
        let advice = error.advice();
        let then = advice.as_ref().map(|advice| format!("; {advice}")).unwrap_or_default();
        message(&format!("apr: {error}{then}"));
        if self.json && !self.printed {
            let (kind, tensor) = (error.kind(), error.tensor().map(ToOwned::to_owned));
            let error = Failure { kind, message: error.to_string(), tensor, advice };
            // The reason is on standard error already; a closed pipe has no reader to tell.
            let _ = self.document(&ErrorDocument { error });
        }
    }
}

/// Writes what a model generates, as it comes. Its tokens are a stranger's: what a terminal would
/// obey is escaped there, while a file or a pipe gets every character.
pub(crate) fn stream(text: &str) -> io::Result<()> {
    if stdout().is_terminal() { write(&escaped(text, &['\n', '\t'])) } else { write(text) }
}

/// Writes to standard output and flushes, so that text streams.
fn write(text: &str) -> io::Result<()> {
    let mut stdout = stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Says that this program is wrong, where a panic would.
pub(crate) fn internal_error(text: &str) {
    let text = text.replace("panicked at", "at").replace('\n', " ");
    message(&format!("apr: internal error, please report it: {text}"));
}

pub(crate) fn is_broken_pipe(error: &Error) -> bool {
    matches!(error, Error::Output(source) if source.kind() == ErrorKind::BrokenPipe)
}

fn message(text: &str) {
    // Nowhere is left to report a standard error that cannot be written.
    let _ = writeln!(stderr(), "{}", escaped(text, &[]));
}
