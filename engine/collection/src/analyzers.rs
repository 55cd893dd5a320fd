//! The analyzers of a text field: one, or several among which another field chooses, row by row.
//!
//! Several are what `multi_analyzer_params` says, in Milvus' form:
//!
//! ```json
//! {"by_field": "language",
//!  "analyzers": {"english": {"type": "english"}, "chinese": {"tokenizer": "jieba"}, "default": {"tokenizer": "whitespace"}},
//!  "alias": {"en": "english", "cn": "chinese"}}
//! ```

use std::collections::BTreeMap;

use elanus_text::{Analyzer, AnalyzerError};
use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::function::{ANALYZER_PARAMS, MULTI_ANALYZER_PARAMS};
use crate::types::Field;

/// Name of the analyzer of rows whose value names none.
const DEFAULT: &str = "default";

/// The analyzers of a text field.
#[derive(Debug, Clone)]
pub struct Analyzers {
    /// Of texts that no other is for.
    default: Analyzer,
    by_field: Option<ByField>,
}

#[derive(Debug, Clone)]
struct ByField {
    field: String,
    analyzers: BTreeMap<String, Analyzer>,
    aliases: BTreeMap<String, String>,
}

/// `multi_analyzer_params` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    by_field: String,
    analyzers: BTreeMap<String, Value>,
    #[serde(default)]
    alias: BTreeMap<String, String>,
}

impl Analyzers {
    /// The analyzers that the parameters of a field describe.
    ///
    /// # Errors
    /// [`Error::InvalidSchema`] when they describe none, [`Error::InvalidParameter`] when they need what is not there.
    pub fn of(field: &Field) -> Result<Self> {
        let Some(text) = several(field) else {
            return analyzer_of(field).map(Self::from);
        };
        let bad = |what: String| Error::InvalidSchema(format!("field '{}': {what}", field.name));
        if field.params.contains_key(ANALYZER_PARAMS) {
            return Err(bad(format!(
                "it has {ANALYZER_PARAMS} and {MULTI_ANALYZER_PARAMS}: one of them is"
            )));
        }
        let described: Described = serde_json::from_str(text).map_err(|error| {
            bad(format!(
                "{MULTI_ANALYZER_PARAMS} must be an object with by_field (a name), analyzers (an object of them by name) and, if wanted, alias (an object of names): {error}"
            ))
        })?;
        let mut analyzers = BTreeMap::new();
        for (name, params) in &described.analyzers {
            let analyzer = parse(field, &format!("analyzer '{name}': "), &params.to_string())?;
            analyzers.insert(name.clone(), analyzer);
        }
        let Some(default) = analyzers.get(DEFAULT).cloned() else {
            return Err(bad(format!(
                "{MULTI_ANALYZER_PARAMS} must have an analyzer '{DEFAULT}', for rows whose '{}' names none",
                described.by_field
            )));
        };
        if let Some((alias, name)) = described
            .alias
            .iter()
            .find(|(_, name)| !analyzers.contains_key(*name))
        {
            let known: Vec<&str> = analyzers.keys().map(String::as_str).collect();
            return Err(bad(format!(
                "alias '{alias}' is for '{name}', which is no analyzer; there are {}",
                known.join(", ")
            )));
        }
        Ok(Self {
            default,
            by_field: Some(ByField {
                field: described.by_field,
                analyzers,
                aliases: described.alias,
            }),
        })
    }

    /// The field whose values choose, when there are several.
    pub fn by_field(&self) -> Option<&str> {
        self.by_field.as_ref().map(|by| by.field.as_str())
    }

    /// The analyzer of this name or alias; the default one for any other name.
    pub fn named(&self, name: Option<&str>) -> &Analyzer {
        let chosen = self.by_field.as_ref().zip(name).and_then(|(by, name)| {
            let name = by.aliases.get(name).map_or(name, String::as_str);
            by.analyzers.get(name)
        });
        chosen.unwrap_or(&self.default)
    }
}

impl From<Analyzer> for Analyzers {
    fn from(default: Analyzer) -> Self {
        Self {
            default,
            by_field: None,
        }
    }
}

/// The analyzer of a field's text, when it has one.
///
/// # Errors
/// As [`Analyzers::of`]; [`Error::InvalidParameter`] when it has several.
pub fn analyzer_of(field: &Field) -> Result<Analyzer> {
    if several(field).is_some() {
        return Err(Error::InvalidParameter(format!(
            "field '{}' has several analyzers: its terms are known by a full-text search alone",
            field.name
        )));
    }
    let params = field.params.get(ANALYZER_PARAMS).map_or("", String::as_str);
    parse(field, "", params)
}

/// The parameter that describes several analyzers, when it does.
pub(crate) fn several(field: &Field) -> Option<&str> {
    let text = field.params.get(MULTI_ANALYZER_PARAMS)?;
    (!matches!(text.trim(), "" | "{}")).then_some(text)
}

fn parse(field: &Field, which: &str, params: &str) -> Result<Analyzer> {
    Analyzer::parse(params).map_err(|error| {
        let what = format!("field '{}': {which}{error}", field.name);
        match error {
            AnalyzerError::Invalid(_) => Error::InvalidSchema(what),
            AnalyzerError::Unsupported(_) => Error::InvalidParameter(what),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::DataType;

    fn field(params: &str) -> Field {
        let mut field = Field::new("body", DataType::Text);
        field.params.insert(MULTI_ANALYZER_PARAMS.into(), params.into());
        field
    }

    #[test]
    fn names_and_aliases_choose_and_everything_else_is_the_default() {
        let field = field(
            r#"{"by_field": "language", "alias": {"en": "english"},
                "analyzers": {"default": {"tokenizer": "whitespace"}, "english": {"type": "english"}}}"#,
        );
        let analyzers = Analyzers::of(&field).unwrap();
        assert_eq!(analyzers.by_field(), Some("language"));
        let terms = |name| {
            let tokens = analyzers.named(name).tokens("The Foxes").into_iter();
            tokens.map(|token| token.text).collect::<Vec<_>>()
        };
        for name in [Some("english"), Some("en")] {
            assert_eq!(terms(name), ["fox"]);
        }
        for name in [None, Some(""), Some("default"), Some("klingon")] {
            assert_eq!(terms(name), ["The", "Foxes"]);
        }
        analyzer_of(&field).unwrap_err();
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |params: &str| Analyzers::of(&field(params)).unwrap_err().to_string();
        assert!(error("[]").contains("must be an object with by_field"));
        assert!(error(r#"{"analyzers": {"default": {}}}"#).contains("missing field `by_field`"));
        assert!(error(r#"{"by_field": "a", "analyzers": {}}"#).contains("must have an analyzer 'default'"));
        let klingon = r#"{"by_field": "a", "analyzers": {"default": {"type": "klingon"}}}"#;
        assert!(error(klingon).contains("analyzer 'default': "));
        let alias = r#"{"by_field": "a", "analyzers": {"default": {}}, "alias": {"en": "english"}}"#;
        assert!(
            error(alias).contains("alias 'en' is for 'english', which is no analyzer; there are default")
        );
        assert!(
            error(r#"{"by_field": "a", "analyzers": {"default": {}}, "of": 1}"#)
                .contains("unknown field `of`")
        );
    }
}
