//! What a condition may be in each row, when not every part of it is known.
//!
//! A row has one bit for each of true, false and unknown (NULL) that the condition may be there. One bit is certainty; all
//! three mean that nothing is known. Conditions combine by the rules of three-valued logic: `a AND b` may be true where
//! both may, false where either may, and unknown where one may be unknown and the other is not sure to be false.

use crate::bitset::Bitset;

/// For each row, what a condition may be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Rows where it may be true.
    pub yes: Bitset,
    /// Rows where it may be false.
    pub no: Bitset,
    /// Rows where it may be NULL.
    pub unknown: Bitset,
}

impl Verdict {
    /// Of a condition that nothing is known of.
    pub fn anything(rows: usize) -> Self {
        Self {
            yes: Bitset::full(rows),
            no: Bitset::full(rows),
            unknown: Bitset::full(rows),
        }
    }

    /// Of a condition that is the same in every row; `None` is NULL.
    pub fn constant(rows: usize, value: Option<bool>) -> Self {
        let bits = |set: bool| {
            if set {
                Bitset::full(rows)
            } else {
                Bitset::new(rows)
            }
        };
        Self {
            yes: bits(value == Some(true)),
            no: bits(value == Some(false)),
            unknown: bits(value.is_none()),
        }
    }

    /// Of `NOT` the condition.
    #[must_use]
    pub fn negated(self) -> Self {
        Self {
            yes: self.no,
            no: self.yes,
            unknown: self.unknown,
        }
    }

    /// Of both conditions together.
    #[must_use]
    pub fn and(mut self, mut other: Self) -> Self {
        // Unknown where one may be and the other may be so or true.
        let mut not_false = other.yes.clone();
        not_false.or(&other.unknown);
        let mut unknown = self.unknown.clone();
        unknown.and(&not_false);
        self.unknown.or(&self.yes);
        other.unknown.and(&self.unknown);
        unknown.or(&other.unknown);
        self.yes.and(&other.yes);
        self.no.or(&other.no);
        Self {
            yes: self.yes,
            no: self.no,
            unknown,
        }
    }

    /// Of either condition.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        self.negated().and(other.negated()).negated()
    }

    /// Of `condition IS TRUE`, which is never NULL.
    #[must_use]
    pub fn is_true(mut self) -> Self {
        self.no.or(&self.unknown);
        Self {
            unknown: Bitset::new(self.yes.len()),
            ..self
        }
    }

    /// Of `condition IS NULL`.
    #[must_use]
    pub fn is_null(mut self) -> Self {
        self.no.or(&self.yes);
        Self {
            unknown: Bitset::new(self.yes.len()),
            yes: self.unknown,
            no: self.no,
        }
    }

    /// Forgets what is known of a row.
    pub fn doubt(&mut self, row: usize) {
        for bits in [&mut self.yes, &mut self.no, &mut self.unknown] {
            if row < bits.len() {
                bits.set(row);
            }
        }
    }

    /// Forgets what is known of these rows.
    pub fn doubt_all(&mut self, rows: &Bitset) {
        for bits in [&mut self.yes, &mut self.no, &mut self.unknown] {
            bits.or(rows);
        }
    }

    /// Rows where the condition is sure to be true.
    pub fn sure(&self) -> Bitset {
        let mut rows = self.yes.clone();
        rows.and_not(&self.no);
        rows.and_not(&self.unknown);
        rows
    }

    /// Rows where the condition may be true and may be not.
    pub fn open(&self) -> Bitset {
        let mut rows = self.no.clone();
        rows.or(&self.unknown);
        rows.and(&self.yes);
        rows
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Per row any set of the three values, none of them empty.
    fn sets() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(1u8..8, 1..100)
    }

    const VALUES: [Option<bool>; 3] = [Some(true), Some(false), None];

    fn verdict(sets: &[u8]) -> Verdict {
        let bits = |bit: u8| Bitset::from_fn(sets.len(), |row| sets[row] & bit != 0);
        Verdict {
            yes: bits(1),
            no: bits(2),
            unknown: bits(4),
        }
    }

    fn values(set: u8) -> impl Iterator<Item = Option<bool>> {
        (0..3)
            .filter(move |bit| set >> bit & 1 == 1)
            .map(|bit| VALUES[bit])
    }

    fn set_of(values: impl Iterator<Item = Option<bool>>) -> u8 {
        values
            .map(|value| 1 << VALUES.iter().position(|known| *known == value).unwrap())
            .fold(0, |set, bit: u8| set | bit)
    }

    fn and(a: Option<bool>, b: Option<bool>) -> Option<bool> {
        match (a, b) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        }
    }

    fn or(a: Option<bool>, b: Option<bool>) -> Option<bool> {
        and(a.map(|a| !a), b.map(|b| !b)).map(|both| !both)
    }

    proptest! {
        #[test]
        fn every_row_may_be_exactly_what_its_parts_may_combine_to(a in sets(), b in sets()) {
            let rows = a.len().min(b.len());
            let (a, b) = (&a[..rows], &b[..rows]);
            let pairs = |combine: fn(Option<bool>, Option<bool>) -> Option<bool>| -> Vec<u8> {
                a.iter().zip(b).map(|(a, b)| set_of(values(*a).flat_map(|a| values(*b).map(move |b| combine(a, b))))).collect()
            };
            prop_assert_eq!(verdict(a).and(verdict(b)), verdict(&pairs(and)));
            prop_assert_eq!(verdict(a).or(verdict(b)), verdict(&pairs(or)));
            let each = |of: fn(Option<bool>) -> Option<bool>| -> Vec<u8> {
                a.iter().map(|a| set_of(values(*a).map(of))).collect()
            };
            prop_assert_eq!(verdict(a).negated(), verdict(&each(|value| value.map(|value| !value))));
            prop_assert_eq!(verdict(a).is_true(), verdict(&each(|value| Some(value == Some(true)))));
            prop_assert_eq!(verdict(a).is_null(), verdict(&each(|value| Some(value.is_none()))));
            let rows_of = |wanted: &dyn Fn(u8) -> bool| (0..rows).filter(|row| wanted(a[*row])).collect::<Vec<_>>();
            prop_assert_eq!(verdict(a).sure().iter().collect::<Vec<_>>(), rows_of(&|set| set == 1));
            prop_assert_eq!(verdict(a).open().iter().collect::<Vec<_>>(), rows_of(&|set| set & 1 == 1 && set != 1));
        }
    }
}
