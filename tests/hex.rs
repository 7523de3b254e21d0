//! `apr hex`: bytes and figures against an independent reading of the file.

use crate::checkpoints::{SafeTensors, StoredTensor, split_into_shards};
use crate::gguf_file::GgufFile;
use crate::harness::{Forged, Imported, MODELS, failure, json, model, stdout, text};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Half precision by its definition.
fn half(bits: u16) -> f64 {
    let (sign, exponent, fraction) = (bits >> 15, bits >> 10 & 31, f64::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 => f64::INFINITY,
        exponent => (1.0 + fraction / 1024.0) * 2_f64.powi(i32::from(exponent) - 15),
    };
    if sign == 0 { size } else { -size }
}

/// The values of a tensor, decoded here.
fn decode(dtype: &str, bytes: &[u8]) -> Vec<f64> {
    let pairs = || bytes.chunks(2).map(|pair| u16::from_le_bytes(pair.try_into().unwrap()));
    match dtype {
        "F32" => bytes
            .chunks(4)
            .map(|word| f64::from(f32::from_le_bytes(word.try_into().unwrap())))
            .collect(),
        "F16" => pairs().map(half).collect(),
        "BF16" => pairs().map(|bits| f64::from(f32::from_bits(u32::from(bits) << 16))).collect(),
        "Q8_0" => bytes
            .chunks(34)
            .flat_map(|block| {
                let scale = half(u16::from_le_bytes(block[..2].try_into().unwrap()));
                block[2..].iter().map(move |byte| scale * f64::from(byte.cast_signed()))
            })
            .collect(),
        other => panic!("{other} is not decoded here"),
    }
}

/// Mean, and the root of the second moment, and the standardised third and fourth.
fn moments(values: &[f64]) -> [f64; 4] {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let moment = |power| values.iter().map(|value| (value - mean).powi(power)).sum::<f64>() / n;
    let std = moment(2).sqrt();
    [mean, std, moment(3) / std.powi(3), moment(4) / std.powi(4)]
}

/// A bound on the difference of figures that differ by rounding alone.
fn assert_close(found: &Value, expected: f64, what: &str) {
    let found = found.as_f64().unwrap_or_else(|| panic!("{what}: {found}"));
    let bound = 1e-9 * expected.abs().max(1e-3);
    assert!((found - expected).abs() <= bound, "{what}: {found}, expected {expected}");
}

/// The same for a list of values.
fn assert_values(found: &Value, expected: &[f64], what: &str) {
    let found = found.as_array().unwrap();
    assert_eq!(found.len(), expected.len(), "number of {what}");
    for (found, expected) in found.iter().zip(expected) {
        assert_close(found, *expected, what);
    }
}

fn assert_statistics(path: &str, name: &str, values: &[f64]) {
    let found = json(&["hex", path, "--tensor", name, "--stats"]);
    let [mean, std, skewness, kurtosis] = moments(values);
    let what = format!("{name} of {path}");
    assert_eq!(found["tensor"], json!(name), "{what}");
    assert_eq!(found["count"], json!(values.len()), "{what}");
    assert_close(&found["min"], values.iter().copied().reduce(f64::min).unwrap(), &what);
    assert_close(&found["max"], values.iter().copied().reduce(f64::max).unwrap(), &what);
    let zeros = values.iter().filter(|value| **value == 0.0).count();
    assert_eq!(found["zeros"], json!(zeros), "{what}");
    assert_close(&found["mean"], mean, &what);
    assert_close(&found["std"], std, &what);
    assert_close(&found["skewness"], skewness, &what);
    assert_close(&found["kurtosis"], kurtosis - 3.0, &what);
}

/// Some tensors of each kind: a matrix of several runs, a small one, a vector.
fn some(tensors: &[StoredTensor]) -> impl Iterator<Item = &StoredTensor> {
    let kinds = ["embed_tokens", "wte", "layers.1.mlp.down", "h.2.attn.c_attn.", "norm.weight"];
    tensors.iter().filter(move |tensor| kinds.iter().any(|kind| tensor.name.contains(kind)))
}

#[test]
fn statistics_are_those_of_the_values() {
    for name in MODELS {
        let weights = SafeTensors::read(&model(name).join("model.safetensors"));
        let tensors: Vec<&StoredTensor> = some(&weights.tensors).collect();
        assert!(tensors.len() > 2, "{name}");
        for tensor in tensors {
            let values = decode(&tensor.dtype, &tensor.bytes);
            assert_statistics(text(&model(name)), &tensor.name, &values);
        }
    }
}

#[test]
fn statistics_of_packed_tensors_are_those_of_the_decoded_values() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.gguf");
    let stored = Imported::new("tiny-qwen2", Some("int8"));
    stdout(&["export", stored.path(), "-o", text(&file)]);
    let gguf = GgufFile::read(&fs::read(&file).unwrap());
    let tensor = gguf.tensors.iter().find(|tensor| tensor.name == "token_embd.weight").unwrap();
    assert_eq!(tensor.dtype, 8, "Q8_0");
    let values = decode("Q8_0", &tensor.data);
    assert_statistics(text(&file), "token_embd.weight", &values);
    let forged = Forged::read(&stored.file);
    let name = "model.layers.3.mlp.down_proj.weight";
    let values = decode("Q8_0", &forged.bytes[forged.tensor(name)]);
    assert_statistics(stored.path(), name, &values);
}

/// What follows `key` in a text, up to the next blank.
fn figure(shown: &str, key: &str) -> f64 {
    let (_, rest) = shown.split_once(key).unwrap_or_else(|| panic!("no {key:?} in {shown}"));
    let word = rest.split_whitespace().next().unwrap();
    word.parse().unwrap_or_else(|_| panic!("{key} {word:?} in {shown}"))
}

#[test]
fn the_text_has_the_figures_in_a_fixed_form() {
    let name = "model.embed_tokens.weight";
    let folder = model("tiny-llama");
    let call = ["hex", text(&folder), "--tensor", name];
    let document = json(&[&call[..], &["--distribution"]].concat());
    let shown = stdout(&[&call[..], &["--stats"]].concat());
    let line = shown.lines().find(|line| line.starts_with("min=")).unwrap();
    let order = ["min=", " max=", " mean=", " std="].map(|key| line.find(key).unwrap());
    assert!(order.is_sorted(), "{line}");
    let distribution = stdout(&[&call[..], &["--distribution"]].concat());
    for (key, lines) in [
        ("min", ["min=", "Min: "]),
        ("max", ["max=", "Max: "]),
        ("mean", ["mean=", "Mean: "]),
        ("std", ["std=", "Std: "]),
    ] {
        let expected = document[key].as_f64().unwrap();
        for (text, line) in [(&shown, lines[0]), (&distribution, lines[1])] {
            let found = figure(text, line);
            assert!((found - expected).abs() <= 1e-6 * expected.abs(), "{line} {found} {expected}");
        }
    }
    for (key, line) in
        [("entropy", "Entropy: "), ("kurtosis", "Kurtosis: "), ("skewness", "Skewness: ")]
    {
        let (found, expected) = (figure(&distribution, line), document[key].as_f64().unwrap());
        assert!((found - expected).abs() <= 1e-6 * expected.abs(), "{line} {found} {expected}");
        assert!(distribution.lines().any(|shown| shown.starts_with(line)), "{distribution}");
    }
}

#[test]
fn the_distribution_counts_every_value_once() {
    for name in MODELS {
        let weights = SafeTensors::read(&model(name).join("model.safetensors"));
        for tensor in some(&weights.tensors) {
            let values = decode(&tensor.dtype, &tensor.bytes);
            let folder = model(name);
            let call = ["hex", text(&folder), "--tensor", &tensor.name, "--distribution"];
            let found = json(&call);
            let (min, max) = (found["min"].as_f64().unwrap(), found["max"].as_f64().unwrap());
            let mut bins = [0_u32; 256];
            for value in &values {
                let bin = ((value - min) / (max - min) * 256.0).floor() as usize;
                bins[bin.min(255)] += 1;
            }
            assert_eq!(found["bins"], json!(bins.to_vec()), "{}", tensor.name);
            let shares = bins.iter().filter(|bin| **bin > 0);
            let shares = shares.map(|bin| f64::from(*bin) / values.len() as f64);
            let entropy: f64 = shares.map(|share| -share * share.log2()).sum();
            assert_close(&found["entropy"], entropy, &tensor.name);
        }
    }
}

#[test]
fn a_slice_has_the_values_at_these_indices() {
    let folder = model("tiny-gpt2");
    let weights = SafeTensors::read(&folder.join("model.safetensors"));
    let find = |name: &str| weights.tensors.iter().find(|tensor| tensor.name == name).unwrap();
    let slice =
        |name: &str, slice: &str| json(&["hex", text(&folder), "--tensor", name, "--slice", slice]);
    let vector = decode("F32", &find("h.0.ln_1.weight").bytes);
    assert_values(&slice("h.0.ln_1.weight", "0:3")["values"], &vector[..3], "vector");
    let matrix = find("h.1.mlp.c_fc.weight");
    let (values, cols) = (decode("F32", &matrix.bytes), matrix.shape[1]);
    let first = slice(&matrix.name, "0:3");
    assert_values(&first["values"], &values[..3 * cols], "the first rows");
    assert_eq!(first["slice_shape"], json!([3, cols]));
    let inner = slice(&matrix.name, "5:7,100:103");
    let expected =
        [&values[5 * cols + 100..5 * cols + 103], &values[6 * cols + 100..6 * cols + 103]];
    assert_values(&inner["values"], &expected.concat(), "rows and columns");
    let mask = slice("h.0.attn.bias", "0,0,2,:4");
    assert_eq!(mask["values"], json!([1.0, 1.0, 1.0, 0.0]));
    let stored = Imported::new("tiny-gpt2", Some("int8"));
    let forged = Forged::read(&stored.file);
    let values = decode("Q8_0", &forged.bytes[forged.tensor("wte.weight")]);
    let call = ["hex", stored.path(), "--tensor", "wte.weight", "--slice", "7,30:35"];
    let expected = &values[7 * 192 + 30..7 * 192 + 35];
    assert_values(&json(&call)["values"], expected, "across blocks");
    for (slice, cause) in [("0:9999", "0:9999"), ("0,0,0", "3 ranges"), ("3:2", "3:2")] {
        let said = failure(&["hex", text(&folder), "--tensor", "wte.weight", "--slice", slice]);
        assert!(said.contains(cause) && said.contains("wte.weight"), "{slice}: {said}");
    }
}

/// The number that a SafeTensors file begins with.
fn header_length(path: &Path) -> u64 {
    u64::from_le_bytes(fs::read(path).unwrap()[..8].try_into().unwrap())
}

#[test]
fn the_header_is_as_long_as_the_file_says() {
    for name in MODELS {
        let file = model(name).join("model.safetensors");
        let length = header_length(&file);
        let shown = stdout(&["hex", text(&file), "--header"]);
        assert!(
            shown.lines().any(|line| line == format!("header_length: {length} bytes")),
            "{shown}"
        );
        let document = json(&["hex", text(&file), "--header"]);
        assert_eq!(document["header_length"], json!(length), "{name}");
        assert_eq!(document["files"][0]["data_offset"], json!(length + 8), "{name}");
        assert_eq!(document["metadata_keys"], json!(["format"]), "{name}");
        let first: String =
            fs::read(&file).unwrap()[..64].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(document["files"][0]["bytes"], json!(first), "{name}");
        let stored = Imported::new(name, Some("int4"));
        let data = Forged::read(&stored.file).data();
        assert_eq!(json(&["hex", stored.path()])["header_length"], json!(data), "{name}");
    }
    let folder = tempfile::tempdir().unwrap();
    split_into_shards("tiny-llama", folder.path(), 2);
    let document = json(&["hex", text(folder.path())]);
    for (at, file) in document["files"].as_array().unwrap().iter().enumerate() {
        let path = folder.path().join(format!("model-{:05}-of-00002.safetensors", at + 1));
        assert_eq!(file["path"], json!(path), "{file}");
        assert_eq!(file["header_length"], json!(header_length(&path)), "{file}");
    }
    assert!(stdout(&["hex", text(folder.path())]).contains("model-00002-of-00002"));
}

#[test]
fn a_dump_shows_the_bytes_where_they_lie() {
    let stored = Imported::new("tiny-gpt2", Some("int8"));
    for path in [&model("tiny-gpt2").join("model.safetensors"), &stored.file] {
        let bytes = fs::read(path).unwrap();
        let call = ["hex", text(path), "--tensor", "wte.weight", "--limit", "40"];
        let document = json(&call);
        let offset = document["offset"].as_u64().unwrap() as usize;
        let expected: String =
            bytes[offset..offset + 40].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(document["bytes"], json!(expected));
        let first = decode(document["dtype"].as_str().unwrap(), &bytes[offset..offset + 40])[0];
        assert_close(&document["values"][0], first, "the first value");
        let row = format!("{offset:08x}  {:02x} {:02x}", bytes[offset], bytes[offset + 1]);
        assert!(stdout(&call).contains(&row), "{row}");
    }
}

#[test]
fn a_name_is_exact_or_a_part_of_one() {
    let folder = model("tiny-llama");
    let find = |name: &str| json(&["hex", text(&folder), "--tensor", name])["tensor"].clone();
    assert_eq!(find("model.norm"), "model.norm.weight");
    assert_eq!(find("embed"), "model.embed_tokens.weight");
    let target = tempfile::tempdir().unwrap();
    let file = target.path().join("names");
    let tensors = ["norm", "norm.weight", "final.norm"].map(|name| StoredTensor {
        name: name.to_owned(),
        dtype: "U8".to_owned(),
        shape: vec![1],
        bytes: vec![7],
    });
    SafeTensors { tensors: tensors.to_vec() }.write(&file);
    assert_eq!(json(&["hex", text(&file), "--tensor", "norm"])["tensor"], "norm", "exact");
    let several = failure(&["hex", text(&file), "--tensor", "nor"]);
    assert!(several.contains("3 tensors") && several.contains("final.norm"), "{several}");
    let none = failure(&["hex", text(&file), "--tensor", "bias", "--stats"]);
    assert!(none.contains("\"bias\"") && none.contains(text(&file)), "{none}");
}

#[test]
fn values_that_are_not_finite_are_counted_apart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values");
    let values = [1.0, f32::NAN, f32::INFINITY, 0.0, -2.0];
    let bytes = values.iter().flat_map(|value: &f32| value.to_le_bytes()).collect();
    let (name, dtype) = ("t".to_owned(), "F32".to_owned());
    let scalar = StoredTensor {
        name: "scalar".to_owned(),
        dtype: "F32".to_owned(),
        shape: Vec::new(),
        bytes: 2.5_f32.to_le_bytes().to_vec(),
    };
    let empty = StoredTensor {
        name: "empty".to_owned(),
        shape: vec![0, 4],
        bytes: Vec::new(),
        ..scalar.clone()
    };
    let tensor = StoredTensor { name, dtype, shape: vec![5], bytes };
    SafeTensors { tensors: vec![tensor, scalar, empty] }.write(&file);
    let found = json(&["hex", text(&file), "--tensor", "t", "--stats"]);
    assert_eq!((&found["nan"], &found["inf"], &found["zeros"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!((&found["min"], &found["max"]), (&json!(-2.0), &json!(1.0)));
    let sliced = json(&["hex", text(&file), "--tensor", "t", "--slice", ":"]);
    assert_eq!(sliced["values"], json!([1.0, null, null, 0.0, -2.0]));
    assert!(stdout(&["hex", text(&file), "--tensor", "t", "--stats"]).contains("1 NaN"));
    let scalar = json(&["hex", text(&file), "--tensor", "scalar", "--distribution"]);
    assert_eq!((&scalar["min"], &scalar["std"]), (&json!(2.5), &json!(0.0)), "{scalar}");
    assert_eq!((&scalar["kurtosis"], &scalar["entropy"]), (&Value::Null, &json!(0.0)), "{scalar}");
    let empty = json(&["hex", text(&file), "--tensor", "empty", "--distribution"]);
    assert_eq!((&empty["count"], &empty["min"]), (&json!(0), &Value::Null), "{empty}");
    let sliced = json(&["hex", text(&file), "--tensor", "empty", "--slice", "0:0"]);
    assert_eq!((&sliced["values"], &sliced["slice_shape"]), (&json!([]), &json!([0, 4])));
}

#[test]
fn numbers_past_single_precision_are_shown_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("numbers");
    let past = (1_i64 << 53) + 1;
    let integers = [past, past + 2, -past, i64::MAX, i64::MIN, 0];
    let unsigned = [u64::MAX, u64::MAX - 1, 16_777_217];
    let doubles = [0.1, 1.0 + f64::EPSILON, -1e300, f64::NAN];
    let tensor = |name: &str, dtype: &str, shape: Vec<usize>, bytes: Vec<u8>| StoredTensor {
        name: name.to_owned(),
        dtype: dtype.to_owned(),
        shape,
        bytes,
    };
    let tensors = vec![
        tensor(
            "integers",
            "I64",
            vec![2, 3],
            integers.iter().flat_map(|x| x.to_le_bytes()).collect(),
        ),
        tensor("unsigned", "U64", vec![3], unsigned.iter().flat_map(|x| x.to_le_bytes()).collect()),
        tensor("doubles", "F64", vec![4], doubles.iter().flat_map(|x| x.to_le_bytes()).collect()),
        tensor("near", "I64", vec![4], (0..4).flat_map(|x| (past + x).to_le_bytes()).collect()),
    ];
    SafeTensors { tensors }.write(&file);
    let of = |name: &str, words: &[&str]| {
        json(&[&["hex", text(&file), "--tensor", name], words].concat())
    };
    let slice = |name: &str, slice: &str| of(name, &["--slice", slice])["values"].clone();
    assert_eq!(slice("integers", "0:2"), json!(integers));
    assert_eq!(slice("integers", "1,1:3"), json!([i64::MIN, 0]));
    assert_eq!(slice("unsigned", ":"), json!(unsigned));
    assert_eq!(slice("doubles", ":"), json!([0.1, 1.0 + f64::EPSILON, -1e300, null]));
    assert_eq!(of("integers", &[])["values"], json!(integers), "a dump");
    let shown = stdout(&["hex", text(&file), "--tensor", "integers", "--slice", ":"]);
    assert!(
        shown.contains("9007199254740993") && shown.contains("-9223372036854775808"),
        "{shown}"
    );
    let statistics = of("integers", &["--stats"]);
    assert_eq!((&statistics["min"], &statistics["max"]), (&json!(i64::MIN), &json!(i64::MAX)));
    assert_eq!((&statistics["zeros"], &statistics["count"]), (&json!(1), &json!(6)));
    let statistics = of("unsigned", &["--stats"]);
    assert_eq!((&statistics["min"], &statistics["max"]), (&json!(16_777_217), &json!(u64::MAX)));
    let statistics = of("doubles", &["--stats"]);
    assert_eq!((&statistics["min"], &statistics["nan"]), (&json!(-1e300), &json!(1)));
    assert_eq!(statistics["max"], json!(1.0 + f64::EPSILON));
    // 0, 1, 2, 3 past a number that hides the differences from double precision.
    let near = of("near", &["--distribution"]);
    assert_close(&near["std"], 1.25_f64.sqrt(), "std");
    assert_close(&near["skewness"], 0.0, "skewness");
    assert_close(&near["kurtosis"], 41.0 / 25.0 - 3.0, "kurtosis");
    assert_eq!(near["entropy"], json!(2.0), "four values in bars of their own");
    assert_eq!((&near["min"], &near["max"]), (&json!(past), &json!(past + 3)));
}
