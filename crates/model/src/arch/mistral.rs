//! Mistral: Llama, with a window in every layer where the configuration has one. transformers:
//! `modeling_mistral.py`.

use super::Setting::{Null, Text};
use super::llama::BASE;
use super::{Arch, Requirement, WindowRule};

pub(super) static MISTRAL: Arch = Arch {
    name: "mistral",
    class: "MistralForCausalLM",
    window: WindowRule::All,
    requirements: &[
        Requirement { key: "hidden_act", value: Text("silu") },
        Requirement { key: "quantization_config", value: Null },
    ],
    ..BASE
};
