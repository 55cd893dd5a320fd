//! Chinese words in Latin letters (Hanyu Pinyin), without tones.
//!
//! | parameter | default | of 中文 |
//! |---|---|---|
//! | `keep_original` | true | 中文 |
//! | `keep_full_pinyin` | true | zhong, wen |
//! | `keep_joined_full_pinyin` | false | zhongwen |
//! | `keep_separate_first_letter` | false | zw |
//!
//! A character with several readings has its most common one. Tokens without Chinese characters stay as they are.

use ::pinyin::{Pinyin, ToPinyin};
use serde_json::{Map, Value};

use crate::error::AnalyzerError;
use crate::params::only;
use crate::token::Token;

/// Which forms of a word there are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PinyinForms {
    original: bool,
    syllables: bool,
    joined: bool,
    initials: bool,
}

impl PinyinForms {
    pub fn new(params: &Map<String, Value>) -> Result<Self, AnalyzerError> {
        const OF: &str = "the filter 'pinyin'";
        const KEYS: [&str; 5] = [
            "type",
            "keep_original",
            "keep_full_pinyin",
            "keep_joined_full_pinyin",
            "keep_separate_first_letter",
        ];
        only(params, &KEYS, OF)?;
        let flag = |key: &str, default: bool| match params.get(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(AnalyzerError::Invalid(format!(
                "'{key}' of {OF} must be a boolean, got {other}"
            ))),
        };
        let [_, original, syllables, joined, initials] = KEYS;
        let forms = Self {
            original: flag(original, true)?,
            syllables: flag(syllables, true)?,
            joined: flag(joined, false)?,
            initials: flag(initials, false)?,
        };
        if forms.original || forms.syllables || forms.joined || forms.initials {
            Ok(forms)
        } else {
            Err(AnalyzerError::Invalid(format!("{OF} must keep something")))
        }
    }

    /// The forms of a token, at its place, each once.
    pub fn of(self, token: Token) -> Vec<Token> {
        let syllables: Vec<&str> = token
            .text
            .as_str()
            .to_pinyin()
            .flatten()
            .map(Pinyin::plain)
            .collect();
        if syllables.is_empty() {
            return vec![token];
        }
        let mut forms: Vec<String> = Vec::new();
        let mut keep = |form: String| {
            if !forms.contains(&form) {
                forms.push(form);
            }
        };
        if self.original {
            keep(token.text.clone());
        }
        if self.syllables {
            syllables
                .iter()
                .for_each(|syllable| keep((*syllable).to_string()));
        }
        if self.joined {
            keep(syllables.concat());
        }
        if self.initials {
            keep(
                syllables
                    .iter()
                    .filter_map(|syllable| syllable.chars().next())
                    .collect(),
            );
        }
        let at = |text| Token {
            text,
            ..token.clone()
        };
        forms.into_iter().map(at).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn forms(params: &Value, text: &str) -> Vec<String> {
        let params = params.as_object().unwrap();
        let token = Token {
            text: text.into(),
            start: 3,
            end: 9,
            position: 1,
            position_length: 2,
        };
        let tokens = PinyinForms::new(params).unwrap().of(token);
        assert!(tokens.iter().all(|token| token.start == 3 && token.position == 1));
        tokens.into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn words_have_the_forms_that_are_asked_for() {
        assert_eq!(forms(&json!({}), "中文"), ["中文", "zhong", "wen"]);
        let all = json!({"keep_joined_full_pinyin": true, "keep_separate_first_letter": true});
        assert_eq!(forms(&all, "测试"), ["测试", "ce", "shi", "ceshi", "cs"]);
        // One character: its syllable is the joined form too.
        assert_eq!(forms(&all, "中"), ["中", "zhong", "z"]);
        let joined =
            json!({"keep_original": false, "keep_full_pinyin": false, "keep_joined_full_pinyin": true});
        assert_eq!(forms(&joined, "足球"), ["zuqiu"]);
        assert_eq!(forms(&joined, "kite"), ["kite"]);
        // Twice the same syllable, and letters among the characters.
        assert_eq!(forms(&json!({}), "妈妈x"), ["妈妈x", "ma"]);
    }

    #[test]
    fn mistakes_are_named() {
        let error = |params: Value| {
            let error = PinyinForms::new(params.as_object().unwrap());
            error.unwrap_err().to_string()
        };
        assert!(
            error(json!({"keep_original": 1}))
                .contains("'keep_original' of the filter 'pinyin' must be a boolean")
        );
        assert!(error(json!({"keep": true})).contains("unknown key 'keep'"));
        let nothing = json!({"keep_original": false, "keep_full_pinyin": false});
        assert!(error(nothing).contains("must keep something"));
    }
}
