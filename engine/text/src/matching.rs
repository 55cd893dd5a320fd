//! Whether a text has what a query asks for: some of its terms, terms close to them, or all of them as a phrase.

use std::collections::HashMap;

use crate::analyzer::Analyzer;
use crate::token::Token;

/// What is asked of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextTest {
    /// So many of the query's terms are in the text; a term that the query repeats counts as often.
    Terms {
        /// At least 1.
        minimum: usize,
    },
    /// One of the query's terms is so close to one in the text.
    Fuzzy {
        /// Characters to insert, delete, replace, or swap with their neighbour.
        distance: usize,
    },
    /// All terms of the query are in the text, one behind the other.
    Phrase {
        /// How many places they may be off altogether, each measured from where the term before it puts it. Two terms the
        /// other way round are 2 off.
        slop: u32,
    },
}

/// A query ready to be tested on texts.
#[derive(Debug, Clone)]
pub struct TextMatcher {
    analyzer: Analyzer,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    Terms {
        /// How often the query has each term.
        wanted: HashMap<String, usize>,
        minimum: usize,
    },
    Fuzzy {
        wanted: Vec<String>,
        distance: usize,
    },
    Phrase {
        /// With their places in the query.
        wanted: Vec<(String, i64)>,
        slop: i64,
    },
}

impl TextMatcher {
    /// The test for `query`, which is analyzed as the texts are.
    pub fn new(analyzer: Analyzer, query: &str, test: TextTest) -> Self {
        let tokens = analyzer.tokens(query);
        let test = match test {
            TextTest::Terms { minimum } => {
                let mut wanted = HashMap::new();
                for token in tokens {
                    *wanted.entry(token.text).or_default() += 1;
                }
                Test::Terms {
                    wanted,
                    minimum: minimum.max(1),
                }
            }
            TextTest::Fuzzy { distance } => Test::Fuzzy {
                wanted: tokens.into_iter().map(|token| token.text).collect(),
                distance,
            },
            TextTest::Phrase { slop } => Test::Phrase {
                wanted: tokens
                    .into_iter()
                    .map(|token| {
                        let place = place(&token);
                        (token.text, place)
                    })
                    .collect(),
                slop: i64::from(slop),
            },
        };
        Self { analyzer, test }
    }

    /// Whether `text` passes. No text passes a query without terms.
    pub fn matches(&self, text: &str) -> bool {
        let tokens = self.analyzer.tokens(text);
        match &self.test {
            Test::Terms { wanted, minimum } => has_terms(&tokens, wanted, *minimum),
            Test::Fuzzy { wanted, distance } => tokens.iter().any(|token| {
                let close = |term: &String| is_close(term, &token.text, *distance);
                wanted.iter().any(close)
            }),
            Test::Phrase { wanted, slop } => has_phrase(&tokens, wanted, *slop),
        }
    }
}

fn place(token: &Token) -> i64 {
    i64::try_from(token.position).unwrap_or(i64::MAX)
}

fn has_terms(tokens: &[Token], wanted: &HashMap<String, usize>, minimum: usize) -> bool {
    let mut found: Vec<&str> = Vec::new();
    let mut count = 0;
    for token in tokens {
        if let Some(times) = wanted.get(&token.text)
            && !found.contains(&token.text.as_str())
        {
            found.push(&token.text);
            count += times;
            if count >= minimum {
                return true;
            }
        }
    }
    false
}

/// Whether two terms are at most so many edits apart (optimal string alignment).
pub fn is_close(one: &str, other: &str, distance: usize) -> bool {
    // A character is 1 to 4 bytes: what differs more in length is further away.
    one.len().abs_diff(other.len()) <= 4 * distance && strsim::osa_distance(one, other) <= distance
}

/// Whether the terms can be placed on tokens so that the steps between them are off by `slop` in all.
fn has_phrase(tokens: &[Token], wanted: &[(String, i64)], slop: i64) -> bool {
    // Where the phrase would begin if a term is where it should be, and what it cost to come there.
    let mut starts: Option<Vec<(i64, i64)>> = None;
    for (term, offset) in wanted {
        let of_term = tokens.iter().filter(|token| token.text == *term);
        let mut here: Vec<i64> = of_term.map(|token| place(token) - offset).collect();
        here.sort_unstable();
        let next = match &starts {
            None => here.into_iter().map(|start| (start, 0)).collect(),
            Some(before) => cheapest(before, &here, slop),
        };
        if next.is_empty() {
            return false;
        }
        starts = Some(next);
    }
    starts.is_some()
}

/// For each of the places `here`, the least cost of coming there from one `before`; without what costs more than
/// `slop`. Both are ascending, so that a pass from either side is enough.
fn cheapest(before: &[(i64, i64)], here: &[i64], slop: i64) -> Vec<(i64, i64)> {
    let mut costs = vec![i64::MAX; here.len()];
    // From the left, the cost is `here - before + cost`: the least of `cost - before` counts.
    let (mut from_left, mut next) = (None::<i64>, 0);
    for (start, cost) in here.iter().zip(&mut costs) {
        while let Some((at, spent)) = before.get(next).filter(|(at, _)| at <= start) {
            from_left = Some(from_left.map_or(spent - at, |least| least.min(spent - at)));
            next += 1;
        }
        if let Some(least) = from_left {
            *cost = (*cost).min(least + start);
        }
    }
    let (mut from_right, mut left) = (None::<i64>, before.len());
    for (start, cost) in here.iter().zip(&mut costs).rev() {
        while let Some((at, spent)) = left
            .checked_sub(1)
            .and_then(|last| before.get(last))
            .filter(|(at, _)| at >= start)
        {
            from_right = Some(from_right.map_or(spent + at, |least| least.min(spent + at)));
            left -= 1;
        }
        if let Some(least) = from_right {
            *cost = (*cost).min(least - start);
        }
    }
    here.iter()
        .copied()
        .zip(costs)
        .filter(|(_, cost)| *cost <= slop)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(query: &str, text: &str, test: TextTest) -> bool {
        TextMatcher::new(Analyzer::default(), query, test).matches(text)
    }

    fn phrase(query: &str, text: &str, slop: u32) -> bool {
        matches(query, text, TextTest::Phrase { slop })
    }

    #[test]
    fn so_many_terms_are_there() {
        let terms = |query, text, minimum| matches(query, text, TextTest::Terms { minimum });
        assert!(terms("vector database", "A Database, of sorts", 1));
        assert!(!terms("vector database", "A Database, of sorts; the database", 2));
        assert!(terms("vector database", "database of VECTORs? vector!", 2));
        // As many clauses as the query has words, even the same ones.
        assert!(terms("a a b", "a", 2) && !terms("a a b", "a", 3));
        assert!(!terms("", "anything", 1) && !terms("...", "...", 1) && !terms("a", "", 1));
    }

    #[test]
    fn close_terms_are_some_edits_away() {
        let fuzzy = |query, text, distance| matches(query, text, TextTest::Fuzzy { distance });
        assert!(fuzzy("vectro", "a vector", 1) && !fuzzy("vectro", "a vector", 0));
        assert!(fuzzy("veto", "a vector", 2) && !fuzzy("veto", "a vector", 1));
        assert!(fuzzy("zürich", "zurich", 1) && fuzzy("東", "京", 1));
        assert!(!fuzzy("", "a", 2));
    }

    #[test]
    fn a_phrase_keeps_its_order_and_its_gaps() {
        let text = "the quick brown fox jumps over the lazy dog";
        assert!(phrase("quick brown", text, 0) && phrase("Dog", text, 0));
        assert!(!phrase("quick fox", text, 0) && phrase("quick fox", text, 1));
        assert!(!phrase("brown quick", text, 1) && phrase("brown quick", text, 2));
        // A budget for the whole phrase.
        assert!(!phrase("quick fox over", text, 1) && phrase("quick fox over", text, 2));
        assert!(phrase("the lazy", text, 0) && !phrase("the cat", text, 9) && !phrase("", text, 9));
        assert!(phrase("a a", "a b a", 1) && phrase("a", "a", 4_000_000_000));
    }

    /// Tries every placement.
    fn by_hand(text: &[u8], query: &[u8], slop: i64) -> bool {
        fn go(text: &[u8], query: &[u8], at: usize, last: Option<i64>, left: i64) -> bool {
            if left < 0 {
                return false;
            }
            let Some(letter) = query.get(at) else {
                return at > 0;
            };
            text.iter().enumerate().any(|(place, found)| {
                let start = place as i64 - at as i64;
                let cost = last.map_or(0, |last| (last - start).abs());
                found == letter && go(text, query, at + 1, Some(start), left - cost)
            })
        }
        go(text, query, 0, None, slop)
    }

    proptest! {
        #[test]
        fn phrases_are_those_found_by_trying_every_place(
            text in proptest::collection::vec(b'a'..b'd', 0..9),
            query in proptest::collection::vec(b'a'..b'd', 0..5),
            slop in 0_u32..6,
        ) {
            let spaced = |letters: &[u8]| letters.iter().map(|letter| format!("{} ", char::from(*letter))).collect::<String>();
            prop_assert_eq!(
                phrase(&spaced(&query), &spaced(&text), slop),
                by_hand(&text, &query, i64::from(slop))
            );
        }
    }
}
