//! Values of the metadata: type numbers, GGUF to JSON and JSON to GGUF.

use super::cursor::Cursor;
use crate::Malformed;
use crate::size::{Budget, to_u64, to_usize};
use serde_json::Value;

/// Arrays of arrays are allowed; no known file nests deeper.
const MAX_DEPTH: usize = 4;
pub(super) const U8: u32 = 0;
const U32: u32 = 4;
const I32: u32 = 5;
const F32: u32 = 6;
const BOOL: u32 = 7;
pub(super) const TEXT: u32 = 8;
pub(super) const ARRAY: u32 = 9;
const U64: u32 = 10;
const I64: u32 = 11;

/// Bytes that a value of this type takes at least.
fn min_bytes(kind: u32) -> u64 {
    match kind {
        2 | 3 => 2,
        U32 | I32 | F32 => 4,
        TEXT | U64 | I64 | 12 => 8,
        ARRAY => 12,
        _ => 1,
    }
}

/// Memory of a key and its value, with the room that maps are given to grow.
const KEY_BYTES: usize = 4 * (size_of::<String>() + size_of::<Value>());

/// Reads values, and counts what memory they take.
pub(super) struct Values<'b> {
    budget: &'b mut Budget,
}

impl<'b> Values<'b> {
    pub(super) const fn new(budget: &'b mut Budget) -> Self {
        Self { budget }
    }

    /// The type number and the value of a key.
    pub(super) fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<Value, Malformed> {
        let kind = cursor.u32()?;
        self.budget.take("keys", 1, KEY_BYTES)?;
        self.value(cursor, kind, MAX_DEPTH)
    }

    fn value(
        &mut self,
        cursor: &mut Cursor<'_>,
        kind: u32,
        depth: usize,
    ) -> Result<Value, Malformed> {
        Ok(match kind {
            U8 => Value::from(u8::from_le_bytes(cursor.number()?)),
            1 => Value::from(i8::from_le_bytes(cursor.number()?)),
            2 => Value::from(u16::from_le_bytes(cursor.number()?)),
            3 => Value::from(i16::from_le_bytes(cursor.number()?)),
            U32 => Value::from(cursor.u32()?),
            I32 => Value::from(i32::from_le_bytes(cursor.number()?)),
            F32 => shortest(f32::from_le_bytes(cursor.number()?)),
            BOOL => Value::from(u8::from_le_bytes(cursor.number()?) != 0),
            TEXT => Value::from(cursor.text()?),
            ARRAY => self.array(cursor, depth)?,
            U64 => Value::from(cursor.u64()?),
            I64 => Value::from(i64::from_le_bytes(cursor.number()?)),
            12 => Value::from(f64::from_le_bytes(cursor.number()?)),
            unknown => {
                let (expected, found) = ("0 to 12", u64::from(unknown));
                return Err(Malformed::Field { what: "type of a GGUF value", expected, found });
            }
        })
    }

    fn array(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Result<Value, Malformed> {
        let (kind, count) = (cursor.u32()?, cursor.u64()?);
        let Some(depth) = depth.checked_sub(1) else {
            let (expected, found) = ("at most 4", to_u64(MAX_DEPTH).saturating_add(1));
            return Err(Malformed::Field { what: "depth of a GGUF array", expected, found });
        };
        cursor.check_count("GGUF array", count, min_bytes(kind))?;
        self.budget.take("values in GGUF arrays", count, size_of::<Value>())?;
        // Justified by what was taken, and no larger.
        let mut values = Vec::with_capacity(to_usize(count));
        for _ in 0..count {
            values.push(self.value(cursor, kind, depth)?);
        }
        Ok(Value::Array(values))
    }
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend(to_u64(text.len()).to_le_bytes());
    out.extend(text.as_bytes());
}

pub(super) fn put_array(out: &mut Vec<u8>, kind: u32, len: usize) {
    out.extend(ARRAY.to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend(to_u64(len).to_le_bytes());
}

/// Types for a single value, by preference.
const SCALARS: [u32; 7] = [U32, I32, U64, I64, F32, BOOL, TEXT];
/// Types for a list, by preference.
const LISTS: [u32; 7] = [I32, U32, I64, U64, F32, BOOL, TEXT];

/// Appends type number and value: of a single one the first of [`SCALARS`] that holds it, of a
/// list the first of [`LISTS`] that holds all; an empty list is one of texts.
///
/// # Errors
/// What is wrong with the value: no type holds it.
pub(super) fn put(out: &mut Vec<u8>, value: &Value) -> Result<(), &'static str> {
    let held = |kind: u32, values: &[Value]| values.iter().all(|value| holds(kind, value));
    let first = |kinds: [u32; 7], values: &[Value]| {
        kinds.into_iter().find(|&kind| held(kind, values)).ok_or("has a value without GGUF type")
    };
    if let Value::Array(list) = value {
        let kind = if list.is_empty() { TEXT } else { first(LISTS, list)? };
        put_array(out, kind, list.len());
        list.iter().for_each(|value| put_one(out, kind, value));
    } else {
        let kind = first(SCALARS, std::slice::from_ref(value))?;
        out.extend(kind.to_le_bytes());
        put_one(out, kind, value);
    }
    Ok(())
}

fn holds(kind: u32, value: &Value) -> bool {
    match kind {
        U32 => value.as_u64().is_some_and(|value| u32::try_from(value).is_ok()),
        I32 => value.as_i64().is_some_and(|value| i32::try_from(value).is_ok()),
        U64 => value.is_u64(),
        I64 => value.is_i64(),
        F32 => value.is_f64() && single(value).is_finite(),
        BOOL => value.is_boolean(),
        TEXT => value.is_string(),
        _ => false,
    }
}

/// A value that this type holds.
fn put_one(out: &mut Vec<u8>, kind: u32, value: &Value) {
    match kind {
        TEXT => put_text(out, value.as_str().unwrap_or_default()),
        BOOL => out.push(u8::from(value.as_bool().unwrap_or_default())),
        F32 => out.extend(single(value).to_le_bytes()),
        integer => {
            let signed = value.as_i64().map(i64::to_le_bytes);
            let unsigned = value.as_u64().map(u64::to_le_bytes);
            let bytes = signed.or(unsigned).unwrap_or_default();
            out.extend(bytes.iter().take(if matches!(integer, U32 | I32) { 4 } else { 8 }));
        }
    }
}

/// The shortest decimal that is this number in single precision: 1e-6, not 9.999999974752427e-7.
/// Values that JSON does not have become null.
fn shortest(number: f32) -> Value {
    Value::from(number.to_string().parse::<f64>().unwrap_or(f64::NAN))
}

/// The number in the precision that model files use.
#[allow(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "it rounds, as f32 does"
)]
fn single(value: &Value) -> f32 {
    value.as_f64().unwrap_or(f64::NAN) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_get_the_type_that_holds_them_and_come_back() {
        for (value, kinds) in [
            (json!(7), vec![U32]),
            (json!(-7), vec![I32]),
            (json!(1_u64 << 40), vec![U64]),
            (json!(i64::MIN), vec![I64]),
            (json!(10_000.0), vec![F32]),
            (json!(true), vec![BOOL]),
            (json!("text"), vec![TEXT]),
            (json!([]), vec![ARRAY, TEXT]),
            (json!([1, -1]), vec![ARRAY, I32]),
            (json!([u32::MAX]), vec![ARRAY, U32]),
            (json!([i64::MIN, u32::MAX]), vec![ARRAY, I64]),
            (json!([u64::MAX]), vec![ARRAY, U64]),
            (json!([0.5, -1.0]), vec![ARRAY, F32]),
            (json!([true, false]), vec![ARRAY, BOOL]),
            (json!(["a", ""]), vec![ARRAY, TEXT]),
        ] {
            let mut bytes = Vec::new();
            put(&mut bytes, &value).unwrap();
            let found: Vec<u32> = bytes
                .chunks_exact(4)
                .take(kinds.len())
                .map(|kind| u32::from_le_bytes(kind.try_into().unwrap()))
                .collect();
            assert_eq!(found, kinds, "{value}");
            let mut budget = Budget::of(&bytes);
            assert_eq!(Values::new(&mut budget).read(&mut Cursor::new(&bytes)).unwrap(), value);
        }
    }

    #[test]
    fn values_that_no_type_holds_are_refused() {
        for value in [
            json!(null),
            json!({}),
            json!(1e300),
            json!([1, "a"]),
            json!([1, 0.5]),
            json!([[1]]),
            json!([u64::MAX, -1]),
        ] {
            assert!(put(&mut Vec::new(), &value).is_err(), "{value}");
        }
    }
}
