//! Everything that the verbs do with a file that opens and is not run.

use apr::{Checkpoint, ConvertOptions, Recipe};
use serde_json::Value;
use std::fmt::Display;
use std::path::Path;

/// Tensors that are looked at one by one.
const TENSORS: usize = 64;

/// Makes every report on the model; reports are texts and JSON, and may be errors.
pub fn exercise(checkpoint: &Checkpoint) {
    let list = apr::tensors(checkpoint);
    let tensors: Vec<&str> = list.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    show(Ok(&list));
    show(apr::inspect(checkpoint).as_ref());
    show(apr::lint(checkpoint).as_ref());
    show(apr::debug(checkpoint).as_ref());
    show(apr::tree(checkpoint).as_ref());
    show(apr::oracle(checkpoint).as_ref());
    show(apr::flow(checkpoint).as_ref());
    show(Ok(&apr::hex_header(checkpoint)));
    for name in tensors.into_iter().take(TENSORS) {
        show(apr::explain(checkpoint, name).as_ref());
        show(apr::hex_dump(checkpoint, name, 64).as_ref());
        show(apr::hex_statistics(checkpoint, name).as_ref());
    }
    show(apr::validate(checkpoint, &()).as_ref());
    for (recipe, target) in [("int8", "fuzz.apr"), ("q4_k_m", "fuzz.gguf")] {
        let Ok(recipe) = Recipe::named(recipe) else { unreachable!("a recipe of the table") };
        let options = ConvertOptions::new(recipe);
        show(apr::plan(checkpoint, Path::new(target), &options).as_ref());
    }
}

/// Prints a report in both ways; what is JSON must be JSON.
fn show<R: Display + serde::Serialize>(report: Result<&R, &apr::Error>) {
    match report {
        Ok(report) => {
            let text = report.to_string();
            let json = serde_json::to_string(report).unwrap_or_default();
            let parsed: Result<Value, _> = serde_json::from_str(&json);
            assert!(parsed.is_ok() && !text.is_empty(), "no report: {text:?} {json:?}");
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty() && !error.kind().is_empty());
        }
    }
}
