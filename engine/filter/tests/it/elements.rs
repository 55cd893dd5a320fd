//! Conditions on the elements of struct arrays: what they mean by hand, what is refused, and random rows and conditions
//! against plain Rust.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array, Int64Array,
    ListArray, RecordBatch, StringArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Schema};
use elanus_filter::{TemplateValue, Templates, compile};
use proptest::prelude::*;

use crate::table::{matching, matching_through_planner, truth};

#[derive(Debug, Clone, PartialEq)]
struct Element {
    text: &'static str,
    n: i32,
    x: f64,
    b: bool,
}

type Row = Option<Vec<Element>>;

fn element(text: &'static str, n: i32) -> Element {
    Element {
        text,
        n,
        x: f64::from(n) / 2.0,
        b: n % 2 == 0,
    }
}

/// Columns `id`, `chunks` and `tags` (the `n` of the elements as a plain array). Lists under a null have elements, too, and
/// the batch is cut out of a longer one.
fn table(rows: &[Row]) -> RecordBatch {
    let hidden = [element("hidden", 7)];
    let around = [None, Some(vec![element("before", 1)])];
    let all: Vec<&Row> = around.iter().chain(rows).chain(&around).collect();
    let lists: Vec<&[Element]> = all.iter().map(|row| row.as_deref().unwrap_or(&hidden)).collect();
    let elements: Vec<&Element> = lists.iter().copied().flatten().collect();
    let fields = Fields::from(vec![
        Field::new("text", DataType::Utf8, true),
        Field::new("n", DataType::Int32, true),
        Field::new("x", DataType::Float64, true),
        Field::new("b", DataType::Boolean, true),
        // A vector, which no condition can read.
        Field::new(
            "v",
            DataType::new_fixed_size_list(DataType::Float32, 2, false),
            true,
        ),
    ]);
    let item = Arc::new(Field::new_list_field(DataType::Float32, false));
    let vectors = Arc::new(Float32Array::from(vec![0.5; 2 * elements.len()]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(elements.iter().map(|e| e.text))),
        Arc::new(Int32Array::from_iter_values(elements.iter().map(|e| e.n))),
        Arc::new(Float64Array::from_iter_values(elements.iter().map(|e| e.x))),
        Arc::new(elements.iter().map(|e| Some(e.b)).collect::<BooleanArray>()),
        Arc::new(FixedSizeListArray::new(item, 2, vectors, None)),
    ];
    let structs = StructArray::new(fields.clone(), columns, None);
    let offsets = OffsetBuffer::from_lengths(lists.iter().map(|list| list.len()));
    let nulls = NullBuffer::from_iter(all.iter().map(|row| row.is_some()));
    let item = Arc::new(Field::new_list_field(DataType::Struct(fields), true));
    let chunks = ListArray::new(item, offsets, Arc::new(structs), Some(nulls));
    let tags = ListArray::from_iter_primitive::<Int32Type, _, _>(
        all.iter()
            .map(|row| row.as_ref().map(|row| row.iter().map(|e| Some(e.n)))),
    );
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("chunks", chunks.data_type().clone(), true),
        Field::new("tags", tags.data_type().clone(), true),
    ]);
    let ids = Int64Array::from_iter_values((0..all.len()).map(|row| row as i64 - 2));
    let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(chunks), Arc::new(tags)];
    let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
    batch.slice(2, rows.len())
}

fn five() -> Vec<Row> {
    vec![
        Some(vec![element("a", 1), element("b", 2), element("c", 3)]),
        Some(vec![]),
        None,
        Some(vec![element("a", 2), element("a", 4)]),
        Some(vec![element("z", -1)]),
    ]
}

#[tokio::test]
async fn rows_are_found_by_how_many_elements_match() {
    let batch = table(&five());
    let templates: Templates = [
        ("n", TemplateValue::Int(2)),
        (
            "list",
            TemplateValue::Array(vec![TemplateValue::String("z".to_owned())]),
        ),
    ]
    .into_iter()
    .collect();
    for (filter, expected) in [
        ("match_any(chunks, $[n] == 2)", &[0, 3][..]),
        ("MATCH_ANY(chunks, $[n] == {n})", &[0, 3]),
        ("match_any(chunks, $[text] in {list})", &[4]),
        ("match_any(chunks, $[text] == 'a' && $[n] > 1)", &[3]),
        // each of the conditions by another element is not enough
        ("match_any(chunks, $[text] == 'b' and $[n] == 3)", &[]),
        (
            "match_any(chunks, $[text] == 'b') and match_any(chunks, $[n] == 3)",
            &[0],
        ),
        ("match_all(chunks, $[n] > 0)", &[0, 1, 3]),
        ("match_all(chunks, $[b] == true)", &[1, 3]),
        ("match_least(chunks, $[n] >= 2, threshold=2)", &[0, 3]),
        ("match_most(chunks, $[n] >= 2, threshold=1)", &[1, 4]),
        ("match_most(chunks, $[n] >= 2, threshold=0)", &[1, 4]),
        ("match_exact(chunks, $[n] >= 2, threshold=0)", &[1, 4]),
        ("match_exact(chunks, $[text] like 'a%', threshold=1)", &[0]),
        ("match_any(chunks, 1 < $[n] <= 2)", &[0, 3]),
        ("match_any(chunks, $[n] % 2 == 1)", &[0]),
        ("match_any(chunks, not ($[n] > 0))", &[4]),
        ("match_any(chunks, starts_with($[text], 'z'))", &[4]),
        ("match_any(chunks, true)", &[0, 3, 4]),
        ("match_all(chunks, 1 == 2)", &[1]),
        // of NULL nothing is known
        ("not match_any(chunks, $[n] == 2)", &[1, 4]),
        ("not match_all(chunks, $[n] > 0)", &[4]),
        ("not (match_any(chunks, $[n] == 2) or id == 2)", &[1, 4]),
        ("match_any(chunks, $[n] == 2) or chunks is null", &[0, 2, 3]),
        ("chunks is null", &[2]),
        ("chunks is not null", &[0, 1, 3, 4]),
        ("element_filter(chunks, $[n] == 2)", &[0, 3]),
        ("id > 0 and element_filter(chunks, $[n] == 2)", &[3]),
        ("chunks[0][text] == 'a'", &[0, 3]),
        ("chunks[1][n] in [2, 4]", &[0, 3]),
        ("chunks[2][n] > 0", &[0]),
        // where there is no such element, nothing is known of it
        ("not (chunks[1][n] == 2)", &[3]),
        ("1 < chunks[0][n] < 3", &[3]),
        ("chunks[4000000000][n] == 1", &[]),
        ("array_length(chunks) == 2", &[3]),
        ("array_length(chunks) == 0", &[1]),
        ("array_length(chunks[n]) > 1", &[0, 3]),
        ("array_contains(chunks[text], 'a')", &[0, 3]),
        ("array_contains_all(chunks[n], [1, 3])", &[0]),
        ("array_contains_any(chunks[n], [-1, 4])", &[3, 4]),
        ("not array_contains(chunks[text], 'a')", &[1, 4]),
        ("chunks[n] == [2, 4]", &[3]),
        ("chunks == []", &[1]),
        // elements of a plain array
        ("match_any(tags, $ == 2)", &[0, 3]),
        ("match_all(tags, $ > 0 and $ < 4)", &[0, 1]),
        ("match_exact(tags, 1 < $ < 4, threshold=2)", &[0]),
    ] {
        assert_eq!(
            matching(&batch, filter, &templates).unwrap(),
            expected,
            "{filter}"
        );
        if !filter.contains('{') {
            let planned = matching_through_planner(&batch, filter, &templates).await;
            assert_eq!(planned, expected, "{filter} through the planner");
        }
    }
}

#[test]
fn what_elements_cannot_be_asked_is_refused_with_its_place() {
    let schema = table(&five()).schema();
    let mut wrong = Vec::new();
    for (filter, expected) in [
        (
            "$[n] == 1",
            "$[n] syntax can only be used inside element_filter or match_* (line 1, column 1)",
        ),
        (
            "$ == 1",
            "$ can only be used inside element_filter or match_* (line 1, column 1)",
        ),
        (
            "match_any(chunks, $[m] == 1)",
            "array field not found: chunks[m]; sub-fields of chunks are text, n, x, b, v (line 1, column 19)",
        ),
        (
            "match_any(chunks, $[v] == 1)",
            "chunks[v] holds vectors, which cannot be used in a filter (line 1, column 19)",
        ),
        (
            "match_any(chunks, $ == 1)",
            "the elements of chunks are structs; write $[sub-field] (line 1, column 19)",
        ),
        (
            "match_any(tags, $[n] == 1)",
            "tags has no sub-fields; its elements are written $ (line 1, column 17)",
        ),
        (
            "match_any(chunks, id == 1)",
            "field id cannot be used in a condition on the elements of chunks; these are written $[sub-field], and conditions on the row are joined with 'and' outside (line 1, column 19)",
        ),
        (
            "match_any(chunks, match_any(tags, $ == 1))",
            "nested match_any is not supported, already inside match expression for field: chunks (line 1, column 19)",
        ),
        (
            "match_any(id, $[n] == 1)",
            "match_any takes a struct array field, id is of type Int64 (line 1, column 1)",
        ),
        (
            "match_any(chunk, $[n] == 1)",
            "field chunk not exist; did you mean chunks? (line 1, column 1)",
        ),
        (
            "match_any(chunks, $[n])",
            "the condition of match_any is not a boolean expression: $[n], data type: Int32 (line 1, column 19)",
        ),
        (
            "match_any(chunks, $[text] > 1)",
            "comparison operations cannot be applied to two incompatible operands: VarChar and Int64 (line 1, column 19)",
        ),
        (
            "match_least(chunks, $[n] == 1, threshold=0)",
            "count in MATCH_LEAST must be positive, got: 0 (line 1, column 1)",
        ),
        (
            "id == 1 or element_filter(chunks, $[n] == 1)",
            "element_filter can only stand alone or as the last condition of 'and' (line 1, column 12)",
        ),
        (
            "element_filter(chunks, $[n] == 1) and id == 1",
            "element_filter can only stand alone or as the last condition of 'and' (line 1, column 1)",
        ),
        (
            "match_any(chunks, element_filter(chunks, $[n] == 1))",
            "element_filter can only stand alone or as the last condition of 'and' (line 1, column 19)",
        ),
        (
            "match_any(chunks, random_sample(0.5))",
            "random_sample can only stand alone or as the last condition of 'and' (line 1, column 19)",
        ),
        (
            "chunks[0] == 1",
            "an element of a struct array is read by its sub-fields: chunks[0][sub-field] (line 1, column 1)",
        ),
        (
            "chunks[0][m] == 1",
            "array field not found: chunks[m]; sub-fields of chunks are text, n, x, b, v (line 1, column 1)",
        ),
        (
            "tags[n] == 1",
            "tags[n] needs a struct array field, tags is of type Array[Int32] (line 1, column 1)",
        ),
        (
            "chunks == 1",
            "comparison operations cannot be applied to two incompatible operands: Array[Struct] and Int64 (line 1, column 1)",
        ),
        (
            "array_contains(chunks, 1)",
            "cannot cast value to Struct, value: 1 (line 1, column 1)",
        ),
    ] {
        let found = match compile(filter, &schema, &Templates::new()) {
            Ok(expr) => format!("compiles to {expr}"),
            Err(error) => {
                let text = error.to_string();
                let start = format!("cannot parse expression: {filter}, error: ");
                text.strip_prefix(&start).unwrap_or(&text).to_owned()
            }
        };
        if found != expected {
            wrong.push(format!("{filter}: {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn conditions_that_differ_only_inside_are_different() {
    let schema = table(&five()).schema();
    let expr = |filter: &str| compile(filter, &schema, &Templates::new()).unwrap();
    let one = expr("match_any(chunks, $[n] == 1)");
    assert_eq!(one, expr("match_any(chunks, $[n] == 1)"));
    assert_ne!(one, expr("match_any(chunks, $[n] == 2)"));
    assert_ne!(
        expr("match_least(chunks, $[n] == 1, threshold=1)"),
        expr("match_least(chunks, $[n] == 1, threshold=2)")
    );
    assert_eq!(
        one.to_string(),
        "elanus_match_any(chunks, Utf8(\"n = Int32(1)\"))"
    );
    let filter = expr("element_filter(chunks, $[n] == 1)");
    assert_ne!(one, filter, "it also says which elements a search may find");
    assert_eq!(
        filter.to_string(),
        "elanus_element_filter(chunks, Utf8(\"n = Int32(1)\"))"
    );
}

/// A condition on one element.
#[derive(Debug, Clone)]
enum Condition {
    Number(&'static str, &'static str, i32),
    Text(&'static str, &'static str),
    TextIn(Vec<&'static str>),
    Flag(bool),
    Between(i32, i32),
    Remainder(i32),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
}

fn compare<T: PartialOrd>(left: &T, op: &str, right: &T) -> bool {
    match op {
        "==" => left == right,
        "!=" => left != right,
        "<" => left < right,
        "<=" => left <= right,
        ">" => left > right,
        _ => left >= right,
    }
}

impl Condition {
    fn holds(&self, element: &Element) -> bool {
        match self {
            Self::Number(sub, op, value) => {
                let number = if *sub == "n" {
                    f64::from(element.n)
                } else {
                    element.x
                };
                compare(&number, op, &f64::from(*value))
            }
            Self::Text(op, value) => compare(&element.text, op, value),
            Self::TextIn(values) => values.contains(&element.text),
            Self::Flag(value) => element.b == *value,
            Self::Between(low, high) => *low < element.n && element.n <= *high,
            Self::Remainder(value) => element.n % 3 == *value,
            Self::And(left, right) => left.holds(element) && right.holds(element),
            Self::Or(left, right) => left.holds(element) || right.holds(element),
            Self::Not(inner) => !inner.holds(element),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(sub, op, value) => write!(f, "$[{sub}] {op} {value}"),
            Self::Text(op, value) => write!(f, "$[text] {op} '{value}'"),
            Self::TextIn(values) => write!(f, "$[text] in {values:?}"),
            Self::Flag(value) => write!(f, "$[b] == {value}"),
            Self::Between(low, high) => write!(f, "{low} < $[n] <= {high}"),
            Self::Remainder(value) => write!(f, "$[n] % 3 == {value}"),
            Self::And(left, right) => write!(f, "(({left}) && ({right}))"),
            Self::Or(left, right) => write!(f, "(({left}) or ({right}))"),
            Self::Not(inner) => write!(f, "not ({inner})"),
        }
    }
}

const TEXTS: [&str; 4] = ["", "a", "b", "c"];

fn condition() -> impl Strategy<Value = Condition> {
    let op = || prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let text = || prop::sample::select(TEXTS.to_vec());
    let leaf = prop_oneof![
        (prop::sample::select(vec!["n", "x"]), op(), -3i32..4)
            .prop_map(|(sub, op, value)| Condition::Number(sub, op, value)),
        (op(), text()).prop_map(|(op, value)| Condition::Text(op, value)),
        prop::collection::vec(text(), 0..3).prop_map(Condition::TextIn),
        any::<bool>().prop_map(Condition::Flag),
        (-3i32..2, 0i32..3).prop_map(|(low, width)| Condition::Between(low, low + width + 1)),
        (-2i32..3).prop_map(Condition::Remainder),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        let boxed = || inner.clone().prop_map(Box::new);
        prop_oneof![
            (boxed(), boxed()).prop_map(|(left, right)| Condition::And(left, right)),
            (boxed(), boxed()).prop_map(|(left, right)| Condition::Or(left, right)),
            boxed().prop_map(Condition::Not),
        ]
    })
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let element = (
        prop::sample::select(TEXTS.to_vec()),
        -3i32..4,
        -3i32..4,
        any::<bool>(),
    );
    let element = element.prop_map(|(text, n, x, b)| Element {
        text,
        n,
        x: f64::from(x) / 2.0,
        b,
    });
    let row = prop::option::weighted(0.85, prop::collection::vec(element, 0..5));
    prop::collection::vec(row, 1..12)
}

/// Whether so many elements of so many are what a filter wants.
type OfCounts<'a> = &'a dyn Fn(usize, usize) -> bool;

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn random_conditions_agree_with_plain_code(rows in rows(), condition in condition(), threshold in 0u8..5) {
        let batch = table(&rows);
        let least = threshold.max(1);
        let with: [(String, OfCounts<'_>); 6] = [
            (format!("match_any(chunks, {condition})"), &|count, _| count > 0),
            (format!("match_all(chunks, {condition})"), &|count, length| count == length),
            (format!("match_least(chunks, {condition}, threshold={least})"), &|count, _| count >= usize::from(least)),
            (format!("match_most(chunks, {condition}, threshold={threshold})"), &|count, _| count <= usize::from(threshold)),
            (format!("match_exact(chunks, {condition}, threshold={threshold})"), &|count, _| count == usize::from(threshold)),
            (format!("element_filter(chunks, {condition})"), &|count, _| count > 0),
        ];
        for (filter, holds) in with {
            let expected: Vec<Option<bool>> = rows
                .iter()
                .map(|row| row.as_ref().map(|row| holds(row.iter().filter(|e| condition.holds(e)).count(), row.len())))
                .collect();
            prop_assert_eq!(&truth(&batch, &filter, &Templates::new()).unwrap(), &expected, "{}", filter);
            if filter.starts_with("match") {
                let negated = format!("not {filter}");
                let expected: Vec<_> = expected.iter().map(|truth| truth.map(|truth| !truth)).collect();
                prop_assert_eq!(truth(&batch, &negated, &Templates::new()).unwrap(), expected, "{}", negated);
            }
        }
    }

    #[test]
    fn random_places_agree_with_plain_code(rows in rows(), index in 0usize..6, value in -3i32..4, text in prop::sample::select(TEXTS.to_vec())) {
        let batch = table(&rows);
        let at = |row: &Row| row.as_ref().and_then(|row| row.get(index).cloned());
        let cases: [(String, Vec<Option<bool>>); 4] = [
            (format!("chunks[{index}][n] >= {value}"), rows.iter().map(|row| at(row).map(|e| e.n >= value)).collect()),
            (format!("chunks[{index}][text] == '{text}'"), rows.iter().map(|row| at(row).map(|e| e.text == text)).collect()),
            (format!("array_length(chunks) > {index}"), rows.iter().map(|row| row.as_ref().map(|row| row.len() > index)).collect()),
            (format!("array_contains(chunks[n], {value})"), rows.iter().map(|row| row.as_ref().map(|row| row.iter().any(|e| e.n == value))).collect()),
        ];
        for (filter, expected) in cases {
            prop_assert_eq!(truth(&batch, &filter, &Templates::new()).unwrap(), expected, "{}", filter);
        }
    }
}
