//! Which weight files make a model, by their names alone.

use crate::name::is_plain;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// File of an unsharded checkpoint.
const SINGLE: &str = "model.safetensors";
/// Index of a sharded checkpoint.
pub(crate) const INDEX: &str = "model.safetensors.index.json";
/// Of what is in a repository, the first that it has is taken.
const EXTENSIONS: [&str; 3] = ["safetensors", "gguf", "apr"];
/// `-00001-of-00003.gguf`: a part of a model, by llama.cpp's gguf-split.
const PART: usize = "-00001-of-00003.gguf".len();

/// The model that a folder or a repository holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// A checkpoint in one file.
    Single(&'a str),
    /// A checkpoint whose index names its files.
    Sharded,
    /// Model files that stand alone, each with its parts. Empty if there are none.
    Sets(Vec<Vec<&'a str>>),
}

/// What these files are.
pub(crate) fn find<'a>(names: &BTreeSet<&'a str>) -> Found<'a> {
    if let Some(single) = names.get(SINGLE) {
        return Found::Single(single);
    }
    if names.contains(INDEX) {
        return Found::Sharded;
    }
    let of = |extension: &&str| sets(names.iter().copied().filter(|name| has(name, extension)));
    Found::Sets(EXTENSIONS.iter().map(of).find(|sets| !sets.is_empty()).unwrap_or_default())
}

/// Whether it is a file of weights.
pub(crate) fn is_weights(name: &str) -> bool {
    EXTENSIONS.iter().any(|extension| has(name, extension))
}

fn has(name: &str, extension: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(stem, found)| !stem.is_empty() && found == extension)
}

/// The files by the model that they belong to.
pub(crate) fn sets<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Vec<&'a str>> {
    let mut sets: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in names {
        sets.entry(part(name).map_or(name, |(model, _)| model)).or_default().push(name);
    }
    sets.into_values().collect()
}

/// Whether no part of the model is missing.
pub(crate) fn is_complete(set: &[&str]) -> bool {
    set.first().is_some_and(|first| part(first).is_none_or(|(_, count)| count == set.len()))
}

/// The model that a file is a part of, and the number of its parts.
fn part(name: &str) -> Option<(&str, usize)> {
    let (model, part) = name.split_at_checked(name.len().checked_sub(PART)?)?;
    let number = |range: std::ops::Range<usize>| {
        part.get(range).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
    };
    let is_part = part.starts_with('-') && part.get(6..10) == Some("-of-") && has(part, "gguf");
    number(1..6).filter(|_| is_part)?;
    Some((model, number(10..15)?.parse().ok()?))
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The files that an index names.
///
/// # Errors
/// Says what is wrong with the index.
pub(crate) fn shards(index: &str) -> Result<BTreeSet<String>, String> {
    let index: Index = serde_json::from_str(index).map_err(|error| error.to_string())?;
    let shards: BTreeSet<String> = index.weight_map.into_values().collect();
    match shards.iter().find(|shard| !is_plain(shard)) {
        Some(shard) => Err(format!("shard name {shard:?} is no plain file name")),
        None => Ok(shards),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'a>(names: &[&'a str]) -> Found<'a> {
        find(&names.iter().copied().collect())
    }

    #[test]
    fn a_checkpoint_is_preferred_to_other_files() {
        let (index, shard) = (INDEX, "model-00001-of-00002.safetensors");
        assert_eq!(found(&["a.gguf", SINGLE, index]), Found::Single(SINGLE));
        assert_eq!(found(&["a.gguf", index, shard]), Found::Sharded);
        assert_eq!(found(&["a.gguf", "x.safetensors"]), Found::Sets(vec![vec!["x.safetensors"]]));
        assert_eq!(found(&["b.gguf", "a.gguf"]), Found::Sets(vec![vec!["a.gguf"], vec!["b.gguf"]]));
        assert_eq!(found(&["config.json", ".gguf", "gguf"]), Found::Sets(vec![]));
    }

    #[test]
    fn parts_of_a_model_belong_together() {
        let parts = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"];
        assert_eq!(found(&parts), Found::Sets(vec![parts.to_vec()]));
        assert!(is_complete(&parts) && !is_complete(&parts[1..]) && is_complete(&["m.gguf"]));
        for name in ["é-00001-of-00002.gguf", "-0000x-of-00002.gguf", "m-00001-of-+0002.gguf", "é"]
        {
            assert_eq!(part(name).is_some(), name.starts_with('é') && name.len() > 2, "{name}");
        }
    }

    #[test]
    fn an_index_names_plain_files_only() {
        let index = r#"{"weight_map": {"a": "x", "b": "y", "c": "x"}}"#;
        assert_eq!(shards(index).unwrap().into_iter().collect::<Vec<_>>(), ["x", "y"]);
        assert!(shards(r#"{"weight_map": {"a": "../x"}}"#).unwrap_err().contains("\"../x\""));
        assert!(shards("{}").unwrap_err().contains("weight_map"));
    }
}
