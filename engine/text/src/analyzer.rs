//! An analyzer: a tokenizer and filters, or a built-in one by its name.
//!
//! | built-in | tokenizer | filters |
//! |---|---|---|
//! | `standard` | standard | lowercase, stop (`stop_words`) |
//! | `english` | standard | lowercase, stemmer (english), stop (`_english_` and `stop_words`) |
//! | `chinese` | jieba | cnalphanumonly, stop (`stop_words`) |
//! | `arabic` | standard | lowercase, decimaldigit, arabic_normalization, stemmer (arabic), stop (`_arabic_` and `stop_words`) |
//! | `thai` | thai | lowercase, decimaldigit, stop (`_thai_` and `stop_words`) |

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::error::AnalyzerError;
use crate::filter::{Filter, StopWords};
use crate::params::{only, text, texts};
use crate::token::Token;
use crate::tokenizer::Tokenizer;

const BUILT_IN: &str = "standard, english, chinese, arabic, thai";

/// Turns texts into tokens. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Analyzer {
    tokenizer: Tokenizer,
    filters: Arc<[Filter]>,
}

impl Default for Analyzer {
    fn default() -> Self {
        Self {
            tokenizer: Tokenizer::Standard,
            filters: Arc::new([Filter::Lowercase]),
        }
    }
}

impl Analyzer {
    /// The analyzer that `params`, a JSON object as text, describe; empty text is `standard`.
    ///
    /// # Errors
    /// [`AnalyzerError`] when they describe none, or one that is not there.
    pub fn parse(params: &str) -> Result<Self, AnalyzerError> {
        if params.trim().is_empty() {
            return Ok(Self::default());
        }
        match serde_json::from_str(params) {
            Ok(Value::Object(params)) => Self::new(&params),
            Ok(other) => Err(AnalyzerError::Invalid(format!(
                "a JSON object is needed, got {other}"
            ))),
            Err(error) => Err(AnalyzerError::Invalid(format!("'{params}' is not JSON: {error}"))),
        }
    }

    /// The analyzer that these parameters describe.
    ///
    /// # Errors
    /// As [`Analyzer::parse`].
    pub fn new(params: &Map<String, Value>) -> Result<Self, AnalyzerError> {
        if params.is_empty() {
            return Ok(Self::default());
        }
        if params.contains_key("type") {
            return Self::built_in(params);
        }
        only(params, &["tokenizer", "filter"], "an analyzer")?;
        let Some(tokenizer) = params.get("tokenizer") else {
            return Err(AnalyzerError::Invalid(
                "an analyzer must have 'tokenizer', or 'type' of a built-in one".into(),
            ));
        };
        let filters = match params.get("filter") {
            None => Vec::new(),
            Some(Value::Array(filters)) => filters.iter().map(Filter::new).collect::<Result<_, _>>()?,
            Some(other) => {
                return Err(AnalyzerError::Invalid(format!(
                    "'filter' must be a list, got {other}"
                )));
            }
        };
        Ok(Self {
            tokenizer: Tokenizer::new(tokenizer)?,
            filters: filters.into(),
        })
    }

    fn built_in(params: &Map<String, Value>) -> Result<Self, AnalyzerError> {
        let name = text(params, "type", "an analyzer")?;
        let of = format!("the analyzer '{name}'");
        only(params, &["type", "stop_words"], &of)?;
        let stop_words = match params.get("stop_words") {
            None => None,
            Some(words) => Some(StopWords::new(texts(words, "stop words")?)),
        };
        let list = |name: &str| Filter::Stop(StopWords::new(vec![name.to_string()]));
        let (tokenizer, mut filters) = match name {
            "standard" => (Tokenizer::Standard, vec![Filter::Lowercase]),
            "english" => (
                Tokenizer::Standard,
                vec![Filter::Lowercase, Filter::stemmer("english")?, list("_english_")],
            ),
            "chinese" => (Tokenizer::jieba(), vec![Filter::CnAlphaNumOnly]),
            "arabic" => (
                Tokenizer::Standard,
                vec![
                    Filter::Lowercase,
                    Filter::DecimalDigit,
                    Filter::ArabicNormalization,
                    Filter::stemmer("arabic")?,
                    list("_arabic_"),
                ],
            ),
            "thai" => (
                Tokenizer::Thai,
                vec![Filter::Lowercase, Filter::DecimalDigit, list("_thai_")],
            ),
            other => {
                return Err(AnalyzerError::Invalid(format!(
                    "unknown analyzer type '{other}'; allowed are {BUILT_IN}"
                )));
            }
        };
        filters.extend(stop_words.map(Filter::Stop));
        Ok(Self {
            tokenizer,
            filters: filters.into(),
        })
    }

    /// The tokens of a text, in order.
    pub fn tokens(&self, text: &str) -> Vec<Token> {
        let mut tokens = self.tokenizer.tokens(text);
        for filter in self.filters.iter() {
            tokens = filter.apply(tokens);
        }
        tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts_of(params: &str, text: &str) -> Vec<String> {
        let tokens = Analyzer::parse(params).unwrap().tokens(text);
        tokens.into_iter().map(|token| token.text).collect()
    }

    fn error(params: &str) -> String {
        Analyzer::parse(params).unwrap_err().to_string()
    }

    const SENTENCE: &str = "The Milvus vector database is built for scale!";

    #[test]
    fn built_in_analyzers_are_those_of_the_documentation() {
        let all = [
            "the", "milvus", "vector", "database", "is", "built", "for", "scale",
        ];
        for standard in ["", "{}", r#"{"type": "standard"}"#] {
            assert_eq!(texts_of(standard, SENTENCE), all);
        }
        assert_eq!(
            texts_of(r#"{"type": "english"}"#, SENTENCE),
            ["milvus", "vector", "databas", "built", "scale"]
        );
        assert_eq!(
            texts_of(r#"{"type": "english", "stop_words": ["milvus"]}"#, SENTENCE),
            ["vector", "databas", "built", "scale"]
        );
        assert_eq!(
            texts_of(
                r#"{"type": "standard", "stop_words": ["is", "_english_"]}"#,
                SENTENCE
            ),
            ["milvus", "vector", "database", "built", "scale"]
        );
        assert_eq!(
            texts_of(
                r#"{"type": "chinese"}"#,
                "Milvus 是一个高性能、可扩展的向量数据库！"
            ),
            [
                "Milvus",
                "是",
                "一个",
                "高性",
                "性能",
                "高性能",
                "可",
                "扩展",
                "的",
                "向量",
                "数据",
                "据库",
                "数据库"
            ]
        );
    }

    #[test]
    fn arabic_and_thai_are_their_parts() {
        let arabic = r#"{"tokenizer": "standard", "filter": ["lowercase", "decimaldigit", "arabic_normalization",
            {"type": "stemmer", "language": "arabic"}, {"type": "stop", "stop_words": "_arabic_"}]}"#;
        let text = "هذه المكتبةُ في القاهرة ٢٠٢٦ Milvus";
        let tokens = texts_of(r#"{"type": "arabic"}"#, text);
        assert_eq!(tokens, texts_of(arabic, text));
        assert!(tokens.contains(&"2026".to_string()) && tokens.contains(&"milvus".to_string()));
        assert!(!tokens.contains(&"في".to_string()));
        let without = texts_of(r#"{"type": "arabic", "stop_words": ["milvus"]}"#, text);
        assert_eq!(without.len(), tokens.len() - 1);

        let thai = r#"{"tokenizer": "thai", "filter": ["lowercase", "decimaldigit",
            {"type": "stop", "stop_words": ["_thai_"]}]}"#;
        let text = "ฐานข้อมูลเวกเตอร์ของ Milvus และ ๒๕๖๙";
        let tokens = texts_of(r#"{"type": "thai"}"#, text);
        assert_eq!(tokens, texts_of(thai, text));
        assert!(tokens.contains(&"2569".to_string()) && !tokens.contains(&"และ".to_string()));
    }

    #[test]
    fn english_is_the_same_as_its_parts() {
        let parts = r#"{"tokenizer": "standard", "filter": ["lowercase", {"type": "stemmer", "language": "english"},
            {"type": "stop", "stop_words": "_english_"}]}"#;
        for text in [
            SENTENCE,
            "Running runners ran; it was their 3rd RUN.",
            "",
            "—…",
            "naïve Straße 東京",
        ] {
            assert_eq!(
                Analyzer::parse(parts).unwrap().tokens(text),
                Analyzer::parse(r#"{"type": "english"}"#).unwrap().tokens(text)
            );
        }
    }

    #[test]
    fn tokens_know_where_they_came_from() {
        let analyzer = Analyzer::parse(r#"{"type": "english"}"#).unwrap();
        let text = "The Čapek robots";
        let tokens = analyzer.tokens(text);
        let found: Vec<_> = tokens
            .iter()
            .map(|t| (&text[t.start..t.end], t.position, t.position_length))
            .collect();
        assert_eq!(found, [("Čapek", 1, 1), ("robots", 2, 1)]);
        assert_eq!(tokens[1].text, "robot");
    }

    #[test]
    fn what_is_wrong_or_missing_is_named() {
        assert_eq!(
            error(r#"{"type": "klingon"}"#),
            "invalid analyzer params: unknown analyzer type 'klingon'; allowed are standard, english, chinese, arabic, thai"
        );
        assert!(
            error(r#"{"tokenizer": "lindera"}"#).contains("the tokenizer 'lindera' must have 'dict_kind'")
        );
        assert!(error(r#"{"tokenizer": "words"}"#).contains(
            "unknown tokenizer 'words'; allowed are standard, whitespace, char_group, jieba, lindera, icu"
        ));
        let neither = r#"{"tokenizer": "standard", "filter": [{"type": "synonym"}]}"#;
        assert!(error(neither).contains("must have 'synonyms' or 'synonyms_file'"));
        assert!(
            error(r#"{"tokenizer": "standard", "filter": ["upper"]}"#).contains("unknown filter 'upper'")
        );
        assert!(error(r#"{"tokenizer": "standard", "filter": [{"type": "length"}]}"#).contains("'max'"));
        assert!(
            error(r#"{"tokenizer": "standard", "filter": [{"type": "regex", "expr": "("}]}"#)
                .contains("is no regular expression")
        );
        assert!(
            error(r#"{"tokenizer": "standard", "filter": "lowercase"}"#).contains("'filter' must be a list")
        );
        assert!(
            error(r#"{"tokenizer": "standard", "char_filter": []}"#).contains("unknown key 'char_filter'")
        );
        assert!(error(r#"{"filter": []}"#).contains("must have 'tokenizer'"));
        assert!(error("[]").contains("a JSON object is needed"));
        assert!(error("{").contains("is not JSON"));
    }
}
