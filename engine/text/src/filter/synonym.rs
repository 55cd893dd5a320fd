//! Words that stand for each other, by rules in the format of Solr.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::listed;
use crate::error::AnalyzerError;
use crate::params::only;
use crate::token::Token;

/// What becomes of a word.
///
/// | rule | expanded | not |
/// |---|---|---|
/// | `fast, quick => speedy, swift` | `fast` to `fast speedy swift` | `fast` to `speedy swift` |
/// | `happy, joyful, cheerful` | each of them to all three | each of them to `happy` |
///
/// Several rules for a word add up.
#[derive(Clone)]
pub(crate) struct Synonyms {
    words: Arc<BTreeMap<String, Vec<String>>>,
}

impl fmt::Debug for Synonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "synonym({:?})", self.words)
    }
}

impl Synonyms {
    /// Reads `synonyms`, a list of rules, those of `synonyms_file`, and `expand`, true unless it is given.
    pub fn new(params: &Map<String, Value>) -> Result<Self, AnalyzerError> {
        let of = "the filter 'synonym'";
        only(params, &["type", "synonyms", "synonyms_file", "expand"], of)?;
        let rules = listed(params, ("synonyms", "rules of 'synonyms'"), "synonyms_file", of)?;
        let expand = match params.get("expand") {
            None => true,
            Some(Value::Bool(expand)) => *expand,
            Some(other) => {
                return Err(AnalyzerError::Invalid(format!(
                    "'expand' of {of} must be a boolean, got {other}"
                )));
            }
        };
        let mut words: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for rule in rules {
            let list = |text: &str| {
                let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
                words.map(str::to_string).collect::<Vec<_>>()
            };
            let (from, to) = match rule.split_once("=>") {
                Some((from, to)) => (list(from), list(to)),
                None => {
                    let group = list(&rule);
                    let to = if expand {
                        group.clone()
                    } else {
                        group.iter().take(1).cloned().collect()
                    };
                    (group, to)
                }
            };
            if from.is_empty() || to.is_empty() {
                return Err(AnalyzerError::Invalid(format!(
                    "'{rule}' is no rule of {of}; allowed are 'a, b => c, d' and 'a, b, c'"
                )));
            }
            for word in from {
                let kept = expand.then(|| word.clone());
                let all = words.entry(word).or_default();
                for word in kept.into_iter().chain(to.iter().cloned()) {
                    if !all.contains(&word) {
                        all.push(word);
                    }
                }
            }
        }
        Ok(Self { words: words.into() })
    }

    /// The token, or those that its rules make of it, at its place.
    pub fn of(&self, token: Token) -> Vec<Token> {
        match self.words.get(&token.text) {
            None => vec![token],
            Some(words) => {
                let words = words.iter().cloned();
                words
                    .map(|text| Token {
                        text,
                        ..token.clone()
                    })
                    .collect()
            }
        }
    }
}
