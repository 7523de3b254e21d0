//! Tokenizers of published models
