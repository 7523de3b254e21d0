//! Chat templates: what Python's Jinja gives, and what hostile ones get.

use apr_token::{Chat, ChatError, ChatTemplate, Message, TokenError};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/chat")
}

fn goldens() -> Value {
    serde_json::from_slice(&fs::read(folder().join("goldens.json")).unwrap()).unwrap()
}

fn messages(conversation: &Value) -> Vec<Message> {
    let text = |message: &Value, key: &str| message[key].as_str().unwrap().to_owned();
    let message =
        |message| Message { role: text(message, "role"), content: text(message, "content") };
    conversation.as_array().unwrap().iter().map(message).collect()
}

/// The outcome of a template, as the goldens have it.
fn render(
    goldens: &Value,
    template: &str,
    conversation: &Value,
    prompt: bool,
) -> Result<String, TokenError> {
    let tokens = goldens["tokens"].as_object().unwrap().iter();
    let tokens: Vec<(String, String)> =
        tokens.map(|(role, text)| (role.clone(), text.as_str().unwrap().to_owned())).collect();
    let messages = messages(conversation);
    let chat = Chat {
        messages: &messages,
        special_tokens: &tokens,
        add_generation_prompt: prompt,
        // 29 Feb 2024
        now: UNIX_EPOCH + Duration::from_secs(1_709_210_096),
    };
    ChatTemplate::parse(template)?.render(&chat)
}

#[test]
fn published_formats_give_the_text_of_python() {
    let goldens = goldens();
    let (mut texts, mut refusals) = (0, 0);
    for case in goldens["cases"].as_array().unwrap() {
        let name = case["template"].as_str().unwrap();
        let template = fs::read_to_string(folder().join(name)).unwrap();
        let conversation = &goldens["conversations"][case["conversation"].as_str().unwrap()];
        let found = render(&goldens, &template, conversation, case["prompt"] == true);
        match (found, &case["text"], &case["refused"]) {
            (Ok(found), Value::String(expected), _) => {
                assert_eq!(&found, expected, "{name} {}", case["conversation"]);
                texts += 1;
            }
            (Err(TokenError::Chat(ChatError::Refused(why))), _, Value::String(expected)) => {
                assert_eq!(&why, expected, "{name}");
                refusals += 1;
            }
            (found, ..) => panic!("{name} {}: {found:?}, expected {case}", case["conversation"]),
        }
    }
    assert!(texts > 50 && refusals > 5, "{texts} texts, {refusals} refusals");
}

#[test]
fn expressions_give_what_python_prints() {
    let goldens = goldens();
    let conversation = &goldens["conversations"]["talk"];
    let mut wrong = Vec::new();
    for case in goldens["expressions"].as_array().unwrap() {
        let (template, expected) =
            (case["template"].as_str().unwrap(), case["text"].as_str().unwrap());
        match render(&goldens, template, conversation, true) {
            Ok(found) if found == expected => {}
            found => wrong.push(format!("{template}\n  {found:?}\n  {expected:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn outcome(template: &str) -> Result<String, ChatError> {
    let messages = [Message::new("user", "Hello")];
    let render = || ChatTemplate::parse(template)?.render(&Chat::new(&messages));
    render().map_err(|error| {
        let TokenError::Chat(error) = error else { panic!("{error}") };
        error
    })
}

/// `{% set x = … %}` so many times, then the end.
fn repeated(begin: &str, step: &str, times: usize, end: &str) -> String {
    format!("{begin}{}{end}", step.repeat(times))
}

#[test]
fn hostile_templates_are_stopped_by_a_named_limit() {
    let nest = "{% set ns = namespace(x=[]) %}{% for i in range(30000) %}{% set ns.x = [ns.x] %}{% endfor %}";
    let wide = |end| {
        repeated(
            "{% set x = [1, 2] %}{% set y = [1, 2] %}",
            "{% set x = [x, x] %}{% set y = [y, y] %}",
            60,
            end,
        )
    };
    let long = "{% set a = 'a' * 100000 %}";
    for template in [
        // Endless work.
        "{% for i in range(90000) %}{% for j in range(90000) %}{{ j }}{% endfor %}{% endfor %}".to_owned(),
        "{% macro f(x) %}{{ f(x) }}{{ f(x) }}{% endmacro %}{{ f(1) }}".to_owned(),
        "{% for x in [[[1]]] recursive %}{{ loop([[1]]) }}{% endfor %}".to_owned(),
        "{{ range(1000000000000)|list|length }}".to_owned(),
        // Exponential strings.
        repeated("{% set s = 'aaaaaaaa' %}", "{% set s = s ~ s %}", 60, "{{ s }}"),
        repeated("{% set s = 'aaaaaaaa' %}", "{% set s = s + s %}", 60, "{{ s }}"),
        repeated("{% set s = 'aaaaaaaa' %}", "{% set s %}{{ s }}{{ s }}{% endset %}", 60, "{{ s }}"),
        repeated("{% set s = 'aaaaaaaa' %}", "{% set s = s|replace('a', 'aaaa') %}", 60, "{{ s }}"),
        repeated("{% set s = 'aaaaaaaa' %}", "{% set s = s.replace('a', 'aaaa') %}", 60, "{{ s }}"),
        repeated("{% set s = 'aa' %}", "{% set s = s.join([s, s, s]) %}", 60, "{{ s }}"),
        format!("{long}{{{{ a.replace('a', a)|length }}}}"),
        format!("{long}{{% for i in range(90000) %}}{{{{ a.count('b') }}}}{{% endfor %}}"),
        "{{ 'a' * 1000000000 }}".to_owned(),
        "{{ 'a'|indent(1000000000, true) }}".to_owned(),
        "{{ [[1]]|tojson(indent=1000000000) }}".to_owned(),
        "{{ '%999999999d'|format(1) }}".to_owned(),
        "{{ [1]|batch(1000000000, 0)|list|length }}".to_owned(),
        "{{ [1]|slice(1000000000)|list|length }}".to_owned(),
        // Values that are deep, cyclic or exponentially wide.
        format!("{nest}{{{{ ns.x }}}}"),
        format!("{nest}{{{{ ns.x|tojson }}}}"),
        format!("{nest}{{{{ ns.x == ns.x }}}}"),
        "{% set ns = namespace(x='ab') %}{% for i in range(30000) %}{% set ns.x = ns.x[0:]|batch(1) %}{% endfor %}{{ ns.x }}".to_owned(),
        "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}".to_owned(),
        "{% set ns = namespace() %}{% set x = [ns] %}{% set ns.x = x %}{{ ns }}".to_owned(),
        "{% set ns = namespace() %}{% set ns.x = {'a': [ns]} %}{{ ns|tojson }}".to_owned(),
        "{% set ns = namespace() %}{% set nt = namespace(x=ns) %}{{ nt }}".to_owned(),
        "{% set ns = namespace() %}{% set nt = namespace({'x': ns}) %}{{ nt }}".to_owned(),
        "{% macro f(n) %}{% set n.x = n %}{% endmacro %}{% set ns = namespace() %}{{ f(ns) }}{{ ns }}".to_owned(),
        wide("{{ x }}"),
        wide("{{ x == y }}"),
        wide("{{ x in [y] }}"),
        wide("{{ {x: 1} }}"),
        wide("{{ [x, y]|sort|length }}"),
        wide("{{ x|string|length }}"),
        wide("{{ x|tojson }}"),
    ] {
        let found = outcome(&template);
        let shown = &template[..template.len().min(120)];
        let stopped = matches!(found, Err(ChatError::Limit(_)));
        assert!(stopped, "{shown}: {:?}", found.map(|text| text.len()));
    }
}

/// What is read recursively is read on a stack that holds the longest template.
#[test]
fn hostile_syntax_is_an_error_or_harmless() {
    let most = 120_000;
    let repeat = |text: &str| text.repeat(most / text.len());
    for template in [
        format!("{{{{ {}1{} }}}}", "(".repeat(most / 2), ")".repeat(most / 2)),
        format!("{{{{ {}1 }}}}", repeat("not ")),
        format!("{{{{ {}1 }}}}", repeat("-")),
        format!("{{{{ 1{} }}}}", repeat("+1")),
        format!("{{{{ 1{} }}}}", repeat("~1")),
        format!("{{{{ 1{} }}}}", repeat("**1")),
        format!("{{{{ 1{} }}}}", repeat(" or 1")),
        format!("{{{{ 1{} }}}}", repeat("<1")),
        format!("{{{{ x{} }}}}", repeat(".a")),
        format!("{{{{ x{} }}}}", repeat("[0]")),
        format!("{{{{ x{} }}}}", repeat("()")),
        format!("{{{{ 1{} }}}}", repeat("|abs")),
        format!("{{{{ 1{} }}}}", repeat(" if 1 else 1")),
        format!("{{{{ {} }}}}", repeat("[")),
        format!("{}{}", "{% if 1 %}".repeat(6000), "{% endif %}".repeat(5000)),
        format!("{{% if 1 %}}{}{{% endif %}}", repeat("{% elif 1 %}")),
        format!("{}{}", "{% for i in [1] %}".repeat(4000), "{% endfor %}".repeat(4000)),
        repeat("{% set x = [x] %}"),
        repeat("{%"),
        repeat("{{ '"),
        repeat("{#"),
        repeat("\u{1F600}{{"),
    ] {
        match outcome(&template) {
            Ok(text) => assert!(text.len() < 100_000),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    assert!(matches!(outcome(&" ".repeat(200_000)), Err(ChatError::TooLong { len: 200_000 })));
}

/// CVE-2024-34359: templates that walk from a string to the host's classes.
#[test]
fn nothing_of_the_host_is_reachable() {
    for template in [
        "{{ ''.__class__ }}",
        "{{ messages.__class__ }}",
        "{{ cycler }}{{ lipsum }}{{ self }}{{ config }}{{ debug }}{{ __import__ }}{{ env }}",
    ] {
        assert_eq!(outcome(template).unwrap_or_default(), "", "{template}");
    }
    for template in [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% for c in [].__class__.__base__.__subclasses__() %}{{ c }}{% endfor %}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({'role': 'x'}) }}",
    ] {
        assert!(matches!(outcome(template), Err(ChatError::Failed(_))), "{template}");
    }
    for template in [
        "{% include '/etc/passwd' %}",
        "{% import '/etc/passwd' as x %}",
        "{% extends '/etc/passwd' %}",
        "{% from 'x' import y %}",
    ] {
        assert!(matches!(outcome(template), Err(ChatError::Syntax(_))), "{template}");
    }
}

#[test]
fn a_template_says_what_is_wrong_with_it() {
    for (template, expected) in [
        ("{% if %}", "chat template: it cannot be read: line 1"),
        ("\n{{ x.y.z }}", "chat template: it fails: line 2"),
        (
            "{{ raise_exception('no system') }}",
            "chat template: it refuses these messages: no system",
        ),
        ("{{ 'a'.nothing() }}", "there is no method nothing"),
        ("{{ strftime_now('%Q') }}", "no directive %Q"),
    ] {
        let messages = [Message::new("user", "Hello")];
        let render = || ChatTemplate::parse(template)?.render(&Chat::new(&messages));
        let said = render().unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn long_conversations_are_rendered() {
    let template = fs::read_to_string(folder().join("thinking.jinja")).unwrap();
    let turn = |at: usize| Message::new(["user", "assistant"][at % 2], &"word ".repeat(200));
    let messages: Vec<Message> = (0..1000).map(turn).collect();
    let text = ChatTemplate::parse(&template).unwrap().render(&Chat::new(&messages)).unwrap();
    assert_eq!(text.matches("<|im_start|>").count(), 1001);
    let long = [Message::new("user", &"x".repeat(5_000_000))];
    let text = ChatTemplate::parse(&template).unwrap().render(&Chat::new(&long)).unwrap();
    assert!(text.len() > 5_000_000);
}
