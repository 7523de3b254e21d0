//! The page: one file that loads nothing. What a model says enters it as data alone: scripts and
//! styles are named by their hashes, so that a browser runs no others.

use super::data::ReportContent;
use crate::Error;
use sha2::{Digest, Sha256};
use std::io;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str =
    concat!(include_str!("parts.js"), include_str!("layers.js"), include_str!("page.js"));

/// How every page begins.
pub(super) const BEGINNING: &str = "<!doctype html>";

/// The page of this content.
///
/// # Errors
/// When the content cannot be written as JSON.
pub(super) fn page(content: &ReportContent) -> Result<String, Error> {
    let json =
        serde_json::to_string(content).map_err(|error| Error::Output(io::Error::from(error)))?;
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; base-uri 'none'; form-action 'none'",
        source_hash(SCRIPT),
        source_hash(STYLE)
    );
    let title = text(&content.name);
    Ok(fill(&[
        ("policy", &policy),
        ("title", &title),
        ("style", STYLE),
        ("data", &data(&json)),
        ("script", SCRIPT),
    ]))
}

/// Puts each part in the place that is named after it.
fn fill(parts: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (at, piece) in PAGE.split("{{").enumerate() {
        let named = piece.split_once("}}").filter(|_| at > 0);
        let part = named.and_then(|(name, rest)| {
            parts.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text, rest))
        });
        let (part, rest) = part.unwrap_or(("", piece));
        out.push_str(part);
        out.push_str(rest);
    }
    out
}

/// JSON that ends no element and begins none.
fn data(json: &str) -> String {
    let escape = |c: char| match c {
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    json.chars().map(escape).collect()
}

/// Text of an element.
fn text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// How a policy names an element by its text.
fn source_hash(text: &str) -> String {
    format!("sha256-{}", base64(&Sha256::digest(text.as_bytes())))
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4_u32 {
            let index = (bits >> (18 - 6 * at)) & 63;
            let is_padding = crate::units::index(at) > group.len();
            let letter = ALPHABET.get(crate::units::index(index)).copied().unwrap_or_default();
            out.push(if is_padding { '=' } else { char::from(letter) });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vectors of RFC 4648, section 10.
    #[test]
    fn base64_is_that_of_the_standard() {
        for (bytes, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), expected);
        }
    }

    #[test]
    fn places_are_filled_once_and_data_stays_data() {
        let names = ["policy", "title", "style", "data", "script"];
        for name in names {
            assert_eq!(PAGE.matches(&format!("{{{{{name}}}}}")).count(), 1, "{name}");
        }
        let filled = fill(&names.map(|name| (name, "{{title}}")));
        assert_eq!(filled.matches("{{title}}").count(), names.len());
        assert!(!STYLE.contains("</style") && !SCRIPT.contains("</script"));
        assert_eq!(data(r#"{"a":"</script>&"}"#), r#"{"a":"\u003c/script\u003e\u0026"}"#);
        assert_eq!(text("<b>&</b>"), "&lt;b&gt;&amp;&lt;/b&gt;");
        assert!(PAGE.starts_with(BEGINNING));
    }
}
