//! Numbers and tables that people read at a glance.

use comfy_table::{CellAlignment, Table as Inner};
use std::fmt;

/// A size in memory as a number in reports.
pub(crate) fn size(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// A token as an index.
pub(crate) fn index(token: u32) -> usize {
    usize::try_from(token).unwrap_or(usize::MAX)
}

/// `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1.2 MB`: decimal units, three significant digits.
pub(crate) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in ["kB", "MB", "GB", "TB"] {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    let decimals = if unit == "B" || value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.decimals$} {unit}")
}

/// `1.2e-3`, or `0`.
pub(crate) fn error(value: f64) -> String {
    if value == 0.0 { "0".to_owned() } else { format!("{value:.1e}") }
}

/// `45.6 dB`, or `exact`.
pub(crate) fn decibels(value: f64) -> String {
    if value.is_infinite() { "exact".to_owned() } else { format!("{value:.1} dB") }
}

/// A table without lines; columns after the first are right-aligned where they are numbers.
pub(crate) struct Table(Inner);

impl Table {
    pub(crate) fn new(header: &[&str]) -> Self {
        let mut table = Inner::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header(header.iter().copied());
        Self(table)
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.add_row(cells);
    }

    pub(crate) fn right_align(mut self, columns: impl IntoIterator<Item = usize>) -> Self {
        for column in columns {
            if let Some(column) = self.0.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        self
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.0.trim_fmt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_at_a_glance() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(999_999), "1.00 MB");
        assert_eq!(bytes(3_939_696), "3.94 MB");
        assert_eq!(bytes(269_060_552), "269 MB");
        assert_eq!(error(0.0), "0");
        assert_eq!(error(0.001_234), "1.2e-3");
        assert_eq!(decibels(f64::INFINITY), "exact");
    }
}
