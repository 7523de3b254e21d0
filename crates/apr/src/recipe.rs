//! Recipes: which role is stored in which type.
//!
//! Each is an explicit table of rules, of which the first that fits counts. The mixes from `q2_k` to
//! `iq4_xs` spend their extra bits where llama.cpp's mixes of the same names do (`llama-quant.cpp`,
//! `llama_tensor_get_type`), so that a name means the same size everywhere.

use crate::Error;
use DType::{BF16, F16, F32, IQ4_NL, IQ4_XS, MXFP4, Q2_K, Q3_K, Q4_0, Q4_1, Q4_K};
use DType::{Q5_0, Q5_1, Q5_K, Q6_K, Q8_0};
use When::{Always, Below, FirstEighth, FirstSixteenth, Grouped, MoreBits};
use apr_model::{ModelConfig, Part, TensorRole};
use apr_tensor::DType;
use regex::Regex;
use std::fmt;
use std::str::FromStr;

const ENDS: &[Part] = &[Part::TokenEmbedding, Part::Head];
const HEAD: &[Part] = &[Part::Head];
const VALUE: &[Part] = &[Part::Value];
const FUSED: &[Part] = &[Part::QueryKeyValue];
const OUTPUT: &[Part] = &[Part::AttentionOutput];
const DOWN: &[Part] = &[Part::MlpDown, Part::ExpertDown];
const VALUE_AND_DOWN: &[Part] = &[Part::Value, Part::MlpDown, Part::ExpertDown];

/// Every recipe.
pub static RECIPES: &[Recipe] = &[
    // name, type of every matrix, and the rules for those that get another one
    mix("int8", Q8_0, &[]),
    mix("int4", Q4_0, &[rule(ENDS, Always, Q8_0)]),
    mix("f16", F16, &[]).or_named("fp16"),
    mix("bf16", BF16, &[]),
    mix("f32", F32, &[]).or_named("fp32"),
    mix("q8_0", Q8_0, &[]),
    mix("q6_k", Q6_K, &[]),
    mix(
        "q5_k_m",
        Q5_K,
        &[SIX_BIT_HEAD, rule(VALUE_AND_DOWN, MoreBits, Q6_K), rule(FUSED, Always, Q6_K)],
    )
    .or_named("q5_k"),
    mix("q5_k_s", Q5_K, &[SIX_BIT_HEAD]),
    mix("q5_1", Q5_1, &[SIX_BIT_HEAD]),
    mix("q5_0", Q5_0, &[SIX_BIT_HEAD]),
    mix(
        "q4_k_m",
        Q4_K,
        &[SIX_BIT_HEAD, rule(VALUE_AND_DOWN, MoreBits, Q6_K), rule(FUSED, Always, Q5_K)],
    )
    .or_named("q4_k"),
    mix(
        "q4_k_s",
        Q4_K,
        &[SIX_BIT_HEAD, rule(VALUE, Below(4), Q5_K), rule(DOWN, FirstEighth, Q5_K)],
    ),
    mix("q4_1", Q4_1, &[SIX_BIT_HEAD]),
    mix("q4_0", Q4_0, &[SIX_BIT_HEAD]),
    mix(
        "iq4_nl",
        IQ4_NL,
        &[SIX_BIT_HEAD, rule(VALUE, Grouped, Q5_K), rule(DOWN, FirstEighth, Q5_K)],
    ),
    mix(
        "iq4_xs",
        IQ4_XS,
        &[SIX_BIT_HEAD, rule(VALUE, Grouped, Q5_K), rule(DOWN, FirstEighth, Q5_K)],
    ),
    mix("mxfp4", MXFP4, &[rule(ENDS, Always, Q8_0)]),
    mix(
        "q3_k_l",
        Q3_K,
        &[
            SIX_BIT_HEAD,
            rule(VALUE_AND_DOWN, Always, Q5_K),
            rule(OUTPUT, Always, Q5_K),
            rule(FUSED, Always, Q4_K),
        ],
    ),
    mix(
        "q3_k_m",
        Q3_K,
        &[
            SIX_BIT_HEAD,
            rule(VALUE, Below(2), Q5_K),
            rule(DOWN, FirstSixteenth, Q5_K),
            rule(VALUE_AND_DOWN, Always, Q4_K),
            rule(OUTPUT, Always, Q4_K),
            rule(FUSED, Always, Q4_K),
        ],
    )
    .or_named("q3_k"),
    mix("q3_k_s", Q3_K, &[SIX_BIT_HEAD]),
    mix(
        "q2_k",
        Q2_K,
        &[
            SIX_BIT_HEAD,
            rule(VALUE, Grouped, Q4_K),
            rule(VALUE_AND_DOWN, Always, Q3_K),
            rule(OUTPUT, Always, Q3_K),
        ],
    ),
];

/// The head decides every token, and is a small part of all but the smallest models.
const SIX_BIT_HEAD: Rule = rule(HEAD, Always, Q6_K);

/// Types whose blocks of 256 do not fit a row, and what holds it in about as many bits or more.
const FALLBACKS: &[(DType, DType)] =
    &[(Q2_K, IQ4_NL), (Q3_K, IQ4_NL), (IQ4_XS, IQ4_NL), (Q4_K, Q5_0), (Q5_K, Q5_1), (Q6_K, Q8_0)];

/// The type in place of one whose blocks do not fit a row.
pub(crate) fn fallback(dtype: DType) -> Option<DType> {
    FALLBACKS.iter().find(|(of, _)| *of == dtype).map(|(_, fallback)| *fallback)
}

/// A rule for the types of a model. Norms, biases and position tables always keep theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipe {
    /// Its name.
    pub name: &'static str,
    alias: Option<&'static str>,
    /// `None` keeps the source's types.
    mix: Option<Mix>,
    pure: bool,
}

/// Types of the matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mix {
    dtype: DType,
    rules: &'static [Rule],
}

/// Another type for some parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    parts: &'static [Part],
    when: When,
    dtype: DType,
}

/// Where a rule applies, by the number of the layer and of all layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    /// The first layers, so many.
    Below(usize),
    /// The first sixteenth of the layers.
    FirstSixteenth,
    /// The first eighth of the layers.
    FirstEighth,
    /// The first and the last eighth of the layers, and every third between them.
    MoreBits,
    /// Where at least four query heads share a head of keys and values: the matrix is small.
    Grouped,
}

impl When {
    fn holds(self, layer: usize, config: &ModelConfig) -> bool {
        let layers = config.layers;
        let eighth = layers / 8;
        match self {
            Always => true,
            Below(count) => layer < count,
            FirstSixteenth => layer < layers / 16,
            FirstEighth => layer < eighth,
            MoreBits => layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2,
            Grouped => config.heads / config.kv_heads >= 4,
        }
    }
}

const fn mix(name: &'static str, dtype: DType, rules: &'static [Rule]) -> Recipe {
    Recipe { name, alias: None, mix: Some(Mix { dtype, rules }), pure: false }
}

const fn rule(parts: &'static [Part], when: When, dtype: DType) -> Rule {
    Rule { parts, when, dtype }
}

impl Recipe {
    /// Keeps every type of the source.
    pub const KEEP: Self = Self { name: "keep", alias: None, mix: None, pure: false };

    const fn or_named(self, alias: &'static str) -> Self {
        Self { alias: Some(alias), ..self }
    }

    /// The recipe of this name, in capitals or not.
    ///
    /// # Errors
    /// Lists the known ones.
    pub fn named(name: &str) -> Result<Self, Error> {
        let known = name.to_ascii_lowercase();
        RECIPES
            .iter()
            .copied()
            .find(|recipe| recipe.name == known || recipe.alias == Some(&known))
            .ok_or_else(|| Error::UnknownRecipe {
                name: name.to_owned(),
                known: RECIPES.iter().map(|recipe| recipe.name).collect::<Vec<_>>().join(", "),
            })
    }

    /// The same with every matrix in the one type.
    ///
    /// # Errors
    /// When they are already: then the caller meant another recipe.
    pub fn pure(self) -> Result<Self, Error> {
        if self.mix.is_some_and(|mix| !mix.rules.is_empty()) {
            return Ok(Self { pure: true, ..self });
        }
        Err(Error::Argument(format!(
            "--pure changes nothing for {}: it stores all matrices in one type",
            self.name
        )))
    }

    /// Its name, and whether it is pure.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}{}", self.name, if self.pure { "-pure" } else { "" })
    }

    /// The type for a tensor of this role in this layer; `None` keeps the source's.
    #[must_use]
    pub fn dtype(
        &self,
        role: TensorRole,
        layer: Option<usize>,
        config: &ModelConfig,
    ) -> Option<DType> {
        let Mix { dtype, rules } = self.mix.filter(|_| role.is_matrix())?;
        // An embedding that is also the head is read as both.
        let tied = config.tied && role.part == Part::TokenEmbedding;
        let named = |rule: &Rule| {
            rule.parts.contains(&role.part) || (tied && rule.parts.contains(&Part::Head))
        };
        let holds = |rule: &&Rule| named(rule) && rule.when.holds(layer.unwrap_or(0), config);
        let rule = rules.iter().filter(|_| !self.pure).find(holds);
        Some(rule.map_or(dtype, |rule| rule.dtype))
    }
}

/// Another type for the matrices whose names match: `PATTERN=TYPE`, a regular expression that is
/// looked for anywhere in a name, as published or as in the new file.
#[derive(Debug, Clone)]
pub struct TypeOverride {
    pattern: Regex,
    pub(crate) dtype: DType,
}

impl TypeOverride {
    pub(crate) fn matches(&self, names: &[String]) -> bool {
        names.iter().any(|name| self.pattern.is_match(name))
    }
}

impl FromStr for TypeOverride {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |why: String| Error::Argument(format!("--tensor-type {text}: {why}"));
        let (pattern, name) =
            text.rsplit_once('=').ok_or_else(|| bad("not PATTERN=TYPE".to_owned()))?;
        let pattern = Regex::new(pattern).map_err(|error| bad(error.to_string()))?;
        let dtype =
            DType::from_name(name).filter(|dtype| dtype.is_encodable()).ok_or_else(|| {
                let known: Vec<&str> =
                    DType::ALL.iter().filter(|d| d.is_encodable()).map(|d| d.name()).collect();
                bad(format!("no type to store weights in (those are {})", known.join(", ")))
            })?;
        Ok(Self { pattern, dtype })
    }
}

impl fmt::Display for TypeOverride {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.pattern, self.dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apr_model::Param;
    use serde_json::json;

    fn config(layers: usize, tied: bool) -> ModelConfig {
        ModelConfig::from_json(&json!({
            "architectures": ["LlamaForCausalLM"], "hidden_size": 256, "num_hidden_layers": layers,
            "num_attention_heads": 8, "num_key_value_heads": 2, "intermediate_size": 512,
            "vocab_size": 1000, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
            "rope_theta": 1e4, "tie_word_embeddings": tied,
        }))
        .unwrap()
    }

    fn weight(part: Part) -> TensorRole {
        TensorRole { part, param: Param::Weight }
    }

    #[test]
    fn roles_get_their_types() {
        let config = config(4, false);
        let int4 = Recipe::named("int4").unwrap();
        let bias = TensorRole { part: Part::MlpUp, param: Param::Bias };
        for (role, dtype, pure) in [
            (weight(Part::MlpUp), Some(Q4_0), Some(Q4_0)),
            (weight(Part::TokenEmbedding), Some(Q8_0), Some(Q4_0)),
            (weight(Part::Head), Some(Q8_0), Some(Q4_0)),
            (weight(Part::PositionEmbedding), None, None),
            (weight(Part::AttentionNorm), None, None),
            (bias, None, None),
        ] {
            assert_eq!(int4.dtype(role, Some(0), &config), dtype, "{role}");
            assert_eq!(int4.pure().unwrap().dtype(role, Some(0), &config), pure, "{role}");
            assert_eq!(Recipe::KEEP.dtype(role, Some(0), &config), None, "{role}");
        }
    }

    /// Layers with more bits among 30, as llama.cpp counts them for SmolLM-135M.
    #[test]
    fn q4_k_m_spends_its_bits_at_the_ends_and_on_every_third_layer() {
        let recipe = Recipe::named("Q4_K_M").unwrap();
        let config = config(30, true);
        let six: Vec<usize> = (0..30)
            .filter(|&layer| {
                recipe.dtype(weight(Part::MlpDown), Some(layer), &config) == Some(Q6_K)
            })
            .collect();
        assert_eq!(six, [0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 26, 27, 28, 29]);
        assert_eq!(recipe.dtype(weight(Part::MlpUp), Some(0), &config), Some(Q4_K));
        assert_eq!(recipe.dtype(weight(Part::TokenEmbedding), None, &config), Some(Q6_K));
        let untied = self::config(30, false);
        assert_eq!(recipe.dtype(weight(Part::TokenEmbedding), None, &untied), Some(Q4_K));
    }

    #[test]
    fn every_fallback_has_smaller_blocks_and_no_fewer_bits() {
        let bits = |dtype: DType| dtype.block_bytes() as f64 / dtype.block_elems() as f64;
        for &(dtype, fallback) in FALLBACKS {
            assert!(fallback.block_elems() < dtype.block_elems(), "{dtype}");
            assert!(bits(fallback) >= bits(dtype), "{dtype}");
        }
        let types = RECIPES
            .iter()
            .filter_map(|recipe| recipe.mix)
            .flat_map(|mix| mix.rules.iter().map(|rule| rule.dtype).chain([mix.dtype]));
        for dtype in types.filter(|dtype| dtype.block_elems() == 256) {
            assert!(fallback(dtype).is_some(), "{dtype}");
        }
    }

    #[test]
    fn names_are_known_or_listed() {
        assert_eq!(Recipe::named("fp16").unwrap().name, "f16");
        let error = Recipe::named("int3").unwrap_err().to_string();
        assert!(error.contains("int3") && error.contains("int8, int4"), "{error}");
        assert!(Recipe::named("int8").unwrap().pure().is_err());
        assert_eq!(Recipe::named("int4").unwrap().pure().unwrap().label(), "int4-pure");
    }
}
