//! The engine against `transformers`: tokens, logits, perplexity.

use crate::checkpoints::{SafeTensors, StoredTensor, copy_model, transpose};
use crate::harness::{Golden, Imported, MODELS, PROMPTS, golden_logits, heldout, json, model};
use apr::{Checkpoint, Generate, Length, LoadOptions, Recipe, TextModel};
use apr_kernel::Kernels;

fn load(name: &str, recipe: Option<&str>, kernels: &str) -> TextModel {
    let options = LoadOptions {
        recipe: recipe.map(|recipe| Recipe::named(recipe).unwrap()),
        kernels: Some(kernels.to_owned()),
        ..LoadOptions::default()
    };
    TextModel::open(&Checkpoint::open(model(name)).unwrap(), &options, &()).unwrap()
}

/// The logits of all positions of a golden, `[prompt + 32, vocabulary]`.
fn logits(model: &TextModel, golden: &Golden) -> Vec<f32> {
    let tokens = golden.all_tokens();
    let decoder = model.decoder();
    let mut cache = decoder.cache(tokens.len()).unwrap();
    let hidden = decoder.forward(&mut cache, &tokens).unwrap();
    decoder.logits(&hidden).unwrap()
}

fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn prompt_tokens_are_those_of_the_published_tokenizer() {
    for name in MODELS {
        let tokenizer = Checkpoint::open(model(name)).unwrap().tokenizer().unwrap();
        for prompt in PROMPTS {
            let golden = Golden::load(name, prompt);
            assert_eq!(tokenizer.encode(&golden.prompt).unwrap(), golden.prompt_tokens);
            assert_eq!(tokenizer.decode(&golden.tokens).unwrap(), golden.text);
        }
    }
}

#[test]
fn float_logits_are_those_of_transformers_on_every_kernel_table() {
    for kernels in Kernels::available() {
        for name in MODELS {
            let model = load(name, None, kernels.name());
            for prompt in PROMPTS {
                let golden = Golden::load(name, prompt);
                let found = logits(&model, &golden);
                let worst = max_difference(&found, &golden_logits(name, prompt));
                assert!(worst <= 1e-3, "{name} {prompt} {}: {worst}", kernels.name());
            }
        }
    }
}

#[test]
fn step_by_step_gives_the_logits_of_prefill() {
    for name in MODELS {
        for recipe in [None, Some("int8"), Some("int4")] {
            let model = load(name, recipe, Kernels::best().name());
            let golden = Golden::load(name, "unicode");
            let all = logits(&model, &golden);
            let vocab = model.decoder().config().vocab_size;
            let tokens = golden.all_tokens();
            let mut cache = model.decoder().cache(tokens.len()).unwrap();
            for (token, expected) in tokens.iter().zip(all.chunks_exact(vocab)) {
                let found = model.decoder().next_logits(&mut cache, &[*token]).unwrap();
                let worst = max_difference(&found, expected);
                assert!(worst <= 1e-3, "{name} {recipe:?}: {worst}");
            }
        }
    }
}

/// Compares greedy tokens with a golden. Returns how many differ by position; prints the golden
/// margin and the measured logit error at the first difference.
fn differing_tokens(model: &TextModel, name: &str, prompt: &str, recipe: &str) -> usize {
    let golden = Golden::load(name, prompt);
    let options = Generate { length: Length::Exactly(32), ..Generate::default() };
    let found = model.generate(&golden.prompt, &options, &mut |_| Ok(())).unwrap();
    assert_eq!(found.tokens.len(), 32);
    let differs = |at: &usize| found.tokens[*at] != golden.tokens[*at];
    if let Some(first) = (0..32).find(differs) {
        let (row, vocab) =
            (golden.prompt_tokens.len() + first - 1, model.decoder().config().vocab_size);
        let range = row * vocab..(row + 1) * vocab;
        let expected = golden_logits(name, prompt);
        let error = max_difference(&logits(model, &golden)[range.clone()], &expected[range]);
        println!(
            "{name} {prompt} {recipe}: token {first} differs (decisive: {}); golden margin {:.4}, largest logit error {error:.4}",
            golden.decisive, golden.margins[first]
        );
        assert!(
            first >= golden.decisive,
            "{name} {prompt} {recipe}: decisive token {first} differs"
        );
    } else {
        assert_eq!(found.text, golden.text);
    }
    (0..32).filter(differs).count()
}

#[test]
fn float_tokens_are_those_of_transformers_on_every_kernel_table() {
    for kernels in Kernels::available() {
        for name in MODELS {
            let model = load(name, None, kernels.name());
            for prompt in PROMPTS {
                assert_eq!(differing_tokens(&model, name, prompt, "float"), 0, "{name} {prompt}");
            }
        }
    }
}

#[test]
fn int8_tokens_differ_in_at_most_3_of_32_and_never_where_decisive() {
    for name in MODELS {
        let model = load(name, Some("int8"), Kernels::best().name());
        for prompt in PROMPTS {
            let differing = differing_tokens(&model, name, prompt, "int8");
            assert!(differing <= 3, "{name} {prompt}: {differing} of 32");
        }
    }
}

#[test]
fn int4_tokens_differ_in_at_most_5_of_32_on_decisive_prompts() {
    for name in MODELS {
        let model = load(name, Some("int4"), Kernels::best().name());
        for prompt in PROMPTS {
            let differing = differing_tokens(&model, name, prompt, "int4");
            let decisive = Golden::load(name, prompt).decisive;
            assert!(decisive < 28 || differing <= 5, "{name} {prompt}: {differing} of 32");
        }
    }
}

#[test]
fn a_file_gives_the_tokens_of_the_model_quantized_in_memory() {
    for name in MODELS {
        for recipe in ["int8", "int4"] {
            let imported = Imported::new(name, Some(recipe));
            let source = model(name);
            let arguments = ["-p", "The capital of France is", "-n", "32"];
            let of_file = json(&[&["run", imported.path()], &arguments[..]].concat());
            let in_memory = json(
                &[&["run", source.to_str().unwrap(), "--quantize", recipe], &arguments[..]]
                    .concat(),
            );
            assert_eq!(of_file["tokens"], in_memory["tokens"]);
            assert_eq!(of_file["text"], in_memory["text"]);
        }
    }
}

fn perplexity(model: &str, recipe: Option<&str>) -> f64 {
    let text = heldout();
    let mut args = vec!["eval", model, "--text", text.to_str().unwrap(), "--window", "256"];
    args.extend(recipe.iter().flat_map(|recipe| ["--quantize", recipe]));
    json(&args)["perplexity"].as_f64().unwrap()
}

#[test]
fn perplexity_is_that_of_transformers() {
    for name in MODELS {
        let folder = model(name);
        let golden: serde_json::Value = serde_json::from_str(
            &std::fs::read_to_string(folder.join("goldens/perplexity.json")).unwrap(),
        )
        .unwrap();
        let golden = golden["perplexity"].as_f64().unwrap();
        let float = perplexity(folder.to_str().unwrap(), None);
        let int8 = perplexity(folder.to_str().unwrap(), Some("int8"));
        let int4 = perplexity(folder.to_str().unwrap(), Some("int4"));
        println!("{name}: golden {golden:.4}, float {float:.4}, int8 {int8:.4}, int4 {int4:.4}");
        assert!((float / golden - 1.0).abs() <= 0.0005, "{name}: {float} against {golden}");
        assert!((int8 / float - 1.0).abs() <= 0.003, "{name}: {int8} against {float}");
        assert!((int4 / float - 1.0).abs() <= 0.015, "{name}: {int4} against {float}");
    }
}

/// The reference for a quantized model is its own weights, dequantized and run in float.
#[test]
fn quantized_logits_are_those_of_the_dequantized_weights() {
    for name in MODELS {
        for recipe in ["int8", "int4"] {
            let quantized = load(name, Some(recipe), Kernels::best().name());
            let dequantized = dequantized(name, recipe);
            for prompt in ["unicode", "code"] {
                let golden = Golden::load(name, prompt);
                let worst =
                    max_difference(&logits(&quantized, &golden), &logits(&dequantized, &golden));
                assert!(worst <= 1e-3, "{name} {recipe} {prompt}: {worst}");
            }
        }
    }
}

/// A quantized model with its matrices decoded to F32, as a checkpoint folder of its own.
fn dequantized(name: &str, recipe: &str) -> TextModel {
    let imported = Imported::new(name, Some(recipe));
    let container = apr_format::open(&imported.file).unwrap();
    let folder = imported.folder.path().join("float");
    copy_model(name, &folder);
    let tensors = container
        .tensors()
        .iter()
        .map(|entry| {
            let values = container.tensor(&entry.name).unwrap().view().to_f32();
            let (mut values, mut shape) = (values, entry.layout.shape().to_vec());
            if entry.certificate.unwrap().transposed {
                values = transpose(&values, &shape);
                shape.reverse();
            }
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            StoredTensor { name: entry.name.clone(), dtype: "F32".to_owned(), shape, bytes }
        })
        .collect();
    SafeTensors { tensors }.write(&folder.join("model.safetensors"));
    TextModel::open(&Checkpoint::open(&folder).unwrap(), &LoadOptions::default(), &()).unwrap()
}
