//! `apr man [DIR]`

use super::Task;
use crate::output::Output;
use crate::{Cli, Outcome};
use apr::Error;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write the pages of all verbs into this folder, as `man` finds them in
    /// ~/.local/share/man/man1; without it, print the first page
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Pages of the manual.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Manual {
    pages: Vec<Page>,
}

/// A page of the manual.
#[derive(Serialize, JsonSchema)]
struct Page {
    /// Name of its file.
    name: String,
    /// Where it was written, if it was.
    path: Option<PathBuf>,
    /// The page in roff, if it was not written.
    text: Option<String>,
}

impl Task for Args {
    type Report = Manual;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        let mut command = Cli::command().disable_help_subcommand(true);
        command.build();
        let Some(folder) = self.folder else {
            let text = render(&command).map_err(Error::Output)?;
            if output.is_json() {
                let page = Page { name: file_name(&command), path: None, text: Some(text) };
                output.document(&Manual { pages: vec![page] })?;
            } else {
                output.text(&text)?;
            }
            return Ok(Outcome::Success);
        };
        let io = |path: &Path| {
            let path = path.to_path_buf();
            move |source| Error::Io { path, source }
        };
        fs::create_dir_all(&folder).map_err(io(&folder))?;
        let mut pages = Vec::new();
        for command in [&command].into_iter().chain(command.get_subcommands()) {
            let name = file_name(command);
            let path = folder.join(&name);
            let write = render(command).and_then(|text| fs::write(&path, text));
            write.map_err(io(&path))?;
            pages.push(Page { name, path: Some(path), text: None });
        }
        output.report(&Manual { pages })?;
        Ok(Outcome::Success)
    }
}

fn file_name(command: &Command) -> String {
    format!("{}.1", command.get_display_name().unwrap_or_else(|| command.get_name()))
}

fn render(command: &Command) -> io::Result<String> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    String::from_utf8(page).map_err(io::Error::other)
}

impl fmt::Display for Manual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths = self.pages.iter().filter_map(|page| page.path.as_ref());
        paths.into_iter().try_for_each(|path| writeln!(f, "{}", path.display()))
    }
}
