//! Recipes: which role is stored in which type.

use crate::Error;
use apr_model::{Part, TensorRole};
use apr_tensor::DType;

/// Every recipe.
pub static RECIPES: &[Recipe] = &[
    // name, other name, matrices of the layers, token embedding and output head
    Recipe::new("int8", None, DType::Q8_0, DType::Q8_0),
    Recipe::new("int4", None, DType::Q4_0, DType::Q8_0),
    Recipe::new("f16", Some("fp16"), DType::F16, DType::F16),
    Recipe::new("bf16", None, DType::BF16, DType::BF16),
    Recipe::new("f32", Some("fp32"), DType::F32, DType::F32),
];

/// A rule for the types of a model. Norms, biases and position tables always keep theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipe {
    /// Its name.
    pub name: &'static str,
    alias: Option<&'static str>,
    /// Types of the layers' matrices, and of the token embedding and the output head;
    /// `None` keeps the source's.
    types: Option<(DType, DType)>,
}

impl Recipe {
    /// Keeps every type of the source.
    pub const KEEP: Self = Self { name: "keep", alias: None, types: None };

    const fn new(
        name: &'static str,
        alias: Option<&'static str>,
        layers: DType,
        ends: DType,
    ) -> Self {
        Self { name, alias, types: Some((layers, ends)) }
    }

    /// The recipe of this name.
    ///
    /// # Errors
    /// Lists the known ones.
    pub fn named(name: &str) -> Result<Self, Error> {
        RECIPES
            .iter()
            .copied()
            .find(|recipe| recipe.name == name || recipe.alias == Some(name))
            .ok_or_else(|| Error::UnknownRecipe {
                name: name.to_owned(),
                known: RECIPES.iter().map(|recipe| recipe.name).collect::<Vec<_>>().join(", "),
            })
    }

    /// The same with token embedding and output head in the type of the layers.
    ///
    /// # Errors
    /// When they are already: then the caller meant another recipe.
    pub fn pure(self) -> Result<Self, Error> {
        match (self.name, self.types) {
            ("int4", Some((layers, _))) => {
                Ok(Self { name: "int4-pure", types: Some((layers, layers)), ..self })
            }
            (name, _) => Err(Error::Argument(format!(
                "--pure changes nothing for {name}: only int4 stores embedding and head in another type"
            ))),
        }
    }

    /// The type for a tensor of this role; `None` keeps the source's.
    #[must_use]
    pub fn dtype(&self, role: TensorRole) -> Option<DType> {
        let (layers, ends) = self.types.filter(|_| role.is_matrix())?;
        Some(if matches!(role.part, Part::TokenEmbedding | Part::Head) { ends } else { layers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apr_model::Param;

    #[test]
    fn roles_get_their_types() {
        let role = |part, param| TensorRole { part, param };
        let int4 = Recipe::named("int4").unwrap();
        for (role, dtype, pure) in [
            (role(Part::MlpUp, Param::Weight), Some(DType::Q4_0), Some(DType::Q4_0)),
            (role(Part::TokenEmbedding, Param::Weight), Some(DType::Q8_0), Some(DType::Q4_0)),
            (role(Part::Head, Param::Weight), Some(DType::Q8_0), Some(DType::Q4_0)),
            (role(Part::PositionEmbedding, Param::Weight), None, None),
            (role(Part::AttentionNorm, Param::Weight), None, None),
            (role(Part::MlpUp, Param::Bias), None, None),
        ] {
            assert_eq!(int4.dtype(role), dtype, "{role}");
            assert_eq!(int4.pure().unwrap().dtype(role), pure, "{role}");
            assert_eq!(Recipe::KEEP.dtype(role), None, "{role}");
        }
    }

    #[test]
    fn names_are_known_or_listed() {
        assert_eq!(Recipe::named("fp16").unwrap().name, "f16");
        let error = Recipe::named("int3").unwrap_err().to_string();
        assert!(error.contains("int3") && error.contains("int8, int4"), "{error}");
        assert!(Recipe::named("int8").unwrap().pure().is_err());
    }
}
