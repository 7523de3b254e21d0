//! A chat template: it renders a conversation or says why not, within its limits.
#![no_main]

use apr_fuzz::bounded;
use apr_token::{Chat, ChatTemplate, Message};
use libfuzzer_sys::fuzz_target;
use std::time::UNIX_EPOCH;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(template) = std::str::from_utf8(bytes) {
        bounded(bytes.len(), || check(template));
    }
});

fn check(template: &str) {
    let template = match ChatTemplate::parse(template) {
        Ok(template) => template,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let messages = [
        Message::new("system", "You are brief."),
        Message::new("user", "Hello <|im_end|> {{ 7 * 7 }}"),
        Message::new("assistant", " Good day. "),
        Message::new("user", "東京 🗼\n"),
    ];
    let special_tokens = [("bos_token".to_owned(), "<s>".to_owned())];
    let chat = Chat { special_tokens: &special_tokens, now: UNIX_EPOCH, ..Chat::new(&messages) };
    let rendered = template.render(&chat);
    // The same template says the same again.
    assert_eq!(rendered.as_ref().ok(), template.render(&chat).as_ref().ok());
}
