//! What callers of the command line rely on.

use crate::checkpoints::SafeTensors;
use crate::harness::{Golden, Imported, MODELS, apr, failure, heldout, json, model, stdout, text};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const VERBS: [&str; 8] =
    ["import", "run", "verify", "eval", "inspect", "tensors", "validate", "list"];

#[test]
fn version_and_help_are_answered() {
    let version = stdout(&["--version"]);
    assert!(version.contains("apr") && version.lines().count() == 1, "{version}");
    for verb in VERBS {
        let help = stdout(&[verb, "--help"]);
        assert!(help.contains("Usage:") && help.contains("--json"), "{verb}: {help}");
    }
}

#[test]
fn both_grammars_of_run_give_the_golden_tokens() {
    for name in MODELS {
        let imported = Imported::new(name, Some("int8"));
        let golden = Golden::load(name, "completion");
        let first = json(&["run", imported.path(), "-p", &golden.prompt, "-n", "32"]);
        let second = stdout(&[
            "run",
            imported.path(),
            &golden.prompt,
            "-n",
            "32",
            "-t",
            "0",
            "--raw",
            "-f",
            "json",
        ]);
        let second: Value = serde_json::from_str(&second).unwrap();
        let tokens: Vec<u32> = first["tokens"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_u64().unwrap() as u32)
            .collect();
        assert_eq!(tokens, golden.tokens, "{name}");
        assert_eq!(first["text"], golden.text.as_str());
        assert_eq!((&second["tokens"], &second["text"]), (&first["tokens"], &first["text"]));
        let streamed = stdout(&["run", imported.path(), "-p", &golden.prompt, "-n", "32"]);
        assert_eq!(streamed, golden.text + "\n");
    }
}

#[test]
fn generation_ends_where_it_is_told_to() {
    let imported = Imported::new("tiny-llama", Some("int8"));
    let run = |extra: &[&str]| {
        json(&[&["run", imported.path(), "-p", "The capital of France is"], extra].concat())
    };
    let plain = run(&["-n", "32"]);
    let stopped = run(&["-n", "32", "--stop", " its", "--stop", "zzz"]);
    let expected = plain["text"].as_str().unwrap().split(" its").next().unwrap();
    assert_eq!(stopped["text"], expected);
    assert_eq!(stopped["stop_reason"], "stop_text");
    let streamed = stdout(&[
        "run",
        imported.path(),
        "-p",
        "The capital of France is",
        "-n",
        "32",
        "--stop",
        " its",
    ]);
    assert_eq!(streamed, format!("{expected}\n"));
    assert_eq!(run(&["-n", "0"])["tokens"].as_array().unwrap().len(), 0);
    assert_eq!(run(&["-n", "1"])["tokens"].as_array().unwrap().len(), 1);
    // Without a number: to the end token, which is not part of the text.
    let free = run(&[]);
    assert_eq!(free["stop_reason"], "end_token", "{free}");
    assert_eq!(free["tokens"].as_array().unwrap().last().unwrap(), 0);
    assert!(!free["text"].as_str().unwrap().contains("<|endoftext|>"));
}

#[test]
fn sampling_depends_on_its_seed_alone() {
    let imported = Imported::new("tiny-qwen2", Some("int4"));
    let run = |seed: &str, threads: &str| {
        let args =
            ["run", imported.path(), "-p", "Hello", "-n", "24", "-t", "1.2", "--top-k", "40"];
        json(&[&args[..], &["--seed", seed, "--threads", threads]].concat())["tokens"].clone()
    };
    assert_eq!(run("1", "1"), run("1", "3"));
    assert_ne!(run("1", "1"), run("2", "1"));
}

#[test]
fn kernel_tables_can_be_forced() {
    let imported = Imported::new("tiny-llama", Some("int8"));
    let run = |table: &str| {
        let mut command = apr(&["run", imported.path(), "-p", "Hello", "-n", "2", "--json"]);
        command.env("APR_KERNELS", table).output().unwrap()
    };
    let output: Value = serde_json::from_slice(&run("scalar").stdout).unwrap();
    assert_eq!(output["kernels"], "scalar");
    let unknown = run("abacus");
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("abacus"));
}

/// What config.json and the SafeTensors header say, read by the test itself.
fn expected_inspection(name: &str) -> Value {
    let config: Value =
        serde_json::from_slice(&fs::read(model(name).join("config.json")).unwrap()).unwrap();
    let pick = |keys: [&str; 2]| keys.iter().find_map(|key| config.get(*key)).unwrap().clone();
    serde_json::json!({
        "architecture": config["model_type"],
        "num_layers": pick(["num_hidden_layers", "n_layer"]),
        "num_heads": pick(["num_attention_heads", "n_head"]),
        "num_kv_heads": config.get("num_key_value_heads").unwrap_or(&config["n_head"]),
        "hidden_size": pick(["hidden_size", "n_embd"]),
        "vocab_size": config["vocab_size"],
    })
}

#[test]
fn inspect_says_what_the_files_say() {
    let folder = tempfile::tempdir().unwrap();
    for name in MODELS {
        let weights = model(name).join("model.safetensors");
        let imported = Imported::new(name, Some("int8"));
        // A blob of the hub's cache: no extension, no configuration beside it.
        let blob = folder.path().join(name);
        fs::copy(&weights, &blob).unwrap();
        let stored = SafeTensors::read(&weights).tensors;
        let params: usize =
            stored.iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum();
        let expected = expected_inspection(name);
        for (path, format) in [
            (model(name), "safetensors"),
            (weights.clone(), "safetensors"),
            (blob, "safetensors"),
            (imported.file.clone(), "apr"),
        ] {
            let found = json(&["inspect", text(&path)]);
            for (key, value) in expected.as_object().unwrap() {
                // The number of heads cannot be seen in the weights.
                let unknown = path.starts_with(folder.path()) && key.ends_with("heads");
                let value = if unknown { &Value::Null } else { value };
                assert_eq!(&found[key], value, "{name}: {key} of {}", path.display());
            }
            assert_eq!(found["format"], format);
            let file = if path.is_dir() { &weights } else { &path };
            assert_eq!(found["file_size"], fs::metadata(file).unwrap().len());
            if format == "safetensors" {
                assert_eq!(found["tensor_count"], stored.len());
                assert_eq!(found["total_params"], params);
                assert_eq!(found["metadata"]["format"], "pt");
            } else {
                assert_eq!(found["metadata"]["source_metadata"]["format"], "pt");
            }
        }
    }
}

#[test]
fn a_header_from_a_pipe_suffices_to_inspect() {
    let imported = Imported::new("tiny-gpt2", Some("int8"));
    for path in [model("tiny-gpt2").join("model.safetensors"), imported.file.clone()] {
        let bytes = fs::read(&path).unwrap();
        // Half of the file: the header and some data.
        let head = &bytes[..bytes.len() / 2];
        for verb in ["inspect", "tensors"] {
            let expected = json(&[verb, text(&path)]);
            for pipe in ["-", "/dev/stdin"] {
                let output = apr(&[verb, pipe, "--json"]).write_stdin(head).output().unwrap();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                let found: Value = serde_json::from_slice(&output.stdout).unwrap();
                let (key, beside) = if verb == "inspect" {
                    ("total_params", "file_size")
                } else {
                    ("tensors", "tensors")
                };
                assert_eq!((&found[key], &found[beside]), (&expected[key], &expected[beside]));
            }
        }
        let short = apr(&["inspect", "-"]).write_stdin(&bytes[..70]).output().unwrap();
        assert_eq!(short.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&short.stderr).contains("truncated"));
    }
}

#[test]
fn tensors_lists_what_the_header_lists() {
    for name in MODELS {
        let path = model(name).join("model.safetensors");
        let mut stored = SafeTensors::read(&path).tensors;
        stored.sort_by(|a, b| a.name.cmp(&b.name));
        let listed = json(&["tensors", text(&path)]);
        let listed = listed["tensors"].as_array().unwrap();
        assert_eq!(listed.len(), stored.len());
        for (listed, stored) in listed.iter().zip(&stored) {
            assert_eq!(listed["name"], stored.name.as_str());
            assert_eq!(listed["dtype"], stored.dtype.as_str());
            assert_eq!(listed["shape"], serde_json::json!(stored.shape));
        }
    }
}

#[test]
fn validate_reports_every_check() {
    for name in MODELS {
        let imported = Imported::new(name, Some("int4"));
        for (path, format, checks) in
            [(model(name), "safetensors", 4), (imported.file.clone(), "apr", 6)]
        {
            let report = json(&["validate", text(&path)]);
            let list = report["checks"].as_array().unwrap();
            assert!(
                list.iter().all(|check| check["name"].is_string() && check["status"] == "PASS")
            );
            assert_eq!(report["total_checks"], list.len());
            assert_eq!(list.len(), checks, "{report}");
            for key in ["failed", "total_nan", "total_inf"] {
                assert_eq!(report[key], 0, "{report}");
            }
            let tensors = json(&["tensors", text(&path)]);
            assert_eq!(report["total_tensors"], tensors["tensors"].as_array().unwrap().len());
            assert_eq!(report["format"], format);
        }
    }
}

#[test]
fn plans_say_what_imports_do() {
    let source = model("tiny-qwen2");
    let plan = |extra: &[&str]| {
        json(&[&["import", text(&source), "--quantize", "int4", "--plan"], extra].concat())
    };
    let dtype_of = |report: &Value, name: &str| -> Value {
        let tensors = report["tensors"].as_array().unwrap();
        tensors.iter().find(|tensor| tensor["name"] == name).unwrap()["dtype"].clone()
    };
    let embedding = "model.embed_tokens.weight";
    let (int4, pure) = (plan(&[]), plan(&["--pure"]));
    assert_eq!(
        (dtype_of(&int4, embedding), dtype_of(&pure, embedding)),
        ("Q8_0".into(), "Q4_0".into())
    );
    assert_eq!(dtype_of(&int4, "model.layers.0.mlp.up_proj.weight"), "Q4_0");
    assert_eq!(dtype_of(&int4, "model.layers.0.self_attn.q_proj.bias"), "BF16");
    let imported = Imported::new("tiny-qwen2", Some("int4"));
    let listed = json(&["tensors", imported.path()]);
    let sizes = |report: &Value, key: &str| -> u64 {
        report["tensors"].as_array().unwrap().iter().map(|t| t[key].as_u64().unwrap()).sum()
    };
    assert_eq!(int4["output_size"].as_u64().unwrap(), sizes(&listed, "size_bytes"));
    assert_eq!(sizes(&int4, "size"), sizes(&listed, "size_bytes"));
}

/// A cache of the hub with one model in it, as `huggingface_hub` lays it out.
fn hub_cache(folder: &Path, name: &str) -> PathBuf {
    let repo = folder.join("hub/models--some-org--some.model");
    let snapshot = repo.join("snapshots/0123abcd");
    for part in ["refs", "blobs", "snapshots/0123abcd"] {
        fs::create_dir_all(repo.join(part)).unwrap();
    }
    fs::write(repo.join("refs/main"), "0123abcd").unwrap();
    for file in ["model.safetensors", "config.json", "tokenizer.json"] {
        let blob = format!("blob-of-{}", file.replace('.', "-"));
        fs::copy(model(name).join(file), repo.join("blobs").join(&blob)).unwrap();
        std::os::unix::fs::symlink(format!("../../blobs/{blob}"), snapshot.join(file)).unwrap();
    }
    folder.join("hub")
}

#[test]
fn models_of_the_hub_cache_are_listed_and_used() {
    let folder = tempfile::tempdir().unwrap();
    let cache = hub_cache(folder.path(), "tiny-llama");
    let target = folder.path().join("out.apr");
    for (variable, value) in [("HF_HUB_CACHE", cache.as_path()), ("HF_HOME", folder.path())] {
        let call = |args: &[&str]| -> Value {
            let mut command = apr(&[args, &["--json"]].concat());
            command.env_remove("HF_HUB_CACHE").env_remove("HF_HOME").env(variable, value);
            let output = command.output().unwrap();
            assert!(
                output.status.success(),
                "{args:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            serde_json::from_slice(&output.stdout).unwrap()
        };
        let listed = call(&["list"]);
        let found = &listed["models"][0];
        assert!(found["name"].as_str().unwrap().contains("some-org_some.model"), "{listed}");
        let path = found["path"].as_str().unwrap();
        assert_eq!(found["size_bytes"], fs::metadata(path).unwrap().len());
        let name = "hf://some-org/some.model";
        assert_eq!(call(&["inspect", name])["num_heads"], 6);
        assert_eq!(call(&["inspect", &format!("{name}@0123abcd")])["num_heads"], 6);
        let golden = Golden::load("tiny-llama", "code");
        assert_eq!(
            call(&["run", name, "-p", &golden.prompt, "-n", "32"])["text"],
            golden.text.as_str()
        );
        assert_eq!(
            call(&["import", name, "--quantize", "int8", "-o", text(&target)])["verdict"],
            "proven"
        );
        // The blob itself: no name, nothing beside it.
        let blob = fs::canonicalize(path).unwrap();
        assert_eq!(call(&["inspect", text(&blob)])["architecture"], "llama");
    }
    let empty =
        apr(&["list", "--json"]).env("HF_HUB_CACHE", folder.path().join("none")).output().unwrap();
    let listed: Value = serde_json::from_slice(&empty.stdout).unwrap();
    assert_eq!(listed["models"], serde_json::json!([]));
}

#[test]
fn output_is_plain_when_nobody_looks() {
    let imported = Imported::new("tiny-llama", Some("int8"));
    let (source, text_file) = (model("tiny-llama"), heldout());
    for args in [
        &[
            "import",
            text(&source),
            "--quantize",
            "int4",
            "-o",
            text(&imported.folder.path().join("x.apr")),
        ][..],
        &["run", imported.path(), "-p", "Hello", "-n", "4"],
        &["verify", imported.path(), "--against", text(&source)],
        &["eval", imported.path(), "--text", text(&text_file)],
        &["inspect", imported.path()],
        &["tensors", imported.path()],
        &["validate", imported.path()],
        &["list"],
    ] {
        let output = apr(args).output().unwrap();
        assert!(output.status.success(), "apr {args:?}");
        assert!(!output.stdout.contains(&0x1b), "apr {args:?}: escapes on standard output");
        assert!(
            output.stderr.is_empty(),
            "apr {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(!output.stdout.is_empty(), "apr {args:?} prints nothing");
        json(args);
    }
    assert!(!failure(&["inspect", "nothing"]).contains('\u{1b}'));
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let imported = Imported::new("tiny-llama", None);
    for args in
        [&["tensors", imported.path()][..], &["run", imported.path(), "-p", "Hello", "-n", "99"]]
    {
        let mut child = Command::new(env!("CARGO_BIN_EXE_apr"))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty());
    }
}
