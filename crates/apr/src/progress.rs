//! Progress of long tasks, for whoever wants to show it.

/// Told what a task is doing. `()` ignores it.
pub trait Progress: Sync {
    /// A step of `bytes` bytes begins.
    fn begin(&self, step: Step, bytes: u64);
    /// So many more bytes of the current step are done.
    fn advance(&self, bytes: u64);
    /// The current step is complete.
    fn end(&self);
}

/// A step of a task that reads or writes a whole model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Files come from the hub.
    Download,
    /// Source files are hashed for the record of where the model came from.
    Hash,
    /// Tensors are encoded and written.
    Convert,
    /// Tensors are read back and compared with their source.
    Prove,
    /// Stored hashes are compared with the bytes.
    Check,
    /// Tensors of two files are compared; its unit is elements.
    Compare,
    /// The values of tensors are described.
    Describe,
    /// A text is scored; its unit is tokens.
    Evaluate,
}

impl Step {
    /// What it does, for people.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Download => "downloading",
            Self::Hash => "hashing source",
            Self::Convert => "quantizing",
            Self::Prove => "proving",
            Self::Check => "checking hashes",
            Self::Compare => "comparing",
            Self::Describe => "reading values",
            Self::Evaluate => "evaluating",
        }
    }
}

impl Progress for () {
    fn begin(&self, _step: Step, _bytes: u64) {}
    fn advance(&self, _bytes: u64) {}
    fn end(&self) {}
}
