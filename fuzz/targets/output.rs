//! Hostile names on the way to a terminal: nothing that it obeys is left, and JSON says the same.
#![no_main]

use apr_fuzz::bounded;
use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

#[path = "../../crates/cli/src/output/escape.rs"]
#[allow(dead_code, reason = "the tests of the command line use all of it")]
mod escape;

/// Longest name.
const MAX_BYTES: usize = 1 << 20;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    name: &'a str,
    signs: Vec<char>,
    repeat: u32,
}

fuzz_target!(|input: Input<'_>| {
    let part: String = input.name.chars().chain(input.signs).collect();
    // Most names are short, some as long as a header may be.
    let times = if input.repeat % 1024 == 7 { MAX_BYTES / part.len().max(1) } else { 1 };
    let name = part.repeat(times);
    check(&name);
});

fn check(name: &str) {
    let document = json!({ "name": name, name: [name] });
    let printed = serde_json::to_string_pretty(&document).expect("JSON");
    // Each sign becomes up to ten.
    let shown = bounded(name.len() * 8, || escape::escaped(name, &['\n']));
    let line = bounded(name.len() * 8, || escape::escaped(name, &[]));
    let printed = bounded(printed.len() * 8, || escape::json_escaped(&printed));
    assert!(!shown.chars().any(|c| obeyed(c) && c != '\n'), "{shown:?}");
    assert!(!line.chars().any(obeyed) && line.lines().count() <= 1, "{line:?}");
    if !name.chars().any(obeyed) {
        assert_eq!(line, name);
    }
    assert!(!printed.chars().any(|c| obeyed(c) && c != '\n'), "{printed:?}");
    assert_eq!(serde_json::from_str::<Value>(&printed).expect("JSON"), document);
}

/// Control characters, C0 and C1; embeddings and overrides of the direction; ends of lines.
fn obeyed(c: char) -> bool {
    matches!(u32::from(c), 0..0x20 | 0x7f..0xa0 | 0x2028..=0x202e | 0x2066..=0x2069)
}
