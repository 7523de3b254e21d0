//! GGUF both ways: without loss, with the tokens of the source, and from the file alone.

use crate::gguf_file::{GgufFile, Key};
use crate::harness::{Golden, Imported, MODELS, PROMPTS, failure, json, model, stdout, text};
use std::fs;
use std::path::Path;

/// Writes a shipped model as GGUF by a recipe, or with its own types.
fn export(name: &str, recipe: Option<&str>, folder: &std::path::Path) -> std::path::PathBuf {
    let target = folder.join(format!("{name}-{}.gguf", recipe.unwrap_or("keep")));
    let source = model(name);
    let mut args = vec!["import", text(&source), "-o", text(&target)];
    args.extend(recipe.iter().flat_map(|recipe| ["--quantize", recipe]));
    assert!(stdout(&args).contains("PROVEN"));
    target
}

#[test]
fn gguf_runs_with_the_tokens_of_the_goldens() {
    let folder = tempfile::tempdir().unwrap();
    for name in MODELS {
        let float = export(name, None, folder.path());
        for prompt in PROMPTS {
            let golden = Golden::load(name, prompt);
            let found = json(&["run", text(&float), "-p", &golden.prompt, "-n", "32"]);
            assert_eq!(
                found["prompt_tokens"],
                serde_json::json!(golden.prompt_tokens),
                "{name} {prompt}"
            );
            assert_eq!(found["tokens"], serde_json::json!(golden.tokens), "{name} {prompt}");
            assert_eq!(found["text"], golden.text.as_str());
        }
    }
}

#[test]
fn to_apr_and_back_every_byte_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for name in MODELS {
        for recipe in ["int8", "int4", "f16", "q4_k_m", "q6_k", "iq4_xs"] {
            let first = export(name, Some(recipe), folder.path());
            let (apr, back) = (folder.path().join("x.apr"), folder.path().join("back.gguf"));
            stdout(&["import", text(&first), "-o", text(&apr)]);
            stdout(&["import", text(&apr), "-o", text(&back)]);
            // The certificates differ, for the source of the second file is the `.apr` file.
            let content = |path| GgufFile::read(&fs::read(path).unwrap()).without_keys("apr.");
            assert!(content(&first).write() == content(&back).write(), "{name} {recipe}");
            let tokens =
                |path| json(&["run", text(path), "-p", "Hello", "-n", "16"])["tokens"].clone();
            assert_eq!(tokens(&first), tokens(&apr), "{name} {recipe}");
            stdout(&["verify", text(&back), "--against", text(&apr)]);
            let said = failure(&["verify", text(&back), "--against", text(&model(name))]);
            assert!(said.contains("another source"), "{said}");
            // The blocks are those of a direct import, whatever the order of the heads in between.
            let direct = Imported::new(name, Some(recipe));
            let container = apr_format::open(&direct.file).unwrap();
            let through = apr_format::open(&apr).unwrap();
            for entry in container.tensors().iter().filter(|entry| entry.layout.shape().len() == 2)
            {
                let (a, b) =
                    (container.tensor(&entry.name).unwrap(), through.tensor(&entry.name).unwrap());
                let same_type = a.layout() == b.layout();
                assert!(
                    !same_type || a.view().bytes() == b.view().bytes(),
                    "{name} {}",
                    entry.name
                );
                assert!(same_type || entry.name == "wpe.weight", "{name} {}", entry.name);
            }
        }
    }
}

#[test]
fn a_gguf_file_is_proven_against_its_source_and_refused_against_another() {
    let folder = tempfile::tempdir().unwrap();
    let file = export("tiny-llama", Some("int8"), folder.path());
    stdout(&["verify", text(&file), "--against", text(&model("tiny-llama"))]);
    let certified = fs::read(&file).unwrap();
    let damage = |mut bytes: Vec<u8>| {
        let at = bytes.len() - 100_000;
        bytes[at..at + 34].fill(0);
        fs::write(&file, bytes).unwrap();
    };
    damage(certified.clone());
    let said = failure(&["verify", text(&file), "--against", text(&model("tiny-llama"))]);
    assert!(said.contains("the data is damaged"), "{said}");
    let said = failure(&["validate", text(&file)]);
    assert!(said.contains("the data is damaged"), "{said}");
    // Without certificates the comparison with the source finds it.
    damage(GgufFile::read(&certified).without_keys("apr.").write());
    let said = failure(&["verify", text(&file), "--against", text(&model("tiny-llama"))]);
    assert!(said.contains("Q8_0 allows an error of"), "{said}");
    let said = failure(&["verify", text(&file), "--against", text(&model("tiny-qwen2"))]);
    assert!(said.contains("in the source and not in the file"), "{said}");
}

#[test]
fn a_model_in_the_other_byte_order_or_in_parts_runs_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = export("tiny-qwen2", Some("int8"), folder.path());
    let golden = Golden::load("tiny-qwen2", PROMPTS[0]);
    let tokens = |path: &Path| {
        json(&["run", text(path), "-p", &golden.prompt, "-n", "16"])["tokens"].clone()
    };
    let expected = tokens(&file);
    let whole = GgufFile::read(&fs::read(&file).unwrap());
    let turned = folder.path().join("turned.gguf");
    fs::write(&turned, GgufFile { big_endian: true, ..whole.clone() }.write()).unwrap();
    assert_eq!(tokens(&turned), expected);
    stdout(&["verify", text(&turned), "--against", text(&model("tiny-qwen2"))]);

    // The certificates are of the whole file.
    let whole = whole.without_keys("apr.");
    let (first, second) = whole.tensors.split_at(7);
    for (number, tensors) in [(0, first), (1, second)] {
        let mut part = GgufFile { tensors: tensors.to_vec(), ..whole.clone() };
        part.keys.retain(|_| number == 0);
        part.keys.push(Key::number("split.no", 2, number));
        part.keys.push(Key::number("split.count", 2, 2));
        part.keys.push(Key::number("split.tensors.count", 5, whole.tensors.len() as u64));
        let name = format!("part-{:05}-of-00002.gguf", number + 1);
        fs::write(folder.path().join(name), part.write()).unwrap();
    }
    for name in ["part-00001-of-00002.gguf", "part-00002-of-00002.gguf"] {
        assert_eq!(tokens(&folder.path().join(name)), expected, "{name}");
    }
}

#[test]
fn headers_that_break_a_rule_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let good = fs::read(export("tiny-gpt2", Some("int8"), folder.path())).unwrap();
    let broken = folder.path().join("broken.gguf");
    let find = |text: &[u8]| good.windows(text.len()).position(|window| window == text).unwrap();
    let (name, alignment) = (find(b"blk.0.ffn_up.weight"), find(b"general.alignment"));
    let put = |at: usize, bytes: &[u8]| {
        let mut changed = good.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    for (what, bytes, words) in [
        ("version", put(4, &[1, 0, 0, 0]), "GGUF version"),
        ("other byte order", put(4, &[0, 0, 0, 3]), "list of keys needs"),
        ("too many tensors", put(8, &u64::MAX.to_le_bytes()), "list of tensors needs"),
        ("too many keys", put(16, &u64::MAX.to_le_bytes()), "list of keys needs"),
        ("alignment", put(alignment + 21, &3_u32.to_le_bytes()), "power of two"),
        ("type", put(name + 19 + 4 + 16, &200_u32.to_le_bytes()), "unknown type 200"),
        ("other type", put(name + 19 + 4 + 16, &0_u32.to_le_bytes()), "begins at byte"),
        ("rank", put(name + 19, &99_u32.to_le_bytes()), "rank"),
        ("dimension", put(name + 19 + 4, &u64::MAX.to_le_bytes()), "blk.0.ffn_up.weight"),
        ("offset", put(name + 19 + 4 + 16 + 4, &32_u64.to_le_bytes()), "begins at byte"),
        ("a key", put(find(b"general.quantization_version") + 28 + 4, &[3]), "seal is"),
        ("a certificate", put(find(b"apr.certificates") + 16 + 16 + 5, &[99]), "seal is"),
        ("truncated data", good[..good.len() - 64].to_vec(), "truncated"),
        ("truncated header", good[..5000].to_vec(), "truncated"),
        ("trailing", [good.as_slice(), &[0; 64]].concat(), "the header accounts for"),
    ] {
        fs::write(&broken, bytes).unwrap();
        let said = failure(&["inspect", text(&broken)]);
        assert!(said.contains("broken.gguf") && said.contains(words), "{what}: {said}");
    }
}
