//! Input that is missing, broken or hostile: one line that names the file and the cause.

use crate::checkpoints::{SafeTensors, StoredTensor, copy_model, split_into_shards};
use crate::harness::{Imported, apr, failure, heldout, json, model, stdout, text};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Expects a failure, explained in one line that has all of these words, and with `--json` in one
/// document too. Returns the line.
fn refused(args: &[&str], words: &[&str]) -> String {
    let line = failure(args);
    assert_eq!(line.trim_end().lines().count(), 1, "apr {args:?}: more than one line\n{line}");
    assert!(!line.contains('\u{1b}'), "apr {args:?}: a raw escape\n{line:?}");
    for word in words {
        assert!(line.contains(word), "apr {args:?} does not say {word:?}:\n{line}");
    }
    let output = apr(&[args, &["--json"]].concat()).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("apr {args:?} --json: {error}"));
    for key in ["kind", "message"] {
        assert!(document["error"][key].is_string(), "apr {args:?}: {document}");
    }
    line
}

/// A folder for broken files.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A copy of a shipped model, its weights changed.
    fn changed(&self, name: &str, change: impl FnOnce(&mut Vec<StoredTensor>)) -> PathBuf {
        let folder = self.path("changed");
        copy_model(name, &folder);
        let path = folder.join("model.safetensors");
        let mut weights = SafeTensors::read(&path);
        change(&mut weights.tensors);
        weights.write(&path);
        folder
    }

    /// A copy of a shipped model, its configuration changed.
    fn configured(&self, name: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
        let folder = self.path("configured");
        copy_model(name, &folder);
        let path = folder.join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut config);
        fs::write(path, config.to_string()).unwrap();
        folder
    }
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// The calls of every verb that reads a model.
fn calls<'a>(
    file: &'a str,
    target: &'a str,
    text_file: &'a str,
    source: &'a str,
) -> [Vec<&'a str>; 8] {
    [
        vec!["import", file, "--quantize", "int8", "-o", target],
        vec!["run", file, "-p", "Hello", "-n", "2"],
        vec!["verify", file, "--against", source],
        vec!["verify", source, "--against", file],
        vec!["eval", file, "--text", text_file],
        vec!["validate", file],
        vec!["inspect", file],
        vec!["tensors", file],
    ]
}

#[test]
fn broken_files_are_refused_by_every_verb() {
    let bench = Bench::new();
    let imported = Imported::new("tiny-llama", Some("int8"));
    let safetensors = fs::read(model("tiny-llama").join("model.safetensors")).unwrap();
    let apr = fs::read(&imported.file).unwrap();
    let cut = |bytes: &[u8]| bytes[..bytes.len() - 1000].to_vec();
    let cases = [
        ("empty", vec![], "the file is empty"),
        ("head.safetensors", safetensors[..100].to_vec(), "truncated"),
        ("head.apr", apr[..100].to_vec(), "truncated"),
        ("half-head.apr", apr[..30].to_vec(), "truncated"),
        ("noise", noise(256), "not a model file"),
        ("noise.apr", [b"APR\0", noise(256).as_slice()].concat(), "version"),
        ("cut.safetensors", cut(&safetensors), "truncated"),
        ("cut.apr", cut(&apr), "truncated"),
        ("long.safetensors", [safetensors.as_slice(), b"more"].concat(), "the header accounts for"),
        ("long.apr", [apr.as_slice(), b"more"].concat(), "the header accounts for"),
    ];
    let target = bench.path("target.apr");
    let (text_file, source) = (heldout(), model("tiny-llama"));
    for (name, bytes, cause) in cases {
        let file = bench.file(name, &bytes);
        for call in calls(text(&file), text(&target), text(&text_file), text(&source)) {
            refused(&call, &[name, cause]);
        }
    }
    for call in calls("no-such-file", text(&target), text(&text_file), text(&source)) {
        refused(&call, &["no-such-file", "No such file"]);
    }
    assert!(!target.exists());
}

#[test]
fn incomplete_folders_are_refused() {
    let bench = Bench::new();
    let target = bench.path("target.apr");
    let (text_file, source) = (heldout(), model("tiny-llama"));
    let copy_of = |name: &str, without: &str| {
        let folder = bench.path(name);
        copy_model("tiny-llama", &folder);
        fs::remove_file(folder.join(without)).unwrap();
        folder
    };
    let weightless = copy_of("weightless", "model.safetensors");
    for call in calls(text(&weightless), text(&target), text(&text_file), text(&source)) {
        refused(&call, &["weightless", "no model.safetensors"]);
    }
    // What a header tells needs no configuration; everything else does.
    let unconfigured = copy_of("unconfigured", "config.json");
    for call in &calls(text(&unconfigured), text(&target), text(&text_file), text(&source))[..5] {
        refused(call, &["unconfigured", "config.json is missing"]);
    }
    assert_eq!(json(&["inspect", text(&unconfigured)])["architecture"], "llama");
    let speechless = copy_of("speechless", "tokenizer.json");
    refused(
        &["run", text(&speechless), "-p", "Hello"],
        &["speechless", "tokenizer.json is missing"],
    );
    fs::write(speechless.join("tokenizer.json"), "{\"model\": 1}").unwrap();
    refused(&["run", text(&speechless), "-p", "Hello"], &["speechless", "tokenizer"]);
    fs::write(speechless.join("config.json"), "{").unwrap();
    refused(&["inspect", text(&speechless)], &["config.json", "EOF"]);
    fs::write(speechless.join("config.json"), "[]").unwrap();
    refused(&["inspect", text(&speechless)], &["config.json", "not a JSON object"]);
}

#[test]
fn configurations_that_do_not_fit_are_refused() {
    let import = |folder: &Path, words: &[&str]| {
        refused(&["import", text(folder), "-o", "/nonexistent/x.apr"], words);
    };
    let bench = Bench::new();
    let with =
        |key: &str, value: Value| bench.configured("tiny-llama", |config| config[key] = value);
    import(
        &with("architectures", json!(["FooForCausalLM"])),
        &["FooForCausalLM", "supported: Llama"],
    );
    import(&with("num_hidden_layers", json!(5)), &["model.layers.4", "is missing"]);
    import(&with("num_hidden_layers", json!(3)), &["model.layers.3", "belongs to no part"]);
    import(&with("intermediate_size", json!(513)), &["mlp", "[513, 192]", "[512, 192]"]);
    import(&with("hidden_size", json!(u64::MAX)), &["config.json"]);
    import(&with("head_dim", json!(1_u64 << 62)), &["config.json asks for"]);
    import(&with("rope_scaling", json!({"type": "linear"})), &["rope_scaling", "linear"]);
    for key in ["hidden_size", "num_key_value_heads", "rms_norm_eps", "rope_theta", "vocab_size"] {
        let folder = bench.configured("tiny-llama", |config| {
            config.as_object_mut().unwrap().remove(key);
        });
        import(&folder, &["configured", key, "is missing"]);
    }
    for key in ["n_embd", "n_layer", "n_head", "n_positions", "layer_norm_epsilon"] {
        let folder = bench.configured("tiny-gpt2", |config| {
            config.as_object_mut().unwrap().remove(key);
        });
        import(&folder, &["configured", key, "is missing"]);
    }
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let import = |folder: &Path, words: &[&str]| {
        refused(&["import", text(folder), "--quantize", "int4", "-o", "/nonexistent/x.apr"], words);
    };
    let bench = Bench::new();
    let find =
        |tensors: &[StoredTensor], name: &str| tensors.iter().position(|t| t.name == name).unwrap();
    let folder = bench.changed("tiny-llama", |tensors| {
        tensors.remove(find(tensors, "model.layers.2.mlp.up_proj.weight"));
    });
    import(&folder, &["model.layers.2.mlp.up_proj.weight", "is missing"]);
    let folder = bench.changed("tiny-llama", |tensors| tensors[3].name = "model.extra".to_owned());
    import(&folder, &["mlp.gate_proj", "is missing"]);
    let folder = bench.changed("tiny-llama", |tensors| {
        let extra = StoredTensor { name: "model.extra".to_owned(), ..tensors[1].clone() };
        tensors.push(extra);
    });
    import(&folder, &["model.extra", "belongs to no part"]);
    let folder = bench.changed("tiny-llama", |tensors| tensors[0].dtype = "F8_E4M3".to_owned());
    import(&folder, &["model.embed_tokens.weight", "unknown type F8_E4M3"]);
    let folder = bench.changed("tiny-gpt2", |tensors| {
        let at = find(tensors, "h.1.attn.bias");
        tensors[at].bytes[4..8].copy_from_slice(&1_f32.to_le_bytes());
    });
    import(&folder, &["h.1.attn.bias", "is not the causal mask"]);
}

#[test]
fn values_that_are_not_finite_are_named_with_their_index() {
    let bench = Bench::new();
    let target = bench.path("target.apr");
    for (name, tensor, at, bits, index, value) in [
        (
            "tiny-llama",
            "model.layers.1.mlp.up_proj.weight",
            192 * 7 + 5,
            &[0xc0, 0x7f][..],
            "[7, 5]",
            "NaN",
        ),
        ("tiny-qwen2", "model.layers.0.self_attn.q_proj.bias", 255, &[0x80, 0xff], "[255]", "-inf"),
        ("tiny-gpt2", "h.3.mlp.c_fc.weight", 768 * 2 + 9, &[0, 0, 0x80, 0x7f], "[2, 9]", "inf"),
    ] {
        let folder = bench.changed(name, |tensors| {
            let tensor = tensors.iter_mut().find(|stored| stored.name == tensor).unwrap();
            tensor.bytes[at * bits.len()..(at + 1) * bits.len()].copy_from_slice(bits);
        });
        for recipe in ["int8", "int4", "f32"] {
            let args = ["import", text(&folder), "--quantize", recipe, "-o", text(&target)];
            refused(&args, &["changed", tensor, index, value]);
            assert!(!target.exists());
        }
        refused(&["run", text(&folder), "--quantize", "int8", "-p", "Hello"], &[tensor, index]);
        let output = apr(&["validate", text(&folder), "--json"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let counts = [&report["total_nan"], &report["total_inf"], &report["failed"]];
        assert_eq!(counts, if value == "NaN" { [1, 0, 1] } else { [0, 1, 1] }, "{report}");
        fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn a_tied_head_is_stored_once_and_must_equal_the_embedding() {
    let bench = Bench::new();
    let with_head = |change: u8| {
        bench.changed("tiny-llama", |tensors| {
            let mut head = StoredTensor { name: "lm_head.weight".to_owned(), ..tensors[0].clone() };
            head.bytes[77] ^= change;
            tensors.push(head);
        })
    };
    let target = bench.path("tied.apr");
    let proof = json(&["import", text(&with_head(0)), "--quantize", "int8", "-o", text(&target)]);
    assert_eq!(proof["derived"], json!(["lm_head.weight"]));
    assert_eq!(json(&["inspect", text(&target)])["tensor_count"], 38);
    refused(
        &["import", text(&with_head(1)), "-o", text(&bench.path("untied.apr"))],
        &["lm_head.weight", "differs from the embedding"],
    );
}

/// A SafeTensors file of this header and so many zero bytes of data.
fn forged(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
}

#[test]
fn forged_safetensors_headers_are_refused() {
    let bench = Bench::new();
    let entry = |name: &str, shape: &str, from: u64, to: u64| {
        format!("\"{name}\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[{from},{to}]}}")
    };
    let file = |entries: &[String], data| forged(&format!("{{{}}}", entries.join(",")), data);
    let (a, b) = (entry("a", "[2]", 0, 8), entry("b", "[2]", 8, 16));
    for (what, bytes, words) in [
        ("duplicate key", file(&[a.clone(), a.clone()], 16), &["key \"a\"", "occurs twice"][..]),
        (
            "overlap",
            file(&[a.clone(), entry("b", "[2]", 4, 12)], 12),
            &["\"b\"", "begins at byte 4", "expected 8"],
        ),
        (
            "hole",
            file(&[a.clone(), entry("b", "[2]", 12, 20)], 20),
            &["\"b\"", "begins at byte 12", "expected 8"],
        ),
        ("late start", file(&[entry("a", "[2]", 4, 12)], 12), &["\"a\"", "expected 0"]),
        ("wrong size", file(&[entry("a", "[3]", 0, 8)], 8), &["\"a\"", "takes 12 bytes, found 8"]),
        ("backwards", file(&[entry("a", "[2]", 8, 0)], 8), &["\"a\"", "takes 8 bytes"]),
        (
            "overflow",
            file(&[entry("a", "[4294967296,4294967296,4294967296]", 0, 8)], 8),
            &["\"a\"", "too large"],
        ),
        ("rank", file(&[entry("a", "[1,1,1,1,1,1,1,1,1]", 0, 4)], 4), &["\"a\"", "9 dimensions"]),
        ("past the end", file(&[a, b], 15), &["truncated"]),
        ("no JSON", forged("{\"a\"", 0), &["header", "EOF"]),
        (
            "no numbers",
            forged("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4),
            &["tensor entry", "-1"],
        ),
        ("escapes", file(&[entry("\\u001b[31mred\\n", "[3]", 0, 8)], 8), &["\\u{1b}[31mred\\n"]),
        ("long header", [&(1_u64 << 40).to_le_bytes()[..], b"{}"].concat(), &["not a model"]),
        ("header past the end", [&1000_u64.to_le_bytes()[..], b"{}"].concat(), &["truncated"]),
    ] {
        let path = bench.file("forged.safetensors", &bytes);
        let line = refused(&["tensors", text(&path)], &["forged.safetensors"]);
        for word in words {
            assert!(line.contains(word), "{what}: {line}");
        }
    }
}

#[test]
fn names_are_printed_escaped() {
    let bench = Bench::new();
    let header = "{\"\\u001b[31mred\\n\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\
        \"__metadata__\":{\"\\u001b]0;title\":\"\\u001b[2J\"}}";
    let path = bench.file("hostile", &forged(header, 8));
    let listed = stdout(&["tensors", text(&path)]);
    assert!(listed.contains("\\u{1b}[31mred\\n") && !listed.contains('\u{1b}'), "{listed:?}");
}

#[test]
fn shards_that_disagree_with_their_index_are_refused() {
    const FIRST: &str = "model-00001-of-00003.safetensors";
    const SECOND: &str = "model-00002-of-00003.safetensors";
    let bench = Bench::new();
    let folder = bench.path("sharded");
    let index = folder.join("model.safetensors.index.json");
    let reindexed = |change: &dyn Fn(&mut Value)| {
        split_into_shards("tiny-qwen2", &folder, 3);
        let mut value: Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
        change(&mut value["weight_map"]);
        fs::write(&index, value.to_string()).unwrap();
    };
    let inspect = |words: &[&str]| refused(&["inspect", text(&folder)], words);
    for name in
        ["../x.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "a\\b", "a\u{1b}[31m"]
    {
        reindexed(&|map| map["model.norm.weight"] = json!(name));
        inspect(&["model.safetensors.index.json", "is no plain file name"]);
    }
    reindexed(&|map| map["model.norm.weight"] = json!("elsewhere.safetensors"));
    inspect(&["elsewhere.safetensors", "No such file"]);
    reindexed(&|map| map["model.norm.weight"] = json!(FIRST));
    inspect(&["model.norm.weight", "the index puts it elsewhere"]);
    reindexed(&|map| map["model.phantom"] = json!(SECOND));
    inspect(&["model.phantom", "not in", SECOND]);
    reindexed(&|map| {
        map.as_object_mut().unwrap().remove("model.norm.weight");
    });
    inspect(&["model.norm.weight", "the index does not list it"]);
    reindexed(&|_| ());
    fs::remove_file(folder.join(SECOND)).unwrap();
    inspect(&[SECOND, "No such file"]);
    fs::copy(folder.join(FIRST), folder.join(SECOND)).unwrap();
    inspect(&["the index puts it elsewhere"]);
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let bench = Bench::new();
    let imported = Imported::new("tiny-gpt2", Some("int8"));
    let (model, source, text_file) = (imported.path(), model("tiny-gpt2"), heldout());
    let short = bench.file("short.txt", b"a");
    let long = "word ".repeat(300);
    let folder = bench.path("folder.apr");
    fs::create_dir(&folder).unwrap();
    for (args, words) in [
        (&["run", model, "-p", ""][..], &["prompt is empty"][..]),
        (&["run", model, "-p", &long], &["256 positions"]),
        (&["run", model, "-p", "Hello", "-n", "256"], &["256 more", "256 positions"]),
        (&["run", text(&source), "-p", "Hello", "--quantize", "int3"], &["int3", "int8, int4"]),
        (&["run", text(&source), "-p", "Hello", "--quantize", "int8", "--pure"], &["--pure"]),
        (&["import", text(&source), "-o", text(&bench.path("x.gguf"))], &["x.gguf", ".apr"]),
        (&["import", text(&source), "-o", text(&folder)], &["folder.apr", "no regular file"]),
        (
            &["import", text(&source), "-o", "/nonexistent/x.apr"],
            &["/nonexistent/x.apr", "No such file"],
        ),
        (&["eval", model, "--text", text(&text_file), "--window", "1"], &["at least 2 tokens"]),
        (&["eval", model, "--text", text(&text_file), "--window", "300"], &["256"]),
        (&["eval", model, "--text", text(&short)], &["short.txt", "at least 2"]),
        (&["eval", model, "--text", "no-such-text"], &["no-such-text", "No such file"]),
        (&["inspect", "hf://nobody/nothing"], &["hf://nobody/nothing", "not in the cache"]),
        (&["inspect", "hf://../.."], &["expected hf://ORG/NAME"]),
    ] {
        refused(args, words);
    }
    for args in [
        &["run", model, "-p", "Hello", "-t", "-1"][..],
        &["run", model, "-p", "Hello", "--top-p", "2"],
        &["run", model],
        &["import", text(&source)],
        &["frobnicate"],
        &[],
    ] {
        assert_eq!(apr(args).output().unwrap().status.code(), Some(2), "apr {args:?}");
    }
    assert!(failure(&["run", model, "-p", "Hello", "--top-p", "nan"]).contains("from 0 to 1"));
}
