//! Tests of a value, and what the index answers to them.

use std::ops::{Bound, Range};

use super::dictionary::{float_key, int_key, int_of};
use super::verdict::Verdict;
use super::{ScalarIndex, ValueKind};
use crate::bitset::Bitset;

/// A value that the column's values are compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Key {
    /// An integer, boolean (0 or 1) or instant.
    Int(i64),
    /// A float.
    Float(f64),
    /// A text.
    Text(String),
}

/// A test of the value of a row; of an array: whether any element passes. NULL in, NULL out, but for [`ScalarTest::Null`].
#[derive(Debug, Clone, PartialEq)]
pub enum ScalarTest {
    /// There is a value.
    Any,
    /// There is none: true or false, never NULL.
    Null,
    /// The value is one of these.
    In(Vec<Key>),
    /// The value lies between these.
    Range(Bound<Key>, Bound<Key>),
    /// The text begins so.
    Prefix(String),
    /// Of an array: the elements among these that it has weigh so much together.
    AtLeast {
        /// Elements and their weights.
        weights: Vec<(Key, u32)>,
        /// At least 1.
        least: u32,
    },
}

/// The distinct values of an index, ascending; their places are their codes.
#[derive(Debug)]
pub enum Distinct<'a> {
    /// Integers.
    Ints(Vec<i64>),
    /// Texts.
    Texts(Vec<&'a [u8]>),
}

impl ScalarIndex {
    /// What a test is in each row; `None` when the index has no answer: it is of other values.
    pub fn answer(&self, test: &ScalarTest) -> Option<Verdict> {
        let mut yes = Bitset::new(self.rows);
        match test {
            ScalarTest::Null => {
                let mut no = self.nulls.clone();
                no.not();
                return Some(Verdict {
                    yes: self.nulls.clone(),
                    no,
                    unknown: yes,
                });
            }
            ScalarTest::Any => {
                yes = self.nulls.clone();
                yes.not();
            }
            ScalarTest::In(keys) => {
                for key in keys {
                    self.postings.fill(
                        self.codes(&Bound::Included(key), &Bound::Included(key))?,
                        &mut yes,
                    );
                }
            }
            ScalarTest::Range(from, to) => {
                self.postings
                    .fill(self.codes(&from.as_ref(), &to.as_ref())?, &mut yes);
            }
            ScalarTest::AtLeast { weights, least } => {
                let mut sums = vec![0u32; self.rows];
                for (key, weight) in weights {
                    let codes = self.codes(&Bound::Included(key), &Bound::Included(key))?;
                    let mut having = Bitset::new(self.rows);
                    self.postings.fill(codes, &mut having);
                    for row in having.iter() {
                        if let Some(sum) = sums.get_mut(row) {
                            *sum = sum.saturating_add(*weight);
                        }
                    }
                }
                for (row, sum) in sums.iter().enumerate() {
                    if sum >= least {
                        yes.set(row);
                    }
                }
            }
            ScalarTest::Prefix(prefix) => {
                if self.kind != ValueKind::Text {
                    return None;
                }
                let end = after_prefix(prefix.as_bytes())
                    .map_or(self.dictionary.len(), |end| self.dictionary.lower_text(&end));
                let codes = self.dictionary.lower_text(prefix.as_bytes())..end;
                self.postings.fill(codes, &mut yes);
            }
        }
        Some(self.verdict(yes, Bitset::new(self.rows), None))
    }

    /// What a condition is in each row that is `of_value` for the value of a code (not [`Distinct`]'s: of these codes
    /// alone, ascending; false for the others) and `of_null` without a value.
    pub fn answer_by_code(&self, of_codes: &[(usize, Option<bool>)], of_null: Option<bool>) -> Verdict {
        let (mut yes, mut unknown) = (Bitset::new(self.rows), Bitset::new(self.rows));
        for (code, outcome) in of_codes {
            match outcome {
                Some(true) => self.postings.fill(*code..code + 1, &mut yes),
                None => self.postings.fill(*code..code + 1, &mut unknown),
                Some(false) => {}
            }
        }
        self.verdict(yes, unknown, of_null)
    }

    /// The values of these codes, or all; `None` of floats, whose two zeros are one value here.
    pub fn distinct(&self, codes: Option<&[usize]>) -> Option<Distinct<'_>> {
        Some(match (self.kind, codes) {
            (ValueKind::Float, _) => return None,
            (ValueKind::Int, None) => {
                Distinct::Ints(self.dictionary.keys().iter().map(|key| int_of(*key)).collect())
            }
            (ValueKind::Int, Some(codes)) => {
                let keys = codes.iter().filter_map(|code| self.dictionary.keys().get(*code));
                Distinct::Ints(keys.map(|key| int_of(*key)).collect())
            }
            (ValueKind::Text, None) => Distinct::Texts(
                (0..self.dictionary.len())
                    .map(|code| self.dictionary.text(code))
                    .collect(),
            ),
            (ValueKind::Text, Some(codes)) => {
                Distinct::Texts(codes.iter().map(|code| self.dictionary.text(*code)).collect())
            }
        })
    }

    /// Codes of the only texts that may have all of these pieces in them, ascending; `None` when the index cannot tell.
    pub fn texts_with(&self, pieces: &[String]) -> Option<Vec<usize>> {
        self.grams.as_ref()?.candidates(pieces, self.dictionary.len())
    }

    /// `yes` and `unknown` of rows with a value, and what the others are.
    fn verdict(&self, mut yes: Bitset, mut unknown: Bitset, of_null: Option<bool>) -> Verdict {
        let mut no = yes.clone();
        no.or(&unknown);
        no.or(&self.nulls);
        no.not();
        match of_null {
            Some(true) => yes.or(&self.nulls),
            Some(false) => no.or(&self.nulls),
            None => unknown.or(&self.nulls),
        }
        let mut verdict = Verdict { yes, no, unknown };
        verdict.doubt_all(&self.others);
        verdict
    }

    /// Codes of the values between two.
    fn codes(&self, from: &Bound<&Key>, to: &Bound<&Key>) -> Option<Range<usize>> {
        let (from_key, after_from) = match from {
            Bound::Unbounded => (None, false),
            Bound::Included(key) => (Some(*key), false),
            Bound::Excluded(key) => (Some(*key), true),
        };
        let (to_key, after_to) = match to {
            Bound::Unbounded => (None, true),
            Bound::Included(key) => (Some(*key), true),
            Bound::Excluded(key) => (Some(*key), false),
        };
        let start = from_key.map_or(Some(0), |key| self.place(key, after_from))?;
        let end = to_key.map_or(Some(self.dictionary.len()), |key| self.place(key, after_to))?;
        Some(start..end.max(start))
    }

    /// The first code whose value is not below `key`, or with `after` above it.
    fn place(&self, key: &Key, after: bool) -> Option<usize> {
        let number = |key: u64| {
            let place = self.dictionary.lower_number(key);
            let found = self.dictionary.keys().get(place) == Some(&key);
            place + usize::from(after && found)
        };
        match (key, self.kind) {
            (Key::Int(value), ValueKind::Int) => Some(number(int_key(*value))),
            (Key::Float(value), ValueKind::Float) if !value.is_nan() => Some(number(float_key(*value))),
            (Key::Text(text), ValueKind::Text) => {
                let place = self.dictionary.lower_text(text.as_bytes());
                let found = place < self.dictionary.len() && self.dictionary.text(place) == text.as_bytes();
                Some(place + usize::from(after && found))
            }
            (Key::Int(_) | Key::Float(_) | Key::Text(_), _) => None,
        }
    }
}

/// The first text after all that begin with `prefix`; `None` when nothing comes after them.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut after = prefix.to_vec();
    while let Some(last) = after.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            return Some(after);
        }
        after.pop();
    }
    None
}
