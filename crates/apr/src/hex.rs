//! A tensor byte by byte and number by number: what a hex editor, and a notebook, would show.

mod header;
mod slice;

pub use header::{HeaderFile, HeaderView, hex_header};
pub use slice::{Slice, SliceView, hex_slice};

use crate::exact::{Figure, of_bytes};
use crate::statistics::{self, Histogram, Statistics, known};
use crate::units::{self, Table};
use crate::{Checkpoint, Error};
use apr_format::TensorEntry;
use apr_tensor::Tensor;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// Values that a dump shows beside the bytes.
const SHOWN_VALUES: usize = 8;
/// Bars that are shown of a histogram, each of several.
const SHOWN_BARS: usize = 16;
/// Width of the longest bar.
const BAR_WIDTH: usize = 40;

/// A tensor and where it lies.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TensorPlace {
    /// Its name.
    pub tensor: String,
    /// Its type, as the file's format spells it.
    pub dtype: &'static str,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// The file that holds it.
    pub file: PathBuf,
    /// Where its bytes begin in that file.
    pub offset: u64,
    /// Its bytes.
    pub size_bytes: u64,
}

impl TensorPlace {
    fn new(checkpoint: &Checkpoint, entry: &TensorEntry) -> Self {
        let file = checkpoint.container().files().get(entry.file());
        Self {
            tensor: entry.name.clone(),
            dtype: entry.layout.dtype().name(),
            shape: entry.layout.shape().to_vec(),
            file: file.map_or(checkpoint.path(), |file| file.path()).to_path_buf(),
            offset: units::size(entry.range().start),
            size_bytes: units::size(entry.layout.byte_len()),
        }
    }
}

impl fmt::Display for TensorPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tensor, dtype, shape, offset, size_bytes, .. } = self;
        let (name, size) = (tensor.escape_debug(), units::bytes(*size_bytes));
        writeln!(f, "{name}  {dtype} {shape:?}, {size} at offset {offset}")
    }
}

/// The first bytes of a tensor, and the values that they are.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DumpView {
    /// The tensor.
    #[serde(flatten)]
    pub place: TensorPlace,
    /// Its first bytes in hexadecimal, two digits each.
    pub bytes: String,
    /// Its first values, as far as the bytes hold whole blocks.
    pub values: Vec<Option<Figure>>,
    #[serde(skip)]
    raw: Vec<u8>,
}

/// Range and moments of a tensor.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StatisticsView {
    /// The tensor.
    #[serde(flatten)]
    pub place: TensorPlace,
    /// The figures.
    #[serde(flatten)]
    pub statistics: Statistics,
}

/// How the values of a tensor are distributed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DistributionView {
    /// The tensor.
    #[serde(flatten)]
    pub place: TensorPlace,
    /// The figures.
    #[serde(flatten)]
    pub statistics: Statistics,
    /// Entropy and bars.
    #[serde(flatten)]
    pub histogram: Histogram,
}

/// The tensor that is meant by a name: the one of exactly this name, else the only one whose name
/// contains it.
///
/// # Errors
/// When there is none, or there are several.
pub(crate) fn find<'a>(checkpoint: &'a Checkpoint, name: &str) -> Result<&'a TensorEntry, Error> {
    let container = checkpoint.container();
    if let Some(exact) = container.entry(name) {
        return Ok(exact);
    }
    let fail = |cause| Error::NoTensor { path: checkpoint.path().to_path_buf(), cause };
    let found: Vec<&TensorEntry> =
        container.tensors().iter().filter(|entry| entry.name.contains(name)).collect();
    match found[..] {
        [only] => Ok(only),
        [] => Err(fail(format!("no tensor's name contains {name:?}; apr tensors lists them all"))),
        [first, second, ..] => Err(fail(format!(
            "the names of {} tensors contain {name:?}, {:?} and {:?} among them; say which",
            found.len(),
            first.name,
            second.name
        ))),
    }
}

/// A tensor that is to be shown.
struct Subject {
    place: TensorPlace,
    tensor: Tensor,
}

impl Subject {
    fn find(checkpoint: &Checkpoint, name: &str) -> Result<Self, Error> {
        let entry = find(checkpoint, name)?;
        let tensor = checkpoint.container().tensor(&entry.name)?;
        Ok(Self { place: TensorPlace::new(checkpoint, entry), tensor })
    }
}

/// The first `limit` bytes of a tensor.
///
/// # Errors
/// When no or more than one tensor is meant by `name`, or it cannot be read.
pub fn hex_dump(checkpoint: &Checkpoint, name: &str, limit: usize) -> Result<DumpView, Error> {
    let Subject { place, tensor } = Subject::find(checkpoint, name)?;
    let (dtype, bytes) = (tensor.layout().dtype(), tensor.view().bytes());
    let raw = bytes[..limit.min(bytes.len())].to_vec();
    let blocks = SHOWN_VALUES.div_ceil(dtype.block_elems()).min(raw.len() / dtype.block_bytes());
    let mut values = of_bytes(dtype, &raw[..blocks * dtype.block_bytes()]);
    values.truncate(SHOWN_VALUES);
    Ok(DumpView {
        place,
        bytes: raw.iter().map(|byte| format!("{byte:02x}")).collect(),
        values: values.into_iter().map(Figure::of).collect(),
        raw,
    })
}

/// Range and moments of a tensor.
///
/// # Errors
/// When no or more than one tensor is meant by `name`, or it cannot be read.
pub fn hex_statistics(checkpoint: &Checkpoint, name: &str) -> Result<StatisticsView, Error> {
    let Subject { place, tensor } = Subject::find(checkpoint, name)?;
    Ok(StatisticsView { place, statistics: Statistics::of(tensor.view()) })
}

/// How the values of a tensor are distributed.
///
/// # Errors
/// When no or more than one tensor is meant by `name`, or it cannot be read.
pub fn hex_distribution(checkpoint: &Checkpoint, name: &str) -> Result<DistributionView, Error> {
    let Subject { place, tensor } = Subject::find(checkpoint, name)?;
    let statistics = Statistics::of(tensor.view());
    let histogram = Histogram::of(tensor.view(), &statistics);
    Ok(DistributionView { place, statistics, histogram })
}

impl fmt::Display for DumpView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)?;
        f.write_str(&units::hex_dump(self.place.offset, &self.raw))?;
        let values: Vec<String> = self.values.iter().map(|value| shown(*value)).collect();
        if values.is_empty() {
            return Ok(());
        }
        writeln!(f, "values: {}, …", values.join(", "))
    }
}

/// A value, or that it is none.
fn shown(value: Option<Figure>) -> String {
    value.map_or_else(|| "not finite".to_owned(), |value| value.to_string())
}

impl fmt::Display for StatisticsView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)?;
        let Statistics { count, zeros, .. } = self.statistics;
        writeln!(f, "{}", self.statistics.line())?;
        writeln!(f, "{} values, {} of them zero", units::count(count), units::count(zeros))?;
        self.statistics.left_out().map_or(Ok(()), |note| writeln!(f, "{note}"))
    }
}

impl fmt::Display for DistributionView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Statistics { min, max, mean, std, skewness, kurtosis, .. } = self.statistics;
        self.place.fmt(f)?;
        let entropy = units::number(self.histogram.entropy);
        writeln!(f, "Entropy: {entropy} bits (8 if all 256 bars were equally high)")?;
        writeln!(f, "Kurtosis: {} (excess; a normal distribution has 0)", known(kurtosis))?;
        writeln!(f, "Skewness: {}", known(skewness))?;
        for (what, value) in [("Min", min), ("Max", max)] {
            writeln!(f, "{what}: {}", statistics::shown(value))?;
        }
        for (what, value) in [("Mean", mean), ("Std", std)] {
            writeln!(f, "{what}: {}", known(value))?;
        }
        if let Some(note) = self.statistics.left_out() {
            writeln!(f, "{note}")?;
        }
        match (min, max) {
            (Some(min), Some(max)) if min != max => {
                write!(f, "\n{}", self.bars(min.to_f64(), max.to_f64()))
            }
            _ => Ok(()),
        }
    }
}

impl DistributionView {
    fn bars(&self, min: f64, max: f64) -> Table {
        let bins = &self.histogram.bins;
        let width = bins.len() / SHOWN_BARS;
        let bars: Vec<u64> = bins.chunks(width).map(|bins| bins.iter().sum()).collect();
        let longest = bars.iter().copied().max().unwrap_or_default().max(1);
        let mut table = Table::new(&["from", "values", ""]).right_align([0, 1]);
        for (at, &count) in bars.iter().enumerate() {
            let from = min + (max - min) * at as f64 / bars.len() as f64;
            let length = count.saturating_mul(units::size(BAR_WIDTH)).div_ceil(longest);
            let bar = "█".repeat(usize::try_from(length).unwrap_or(BAR_WIDTH));
            table.row([units::number(from), units::count(count), bar]);
        }
        table
    }
}
