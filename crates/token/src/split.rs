//! The ways to split text before byte-level merges, by their names in `tokenizer.ggml.pre`.
//!
//! A `tokenizer.json` is recognised by the pieces that it makes of the probe texts, however its
//! steps are written; a GGUF file becomes a tokenizer with the steps of its name. Which names
//! share a split, and which imply a BOS token, is llama.cpp's list.

use crate::pipeline::Pipeline;
use crate::{TokenError, probe};
use serde_json::{Value, json};
use std::sync::OnceLock;

/// A named way to split text.
pub(crate) struct Split {
    /// The name that is written, and others that mean the same.
    pub(crate) names: &'static [&'static str],
    steps: &'static [Step],
    /// Text is normalised to NFC first, as the models do; llama.cpp leaves that out.
    nfc: bool,
    /// Whole pieces that are tokens are taken without merging.
    pub(crate) ignore_merges: bool,
    /// BOS comes first where a file does not say.
    pub(crate) add_bos: bool,
}

/// A step of splitting.
enum Step {
    /// Digits stand alone.
    Digits,
    /// Matches of this expression are pieces, and so is what lies between.
    Pattern(&'static str),
    /// Bytes become printable characters; before that, text is split as GPT-2 does.
    ByteLevelSplit,
    /// Bytes become printable characters.
    ByteLevel,
}

const GPT_2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const QWEN_2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT_4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEEPSEEK_3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;

const PLAIN: Split =
    Split { names: &[], steps: &[], nfc: false, ignore_merges: false, add_bos: false };

pub(crate) static SPLITS: &[Split] = &[
    Split {
        names: &[
            "gpt-2",
            "phi-2",
            "mellum",
            "gigachat",
            "jais",
            "trillion",
            "granite-docling",
            "exaone4",
            "a.x-4.0",
        ],
        steps: &[Step::ByteLevelSplit],
        ..PLAIN
    },
    Split { names: &["olmo", "mpt"], steps: &[Step::ByteLevelSplit], nfc: true, ..PLAIN },
    Split {
        names: &[
            "smollm",
            "starcoder",
            "refact",
            "command-r",
            "codeshell",
            "exaone",
            "minerva-7b",
            "mellum2",
        ],
        steps: &[Step::Digits, Step::ByteLevelSplit],
        ..PLAIN
    },
    Split {
        names: &["qwen2"],
        steps: &[Step::Pattern(QWEN_2), Step::ByteLevel],
        nfc: true,
        ..PLAIN
    },
    Split {
        names: &[
            "deepseek-r1-qwen",
            "megrez",
            "kormo",
            "f2llmv2",
            "hunyuan",
            "stablelm2",
            "solar-open",
            "grok-2",
        ],
        steps: &[Step::Pattern(QWEN_2), Step::ByteLevel],
        ..PLAIN
    },
    Split {
        names: &[
            "llama-bpe",
            "llama3",
            "llama-v3",
            "falcon3",
            "falcon-h1",
            "pixtral",
            "midm-2.0",
            "lfm2",
        ],
        steps: &[Step::Pattern(LLAMA_3), Step::ByteLevel],
        ignore_merges: true,
        add_bos: true,
        ..PLAIN
    },
    Split {
        names: &["smaug-bpe", "dbrx", "glm4", "chatglm-bpe"],
        steps: &[Step::Pattern(LLAMA_3), Step::ByteLevel],
        ..PLAIN
    },
    Split {
        names: &["tekken"],
        steps: &[Step::Pattern(TEKKEN), Step::ByteLevel],
        ignore_merges: true,
        add_bos: true,
        ..PLAIN
    },
    Split {
        names: &["gpt-4o", "llama4", "kanana2", "minimax-m2"],
        steps: &[Step::Pattern(GPT_4O), Step::ByteLevel],
        ..PLAIN
    },
    Split {
        names: &["deepseek-coder"],
        steps: &[
            Step::Pattern(r"[\r\n]"),
            Step::Pattern(r"\s?\p{L}+"),
            Step::Pattern(r"\s?\p{P}+"),
            Step::Pattern(r"[\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+"),
            Step::Digits,
            Step::ByteLevel,
        ],
        ..PLAIN
    },
    Split {
        names: &["deepseek-v3", "hunyuan-dense", "joyai-llm"],
        steps: &[
            Step::Pattern(r"\p{N}{1,3}"),
            Step::Pattern(r"[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+"),
            Step::Pattern(DEEPSEEK_3),
            Step::ByteLevel,
        ],
        ..PLAIN
    },
    // What llama.cpp does for files that do not name their split.
    Split {
        names: &["default"],
        steps: &[
            Step::Pattern(r"[\p{P}\$\+<=>\^~\|]+"),
            Step::Pattern(GPT_2),
            Step::Pattern(r"\p{N}+"),
            Step::Pattern("[0-9][0-9][0-9]"),
            Step::ByteLevel,
        ],
        ..PLAIN
    },
];

impl Split {
    /// The split of this name.
    ///
    /// # Errors
    /// When there is none; the error lists those that there are.
    pub(crate) fn named(name: &str) -> Result<&'static Self, TokenError> {
        SPLITS
            .iter()
            .find(|split| split.names.contains(&name))
            .ok_or_else(|| TokenError::UnknownPre { name: name.to_owned(), known: known_names() })
    }

    /// The split that makes the pieces that `published` makes. `same_merges` says whether
    /// taking whole pieces without merging (or not) gives the published tokens.
    ///
    /// # Errors
    /// When no split in the table does.
    pub(crate) fn recognise(
        published: &Pipeline,
        same_merges: &dyn Fn(bool) -> bool,
    ) -> Result<&'static Self, TokenError> {
        /// What each split makes of the probe texts: its expressions are built once a process.
        static KNOWN: [OnceLock<Vec<Vec<String>>>; SPLITS.len()] =
            [const { OnceLock::new() }; SPLITS.len()];

        let pieces = probe::pieces(published)?;
        for (split, known) in SPLITS.iter().zip(&KNOWN) {
            let known = match known.get() {
                Some(known) => known,
                None => {
                    let made = probe::pieces(&split.pipeline()?)?;
                    known.get_or_init(|| made)
                }
            };
            if *known == pieces && same_merges(split.ignore_merges) {
                return Ok(split);
            }
        }
        Err(TokenError::UnknownSplit { known: known_names() })
    }

    /// Normalizer and steps.
    ///
    /// # Errors
    /// When an expression is malformed.
    pub(crate) fn pipeline(&self) -> Result<Pipeline, TokenError> {
        let steps: Vec<Value> = self.steps.iter().map(Step::to_json).collect();
        let normalizer = if self.nfc { json!({ "type": "NFC" }) } else { Value::Null };
        Pipeline::from_json(normalizer, json!({ "type": "Sequence", "pretokenizers": steps }))
    }
}

/// Every name that can be read or asked for.
fn known_names() -> String {
    let names: Vec<&str> = SPLITS.iter().flat_map(|split| split.names).copied().collect();
    names.join(", ")
}

impl Step {
    fn to_json(&self) -> Value {
        let byte_level = |split: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": split});
        match self {
            Self::Digits => json!({"type": "Digits", "individual_digits": true}),
            Self::Pattern(pattern) => {
                json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false})
            }
            Self::ByteLevelSplit => byte_level(true),
            Self::ByteLevel => byte_level(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_probe_texts_tell_all_splits_apart() {
        let all: Vec<_> = SPLITS
            .iter()
            .map(|split| (probe::pieces(&split.pipeline().unwrap()).unwrap(), split.ignore_merges))
            .collect();
        for (index, one) in all.iter().enumerate() {
            for (other, two) in all.iter().enumerate().skip(index + 1) {
                assert!(one != two, "{:?} {:?}", SPLITS[index].names, SPLITS[other].names);
            }
        }
    }

    #[test]
    fn every_name_stands_for_one_split() {
        let names: Vec<&str> = SPLITS.iter().flat_map(|split| split.names).copied().collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        let error = Split::named("nonesuch").err().unwrap().to_string();
        assert!(error.contains("\"nonesuch\"") && error.contains("llama-bpe"), "{error}");
    }
}
