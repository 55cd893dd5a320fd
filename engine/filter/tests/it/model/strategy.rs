//! Random rows and random conditions on them, full of edges: NULL, both zeros, 2^53, the ends of the integers, `%` in
//! texts, values of the wrong kind in JSON.

use proptest::option::of as optional;
use proptest::prelude::*;
use proptest::sample::select;

use super::condition::{Condition, DAY, Instant, Pattern};
use super::datum::Datum;
use super::row::{Field, Row};

static COMPARISONS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];
static EQUALITIES: [&str; 2] = ["==", "!="];
const YEAR_2025: i64 = 1_735_689_600_000_000;
static INSTANTS: [Instant; 4] = [
    ("2025-01-01T00:00:00Z", YEAR_2025),
    ("2025-01-02", YEAR_2025 + DAY),
    ("2024-12-31T00:00:00.000001+00:00", YEAR_2025 - DAY + 1),
    ("2025-01-04T08:00:00+08:00", YEAR_2025 + 3 * DAY),
];

fn int() -> impl Strategy<Value = i64> {
    let edges = vec![
        i64::MIN,
        i64::MAX,
        127,
        128,
        -128,
        -129,
        300,
        1 << 53,
        (1 << 53) + 1,
    ];
    prop_oneof![5 => -4i64..5, 2 => select(edges)]
}

fn float() -> impl Strategy<Value = f64> {
    let edges = vec![
        9_007_199_254_740_992.0,
        9_223_372_036_854_775_808.0,
        -9_223_372_036_854_775_808.0,
        1e30,
        -1e30,
        -0.0,
    ];
    prop_oneof![5 => (-8i32..9).prop_map(|value| f64::from(value) / 2.0), 1 => select(edges)]
}

fn number() -> impl Strategy<Value = Datum> {
    prop_oneof![int().prop_map(Datum::Int), float().prop_map(Datum::Float)]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[abé]{0,2}", 1 => "[ab%_\\\\\"é]{0,3}"]
}

fn text_datum() -> impl Strategy<Value = Datum> {
    text().prop_map(Datum::Text)
}

/// A constant of any kind that JSON compares with.
fn constant() -> impl Strategy<Value = Datum> {
    let leaf = prop_oneof![
        3 => number(),
        2 => text_datum(),
        1 => any::<bool>().prop_map(Datum::Bool),
    ];
    leaf.prop_recursive(2, 4, 2, |inner| {
        prop::collection::vec(inner, 0..3).prop_map(Datum::Array)
    })
}

/// Any JSON value.
fn json() -> impl Strategy<Value = Datum> {
    let leaf = || prop_oneof![4 => constant(), 1 => Just(Datum::Null), 1 => Just(Datum::Object)];
    prop_oneof![3 => leaf(), 1 => prop::collection::vec(leaf(), 0..4).prop_map(Datum::Array)]
}

pub fn row() -> impl Strategy<Value = Row> {
    let small = prop_oneof![-4i8..5, Just(i8::MIN), Just(i8::MAX)];
    let real = float().prop_map(|value| value as f32);
    let ts = prop_oneof![-2i64..4, Just(-20_000)].prop_map(|days| YEAR_2025 + days * DAY);
    let numbers = (
        optional(small),
        optional(int()),
        optional(real),
        optional(float()),
    );
    let scalars = (
        optional(any::<bool>()),
        optional(text()),
        optional(text()),
        optional(ts),
    );
    let lists = (
        optional(prop::collection::vec(int(), 0..3)),
        optional(prop::collection::vec(text(), 0..3)),
        optional(json()),
    );
    (numbers, scalars, lists).prop_map(|(numbers, scalars, lists)| {
        let (small, big, real, double) = numbers;
        let (flag, text, other, ts) = scalars;
        let (ints, tags, json) = lists;
        Row {
            small,
            big,
            real,
            double,
            flag,
            text,
            other,
            ts,
            ints,
            tags,
            json,
        }
    })
}

/// A field with a comparison and a constant that may be compared with it so.
fn comparable() -> impl Strategy<Value = (Field, &'static str, Datum)> {
    use Field::{Big, Double, Flag, Int, Ints, Json, JsonElement, Other, Real, Small, Tag, Text};
    let ints = prop::collection::vec(int().prop_map(Datum::Int), 0..3).prop_map(Datum::Array);
    prop_oneof![
        6 => (select(vec![Small, Big, Real, Double, Int, Json, JsonElement]), select(&COMPARISONS[..]), number()),
        3 => (select(vec![Text, Other, Tag, Json, JsonElement]), select(&COMPARISONS[..]), text_datum()),
        1 => (Just(Flag), select(&EQUALITIES[..]), any::<bool>().prop_map(Datum::Bool)),
        1 => (Just(Ints), select(&EQUALITIES[..]), ints),
        2 => (select(vec![Json, JsonElement]), select(&EQUALITIES[..]), constant()),
    ]
}

fn membership() -> impl Strategy<Value = (Field, Vec<Datum>)> {
    use Field::{Big, Double, Flag, Int, Json, JsonElement, Real, Small, Tag, Text};
    let list = |item: BoxedStrategy<Datum>| prop::collection::vec(item, 0..4);
    prop_oneof![
        2 => (select(vec![Small, Big, Int]), list(int().prop_map(Datum::Int).boxed())),
        2 => (select(vec![Real, Double]), list(number().boxed())),
        2 => (select(vec![Text, Tag]), list(text_datum().boxed())),
        1 => (Just(Flag), list(any::<bool>().prop_map(Datum::Bool).boxed())),
        2 => (select(vec![Json, JsonElement]), list(constant().boxed())),
    ]
}

fn range() -> impl Strategy<Value = (Field, Datum, Datum)> {
    use Field::{Big, Double, Int, Json, JsonElement, Real, Small, Tag, Text};
    let low = prop_oneof![(-4i64..1).prop_map(Datum::Int), Just(Datum::Float(-0.5))];
    let high = prop_oneof![(1i64..5).prop_map(Datum::Int), Just(Datum::Float(1e30))];
    let texts = (
        Just(Datum::Text("a".to_owned())),
        Just(Datum::Text("b".to_owned())),
    );
    prop_oneof![
        2 => (select(vec![Small, Big, Real, Double, Int, Json, JsonElement]), low, high),
        1 => (select(vec![Text, Tag, Json]), texts).prop_map(|(field, (low, high))| (field, low, high)),
    ]
}

fn arithmetic() -> impl Strategy<Value = (Field, &'static str)> {
    use Field::{Big, Double, Int, Json, JsonElement, Real, Small};
    prop_oneof![
        (
            select(vec![Small, Big, Int, Json, JsonElement]),
            select(vec!["+", "-", "*", "/", "%", "&", "|", "^"])
        ),
        (select(vec![Real, Double]), select(vec!["+", "-", "*", "/"])),
    ]
}

fn fields() -> impl Strategy<Value = (Field, &'static str, Field)> {
    use Field::{Big, Double, Flag, Other, Real, Small, Text};
    let numbers = || select(vec![Small, Big, Real, Double]);
    prop_oneof![
        3 => (numbers(), select(&COMPARISONS[..]), numbers()),
        1 => (Just(Text), select(&COMPARISONS[..]), Just(Other)),
        1 => (Just(Flag), select(&EQUALITIES[..]), Just(Flag)),
    ]
}

fn pattern() -> impl Strategy<Value = Vec<Pattern>> {
    let piece = prop_oneof![
        Just(Pattern::Run),
        Just(Pattern::One),
        select(vec!['a', 'b', 'é', '%', '_', '\\', '"']).prop_map(Pattern::Exactly),
    ];
    prop::collection::vec(piece, 0..5)
}

fn containment() -> impl Strategy<Value = (&'static str, Field, Vec<Datum>)> {
    let item = || {
        prop_oneof![
            int().prop_map(|value| (Field::Ints, Datum::Int(value))),
            text().prop_map(|text| (Field::Tags, Datum::Text(text))),
            (select(vec![Field::Json, Field::JsonElement]), constant()),
        ]
    };
    let one = (select(vec!["json_contains", "array_contains"]), item())
        .prop_map(|(function, (field, element))| (function, field, vec![element]));
    let many = vec![
        "json_contains_all",
        "json_contains_any",
        "array_contains_all",
        "array_contains_any",
    ];
    let many = (
        select(many),
        prop::collection::vec(item(), 0..4),
        select(vec![Field::Ints, Field::Tags, Field::Json]),
    )
        .prop_map(|(function, items, field)| {
            let fits = |(of, element): (Field, Datum)| (of == field).then_some(element);
            (function, field, items.into_iter().filter_map(fits).collect())
        });
    prop_oneof![one, many]
}

fn leaf() -> impl Strategy<Value = Condition> {
    use Field::{Flag, Ints, Json, JsonElement, Small, Tag, Tags, Text};
    let days = optional(-3i64..4);
    prop_oneof![
        5 => (comparable(), any::<bool>()).prop_map(|((field, op, constant), constant_first)| Condition::Compare {
            field, op, constant, constant_first,
        }),
        2 => fields().prop_map(|(left, op, right)| Condition::Fields(left, op, right)),
        4 => (membership(), any::<bool>()).prop_map(|((field, list), negated)| Condition::In(field, list, negated)),
        2 => (range(), any::<[bool; 3]>()).prop_map(|((field, low, high), [with_low, with_high, falling])| Condition::Range {
            field, low: (low, with_low), high: (high, with_high), falling,
        }),
        3 => (arithmetic(), select(vec![-3i64, -1, 1, 2, 5, i64::MAX]), select(&COMPARISONS[..]), number()).prop_map(
            |((field, op), operand, comparison, constant)| Condition::Arithmetic { field, op, operand, comparison, constant }
        ),
        2 => (select(vec![Text, Tag, Json, JsonElement]), pattern()).prop_map(|(field, pattern)| Condition::Like(field, pattern)),
        1 => (select(vec![Text, Tag, Json, JsonElement]), "[abé]{0,2}", any::<bool>())
            .prop_map(|(field, letters, negated)| Condition::Regex(field, letters, negated)),
        1 => (select(vec![Small, Text, Flag, Ints, Json, JsonElement]), any::<bool>())
            .prop_map(|(field, negated)| Condition::IsNull(field, negated)),
        1 => select(vec![Json, JsonElement]).prop_map(Condition::Exists),
        3 => containment().prop_map(|(function, field, elements)| Condition::Contains(function, field, elements)),
        1 => (select(vec![Ints, Tags, Json, JsonElement]), select(&COMPARISONS[..]), -1i64..4)
            .prop_map(|(field, op, length)| Condition::Length(field, op, length)),
        1 => (days, select(&COMPARISONS[..]), select(&INSTANTS[..]), any::<bool>())
            .prop_map(|(days, op, instant, instant_first)| Condition::Time { days, op, instant, instant_first }),
    ]
}

pub fn condition() -> impl Strategy<Value = Condition> {
    leaf().prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| Condition::Not(Box::new(inner))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Condition::And),
            prop::collection::vec(inner, 2..4).prop_map(Condition::Or),
        ]
    })
}
