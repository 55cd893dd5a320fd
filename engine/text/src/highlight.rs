//! Pieces of a text around the terms of a query, the terms between tags.

use std::collections::HashSet;

use crate::analyzer::Analyzer;

/// How pieces are cut and terms are marked. Sizes are in characters, tags not counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Highlighter {
    /// What stands before a term: the first before the first of a text, and so on, round and round.
    pub pre_tags: Vec<String>,
    /// What stands behind a term, likewise.
    pub post_tags: Vec<String>,
    /// Characters that a piece has before its first term.
    pub fragment_offset: usize,
    /// Characters of a piece; a longer term makes it longer.
    pub fragment_size: usize,
    /// Most pieces of a text.
    pub num_of_fragments: usize,
}

impl Default for Highlighter {
    fn default() -> Self {
        Self {
            pre_tags: vec!["<em>".into()],
            post_tags: vec!["</em>".into()],
            fragment_offset: 0,
            fragment_size: 100,
            num_of_fragments: 5,
        }
    }
}

impl Highlighter {
    /// The pieces of `text` that have one of `terms`, which are as `analyzer` leaves them.
    pub fn fragments(&self, analyzer: &Analyzer, terms: &HashSet<String>, text: &str) -> Vec<String> {
        let found = places(analyzer, terms, text);
        let mut found = found.as_slice();
        let (mut fragments, mut behind, mut number) = (Vec::new(), 0, 0);
        while let Some((first, last)) = found.first().copied() {
            if fragments.len() == self.num_of_fragments {
                break;
            }
            let begin = back(text, first, self.fragment_offset).max(behind);
            let end = forth(text, begin, self.fragment_size).max(last);
            let whole = found.iter().take_while(|(_, last)| *last <= end).count();
            let (inside, rest) = found.split_at(whole);
            fragments.push(self.tagged(text, (begin, end), inside, number));
            (behind, number, found) = (end, number + inside.len(), rest);
        }
        fragments
    }

    /// `text` from `begin` to `end` with the terms in it between tags; `number` of them came before.
    fn tagged(
        &self,
        text: &str,
        (begin, end): (usize, usize),
        terms: &[(usize, usize)],
        number: usize,
    ) -> String {
        let tag = |tags: &[String], at: usize| match tags.len() {
            0 => String::new(),
            many => tags.get(at % many).cloned().unwrap_or_default(),
        };
        let piece = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
        let (mut fragment, mut at) = (String::new(), begin);
        for (place, (from, to)) in terms.iter().enumerate() {
            fragment.push_str(piece(at, *from));
            fragment.push_str(&tag(&self.pre_tags, number + place));
            fragment.push_str(piece(*from, *to));
            fragment.push_str(&tag(&self.post_tags, number + place));
            at = *to;
        }
        fragment.push_str(piece(at, end));
        fragment
    }
}

/// First byte of each term in the text and first byte behind it; of terms that overlap, the first and longest.
fn places(analyzer: &Analyzer, terms: &HashSet<String>, text: &str) -> Vec<(usize, usize)> {
    let tokens = analyzer.tokens(text).into_iter();
    let mut found: Vec<(usize, usize)> = tokens
        .filter(|token| terms.contains(&token.text))
        .map(|token| (token.start, token.end))
        .collect();
    found.sort_by_key(|(from, to)| (*from, std::cmp::Reverse(*to)));
    let mut behind = 0;
    found.retain(|(from, to)| {
        let apart = *from >= behind;
        if apart {
            behind = *to;
        }
        apart
    });
    found
}

/// The place `characters` before the byte `at`.
fn back(text: &str, at: usize, characters: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    match characters.checked_sub(1) {
        None => at,
        Some(last) => before
            .char_indices()
            .rev()
            .nth(last)
            .map_or(0, |(place, _)| place),
    }
}

/// The place `characters` behind the byte `at`.
fn forth(text: &str, at: usize, characters: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    rest.char_indices()
        .nth(characters)
        .map_or(text.len(), |(place, _)| at + place)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str =
        "my first test doc. Milvus is an open-source vector database built for GenAI applications.";
    const SECOND: &str = "my second test doc. Milvus is an open-source vector database that suits AI applications of every size from running a demo chatbot to building web-scale search.";

    fn fragments(query: &str, text: &str, highlighter: &Highlighter) -> Vec<String> {
        let analyzer = Analyzer::default();
        let terms = analyzer
            .tokens(query)
            .into_iter()
            .map(|token| token.text)
            .collect();
        highlighter.fragments(&analyzer, &terms, text)
    }

    fn braces() -> Highlighter {
        Highlighter {
            pre_tags: vec!["{".into()],
            post_tags: vec!["}".into()],
            ..Highlighter::default()
        }
    }

    #[test]
    fn the_examples_of_the_documentation() {
        assert_eq!(fragments("test", "my first test doc", &braces()), ["{test} doc"]);
        assert_eq!(
            fragments("test", SECOND, &braces()),
            [
                "{test} doc. Milvus is an open-source vector database that suits AI applications of every size from run"
            ]
        );
        assert_eq!(
            fragments("test my doc", SECOND, &braces()),
            [
                "{my} second {test} {doc}. Milvus is an open-source vector database that suits AI applications of every siz"
            ]
        );
        let around = Highlighter {
            fragment_offset: 20,
            fragment_size: 60,
            ..braces()
        };
        assert_eq!(
            fragments("Milvus", FIRST, &around),
            ["my first test doc. {Milvus} is an open-source vector database "]
        );
        assert_eq!(
            fragments("Milvus", SECOND, &around),
            ["my second test doc. {Milvus} is an open-source vector database"]
        );
    }

    #[test]
    fn pieces_do_not_overlap_and_tags_go_round() {
        let tags = |tags: [&str; 2]| tags.map(String::from).to_vec();
        let short = Highlighter {
            pre_tags: tags(["<", "["]),
            post_tags: tags([">", "]"]),
            fragment_offset: 3,
            fragment_size: 8,
            num_of_fragments: 2,
        };
        let text = "äöü a bc a d a e f a";
        assert_eq!(fragments("a", text, &short), ["öü <a> bc ", "[a] d <a> e "]);
        assert_eq!(fragments("ÄÖÜ", text, &short), ["<äöü> a bc"]);
        assert!(fragments("none", text, &short).is_empty() && fragments("a", "", &short).is_empty());
        let tiny = Highlighter {
            fragment_size: 1,
            ..short
        };
        assert_eq!(fragments("longer", "a longer text", &tiny), ["a <longer>"]);
    }
}
