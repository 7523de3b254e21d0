//! SafeTensors out: the same file for the same types, decoded values for packed ones.

use crate::harness::{Golden, Imported, MODELS, apr, failure, json, model, stdout, text};
use apr_tensor::DType;
use std::fs;
use std::path::Path;

fn values(file: &Path) -> Vec<(String, DType, Vec<f32>)> {
    let container = apr_format::open(file).unwrap();
    let read = |name: &str| container.tensor(name).unwrap().view().to_f32();
    let entries = container.tensors().iter();
    entries.map(|t| (t.name.clone(), t.layout.dtype(), read(&t.name))).collect()
}

#[test]
fn safetensors_in_safetensors_out_every_byte_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for name in MODELS {
        let out = folder.path().join("out.safetensors");
        stdout(&["export", text(&model(name)), "--format", "safetensors", "-o", text(&out)]);
        let source = model(name).join("model.safetensors");
        assert!(fs::read(&out).unwrap() == fs::read(source).unwrap(), "{name}");
    }
}

#[test]
fn packed_tensors_are_decoded_and_the_others_keep_their_types_on_request() {
    for name in MODELS {
        let packed = Imported::new(name, Some("int4"));
        let (single, kept) = (
            packed.folder.path().join("a.safetensors"),
            packed.folder.path().join("b.safetensors"),
        );
        stdout(&["export", packed.path(), "-o", text(&single)]);
        stdout(&["export", packed.path(), "--keep-types", "-o", text(&kept)]);
        let float = apr_format::open(&model(name)).unwrap();
        for ((tensor, dtype, of_single), (_, kept, of_kept)) in
            values(&single).into_iter().zip(values(&kept))
        {
            assert!(of_single == of_kept, "{name} {tensor}");
            assert_eq!(dtype, DType::F32, "{name} {tensor}");
            let source = float.tensor(&tensor).unwrap();
            assert_eq!(of_single.len(), source.layout().elem_count());
            let is_kept = of_single == source.view().to_f32();
            let expected = if is_kept { source.layout().dtype() } else { DType::F32 };
            assert_eq!(kept, expected, "{name} {tensor}");
        }
        // The same values under canonical names, where matrices are not transposed.
        let stored = apr_format::open(&packed.file).unwrap();
        let norms = values(&single)
            .into_iter()
            .filter(|(name, ..)| name.contains("ln_") || name.contains("norm"));
        for (tensor, _, found) in norms {
            assert!(found == stored.tensor(&tensor).unwrap().view().to_f32(), "{name} {tensor}");
        }
        stdout(&["verify", text(&single), "--against", packed.path()]);
    }
}

#[test]
fn an_exported_folder_runs_as_the_file_it_came_from() {
    let folder = tempfile::tempdir().unwrap();
    for name in MODELS {
        let packed = folder.path().join(format!("{name}.gguf"));
        stdout(&["import", text(&model(name)), "--quantize", "q6_k", "-o", text(&packed)]);
        let target = folder.path().join(format!("{name}-decoded"));
        assert!(stdout(&["export", text(&packed), "-o", text(&target)]).contains("PROVEN"));
        let golden = Golden::load(name, "completion");
        let run = |path: &Path| json(&["run", text(path), "-p", &golden.prompt, "-n", "32"]);
        let (found, expected) = (run(&target), run(&packed));
        assert_eq!(found["prompt_tokens"], expected["prompt_tokens"], "{name}");
        let decisive =
            |run: &serde_json::Value| run["tokens"].as_array().unwrap()[..golden.decisive].to_vec();
        assert_eq!(decisive(&found), decisive(&expected), "{name}");
        assert_eq!(decisive(&found), golden.tokens[..golden.decisive], "{name}");
    }
}

#[test]
fn a_damaged_export_is_refused_and_a_packed_type_has_no_place_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let (source, out) = (model("tiny-llama"), folder.path().join("out.safetensors"));
    stdout(&["export", text(&source), "-o", text(&out)]);
    let mut bytes = fs::read(&out).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 0x40;
    fs::write(&out, bytes).unwrap();
    let said = failure(&["verify", text(&out), "--against", text(&source)]);
    assert!(said.contains("keeps the source's type, but not its bytes"), "{said}");
    let call = ["export", text(&source), "--quantize", "int8", "-o", text(&out)];
    assert!(failure(&call).contains("SafeTensors has no type Q8_0"));
    let said = failure(&["export", text(&source), "-o", text(&folder.path().join("x.bin"))]);
    assert!(said.contains("x.bin") && said.contains(".gguf"), "{said}");
    let target = folder.path().join("new-folder");
    let call = ["export", text(&source), "--quantize", "int8", "-o", text(&target)];
    assert!(failure(&call).contains("SafeTensors has no type Q8_0"));
    assert!(!target.exists(), "a failed export leaves no folder");
}

#[test]
fn standard_output_gets_the_bytes_of_the_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    for name in MODELS {
        let source = model(name);
        for format in ["safetensors", "gguf", "apr"] {
            let file = folder.path().join(format!("{name}.{format}"));
            stdout(&["export", text(&source), "--format", format, "-o", text(&file)]);
            let expected = fs::read(&file).unwrap();
            for target in ["-", "/dev/stdout"] {
                let call = ["export", text(&source), "--format", format, "-o", target];
                let done = apr(&call).output().unwrap();
                assert!(done.status.success() && done.stderr.is_empty(), "{name} {format}");
                assert!(done.stdout == expected, "{name} {format} {target}");
            }
        }
    }
    let source = model("tiny-llama").join("model.safetensors");
    let done =
        apr(&["export", text(&source), "--format", "safetensors", "-o", "-"]).output().unwrap();
    assert!(done.stdout == fs::read(&source).unwrap());
}

#[test]
fn standard_output_is_not_shared_with_a_report() {
    let (source, folder) = (model("tiny-llama"), tempfile::tempdir().unwrap());
    let call = ["export", text(&source), "--format", "safetensors", "-o", "-"];
    for (options, cause) in [(&["--json"][..], "--json"), (&["--resume"], "--resume")] {
        let done = apr(&[&call[..], options].concat()).current_dir(&folder).output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(!done.status.success() && said.contains(cause), "{said}");
        assert!(
            done.stdout.is_empty()
                || serde_json::from_slice::<serde_json::Value>(&done.stdout).is_ok()
        );
    }
    for call in [
        &["export", text(&source), "-o", "-"][..],
        &["import", text(&source), "-o", "-"],
        &["merge", text(&source), text(&source), "-o", "-"],
        &["prune", text(&source), "-o", "/dev/stdout"],
    ] {
        let done = apr(call).current_dir(&folder).output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(!done.status.success() && said.contains("--format"), "{call:?}: {said}");
        assert!(done.stdout.is_empty());
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_plan_of_int4_tells_sizes_and_the_container_follows_the_extension() {
    let folder = tempfile::tempdir().unwrap();
    for name in MODELS {
        let source = model(name);
        let call = ["quantize", text(&source), "--scheme", "int4"];
        let plan = json(&[&call[..], &["--plan"]].concat());
        let number = |key: &str| plan[key].as_f64().unwrap();
        let ratio = number("input_size") / number("estimated_output_size");
        assert!((number("reduction_ratio") - ratio).abs() < 1e-9, "{name}");
        for (extension, magic) in [("apr", &b"APR\0"[..]), ("gguf", b"GGUF")] {
            let out = folder.path().join(format!("{name}.{extension}"));
            stdout(&[&call[..], &["-o", text(&out)]].concat());
            let bytes = fs::read(&out).unwrap();
            assert!(bytes.starts_with(magic), "{name} {extension}");
            let found = json(&["tensors", text(&out)])["tensors"].as_array().unwrap().len();
            assert_eq!(found, plan["tensors"].as_array().unwrap().len(), "{name} {extension}");
        }
    }
}
