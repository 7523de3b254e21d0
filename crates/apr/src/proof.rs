//! The proof: every element of a stored tensor compared with its source.

mod report;

pub use report::{Exception, Proof, ProvenTensor};

use crate::Error;
use crate::source::Source;
use apr_format::{Certificate, Hash128};
use apr_kernel::{Kernels, Task};
use apr_tensor::{Block, BlockTask, DType, TensorLayout, TensorView};
use rayon::prelude::*;
use std::marker::PhantomData;
use std::ops::Range;

/// How a file fails its proof.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProofFailure {
    /// Another number of elements than the source has.
    #[error("tensor {tensor:?}: {found:?} elements, the source has {expected:?}")]
    Shape {
        /// The tensor.
        tensor: String,
        /// Shape by the source.
        expected: Vec<usize>,
        /// Shape that is stored.
        found: Vec<usize>,
    },
    /// An element is farther from its source than its type allows.
    #[error(
        "tensor {tensor:?}: element {index} is {found}, the source is {source_value}; {dtype} allows an error of {bound:.3e}"
    )]
    Bound {
        /// The tensor.
        tensor: String,
        /// Index of the element, counted through the stored tensor.
        index: usize,
        /// Its value.
        found: f32,
        /// Value of the source.
        source_value: f32,
        /// Type of the tensor.
        dtype: DType,
        /// Bound of the element's block.
        bound: f32,
    },
    /// A zero of the source did not stay zero.
    #[error("tensor {tensor:?}: element {index} is {found}, the source is zero")]
    Zero {
        /// The tensor.
        tensor: String,
        /// Index of the element, counted through the stored tensor.
        index: usize,
        /// Its value.
        found: f32,
    },
    /// A tensor that was to be copied is not a copy.
    #[error("tensor {tensor:?} keeps the source's type, but not its bytes")]
    Copy {
        /// The tensor.
        tensor: String,
    },
    /// A tensor that only one side has.
    #[error("tensor {tensor:?} is {cause}")]
    Census {
        /// The tensor.
        tensor: String,
        /// Which side lacks it.
        cause: &'static str,
    },
    /// The source is another than the one that was certified.
    #[error(
        "tensor {tensor:?}: the source's hash is {found}, the certificate says {expected}: another source"
    )]
    Source {
        /// The tensor.
        tensor: String,
        /// Hash in the certificate.
        expected: Hash128,
        /// Hash of this source.
        found: Hash128,
    },
    /// The comparison gives another result than the certificate claims.
    #[error("tensor {tensor:?}: its certificate is not what the comparison gives")]
    Certificate {
        /// The tensor.
        tensor: String,
    },
}

impl ProofFailure {
    /// The tensor at fault.
    #[must_use]
    pub fn tensor(&self) -> Option<&str> {
        match self {
            Self::Shape { tensor, .. }
            | Self::Bound { tensor, .. }
            | Self::Zero { tensor, .. }
            | Self::Copy { tensor }
            | Self::Census { tensor, .. }
            | Self::Source { tensor, .. }
            | Self::Certificate { tensor } => Some(tensor),
        }
    }
}

/// Compares a stored tensor with its source, element by element.
///
/// # Errors
/// When the shapes differ, the source holds a value that is not finite, or an element is farther
/// from its source than the type allows.
pub(crate) fn certify(source: &Source, stored: TensorView<'_>) -> Result<Certificate, Error> {
    let layout = stored.layout();
    check_shape(source, layout)?;
    if source.is_kept_as(layout) && !source.has_bytes(stored.bytes()) {
        return Err(fail(source, ProofFailure::Copy { tensor: source.name().to_owned() }));
    }
    compare_all(source, stored, Bounds::Hold)
}

/// Compares them the same way and refuses nothing that can be measured: an error past its bound
/// makes a [`bound_share`](Certificate::bound_share) past 1, infinite where none is allowed.
///
/// # Errors
/// When the shapes differ, or a value is not finite.
pub(crate) fn measure(source: &Source, stored: TensorView<'_>) -> Result<Certificate, Error> {
    check_shape(source, stored.layout())?;
    compare_all(source, stored, Bounds::Measure)
}

fn compare_all(
    source: &Source,
    stored: TensorView<'_>,
    bounds: Bounds,
) -> Result<Certificate, Error> {
    let (source_hash, sums) = rayon::join(
        || source.hash(),
        || -> Result<Vec<Sums>, Error> {
            let compare = |rows: Range<usize>| {
                let bytes = stored.row_bytes(rows.clone());
                let bytes = bytes.map_err(Error::layout(source.path(), source.name()))?;
                compare(source, stored.dtype(), (bytes, rows.start), &source.read(rows)?, bounds)
            };
            // The first error in the order of the tensor, whichever thread meets one first.
            let sums: Vec<_> = source.chunks().map(compare).collect();
            sums.into_iter().collect()
        },
    );
    let sums = sums?;
    Ok(certificate(source, source_hash?, sums))
}

/// Refuses a layout of other rows or columns than the source's.
pub(crate) fn check_shape(source: &Source, layout: &TensorLayout) -> Result<(), Error> {
    let (rows, cols) = source.rows_and_cols();
    if (layout.row_count(), layout.row_elems()) == (rows, cols) {
        return Ok(());
    }
    let (tensor, expected) = (source.name().to_owned(), vec![rows, cols]);
    let found = vec![layout.row_count(), layout.row_elems()];
    Err(fail(source, ProofFailure::Shape { tensor, expected, found }))
}

/// The certificate of a tensor, from what [`compare`] gave for each of its chunks, in their order:
/// so the sums do not depend on the number of threads.
pub(crate) fn certificate(source: &Source, source_hash: Hash128, sums: Vec<Sums>) -> Certificate {
    let Sums { lane, bound, bound_share } = sums.into_iter().fold(Sums::default(), Sums::merge);
    let (rows, cols) = source.rows_and_cols();
    let count = (rows * cols).max(1) as f64;
    let lossless = lane.error_power == 0.0;
    Certificate {
        source_dtype: source.dtype(),
        transposed: source.transposed(),
        source_hash,
        max_error: lane.max_error,
        rms_error: (lane.error_power / count).sqrt(),
        sqnr_db: if lossless {
            f64::INFINITY
        } else {
            10.0 * (lane.signal_power / lane.error_power).log10()
        },
        bound,
        bound_share,
        source_zeros: lane.source_zeros,
        zeros: lane.zeros,
    }
}

/// Elements that are compared side by side, each with sums of its own.
const LANES: usize = 4;

/// What elements add to a certificate.
#[derive(Debug, Clone, Copy, Default)]
struct Lane {
    max_error: f64,
    error_power: f64,
    signal_power: f64,
    source_zeros: u64,
    zeros: u64,
}

impl Lane {
    #[inline(always)]
    fn merge(self, other: Self) -> Self {
        Self {
            max_error: self.max_error.max(other.max_error),
            error_power: self.error_power + other.error_power,
            signal_power: self.signal_power + other.signal_power,
            source_zeros: self.source_zeros + other.source_zeros,
            zeros: self.zeros + other.zeros,
        }
    }
}

/// The same, for elements side by side: arrays of one quantity each, which are vectors.
#[derive(Default)]
struct Lanes {
    max_error: [f64; LANES],
    error_power: [f64; LANES],
    signal_power: [f64; LANES],
    source_zeros: [u64; LANES],
    zeros: [u64; LANES],
    /// Zeros of the source that are none any more.
    lost_zeros: [u64; LANES],
}

impl Lanes {
    /// Adds the first `count` of these elements.
    #[inline(always)]
    fn add(&mut self, count: usize, expected: &[f32; LANES], found: &[f32; LANES]) {
        for lane in 0..count {
            let (expected, found) = (f64::from(expected[lane]), f64::from(found[lane]));
            let error = (expected - found).abs();
            let max = self.max_error[lane];
            self.max_error[lane] = if error > max { error } else { max };
            self.error_power[lane] += error * error;
            self.signal_power[lane] += expected * expected;
            self.source_zeros[lane] += u64::from(expected == 0.0);
            self.zeros[lane] += u64::from(found == 0.0);
            self.lost_zeros[lane] += u64::from((expected == 0.0) & (found != 0.0));
        }
    }

    #[inline(always)]
    fn merged(&self) -> Lane {
        let lanes: [Lane; LANES] = std::array::from_fn(|lane| Lane {
            max_error: self.max_error[lane],
            error_power: self.error_power[lane],
            signal_power: self.signal_power[lane],
            source_zeros: self.source_zeros[lane],
            zeros: self.zeros[lane],
        });
        lanes.into_iter().fold(Lane::default(), Lane::merge)
    }
}

/// What blocks add to a certificate.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sums {
    lane: Lane,
    bound: f64,
    bound_share: f64,
}

impl Sums {
    #[inline(always)]
    fn merge(self, other: Self) -> Self {
        Self {
            lane: self.lane.merge(other.lane),
            bound: self.bound.max(other.bound),
            bound_share: self.bound_share.max(other.bound_share),
        }
    }
}

fn fail(source: &Source, failure: ProofFailure) -> Error {
    Error::Proof { path: source.path().to_path_buf(), source: Box::new(failure) }
}

/// What happens to an element that is farther from its source than its type allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bounds {
    /// It is an error.
    Hold,
    /// It is measured like the others.
    Measure,
}

/// Compares the stored rows from `first` on with the values of the source.
///
/// # Errors
/// When an element is farther from its source than the type allows and `bounds` are to hold, or
/// is not a number.
pub(crate) fn compare(
    source: &Source,
    dtype: DType,
    (stored, first): (&[u8], usize),
    expected: &[f32],
    bounds: Bounds,
) -> Result<Sums, Error> {
    let mut found = vec![0.0; expected.len()];
    Kernels::best()
        .decode(dtype, stored, &mut found)
        .map_err(|error| Error::layout(source.path(), source.name())(error))?;
    let exact = source.dtype() == dtype;
    let chunk = Chunk { expected, found: &found, exact, bounds };
    dtype.with_block(chunk).map_err(|(at, rule)| {
        let (_, cols) = source.rows_and_cols();
        let (tensor, index) = (source.name().to_owned(), first * cols + at);
        let (found, source_value) = (found[at], expected[at]);
        fail(
            source,
            if rule.keeps_zero && source_value == 0.0 && found.abs() <= rule.bound {
                ProofFailure::Zero { tensor, index, found }
            } else {
                ProofFailure::Bound { tensor, index, found, source_value, dtype, bound: rule.bound }
            },
        )
    })
}

/// Values of a chunk in the source and as they are stored.
struct Chunk<'a> {
    expected: &'a [f32],
    found: &'a [f32],
    /// Whether the type of the source is kept.
    exact: bool,
    bounds: Bounds,
}

/// The first element that breaks a rule, and that rule.
type Broken = (usize, Rule);

impl BlockTask for Chunk<'_> {
    type Output = Result<Sums, Broken>;

    fn with<B: Block>(self) -> Self::Output {
        Kernels::best().run(ChunkOf::<B>(self, PhantomData))
    }
}

/// A chunk whose type is known to the compiler.
struct ChunkOf<'a, B>(Chunk<'a>, PhantomData<B>);

impl<B: Block> Task for ChunkOf<'_, B> {
    type Output = Result<Sums, Broken>;

    #[inline(always)]
    fn run(self) -> Self::Output {
        let Chunk { expected, found, exact, bounds } = self.0;
        let mut sums = Sums::default();
        let blocks = expected.chunks_exact(B::ELEMS).zip(found.chunks_exact(B::ELEMS));
        for (at, (expected, found)) in blocks.enumerate() {
            let bound = if exact { 0.0 } else { B::error_bound(expected) };
            let rule = Rule { bound, keeps_zero: B::KEEPS_ZERO, bounds };
            let block = compare_block(expected, found, rule);
            sums = sums.merge(block.map_err(|within| (at * B::ELEMS + within, rule))?);
        }
        Ok(sums)
    }
}

/// What a type promises of the elements of a block.
#[derive(Debug, Clone, Copy)]
struct Rule {
    /// The largest error that storing may leave: none where the type keeps every value.
    bound: f32,
    /// Whether zeros stay zero.
    keeps_zero: bool,
    /// Whether both are to hold.
    bounds: Bounds,
}

/// Sums over a block, or the index of the first element that breaks a rule.
#[inline(always)]
fn compare_block(expected: &[f32], found: &[f32], rule: Rule) -> Result<Sums, usize> {
    let bound = f64::from(rule.bound);
    let mut lanes = Lanes::default();
    let (expected_rows, expected_rest) = expected.as_chunks::<LANES>();
    let (found_rows, found_rest) = found.as_chunks::<LANES>();
    for (expected, found) in expected_rows.iter().zip(found_rows) {
        lanes.add(LANES, expected, found);
    }
    // Blocks of a single element.
    if !expected_rest.is_empty() {
        let padded = |rest: &[f32]| std::array::from_fn(|at| rest.get(at).copied().unwrap_or(1.0));
        lanes.add(expected_rest.len(), &padded(expected_rest), &padded(found_rest));
    }
    let lost_zeros: u64 = lanes.lost_zeros.iter().sum();
    let lane = lanes.merged();
    // The maximum passes over a NaN, the sum does not.
    let broken = lane.max_error > bound || (rule.keeps_zero && lost_zeros > 0);
    if lane.error_power.is_nan() || (broken && rule.bounds == Bounds::Hold) {
        return Err(first_wrong(expected, found, rule));
    }
    let bound_share = if lane.max_error > 0.0 { lane.max_error / bound } else { 0.0 };
    Ok(Sums { lane, bound, bound_share })
}

/// The first element of a block that is past the bound, or was zero and is not.
#[cold]
fn first_wrong(expected: &[f32], found: &[f32], rule: Rule) -> usize {
    let wrong = |(&expected, &found): (&f32, &f32)| {
        let error = (f64::from(expected) - f64::from(found)).abs();
        let lost_zero = rule.keeps_zero && expected == 0.0 && found != 0.0;
        error > f64::from(rule.bound) || error.is_nan() || lost_zero
    };
    expected.iter().zip(found).position(wrong).unwrap_or_default()
}
