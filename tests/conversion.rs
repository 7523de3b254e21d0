//! Conversion as a whole: determinism, memory, atomicity, provenance, exceptions.

use crate::checkpoints::{copy_model, narrow_mlp, split_into_shards};
use crate::harness::{Golden, Imported, MODELS, apr, failure, json, model, stdout, text};
use serde_json::Value;
use std::fs;
use std::process::Command;

#[test]
fn the_same_input_gives_the_same_bytes_whatever_the_number_of_threads() {
    for name in MODELS {
        for recipe in ["int8", "int4"] {
            let source = model(name);
            let folder = tempfile::tempdir().unwrap();
            let files: Vec<Vec<u8>> = ["1", "2", "3", "8"]
                .iter()
                .map(|threads| {
                    let target = folder.path().join(format!("{threads}.apr"));
                    let args = ["import", text(&source), "--quantize", recipe, "-o", text(&target)];
                    apr(&args).env("RAYON_NUM_THREADS", threads).assert().success();
                    fs::read(target).unwrap()
                })
                .collect();
            assert!(files.windows(2).all(|pair| pair[0] == pair[1]), "{name} {recipe}");
        }
    }
}

#[test]
fn the_proof_covers_every_tensor_and_is_stored_in_the_file() {
    for name in MODELS {
        let source = model(name);
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("model.apr");
        let proof = json(&["import", text(&source), "--quantize", "int4", "-o", text(&target)]);
        assert_eq!(proof["verdict"], "proven");
        let again = json(&["verify", text(&target), "--against", text(&source)]);
        assert_eq!(again["tensors"], proof["tensors"]);
        assert_eq!(again["seal"], proof["seal"]);
        let listed = json(&["tensors", text(&target)]);
        let count = listed["tensors"].as_array().unwrap().len();
        assert_eq!(proof["tensors"].as_array().unwrap().len(), count);
        for tensor in proof["tensors"].as_array().unwrap() {
            let share = tensor["bound_share"].as_f64().unwrap();
            assert!((0.0..=1.0).contains(&share), "{tensor}");
            let quantized = ["Q4_0", "Q8_0"].contains(&tensor["dtype"].as_str().unwrap());
            assert_eq!(tensor["rms_error"].as_f64().unwrap() > 0.0, quantized, "{tensor}");
        }
    }
}

#[test]
fn shards_give_the_tensors_of_the_single_file() {
    let folder = tempfile::tempdir().unwrap();
    let sharded = folder.path().join("sharded");
    split_into_shards("tiny-qwen2", &sharded, 3);
    let target = folder.path().join("model.apr");
    let proof = json(&["import", text(&sharded), "--quantize", "int8", "-o", text(&target)]);
    let single = Imported::new("tiny-qwen2", Some("int8"));
    let of_single = json(&["verify", single.path(), "--against", text(&model("tiny-qwen2"))]);
    assert_eq!(proof["tensors"], of_single["tensors"]);
    // Each proves against the other's source: the weights are the same.
    stdout(&["verify", text(&target), "--against", text(&model("tiny-qwen2"))]);
    stdout(&["verify", single.path(), "--against", text(&sharded)]);
    let tokens =
        |path: &str| json(&["run", path, "-p", "Hello, my name is", "-n", "32"])["tokens"].clone();
    assert_eq!(tokens(text(&sharded)), tokens(text(&model("tiny-qwen2"))));
}

#[test]
fn an_imported_file_needs_nothing_but_itself() {
    for name in MODELS {
        let imported = Imported::new(name, None);
        let golden = Golden::load(name, "completion");
        let found = json(&["run", imported.path(), "-p", &golden.prompt, "-n", "32"]);
        assert_eq!(found["text"], golden.text, "{name}");
        let inspected = json(&["inspect", imported.path()]);
        let metadata = &inspected["metadata"];
        assert_eq!(metadata["recipe"], "keep");
        assert_eq!(metadata["config"]["architectures"][0], {
            let config = fs::read_to_string(model(name).join("config.json")).unwrap();
            serde_json::from_str::<Value>(&config).unwrap()["architectures"][0].clone()
        });
        let tokenizer = fs::read_to_string(model(name).join("tokenizer.json")).unwrap();
        assert_eq!(metadata["tokenizer"], tokenizer.as_str());
        let has_template = model(name).join("chat_template.jinja").exists();
        assert_eq!(metadata.get("chat_template").is_some(), has_template, "{name}");
    }
}

#[test]
fn an_import_can_be_imported_again() {
    let kept = Imported::new("tiny-gpt2", None);
    let direct = Imported::new("tiny-gpt2", Some("int8"));
    let target = kept.folder.path().join("again.apr");
    let again = json(&["import", kept.path(), "--quantize", "int8", "-o", text(&target)]);
    let direct = json(&["verify", direct.path(), "--against", text(&model("tiny-gpt2"))]);
    let hashes = |proof: &Value| -> Vec<String> {
        proof["tensors"].as_array().unwrap().iter().map(|t| t["hash"].to_string()).collect()
    };
    assert_eq!(hashes(&again), hashes(&direct));
    let said = failure(&["import", text(&target), "--quantize", "int4", "-o", "/tmp/x.apr"]);
    assert!(said.contains("Q8_0") && said.contains("start from the original checkpoint"), "{said}");
}

#[test]
fn provenance_names_the_source_files_with_the_digests_that_hubs_publish() {
    let imported = Imported::new("tiny-qwen2", Some("int8"));
    let inspected = json(&["inspect", imported.path()]);
    let sources = inspected["metadata"]["provenance"]["sources"].as_array().unwrap();
    let names: Vec<&str> = sources.iter().map(|source| source["name"].as_str().unwrap()).collect();
    assert_eq!(names[0], "model.safetensors");
    assert!(names.contains(&"config.json") && names.contains(&"tokenizer.json"), "{names:?}");
    for source in sources {
        let path = model("tiny-qwen2").join(source["name"].as_str().unwrap());
        assert_eq!(source["size"].as_u64().unwrap(), fs::metadata(&path).unwrap().len());
        let output = Command::new("sha256sum").arg(&path).output().unwrap();
        let digest = String::from_utf8(output.stdout).unwrap();
        assert_eq!(source["sha256"].as_str().unwrap(), digest.split(' ').next().unwrap());
    }
}

#[test]
fn rows_that_are_no_whole_blocks_are_listed_exceptions() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("narrow");
    narrow_mlp("tiny-llama", &source, 48);
    let plan = json(&["import", text(&source), "--quantize", "int4", "--plan"]);
    let narrow: Vec<&Value> = plan["tensors"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|tensor| tensor["exception"].is_string())
        .collect();
    assert_eq!(narrow.len(), 4, "one down projection per layer");
    for tensor in narrow {
        assert!(tensor["name"].as_str().unwrap().ends_with("down_proj.weight"), "{tensor}");
        assert_eq!(tensor["dtype"], "BF16");
    }
    let target = folder.path().join("narrow.apr");
    let said = stdout(&["import", text(&source), "--quantize", "int4", "-o", text(&target)]);
    let line = "exception: MLP down × 4: rows of 48 are no multiple of 32: stays BF16, not Q4_0";
    assert!(said.contains(line), "{said}");
    stdout(&["run", text(&target), "-p", "Hello", "-n", "4"]);
}

#[test]
fn a_failed_import_leaves_no_file_and_keeps_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("damaged");
    copy_model("tiny-llama", &source);
    let weights = source.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last - 1..].copy_from_slice(&[0x80, 0x7f]); // infinity in bf16
    fs::write(&weights, bytes).unwrap();
    let target = folder.path().join("out").join("model.apr");
    fs::create_dir(target.parent().unwrap()).unwrap();
    fs::write(&target, b"old").unwrap();
    let said = failure(&["import", text(&source), "--quantize", "int8", "-o", text(&target)]);
    assert!(said.contains("model.norm.weight") && said.contains("[191] is inf"), "{said}");
    assert_eq!(fs::read(&target).unwrap(), b"old");
    assert_eq!(fs::read_dir(target.parent().unwrap()).unwrap().count(), 1);
}

/// The system itself limits private memory: an import that needs more fails.
#[cfg(target_os = "linux")]
#[test]
fn an_import_fits_in_three_times_its_largest_tensor_and_64_mib() {
    for name in MODELS {
        let source = model(name);
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("model.apr");
        let container = apr_format::open(&source).unwrap();
        let largest = container.tensors().iter().map(|t| t.layout.byte_len()).max().unwrap();
        let limit_kib = (3 * largest + (64 << 20)) / 1024;
        let import =
            [env!("CARGO_BIN_EXE_apr"), "import", text(&source), "--quantize", "int4", "-o"];
        let command = format!("ulimit -d {limit_kib}; exec {} {}", import.join(" "), text(&target));
        let output = Command::new("sh").args(["-c", &command]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} in {limit_kib} KiB: {stderr}");
    }
}

/// Peak resident memory of a run, from the system's account of the process.
#[cfg(target_os = "linux")]
#[test]
fn a_run_is_resident_in_file_cache_and_64_mib() {
    for name in MODELS {
        for recipe in [None, Some("int8"), Some("int4")] {
            let imported = Imported::new(name, recipe);
            let run =
                [env!("CARGO_BIN_EXE_apr"), "run", imported.path(), "-p", "Hello", "-n", "200"];
            let script = "import resource, subprocess, sys\n\
                subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n\
                print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
            let output = Command::new("python3").arg("-c").arg(script).args(run).output().unwrap();
            let peak_kib: u64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
            let file = fs::metadata(&imported.file).unwrap().len();
            let limit_kib = (file + kv_cache(name, 201) + (64 << 20)) / 1024;
            assert!(peak_kib <= limit_kib, "{name} {recipe:?}: {peak_kib} KiB, limit {limit_kib}");
        }
    }
}

fn kv_cache(name: &str, positions: u64) -> u64 {
    let inspected = json(&["inspect", text(&model(name))]);
    let number = |key: &str| inspected[key].as_u64().unwrap();
    let kv_size = number("hidden_size") / number("num_heads") * number("num_kv_heads");
    2 * 4 * number("num_layers") * kv_size * positions
}
