//! Whether the tokenizer is sound and belongs to the model.

use super::finding;
use crate::lint::{Severity, Violation};
use crate::{Checkpoint, Error, EvalText, units};
use apr_model::Part;
use apr_token::Tokenizer;
use serde_json::Value;

/// Characters that a text for people has, beside those of the default text.
const SIGNS: &str = " leading space, naïve café, Grüße, Ω ≠ ∞, 東京タワー 🗼👩‍👩‍👧, €5\n\n\tdef f(x): return x\u{a0}…  ";
/// Keys of the configuration whose values are tokens.
const TOKENS: [&str; 4] = ["bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id"];

const RULE: &str = "tokenizer";

/// Everything questionable about the tokenizer. That there is none, the header says already.
pub(super) fn findings(checkpoint: &Checkpoint, base: Option<&Checkpoint>) -> Vec<Violation> {
    let rows = embedding_rows(checkpoint);
    let mut findings = special_tokens(checkpoint, rows);
    let tokenizer = match checkpoint.tokenizer() {
        Ok(tokenizer) => tokenizer,
        Err(Error::MissingPart { .. }) => return findings,
        Err(error) => {
            findings.push(finding(Severity::Error, RULE, None, error.to_string()));
            return findings;
        }
    };
    findings.extend(rows.and_then(|rows| vocabulary(tokenizer.vocab_size(), rows)));
    let corpus = EvalText::default();
    let texts = [(corpus.name.as_str(), corpus.text.as_str()), ("signs of many kinds", SIGNS)];
    findings.extend(texts.into_iter().filter_map(|text| round_trip(&tokenizer, text, rows)));
    if let Some(Ok(other)) = base.map(Checkpoint::tokenizer)
        && let Some(difference) = tokenizer.difference(&other)
    {
        let message = format!("differs from that of the base model: {difference}");
        findings.push(finding(Severity::Warning, "tokenizer-differs", None, message));
    }
    findings
}

/// Rows of the token embedding, in whichever file format.
fn embedding_rows(checkpoint: &Checkpoint) -> Option<usize> {
    let (_, survey) = checkpoint.survey().ok()?;
    let table = survey.tensors.iter().find(|placed| placed.role.part == Part::TokenEmbedding)?;
    table.layout.shape().first().copied()
}

fn vocabulary(tokens: usize, rows: usize) -> Option<Violation> {
    let message = format!("{tokens} tokens, the embedding has {rows} rows");
    if tokens > rows {
        return Some(finding(Severity::Error, "vocabulary", None, message));
    }
    (tokens < rows).then(|| finding(Severity::Info, "vocabulary", None, message))
}

/// Tokens that parameters name and that the embedding does not have.
fn special_tokens(checkpoint: &Checkpoint, rows: Option<usize>) -> Vec<Violation> {
    let Some(rows) = rows else { return Vec::new() };
    let places = [checkpoint.config_json(), checkpoint.generation_config_json()];
    let of_config = places.into_iter().flatten().flat_map(|config| {
        TOKENS.iter().filter_map(|key| Some(((*key).to_owned(), config.get(key)?)))
    });
    let metadata = checkpoint.container().metadata().iter();
    let of_keys = metadata
        .filter(|(key, _)| key.starts_with("tokenizer.ggml.") && key.ends_with("_token_id"))
        .map(|(key, value)| (key.clone(), value));
    let is_row = |id: &Value| {
        id.as_u64().and_then(|id| usize::try_from(id).ok()).is_some_and(|id| id < rows)
    };
    let mut findings = Vec::new();
    for (key, value) in of_config.chain(of_keys) {
        let ids = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for id in ids.iter().filter(|id| !id.is_null() && !is_row(id)) {
            let message = format!("{key} is {id}, the embedding has {rows} rows");
            findings.push(finding(Severity::Warning, "special-token", None, message));
        }
    }
    findings
}

/// Whether a text becomes itself again.
fn round_trip(
    tokenizer: &Tokenizer,
    (name, text): (&str, &str),
    rows: Option<usize>,
) -> Option<Violation> {
    let tokens = match tokenizer.encode(text) {
        Ok(tokens) => tokens,
        Err(error) => {
            let message = format!("{name}: {error}");
            return Some(finding(Severity::Error, RULE, None, message));
        }
    };
    let past = |token: &&u32| rows.is_some_and(|rows| units::index(**token) >= rows);
    if let Some(token) = tokens.iter().find(past) {
        let message = format!("{name}: gives token {token}, which the embedding does not have");
        return Some(finding(Severity::Error, RULE, None, message));
    }
    let (severity, message) = match tokenizer.decode(&tokens) {
        Ok(decoded) if decoded == text => return None,
        Ok(decoded) => {
            let same = decoded.chars().zip(text.chars()).take_while(|(a, b)| a == b).count();
            let part = |text: &str| text.chars().skip(same).take(12).collect::<String>();
            let (found, expected) = (part(&decoded), part(text));
            let message = format!(
                "{name}: does not come back from its tokens: {found:?} for {expected:?} at character {same}"
            );
            (Severity::Warning, message)
        }
        Err(error) => (Severity::Error, format!("{name}: {error}")),
    };
    Some(finding(severity, "round-trip", None, message))
}
