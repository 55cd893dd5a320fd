//! Reading JSON parameters.

use serde_json::{Map, Value};

use crate::error::AnalyzerError;

/// The value of `key` that must be a text.
pub(crate) fn text<'a>(
    params: &'a Map<String, Value>,
    key: &str,
    of: &str,
) -> Result<&'a str, AnalyzerError> {
    match params.get(key) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(AnalyzerError::Invalid(format!(
            "'{key}' of {of} must be a string, got {other}"
        ))),
        None => Err(AnalyzerError::Invalid(format!("{of} must have '{key}'"))),
    }
}

/// Texts of a list; a text alone is a list of one.
pub(crate) fn texts(value: &Value, what: &str) -> Result<Vec<String>, AnalyzerError> {
    let bad = |given: &Value| AnalyzerError::Invalid(format!("{what} must be strings, got {given}"));
    match value {
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Array(items) => {
            let texts = items
                .iter()
                .map(|item| item.as_str().map(ToString::to_string).ok_or_else(|| bad(item)));
            texts.collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Err(bad(value)),
    }
}

/// Refuses keys that nothing reads.
pub(crate) fn only(params: &Map<String, Value>, known: &[&str], of: &str) -> Result<(), AnalyzerError> {
    match params.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(AnalyzerError::Invalid(format!(
            "unknown key '{key}' of {of}; allowed are {}",
            known.join(", ")
        ))),
        None => Ok(()),
    }
}
