//! Tokenizers: text to tokens.

use std::fmt;
use std::io::BufReader;
use std::sync::{Arc, LazyLock};

use flate2::read::GzDecoder;
use jieba_rs::{Jieba, TokenizeMode};
use serde_json::{Map, Value};

use crate::char_group::{Delimiter, delimiters};
use crate::error::AnalyzerError;
use crate::lindera::Lindera;
use crate::params::{only, text, texts};
use crate::segments::{ByLanguage, words};
use crate::token::Token;
use crate::word_files::text_of_file;

/// Tokenizers of Milvus that are not there.
const ELSEWHERE: [&str; 1] = ["grpc"];
const ALLOWED: &str = "standard, whitespace, char_group, jieba, lindera, icu, thai, language_identifier";

/// The dictionary of jieba, read once.
static DEFAULT_DICTIONARY: LazyLock<Arc<Jieba>> = LazyLock::new(|| {
    let packed: &[u8] = include_bytes!("../dict/jieba.txt.gz");
    let mut lines = BufReader::new(GzDecoder::new(packed));
    // It is part of the program: a test reads it whole.
    Arc::new(Jieba::with_dict(&mut lines).unwrap_or_else(|_| Jieba::empty()))
});

/// Cuts a text into tokens.
#[derive(Clone)]
pub(crate) enum Tokenizer {
    /// Runs of letters and digits.
    Standard,
    /// What stands between white space.
    Whitespace,
    /// What stands between characters that are listed.
    CharGroup(Arc<[Delimiter]>),
    /// Japanese, Korean or Chinese morphemes by a dictionary.
    Lindera(Lindera),
    /// Chinese words by a dictionary, and by a model for words that are in none.
    Jieba {
        dictionary: Arc<Jieba>,
        mode: TokenizeMode,
        hmm: bool,
    },
    /// Words, white space and punctuation by the rules of Unicode.
    Icu,
    /// Words by the rules of Unicode.
    Thai,
    /// The analyzer of the text's language.
    Language(Box<ByLanguage>),
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Standard => "standard",
            Self::Whitespace => "whitespace",
            Self::CharGroup(_) => "char_group",
            Self::Lindera(_) => "lindera",
            Self::Jieba { .. } => "jieba",
            Self::Icu => "icu",
            Self::Thai => "thai",
            Self::Language(_) => "language_identifier",
        })
    }
}

impl Tokenizer {
    /// The tokenizer of this name, or described by an object with a `type`.
    pub fn new(params: &Value) -> Result<Self, AnalyzerError> {
        let empty = Map::new();
        let (name, params) = match params {
            Value::String(name) => (name.as_str(), &empty),
            Value::Object(params) => (text(params, "type", "a tokenizer")?, params),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
                return Err(AnalyzerError::Invalid(format!(
                    "a tokenizer must be a string or an object, got {params}"
                )));
            }
        };
        let of = format!("the tokenizer '{name}'");
        match name {
            "standard" => only(params, &["type"], &of).map(|()| Self::Standard),
            "whitespace" => only(params, &["type"], &of).map(|()| Self::Whitespace),
            "char_group" => delimiters(params, &of).map(Self::CharGroup),
            "lindera" => Lindera::new(params, &of).map(Self::Lindera),
            "jieba" => Self::jieba_with(params),
            "icu" => only(params, &["type"], &of).map(|()| Self::Icu),
            "thai" => only(params, &["type"], &of).map(|()| Self::Thai),
            "language_identifier" => Ok(Self::Language(Box::new(ByLanguage::new(params)?))),
            other if ELSEWHERE.contains(&other) => Err(AnalyzerError::Unsupported(format!(
                "the tokenizer '{other}'; allowed are {ALLOWED}"
            ))),
            other => Err(AnalyzerError::Invalid(format!(
                "unknown tokenizer '{other}'; allowed are {ALLOWED}"
            ))),
        }
    }

    /// Jieba with its own dictionary.
    pub fn jieba() -> Self {
        Self::Jieba {
            dictionary: Arc::clone(&DEFAULT_DICTIONARY),
            mode: TokenizeMode::Search,
            hmm: true,
        }
    }

    fn jieba_with(params: &Map<String, Value>) -> Result<Self, AnalyzerError> {
        let of = "the tokenizer 'jieba'";
        only(params, &["type", "dict", "extra_dict_file", "mode", "hmm"], of)?;
        let extra = text_of_file(params, "extra_dict_file")?;
        let mut words = match params.get("dict") {
            None => vec!["_default_".to_string()],
            Some(words) => texts(words, "words of 'dict'")?,
        };
        let all = words.len();
        words.retain(|word| word != "_default_");
        let with_default = words.len() < all;
        let dictionary = if with_default && words.is_empty() && extra.is_none() {
            Arc::clone(&DEFAULT_DICTIONARY)
        } else {
            let mut dictionary = if with_default {
                Jieba::clone(&DEFAULT_DICTIONARY)
            } else {
                Jieba::empty()
            };
            for word in &words {
                dictionary.add_word(word, None, None);
            }
            for line in extra.unwrap_or_default().lines() {
                add_entry(&mut dictionary, line)?;
            }
            Arc::new(dictionary)
        };
        let mode = match params.get("mode") {
            None => TokenizeMode::Search,
            Some(Value::String(mode)) if mode == "search" => TokenizeMode::Search,
            Some(Value::String(mode)) if mode == "exact" => TokenizeMode::Default,
            Some(other) => {
                return Err(AnalyzerError::Invalid(format!(
                    "'mode' of {of} must be \"exact\" or \"search\", got {other}"
                )));
            }
        };
        let hmm = match params.get("hmm") {
            None => true,
            Some(Value::Bool(hmm)) => *hmm,
            Some(other) => {
                return Err(AnalyzerError::Invalid(format!(
                    "'hmm' of {of} must be a boolean, got {other}"
                )));
            }
        };
        Ok(Self::Jieba {
            dictionary,
            mode,
            hmm,
        })
    }

    pub fn tokens(&self, text: &str) -> Vec<Token> {
        match self {
            Self::Standard => runs(text, char::is_alphanumeric),
            Self::Whitespace => runs(text, |c| !c.is_ascii_whitespace()),
            Self::CharGroup(delimiters) => runs(text, |c| !delimiters.iter().any(|one| one.is(c))),
            Self::Lindera(lindera) => lindera.tokens(text),
            Self::Icu => words(text, true),
            Self::Thai => words(text, false),
            Self::Language(by_language) => by_language.tokens(text),
            Self::Jieba {
                dictionary,
                mode,
                hmm,
            } => {
                let mut bytes: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
                bytes.push(text.len());
                let words = dictionary.tokenize(text, *mode, *hmm);
                let token = |word: jieba_rs::Token<'_>| {
                    Some(Token {
                        text: word.word.to_string(),
                        start: *bytes.get(word.start)?,
                        end: *bytes.get(word.end)?,
                        position: word.start,
                        position_length: word.end.saturating_sub(word.start),
                    })
                };
                words.into_iter().filter_map(token).collect()
            }
        }
    }
}

/// Adds a word, how often it occurs and its part of speech, with white space between; the word alone is enough.
fn add_entry(dictionary: &mut Jieba, line: &str) -> Result<(), AnalyzerError> {
    let mut parts = line.split_whitespace();
    let Some(word) = parts.next() else {
        return Ok(());
    };
    let times = parts.next().map(str::parse).transpose();
    let times = times.map_err(|_| {
        AnalyzerError::Invalid(format!(
            "'{line}' is no entry of a dictionary of jieba; allowed are a word, how often it occurs, and its part of speech"
        ))
    })?;
    dictionary.add_word(word, times, parts.next());
    Ok(())
}

/// The longest runs of characters that `inside` holds for.
fn runs(text: &str, inside: impl Fn(char) -> bool) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut start = None;
    let ends = text.char_indices().map(|(at, c)| (at, inside(c)));
    for (at, is_inside) in ends.chain([(text.len(), false)]) {
        match (start, is_inside) {
            (None, true) => start = Some(at),
            (Some(from), false) => {
                tokens.push(Token {
                    text: text.get(from..at).unwrap_or_default().to_string(),
                    start: from,
                    end: at,
                    position: tokens.len(),
                    position_length: 1,
                });
                start = None;
            }
            (None, false) | (Some(_), true) => {}
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn split(params: &Value, text: &str) -> Vec<String> {
        let tokens = Tokenizer::new(params).unwrap().tokens(text);
        for token in &tokens {
            assert_eq!(&text[token.start..token.end], token.text);
        }
        tokens.into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn standard_takes_runs_of_letters_and_digits() {
        assert_eq!(
            split(&json!("standard"), "The 2 QUICK Brown-Foxes dog's 32.3 中文 end"),
            [
                "The", "2", "QUICK", "Brown", "Foxes", "dog", "s", "32", "3", "中文", "end"
            ]
        );
        assert!(split(&json!({"type": "standard"}), " .,\n").is_empty());
        assert!(split(&json!("standard"), "").is_empty());
    }

    #[test]
    fn whitespace_keeps_everything_else() {
        assert_eq!(split(&json!("whitespace"), " a-b\tc.\nd "), ["a-b", "c.", "d"]);
    }

    #[test]
    fn jieba_knows_its_dictionary_and_given_split() {
        let text = "milvus结巴分词器中文测试";
        assert_eq!(
            split(
                &json!({"type": "jieba", "dict": ["结巴分词器"], "mode": "exact", "hmm": false}),
                text
            ),
            ["milvus", "结巴分词器", "中", "文", "测", "试"]
        );
        let both =
            json!({"type": "jieba", "dict": ["_default_", "结巴分词器"], "mode": "exact", "hmm": false});
        assert_eq!(split(&both, text), ["milvus", "结巴分词器", "中文", "测试"]);
        let tokens = Tokenizer::jieba().tokens("数据库");
        let places: Vec<_> = tokens
            .iter()
            .map(|t| (t.text.as_str(), t.position, t.position_length))
            .collect();
        assert_eq!(places, [("数据", 0, 2), ("据库", 1, 2), ("数据库", 0, 3)]);
    }

    #[test]
    fn the_dictionary_is_whole() {
        // The first and the last word of it.
        for word in ["1号店", "龢"] {
            assert!(DEFAULT_DICTIONARY.has_word(word), "{word}");
        }
    }

    #[test]
    fn parameters_of_jieba_are_checked() {
        let error = |params: Value| Tokenizer::new(&params).unwrap_err().to_string();
        assert!(error(json!({"type": "jieba", "mode": "fast"})).contains("must be \"exact\" or \"search\""));
        assert!(error(json!({"type": "jieba", "hmm": 1})).contains("must be a boolean"));
        assert!(error(json!({"type": "jieba", "dict": [1]})).contains("must be strings"));
        assert!(error(json!({"type": "whitespace", "dict": []})).contains("unknown key 'dict'"));
        assert!(error(json!({"type": "standard", "uax29": true})).contains("unknown key 'uax29'"));
        assert!(error(json!("grpc")).starts_with("not supported: the tokenizer 'grpc'"));
        assert!(error(json!(3)).contains("a tokenizer must be a string or an object"));
    }
}
