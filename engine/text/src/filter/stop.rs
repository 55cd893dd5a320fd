//! Words that say nothing.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use crate::error::AnalyzerError;

/// `_english_`, the list of Lucene.
const ENGLISH: [&str; 33] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no",
    "not", "of", "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to",
    "was", "will", "with",
];
/// Lists of Milvus that are not there.
const ELSEWHERE: [&str; 15] = [
    "_arabic_",
    "_chinese_",
    "_danish_",
    "_dutch_",
    "_finnish_",
    "_french_",
    "_german_",
    "_hungarian_",
    "_italian_",
    "_norwegian_",
    "_portuguese_",
    "_russian_",
    "_spanish_",
    "_swedish_",
    "_thai_",
];

/// A set of words.
#[derive(Clone)]
pub(crate) struct StopWords(Arc<HashSet<String>>);

impl fmt::Debug for StopWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} words", self.0.len())
    }
}

impl StopWords {
    /// These words; `_english_` stands for all of its list.
    pub fn new(words: Vec<String>) -> Result<Self, AnalyzerError> {
        let mut all = HashSet::new();
        for word in words {
            if word == "_english_" {
                all.extend(ENGLISH.map(ToString::to_string));
            } else if ELSEWHERE.contains(&word.as_str()) {
                return Err(AnalyzerError::Unsupported(format!(
                    "the stop words '{word}'; allowed are _english_ and words"
                )));
            } else {
                all.insert(word);
            }
        }
        Ok(Self(Arc::new(all)))
    }

    pub fn contains(&self, word: &str) -> bool {
        self.0.contains(word)
    }
}
