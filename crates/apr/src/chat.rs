//! Conversations as the text that a model was trained on.

use crate::{Checkpoint, Error};
use apr_token::{Chat, ChatTemplate, Message, Tokenizer};
use serde_json::Value;

/// The text by which a model answers these messages: its own chat template, rendered with its
/// special tokens. It begins and ends as the template says, so nothing may be put around it
/// ([`Prompt::Rendered`](crate::Prompt)).
///
/// # Errors
/// When the model has no chat template, or the template does not give a text.
pub fn chat_prompt(
    checkpoint: &Checkpoint,
    tokenizer: &Tokenizer,
    messages: &[Message],
) -> Result<String, Error> {
    let path = checkpoint.path();
    let missing = || Error::MissingPart { path: path.to_path_buf(), what: "chat template" };
    let template = checkpoint.chat_template().ok_or_else(missing)?;
    let special_tokens = special_tokens(checkpoint, tokenizer);
    let chat = Chat { special_tokens: &special_tokens, ..Chat::new(messages) };
    let render = || ChatTemplate::parse(template)?.render(&chat);
    render().map_err(Error::token(path))
}

/// Special tokens by their role: as the tokenizer's configuration spells them, else by their ids in
/// that of the model.
fn special_tokens(checkpoint: &Checkpoint, tokenizer: &Tokenizer) -> Vec<(String, String)> {
    let known = checkpoint.special_tokens();
    let text = |role: &str| known.get(role).and_then(Value::as_str).map(str::to_owned);
    let by_id = |role: &str| {
        let id = checkpoint.config_json()?.get(format!("{role}_id"))?;
        let id = id.as_array().map_or(id, |ids| ids.first().unwrap_or(id));
        tokenizer.token(u32::try_from(id.as_u64()?).ok()?)
    };
    let mut roles: Vec<String> = known.keys().cloned().collect();
    let others = ["bos_token", "eos_token", "pad_token"];
    roles.extend(others.map(str::to_owned).into_iter().filter(|role| !known.contains_key(role)));
    let token = |role: String| Some((role.clone(), text(&role).or_else(|| by_id(&role))?));
    roles.into_iter().filter_map(token).collect()
}
