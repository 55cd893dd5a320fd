//! Words by the rules, dictionaries and models of Unicode (ICU4X), and an analyzer for each language.

use std::collections::BTreeMap;
use std::sync::Arc;

use icu_segmenter::WordSegmenter;
use icu_segmenter::options::WordBreakInvariantOptions;
use serde_json::{Map, Value};

use crate::analyzer::Analyzer;
use crate::error::AnalyzerError;
use crate::language::Identifier;
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
    identifier: Identifier,
    default: Analyzer,
    /// By the name of the language.
    languages: Arc<BTreeMap<String, Analyzer>>,
}

impl ByLanguage {
    /// Reads `analyzers`, the `default` one and others by the English name of their language, or by any name that
    /// `mapping` gives languages; and the `identifier`.
    pub fn new(params: &Map<String, Value>) -> Result<Self, AnalyzerError> {
        let of = "the tokenizer 'language_identifier'";
        only(params, &["type", "identifier", "analyzers", "mapping"], of)?;
        let identifier = Identifier::new(params.get("identifier"))?;
        let Some(Value::Object(given)) = params.get("analyzers") else {
            return Err(AnalyzerError::Invalid(format!(
                "{of} must have 'analyzers', an object of them by language"
            )));
        };
        let mapping = match params.get("mapping") {
            None => BTreeMap::new(),
            Some(mapping) => {
                serde_json::from_value::<BTreeMap<String, String>>(mapping.clone()).map_err(|_| {
                    AnalyzerError::Invalid(format!(
                        "'mapping' of {of} must be an object of names of analyzers by language, got {mapping}"
                    ))
                })?
            }
        };
        let known = identifier.languages();
        if let Some(language) = mapping.keys().find(|language| !known.contains(language)) {
            return Err(unknown(language, &known));
        }
        let mut analyzers = BTreeMap::new();
        for (name, params) in given {
            let Value::Object(params) = params else {
                return Err(AnalyzerError::Invalid(format!(
                    "the analyzer '{name}' of {of} must be an object, got {params}"
                )));
            };
            if name != DEFAULT && !known.contains(name) && !mapping.values().any(|mapped| mapped == name) {
                return Err(unknown(name, &known));
            }
            analyzers.insert(name.clone(), Analyzer::new(params)?);
        }
        let Some(default) = analyzers.get(DEFAULT).cloned() else {
            return Err(AnalyzerError::Invalid(format!(
                "{of} must have an analyzer '{DEFAULT}', for languages that have none"
            )));
        };
        let mut languages = BTreeMap::new();
        for language in known {
            let name = mapping.get(&language).unwrap_or(&language);
            if let Some(analyzer) = analyzers.get(name) {
                languages.insert(language, analyzer.clone());
            } else if mapping.contains_key(&language) {
                return Err(AnalyzerError::Invalid(format!(
                    "'mapping' of {of} gives {language} the analyzer '{name}', which is not in 'analyzers'"
                )));
            }
        }
        Ok(Self {
            identifier,
            default,
            languages: languages.into(),
        })
    }

    /// The tokens that the analyzer of the text's language makes.
    pub fn tokens(&self, text: &str) -> Vec<Token> {
        let language = self.identifier.language(text);
        let analyzer = language.and_then(|language| self.languages.get(&language));
        analyzer.unwrap_or(&self.default).tokens(text)
    }
}

fn unknown(language: &str, known: &[String]) -> AnalyzerError {
    AnalyzerError::Invalid(format!(
        "unknown language '{language}' of the tokenizer 'language_identifier'; allowed are {DEFAULT}, {}",
        known.join(", ")
    ))
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
    fn languages_may_share_an_analyzer() {
        let params = json!({"analyzers": {"default": {"tokenizer": "whitespace"}, "stemmed": {"type": "english"}},
            "mapping": {"English": "stemmed", "Dutch": "stemmed", "French": "default"}});
        let chosen = ByLanguage::new(params.as_object().unwrap()).unwrap();
        let english = "The foxes were running through the quiet forests";
        assert_eq!(texts(chosen.tokens(english))[0], "fox");
        assert_eq!(
            texts(chosen.tokens("Les renards couraient dans les forêts tranquilles."))[0],
            "Les"
        );
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
        assert!(error(json!({"identifier": 3, "analyzers": {"default": {}}})).contains("must be a string"));
        let mapping = |mapping| error(json!({"analyzers": {"default": {}}, "mapping": mapping}));
        assert!(mapping(json!(["en"])).contains("must be an object of names"));
        assert!(mapping(json!({"Klingon": "default"})).contains("unknown language 'Klingon'"));
        assert!(mapping(json!({"English": "en"})).contains("'en', which is not in 'analyzers'"));
    }
}
