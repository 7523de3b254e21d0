//! The methods of Python's strings, lists and dictionaries that published templates call.

use super::guard::{limit, work};
use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value};

/// Bytes that a replacement may give.
const MAX_REPLACED: usize = 8 << 20;

/// Calls the method of this name.
pub(super) fn call(
    _: &mut State<'_, '_>,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let unknown = || Error::new(ErrorKind::UnknownMethod, format!("there is no method {name}"));
    if let Some(text) = value.as_str() {
        work(text.len())?;
        return of_text(text, name, args)?.ok_or_else(unknown);
    }
    let kind = value.kind();
    let found = if kind == ValueKind::Map {
        of_map(value, name, args)?
    } else if matches!(kind, ValueKind::Seq | ValueKind::Iterable) {
        of_list(value, name, args)?
    } else {
        None
    };
    found.ok_or_else(unknown)
}

fn of_text(text: &str, name: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let is = |holds: fn(char) -> bool| Value::from(!text.is_empty() && text.chars().all(holds));
    Ok(Some(match (name, args) {
        ("strip" | "lstrip" | "rstrip", _) => stripped(text, name, args)?,
        ("upper", []) => Value::from(text.to_uppercase()),
        ("lower", []) => Value::from(text.to_lowercase()),
        ("title", []) => Value::from(title(text)),
        ("capitalize", []) => Value::from(capitalized(text)),
        ("splitlines", []) => text.lines().map(Value::from).collect(),
        ("split" | "rsplit", _) => split(text, name, args)?,
        ("join", [items]) => joined(text, items)?,
        ("replace", [from, to]) => replaced(text, string(from)?, string(to)?)?,
        ("startswith", [with]) => Value::from(any(with, |with| text.starts_with(with))?),
        ("endswith", [with]) => Value::from(any(with, |with| text.ends_with(with))?),
        ("removeprefix", [with]) => Value::from(text.strip_prefix(string(with)?).unwrap_or(text)),
        ("removesuffix", [with]) => Value::from(text.strip_suffix(string(with)?).unwrap_or(text)),
        ("find", [part]) => found(text, text.find(string(part)?)),
        ("rfind", [part]) => found(text, text.rfind(string(part)?)),
        ("count", [part]) => Value::from(text.matches(string(part)?).count()),
        ("isdigit", []) => is(|c| c.is_ascii_digit()),
        ("isalpha", []) => is(char::is_alphabetic),
        ("isalnum", []) => is(char::is_alphanumeric),
        ("isspace", []) => is(char::is_whitespace),
        ("isupper", []) => Value::from(text != text.to_lowercase() && text == text.to_uppercase()),
        ("islower", []) => Value::from(text != text.to_uppercase() && text == text.to_lowercase()),
        _ => return Ok(None),
    }))
}

fn of_map(value: &Value, name: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let keys = || -> Result<Vec<Value>, Error> {
        let keys: Vec<Value> = value.try_iter()?.collect();
        work(keys.len())?;
        Ok(keys)
    };
    Ok(Some(match (name, args) {
        ("keys", []) => Value::from(keys()?),
        ("values", []) => {
            let values = keys()?.into_iter().map(|key| value.get_item(&key));
            Value::from(values.collect::<Result<Vec<_>, _>>()?)
        }
        ("items", []) => {
            let pair = |key: Value| Ok(Value::from(vec![key.clone(), value.get_item(&key)?]));
            Value::from(keys()?.into_iter().map(pair).collect::<Result<Vec<_>, Error>>()?)
        }
        ("get", [key]) => or_else(value.get_item(key)?, Value::from(())),
        ("get", [key, default]) => or_else(value.get_item(key)?, default.clone()),
        _ => return Ok(None),
    }))
}

fn of_list(value: &Value, name: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let [wanted] = args else { return Ok(None) };
    let items: Vec<Value> = value.try_iter()?.collect();
    work(items.len())?;
    match name {
        "count" => Ok(Some(Value::from(items.iter().filter(|item| *item == wanted).count()))),
        "index" => {
            let at = items.iter().position(|item| item == wanted);
            let missing = || Error::new(ErrorKind::InvalidOperation, "the item is not in the list");
            at.map(Value::from).map(Some).ok_or_else(missing)
        }
        _ => Ok(None),
    }
}

fn or_else(value: Value, default: Value) -> Value {
    if value.is_undefined() { default } else { value }
}

fn string(value: &Value) -> Result<&str, Error> {
    let text = value.as_str();
    text.ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "the argument is not a string"))
}

/// Whether it holds of a string, or of one in a list of them.
fn any(value: &Value, holds: impl Fn(&str) -> bool) -> Result<bool, Error> {
    if let Some(text) = value.as_str() {
        return Ok(holds(text));
    }
    for item in value.try_iter()? {
        work(1)?;
        if holds(string(&item)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn stripped(text: &str, name: &str, args: &[Value]) -> Result<Value, Error> {
    let chars: Option<Vec<char>> = match args {
        [] => None,
        [chars, ..] => Some(chars)
            .filter(|chars| !chars.is_none())
            .map(string)
            .transpose()?
            .map(|chars| chars.chars().take(64).collect()),
    };
    let is = |c: char| chars.as_ref().map_or(c.is_whitespace(), |chars| chars.contains(&c));
    Ok(Value::from(match name {
        "lstrip" => text.trim_start_matches(is),
        "rstrip" => text.trim_end_matches(is),
        _ => text.trim_matches(is),
    }))
}

fn split(text: &str, name: &str, args: &[Value]) -> Result<Value, Error> {
    let separator = args.first().filter(|value| !value.is_none()).map(string).transpose()?;
    let most = match args.get(1) {
        None => usize::MAX,
        Some(most) => usize::try_from(i64::try_from(most.clone())?).unwrap_or(usize::MAX),
    };
    let parts: Vec<&str> = match (separator, name) {
        (Some(""), _) => {
            return Err(Error::new(ErrorKind::InvalidOperation, "the separator is empty"));
        }
        (Some(separator), "split") => text.splitn(most.saturating_add(1), separator).collect(),
        (Some(separator), _) => {
            let mut parts: Vec<&str> = text.rsplitn(most.saturating_add(1), separator).collect();
            parts.reverse();
            parts
        }
        (None, "split") if most != usize::MAX => words(text, most),
        (None, _) => text.split_whitespace().collect(),
    };
    work(parts.len().saturating_mul(32))?;
    Ok(parts.into_iter().map(Value::from).collect())
}

/// The first words, at most so many, and the rest.
fn words(text: &str, most: usize) -> Vec<&str> {
    let (mut rest, mut parts) = (text.trim_start(), Vec::new());
    while parts.len() < most {
        let Some((word, after)) = rest.split_once(char::is_whitespace) else { break };
        parts.push(word);
        rest = after.trim_start();
    }
    if !rest.is_empty() {
        parts.push(rest);
    }
    parts
}

fn joined(text: &str, items: &Value) -> Result<Value, Error> {
    let mut out = String::new();
    for (at, item) in items.try_iter()?.enumerate() {
        let item = string(&item)?.to_owned();
        work(text.len().saturating_add(item.len()).saturating_add(1))?;
        if at > 0 {
            out += text;
        }
        out += &item;
    }
    Ok(Value::from(out))
}

fn replaced(text: &str, from: &str, to: &str) -> Result<Value, Error> {
    let count = text.matches(from).count();
    let len = count.saturating_mul(to.len()).saturating_add(text.len());
    if len > MAX_REPLACED {
        return Err(limit("a replacement gives more text than a template may"));
    }
    work(len)?;
    Ok(Value::from(text.replace(from, to)))
}

/// The place of a byte in characters, or −1.
fn found(text: &str, at: Option<usize>) -> Value {
    let chars = at.and_then(|at| text.get(..at)).map(|before| before.chars().count());
    chars.map_or(Value::from(-1), Value::from)
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    first + &chars.as_str().to_lowercase()
}

/// Every run of letters with its first in capitals.
fn title(text: &str) -> String {
    let (mut out, mut within) = (String::with_capacity(text.len()), false);
    for c in text.chars() {
        if within {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        within = c.is_alphabetic();
    }
    out
}
