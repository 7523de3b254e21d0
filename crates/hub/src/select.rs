//! Which files of a repository are needed: the weights that will be opened, and what describes
//! them.

use crate::listing::RemoteFile;
use crate::name::is_plain;
use crate::weights::{self, Found};
use crate::{HubError, ModelName};
use std::collections::BTreeSet;

/// What describes a checkpoint: parameters, tokenizers and chat templates.
const COMPANIONS: [&str; 11] = [
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "config.json",
    "generation_config.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
];

/// The files to fetch first. Those that an index names come after them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selection<'a> {
    pub(crate) first: Vec<&'a RemoteFile>,
    pub(crate) is_sharded: bool,
}

/// Chooses the files of a model; of several weight files the one that is `wanted`.
pub(crate) fn select<'a>(
    name: &ModelName,
    files: &'a [RemoteFile],
    wanted: Option<&str>,
) -> Result<Selection<'a>, HubError> {
    let names: BTreeSet<&str> =
        files.iter().map(|file| file.name.as_str()).filter(|name| is_plain(name)).collect();
    let (mut chosen, is_sharded) = match (wanted, weights::find(&names)) {
        (Some(wanted), _) => (by_name(name, &names, wanted)?, false),
        (None, Found::Single(single)) => (vec![single], false),
        (None, Found::Sharded) => (vec![weights::INDEX], true),
        (None, Found::Sets(sets)) => (only(name, sets, &names)?, false),
    };
    if chosen.iter().any(|name| *name == weights::INDEX || name.ends_with(".safetensors")) {
        chosen.extend(COMPANIONS.iter().filter(|companion| names.contains(*companion)));
    }
    let first = files.iter().filter(|file| chosen.contains(&file.name.as_str())).collect();
    Ok(Selection { first, is_sharded })
}

/// The weight files that are called so: by their whole name, else the only ones that contain it.
fn by_name<'a>(
    name: &ModelName,
    names: &BTreeSet<&'a str>,
    wanted: &str,
) -> Result<Vec<&'a str>, HubError> {
    let weights = || names.iter().copied().filter(|name| weights::is_weights(name));
    if let Some(exact) = weights().find(|name| *name == wanted) {
        return Ok(vec![exact]);
    }
    let lower = wanted.to_lowercase();
    let mut sets = weights::sets(weights().filter(|name| name.to_lowercase().contains(&lower)));
    match (sets.pop(), sets.len()) {
        (Some(only), 0) => Ok(only),
        (Some(last), _) => {
            sets.push(last);
            Err(HubError::Choose { name: name.to_string(), files: first_names(&sets) })
        }
        (None, _) => {
            let files = first_names(&weights::sets(weights()));
            Err(HubError::NoSuchFile { wanted: wanted.to_owned(), files })
        }
    }
}

/// The only model there is.
fn only<'a>(
    name: &ModelName,
    mut sets: Vec<Vec<&'a str>>,
    names: &BTreeSet<&str>,
) -> Result<Vec<&'a str>, HubError> {
    match sets.len() {
        0 => {
            let found: Vec<&str> = names.iter().copied().collect();
            let found = if found.is_empty() { "no files".to_owned() } else { found.join(", ") };
            Err(HubError::NoWeights { found })
        }
        1 => Ok(sets.remove(0)),
        _ => Err(HubError::Choose { name: name.to_string(), files: first_names(&sets) }),
    }
}

/// A file of each model.
pub(crate) fn first_names(sets: &[Vec<&str>]) -> String {
    let names: Vec<&str> = sets.iter().filter_map(|set| set.first().copied()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(names: &[&str], wanted: Option<&str>) -> Result<(Vec<String>, bool), HubError> {
        let file = |name: &&str| RemoteFile { name: (*name).to_owned(), size: None, digest: None };
        let files: Vec<RemoteFile> = names.iter().map(file).collect();
        let selection = select(&ModelName::parse("hf://o/n").unwrap(), &files, wanted)?;
        let first = selection.first.iter().map(|file| file.name.clone()).collect();
        Ok((first, selection.is_sharded))
    }

    fn assert_selects(names: &[&str], wanted: Option<&str>, expected: &[&str], sharded: bool) {
        let expected: Vec<String> = expected.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(selected(names, wanted).unwrap(), (expected, sharded), "{names:?} {wanted:?}");
    }

    #[test]
    fn a_checkpoint_comes_with_what_describes_it_and_nothing_else() {
        let names = [
            ".gitattributes",
            "README.md",
            "config.json",
            "model.safetensors",
            "onnx/model.onnx",
            "original/config.json",
            "pytorch_model.bin",
            "tokenizer.json",
        ];
        let expected = ["config.json", "model.safetensors", "tokenizer.json"];
        assert_selects(&names, None, &expected, false);
        let sharded = ["config.json", "model-1.safetensors", weights::INDEX, "x.gguf"];
        assert_selects(&sharded, None, &["config.json", weights::INDEX], true);
    }

    #[test]
    fn one_of_several_models_is_chosen_by_name() {
        let names = ["config.json", "m-Q4_K_M.gguf", "m-Q8_0-00001-of-00002.gguf"];
        let names = [&names[..], &["m-Q8_0-00002-of-00002.gguf"]].concat();
        assert_selects(&names, Some("q8_0"), &names[2..], false);
        assert_selects(&names, Some("m-Q4_K_M.gguf"), &names[1..2], false);
        for (wanted, cause) in [
            (None, "m-Q4_K_M.gguf, m-Q8_0-00001-of-00002.gguf; choose one"),
            (Some("m-"), "choose one with `apr pull hf://o/n --file NAME`"),
            (Some("q5"), "no weight file is called \"q5\""),
        ] {
            let error = selected(&names, wanted).unwrap_err().to_string();
            assert!(error.contains(cause), "{error}");
        }
    }

    #[test]
    fn a_repository_without_weights_is_refused_by_what_it_has() {
        let error = selected(&["config.json", "pytorch_model.bin"], None).unwrap_err();
        assert!(error.to_string().contains("it has config.json, pytorch_model.bin"), "{error}");
        assert!(selected(&[], None).unwrap_err().to_string().contains("it has no files"));
    }

    #[test]
    fn names_that_lead_elsewhere_are_never_selected() {
        let names =
            ["../config.json", "/etc/config.json", "a/model.safetensors", "model.safetensors"];
        assert_selects(&names, None, &["model.safetensors"], false);
    }
}
