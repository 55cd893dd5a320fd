//! Filters that parse and are refused, with what is said.

use arrow::datatypes::{DataType, Field, Schema};
use elanus_filter::{FilterErrorKind, TemplateValue, Templates, compile};

use crate::table::table;

/// A set of no integer: the header of an envelope, then a bitmap without containers.
const EMPTY_BITMAP: [u8; 40] =
    *b"MRB1\x01\0\x01\0\0\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn error(filter: &str) -> String {
    let templates: Templates = [
        ("int", TemplateValue::Int(3)),
        ("nan", TemplateValue::Float(f64::NAN)),
        ("bytes", TemplateValue::Bytes([1, 2, 3].as_slice().into())),
        ("set", TemplateValue::Bytes(EMPTY_BITMAP.as_slice().into())),
    ]
    .into_iter()
    .collect();
    match compile(filter, &table().schema(), &templates) {
        Ok(expr) => panic!("{filter} compiled to {expr}"),
        Err(error) => {
            let text = error.to_string();
            let prefix = format!("cannot parse expression: {filter}, error: ");
            assert!(text.starts_with(&prefix), "{text}");
            text[prefix.len()..].to_owned()
        }
    }
}

#[test]
fn type_rules_are_milvus_own() {
    let mut wrong = Vec::new();
    for (filter, expected) in [
        (
            "id",
            "predicate is not a boolean expression: id, data type: Int64 (line 1, column 1)",
        ),
        (
            "id + 1",
            "predicate is not a boolean expression: id + 1, data type: Int64 (line 1, column 1)",
        ),
        (
            "'x'",
            "predicate is not a boolean expression: \"x\", data type: VarChar (line 1, column 1)",
        ),
        (
            "flag",
            "predicate is not a boolean expression: flag, data type: Bool; a boolean field is written field == true (line 1, column 1)",
        ),
        (
            "text == 1",
            "comparison operations cannot be applied to two incompatible operands: VarChar and Int64 (line 1, column 1)",
        ),
        (
            "id == '1'",
            "comparison operations cannot be applied to two incompatible operands: Int64 and VarChar (line 1, column 1)",
        ),
        (
            "1 == 'x'",
            "comparison operations cannot be applied to two incompatible operands: Int64 and VarChar (line 1, column 1)",
        ),
        (
            "text == id",
            "comparison operations cannot be applied to two incompatible operands: VarChar and Int64 (line 1, column 1)",
        ),
        (
            "flag == 1",
            "comparison operations cannot be applied to two incompatible operands: Bool and Int64 (line 1, column 1)",
        ),
        (
            "flag > true",
            "'>' cannot be applied to Bool; use == or != (line 1, column 1)",
        ),
        (
            "meta[\"b\"] > true",
            "'>' cannot be applied to Bool; use == or != (line 1, column 1)",
        ),
        (
            "meta[\"n\"] == id",
            "two column comparison with JSON type is not supported (line 1, column 1)",
        ),
        (
            "ints == ints",
            "can not comparisons array fields directly; compare with a list or an element (line 1, column 1)",
        ),
        (
            "ints > [1]",
            "'>' cannot be applied to Array; use == or != (line 1, column 1)",
        ),
        (
            "ints == 1",
            "comparison operations cannot be applied to two incompatible operands: Array[Int64] and Int64 (line 1, column 1)",
        ),
        (
            "ints == ['x']",
            "cannot cast value to Int64, value: \"x\" (line 1, column 1)",
        ),
        (
            "ts == 1",
            "a Timestamptz field compares with ISO '2025-01-01T00:00:00Z', got Int64 (line 1, column 1)",
        ),
        (
            "ts == ts",
            "two Timestamptz fields cannot be compared; compare each with ISO '2025-01-01T00:00:00Z' (line 1, column 1)",
        ),
        (
            "1 < true < 3",
            "comparison operations cannot be applied to two incompatible operands: Int64 and Bool (line 1, column 1)",
        ),
        (
            "not id == 1",
            "'not' op can only be applied on boolean expression; it binds tighter than comparisons, so write not (a == 1) \
             (line 1, column 1)",
        ),
        (
            "id == 1 and flag",
            "'and' can only be used between boolean expressions, got Bool; a boolean field is written field == true (line 1, column 13)",
        ),
        (
            "id == 1 or 2",
            "'or' can only be used between boolean expressions, got Int64 (line 1, column 12)",
        ),
        (
            "id & 1 == 1",
            "'&' takes numbers, got Int64 and Bool; it binds looser than comparisons, so write (a & 1) == 1 (line 1, column 1)",
        ),
        (
            "(id == 1) == 1",
            "a condition cannot be compared; combine conditions with and, or, not (a & b == c means a & (b == c)) (line 1, column 1)",
        ),
        (
            "5 < id < 3",
            "invalid range: lowerbound is greater than upperbound (line 1, column 1)",
        ),
        (
            "3 < id < 3",
            "invalid range: lowerbound is greater than upperbound (line 1, column 1)",
        ),
        (
            "1 < id < small",
            "a bound of a range cannot be a non-const expression; join two comparisons with and (line 1, column 10)",
        ),
        (
            "1 < text < 2",
            "comparison operations cannot be applied to two incompatible operands: VarChar and Int64 (line 1, column 1)",
        ),
        (
            "1 < id < 'x'",
            "comparison operations cannot be applied to two incompatible operands: Int64 and VarChar (line 1, column 1)",
        ),
        (
            "false < flag < true",
            "invalid range operations on boolean expr; use == or != (line 1, column 1)",
        ),
        (
            "1 < ints < 2",
            "can not comparisons array fields directly; use an element (line 1, column 1)",
        ),
        (
            "id in 3",
            "the right-hand side of 'in' must be a list, got Int64 (line 1, column 7)",
        ),
        (
            "id in [1.5]",
            "value '1.5' in list cannot be casted to Int64 (line 1, column 1)",
        ),
        (
            "id in [1, 'x']",
            "value '\"x\"' in list cannot be casted to Int64 (line 1, column 1)",
        ),
        (
            "text in [1]",
            "value '1' in list cannot be casted to VarChar (line 1, column 1)",
        ),
        (
            "ints in [[1]]",
            "'in' can only be used on a scalar field, an array element or a JSON path, got Array[Int64] (line 1, column 1)",
        ),
        (
            "id + 1 in [1]",
            "'in' can only be used on a scalar field, an array element or a JSON path, got Int64 (line 1, column 1)",
        ),
        (
            "id in [small]",
            "a list holds constants only, got an expression of type Int8 (line 1, column 8)",
        ),
        (
            "id like '1'",
            "'like' takes a VarChar field, an element of a VarChar array or a JSON path, got Int64 (line 1, column 1)",
        ),
        (
            "text like Text",
            "the pattern of 'like' must be a string or a template with a string (line 1, column 1)",
        ),
        (
            "text like r'a\\'",
            "string is not closed; a string ends on the line where it begins (line 1, column 12)",
        ),
        (
            "text like 'a\\\\'",
            "the like pattern ends with a lone backslash; write \\\\ for a backslash (line 1, column 1)",
        ),
        (
            "text =~ '('",
            "invalid regular expression \"(\": unclosed group (line 1, column 1)",
        ),
        ("id / 0 == 1", "division or modulus by zero (line 1, column 1)"),
        ("id % 0 == 1", "division or modulus by zero (line 1, column 1)"),
        ("1 / 0 == id", "division or modulus by zero (line 1, column 1)"),
        (
            "meta[\"n\"] / 0 == 1",
            "division or modulus by zero (line 1, column 1)",
        ),
        (
            "id + 1.5 == 2",
            "cannot cast value to Int64, value: 1.5; use an integer constant (line 1, column 1)",
        ),
        (
            "double % 2 == 1",
            "'%' can only apply on integer types, got Double (line 1, column 1)",
        ),
        (
            "(real & 1) == 1",
            "'&' can only apply on integer types, got Float (line 1, column 1)",
        ),
        (
            "1 - id == 2",
            "not supported: a constant on the left of '-'; write the field first (line 1, column 1)",
        ),
        (
            "id + small == 2",
            "not supported to do arithmetic operations between multiple fields (line 1, column 1)",
        ),
        (
            "id + 1 + 2 == 4",
            "complicated arithmetic operations are not supported; one step is: (field + 1) == 2 (line 1, column 1)",
        ),
        (
            "array_length(ints) + 1 == 2",
            "complicated arithmetic operations are not supported; one step is: (field + 1) == 2 (line 1, column 1)",
        ),
        (
            "text + 1 == 2",
            "'+' takes numbers, got VarChar and Int64 (line 1, column 1)",
        ),
        (
            "id ** 2 == 4",
            "power can only apply on constants (line 1, column 1)",
        ),
        ("id << 2 == 4", "shift is not supported (line 1, column 1)"),
        ("~id == 4", "not supported: the operator ~ (line 1, column 1)"),
        (
            "-id == 4",
            "'-' before an operand takes a number constant, got Int64 (line 1, column 1)",
        ),
        (
            "9223372036854775807 + 1 == id",
            "the result of '+' is out of the range of int64 (line 1, column 1)",
        ),
        (
            "exists id",
            "exists operations are only supported on a json key, got: Int64 (line 1, column 1)",
        ),
        (
            "exists meta",
            "exists operations are only supported on a json key, not on the whole field (line 1, column 1)",
        ),
        (
            "ints[0] is null",
            "is null is supported on fields and JSON paths, not on array elements (line 1, column 1)",
        ),
        (
            "vec is null",
            "field vec of type FloatVector cannot be used in a filter (line 1, column 1)",
        ),
        (
            "vec == [1, 2]",
            "field vec of type FloatVector cannot be used in a filter (line 1, column 1)",
        ),
        (
            "id[\"a\"] == 1",
            "Int64 data type not supported accessed with [] (line 1, column 1)",
        ),
        (
            "ints[\"a\"] == 1",
            "can only access array field with integer index (line 1, column 1)",
        ),
        (
            "meta[\"\"] == 1",
            "a JSON key may not be empty (line 1, column 1)",
        ),
        (
            "array_contains(id, 1)",
            "contains operation are only supported on json or array fields now, got: Int64 (line 1, column 1)",
        ),
        (
            "array_contains(ints, small)",
            "contains operation are only supported explicitly specified element, got: Int8 (line 1, column 1)",
        ),
        (
            "array_contains(ints, 1.5)",
            "cannot cast value to Int64, value: 1.5 (line 1, column 1)",
        ),
        (
            "array_contains_all(ints, 1)",
            "contains_all operation element must be an array, got Int64 (line 1, column 1)",
        ),
        (
            "array_length(id) == 1",
            "array_length operation are only supported on json or array fields now, got: Int64 (line 1, column 1)",
        ),
        (
            "id > ISO '2025-01-01'",
            "field 'id' is not a timestamptz field, got data type Int64 (line 1, column 1)",
        ),
        (
            "ts > ISO 'soon'",
            "invalid timestamp \"soon\"; one is written like 2025-01-01T00:00:00Z or 2025-01-01T08:00:00+08:00, or without an offset, in the time zone UTC (line 1, column 1)",
        ),
        (
            "ts + INTERVAL 'day' > ISO '2025-01-01'",
            "invalid interval \"day\"; one is an ISO 8601 duration like P1D or P1DT2H30M (line 1, column 1)",
        ),
        (
            "ts + INTERVAL 'P300000Y' > ISO '2025-01-01'",
            "the interval leaves the range of timestamps; at most 10000 years are allowed (line 1, column 1)",
        ),
        (
            "ts + INTERVAL 'P1MT1000000000H' > ISO '2025-01-01'",
            "the interval leaves the range of timestamps; at most 10000 years are allowed (line 1, column 1)",
        ),
        (
            "id == null",
            "NULL literal is not supported in expressions; write field is null (line 1, column 7)",
        ),
        (
            "{int} == 1",
            "placeholder was not supported between two constants with operator: == (line 1, column 1)",
        ),
        (
            "id == 1 + {int}",
            "placeholder was not supported between two constants with operator: + (line 1, column 7)",
        ),
        (
            "id == {other}",
            "the value of expression template variable name {other} is not found; given are bytes, int, nan, set (line 1, column 7)",
        ),
        (
            "double == {nan}",
            "the value of {nan} is not a finite number (line 1, column 11)",
        ),
        (
            "text_match(text, 'a')",
            "field \"text\" does not enable match: text_match needs a field that was made with enable_analyzer and enable_match (line 1, column 1)",
        ),
        (
            "phrase_match(id, 'a')",
            "phrase_match operation on non-string is unsupported: field id is Int64 (line 1, column 1)",
        ),
        (
            "text_match(body, 5)",
            "the query of text_match must be a string or a template with a string (line 1, column 18)",
        ),
        (
            "text_match(body, 'a', minimum_should_match=0)",
            "minimum_should_match must be 1 to 1000, got 0 (line 1, column 1)",
        ),
        (
            "text_match_fuzzy(body, 'a', max_edit_distance=3)",
            "max_edit_distance must be 0 to 2, got 3 (line 1, column 1)",
        ),
        (
            "phrase_match(body, 'a b', 1.5)",
            "the slop of phrase_match must be a whole number, got Double (line 1, column 27)",
        ),
        (
            "bloom_match(id, {int})",
            "not supported: function bloom_match (line 1, column 1)",
        ),
        (
            "membership_match(id, {int})",
            "the value of {int} must be bytes: a set as build_bloom_filter makes it (line 1, column 22)",
        ),
        (
            "membership_match(id, [1, 2])",
            "the second argument of membership_match must be a {template} with the bytes of a set (line 1, column 22)",
        ),
        (
            "membership_match(id, {none})",
            "the value of expression template variable name {none} is not found; given are bytes, int, nan, set (line 1, column 22)",
        ),
        (
            "membership_match(id, {bytes})",
            "a membership filter starts with a header of 32 bytes, got 3 bytes (line 1, column 22)",
        ),
        (
            "membership_match(id, {set}, type=bloom)",
            "the set of membership_match is of type roaring (line 1, column 22)",
        ),
        (
            "membership_match(text, {set})",
            "the set of membership_match was made of integers, the field is VarChar (line 1, column 1)",
        ),
        (
            "membership_match(flag, {set})",
            "membership_match with a set of type roaring takes an integer field, got Bool (line 1, column 18)",
        ),
        (
            "membership_match(meta[\"a\"], {set})",
            "membership_match with a set of type roaring takes an integer field, got JSON (line 1, column 18)",
        ),
        (
            "match_any(chunks, membership_match($[n], {set}))",
            "membership_match cannot be used in a condition on elements (line 1, column 19)",
        ),
        (
            "id == {bytes}",
            "the value of {bytes} is bytes, which only membership_match takes (line 1, column 7)",
        ),
    ] {
        let found = error(filter);
        if found != expected {
            wrong.push(format!("{filter}: {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unknown_fields_are_named_where_there_is_no_dynamic_field() {
    let schema = Schema::new(vec![Field::new("price", DataType::Int64, false)]);
    for (filter, expected) in [
        (
            "prize > 1",
            "cannot parse expression: prize > 1, error: field prize not exist; did you mean price? (line 1, column 1)",
        ),
        (
            "x > 1",
            "cannot parse expression: x > 1, error: field x not exist (line 1, column 1)",
        ),
        (
            "price > 1 and\n  m[\"a\"] == 2",
            "cannot parse expression: price > 1 and\n  m[\"a\"] == 2, error: field m not exist (line 2, column 3)",
        ),
        (
            "$meta[\"a\"] == 2",
            "cannot parse expression: $meta[\"a\"] == 2, error: field $meta not exist (line 1, column 1)",
        ),
    ] {
        let error = compile(filter, &schema, &Templates::new()).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert!(matches!(error.kind(), FilterErrorKind::FieldNotFound { .. }));
    }
    let error = compile("Price > 1", &schema, &Templates::new()).unwrap_err();
    assert_eq!(
        *error.kind(),
        FilterErrorKind::FieldNotFound {
            field: "Price".to_owned()
        }
    );
    let error = compile("price == {p}", &schema, &Templates::new()).unwrap_err();
    assert_eq!(
        *error.kind(),
        FilterErrorKind::TemplateMissing { name: "p".to_owned() }
    );
}

#[test]
fn messages_about_long_texts_stay_short_and_cheap() {
    let schema = Schema::new(vec![
        Field::new("price", DataType::Int64, false),
        Field::new("text", DataType::Utf8, true),
    ]);
    let long = "p".repeat(1_000_000);
    let list = vec!["1"; 100_000].join(", ");
    let templates: Templates = (0..10_000)
        .map(|n| (format!("name{n}"), TemplateValue::Int(n)))
        .collect();
    for filter in [
        format!("{long} == 1"),
        format!("[{list}]"),
        format!("text =~ '({long}'"),
        format!("{long}(price)"),
        "price == {other}".to_owned(),
        format!("price in ['{long}']"),
    ] {
        let error = compile(&filter, &schema, &templates).unwrap_err();
        assert!(error.to_string().len() < 2_000, "{}", error.to_string().len());
        assert!(error.excerpt().len() < 500, "{}", error.excerpt());
    }
}

#[test]
fn lists_of_anything_but_scalars_are_no_array_fields() {
    let item = Field::new_struct("item", vec![Field::new("index", DataType::UInt32, false)], true);
    let schema = Schema::new(vec![Field::new_list("sparse", item, true)]);
    for filter in [
        "sparse is null",
        "sparse == []",
        "array_length(sparse) > 1",
        "sparse[0] == 1",
    ] {
        let error = compile(filter, &schema, &Templates::new()).unwrap_err();
        assert!(error.message().starts_with("field sparse of type "), "{error}");
        assert!(
            error.message().ends_with(" cannot be used in a filter"),
            "{error}"
        );
    }
}
