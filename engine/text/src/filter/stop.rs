//! Words that say nothing.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// `_english_`, the list of Lucene.
const ENGLISH: [&str; 33] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no",
    "not", "of", "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to",
    "was", "will", "with",
];
/// The other lists, a word in each line.
const LISTS: [(&str, &str); 15] = [
    ("_arabic_", include_str!("../../dict/stop-words/arabic.txt")),
    ("_chinese_", include_str!("../../dict/stop-words/chinese.txt")),
    ("_danish_", include_str!("../../dict/stop-words/danish.txt")),
    ("_dutch_", include_str!("../../dict/stop-words/dutch.txt")),
    ("_finnish_", include_str!("../../dict/stop-words/finnish.txt")),
    ("_french_", include_str!("../../dict/stop-words/french.txt")),
    ("_german_", include_str!("../../dict/stop-words/german.txt")),
    ("_hungarian_", include_str!("../../dict/stop-words/hungarian.txt")),
    ("_italian_", include_str!("../../dict/stop-words/italian.txt")),
    ("_norwegian_", include_str!("../../dict/stop-words/norwegian.txt")),
    (
        "_portuguese_",
        include_str!("../../dict/stop-words/portuguese.txt"),
    ),
    ("_russian_", include_str!("../../dict/stop-words/russian.txt")),
    ("_spanish_", include_str!("../../dict/stop-words/spanish.txt")),
    ("_swedish_", include_str!("../../dict/stop-words/swedish.txt")),
    ("_thai_", include_str!("../../dict/stop-words/thai.txt")),
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
    /// These words. A name of a list, such as `_english_`, stands for all of its words.
    pub fn new(words: Vec<String>) -> Self {
        let mut all = HashSet::new();
        for word in words {
            if word == "_english_" {
                all.extend(ENGLISH.map(ToString::to_string));
            } else if let Some((_, list)) = LISTS.iter().find(|(name, _)| *name == word) {
                all.extend(list.lines().map(ToString::to_string));
            } else {
                all.insert(word);
            }
        }
        Self(Arc::new(all))
    }

    pub fn contains(&self, word: &str) -> bool {
        self.0.contains(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_is_whole() {
        for (name, list) in LISTS {
            let words: Vec<&str> = list.lines().collect();
            assert!(words.len() > 90, "{name}");
            assert!(
                words.iter().all(|word| !word.is_empty() && word.trim() == *word),
                "{name}"
            );
        }
        let words = StopWords::new(vec![
            "_german_".into(),
            "_thai_".into(),
            "_klingon_".into(),
            "x".into(),
        ]);
        for word in ["und", "zwischen", "กล่าว", "_klingon_", "x"] {
            assert!(words.contains(word), "{word}");
        }
        assert!(!words.contains("the"));
    }
}
