//! Functions of shapes in SQL: columns, literals, text and binary in any place.

use crate::{rows, session};

const SHAPES: &str = "(VALUES (1, 'POINT(1 1)'), (2, 'POLYGON((0 0,4 0,4 4,0 4,0 0))'), (3, NULL), \
                      (4, 'POLYGON((0 0,2 2,2 0,0 2,0 0))')) AS t(id, g)";

#[tokio::test]
async fn shapes_are_compared_with_literals_and_with_each_other() {
    let session = session();
    for (expression, expected) in [
        (
            "st_within(g, 'POLYGON((0 0,3 0,3 3,0 3,0 0))')",
            ["true", "false", "null", "null"],
        ),
        (
            "st_contains('POLYGON((0 0,3 0,3 3,0 3,0 0))', g)",
            ["true", "false", "null", "null"],
        ),
        (
            "st_contains(st_geomfromtext(g), st_geomfromtext('POINT(1 1)'))",
            ["true", "true", "null", "null"],
        ),
        ("st_equals(g, g)", ["true", "true", "null", "null"]),
        ("st_within(g, NULL)", ["null", "null", "null", "null"]),
        ("st_isvalid(g)", ["true", "true", "null", "false"]),
        (
            "st_dwithin(g, 'POINT(1 2)', 111000.0)",
            ["false", "true", "null", "true"],
        ),
        (
            "st_dwithin(g, 'POINT(1 2)', 112000)",
            ["true", "true", "null", "true"],
        ),
        (
            "st_astext(st_geomfromtext(g)) = st_astext(g)",
            ["true", "true", "null", "true"],
        ),
    ] {
        let statement = format!("SELECT {expression} FROM {SHAPES} ORDER BY id");
        let found = rows(&session, &statement).await.unwrap();
        assert_eq!(found, expected, "{expression}");
    }
    let text = rows(&session, "SELECT st_astext('polygon((0 0,1 0,1 1,0 0))')").await;
    assert_eq!(text.unwrap(), ["POLYGON ((0 0, 1 0, 1 1, 0 0))"]);
    let joined = format!(
        "SELECT a.id, b.id FROM {SHAPES} JOIN {} ON st_contains(t.g, u.g) ORDER BY 1, 2",
        SHAPES.replace("AS t(", "AS u(")
    );
    let joined = rows(&session, &joined.replace("a.id", "t.id").replace("b.id", "u.id")).await;
    assert_eq!(joined.unwrap(), ["1|1", "2|1", "2|2"]);
}

#[tokio::test]
async fn what_is_no_shape_is_an_error() {
    let session = session();
    for (expression, expected) in [
        (
            "st_within('POINT(1)', 'POINT(1 1)')",
            "st_within: expected a number at byte 7, found ')'",
        ),
        (
            "st_within(1, 'POINT(1 1)')",
            "st_within: argument 1 must be a shape, got Int64",
        ),
        (
            "st_dwithin('POINT(1 1)', 'LINESTRING(0 0,1 1)', 1)",
            "argument 2 must be a point",
        ),
        (
            "st_dwithin('POINT(1 1)', 'POINT(1 1)', -1)",
            "the distance must be 0 or greater, got -1",
        ),
        (
            "st_dwithin('POINT(1 1)', 'POINT(1 1)', 'far')",
            "argument 3 must be a number of metres, got Utf8",
        ),
        (
            "st_astext(x'ff00')",
            "neither well-known text nor well-known binary",
        ),
    ] {
        let error = rows(&session, &format!("SELECT {expression}")).await.unwrap_err();
        assert!(error.contains(expected), "{expression}: {error}");
    }
}
