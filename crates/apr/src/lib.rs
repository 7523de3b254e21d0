//! Import, quantize, prove and run language models
