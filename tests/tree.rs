//! `apr tree`: every tensor a leaf, and sums that are those of the header.

use crate::checkpoints::{SafeTensors, StoredTensor};
use crate::harness::{Imported, MODELS, json, model, stdout, text};
use serde_json::{Value, json};
use std::fs;

/// The leaves below a node, after a check of its sums.
fn leaves(node: &Value, found: &mut Vec<Value>) {
    if node["type"] == "tensor" {
        found.push(node.clone());
        return;
    }
    let before = found.len();
    for child in node["children"].as_array().unwrap() {
        leaves(child, found);
    }
    let sum =
        |key: &str| found[before..].iter().map(|leaf| leaf[key].as_u64().unwrap()).sum::<u64>();
    if node["type"] == "module" {
        assert_eq!(node["tensor_count"], json!(found.len() - before), "{}", node["path"]);
        assert_eq!(node["params"], json!(sum("params")), "{}", node["path"]);
        assert_eq!(node["size_bytes"], json!(sum("size_bytes")), "{}", node["path"]);
    }
}

fn all_leaves(tree: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    leaves(tree, &mut found);
    found
}

#[test]
fn every_tensor_is_a_leaf_by_its_full_name() {
    for name in MODELS {
        let tree = json(&["tree", text(&model(name))]);
        let mut expected: Vec<Value> = SafeTensors::read(&model(name).join("model.safetensors"))
            .tensors
            .iter()
            .map(|tensor| {
                json!({
                    "type": "tensor", "name": tensor.name.rsplit('.').next(), "path": tensor.name,
                    "shape": tensor.shape, "dtype": tensor.dtype,
                    "params": tensor.shape.iter().product::<usize>(), "tensor_count": 1,
                    "size_bytes": tensor.bytes.len(),
                })
            })
            .collect();
        let mut found = all_leaves(&tree);
        let by_path = |leaf: &Value| leaf["path"].as_str().unwrap().to_owned();
        found.sort_by_key(by_path);
        expected.sort_by_key(by_path);
        assert_eq!(found, expected, "{name}");
        let inspected = json(&["inspect", text(&model(name))]);
        assert_eq!(tree["type"], "model", "{name}");
        for key in ["num_layers", "tensor_count", "total_params", "architecture", "format"] {
            assert_eq!(tree[key], inspected[key], "{key} of {name}");
        }
        assert_eq!(tree["total_tensors"], json!(expected.len()), "{name}");
    }
}

#[test]
fn apr_and_gguf_files_are_trees_too() {
    let folder = tempfile::tempdir().unwrap();
    let gguf = folder.path().join("model.gguf");
    for name in MODELS {
        let stored = Imported::new(name, Some("int4"));
        stdout(&["export", stored.path(), "-o", text(&gguf)]);
        for path in [stored.path(), text(&gguf)] {
            let (tree, list) = (json(&["tree", path]), json(&["tensors", path]));
            let mut found: Vec<String> = all_leaves(&tree)
                .iter()
                .map(|leaf| leaf["path"].as_str().unwrap().into())
                .collect();
            found.sort();
            let listed = list["tensors"].as_array().unwrap();
            let listed: Vec<&str> =
                listed.iter().map(|tensor| tensor["name"].as_str().unwrap()).collect();
            assert_eq!(found, listed, "{path} of {name}");
            assert_eq!(tree["num_layers"], json!(4), "{path} of {name}");
        }
    }
}

#[test]
fn layers_that_are_alike_are_shown_once_and_in_their_order() {
    let shown = stdout(&["tree", text(&model("tiny-llama"))]);
    assert!(shown.contains("each of 0 … 3"), "{shown}");
    assert_eq!(shown.matches("q_proj.weight").count(), 1, "{shown}");
    assert!(shown.contains("1,967,808 parameters"), "{shown}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("eleven.safetensors");
    let tensors = (0..11).map(|at| {
        let (name, dtype) = (format!("layers.{at}.weight"), "U8".to_owned());
        StoredTensor { name, dtype, shape: vec![1 + at / 10], bytes: vec![0; 1 + at / 10] }
    });
    SafeTensors { tensors: tensors.collect() }.write(&file);
    let shown = stdout(&["tree", text(&file)]);
    assert!(shown.contains("each of 0 … 9"), "10 comes after 9, and differs: {shown}");
    assert_eq!(json(&["tree", text(&file)])["num_layers"], json!(11));
    assert_eq!(json(&["tree", text(&file)])["architecture"], Value::Null);
}

#[test]
fn a_name_may_be_a_part_of_another_or_have_thousands_of_parts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("names");
    let deep = vec!["part"; 20_000].join(".");
    let names = ["a", "a.b", "", ".", "a..b", &deep];
    let tensors = names.map(|name| {
        let (name, dtype) = (name.to_owned(), "F32".to_owned());
        StoredTensor { name, dtype, shape: Vec::new(), bytes: vec![0; 4] }
    });
    SafeTensors { tensors: tensors.to_vec() }.write(&file);
    let tree = json(&["tree", text(&file)]);
    let mut found: Vec<String> =
        all_leaves(&tree).iter().map(|leaf| leaf["path"].as_str().unwrap().into()).collect();
    found.sort();
    let mut expected = names.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(tree["total_params"], json!(0), "tensors without dimensions are no parameters");
    assert!(stdout(&["tree", text(&file)]).contains("6 tensors"));
    assert!(fs::metadata(&file).unwrap().len() > 100_000);
}
