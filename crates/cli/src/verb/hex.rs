//! `apr hex FILE [--tensor NAME [--stats | --distribution | --slice RANGES] | --header]`

use super::Task;
use crate::Outcome;
use crate::open::{open, open_header};
use crate::output::Output;
use apr::{DistributionView, DumpView, Error, HeaderView, Slice, SliceView, StatisticsView};
use schemars::JsonSchema;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A model file or folder, or hf://ORG/NAME from the local cache; for the header also - for a
    /// pipe
    model: PathBuf,
    /// The tensor of this name, else the only one whose name contains it; without one, the header
    #[arg(long, value_name = "NAME")]
    tensor: Option<String>,
    /// What stands before the tensors
    #[arg(long, conflicts_with = "tensor")]
    header: bool,
    /// Range, mean and standard deviation of its values
    #[arg(long, requires = "tensor")]
    stats: bool,
    /// How its values are distributed
    #[arg(long, requires = "tensor", conflicts_with = "stats")]
    distribution: bool,
    /// Its values within a range of each dimension, as in 0:3 or 5,:10
    #[arg(long, value_name = "RANGES", requires = "tensor", conflicts_with_all = ["stats", "distribution"])]
    slice: Option<Slice>,
    /// Bytes to show of it
    #[arg(long, value_name = "BYTES", default_value_t = 256)]
    limit: usize,
}

/// One of the views.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is needed")]
pub(crate) enum View {
    /// With `--header`, and without a tensor.
    Header(HeaderView),
    /// With `--tensor` alone.
    Dump(DumpView),
    /// With `--stats`.
    Statistics(StatisticsView),
    /// With `--distribution`.
    Distribution(DistributionView),
    /// With `--slice`.
    Slice(SliceView),
}

impl Task for Args {
    type Report = View;

    fn run(self, output: &mut Output) -> Result<Outcome, Error> {
        let Some(name) = &self.tensor else {
            output.report(&apr::hex_header(&open_header(&self.model)?))?;
            return Ok(Outcome::Success);
        };
        let model = open(&self.model)?;
        if self.stats {
            output.report(&apr::hex_statistics(&model, name)?)?;
        } else if self.distribution {
            output.report(&apr::hex_distribution(&model, name)?)?;
        } else if let Some(slice) = &self.slice {
            output.report(&apr::hex_slice(&model, name, slice)?)?;
        } else {
            output.report(&apr::hex_dump(&model, name, self.limit)?)?;
        }
        Ok(Outcome::Success)
    }
}
