//! Random condition trees against a naive interpreter that walks the rows one by one with three-valued logic.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int8Array, Int64Array, RecordBatch, StringArray};
use elanus_filter::Templates;
use proptest::prelude::*;

use crate::table::{show, truth};

/// One row of the model table.
#[derive(Debug, Clone)]
struct Row {
    small: Option<i8>,
    big: Option<i64>,
    double: Option<f64>,
    text: Option<String>,
    /// The key `k` of the dynamic field.
    json: Json,
}

#[derive(Debug, Clone)]
enum Json {
    Missing,
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

/// A condition: its text and its meaning.
#[derive(Debug, Clone)]
enum Condition {
    Compare(Field, &'static str, Constant),
    In(Field, Vec<Constant>, bool),
    Range(Field, Constant, Constant),
    Remainder(i64, i64),
    IsNull(Field, bool),
    Not(Box<Condition>),
    And(Vec<Condition>),
    Or(Vec<Condition>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Field {
    Small,
    Big,
    Double,
    Text,
    Json,
}

#[derive(Debug, Clone)]
enum Constant {
    Int(i64),
    Float(f64),
    Text(String),
}

/// A value of a row; the model compares numbers as 128-bit integers of halves, which is exact for the values used.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
enum Value {
    Halves(i128),
    Text(String),
    Bool(bool),
}

fn halves(value: f64) -> Value {
    Value::Halves((value * 2.0) as i128)
}

impl Constant {
    fn value(&self) -> Value {
        match self {
            Self::Int(value) => Value::Halves(i128::from(*value) * 2),
            Self::Float(value) => halves(*value),
            Self::Text(text) => Value::Text(text.clone()),
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Int(value) => write!(out, "{value}").unwrap(),
            Self::Float(value) => write!(out, "{value:?}").unwrap(),
            Self::Text(text) => write!(out, "\"{text}\"").unwrap(),
        }
    }
}

impl Field {
    fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Big => "big",
            Self::Double => "double",
            Self::Text => "text",
            Self::Json => "k",
        }
    }

    fn value(self, row: &Row) -> Option<Value> {
        match self {
            Self::Small => row.small.map(|value| Value::Halves(i128::from(value) * 2)),
            Self::Big => row.big.map(|value| Value::Halves(i128::from(value) * 2)),
            Self::Double => row.double.map(halves),
            Self::Text => row.text.clone().map(Value::Text),
            Self::Json => match &row.json {
                Json::Missing | Json::Null => None,
                Json::Bool(value) => Some(Value::Bool(*value)),
                Json::Int(value) => Some(Value::Halves(i128::from(*value) * 2)),
                Json::Float(value) => Some(halves(*value)),
                Json::Text(text) => Some(Value::Text(text.clone())),
            },
        }
    }
}

fn same_kind(a: &Value, b: &Value) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

fn compare(value: &Value, op: &str, constant: &Value) -> bool {
    match op {
        "==" => value == constant,
        "!=" => value != constant,
        "<" => value < constant,
        "<=" => value <= constant,
        ">" => value > constant,
        ">=" => value >= constant,
        other => panic!("{other}"),
    }
}

impl Condition {
    fn text(&self) -> String {
        match self {
            Self::Compare(field, op, constant) => {
                let mut out = format!("{} {op} ", field.name());
                constant.write(&mut out);
                out
            }
            Self::In(field, constants, negated) => {
                let mut out = format!("{} {} [", field.name(), if *negated { "not in" } else { "in" });
                for constant in constants {
                    constant.write(&mut out);
                    out.push_str(", ");
                }
                out + "]"
            }
            Self::Range(field, low, high) => {
                let mut out = String::new();
                low.write(&mut out);
                write!(out, " <= {} <= ", field.name()).unwrap();
                high.write(&mut out);
                out
            }
            Self::Remainder(divisor, remainder) => format!("big % {divisor} == {remainder}"),
            Self::IsNull(field, negated) => format!(
                "{} {}",
                field.name(),
                if *negated { "is not null" } else { "is null" }
            ),
            Self::Not(inner) => format!("not ({})", inner.text()),
            Self::And(inner) => join(inner, " and "),
            Self::Or(inner) => join(inner, " or "),
        }
    }

    fn truth(&self, row: &Row) -> Option<bool> {
        match self {
            Self::Compare(field, op, constant) => {
                let (value, constant) = (field.value(row)?, constant.value());
                same_kind(&value, &constant).then(|| compare(&value, op, &constant))
            }
            Self::In(Field::Json, constants, negated) if constants.is_empty() => Some(*negated),
            Self::In(field, constants, negated) => {
                let value = field.value(row)?;
                let constants: Vec<Value> = constants.iter().map(Constant::value).collect();
                let comparable =
                    *field != Field::Json || constants.iter().any(|constant| same_kind(&value, constant));
                comparable.then(|| constants.contains(&value) != *negated)
            }
            Self::Range(field, low, high) => {
                let (value, low, high) = (field.value(row)?, low.value(), high.value());
                same_kind(&value, &low).then(|| low <= value && value <= high)
            }
            Self::Remainder(divisor, remainder) => {
                row.big.map(|value| value.wrapping_rem(*divisor) == *remainder)
            }
            Self::IsNull(field, negated) => Some(field.value(row).is_none() != *negated),
            Self::Not(inner) => inner.truth(row).map(|truth| !truth),
            Self::And(inner) => fold(inner.iter().map(|inner| inner.truth(row)), false),
            Self::Or(inner) => fold(inner.iter().map(|inner| inner.truth(row)), true),
        }
    }
}

fn join(inner: &[Condition], separator: &str) -> String {
    inner
        .iter()
        .map(|inner| format!("({})", inner.text()))
        .collect::<Vec<_>>()
        .join(separator)
}

/// `decisive` decides alone; otherwise one unknown makes the whole unknown.
fn fold(truths: impl Iterator<Item = Option<bool>>, decisive: bool) -> Option<bool> {
    let mut result = Some(!decisive);
    for truth in truths {
        match truth {
            Some(truth) if truth == decisive => return Some(decisive),
            Some(_) => {}
            None => result = None,
        }
    }
    result
}

fn int() -> impl Strategy<Value = i64> {
    prop_oneof![5 => -4i64..5, 2 => prop::sample::select(vec![i64::MIN, i64::MAX, 127, 128, -128, -129, 300, 1 << 53, (1 << 53) + 1])]
}

fn float() -> impl Strategy<Value = f64> {
    prop_oneof![5 => (-8i32..9).prop_map(|value| f64::from(value) / 2.0), 1 => prop::sample::select(vec![9_007_199_254_740_992.0, 1e30, -1e30, -0.0])]
}

fn text() -> impl Strategy<Value = String> {
    "[abé]{0,2}"
}

fn row() -> impl Strategy<Value = Row> {
    let json = prop_oneof![
        Just(Json::Missing),
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        int().prop_map(Json::Int),
        float().prop_map(Json::Float),
        text().prop_map(Json::Text),
    ];
    let small = prop_oneof![-4i8..5, Just(i8::MIN), Just(i8::MAX)];
    (
        prop::option::of(small),
        prop::option::of(int()),
        prop::option::of(float()),
        prop::option::of(text()),
        json,
    )
        .prop_map(|(small, big, double, text, json)| Row {
            small,
            big,
            double,
            text,
            json,
        })
}

/// A field with a constant that may be compared with it.
fn pair() -> impl Strategy<Value = (Field, Constant)> {
    let number = || prop_oneof![int().prop_map(Constant::Int), float().prop_map(Constant::Float)];
    prop_oneof![
        (
            prop::sample::select(vec![Field::Small, Field::Big, Field::Json]),
            number()
        ),
        // integers beyond 2^53 are rounded to the double column, which the model does not do
        (
            Just(Field::Double),
            prop_oneof![
                (-9i64..9).prop_map(Constant::Int),
                float().prop_map(Constant::Float)
            ]
        ),
        (
            prop::sample::select(vec![Field::Text, Field::Json]),
            text().prop_map(Constant::Text)
        ),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    let op = prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let ints = || prop::collection::vec(int().prop_map(Constant::Int), 0..4);
    let mixed = prop::collection::vec(
        prop_oneof![
            int().prop_map(Constant::Int),
            float().prop_map(Constant::Float),
            text().prop_map(Constant::Text)
        ],
        0..4,
    );
    let leaf = prop_oneof![
        4 => (pair(), op).prop_map(|((field, constant), op)| Condition::Compare(field, op, constant)),
        1 => (prop::sample::select(vec![Field::Small, Field::Big]), ints(), any::<bool>()).prop_map(|(field, list, negated)| Condition::In(field, list, negated)),
        1 => (mixed, any::<bool>()).prop_map(|(list, negated)| Condition::In(Field::Json, list, negated)),
        1 => (prop::collection::vec(text().prop_map(Constant::Text), 0..4), any::<bool>()).prop_map(|(list, negated)| Condition::In(Field::Text, list, negated)),
        1 => (prop::collection::vec(float().prop_map(Constant::Float), 0..4), any::<bool>()).prop_map(|(list, negated)| Condition::In(Field::Double, list, negated)),
        1 => (prop::sample::select(vec![Field::Small, Field::Big, Field::Json]), -4i64..1, 1i64..5)
            .prop_map(|(field, low, high)| Condition::Range(field, Constant::Int(low), Constant::Int(high))),
        1 => (prop::sample::select(vec![-3i64, -1, 1, 2, 5]), -2i64..3).prop_map(|(divisor, remainder)| Condition::Remainder(divisor, remainder)),
        1 => (prop::sample::select(vec![Field::Small, Field::Text, Field::Json]), any::<bool>()).prop_map(|(field, negated)| Condition::IsNull(field, negated)),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| Condition::Not(Box::new(inner))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Condition::And),
            prop::collection::vec(inner, 2..4).prop_map(Condition::Or),
        ]
    })
}

fn batch(rows: &[Row]) -> RecordBatch {
    let json = |row: &Row| match &row.json {
        Json::Missing => "{}".to_owned(),
        Json::Null => "{\"k\": null}".to_owned(),
        Json::Bool(value) => format!("{{\"k\": {value}}}"),
        Json::Int(value) => format!("{{\"k\": {value}}}"),
        Json::Float(value) => format!("{{\"k\": {value:?}}}"),
        Json::Text(text) => format!("{{\"k\": \"{text}\"}}"),
    };
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        (
            "small",
            Arc::new(rows.iter().map(|row| row.small).collect::<Int8Array>()),
            true,
        ),
        (
            "big",
            Arc::new(rows.iter().map(|row| row.big).collect::<Int64Array>()),
            true,
        ),
        (
            "double",
            Arc::new(rows.iter().map(|row| row.double).collect::<Float64Array>()),
            true,
        ),
        (
            "text",
            Arc::new(rows.iter().map(|row| row.text.clone()).collect::<StringArray>()),
            true,
        ),
        (
            "$meta",
            Arc::new(StringArray::from_iter_values(rows.iter().map(json))),
            true,
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn conditions_hold_where_the_model_says(rows in prop::collection::vec(row(), 1..24), condition in condition()) {
        let batch = batch(&rows);
        let filter = condition.text();
        let found = truth(&batch, &filter, &Templates::new()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        for (row, found) in rows.iter().zip(found) {
            prop_assert_eq!(found, condition.truth(row), "{} on {:?}\n{}", filter, row, show(&batch, "big"));
        }
    }
}
