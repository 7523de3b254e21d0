//! Names and texts of files as a terminal may see them. Nothing here knows of streams.

use std::fmt::{self, Write};

/// Text in which nothing of a file's names commands the terminal: control characters, those that
/// reverse the order of what follows, and ends of lines come out as escapes, except those kept.
pub(crate) fn escaped(text: &str, keep: &[char]) -> String {
    let bad = |c| commands(c) && !keep.contains(&c);
    replaced(text, bad, |c, out| write!(out, "{}", c.escape_default()))
}

/// A JSON document in which the same characters are escapes, as far as JSON allows them in
/// strings; it means what it meant before.
pub(crate) fn json_escaped(json: &str) -> String {
    // Below are those that JSON itself escapes, and its line ends.
    let bad = |c| c >= '\u{7f}' && commands(c);
    // All of them are in the plane whose characters one escape can name.
    replaced(json, bad, |c, out| write!(out, "\\u{:04x}", u32::from(c)))
}

/// Text with what `escape` writes for each bad character; what lies between is copied whole.
fn replaced(
    text: &str,
    bad: impl Fn(char) -> bool,
    escape: impl Fn(char, &mut String) -> fmt::Result,
) -> String {
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for (at, c) in text.char_indices().filter(|(_, c)| bad(*c)) {
        out.push_str(&text[copied..at]);
        // Writing to a string cannot fail.
        let _ = escape(c, &mut out);
        copied = at + c.len_utf8();
    }
    out.push_str(&text[copied..]);
    out
}

/// Whether a terminal, or a program that reads lines, takes it for more than a sign to show.
fn commands(c: char) -> bool {
    let order = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || order || matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        for c in (0..=0x2fff).filter_map(char::from_u32).filter(|c| commands(*c)) {
            let text = format!("a{c}b");
            assert!(!escaped(&text, &[]).contains(c), "{c:?}");
            assert_eq!(escaped(&text, &[c]), text);
            let json = json_escaped(&serde_json::to_string(&text).unwrap());
            assert!(!json.contains(c), "{c:?}");
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
        assert_eq!(escaped("\u{1b}[31mred\u{9b}0m", &[]), "\\u{1b}[31mred\\u{9b}0m");
        assert_eq!(escaped("left \u{202e}thgir", &[]), "left \\u{202e}thgir");
        let harmless = "naïve — 東京 🗼 العربية 👩‍👩‍👧";
        assert_eq!(
            (escaped(harmless, &[]), json_escaped(harmless)),
            (harmless.into(), harmless.into())
        );
    }
}
