//! `st_*` on a geometry column, and `random_sample`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{BinaryArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use elanus_filter::{FilterErrorKind, TemplateValue, Templates, compile};
use elanus_geometry::Shape;

use crate::table::{matching, matching_through_planner};

fn shapes() -> RecordBatch {
    let extension = ("ARROW:extension:name".to_owned(), "geoarrow.wkb".to_owned());
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("g", DataType::Binary, true).with_metadata(HashMap::from([extension])),
        Field::new("text", DataType::Utf8, true),
    ]);
    let shapes = [
        Some("POINT (1 1)"),
        Some("POINT (0 1)"),
        Some("POLYGON ((0 0, 4 0, 4 4, 0 4, 0 0))"),
        Some("LINESTRING (-1 2, 9 2)"),
        None,
        Some("POLYGON ((2 2, 6 2, 6 6, 2 6, 2 2))"),
        Some("POLYGON ((0 0, 2 2, 2 0, 0 2, 0 0))"), // crosses itself
    ];
    let wkb = shapes.map(|text| text.map(|text| Shape::from_wkt(text).unwrap().to_wkb()));
    RecordBatch::try_new(
        Arc::new(schema),
        vec![
            Arc::new(Int64Array::from_iter_values(0..7)),
            Arc::new(wkb.iter().map(Option::as_deref).collect::<BinaryArray>()),
            Arc::new(StringArray::from(vec!["x"; 7])),
        ],
    )
    .unwrap()
}

#[tokio::test]
async fn shapes_are_found_by_how_they_lie() {
    let batch = shapes();
    let templates: Templates = [("shape", TemplateValue::String("POINT (1 1)".to_owned()))]
        .into_iter()
        .collect();
    for (filter, expected) in [
        ("st_within(g, 'POLYGON ((0 0, 4 0, 4 4, 0 4, 0 0))')", &[0, 2][..]),
        ("ST_WITHIN(g, 'polygon((0 0,4 0,4 4,0 4,0 0))')", &[0, 2]),
        ("st_contains(g, 'POINT (1 1)')", &[0, 2]),
        ("st_contains(g, {shape})", &[0, 2]),
        ("st_intersects(g, 'POINT (2 2)')", &[2, 3, 5]),
        ("st_touches(g, 'POINT (0 1)')", &[2]),
        ("st_equals(g, 'POINT (0 1)')", &[1]),
        ("st_overlaps(g, 'POLYGON ((1 1, 5 1, 5 5, 1 5, 1 1))')", &[2, 5]),
        ("st_crosses(g, 'POLYGON ((0 0, 4 0, 4 4, 0 4, 0 0))')", &[3]),
        ("st_dwithin(g, 'POINT (1 2)', 112000)", &[0, 2, 3, 5, 6]),
        ("st_dwithin(g, 'POINT (1 1)', 0)", &[0, 2]),
        ("st_isvalid(g)", &[0, 1, 2, 3, 5]),
        ("not st_isvalid(g)", &[6]),
        ("g is null", &[4]),
        ("g is not null and id > 4", &[5, 6]),
        // unknown for NULL, and for the polygon that crosses itself where it could matter
        (
            "not st_within(g, 'POLYGON ((0 0, 4 0, 4 4, 0 4, 0 0))')",
            &[1, 3, 5],
        ),
        ("not st_within(g, 'POINT (50 50)')", &[0, 1, 2, 3, 5, 6]),
        ("st_contains(g, 'POINT (1 1)') and id > 0", &[2]),
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
fn shapes_that_are_none_are_refused() {
    let schema = shapes().schema();
    for (filter, expected) in [
        (
            "st_within(text, 'POINT (0 0)')",
            "st_within can only be used on a geometry field, text is VarChar (line 1, column 1)",
        ),
        (
            "st_within(h, 'POINT (0 0)')",
            "field h not exist; did you mean g? (line 1, column 1)",
        ),
        (
            "st_within(g, 1)",
            "the shape of st_within must be well-known text or a template with it, got Int64 (line 1, column 14)",
        ),
        (
            "st_within(g, 'POINT (0)')",
            "the shape of st_within is not valid: expected a number at byte 8, found ')' (line 1, column 14)",
        ),
        (
            "st_dwithin(g, 'LINESTRING (0 0, 1 1)', 1)",
            "the shape of st_dwithin must be a point, got LINESTRING (0 0, 1 1) (line 1, column 15)",
        ),
        (
            "st_dwithin(g, 'POINT (0 0)', -1)",
            "the distance of st_dwithin must be 0 or greater, got -1 (line 1, column 30)",
        ),
        (
            "st_dwithin(g, 'POINT (0 0)', 'near')",
            "the distance of st_dwithin must be a number of metres, got VarChar (line 1, column 30)",
        ),
        (
            "st_isvalid(id)",
            "st_isvalid can only be used on a geometry field, id is Int64 (line 1, column 1)",
        ),
        (
            "g == 'POINT (0 0)'",
            "field g of type Geometry cannot be used in a filter (line 1, column 1)",
        ),
    ] {
        let error = compile(filter, &schema, &Templates::new())
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            format!("cannot parse expression: {filter}, error: {expected}")
        );
    }
    let bow_tie = "st_within(g, 'POLYGON ((0 0, 2 2, 2 0, 0 2, 0 0))')";
    let error = compile(bow_tie, &schema, &Templates::new()).unwrap_err();
    assert!(
        error
            .message()
            .starts_with("the shape of st_within is not valid: "),
        "{error}"
    );
    assert_eq!(*error.kind(), FilterErrorKind::Parse);
}

#[test]
fn a_sample_is_drawn_from_the_rows_of_the_rest() {
    let rows = 20_000;
    let ids = Int64Array::from_iter_values(0..rows);
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ids)]).unwrap();
    let sample = |filter: &str| matching(&batch, filter, &Templates::new()).unwrap();
    for (filter, from, share) in [
        ("random_sample(0.1)", 20_000.0, 0.1),
        ("id < 10000 and random_sample(0.25)", 10_000.0, 0.25),
        ("id >= 0 and id < 10000 AND RANDOM_SAMPLE(0.9)", 10_000.0, 0.9),
    ] {
        let found = sample(filter);
        let deviation = f64::sqrt(from * share * (1.0 - share));
        let expected = from * share;
        // Seven standard deviations: not in the life of the universe.
        assert!(
            (found.len() as f64 - expected).abs() < 7.0 * deviation,
            "{filter}: {}",
            found.len()
        );
        assert!(found.iter().all(|row| (*row as f64) < from), "{filter}");
        assert_ne!(found, sample(filter), "{filter} draws anew each time");
    }
}

#[test]
fn a_sample_stands_alone_or_last() {
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
    let place = "random_sample can only stand alone or as the last condition of 'and'";
    let factor = "the sample factor should be between 0 and 1, both excluded, got";
    for (filter, expected) in [
        (
            "random_sample(0.5) and id > 1",
            format!("{place} (line 1, column 1)"),
        ),
        (
            "id > 0 and random_sample(0.5) and id > 1",
            format!("{place} (line 1, column 12)"),
        ),
        (
            "id > 1 or random_sample(0.5)",
            format!("{place} (line 1, column 11)"),
        ),
        ("not random_sample(0.5)", format!("{place} (line 1, column 5)")),
        (
            "id > 0 and (id > 1 and random_sample(0.5))",
            format!("{place} (line 1, column 24)"),
        ),
        ("random_sample(0)", format!("{factor} 0 (line 1, column 15)")),
        ("random_sample(1.0)", format!("{factor} 1 (line 1, column 15)")),
        (
            "random_sample(-0.1)",
            format!("{factor} -0.1 (line 1, column 15)"),
        ),
        (
            "random_sample('a')",
            format!("{factor} VarChar (line 1, column 15)"),
        ),
    ] {
        let error = compile(filter, &schema, &Templates::new())
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            format!("cannot parse expression: {filter}, error: {expected}")
        );
    }
}
