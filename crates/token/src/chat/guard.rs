//! Keeps the values of a template small trees, and counts work that the engine does not.
//!
//! The engine charges fuel for steps and bytes, but walks a value when it prints, compares or drops
//! it. A value can only become deep, cyclic or exponentially wide by being stored and used
//! again, so everything that a `set` stores goes through a filter that measures it.

use super::{Chat, ChatError};
use minijinja::machinery::{Token, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};
use std::cell::Cell;
use std::ops::Range;

/// Name of the filter for what a name is set to.
pub(super) const FILTER: &str = "apr_bounded";
/// Name of the filter for what an attribute is set to.
pub(super) const INNER_FILTER: &str = "apr_bounded_inner";

/// Values within values, at most.
const DEPTH: usize = 32;
/// Words and signs of an expression, at most: the engine folds constants in a time that grows with
/// the square of their number, before fuel counts.
const TOKENS: usize = 600;

/// What a template may take, by what it is given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Steps, and 64 bytes each.
    pub(super) fuel: u64,
    /// Bytes of the text.
    pub(super) output: usize,
    /// Values of a value that is set.
    nodes: usize,
    /// Values that are measured, and bytes that methods read, in all.
    work: usize,
}

impl Limits {
    pub(super) fn of(chat: &Chat<'_>) -> Self {
        let lens = chat.messages.iter().map(|m| m.content.len().saturating_add(m.role.len()));
        let (bytes, messages) = (lens.fold(0, usize::saturating_add), chat.messages.len());
        let beside = |base: usize, per_message: usize, of_bytes: usize| {
            base.saturating_add(messages.saturating_mul(per_message)).saturating_add(of_bytes)
        };
        Self {
            fuel: u64::try_from(beside(50_000, 1000, bytes / 4)).unwrap_or(u64::MAX),
            output: beside(1 << 20, 0, bytes.saturating_mul(4)),
            nodes: beside(1000, 16, 0),
            work: beside(1 << 20, 10_000, bytes.saturating_mul(64)),
        }
    }
}

thread_local! {
    static NODES: Cell<usize> = const { Cell::new(0) };
    static WORK: Cell<usize> = const { Cell::new(0) };
}

/// Sets the limits of what this thread renders next.
pub(super) fn begin(limits: Limits) {
    NODES.set(limits.nodes);
    WORK.set(limits.work);
}

/// Counts work.
pub(super) fn work(amount: usize) -> Result<(), Error> {
    match WORK.get().checked_sub(amount) {
        Some(left) => {
            WORK.set(left);
            Ok(())
        }
        None => {
            WORK.set(0);
            Err(limit("it takes more steps and memory than a template may"))
        }
    }
}

pub(super) fn limit(text: &str) -> Error {
    let error = Error::new(ErrorKind::InvalidOperation, "limit");
    error.with_source(ChatError::Limit(text.to_owned()))
}

/// What a name may be set to: a small tree, or a namespace.
pub(super) fn bounded(value: Value) -> Result<Value, Error> {
    if is_namespace(&value) { Ok(value) } else { bounded_inner(value) }
}

/// What an attribute may be set to: a small tree, in which no namespace is.
pub(super) fn bounded_inner(value: Value) -> Result<Value, Error> {
    let mut nodes = NODES.get();
    let before = nodes;
    let settled = settle(&value, DEPTH, &mut nodes)?;
    work(before.saturating_sub(nodes))?;
    Ok(settled.unwrap_or(value))
}

fn is_namespace(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.type_name().ends_with("Namespace"))
}

/// The value with all that it is computed from lazily computed; none if it is so already.
fn settle(value: &Value, depth: usize, nodes: &mut usize) -> Result<Option<Value>, Error> {
    *nodes = nodes.checked_sub(1).ok_or_else(|| limit("it builds a value of too many parts"))?;
    if is_namespace(value) {
        return Err(limit("it puts a namespace into a value"));
    }
    let below = || depth.checked_sub(1).ok_or_else(|| limit("it builds a value that is too deep"));
    let kind = value.kind();
    if matches!(kind, ValueKind::Seq | ValueKind::Iterable) {
        let (mut changed, mut items) = (!is_list(value), Vec::new());
        for item in value.try_iter()? {
            let settled = settle(&item, below()?, nodes)?;
            changed |= settled.is_some();
            items.push(settled.unwrap_or(item));
        }
        return Ok(changed.then(|| Value::from(items)));
    }
    if kind != ValueKind::Map {
        return Ok(None);
    }
    let (mut changed, mut pairs) = (false, Vec::new());
    for key in value.try_iter()? {
        let item = value.get_item(&key)?;
        let settled = settle(&item, below()?, nodes)?;
        changed |= settled.is_some();
        pairs.push((key, settled.unwrap_or(item)));
    }
    Ok(changed.then(|| Value::from_pairs(pairs)))
}

fn is_list(value: &Value) -> bool {
    let list: Option<&Vec<Value>> = value.downcast_object_ref();
    list.is_some() || value.is_tuple()
}

/// An edit of a template: what is replaced, and by what.
type Edit = (Range<usize>, &'static str);

/// The template with everything that it sets measured, and the marks of what an assistant
/// generated, which `transformers` adds to Jinja, taken out.
pub(super) fn guarded(template: &str, syntax: SyntaxConfig) -> Result<String, Error> {
    let mut edits: Vec<Edit> = Vec::new();
    let mut tag: Option<Vec<(Token<'_>, Range<usize>)>> = None;
    let mut length = 0_usize;
    for token in tokenize(template, false, syntax) {
        let (token, span) = token?;
        let begins =
            matches!(token, Token::TemplateData(_) | Token::BlockStart | Token::VariableStart);
        length = if begins { 0 } else { length.saturating_add(1) };
        if length > TOKENS {
            return Err(limit(&format!(
                "line {}: an expression of more than {TOKENS} words",
                span.start_line
            )));
        }
        let at = |offset: u32| usize::try_from(offset).unwrap_or(usize::MAX);
        let range = at(span.start_offset)..at(span.end_offset);
        match (&token, &mut tag) {
            (Token::BlockStart, _) => tag = Some(Vec::new()),
            (Token::BlockEnd, Some(tokens)) => {
                edits.extend(edits_of(tokens));
                tag = None;
            }
            (_, Some(tokens)) => tokens.push((token, range)),
            (_, None) => {}
        }
    }
    let (mut guarded, mut end) = (String::with_capacity(template.len()), 0);
    for (range, text) in edits {
        guarded += template.get(end..range.start).unwrap_or_default();
        guarded += text;
        end = range.end;
    }
    guarded += template.get(end..).unwrap_or_default();
    Ok(guarded)
}

/// The edits of one tag.
fn edits_of(tokens: &[(Token<'_>, Range<usize>)]) -> Vec<Edit> {
    match tokens {
        [(Token::Ident("generation"), range)] => vec![(range.clone(), "if true")],
        [(Token::Ident("endgeneration"), range)] => vec![(range.clone(), "endif")],
        [(Token::Ident("set"), _), rest @ ..] => edits_of_set(rest),
        _ => Vec::new(),
    }
}

fn edits_of_set(tokens: &[(Token<'_>, Range<usize>)]) -> Vec<Edit> {
    let Some(assign) = tokens.iter().position(|(token, _)| matches!(token, Token::Assign)) else {
        return Vec::new();
    };
    let (target, value) = tokens.split_at(assign);
    // A block's filter may have named arguments.
    let is_block = target.iter().any(|(token, _)| matches!(token, Token::Pipe));
    let ([(_, assign), .., (_, last)], false) = (value, is_block) else { return Vec::new() };
    let attribute = target.iter().any(|(token, _)| matches!(token, Token::Dot));
    let filter = if attribute { ")|apr_bounded_inner " } else { ")|apr_bounded " };
    vec![(assign.end..assign.end, " ("), (last.end..last.end, filter)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_measured_and_nothing_else_changes() {
        for (template, expected) in [
            ("{%- set x = 'a %}' -%}\n", "{%- set x = ( 'a %}')|apr_bounded  -%}\n"),
            ("{% set ns.x=[1, (2)] %}", "{% set ns.x= ([1, (2)])|apr_bounded_inner  %}"),
            ("{% set a, b = 1, 2 %}", "{% set a, b = ( 1, 2)|apr_bounded  %}"),
            ("{% set x %}{{ y }}{% endset %}", "{% set x %}{{ y }}{% endset %}"),
            ("{% set x | f(a=1) %}b{% endset %}", "{% set x | f(a=1) %}b{% endset %}"),
            ("{# {% set x = 1 %} #}a", "{# {% set x = 1 %} #}a"),
            ("{% raw %}{% set x = 1 %}{% endraw %}", "{% raw %}{% set x = 1 %}{% endraw %}"),
            ("{{ '{% set x = 1 %}' }}", "{{ '{% set x = 1 %}' }}"),
            ("{%- generation -%}é{% endgeneration %}", "{%- if true -%}é{% endif %}"),
        ] {
            assert_eq!(guarded(template, super::super::syntax_config()).unwrap(), expected);
        }
        assert!(FILTER == "apr_bounded" && INNER_FILTER == "apr_bounded_inner");
    }
}
