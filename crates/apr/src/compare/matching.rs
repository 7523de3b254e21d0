//! Which tensor of a file is which of another, from the headers.

use super::Pair;
use crate::source::Source;
use crate::{Checkpoint, Error};
use apr_format::TensorEntry;
use apr_model::{Form, ModelConfig, PlacedTensor, RowOrder, Survey, TensorRole};
use apr_tensor::{DType, TensorLayout};
use std::collections::{BTreeMap, BTreeSet};

/// The tensors of two files, side by side.
pub(crate) struct Matching {
    /// What was compared to find them.
    pub(crate) by: MatchedBy,
    /// Those of the first file in the order of the model, then those that only the second has.
    pub(crate) tensors: Vec<Match>,
    /// Names of tensors that one file has and that follow from the rest of the other.
    pub(crate) derived: Vec<String>,
}

/// How tensors find each other.
pub(crate) enum MatchedBy {
    /// By what they are for, whatever they are called.
    Role,
    /// By their names in the files, and why.
    Name(String),
}

/// A tensor in one file or in both.
pub(crate) struct Match {
    /// Canonical name; where the architecture does not have it, that in the file.
    pub(crate) name: String,
    pub(crate) a: Option<Place>,
    pub(crate) b: Option<Place>,
}

/// A tensor of a file.
#[derive(Clone)]
pub(crate) struct Place {
    /// Name in the file; where there is one for each expert, that of all together.
    pub(crate) name: String,
    /// Type and shape as they are stored; of all experts together.
    pub(crate) layout: TensorLayout,
    /// Its role and form, if the architecture has it.
    pub(crate) placed: Option<PlacedTensor>,
    /// Whether it follows from the rest of the model.
    derived: bool,
}

impl Matching {
    /// Finds the tensors of two files. Files of a known architecture may be of any format.
    ///
    /// # Errors
    /// When a tensor has no layout of its own.
    pub(crate) fn of(a: &Checkpoint, b: &Checkpoint) -> Result<Self, Error> {
        match (survey(a, b), survey(b, a)) {
            (Ok(of_a), Ok(of_b)) => {
                Ok(Self::new(MatchedBy::Role, places(a, of_a), places(b, of_b)))
            }
            (Err(error), _) | (_, Err(error)) => {
                Ok(Self::new(MatchedBy::Name(error.to_string()), own_places(a), own_places(b)))
            }
        }
    }

    fn new(by: MatchedBy, a: Vec<(String, Place)>, b: Vec<(String, Place)>) -> Self {
        let mut of_b: BTreeMap<String, Place> = b.iter().cloned().collect();
        let names: BTreeSet<&String> = a.iter().map(|(name, _)| name).collect();
        let only_b: Vec<Match> = b
            .iter()
            .filter(|(name, _)| !names.contains(name))
            .map(|(name, place)| Match { name: name.clone(), a: None, b: Some(place.clone()) })
            .collect();
        let both = a.iter().map(|(name, place)| {
            let (name, a) = (name.clone(), Some(place.clone()));
            Match { b: of_b.remove(&name), name, a }
        });
        let all: Vec<Match> = both.chain(only_b).collect();
        let (derived, tensors): (Vec<Match>, Vec<Match>) =
            all.into_iter().partition(Match::is_derived_alone);
        Self { by, tensors, derived: derived.into_iter().map(|found| found.name).collect() }
    }

    /// The tensors that have as many rows and columns in both files, ready to be compared.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(crate) fn pairs(&self, a: &Checkpoint, b: &Checkpoint) -> Result<Vec<Pair>, Error> {
        let pairs = self.tensors.iter().filter_map(|found| match (&found.a, &found.b) {
            (Some(of_a), Some(of_b)) if of_a.shape() == of_b.shape() => {
                Some(found.pair((a, of_a), (b, of_b)))
            }
            _ => None,
        });
        pairs.collect()
    }
}

impl Match {
    /// Whether it is in one file alone, and follows from the rest.
    fn is_derived_alone(&self) -> bool {
        match (&self.a, &self.b) {
            (Some(only), None) | (None, Some(only)) => only.derived,
            (Some(_), Some(_)) | (None, None) => false,
        }
    }

    fn pair(
        &self,
        (a, of_a): (&Checkpoint, &Place),
        (b, of_b): (&Checkpoint, &Place),
    ) -> Result<Pair, Error> {
        // As the first file has it, so that places are those of a file. What one of them adds to
        // every value is added, never taken away, which would round twice.
        let to = match (of_a.form(), of_b.form()) {
            (a, b) if b.offset == 0.0 => a,
            (a, b) if a.offset == 0.0 => b,
            (a, _) => a,
        };
        Ok(Pair {
            name: self.name.clone(),
            role: of_a.role(),
            layer: of_a.placed.as_ref().and_then(|placed| placed.layer),
            found: of_a.source(a, to)?,
            expected: of_b.source(b, to)?,
        })
    }
}

impl Place {
    fn form(&self) -> Form {
        self.placed.as_ref().map_or(Form::CANONICAL, |placed| placed.form)
    }

    /// What it is for, if that is known.
    pub(crate) fn role(&self) -> Option<TensorRole> {
        self.placed.as_ref().map(|placed| placed.role)
    }

    pub(crate) const fn dtype(&self) -> DType {
        self.layout.dtype()
    }

    /// Dimensions as in `.apr`, whichever way round it lies.
    pub(crate) fn shape(&self) -> Vec<usize> {
        let mut shape = self.layout.shape().to_vec();
        if self.form().transposed {
            shape.reverse();
        }
        shape
    }

    /// Whether the matrix lies `[in, out]`.
    pub(crate) fn is_transposed(&self) -> bool {
        self.form().transposed
    }

    /// The order of the rows of heads.
    pub(crate) fn row_order(&self) -> RowOrder {
        self.form().row_order
    }

    /// Number of tensors that it is in the file.
    pub(crate) fn parts(&self) -> usize {
        self.placed.as_ref().map_or(1, |placed| placed.sources.len())
    }

    fn source(&self, checkpoint: &Checkpoint, to: Form) -> Result<Source, Error> {
        match &self.placed {
            Some(placed) => Source::new(checkpoint.container(), placed, to, checkpoint.path()),
            None => Source::as_it_is(checkpoint, &self.name),
        }
    }
}

/// The tensors of a file with their roles. What it does not say of itself, the other may.
fn survey(checkpoint: &Checkpoint, other: &Checkpoint) -> Result<Survey, Error> {
    let (arch, _) = checkpoint.arch_and_layers()?;
    let config: Option<ModelConfig> = match checkpoint.known_config()? {
        Some(config) => Some(config),
        None => other.known_config().ok().flatten().filter(|config| config.arch.name == arch.name),
    };
    checkpoint.survey_with(arch, config.as_ref())
}

fn places(checkpoint: &Checkpoint, survey: Survey) -> Vec<(String, Place)> {
    let container = checkpoint.container();
    let own = |name: &String, derived| {
        let entry = container.entry(name)?;
        Some((name.clone(), Place { derived, ..own_place(entry) }))
    };
    let weights = survey.tensors.into_iter().map(|placed| {
        let (name, layout) = (placed.source().to_owned(), placed.layout.clone());
        (placed.name.clone(), Place { name, layout, derived: false, placed: Some(placed) })
    });
    let derived = survey.derived.iter().filter_map(|derived| own(&derived.source, true));
    let unknown = survey.unknown.iter().filter_map(|name| own(name, false));
    weights.chain(derived).chain(unknown).collect()
}

fn own_places(checkpoint: &Checkpoint) -> Vec<(String, Place)> {
    let entries = checkpoint.container().tensors().iter();
    entries.map(|entry| (entry.name.clone(), own_place(entry))).collect()
}

fn own_place(entry: &TensorEntry) -> Place {
    let (name, layout) = (entry.name.clone(), entry.layout.clone());
    Place { name, layout, placed: None, derived: false }
}
