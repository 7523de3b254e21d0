//! JSON of strangers: in bounded memory, and objects whose keys must not repeat, because a second
//! value for a name is an attack and not an update.

use crate::Malformed;
use crate::size::{Budget, to_u64};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// Memory of a value in a list or an object, with the room that lists are given to grow.
const VALUE_BYTES: usize = 3 * size_of::<serde_json::Value>();

/// Reads JSON whose values, which are far larger in memory than in a text, fit twice the text and
/// 64 MiB.
///
/// # Errors
/// When it is no such JSON; `what` names it.
pub fn parse_json<T: DeserializeOwned>(json: &[u8], what: &'static str) -> Result<T, Malformed> {
    check_memory(json, VALUE_BYTES)?;
    serde_json::from_slice(json).map_err(|source| Malformed::Json { what, source })
}

/// Checks that a text can have no more values than memory is justified for, at so many bytes each.
pub(crate) fn check_memory(json: &[u8], each: usize) -> Result<(), Malformed> {
    Budget::of(json).take("values of JSON", count(json), each)
}

/// An upper bound of the values in a text: each but the first stands behind a bracket, a colon or
/// a comma that belongs to no string.
fn count(json: &[u8]) -> u64 {
    let (mut found, mut in_string, mut escaped) = (1_usize, false, false);
    for &byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'[' | b'{' | b':' | b',' if !in_string => found = found.saturating_add(1),
            _ => {}
        }
    }
    to_u64(found)
}

/// A JSON object, sorted by key, that had every key once.
pub(crate) struct UniqueMap<V>(pub(crate) BTreeMap<String, V>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for UniqueMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Unique<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Unique<V> {
            type Value = UniqueMap<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut map = BTreeMap::new();
                while let Some(key) = access.next_key::<String>()? {
                    if map.contains_key(&key) {
                        return Err(A::Error::custom(format_args!("key {key:?} occurs twice")));
                    }
                    let value = access.next_value()?;
                    map.insert(key, value);
                }
                Ok(UniqueMap(map))
            }
        }
        deserializer.deserialize_map(Unique(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn separators_outside_of_strings_bound_the_values() {
        for (json, expected) in [
            ("1", 1),
            ("[]", 2),
            ("[1,2]", 3),
            (r#"{"a":[1,{"b":2}]}"#, 7),
            (r#"{"a,:[{":"\"[,","b\\":1}"#, 5),
        ] {
            assert_eq!(count(json.as_bytes()), expected, "{json}");
        }
    }

    #[test]
    fn a_text_of_values_that_fill_the_memory_is_refused() {
        let read = |json: &str| parse_json::<Value>(json.as_bytes(), "text");
        assert_eq!(read("[1, {\"a\": null}]").unwrap(), json!([1, {"a": null}]));
        let zeros = format!("[0{}]", ",0".repeat(500_000));
        let said = read(&zeros).unwrap_err().to_string();
        assert!(said.starts_with("500002 values of JSON: more than"), "{said}");
        // The same bytes as a text are one value.
        assert!(read(&format!("{zeros:?}")).is_ok());
        assert!(matches!(read(&"[".repeat(100_000)), Err(Malformed::Json { .. })));
    }
}
