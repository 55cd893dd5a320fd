//! Fixed values that JSON values are compared with, and the rules of comparison.
//!
//! Numbers compare by value, integers and floats alike and exactly; text by bytes; two values of different kinds do not
//! compare at all, which makes a test unknown and not false.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::scan::{Leaf, Number, elements, leaf};

/// A fixed value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Bool(bool),
    Number(Number),
    Text(String),
    /// The array's text: only (in)equality.
    Array(String),
}

impl Literal {
    /// None for `null` and for objects, which equal nothing.
    pub(crate) fn new(value: Leaf<'_>) -> Option<Self> {
        Some(match value {
            Leaf::Null | Leaf::Object => return None,
            Leaf::Bool(value) => Self::Bool(value),
            Leaf::Number(value) => Self::Number(value),
            Leaf::Text(text) => Self::Text(text.into_owned()),
            Leaf::Array(text) => Self::Array(text.to_owned()),
        })
    }

    /// Order of a leaf relative to `self`, none when they do not compare. Arrays are equal or `Less`.
    pub(crate) fn compare(&self, leaf: &Leaf<'_>) -> Option<Ordering> {
        match (leaf, self) {
            (Leaf::Bool(value), Self::Bool(literal)) => Some(value.cmp(literal)),
            (Leaf::Number(value), Self::Number(literal)) => compare_numbers(*value, *literal),
            (Leaf::Text(value), Self::Text(literal)) => Some(value.as_bytes().cmp(literal.as_bytes())),
            (Leaf::Array(value), Self::Array(literal)) => Some(if equal_arrays(value, literal) {
                Ordering::Equal
            } else {
                Ordering::Less
            }),
            (
                Leaf::Null | Leaf::Bool(_) | Leaf::Number(_) | Leaf::Text(_) | Leaf::Array(_) | Leaf::Object,
                Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::Array(_),
            ) => None,
        }
    }
}

/// Element by element; no deeper than the shallower of both, and literals are shallow.
fn equal_arrays(value: &str, literal: &str) -> bool {
    let (mut values, mut literals) = (elements(value), elements(literal));
    loop {
        match (values.next(), literals.next()) {
            (None, None) => return true,
            (Some(value), Some(literal)) => {
                let literal = leaf(literal).and_then(Literal::new);
                let order = literal
                    .zip(leaf(value))
                    .and_then(|(literal, value)| literal.compare(&value));
                if order != Some(Ordering::Equal) {
                    return false;
                }
            }
            (Some(_), None) | (None, Some(_)) => return false,
        }
    }
}

/// By value, without rounding integers to floats; none with NaN.
pub(crate) fn compare_numbers(a: Number, b: Number) -> Option<Ordering> {
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
        (Number::Float(a), Number::Float(b)) => a.partial_cmp(&b),
        (Number::Int(a), Number::Float(b)) => compare_int_float(a, b),
        (Number::Float(a), Number::Int(b)) => compare_int_float(b, a).map(Ordering::reverse),
    }
}

fn compare_int_float(int: i64, float: f64) -> Option<Ordering> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if float.is_nan() {
        return None;
    }
    if float >= LIMIT {
        return Some(Ordering::Less);
    }
    if float < -LIMIT {
        return Some(Ordering::Greater);
    }
    let whole = float.trunc();
    Some(int.cmp(&(whole as i64)).then_with(|| whole.total_cmp(&float)))
}

/// A fixed set of values.
#[derive(Debug, Default)]
pub(crate) struct LiteralSet {
    bools: [bool; 2],
    ints: HashSet<i64>,
    /// Bits of floats that are no 64-bit integers.
    floats: HashSet<u64>,
    texts: HashSet<String>,
    arrays: Vec<String>,
}

impl LiteralSet {
    pub(crate) fn new(literals: Vec<Option<Literal>>) -> Self {
        let mut set = Self::default();
        for literal in literals {
            match literal {
                Some(Literal::Bool(value)) => {
                    let [no, yes] = &mut set.bools;
                    *(if value { yes } else { no }) = true;
                }
                Some(Literal::Number(value)) => match normal(value) {
                    Number::Int(value) => {
                        set.ints.insert(value);
                    }
                    Number::Float(value) => {
                        set.floats.insert(value.to_bits());
                    }
                },
                Some(Literal::Text(text)) => {
                    set.texts.insert(text);
                }
                Some(Literal::Array(text)) => set.arrays.push(text),
                None => {}
            }
        }
        set
    }

    /// Whether the set has the value; none when it has no value of that kind.
    pub(crate) fn contains(&self, leaf: &Leaf<'_>) -> Option<bool> {
        let [no, yes] = self.bools;
        let (comparable, found) = match leaf {
            Leaf::Null => return None,
            Leaf::Bool(value) => (no || yes, if *value { yes } else { no }),
            Leaf::Number(value) => {
                let found = match normal(*value) {
                    Number::Int(value) => self.ints.contains(&value),
                    Number::Float(value) => self.floats.contains(&value.to_bits()),
                };
                (!self.ints.is_empty() || !self.floats.is_empty(), found)
            }
            Leaf::Text(text) => (!self.texts.is_empty(), self.texts.contains(text.as_ref())),
            Leaf::Array(text) => (
                !self.arrays.is_empty(),
                self.arrays.iter().any(|literal| equal_arrays(text, literal)),
            ),
            Leaf::Object => (false, false),
        };
        comparable.then_some(found)
    }
}

/// Floats that are whole and fit become integers, so that equal numbers are identical.
fn normal(value: Number) -> Number {
    match value {
        Number::Float(float)
            if float.fract() == 0.0 && compare_int_float(float as i64, float) == Some(Ordering::Equal) =>
        {
            Number::Int(float as i64)
        }
        Number::Int(_) | Number::Float(_) => value,
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::{Number, compare_numbers};

    #[test]
    fn integers_and_floats_compare_exactly() {
        let big = 9_007_199_254_740_993; // 2^53 + 1, not a double
        for (int, float, expected) in [
            (1, 1.0, Ordering::Equal),
            (1, 1.5, Ordering::Less),
            (-1, -1.5, Ordering::Greater),
            (big, 9_007_199_254_740_992.0, Ordering::Greater),
            (i64::MAX, 9_223_372_036_854_775_808.0, Ordering::Less),
            (i64::MIN, -9_223_372_036_854_775_808.0, Ordering::Equal),
            (0, -0.0, Ordering::Equal),
            (0, 1e300, Ordering::Less),
        ] {
            assert_eq!(
                compare_numbers(Number::Int(int), Number::Float(float)),
                Some(expected),
                "{int} {float}"
            );
            assert_eq!(
                compare_numbers(Number::Float(float), Number::Int(int)),
                Some(expected.reverse()),
                "{int} {float}"
            );
        }
    }
}
