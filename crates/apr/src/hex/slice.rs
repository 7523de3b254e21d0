//! Some of a tensor's values, chosen by a range for each dimension.

use super::{Subject, TensorPlace, shown};
use crate::exact::{Figure, Number, numbers};
use crate::{Checkpoint, Error};
use apr_tensor::{TensorError, TensorView};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// Values of a row that are shown before the rest is left to `--json`.
const SHOWN_COLUMNS: usize = 8;
/// Rows that are shown.
const SHOWN_ROWS: usize = 16;

/// A range for each of the first dimensions: `0:3`, `2`, `5:`, `:4,10:12`. Dimensions that are not
/// named are taken whole, as NumPy does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    text: String,
    ranges: Vec<(usize, Option<usize>)>,
}

impl FromStr for Slice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let number = text.parse::<usize>();
            number.map_err(|_| format!("{text:?} is no index; expected START:END, as in 0:3"))
        };
        let range = |text: &str| match text.split_once(':') {
            None => number(text).map(|at| (at, Some(at.saturating_add(1)))),
            Some((start, end)) => Ok((
                if start.is_empty() { 0 } else { number(start)? },
                if end.is_empty() { None } else { Some(number(end)?) },
            )),
        };
        let ranges: Result<Vec<_>, String> = text.split(',').map(range).collect();
        Ok(Self { text: text.to_owned(), ranges: ranges? })
    }
}

impl Slice {
    /// The range of every dimension of this shape.
    fn within(&self, shape: &[usize]) -> Result<Vec<Range<usize>>, String> {
        if self.ranges.len() > shape.len() {
            let (given, rank) = (self.ranges.len(), shape.len());
            return Err(format!("{given} ranges, and {rank} dimensions"));
        }
        let all = self.ranges.iter().copied().chain(std::iter::repeat((0, None)));
        shape
            .iter()
            .zip(all)
            .enumerate()
            .map(|(at, (&dim, (start, end)))| {
                let end = end.unwrap_or(dim);
                if start > end || end > dim {
                    return Err(format!("{start}:{end} is not within dimension {at}, 0:{dim}"));
                }
                Ok(start..end)
            })
            .collect()
    }
}

/// Some of a tensor's values.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SliceView {
    /// The tensor.
    #[serde(flatten)]
    pub place: TensorPlace,
    /// What was asked for.
    pub slice: String,
    /// Dimensions of the values.
    pub slice_shape: Vec<usize>,
    /// The values, row after row; null where one is not finite.
    pub values: Vec<Option<Figure>>,
}

/// Some of a tensor's values. No more is decoded than the rows that have them.
///
/// # Errors
/// When no or more than one tensor is meant by `name`, it cannot be read, or does not have these
/// elements.
pub fn hex_slice(checkpoint: &Checkpoint, name: &str, slice: &Slice) -> Result<SliceView, Error> {
    let Subject { place, tensor } = Subject::find(checkpoint, name)?;
    let ranges = slice.within(&place.shape).map_err(|cause| {
        let (path, tensor) = (checkpoint.path().display(), &place.tensor);
        Error::Argument(format!("{path}: tensor {tensor:?}: slice {}: {cause}", slice.text))
    })?;
    let values = values(tensor.view(), &ranges);
    let values = values.map_err(Error::layout(checkpoint.path(), &place.tensor))?;
    Ok(SliceView {
        slice: slice.text.clone(),
        slice_shape: ranges.iter().map(ExactSizeIterator::len).collect(),
        values: values.into_iter().map(Figure::of).collect(),
        place,
    })
}

fn values(view: TensorView<'_>, ranges: &[Range<usize>]) -> Result<Vec<Number>, TensorError> {
    let Some((columns, outer)) = ranges.split_last() else { return Ok(numbers(view).collect()) };
    let block = view.dtype().block_elems();
    // Whole blocks around the columns.
    let around = columns.start / block * block..columns.end.next_multiple_of(block);
    let mut values = Vec::new();
    if columns.is_empty() {
        return Ok(values);
    }
    for row in rows(view.layout().shape(), outer) {
        let decoded = view.dtype().numbers(view.column_bytes(row, around.clone())?)?;
        let first = columns.start - around.start;
        values.extend_from_slice(&decoded[first..first + columns.len()]);
    }
    Ok(values)
}

/// The rows of a tensor that lie within ranges of its outer dimensions.
fn rows(shape: &[usize], outer: &[Range<usize>]) -> Vec<usize> {
    outer.iter().zip(shape).fold(vec![0], |rows, (range, dim)| {
        rows.iter().flat_map(|row| range.clone().map(move |at| row * dim + at)).collect()
    })
}

impl fmt::Display for SliceView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)?;
        writeln!(f, "[{}] has the shape {:?}", self.slice, self.slice_shape)?;
        let columns = self.slice_shape.last().copied().unwrap_or(1).max(1);
        let rows = self.values.chunks(columns);
        let count = rows.len();
        for row in rows.take(SHOWN_ROWS) {
            let values: Vec<String> = row
                .iter()
                .take(SHOWN_COLUMNS)
                .map(|value| format!("{:>13}", shown(*value)))
                .collect();
            let more = if row.len() > SHOWN_COLUMNS { "  …" } else { "" };
            writeln!(f, "{}{more}", values.join(" "))?;
        }
        if count > SHOWN_ROWS || columns > SHOWN_COLUMNS {
            writeln!(f, "--json has all {} values", self.values.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apr_tensor::{DType, TensorLayout};

    fn taken(text: &str, shape: &[usize]) -> Result<Vec<f64>, String> {
        let layout = TensorLayout::new(DType::U8, shape).unwrap();
        let bytes: Vec<u8> = (0..).take(layout.elem_count()).collect();
        let ranges = text.parse::<Slice>()?.within(shape)?;
        let values = values(TensorView::new(&layout, &bytes).unwrap(), &ranges).unwrap();
        Ok(values.into_iter().map(Number::to_f64).collect())
    }

    #[test]
    fn ranges_choose_as_numpy_does() {
        assert_eq!(taken("0:3", &[5]).unwrap(), [0.0, 1.0, 2.0]);
        assert_eq!(taken("1", &[3, 2]).unwrap(), [2.0, 3.0]);
        assert_eq!(taken("1:,1", &[3, 2]).unwrap(), [3.0, 5.0]);
        assert_eq!(taken(":,1:2,:1", &[2, 2, 3]).unwrap(), [3.0, 9.0]);
        assert_eq!(taken("2:2", &[3, 2]).unwrap(), [0.0; 0]);
        for (text, cause) in [
            ("0:6", "0:6 is not within dimension 0, 0:5"),
            ("4:3", "4:3 is not"),
            ("0,0", "2 ranges, and 1 dimensions"),
            ("-1", "no index"),
            ("", "no index"),
            ("0:x", "no index"),
        ] {
            let said = taken(text, &[5]).unwrap_err();
            assert!(said.contains(cause), "{text}: {said}");
        }
    }
}
