//! Words by the rules, dictionaries and models of Unicode (ICU4X), and the language that a text is in.

use std::collections::BTreeMap;
use std::sync::Arc;

use icu_segmenter::WordSegmenter;
use icu_segmenter::options::WordBreakInvariantOptions;
use serde_json::{Map, Value};

use crate::analyzer::Analyzer;
use crate::error::AnalyzerError;
use crate::params::only;
use crate::token::Token;

/// Name of the analyzer of texts in any other language.
const DEFAULT: &str = "default";

/// What stands between the word boundaries of UAX #29: words, and white space and punctuation too when they are
/// `everything`.
pub(crate) fn words(text: &str, everything: bool) -> Vec<Token> {
    let segmenter = WordSegmenter::new_auto(WordBreakInvariantOptions::default());
    let mut tokens = Vec::new();
    let mut start = 0;
    for end in segmenter.segment_str(text) {
        let word = text.get(start..end).unwrap_or_default();
        if !word.is_empty() && (everything || word.chars().any(char::is_alphanumeric)) {
            tokens.push(Token {
                text: word.to_string(),
                start,
                end,
                position: tokens.len(),
                position_length: 1,
            });
        }
        start = end;
    }
    tokens
}

/// An analyzer for each language.
#[derive(Clone, Debug)]
pub(crate) struct ByLanguage {
    default: Analyzer,
    languages: Arc<BTreeMap<String, Analyzer>>,
}

impl ByLanguage {
    /// Reads `analyzers`, one for each language by its English name, and the `default` one.
    pub fn new(params: &Map<String, Value>) -> Result<Self, AnalyzerError> {
        let of = "the tokenizer 'language_identifier'";
        only(params, &["type", "identifier", "analyzers"], of)?;
        match params.get("identifier").map(Value::as_str) {
            None | Some(Some("whatlang")) => {}
            Some(Some("lingua")) => {
                return Err(AnalyzerError::Unsupported(format!(
                    "the identifier 'lingua' of {of}; allowed is whatlang"
                )));
            }
            Some(_) => {
                return Err(AnalyzerError::Invalid(format!(
                    "unknown 'identifier' of {of}; allowed is whatlang"
                )));
            }
        }
        let Some(Value::Object(given)) = params.get("analyzers") else {
            return Err(AnalyzerError::Invalid(format!(
                "{of} must have 'analyzers', an object of them by language"
            )));
        };
        let mut languages = BTreeMap::new();
        for (language, params) in given {
            let Value::Object(params) = params else {
                return Err(AnalyzerError::Invalid(format!(
                    "the analyzer '{language}' of {of} must be an object, got {params}"
                )));
            };
            if language != DEFAULT
                && !whatlang::Lang::all()
                    .iter()
                    .any(|known| known.eng_name() == language)
            {
                let known: Vec<&str> = whatlang::Lang::all()
                    .iter()
                    .map(|known| known.eng_name())
                    .collect();
                return Err(AnalyzerError::Invalid(format!(
                    "unknown language '{language}' of {of}; allowed are {DEFAULT}, {}",
                    known.join(", ")
                )));
            }
            languages.insert(language.clone(), Analyzer::new(params)?);
        }
        let Some(default) = languages.remove(DEFAULT) else {
            return Err(AnalyzerError::Invalid(format!(
                "{of} must have an analyzer '{DEFAULT}', for languages that have none"
            )));
        };
        Ok(Self {
            default,
            languages: languages.into(),
        })
    }

    /// The tokens that the analyzer of the text's language makes.
    pub fn tokens(&self, text: &str) -> Vec<Token> {
        let language = whatlang::detect_lang(text).map(|language| language.eng_name());
        let analyzer = language.and_then(|language| self.languages.get(language));
        analyzer.unwrap_or(&self.default).tokens(text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(tokens: Vec<Token>) -> Vec<String> {
        tokens.into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn words_are_those_of_unicode() {
        assert_eq!(
            texts(words("Привет! Как дела?", true)),
            ["Привет", "!", " ", "Как", " ", "дела", "?"]
        );
        assert_eq!(
            texts(words("Привет! Как дела?", false)),
            ["Привет", "Как", "дела"]
        );
        assert_eq!(
            texts(words("can't 3.14 naïve", false)),
            ["can't", "3.14", "naïve"]
        );
        assert_eq!(texts(words("ภาษาไทยภาษา", false)), ["ภาษา", "ไทย", "ภาษา"]);
        assert!(words("", true).is_empty());
        for token in words("日本語の文章です。 ok", true) {
            assert_eq!("日本語の文章です。 ok"[token.start..token.end], token.text);
        }
    }

    #[test]
    fn the_language_chooses_the_analyzer() {
        let params = json!({"type": "language_identifier", "identifier": "whatlang", "analyzers": {
            "default": {"tokenizer": "whitespace"}, "English": {"type": "english"}, "Mandarin": {"tokenizer": "jieba"},
        }});
        let chosen = ByLanguage::new(params.as_object().unwrap()).unwrap();
        let tokens = |text| texts(chosen.tokens(text));
        assert_eq!(
            tokens("The foxes were running through the quiet forests"),
            ["fox", "were", "run", "through", "quiet", "forest"]
        );
        assert!(tokens("敏捷的棕色狐狸跳过了懒狗").contains(&"狐狸".to_string()));
        assert_eq!(tokens("Лисы бегали по лесу."), ["Лисы", "бегали", "по", "лесу."]);
        assert!(tokens("").is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |params: Value| {
            ByLanguage::new(params.as_object().unwrap())
                .unwrap_err()
                .to_string()
        };
        assert!(error(json!({"type": "language_identifier"})).contains("must have 'analyzers'"));
        assert!(error(json!({"analyzers": {}})).contains("must have an analyzer 'default'"));
        assert!(
            error(json!({"analyzers": {"default": {}, "Klingon": {}}}))
                .contains("unknown language 'Klingon'")
        );
        assert!(error(json!({"analyzers": {"default": []}})).contains("must be an object"));
        assert!(
            error(json!({"identifier": "lingua", "analyzers": {"default": {}}})).starts_with("not supported")
        );
        assert!(
            error(json!({"identifier": 3, "analyzers": {"default": {}}})).contains("allowed is whatlang")
        );
    }
}
