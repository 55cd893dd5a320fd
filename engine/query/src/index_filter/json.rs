//! Conditions on JSON: what an index on a place in it is asked.
//!
//! Tests of JSON are NULL where there is no value of the literal's type, and so is an answer of an index on the values of
//! that type; one of another type has no answer. Literals of several types in one list have no answer either.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::ScalarFunction;
use elanus_collection::{IndexTarget, JsonPlace};
use elanus_index::scalar::{Key, ScalarTest};
use elanus_udfs::json::{self, JsonTest, JsonType};
use serde_json::value::RawValue;
use std::ops::Bound;

use super::IndexFilter;

/// Integers up to this are floats without rounding.
const EXACT: u64 = 1 << 53;

/// The place that `elanus_json_get_str(column, pointer)` reads.
pub(super) fn text_at(expr: &Expr) -> Option<IndexTarget> {
    let Expr::ScalarFunction(call) = expr else {
        return None;
    };
    let [column, pointer] = call.args.as_slice() else {
        return None;
    };
    (call.func == json::getter(JsonType::Str)).then_some(())?;
    target(column, pointer, Values::Own)
}

/// A test of the value, or of the array, at a place in JSON.
pub(super) fn lower(call: &ScalarFunction, text: &str) -> Option<IndexFilter> {
    let is = |test: JsonTest| call.func == json::test(test);
    let asked = |target: IndexTarget, test: ScalarTest| IndexFilter::test(target, test, text.to_string());
    match call.args.as_slice() {
        [column, pointer, op, literal_json] if is(JsonTest::Compare) || is(JsonTest::CompareCast) => {
            let values = if is(JsonTest::Compare) {
                Values::Own
            } else {
                Values::Cast
            };
            let target = target(column, pointer, values)?;
            let key = key(literal(literal_json)?)?;
            let range = |from, to| ScalarTest::Range(from, to);
            let test = match literal(op)? {
                "==" => ScalarTest::In(vec![key]),
                "!=" => {
                    let equal = asked(target, ScalarTest::In(vec![key]));
                    return Some(IndexFilter::Not(Box::new(equal)));
                }
                "<" => range(Bound::Unbounded, Bound::Excluded(key)),
                "<=" => range(Bound::Unbounded, Bound::Included(key)),
                ">" => range(Bound::Excluded(key), Bound::Unbounded),
                ">=" => range(Bound::Included(key), Bound::Unbounded),
                _ => return None,
            };
            Some(asked(target, test))
        }
        [column, pointer, list] if is(JsonTest::In) || is(JsonTest::InCast) => {
            let values = if is(JsonTest::In) {
                Values::Own
            } else {
                Values::Cast
            };
            let keys = keys(literal(list)?).filter(|keys| !keys.is_empty())?;
            Some(asked(target(column, pointer, values)?, ScalarTest::In(keys)))
        }
        [column, pointer, mode, list] if is(JsonTest::Has) => {
            let target = target(column, pointer, Values::Elements)?;
            let keys = keys(literal(list)?)?;
            match literal(mode)? {
                "one" | "any" => Some(asked(target, ScalarTest::In(keys))),
                "all" if keys.is_empty() => Some(asked(target, ScalarTest::Any)),
                "all" => {
                    let each = keys
                        .into_iter()
                        .map(|key| asked(target.clone(), ScalarTest::In(vec![key])));
                    Some(IndexFilter::And(each.collect()))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Some(text),
        _ => None,
    }
}

/// Which values at a place are meant.
#[derive(Clone, Copy, PartialEq)]
enum Values {
    /// Those that are there.
    Own,
    /// Numbers, also those in texts.
    Cast,
    /// Elements of arrays.
    Elements,
}

fn target(column: &Expr, pointer: &Expr, values: Values) -> Option<IndexTarget> {
    let Expr::Column(column) = column else {
        return None;
    };
    Some(IndexTarget {
        field: column.name.clone(),
        analyzer: None,
        json: Some(JsonPlace {
            pointer: literal(pointer)?.to_string(),
            elements: values == Values::Elements,
            numbers_in_texts: values == Values::Cast,
        }),
    })
}

/// The value of a JSON literal; `None` for NULL, arrays, objects and integers that no float is.
fn key(json: &str) -> Option<Key> {
    let json = json.trim();
    match json.as_bytes().first()? {
        b't' => Some(Key::Int(1)),
        b'f' => Some(Key::Int(0)),
        b'"' => serde_json::from_str(json).ok().map(Key::Text),
        b'-' | b'0'..=b'9' => match json.parse::<i64>() {
            Ok(integer) if integer.unsigned_abs() > EXACT => None,
            Ok(_) | Err(_) => json
                .parse()
                .ok()
                .filter(|float: &f64| float.is_finite())
                .map(Key::Float),
        },
        _ => None,
    }
}

/// The values of a JSON list, all of one type.
fn keys(list: &str) -> Option<Vec<Key>> {
    let entries: Vec<&RawValue> = serde_json::from_str(list).ok()?;
    let keys: Option<Vec<Key>> = entries.iter().map(|entry| key(entry.get())).collect();
    let keys = keys?;
    let kind = std::mem::discriminant::<Key>;
    let same = keys.windows(2).all(|pair| match pair {
        [a, b] => kind(a) == kind(b),
        _ => true,
    });
    same.then_some(keys)
}
