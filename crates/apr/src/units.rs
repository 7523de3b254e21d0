//! Numbers and tables that people read at a glance.

use comfy_table::{CellAlignment, Table as Inner};
use std::fmt;

/// A size in memory as a number in reports.
pub(crate) fn size(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// The sum of sizes that a header declares; where only the header was read, they are claims, and
/// the sum may be past every number.
pub(crate) fn total(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, u64::saturating_add)
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

/// Seven significant digits: `-0.01234568`, `123.4568`, `1.234568e-9`; whole numbers as they are.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e7).contains(&size) {
        return format!("{value:.6e}");
    }
    let digits = [1e6, 1e5, 1e4, 1e3, 1e2, 1e1, 1e0, 1e-1, 1e-2, 1e-3, 1e-4];
    let decimals = digits.iter().position(|digit| size >= *digit).unwrap_or_default();
    let text = format!("{value:.decimals$}");
    if decimals == 0 {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Rows of 16 bytes with their offsets, in hexadecimal and as text.
pub(crate) fn hex_dump(first: u64, bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut offset = first;
    for row in bytes.chunks(16) {
        let half = |bytes: &[u8]| {
            bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
        };
        let (left, right) = row.split_at(row.len().min(8));
        let shown = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' };
        let text: String = row.iter().map(shown).collect();
        out += &format!("{offset:08x}  {:23}  {:23}  |{text}|\n", half(left), half(right));
        offset += size(row.len());
    }
    out
}

/// `1.2e-3`, or `0`.
pub(crate) fn error(value: f64) -> String {
    if value == 0.0 { "0".to_owned() } else { format!("{value:.1e}") }
}

pub(crate) fn percent(share: f64) -> String {
    match share {
        0.0 => "0".to_owned(),
        _ if !share.is_finite() => "not finite".to_owned(),
        _ if share < 0.001 => error(share),
        _ => format!("{:.1} %", 100.0 * share),
    }
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
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (-0.012_345_678_9, "-0.01234568"),
            (123.456_789, "123.4568"),
            (0.1, "0.1"),
            (0.1_f32.into(), "0.1"),
            (9_999_999.4, "9999999"),
            (1234.0, "1234"),
            (1.234_567_8e-9, "1.234568e-9"),
            (-3e7, "-3.000000e7"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_dump_has_offsets_bytes_and_text() {
        assert_eq!(
            hex_dump(4096, b"GGUF\x03\0\xff ab"),
            "00001000  47 47 55 46 03 00 ff 20  61 62                    |GGUF....ab|\n"
        );
        let two: Vec<u8> = (0..17).collect();
        assert_eq!(hex_dump(0, &two).lines().nth(1), Some(&*format!("00000010  10{:48}|.|", "")));
    }
}
