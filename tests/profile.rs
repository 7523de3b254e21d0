//! `apr run --profile`: where the time went adds up, and nothing else changes.

use crate::harness::{apr, json, model, stdout, text};
use serde_json::Value;

/// Operations that read weights, in every model that is shipped.
const READING: [&str; 6] = ["embedding", "qkv", "attention output", "mlp in", "mlp out", "head"];

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("{key} in {value}"))
}

fn operations(phase: &Value) -> Vec<&Value> {
    phase["operations"].as_array().unwrap().iter().collect()
}

#[test]
fn the_times_of_a_phase_are_its_time() {
    let folder = model("tiny-qwen2");
    let args = ["run", text(&folder), "-p", "def add(a, b):", "-n", "9"];
    let profiled = json(&[&args[..], &["--profile"]].concat());
    let plain = json(&args);
    assert_eq!(profiled["tokens"], plain["tokens"]);
    assert!(plain.get("profile").is_none(), "{plain}");
    for (name, tokens, passes) in [("prefill", None, 1.0), ("decode", Some(8.0), 8.0)] {
        let phase = &profiled["profile"][name];
        let prompt = profiled["prompt_tokens"].as_array().unwrap().len() as f64;
        assert_eq!(number(phase, "tokens"), tokens.unwrap_or(prompt));
        assert_eq!(number(phase, "passes"), passes);
        let sum: f64 = operations(phase).iter().map(|op| number(op, "seconds")).sum();
        let seconds = number(phase, "seconds");
        assert!(sum > 0.0 && (sum - seconds).abs() <= 1e-6 + 0.01 * seconds, "{sum} of {seconds}");
        let shares: f64 = operations(phase).iter().map(|op| number(op, "share")).sum();
        assert!((shares - 1.0).abs() < 0.01, "{shares}");
        for name in READING {
            let found = operations(phase).into_iter().find(|op| op["operation"] == name);
            let found = found.unwrap_or_else(|| panic!("{name} in {phase}"));
            let rate = number(found, "bytes") / number(found, "seconds");
            assert!((number(found, "bytes_per_second") / rate - 1.0).abs() < 1e-6, "{found}");
        }
        let head = operations(phase).into_iter().find(|op| op["operation"] == "head").unwrap();
        assert_eq!(number(head, "calls"), passes);
    }
}

#[test]
fn people_see_a_table_beside_the_text() {
    let folder = model("tiny-gpt2");
    let args = ["run", text(&folder), "-p", "Hello", "-n", "4"];
    let output = apr(&[&args[..], &["--profile"]].concat()).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), stdout(&args));
    let table = String::from_utf8(output.stderr).unwrap();
    for words in ["prefill: ", "decode: 3 tokens in 3 passes", "GB/s", "attention", "sampling"] {
        assert!(table.contains(words), "{words} in {table}");
    }
}
