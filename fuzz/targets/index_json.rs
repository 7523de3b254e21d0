//! The index of a sharded checkpoint: names that stay in the folder, and shards that hold what it
//! says, no more and no less.
#![no_main]

use apr_format::{Container, FormatError, Metadata, safetensors::Index};
use apr_fuzz::bounded;
use apr_tensor::{DType, Tensor, TensorLayout};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::Path;

#[derive(Deserialize)]
struct Whole {
    weight_map: Map<String, Value>,
}

fuzz_target!(|bytes: &[u8]| bounded(bytes.len(), || check(bytes)));

fn check(bytes: &[u8]) {
    let Ok(index) = Index::from_json(bytes) else { return };
    for shard in index.shards() {
        let folder = Path::new("/folder");
        assert_eq!(folder.join(shard).parent(), Some(folder), "{shard:?}");
        assert!(!shard.contains(['/', '\\', ':', '\0']) && shard != ".." && shard != ".");
    }
    // The rest of it is skipped, whatever it says.
    let Ok(Whole { weight_map: map }) = serde_json::from_slice(bytes) else {
        unreachable!("an index")
    };
    let path = Path::new("index");
    // The shards that it describes.
    let joined = index.join(path, |name| shard(&map, name, None));
    assert_eq!(joined.map(|all| all.tensors().len()).ok(), Some(map.len()));
    // And one of them without its first tensor.
    if let Some((left_out, _)) = map.iter().next() {
        assert!(index.join(path, |name| shard(&map, name, Some(left_out))).is_err());
    }
}

/// The tensors that the index puts into this shard.
fn shard(
    map: &Map<String, Value>,
    shard: &str,
    left_out: Option<&str>,
) -> Result<Container, FormatError> {
    let listed = map.iter().filter(|(_, value)| *value == shard);
    let kept = listed.filter(|(name, _)| Some(name.as_str()) != left_out);
    let tensors = kept.map(|(name, _)| (name.clone(), byte())).collect();
    Container::in_memory(Path::new(shard), "safetensors", Metadata::new(), tensors)
}

fn byte() -> Tensor {
    let layout = TensorLayout::new(DType::U8, &[1]).expect("one byte");
    Tensor::owned(layout, vec![0]).expect("one byte")
}
