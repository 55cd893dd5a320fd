//! JSON access from SQL and the filter tests.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::prelude::SessionContext;

use crate::{rows, session};

fn documents() -> SessionContext {
    let session = session();
    let json: ArrayRef = Arc::new(StringArray::from(vec![
        Some(r#"{"a": 1, "b": {"c": ["x", 2, true]}, "s": "he\"y"}"#),
        Some(r#"{"a": 1.5, "b": {"c": []}, "s": "z"}"#),
        Some(r#"{"a": "1", "b": null, "s": 7}"#),
        Some("{}"),
        None,
    ]));
    let key: ArrayRef = Arc::new(StringArray::from(vec![
        Some("a"),
        Some("s"),
        None,
        Some("a"),
        Some("a"),
    ]));
    let index: ArrayRef = Arc::new(Int64Array::from(vec![0, 1, 2, 0, 0]));
    let batch = RecordBatch::try_from_iter([("j", json), ("k", key), ("i", index)]).unwrap();
    session.register_batch("t", batch).unwrap();
    session
}

#[tokio::test]
async fn sql_functions_read_by_path_and_type() {
    let session = documents();
    for (expression, expected) in [
        (
            "json_get(j, 'b', 'c')",
            [r#"["x", 2, true]"#, "[]", "null", "null", "null"],
        ),
        ("json_get(j, 'a')", ["1", "1.5", "\"1\"", "null", "null"]),
        ("json_get_int(j, 'a')", ["1", "null", "null", "null", "null"]),
        ("json_get_float(j, 'a')", ["1.0", "1.5", "null", "null", "null"]),
        ("json_get_str(j, 's')", ["he\"y", "z", "null", "null", "null"]),
        (
            "json_get_bool(j, 'b', 'c', 2)",
            ["true", "null", "null", "null", "null"],
        ),
        (
            "json_get_str(j, 'b', 'c', i)",
            ["x", "null", "null", "null", "null"],
        ),
        ("json_get(j, k)", ["1", "\"z\"", "null", "null", "null"]),
        (
            "json_contains(j, 2, 'b', 'c')",
            ["true", "false", "null", "null", "null"],
        ),
        (
            "json_contains(j, 2.0, 'b', 'c')",
            ["true", "false", "null", "null", "null"],
        ),
        (
            "json_contains(j, 'x', 'b', 'c')",
            ["true", "false", "null", "null", "null"],
        ),
        (
            "json_contains(j, false, 'b', 'c')",
            ["false", "false", "null", "null", "null"],
        ),
        (
            "json_contains(j, k, 'b', 'c')",
            ["false", "false", "null", "null", "null"],
        ),
    ] {
        let found = rows(&session, &format!("SELECT {expression} FROM t"))
            .await
            .unwrap();
        assert_eq!(found, expected, "{expression}");
    }
    assert_eq!(
        rows(&session, r#"SELECT json_get_int('{"a": [5]}', 'a', 0)"#)
            .await
            .unwrap(),
        ["5"]
    );
    let error = rows(&session, "SELECT json_get(i, 'a') FROM t")
        .await
        .unwrap_err();
    assert!(error.contains("json_get takes a JSON text, got Int64"), "{error}");
    let error = rows(&session, "SELECT json_get(j, true) FROM t")
        .await
        .unwrap_err();
    assert!(
        error.contains("a key is text or a whole number, got Boolean"),
        "{error}"
    );
}

#[tokio::test]
async fn filter_tests_are_unknown_where_kinds_differ() {
    let session = documents();
    for (expression, expected) in [
        (
            "elanus_json_compare(j, '/a', '==', '1')",
            ["true", "false", "null", "null", "null"],
        ),
        (
            "elanus_json_compare(j, '/a', '!=', '1')",
            ["false", "true", "null", "null", "null"],
        ),
        (
            "elanus_json_compare(j, '/a', '>=', '1.0')",
            ["true", "true", "null", "null", "null"],
        ),
        (
            "elanus_json_compare(j, '/s', '<', '\"z\"')",
            ["true", "false", "null", "null", "null"],
        ),
        (
            "elanus_json_compare(j, '/b/c', '==', '[\"x\", 2.0, true]')",
            ["true", "false", "null", "null", "null"],
        ),
        (
            "elanus_json_arithmetic(j, '/a', '*', '2', '==', '3')",
            ["false", "true", "null", "null", "null"],
        ),
        (
            "elanus_json_arithmetic(j, '/a', '%', '2', '==', '1')",
            ["true", "null", "null", "null", "null"],
        ),
        (
            "elanus_json_in(j, '/a', '[1, \"1\"]')",
            ["true", "false", "true", "null", "null"],
        ),
        (
            "elanus_json_in(j, '/a', '[1.5]')",
            ["false", "true", "null", "null", "null"],
        ),
        (
            "elanus_json_has(j, '/b/c', 'one', '[2.0]')",
            ["true", "false", "null", "null", "null"],
        ),
        (
            "elanus_json_has(j, '/b/c', 'all', '[2, \"x\"]')",
            ["true", "false", "null", "null", "null"],
        ),
        (
            "elanus_json_has(j, '/b/c', 'all', '[]')",
            ["true", "true", "null", "null", "null"],
        ),
        (
            "elanus_json_has(j, '/b/c', 'any', '[3, true]')",
            ["true", "false", "null", "null", "null"],
        ),
        (
            "elanus_json_exists(j, '/b')",
            ["true", "true", "false", "false", "false"],
        ),
        (
            "elanus_json_length(j, '/b/c')",
            ["3", "0", "null", "null", "null"],
        ),
        (
            "elanus_json_get_int(j, '/b/c/1')",
            ["2", "null", "null", "null", "null"],
        ),
    ] {
        let found = rows(&session, &format!("SELECT {expression} FROM t"))
            .await
            .unwrap();
        assert_eq!(found, expected, "{expression}");
    }
}
