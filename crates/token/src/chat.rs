//! Chat templates: what turns messages into the text that a model was trained on.
//!
//! A template is a program in Jinja that comes with a model, so a stranger's. It runs in `minijinja`
//! without files, includes or the host's objects, and every resource that it takes is limited:
//! its own length, steps and bytes (fuel), depth of recursion, size of values, length of the
//! output. What `transformers` gives templates beside Jinja itself, it finds here too.

mod guard;
mod json;
mod methods;
#[allow(
    clippy::arithmetic_side_effects,
    reason = "quotients of 64-bit seconds, far from any bound"
)]
mod time;

use crate::TokenError;
use guard::Limits;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, Output, State, Value, context, escape_formatter};
use std::error::Error as _;
use std::fmt;
use std::io::{self, Write};
use std::thread;
use std::time::SystemTime;

/// Bytes of a template, at most; published ones have up to 30 thousand.
const MAX_LEN: usize = 128 << 10;
/// Macros and loops within each other, at most.
const RECURSION: usize = 100;
/// Bytes of the stack on which templates are read and run: the reader of nested expressions
/// recurses, and so does whoever walks a value. Only what is touched takes memory. A quarter would
/// do for the longest template; with the address sanitizer frames are larger.
const STACK: usize = 128 << 20;
/// Name of the one template of an environment.
const NAME: &str = "chat";

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who says it: `system`, `user`, `assistant` or what the template knows.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// What someone says.
    #[must_use]
    pub fn new(role: &str, content: &str) -> Self {
        Self { role: role.to_owned(), content: content.to_owned() }
    }

    fn value(&self) -> Value {
        Value::from_pairs([("role", &*self.role), ("content", &*self.content)])
    }
}

/// What a template renders.
#[derive(Debug, Clone)]
pub struct Chat<'a> {
    /// The messages, the oldest first.
    pub messages: &'a [Message],
    /// Special tokens by their role, such as `bos_token`.
    pub special_tokens: &'a [(String, String)],
    /// Whether the text ends where the assistant's answer begins.
    pub add_generation_prompt: bool,
    /// The time that templates which ask for it are told, in UTC.
    pub now: SystemTime,
}

impl<'a> Chat<'a> {
    /// These messages, to be answered, now.
    #[must_use]
    pub fn new(messages: &'a [Message]) -> Self {
        let now = SystemTime::now();
        Self { messages, special_tokens: &[], add_generation_prompt: true, now }
    }
}

/// Why a template does not give a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// More than any published one.
    #[error("it has {len} bytes, at most {MAX_LEN} are read")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// Not a template.
    #[error("it cannot be read: {0}")]
    Syntax(String),
    /// A limit of what templates may take.
    #[error("it is stopped: {0}")]
    Limit(String),
    /// The template itself refuses the messages.
    #[error("it refuses these messages: {0}")]
    Refused(String),
    /// It asks for what there is not.
    #[error("it fails: {0}")]
    Failed(String),
}

/// A template that can be read.
pub struct ChatTemplate {
    environment: Environment<'static>,
}

impl fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatTemplate").finish_non_exhaustive()
    }
}

impl ChatTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// When it is no template, or longer than any published one.
    pub fn parse(template: &str) -> Result<Self, TokenError> {
        if template.len() > MAX_LEN {
            return Err(ChatError::TooLong { len: template.len() }.into());
        }
        let read = || {
            let mut environment = environment();
            let guarded = guard::guarded(template, environment.syntax().clone())?;
            environment.add_template_owned(NAME, guarded)?;
            Ok(environment)
        };
        let environment = with_stack(read)?
            .map_err(|error| own(&error).map_or_else(|| syntax(&error), TokenError::from))?;
        Ok(Self { environment })
    }

    /// The text of a conversation.
    ///
    /// # Errors
    /// When the template refuses the messages, fails, or takes more than a template may.
    pub fn render(&self, chat: &Chat<'_>) -> Result<String, TokenError> {
        let limits = Limits::of(chat);
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(limits.fuel));
        let now = chat.now;
        environment.add_function("strftime_now", move |format: &str| time::format(now, format));
        let run = || {
            guard::begin(limits);
            let mut text = Bounded { bytes: Vec::new(), limit: limits.output };
            let template = environment.get_template(NAME)?;
            template.render_captured_to(variables(chat), &mut text)?;
            Ok(text.bytes)
        };
        let bytes = with_stack(run)?.map_err(|error: Error| failure(&error))?;
        // The engine writes whole strings.
        let text = String::from_utf8(bytes);
        text.map_err(|_| ChatError::Failed("the text is not UTF-8".to_owned()).into())
    }
}

/// Runs on a stack of its own.
fn with_stack<T: Send>(run: impl FnOnce() -> T + Send) -> Result<T, TokenError> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("chat template".to_owned()).stack_size(STACK);
        let no_stack = |_| ChatError::Limit("there is no memory for its stack".to_owned());
        let running = builder.spawn_scoped(scope, run).map_err(no_stack)?;
        running.join().map_err(|_| ChatError::Failed("the engine gave up".to_owned()).into())
    })
}

/// The variables that `transformers` gives templates.
fn variables(chat: &Chat<'_>) -> Value {
    let tokens = chat.special_tokens.iter();
    let tokens = Value::from_pairs(tokens.map(|(role, text)| (role.as_str(), text.as_str())));
    let own = context! {
        messages => chat.messages.iter().map(Message::value).collect::<Value>(),
        tools => Value::from(()),
        documents => Value::from(()),
        add_generation_prompt => chat.add_generation_prompt,
    };
    context! { ..own, ..tokens }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_syntax(syntax_config());
    environment.set_recursion_limit(RECURSION);
    environment.set_formatter(write_value);
    environment.set_unknown_method_callback(methods::call);
    environment.add_filter("tojson", json::tojson);
    environment.add_filter(guard::FILTER, guard::bounded);
    environment.add_filter(guard::INNER_FILTER, guard::bounded_inner);
    environment.add_function("namespace", namespace);
    environment.add_function("raise_exception", |text: &str| -> Result<Value, Error> {
        let error = Error::new(ErrorKind::InvalidOperation, "raise_exception");
        Err(error.with_source(ChatError::Refused(text.to_owned())))
    });
    // Names of the sandbox's own; nothing of the host is reachable.
    environment.remove_global("debug");
    environment.remove_filter("pprint");
    environment
}

/// As `transformers` sets it.
fn syntax_config() -> SyntaxConfig {
    let mut builder = SyntaxConfig::builder();
    builder.trim_blocks(true).lstrip_blocks(true);
    builder.build().unwrap_or_default()
}

/// Values as Python prints them.
fn write_value(
    out: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), Error> {
    let text = match value.kind() == ValueKind::Bool {
        _ if value.is_none() => "None",
        true if value.is_true() => "True",
        true => "False",
        false => return escape_formatter(out, state, value),
    };
    out.write_str(text).map_err(Error::from)
}

/// Jinja's, which must not hold another one: values stay trees.
fn namespace(values: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let first = values.0.into_iter().next().map(ValueOrKwargs::into_value);
    let first = first.map(guard::bounded_inner).transpose()?;
    minijinja::functions::namespace(first.map(ValueOrKwargs::from))
}

fn syntax(error: &Error) -> TokenError {
    let line = error.line().map(|line| format!("line {line}: ")).unwrap_or_default();
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    ChatError::Syntax(line + &detail).into()
}

/// What our own functions said, whatever the engine says of it.
fn own(error: &Error) -> Option<ChatError> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(own) = inner.downcast_ref::<ChatError>() {
            return Some(own.clone());
        }
        if let Some(full) = inner.downcast_ref::<io::Error>() {
            return Some(ChatError::Limit(full.to_string()));
        }
        cause = inner.source();
    }
    None
}

fn failure(error: &Error) -> TokenError {
    if let Some(own) = own(error) {
        return own.into();
    }
    let line = error.line().map(|line| format!("line {line}: ")).unwrap_or_default();
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    if error.kind() == ErrorKind::OutOfFuel {
        return ChatError::Limit("it takes more steps and memory than a template may".into())
            .into();
    }
    if detail.contains("recursion limit") || detail.contains("too many") {
        return ChatError::Limit(format!("{line}{}{detail}", error.kind())).into();
    }
    ChatError::Failed(format!("{line}{}{detail}", error.kind())).into()
}

/// Text of a limited length.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(bytes.len()) > self.limit {
            return Err(io::Error::other(format!("its text has more than {} bytes", self.limit)));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
