//! Tests of ARRAY columns.

use crate::{rows, session};

#[tokio::test]
async fn arrays_are_tested_against_literal_lists() {
    let session = session();
    let table =
        "(VALUES ([1, 2, 3]), ([3]), (make_array()::bigint[]), (NULL::bigint[]), ([2, NULL, 2])) AS t(a)";
    for (expression, expected) in [
        ("elanus_array_length(a)", ["3", "1", "0", "null", "3"]),
        (
            "elanus_array_contains(a, [2], 'one')",
            ["true", "false", "false", "null", "true"],
        ),
        (
            "elanus_array_contains(a, [3, 9], 'any')",
            ["true", "true", "false", "null", "false"],
        ),
        (
            "elanus_array_contains(a, [3, 1], 'all')",
            ["true", "false", "false", "null", "false"],
        ),
        (
            "elanus_array_contains(a, make_array()::bigint[], 'all')",
            ["true", "true", "true", "null", "true"],
        ),
        (
            "elanus_array_contains(a, make_array()::bigint[], 'any')",
            ["false", "false", "false", "null", "false"],
        ),
        (
            "elanus_array_equals(a, [1, 2, 3])",
            ["true", "false", "false", "null", "false"],
        ),
        (
            "elanus_array_equals(a, make_array()::bigint[])",
            ["false", "false", "true", "null", "false"],
        ),
    ] {
        let found = rows(&session, &format!("SELECT {expression} FROM {table}"))
            .await
            .unwrap();
        assert_eq!(found, expected, "{expression}");
    }
    let text = rows(
        &session,
        "SELECT elanus_array_contains(a, ['y'], 'one') FROM (VALUES (['x', 'y']), (['z'])) AS t(a)",
    )
    .await;
    assert_eq!(text.unwrap(), ["true", "false"]);
    let zeros = rows(
        &session,
        "SELECT elanus_array_contains(a, [0.0::double], 'one') AND elanus_array_equals(a, [0.0::double, 1.0]) \
         FROM (VALUES ([-0.0::double, 1.0])) AS t(a)",
    )
    .await;
    assert_eq!(zeros.unwrap(), ["true"]);
}
