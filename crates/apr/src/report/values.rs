//! What is measured of single tensors: their values, and how far they are from their source.

use super::data::{ReportedCertificate, ReportedHistogram, ReportedTensor};
use super::rows::Row;
use crate::proof::measure;
use crate::statistics::{Histogram, Statistics, decoded, run_bytes};
use crate::{Checkpoint, Error, units};
use apr_format::{Certificate, Hash128};
use apr_tensor::TensorView;
use rayon::prelude::*;

/// Bars of a histogram.
pub(super) const BARS: usize = 64;

/// Whether a histogram is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Wanted,
    Omitted,
}

/// Reads a tensor and describes it. Without a certificate it is compared with its source, if it
/// has one.
///
/// # Errors
/// When it cannot be read.
pub(super) fn tensor(
    checkpoint: &Checkpoint,
    row: Row,
    certificate: Option<&Certificate>,
    shape: Shape,
) -> Result<ReportedTensor, Error> {
    let container = checkpoint.container();
    let tensor = container.tensor(&row.name)?;
    let (view, layout) = (tensor.view(), tensor.layout());
    let measured = match (certificate, &row.source) {
        (None, Some(source)) => Some(measure(source, view).map(Some)),
        (Some(_), _) | (None, None) => None,
    };
    let (certificate, problem) = match measured.unwrap_or_else(|| Ok(certificate.copied())) {
        Ok(Some(certificate)) if !is_finite(&certificate) => {
            (None, Some("its error is not a finite number".to_owned()))
        }
        Ok(certificate) => (certificate, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let statistics = Statistics::of(view);
    let before = row.source.as_ref().map(|source| Statistics::of_runs(source.runs()));
    let histogram = match shape {
        Shape::Wanted => histogram(view, &row, &statistics, before.as_ref()),
        Shape::Omitted => None,
    };
    let hash = container.entry(&row.name).and_then(|entry| entry.hash);
    Ok(ReportedTensor {
        name: row.name,
        role: row.role,
        layer: row.layer,
        shape: layout.shape().to_vec(),
        dtype: layout.dtype().name(),
        elements: units::size(layout.elem_count()),
        size_bytes: units::size(layout.byte_len()),
        hash: hash.unwrap_or_else(|| Hash128::of(view.bytes())),
        certificate: certificate.map(|certificate| reported(&certificate)),
        problem,
        statistics,
        before,
        histogram,
    })
}

fn is_finite(certificate: &Certificate) -> bool {
    [certificate.max_error, certificate.rms_error, certificate.bound].iter().all(|x| x.is_finite())
}

fn reported(certificate: &Certificate) -> ReportedCertificate {
    // The ratio of powers in decibels tells the ratio of roots.
    let lossless = certificate.rms_error == 0.0;
    let relative = if lossless { 0.0 } else { 10_f64.powf(-certificate.sqnr_db / 20.0) };
    ReportedCertificate {
        source_dtype: certificate.source_dtype.name(),
        source_hash: certificate.source_hash,
        max_error: certificate.max_error,
        rms_error: certificate.rms_error,
        relative_error: Some(relative).filter(|relative| relative.is_finite()),
        sqnr_db: Some(certificate.sqnr_db).filter(|sqnr| sqnr.is_finite()),
        bound: certificate.bound,
        bound_share: Some(certificate.bound_share).filter(|share| share.is_finite()),
    }
}

/// Both over one range, so that their bars can be compared.
fn histogram(
    view: TensorView<'_>,
    row: &Row,
    statistics: &Statistics,
    before: Option<&Statistics>,
) -> Option<ReportedHistogram> {
    let range = |of: &Statistics| Some((of.min?.to_f64(), of.max?.to_f64()));
    let (mut min, mut max) = range(statistics)?;
    if let Some((least, most)) = before.and_then(range) {
        (min, max) = (min.min(least), max.max(most));
    }
    let dtype = view.dtype();
    let runs = view.bytes().par_chunks(run_bytes(dtype)).map(|run| decoded(dtype, run));
    let source = row.source.as_ref();
    Some(ReportedHistogram {
        min,
        max,
        bins: bars(&Histogram::between((min, max), runs)),
        before: source.map(|source| bars(&Histogram::between((min, max), source.runs()))),
    })
}

fn bars(histogram: &Histogram) -> Vec<u64> {
    let width = histogram.bins.len().div_ceil(BARS).max(1);
    histogram.bins.chunks(width).map(|bins| bins.iter().sum()).collect()
}
