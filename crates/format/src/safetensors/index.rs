//! The index of a sharded checkpoint: which file holds which tensor.

use super::NAME;
use crate::json::{UniqueMap, check_memory};
use crate::size::to_u64;
use crate::{Container, FormatError, Malformed, Metadata};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};
use std::str::Utf8Error;

/// Memory of half an entry: a name or a shard.
const ENTRY_BYTES: usize = 64;

/// A `model.safetensors.index.json`. Every shard in it is a plain file name.
pub struct Index {
    /// Shards by tensor.
    weight_map: BTreeMap<String, String>,
}

impl Index {
    /// Reads the text of an index.
    ///
    /// # Errors
    /// When it is no index, names a tensor twice, or a shard that could lie elsewhere than beside
    /// the index, on any system.
    pub fn from_json(json: &[u8]) -> Result<Self, Malformed> {
        #[derive(Deserialize)]
        struct Text {
            weight_map: UniqueMap<String>,
        }
        // What is skipped is not decoded, and would hide that it is no text.
        let text = |error: Utf8Error| Malformed::Text { at: to_u64(error.valid_up_to()) };
        let json = std::str::from_utf8(json).map_err(text)?;
        check_memory(json.as_bytes(), ENTRY_BYTES)?;
        let as_json = |source| Malformed::Json { what: "index", source };
        let Text { weight_map: UniqueMap(weight_map) } =
            serde_json::from_str(json).map_err(as_json)?;
        if let Some(shard) = weight_map.values().find(|shard| !is_plain(shard)) {
            return Err(Malformed::ShardName { shard: shard.clone() });
        }
        Ok(Self { weight_map })
    }

    /// The names of the files, sorted.
    #[must_use]
    pub fn shards(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }

    /// The checkpoint of all shards, each opened by `open`. `path` names the index in errors.
    ///
    /// # Errors
    /// When a shard cannot be opened, or holds other tensors than the index says.
    pub fn join(
        &self,
        path: &Path,
        mut open: impl FnMut(&str) -> Result<Container, FormatError>,
    ) -> Result<Container, FormatError> {
        let (metadata, tensors, files) = (Metadata::new(), Vec::new(), Vec::new());
        let mut merged = Container { format: NAME, metadata, tensors, files, seal: None };
        for shard in self.shards() {
            let mut opened = open(shard)?;
            for entry in &opened.tensors {
                let cause = match self.weight_map.get(&entry.name) {
                    Some(listed) if listed == shard => continue,
                    Some(_) => "the index puts it elsewhere than",
                    None => "the index does not list it, but it is in",
                };
                let (tensor, shard) = (entry.name.clone(), shard.to_owned());
                let cause = Malformed::Shard { tensor, cause, shard };
                return Err(FormatError::malformed(path)(cause));
            }
            merged.metadata.append(&mut opened.metadata);
            merged.absorb(opened)?;
        }
        for (name, shard) in &self.weight_map {
            if merged.entry(name).is_none() {
                let (tensor, shard) = (name.clone(), shard.clone());
                let cause = "the index lists it, but it is not in";
                let cause = Malformed::Shard { tensor, cause, shard };
                return Err(FormatError::malformed(path)(cause));
            }
        }
        Ok(merged)
    }
}

/// Whether this name cannot lead out of its folder on any system.
fn is_plain(shard: &str) -> bool {
    let mut components = Path::new(shard).components();
    let single = matches!(
        (components.next(), components.next()),
        (Some(Component::Normal(name)), None) if name == shard
    );
    single && !shard.contains(|c: char| matches!(c, '/' | '\\' | ':') || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by fuzzing: skipped parts of the index held bytes that no JSON has.
    #[test]
    fn what_is_no_text_is_refused_where_it_is_skipped() {
        let json = b"{\"metadata\":{\"total\xff\":1},\"weight_map\":{}}";
        assert!(matches!(Index::from_json(json), Err(Malformed::Text { at: 19 })));
    }

    #[test]
    fn shard_names_stay_in_the_folder() {
        let index = |name: &str| {
            let json = serde_json::json!({ "weight_map": { "tensor": name } });
            Index::from_json(json.to_string().as_bytes())
        };
        let name = "model-00001-of-00002.safetensors";
        assert_eq!(index(name).unwrap().shards(), BTreeSet::from([name]));
        for name in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "/etc/passwd",
            "a/",
            "./a",
            "a\\b",
            "c:a",
            "a\0b",
            "a\nb",
        ] {
            assert!(matches!(index(name), Err(Malformed::ShardName { .. })), "{name:?}");
        }
    }
}
