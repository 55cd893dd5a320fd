//! What BM25 counts: every term has a number, and a text is the counts of its terms.

use std::collections::BTreeMap;

use crate::analyzer::Analyzer;

/// Bytes of a term that make its number.
const COUNTED_BYTES: usize = 100;

/// How often a text has each term, by the term's number, ascending.
pub type Counts = BTreeMap<u32, f32>;

/// The number of a term: the index of the element of a sparse vector that counts it. As in Milvus the CRC-32 (IEEE) of its
/// first 100 bytes, below the largest index. Two terms of one number are one term.
pub fn term_number(term: &str) -> u32 {
    let bytes = term.as_bytes();
    let bytes = bytes.get(..COUNTED_BYTES).unwrap_or(bytes);
    crc32fast::hash(bytes) % u32::MAX
}

/// The counts of the terms of a text.
pub fn counts(analyzer: &Analyzer, text: &str) -> Counts {
    let mut counts = Counts::new();
    for token in analyzer.tokens(text) {
        *counts.entry(term_number(&token.text)).or_default() += 1.0;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_have_the_checksum_of_their_text() {
        // The check value of CRC-32.
        assert_eq!(term_number("123456789"), 0xcbf4_3926);
        assert_eq!(term_number(""), 0);
        let long = "x".repeat(100);
        assert_eq!(term_number(&long), term_number(&format!("{long}y")));
        assert_ne!(term_number(&long[1..]), term_number(&long));
    }

    #[test]
    fn every_occurrence_counts() {
        let counts = counts(&Analyzer::default(), "To be, or not to BE");
        assert_eq!(counts.get(&term_number("be")), Some(&2.0));
        assert_eq!(counts.get(&term_number("or")), Some(&1.0));
        assert_eq!(counts.values().sum::<f32>(), 6.0);
    }
}
