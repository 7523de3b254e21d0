//! Shorter keys and values: how far they move the logits, and what they save.

use crate::harness::{Golden, MODELS, PROMPTS, failure, heldout, json, model, text};
use apr::{CacheType, Checkpoint, Generate, LoadOptions, Recipe, TextModel};
use apr_kernel::Kernels;
use std::path::Path;

/// What logits may be off by, against a cache in single precision, whose logits are up to 30.
const BOUNDS: [(CacheType, f32); 2] = [(CacheType::F16, 0.03), (CacheType::Q8_0, 0.5)];

fn load(path: &Path, cache: CacheType, kernels: &str) -> TextModel {
    let options = LoadOptions {
        recipe: Some(Recipe::named("int8").unwrap()),
        kernels: Some(kernels.to_owned()),
        cache,
        ..LoadOptions::default()
    };
    TextModel::open(&Checkpoint::open(path).unwrap(), &options, &()).unwrap()
}

/// The logits of all positions; of the last ones each in a pass of its own.
fn logits(model: &TextModel, tokens: &[u32]) -> Vec<f32> {
    let decoder = model.decoder();
    let mut cache = decoder.cache(tokens.len()).unwrap();
    let (first, rest) = tokens.split_at(tokens.len() - 8);
    let mut hidden = decoder.forward(&mut cache, first).unwrap();
    for token in rest {
        hidden.extend(decoder.forward(&mut cache, &[*token]).unwrap());
    }
    decoder.logits(&hidden).unwrap()
}

#[test]
fn logits_are_those_of_single_precision_within_a_bound() {
    for name in MODELS {
        for kernels in Kernels::available() {
            let single = load(&model(name), CacheType::F32, kernels.name());
            for (cache, bound) in BOUNDS {
                let shorter = load(&model(name), cache, kernels.name());
                let mut worst = 0.0_f32;
                for prompt in PROMPTS {
                    let tokens = Golden::load(name, prompt).all_tokens();
                    let (found, expected) = (logits(&shorter, &tokens), logits(&single, &tokens));
                    let off = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
                    worst = worst.max(off.fold(0.0, f32::max));
                }
                println!("{name} {} {cache:?}: {worst}", kernels.name());
                assert!(worst <= bound, "{name} {} {cache:?}: {worst}", kernels.name());
                assert!(worst > 0.0, "{name} {cache:?} changes nothing: it is not in use");
            }
        }
    }
}

#[test]
fn perplexity_is_that_of_single_precision() {
    let (folder, heldout) = (model("tiny-llama"), heldout());
    let perplexity = |cache: &str| {
        let found = json(&["eval", text(&folder), "--text", text(&heldout), "--cache", cache]);
        found["perplexity"].as_f64().unwrap()
    };
    let single = perplexity("f32");
    for (cache, bound) in [("f16", 1e-4), ("q8_0", 5e-3)] {
        let off = (perplexity(cache) / single - 1.0).abs();
        println!("{cache}: {off:e}");
        assert!(off <= bound, "{cache}: {off:e}");
    }
}

#[test]
fn bench_counts_the_bytes_of_the_type() {
    let folder = model("tiny-qwen2");
    let bytes = |cache: &str| {
        let args = ["bench", text(&folder), "--prompt-tokens", "4", "--gen-tokens", "7"];
        let rounds = ["--iterations", "1", "--warmup", "0", "--cache", cache];
        let found = json(&[&args[..], &rounds].concat());
        assert_eq!(found["cache"], cache);
        found["cache_bytes_per_token"].as_u64().unwrap()
    };
    let single = bytes("f32");
    assert_eq!(bytes("f16") * 2, single);
    // 34 bytes for 32 elements of 4.
    assert_eq!(bytes("q8_0") * 64, single * 17);
}

#[test]
fn every_type_generates_and_guesses_alike() {
    for cache in CacheType::ALL {
        let model = load(&model("tiny-llama"), cache, Kernels::best().name());
        let options = Generate { length: apr::Length::Exactly(48), ..Generate::default() };
        let plain = model.generate("a b a b a b", &options, &mut |_| Ok(())).unwrap();
        let speculation = apr::Speculation::Lookup(8);
        let options = Generate { speculation, ..options };
        let found = model.generate("a b a b a b", &options, &mut |_| Ok(())).unwrap();
        assert_eq!(found.tokens, plain.tokens, "{cache:?}");
    }
}

#[test]
fn what_a_cache_cannot_hold_is_refused() {
    let small = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/architectures/llama3");
    let run =
        |cache: &str| failure(&["bench", text(&small), "--cache", cache, "--iterations", "1"]);
    let said = run("q8_0");
    assert!(said.contains("whole blocks of 32") && said.contains("--cache f32"), "{said}");
    assert!(said.contains("llama3"), "{said}");
    let said = run("q4_0");
    assert!(said.contains("f32, f16, q8_0"), "{said}");
}
