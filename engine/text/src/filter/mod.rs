//! Filters: tokens to tokens. A token that is left out leaves a gap: the others keep their places.
//!
//! | filter | parameters | what it does |
//! |---|---|---|
//! | `lowercase` | | |
//! | `asciifolding` | | letters with marks become plain ones |
//! | `alphanumonly` | | keeps tokens of ASCII letters and digits |
//! | `cnalphanumonly` | | keeps tokens with a Han character, an ASCII letter or a digit |
//! | `cncharonly` | | keeps tokens with a Han character |
//! | `removepunct` | | drops tokens with punctuation or white space |
//! | `stop` | `stop_words`, `stop_words_file` | drops these words |
//! | `length` | `max` | drops tokens of more bytes |
//! | `stemmer` | `language` | words to their stems |
//! | `decompounder` | `word_list`, `word_list_file` | words made of listed words alone become these |
//! | `regex` | `expr` | keeps tokens in which the expression is found |
//! | `decimaldigit` | | digits of every script become those of ASCII |
//! | `arabic_normalization` | | one form of the letters that have several, no marks |
//! | `synonym` | `synonyms`, `synonyms_file`, `expand` | words that stand for each other |
//! | `pinyin` | which forms are kept | Chinese words in Latin letters too |

mod fold;
mod pinyin;
mod script;
mod stop;
mod synonym;

use std::fmt;
use std::sync::{Arc, LazyLock};

use regex::Regex;
use rust_stemmers::{Algorithm, Stemmer};
use serde_json::{Map, Value};

use crate::error::AnalyzerError;
use crate::params::{only, text, texts};
use crate::token::Token;
use crate::word_files::lines_of_file;
use pinyin::PinyinForms;
pub(crate) use stop::StopWords;
use synonym::Synonyms;

const ALLOWED: &str = "lowercase, asciifolding, alphanumonly, cnalphanumonly, cncharonly, removepunct, stop, length, \
                       stemmer, decompounder, regex, decimaldigit, arabic_normalization, synonym, pinyin";

const LANGUAGES: [(&str, Algorithm); 18] = [
    ("arabic", Algorithm::Arabic),
    ("danish", Algorithm::Danish),
    ("dutch", Algorithm::Dutch),
    ("english", Algorithm::English),
    ("finnish", Algorithm::Finnish),
    ("french", Algorithm::French),
    ("german", Algorithm::German),
    ("greek", Algorithm::Greek),
    ("hungarian", Algorithm::Hungarian),
    ("italian", Algorithm::Italian),
    ("norwegian", Algorithm::Norwegian),
    ("portuguese", Algorithm::Portuguese),
    ("romanian", Algorithm::Romanian),
    ("russian", Algorithm::Russian),
    ("spanish", Algorithm::Spanish),
    ("swedish", Algorithm::Swedish),
    ("tamil", Algorithm::Tamil),
    ("turkish", Algorithm::Turkish),
];

static HAN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\p{Han}").ok());
static PUNCTUATION: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"[\p{P}\s]").ok());

fn has_han(text: &str) -> bool {
    HAN.as_ref().is_some_and(|han| han.is_match(text))
}

/// Changes or drops tokens.
#[derive(Clone)]
pub(crate) enum Filter {
    Lowercase,
    AsciiFolding,
    AlphaNumOnly,
    CnAlphaNumOnly,
    CnCharOnly,
    RemovePunct,
    Stop(StopWords),
    /// Most bytes of a token.
    Length(usize),
    Stemmer(&'static str, Arc<Stemmer>),
    /// Listed words, longest first.
    Decompounder(Arc<[String]>),
    Regex(Regex),
    DecimalDigit,
    ArabicNormalization,
    Synonym(Synonyms),
    Pinyin(PinyinForms),
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lowercase => f.write_str("lowercase"),
            Self::AsciiFolding => f.write_str("asciifolding"),
            Self::AlphaNumOnly => f.write_str("alphanumonly"),
            Self::CnAlphaNumOnly => f.write_str("cnalphanumonly"),
            Self::CnCharOnly => f.write_str("cncharonly"),
            Self::RemovePunct => f.write_str("removepunct"),
            Self::Stop(words) => write!(f, "stop({words:?})"),
            Self::Length(max) => write!(f, "length({max})"),
            Self::Stemmer(language, _) => write!(f, "stemmer({language})"),
            Self::Decompounder(words) => write!(f, "decompounder({words:?})"),
            Self::Regex(expr) => write!(f, "regex({expr})"),
            Self::DecimalDigit => f.write_str("decimaldigit"),
            Self::ArabicNormalization => f.write_str("arabic_normalization"),
            Self::Synonym(synonyms) => write!(f, "{synonyms:?}"),
            Self::Pinyin(forms) => write!(f, "{forms:?}"),
        }
    }
}

impl Filter {
    /// The filter of this name, or described by an object with a `type`.
    pub fn new(params: &Value) -> Result<Self, AnalyzerError> {
        let empty = Map::new();
        let (name, params) = match params {
            Value::String(name) => (name.as_str(), &empty),
            Value::Object(params) => (text(params, "type", "a filter")?, params),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
                return Err(AnalyzerError::Invalid(format!(
                    "a filter must be a string or an object, got {params}"
                )));
            }
        };
        let of = format!("the filter '{name}'");
        let plain = |filter: Self| only(params, &["type"], &of).map(|()| filter);
        match name {
            "lowercase" => plain(Self::Lowercase),
            "asciifolding" => plain(Self::AsciiFolding),
            "alphanumonly" => plain(Self::AlphaNumOnly),
            "cnalphanumonly" => plain(Self::CnAlphaNumOnly),
            "cncharonly" => plain(Self::CnCharOnly),
            "removepunct" => plain(Self::RemovePunct),
            "decimaldigit" => plain(Self::DecimalDigit),
            "arabic_normalization" => plain(Self::ArabicNormalization),
            "synonym" => Synonyms::new(params).map(Self::Synonym),
            "pinyin" => PinyinForms::new(params).map(Self::Pinyin),
            "stop" => {
                only(params, &["type", "stop_words", "stop_words_file"], &of)?;
                let words = listed(params, ("stop_words", "stop words"), "stop_words_file", &of)?;
                Ok(Self::Stop(StopWords::new(words)))
            }
            "length" => {
                only(params, &["type", "max"], &of)?;
                let max = params
                    .get("max")
                    .and_then(Value::as_u64)
                    .and_then(|max| usize::try_from(max).ok());
                max.map(Self::Length).ok_or_else(|| {
                    AnalyzerError::Invalid(format!("{of} must have 'max', a number of bytes from 0"))
                })
            }
            "stemmer" => {
                only(params, &["type", "language"], &of)?;
                Self::stemmer(text(params, "language", &of)?)
            }
            "decompounder" => {
                only(params, &["type", "word_list", "word_list_file"], &of)?;
                let list = ("word_list", "words of 'word_list'");
                let mut words = listed(params, list, "word_list_file", &of)?;
                words.retain(|word| !word.is_empty());
                words.sort_by_key(|word| std::cmp::Reverse(word.len()));
                Ok(Self::Decompounder(words.into()))
            }
            "regex" => {
                only(params, &["type", "expr"], &of)?;
                let expr = text(params, "expr", &of)?;
                Regex::new(expr).map(Self::Regex).map_err(|error| {
                    AnalyzerError::Invalid(format!("'{expr}' is no regular expression: {error}"))
                })
            }
            other => Err(AnalyzerError::Invalid(format!(
                "unknown filter '{other}'; allowed are {ALLOWED}"
            ))),
        }
    }

    /// The stemmer of a language.
    pub fn stemmer(language: &str) -> Result<Self, AnalyzerError> {
        let given = language.to_lowercase();
        let known = LANGUAGES.iter().find(|(name, _)| *name == given);
        let Some((name, algorithm)) = known else {
            let names: Vec<&str> = LANGUAGES.iter().map(|(name, _)| *name).collect();
            return Err(AnalyzerError::Invalid(format!(
                "unknown language '{language}' of a stemmer; allowed are {}",
                names.join(", ")
            )));
        };
        Ok(Self::Stemmer(name, Arc::new(Stemmer::create(*algorithm))))
    }

    pub fn apply(&self, mut tokens: Vec<Token>) -> Vec<Token> {
        match self {
            Self::Lowercase => change(tokens, |text| text.to_lowercase()),
            Self::AsciiFolding => change(tokens, fold::to_ascii),
            Self::DecimalDigit => change(tokens, script::to_ascii),
            Self::ArabicNormalization => change(tokens, script::arabic),
            Self::Synonym(synonyms) => tokens.drain(..).flat_map(|token| synonyms.of(token)).collect(),
            Self::Pinyin(forms) => tokens.drain(..).flat_map(|token| forms.of(token)).collect(),
            Self::Stemmer(_, stemmer) => change(tokens, |text| stemmer.stem(text).into_owned()),
            Self::AlphaNumOnly => keep(tokens, |text| text.chars().all(|c| c.is_ascii_alphanumeric())),
            Self::CnAlphaNumOnly => keep(tokens, |text| {
                text.chars().any(|c| c.is_ascii_alphanumeric()) || has_han(text)
            }),
            Self::CnCharOnly => keep(tokens, has_han),
            Self::RemovePunct => keep(tokens, |text| {
                !PUNCTUATION
                    .as_ref()
                    .is_some_and(|punctuation| punctuation.is_match(text))
            }),
            Self::Stop(words) => keep(tokens, |text| !words.contains(text)),
            Self::Length(max) => keep(tokens, |text| text.len() <= *max),
            Self::Regex(expr) => keep(tokens, |text| expr.is_match(text)),
            Self::Decompounder(words) => tokens
                .drain(..)
                .flat_map(|token| match parts(&token.text, words) {
                    Some(parts) => parts
                        .into_iter()
                        .map(|text| Token {
                            text,
                            ..token.clone()
                        })
                        .collect(),
                    None => vec![token],
                })
                .collect(),
        }
    }
}

/// The words under `key`, which errors call `words`, and those of the file under `file_key`; one of the two must be there.
fn listed(
    params: &Map<String, Value>,
    (key, words): (&str, &str),
    file_key: &str,
    of: &str,
) -> Result<Vec<String>, AnalyzerError> {
    let mut all = match params.get(key) {
        Some(given) => texts(given, words)?,
        None if params.contains_key(file_key) => Vec::new(),
        None => {
            return Err(AnalyzerError::Invalid(format!(
                "{of} must have '{key}' or '{file_key}'"
            )));
        }
    };
    all.extend(lines_of_file(params, file_key)?);
    Ok(all)
}

fn change(mut tokens: Vec<Token>, with: impl Fn(&str) -> String) -> Vec<Token> {
    for token in &mut tokens {
        token.text = with(&token.text);
    }
    tokens
}

fn keep(mut tokens: Vec<Token>, which: impl Fn(&str) -> bool) -> Vec<Token> {
    tokens.retain(|token| which(&token.text));
    tokens
}

/// The words that `text` is made of, the longest one first at every place; none when something is left over.
fn parts(text: &str, words: &[String]) -> Option<Vec<String>> {
    let mut rest = text;
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let word = words.iter().find(|word| rest.starts_with(word.as_str()))?;
        rest = rest.strip_prefix(word.as_str())?;
        parts.push(word.clone());
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tokenizer::Tokenizer;

    fn filtered(filter: &Value, text: &str) -> Vec<(String, usize)> {
        let tokens = Tokenizer::Whitespace.tokens(text);
        let tokens = Filter::new(filter).unwrap().apply(tokens);
        tokens
            .into_iter()
            .map(|token| (token.text, token.position))
            .collect()
    }

    fn words(filter: &Value, text: &str) -> Vec<String> {
        filtered(filter, text).into_iter().map(|(text, _)| text).collect()
    }

    #[test]
    fn letters_are_changed() {
        assert_eq!(
            words(&json!("lowercase"), "ÀB Straße ΣΑΣ"),
            ["àb", "straße", "σας"]
        );
        assert_eq!(
            words(&json!("asciifolding"), "Café naïve Ærø Straße łódź 東京 ﬁn x²"),
            ["Cafe", "naive", "AEro", "Strasse", "lodz", "東京", "fin", "x2"]
        );
        let stems = |language: &str, text| words(&json!({"type": "stemmer", "language": language}), text);
        assert_eq!(stems("english", "running databases"), ["run", "databas"]);
        assert_eq!(stems("German", "häuser"), ["haus"]);
    }

    #[test]
    fn tokens_are_kept_or_dropped_and_keep_their_places() {
        let text = "ab1 naïve 中文 a-b c中 .";
        let kept = |filter: Value| {
            filtered(&filter, text)
                .into_iter()
                .map(|(_, position)| position)
                .collect::<Vec<_>>()
        };
        assert_eq!(kept(json!("alphanumonly")), [0]);
        assert_eq!(kept(json!("cnalphanumonly")), [0, 1, 2, 3, 4]);
        assert_eq!(kept(json!("cncharonly")), [2, 4]);
        assert_eq!(kept(json!("removepunct")), [0, 1, 2, 4]);
        // Bytes, not characters: ï is two, 中 is three.
        assert_eq!(kept(json!({"type": "length", "max": 4})), [0, 3, 4, 5]);
        assert_eq!(kept(json!({"type": "regex", "expr": "^[a-c]"})), [0, 3, 4]);
        assert_eq!(
            kept(json!({"type": "stop", "stop_words": ["a-b", "."]})),
            [0, 1, 2, 4]
        );
    }

    #[test]
    fn synonyms_stand_at_the_place_of_their_word() {
        let rules = json!(["fast, quick => speedy, swift", "happy, joyful", "quick => rapid"]);
        let expanded = json!({"type": "synonym", "synonyms": rules});
        let found = filtered(&expanded, "quick joyful fox");
        let expected = [
            ("quick", 0),
            ("speedy", 0),
            ("swift", 0),
            ("rapid", 0),
            ("happy", 1),
            ("joyful", 1),
            ("fox", 2),
        ];
        // A word of a group comes first itself.
        assert_eq!(found.len(), expected.len());
        for (text, place) in expected {
            assert!(found.contains(&(text.to_string(), place)), "{text}");
        }
        let reduced = json!({"type": "synonym", "synonyms": rules, "expand": false});
        assert_eq!(
            words(&reduced, "quick joyful happy fox"),
            ["speedy", "swift", "rapid", "happy", "happy", "fox"]
        );
        let error = |filter: Value| Filter::new(&filter).unwrap_err().to_string();
        assert!(error(json!({"type": "synonym", "synonyms": ["a =>"]})).contains("'a =>' is no rule"));
        assert!(error(json!({"type": "synonym"})).contains("must have 'synonyms'"));
        assert!(error(json!({"type": "synonym", "synonyms": [], "expand": 1})).contains("must be a boolean"));
        assert!(error(json!({"type": "synonym", "synonyms_file": {}})).contains("must have 'type'"));
    }

    #[test]
    fn compounds_fall_apart_only_when_nothing_is_left_over() {
        let filter =
            json!({"type": "decompounder", "word_list": ["dampf", "schiff", "fahrt", "schifffahrt"]});
        assert_eq!(
            filtered(&filter, "dampfschifffahrt dampfer"),
            [
                ("dampf".into(), 0),
                ("schifffahrt".into(), 0),
                ("dampfer".into(), 1)
            ]
        );
    }
}
