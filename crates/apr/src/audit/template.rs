//! The chat template: a program that comes with the file and decides what the model gets to read.

use super::finding;
use crate::lint::{Severity, Violation};
use crate::{Checkpoint, chat_prompt, units};
use apr_token::Message;

/// Bytes that published templates do not reach.
const LONG: usize = 1 << 16;

/// What the template looks like, whether it renders a conversation, and where it departs from the
/// base model's. That there is none, the header says already.
pub(super) fn findings(checkpoint: &Checkpoint, base: Option<&Checkpoint>) -> Vec<Violation> {
    let (template, mut findings) = (checkpoint.chat_template(), Vec::new());
    if let Some(template) = template {
        let size = units::size(template.len());
        let (severity, rule, why) = if template.len() > LONG {
            (Severity::Warning, "chat-template-long", ", more than any that is published")
        } else {
            (Severity::Info, "chat-template", "; read it before you trust it")
        };
        let message = format!("a chat template of {}{why}", units::bytes(size));
        findings.push(finding(severity, rule, None, message));
        findings.extend(unrendered(checkpoint));
    }
    let difference = base.and_then(|base| difference(template, base.chat_template()));
    findings.extend(
        difference
            .map(|message| finding(Severity::Warning, "chat-template-differs", None, message)),
    );
    findings
}

/// What keeps the template from rendering a short conversation, or what it leaves out of one.
fn unrendered(checkpoint: &Checkpoint) -> Option<Violation> {
    // A tokenizer that is missing or broken is a finding of its own.
    let tokenizer = checkpoint.tokenizer().ok()?;
    let said = [("user", "What is 12 + 30?"), ("assistant", "It is 42."), ("user", "And 7 x 6?")];
    let messages = said.map(|(role, content)| Message::new(role, content));
    let problem = |severity, rule, message| Some(finding(severity, rule, None, message));
    match chat_prompt(checkpoint, &tokenizer, &messages) {
        Err(error) => problem(Severity::Error, "chat-template-fails", error.to_string()),
        Ok(text) => {
            let (_, lost) = said.iter().find(|(_, content)| !text.contains(content))?;
            let message = format!("leaves {lost:?} out of a conversation");
            problem(Severity::Warning, "chat-template-loses", message)
        }
    }
}

/// Where two templates part; none if they do not.
fn difference(found: Option<&str>, expected: Option<&str>) -> Option<String> {
    let (found, expected) = match (found, expected) {
        (None, None) => return None,
        (Some(_), None) => return Some("the base model has none".to_owned()),
        (None, Some(_)) => return Some("the base model has one, this file has none".to_owned()),
        (Some(found), Some(expected)) if found == expected => return None,
        (Some(found), Some(expected)) => (found, expected),
    };
    let (mut here, mut there) = (found.split('\n'), expected.split('\n'));
    let mut line = 0;
    loop {
        line += 1;
        match (here.next(), there.next()) {
            (Some(here), Some(there)) if here == there => {}
            (Some(here), there) => {
                let (here, there) = (part(here), there.map_or("nothing".to_owned(), part));
                return Some(format!("line {line} is {here}, in the base model {there}"));
            }
            (None, there) => {
                let there = there.map_or("nothing".to_owned(), part);
                return Some(format!("ends before line {line}, in the base model {there}"));
            }
        }
    }
}

/// The beginning of a line.
fn part(line: &str) -> String {
    const SHOWN: usize = 60;
    let more = if line.chars().count() > SHOWN { "…" } else { "" };
    format!("{:?}{more}", line.chars().take(SHOWN).collect::<String>())
}
