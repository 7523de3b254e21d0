//! Checkpoints made from the shipped ones: copied, cut into shards, or with another MLP width.

use crate::harness::model;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;

/// A SafeTensors file, read and written by the format's own rules, independently of the project.
pub(crate) struct SafeTensors {
    pub(crate) tensors: Vec<StoredTensor>,
}

#[derive(Clone)]
pub(crate) struct StoredTensor {
    pub(crate) name: String,
    pub(crate) dtype: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

impl SafeTensors {
    pub(crate) fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let header_len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let (header, data) = bytes[8..].split_at(header_len);
        let header: Map<String, Value> = serde_json::from_slice(header).unwrap();
        let number = |value: &Value| value.as_u64().unwrap() as usize;
        let tensors = header
            .iter()
            .filter(|(name, _)| *name != "__metadata__")
            .map(|(name, entry)| StoredTensor {
                name: name.clone(),
                dtype: entry["dtype"].as_str().unwrap().to_owned(),
                shape: entry["shape"].as_array().unwrap().iter().map(number).collect(),
                bytes: data[number(&entry["data_offsets"][0])..number(&entry["data_offsets"][1])]
                    .to_vec(),
            })
            .collect();
        Self { tensors }
    }

    pub(crate) fn write(&self, path: &Path) {
        let mut header = Map::new();
        let mut data = Vec::new();
        header.insert("__metadata__".to_owned(), json!({"format": "pt"}));
        for StoredTensor { name, dtype, shape, bytes } in &self.tensors {
            let offsets = [data.len(), data.len() + bytes.len()];
            header.insert(
                name.clone(),
                json!({"dtype": dtype, "shape": shape, "data_offsets": offsets}),
            );
            data.extend_from_slice(bytes);
        }
        let header = serde_json::to_vec(&header).unwrap();
        let len = (header.len() as u64).to_le_bytes();
        fs::write(path, [&len[..], &header, &data].concat()).unwrap();
    }
}

/// Copies the files of a shipped model, without its goldens.
pub(crate) fn copy_model(name: &str, folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for entry in fs::read_dir(model(name)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
    }
}

/// A shipped model with its weights in `count` shards and an index.
pub(crate) fn split_into_shards(name: &str, folder: &Path, count: usize) {
    copy_model(name, folder);
    let single = folder.join("model.safetensors");
    let whole = SafeTensors::read(&single);
    fs::remove_file(single).unwrap();
    let mut weight_map = Map::new();
    let per_shard = whole.tensors.len().div_ceil(count);
    for (at, tensors) in whole.tensors.chunks(per_shard).enumerate() {
        let shard = format!("model-{:05}-of-{count:05}.safetensors", at + 1);
        for tensor in tensors {
            weight_map.insert(tensor.name.clone(), json!(shard));
        }
        SafeTensors { tensors: tensors.to_vec() }.write(&folder.join(shard));
    }
    let index = json!({"metadata": {"total_size": 0}, "weight_map": weight_map});
    fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

/// A shipped bf16 model whose MLP keeps only its first `width` rows and columns.
pub(crate) fn narrow_mlp(name: &str, folder: &Path, width: usize) {
    copy_model(name, folder);
    let path = folder.join("model.safetensors");
    let mut weights = SafeTensors::read(&path);
    for tensor in weights.tensors.iter_mut().filter(|tensor| tensor.name.contains(".mlp.")) {
        let (rows, cols) = (tensor.shape[0], tensor.shape[1]);
        let (kept_rows, kept_cols) =
            if tensor.name.contains("down_proj") { (rows, width) } else { (width, cols) };
        tensor.shape = vec![kept_rows, kept_cols];
        tensor.bytes = tensor.bytes[..2 * kept_rows * cols]
            .chunks(2 * cols)
            .flat_map(|row| row[..2 * kept_cols].to_vec())
            .collect();
    }
    weights.write(&path);
    let config_path = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&config_path).unwrap()).unwrap();
    config["intermediate_size"] = json!(width);
    fs::write(config_path, config.to_string()).unwrap();
}

/// A row-major matrix with rows and columns exchanged.
pub(crate) fn transpose(values: &[f32], shape: &[usize]) -> Vec<f32> {
    let (rows, cols) = (shape[0], shape[1]);
    (0..cols).flat_map(|col| (0..rows).map(move |row| values[row * cols + col])).collect()
}
