//! Where the tensors of a new file come from: a checkpoint as it is, or what an operation makes of
//! it and of others. Everything that is written goes the same way from here.

use crate::source::Source;
use crate::{Checkpoint, Error};
use apr_model::{Form, PlacedTensor};
use serde_json::{Map, Value};

/// What makes new values of the tensors of one or several checkpoints. Names, shapes, types and
/// everything beside the weights are those of the first.
pub(crate) trait Operation: Sync {
    /// Whether it makes new values of this tensor.
    fn changes(&self, placed: &PlacedTensor) -> bool;

    /// The tensor with its new values; only asked of those that it changes.
    ///
    /// # Errors
    /// When a checkpoint cannot be read.
    fn apply(&self, own: Source, piece: &Piece<'_>) -> Result<Source, Error>;

    /// The checkpoints that it reads beside the first.
    fn others(&self) -> Vec<&Checkpoint>;

    /// Its name and settings, for the provenance.
    fn settings(&self) -> Map<String, Value>;

    /// What it does, for people.
    fn label(&self) -> String;
}

/// A checkpoint, and what is made of it.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// The first, or only, checkpoint.
    pub(crate) checkpoint: &'a Checkpoint,
    /// None takes it as it is.
    pub(crate) operation: Option<&'a dyn Operation>,
}

impl<'a> Origin<'a> {
    pub(crate) const fn of(checkpoint: &'a Checkpoint) -> Self {
        Self { checkpoint, operation: None }
    }

    /// The tensor as a new file will hold it.
    ///
    /// # Errors
    /// When a checkpoint cannot be read.
    pub(crate) fn source(&self, piece: &Piece<'_>) -> Result<Source, Error> {
        let own = piece.of(self.checkpoint, piece.placed)?;
        match self.operation {
            Some(operation) if operation.changes(piece.placed) => operation.apply(own, piece),
            Some(_) | None => Ok(own),
        }
    }

    /// Whether the values of this tensor are computed.
    pub(crate) fn computes(&self, placed: &PlacedTensor) -> bool {
        self.operation.is_some_and(|operation| operation.changes(placed))
    }

    /// Every checkpoint that is read.
    pub(crate) fn checkpoints(&self) -> Vec<&'a Checkpoint> {
        let others = self.operation.map(Operation::others).unwrap_or_default();
        [vec![self.checkpoint], others].concat()
    }

    /// Size of all files of weights that are read.
    pub(crate) fn byte_len(&self) -> u64 {
        self.checkpoints().iter().map(|checkpoint| checkpoint.container().byte_len()).sum()
    }
}

/// A tensor of a new file: where it is in the first checkpoint, and its form in the file.
pub(crate) struct Piece<'a> {
    pub(crate) placed: &'a PlacedTensor,
    pub(crate) form: Form,
    /// Which of the experts, if it is that of one.
    pub(crate) expert: Option<usize>,
}

impl Piece<'_> {
    /// The same tensor of this checkpoint, where it is `placed`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn of(
        &self,
        checkpoint: &Checkpoint,
        placed: &PlacedTensor,
    ) -> Result<Source, Error> {
        let source = Source::new(checkpoint.container(), placed, self.form, checkpoint.path())?;
        self.expert.map_or(Ok(source.clone()), |expert| source.expert(expert))
    }

    /// The same without what the form adds to every value: what operations compute with, so that
    /// they give the same model whatever the format.
    pub(crate) fn plain(&self) -> Piece<'_> {
        Piece { form: Form { offset: 0.0, ..self.form }, ..*self }
    }

    /// How many elements of the canonical tensor lie before it, and the place there of element
    /// `at` of its values.
    pub(crate) fn canonical(&self, at: usize, (rows, cols): (usize, usize)) -> usize {
        let first = self.expert.map_or(0, |expert| expert * rows * cols);
        let (row, col) = (at / cols.max(1), at % cols.max(1));
        let PlacedTensor { heads, head_dim, .. } = *self.placed;
        let line = |line| self.form.row_order.canonical(line, heads, head_dim);
        let is_vector = self.placed.layout.shape().len() < 2;
        first
            + if self.form.transposed {
                col * rows + row
            } else if is_vector {
                line(col)
            } else {
                line(row) * cols + col
            }
    }
}
