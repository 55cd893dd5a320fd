//! An index against the values it was built from.

use std::ops::Bound;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn bits(rows: usize, set: impl Fn(usize) -> bool) -> Bitset {
    Bitset::from_fn(rows, set)
}

fn reopened(index: &ScalarIndex) -> ScalarIndex {
    ScalarIndex::open(Bytes::from(index.serialize())).unwrap()
}

fn build(rows: usize, values: Values<'_>, nulls: Bitset, grams: Option<GramLengths>) -> ScalarIndex {
    let column = ScalarColumn {
        rows,
        values,
        nulls,
        others: Bitset::new(rows),
    };
    let options = BuildOptions {
        threads: 1,
        ..BuildOptions::default()
    };
    let built = ScalarIndex::build(column, grams, &options).unwrap();
    let opened = reopened(&built);
    assert_eq!(built.serialize(), opened.serialize());
    opened
}

/// Of one value in each row, `None` is NULL.
fn of_ints(values: &[Option<i64>]) -> ScalarIndex {
    let rows = (0..)
        .zip(values)
        .filter_map(|(row, value)| Some(((*value)?, row)));
    build(
        values.len(),
        Values::Ints(rows.collect()),
        bits(values.len(), |row| values[row].is_none()),
        None,
    )
}

fn of_texts(values: &[Option<String>], grams: Option<GramLengths>) -> ScalarIndex {
    let rows = (0..)
        .zip(values)
        .filter_map(|(row, value)| Some((value.as_deref()?, row)));
    build(
        values.len(),
        Values::Texts(rows.collect()),
        bits(values.len(), |row| values[row].is_none()),
        grams,
    )
}

/// The verdict of a test that is this in each row.
fn expected(outcomes: &[Option<bool>]) -> Verdict {
    let of = |wanted: Option<bool>| bits(outcomes.len(), |row| outcomes[row] == wanted);
    Verdict {
        yes: of(Some(true)),
        no: of(Some(false)),
        unknown: of(None),
    }
}

fn inside<T: PartialOrd>(value: &T, from: &Bound<T>, to: &Bound<T>) -> bool {
    let above = match from {
        Bound::Included(from) => value >= from,
        Bound::Excluded(from) => value > from,
        Bound::Unbounded => true,
    };
    let below = match to {
        Bound::Included(to) => value <= to,
        Bound::Excluded(to) => value < to,
        Bound::Unbounded => true,
    };
    above && below
}

fn bound<T: std::fmt::Debug + Clone + 'static>(
    value: impl Strategy<Value = T> + Clone + 'static,
) -> impl Strategy<Value = Bound<T>> {
    prop_oneof![
        value.clone().prop_map(Bound::Included),
        value.prop_map(Bound::Excluded),
        Just(Bound::Unbounded)
    ]
}

fn word() -> impl Strategy<Value = String> + Clone {
    "[abü]{0,4}"
}

proptest! {
    #[test]
    fn integers(values in prop::collection::vec(prop::option::of(-40i64..40), 0..200), wanted in prop::collection::vec(-50i64..50, 0..5), from in bound(-50i64..50), to in bound(-50i64..50)) {
        let index = of_ints(&values);
        let each = |test: &dyn Fn(i64) -> bool| expected(&values.iter().map(|value| value.map(test)).collect::<Vec<_>>());
        let keys = wanted.iter().map(|value| Key::Int(*value)).collect();
        prop_assert_eq!(index.answer(&ScalarTest::In(keys)), Some(each(&|value| wanted.contains(&value))));
        let range = ScalarTest::Range(from.map(Key::Int), to.map(Key::Int));
        prop_assert_eq!(index.answer(&range), Some(each(&|value| inside(&value, &from, &to))));
        prop_assert_eq!(index.answer(&ScalarTest::Any), Some(each(&|_| true)));
        let null: Vec<_> = values.iter().map(|value| Some(value.is_none())).collect();
        prop_assert_eq!(index.answer(&ScalarTest::Null), Some(expected(&null)));
        prop_assert_eq!(index.answer(&ScalarTest::Prefix("a".into())), None);
        prop_assert_eq!(index.answer(&ScalarTest::In(vec![Key::Text("a".into())])), None);
    }

    #[test]
    fn floats(values in prop::collection::vec(prop_oneof![Just(0.0), Just(-0.0), Just(f64::NAN), -9.0f64..9.0, Just(1e300), Just(-1e-300)], 0..100), from in bound(-9.0f64..9.0), to in bound(prop_oneof![Just(-0.0f64), Just(0.0f64), -9.0f64..9.0])) {
        let pairs = (0..).zip(&values).map(|(row, value)| (*value, row)).collect();
        let index = build(values.len(), Values::Floats(pairs), Bitset::new(values.len()), None);
        let range = ScalarTest::Range(from.map(Key::Float), to.map(Key::Float));
        let mut wanted = expected(&values.iter().map(|value| Some(inside(value, &from, &to))).collect::<Vec<_>>());
        for row in (0..values.len()).filter(|row| values[*row].is_nan()) {
            wanted.doubt(row);
        }
        prop_assert_eq!(index.answer(&range), Some(wanted));
    }

    #[test]
    fn texts(values in prop::collection::vec(prop::option::of(word()), 0..100), prefix in word(), from in bound(word()), to in bound(word()), piece in word()) {
        let lengths = GramLengths::new(1, 2);
        let index = of_texts(&values, lengths);
        prop_assert_eq!(index.grams(), lengths);
        let each = |test: &dyn Fn(&String) -> bool| expected(&values.iter().map(|value| value.as_ref().map(test)).collect::<Vec<_>>());
        let range = ScalarTest::Range(from.clone().map(Key::Text), to.clone().map(Key::Text));
        prop_assert_eq!(index.answer(&range), Some(each(&|value| inside(value, &from, &to))));
        prop_assert_eq!(index.answer(&ScalarTest::Prefix(prefix.clone())), Some(each(&|value| value.starts_with(&prefix))));

        let candidates = index.texts_with(std::slice::from_ref(&piece));
        prop_assert_eq!(candidates.is_none(), piece.is_empty());
        let codes = candidates.unwrap_or_else(|| (0..index.distinct_count()).collect());
        let Some(Distinct::Texts(texts)) = index.distinct(Some(&codes)) else { panic!() };
        let outcomes: Vec<_> = codes.iter().zip(texts).map(|(code, text)| (*code, Some(std::str::from_utf8(text).unwrap().contains(&piece)))).collect();
        prop_assert_eq!(index.answer_by_code(&outcomes, None), each(&|value| value.contains(&piece)));
    }

    #[test]
    fn arrays(values in prop::collection::vec(prop::option::of(prop::collection::vec(-3i64..3, 0..5)), 0..150), wanted in prop::collection::vec(-4i64..4, 0..3)) {
        let pairs = (0..).zip(&values).flat_map(|(row, elements)| elements.iter().flatten().map(move |element| (*element, row)));
        let index = build(values.len(), Values::Ints(pairs.collect()), bits(values.len(), |row| values[row].is_none()), None);
        let keys = wanted.iter().map(|value| Key::Int(*value)).collect();
        let any: Vec<_> = values.iter().map(|elements| elements.as_ref().map(|elements| elements.iter().any(|element| wanted.contains(element)))).collect();
        prop_assert_eq!(index.answer(&ScalarTest::In(keys)), Some(expected(&any)));
    }
}

#[test]
fn damage_is_an_error_and_no_panic() {
    let values: Vec<_> = (0..70).map(|row| Some(format!("text {}", row % 7))).collect();
    let blob = of_texts(&values, GramLengths::new(2, 3)).serialize();
    for bit in (0..blob.len() * 8).step_by(13) {
        let mut damaged = blob.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(ScalarIndex::open(Bytes::from(damaged)).is_err(), "bit {bit}");
    }
    assert!(crate::AnyIndex::open(Bytes::from(blob)).is_err());
}

#[test]
fn parts_of_texts_are_counted_before_they_are_made() {
    let of = |text: &str, memory: Option<usize>| {
        let column = ScalarColumn {
            rows: 1,
            values: Values::Texts(vec![(text, 0)]),
            nulls: Bitset::new(1),
            others: Bitset::new(1),
        };
        let options = BuildOptions {
            threads: 1,
            memory,
            ..BuildOptions::default()
        };
        ScalarIndex::build(column, GramLengths::new(1, u32::MAX), &options)
    };
    let needed = 6 * 80 + (3 + 2 * 2 + 3) * 8;
    let index = of("aßc", Some(needed)).unwrap();
    assert_eq!(index.texts_with(&["ßc".to_string()]), Some(vec![0]));
    assert_eq!(index.texts_with(&["ßa".to_string()]), Some(vec![]));
    assert!(matches!(
        of("aßc", Some(needed - 1)),
        Err(BuildError::Memory { needed: 560, .. })
    ));
    let refused = |text: &str| of(text, None).unwrap_err().to_string();
    assert!(
        refused(&"ab".repeat(15_000))
            .starts_with("the distinct texts have 450015000 runs of 1 to 4294967295 characters")
    );
    assert!(refused(&"ab".repeat(2_000)).starts_with(
        "the distinct texts have 8002000 runs of 1 to 4294967295 characters, 10674668000 in all"
    ));
}
