//! `tojson` as `transformers` has it: what Python's `json.dumps` writes.

use super::guard::{limit, work};
use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use std::io::{self, Write};

/// Spaces of an indentation, at most.
const MAX_INDENT: usize = 16;

/// A value as JSON.
pub(super) fn tojson(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    // What else Python's takes has no effect on what templates give it.
    let _: Option<Value> = options.get("ensure_ascii")?;
    let _: Option<Value> = options.get("separators")?;
    let _: Option<Value> = options.get("sort_keys")?;
    options.assert_all_used()?;
    let mut bytes = Vec::new();
    match indent {
        None => write(value, &mut bytes, Spaced)?,
        Some(indent) if indent <= MAX_INDENT => {
            let spaces = " ".repeat(indent);
            write(value, &mut bytes, PrettyFormatter::with_indent(spaces.as_bytes()))?;
        }
        Some(_) => return Err(limit("it indents by more than any text needs")),
    }
    work(bytes.len())?;
    let text = String::from_utf8(bytes);
    text.map(Value::from).map_err(|error| failed(&error.to_string()))
}

fn write(value: &Value, out: &mut Vec<u8>, formatter: impl Formatter) -> Result<(), Error> {
    let mut serializer = Serializer::with_formatter(out, formatter);
    value.serialize(&mut serializer).map_err(|error| failed(&error.to_string()))
}

fn failed(cause: &str) -> Error {
    Error::new(ErrorKind::BadSerialization, cause.to_owned())
}

/// Python's separators.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}
