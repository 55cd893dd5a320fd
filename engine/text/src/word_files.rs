//! Words that stand in registered files instead of the parameters.
//!
//! ```json
//! {"type": "stop", "stop_words_file": {"type": "remote", "resource_name": "stops", "file_name": "stops.txt"}}
//! ```
//!
//! Whoever keeps such parameters puts the text of each file beside its name first ([`with_words`]), so that an analyzer is
//! the same for ever, whatever becomes of the file. What is shown to users has the names alone ([`without_words`]).

use serde_json::{Map, Value};

use crate::error::AnalyzerError;
use crate::params::{only, text};

/// Parameters that name a file.
const FILE_KEYS: [&str; 4] = [
    "stop_words_file",
    "word_list_file",
    "synonyms_file",
    "extra_dict_file",
];
/// Where the text of the file is.
const WORDS: &str = "words";

/// A file of words, as parameters name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WordFile {
    /// Name of the file resource.
    pub resource: String,
    /// Name of the file in it.
    pub file: String,
}

/// The files that `params`, JSON as text, name without their text; none when it is no JSON, which
/// [`crate::Analyzer::parse`] refuses.
///
/// # Errors
/// A file that is described wrongly, or is no registered one.
pub fn word_files(params: &str) -> Result<Vec<WordFile>, AnalyzerError> {
    let mut files = Vec::new();
    let Ok(mut params) = serde_json::from_str(params) else {
        return Ok(files);
    };
    each_file(&mut params, &mut |key, file| {
        let named = word_file(file, key)?;
        if !file.contains_key(WORDS) {
            files.push(named);
        }
        Ok(())
    })?;
    files.sort();
    files.dedup();
    Ok(files)
}

/// `params` with the text of every file of [`word_files`] beside its name.
///
/// # Errors
/// What `text_of` says of a file.
pub fn with_words(
    params: &str,
    text_of: impl Fn(&WordFile) -> Result<String, AnalyzerError>,
) -> Result<String, AnalyzerError> {
    let Ok(mut value) = serde_json::from_str(params) else {
        return Ok(params.to_string());
    };
    let mut any = false;
    each_file(&mut value, &mut |key, file| {
        if !file.contains_key(WORDS) {
            let text = text_of(&word_file(file, key)?)?;
            file.insert(WORDS.into(), text.into());
            any = true;
        }
        Ok(())
    })?;
    Ok(if any {
        value.to_string()
    } else {
        params.to_string()
    })
}

/// `params` as they were before [`with_words`].
pub fn without_words(params: &str) -> String {
    let Ok(mut value) = serde_json::from_str(params) else {
        return params.to_string();
    };
    let mut any = false;
    let walked = each_file(&mut value, &mut |_, file| {
        any |= file.remove(WORDS).is_some();
        Ok(())
    });
    if any && walked.is_ok() {
        value.to_string()
    } else {
        params.to_string()
    }
}

/// The text of the file under `key`, when there is one.
///
/// # Errors
/// A file that is described wrongly, or whose text is not there.
pub(crate) fn text_of_file<'a>(
    params: &'a Map<String, Value>,
    key: &str,
) -> Result<Option<&'a str>, AnalyzerError> {
    let Some(file) = params.get(key) else {
        return Ok(None);
    };
    let Value::Object(file) = file else {
        return Err(no_object(key, file));
    };
    let named = word_file(file, key)?;
    match file.get(WORDS) {
        Some(Value::String(text)) => Ok(Some(text)),
        _ => Err(AnalyzerError::Unsupported(format!(
            "words of the file '{}' of the file resource '{}' here: only fields of collections and RunAnalyzer have them",
            named.file, named.resource
        ))),
    }
}

/// The lines of the file under `key`, without empty ones.
pub(crate) fn lines_of_file(params: &Map<String, Value>, key: &str) -> Result<Vec<String>, AnalyzerError> {
    let lines = text_of_file(params, key)?.unwrap_or_default().lines();
    Ok(lines
        .filter(|line| !line.is_empty())
        .map(str::to_string)
        .collect())
}

fn word_file(file: &Map<String, Value>, key: &str) -> Result<WordFile, AnalyzerError> {
    let of = format!("'{key}'");
    match text(file, "type", &of)? {
        "remote" => {}
        "local" => {
            return Err(AnalyzerError::Unsupported(format!(
                "{of} with type local; register the file with AddFileResource and take type remote"
            )));
        }
        other => {
            return Err(AnalyzerError::Invalid(format!(
                "unknown type '{other}' of {of}; allowed is remote"
            )));
        }
    }
    only(file, &["type", "resource_name", "file_name", WORDS], &of)?;
    Ok(WordFile {
        resource: text(file, "resource_name", &of)?.to_string(),
        file: text(file, "file_name", &of)?.to_string(),
    })
}

fn no_object(key: &str, given: &Value) -> AnalyzerError {
    AnalyzerError::Invalid(format!(
        "'{key}' must be an object with type, resource_name and file_name, got {given}"
    ))
}

/// Calls `change` with the name and the object of every file in `value`.
fn each_file(
    value: &mut Value,
    change: &mut impl FnMut(&str, &mut Map<String, Value>) -> Result<(), AnalyzerError>,
) -> Result<(), AnalyzerError> {
    match value {
        Value::Object(members) => members.iter_mut().try_for_each(|(key, member)| {
            if !FILE_KEYS.contains(&key.as_str()) {
                return each_file(member, change);
            }
            if let Value::Object(file) = member {
                change(key, file)
            } else {
                Err(no_object(key, member))
            }
        }),
        Value::Array(items) => items.iter_mut().try_for_each(|item| each_file(item, change)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Analyzer;

    fn file(name: &str) -> Value {
        json!({"type": "remote", "resource_name": "r", "file_name": name})
    }

    fn terms(params: &Value, text: &str) -> Vec<String> {
        let params = with_words(&params.to_string(), |file| {
            Ok(match file.file.as_str() {
                "stops" => "the\r\na\n\n".into(),
                "parts" => "daten\nbank\n".into(),
                "synonyms" => "fast, quick\nbig => large\n".into(),
                "dictionary" => "结巴分词器 100 n\n分词 3\n".into(),
                other => return Err(AnalyzerError::Invalid(format!("no file {other}"))),
            })
        });
        let tokens = Analyzer::parse(&params.unwrap()).unwrap().tokens(text);
        tokens.into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn words_of_files_are_as_good_as_given_ones() {
        let stop = json!({"tokenizer": "standard", "filter": [
            {"type": "stop", "stop_words": ["an"], "stop_words_file": file("stops")}]});
        assert_eq!(terms(&stop, "the a an index"), ["index"]);
        let parts = json!({"tokenizer": "standard", "filter": [{"type": "decompounder", "word_list_file": file("parts")}]});
        assert_eq!(terms(&parts, "datenbank daten"), ["daten", "bank", "daten"]);
        let synonyms = json!({"tokenizer": "standard", "filter": [
            {"type": "synonym", "synonyms": ["old, ancient"], "synonyms_file": file("synonyms"), "expand": false}]});
        assert_eq!(terms(&synonyms, "quick big ancient"), ["fast", "large", "old"]);
        let jieba = json!({"tokenizer": {"type": "jieba", "dict": ["_extra_"], "extra_dict_file": file("dictionary"),
            "mode": "exact", "hmm": false}});
        assert_eq!(terms(&jieba, "结巴分词器中"), ["结巴分词器", "中"]);
    }

    #[test]
    fn files_are_found_wherever_they_stand_and_go_again() {
        let nested = json!({"analyzers": {"x": {"tokenizer": "standard", "filter": ["lowercase",
            {"type": "stop", "stop_words_file": file("b")}, {"type": "stop", "stop_words_file": file("a")},
            {"type": "stop", "stop_words_file": file("b")}]}}})
        .to_string();
        let files = word_files(&nested).unwrap();
        let names: Vec<&str> = files.iter().map(|file| file.file.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        let with = with_words(&nested, |file| Ok(format!("of {}", file.file))).unwrap();
        assert!(with.contains("of a") && with.contains("of b"));
        assert_eq!(without_words(&with), nested);
        assert_eq!(word_files(&with).unwrap(), []);
        assert_eq!(with_words(&with, |_| Ok("other".into())).unwrap(), with);
        for plain in [r#"{"type":  "english"}"#, "", "{"] {
            assert_eq!(with_words(plain, |_| Ok("x".into())).unwrap(), plain);
            assert_eq!(without_words(plain), plain);
            assert_eq!(word_files(plain).unwrap(), []);
        }
    }

    #[test]
    fn mistakes_are_named() {
        let error = |file: Value| {
            let params =
                json!({"tokenizer": "standard", "filter": [{"type": "stop", "stop_words_file": file}]});
            let params = params.to_string();
            let named = word_files(&params).map(|_| Analyzer::parse(&params).unwrap_err());
            named.unwrap_or_else(|error| error).to_string()
        };
        assert!(error(file("f")).starts_with("not supported: words of the file 'f'"));
        assert!(error(json!("f")).contains("'stop_words_file' must be an object"));
        assert!(error(json!({"type": "local", "path": "/f"})).contains("take type remote"));
        assert!(error(json!({"type": "far"})).contains("unknown type 'far'"));
        assert!(error(json!({"type": "remote", "file_name": "f"})).contains("must have 'resource_name'"));
        let other = json!({"type": "remote", "resource_name": "r", "file_name": "f", "lines": "a"});
        assert!(error(other).contains("unknown key 'lines'"));
    }
}
