//! Distances: meaning, forms of arguments, errors, and agreement with 64-bit references.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Float64Type};
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use elanus_index::Metric;
use proptest::prelude::*;
use std::sync::Arc;

use crate::{rows, session, vectors};

#[tokio::test]
async fn a_vector_may_be_a_column_text_or_an_array() {
    let session = session();
    let column = vectors(
        3,
        &[
            Some(vec![1.0, 2.0, 2.0]),
            None,
            Some(vec![0.0, 0.0, 0.0]),
            Some(vec![-1.0, 0.0, 4.0]),
        ],
    );
    session
        .register_batch("t", RecordBatch::try_from_iter([("v", column)]).unwrap())
        .unwrap();
    for (expression, expected) in [
        (
            "l2_distance(v, '[0, 0, 0]')",
            ["3.0", "null", "0.0", "4.123105625617661"],
        ),
        (
            "l2_distance('[0,0,0]', v)",
            ["3.0", "null", "0.0", "4.123105625617661"],
        ),
        (
            "l2_distance(v, ARRAY[0, 0, 0])",
            ["3.0", "null", "0.0", "4.123105625617661"],
        ),
        (
            "l2_distance(v, [0.0, 0.0, 0.0])",
            ["3.0", "null", "0.0", "4.123105625617661"],
        ),
        ("l2_distance(v, v)", ["0.0", "null", "0.0", "0.0"]),
        ("l1_distance(v, '[1,1,1]')", ["2.0", "null", "3.0", "6.0"]),
        ("inner_product(v, '[1,1,1]')", ["5.0", "null", "0.0", "3.0"]),
        (
            "negative_inner_product(v, '[1,1,1]')",
            ["-5.0", "null", "0.0", "-3.0"],
        ),
        (
            "cosine_distance(v, '[2,4,4]')",
            ["0.0", "null", "NaN", "0.43408346"],
        ),
        ("cosine_distance(v, '[0,0,0]')", ["NaN", "null", "NaN", "NaN"]),
        ("l2_distance(v, NULL)", ["null", "null", "null", "null"]),
        ("l2_norm(v)", ["3.0", "null", "0.0", "4.123105625617661"]),
        ("vector_dims(v)", ["3", "null", "3", "3"]),
        ("vector_dims(l2_normalize(v))", ["3", "null", "3", "3"]),
        (
            "round(l2_norm(l2_normalize(v)), 6)",
            ["1.0", "null", "0.0", "1.0"],
        ),
    ] {
        let found = rows(&session, &format!("SELECT {expression} FROM t"))
            .await
            .unwrap();
        let close = |found: &str, expected: &str| match (found.parse::<f64>(), expected.parse::<f64>()) {
            (Ok(found), Ok(expected)) => {
                (found - expected).abs() < 1e-6 || (found.is_nan() && expected.is_nan())
            }
            _ => found == expected,
        };
        let same = found.len() == expected.len()
            && found
                .iter()
                .zip(expected)
                .all(|(found, expected)| close(found, expected));
        assert!(same, "{expression}: {found:?} and not {expected:?}");
    }
    let constant = rows(
        &session,
        "SELECT l2_distance('[1,2]', [4, 6]), vector_dims('[1, 2, 3]'), l2_normalize('[3,4]')",
    )
    .await;
    assert_eq!(constant.unwrap(), ["5.0|3|[0.6, 0.8]"]);
}

#[tokio::test]
async fn errors_name_dimensions_types_and_forms() {
    let session = session();
    let column = vectors(3, &[Some(vec![1.0, 2.0, 2.0])]);
    let other = vectors(2, &[Some(vec![1.0, 2.0])]);
    session
        .register_batch(
            "t",
            RecordBatch::try_from_iter([("v", column), ("w", other)]).unwrap(),
        )
        .unwrap();
    for (expression, expected) in [
        (
            "l2_distance(v, '[1,2]')",
            "l2_distance: vectors have different dimensions, 3 and 2",
        ),
        (
            "cosine_distance(v, w)",
            "cosine_distance: vectors have different dimensions, 3 and 2",
        ),
        (
            "l1_distance([1], [1, 2])",
            "l1_distance: vectors have different dimensions, 1 and 2",
        ),
        (
            "l2_distance(v, '1,2')",
            "l2_distance: \"1,2\" is no vector; a vector is written like '[1,2,3]'",
        ),
        ("l2_distance(v, '[1,inf,2]')", "is no vector"),
        (
            "l2_distance(v, 5)",
            "l2_distance takes a vector (a list of numbers or text like '[1,2,3]'), got Int64",
        ),
        (
            "l2_distance(v, [1, NULL, 2])",
            "l2_distance: a vector may not contain NULL",
        ),
        ("l2_norm(true)", "l2_norm takes a vector"),
    ] {
        let error = rows(&session, &format!("SELECT {expression} FROM t"))
            .await
            .unwrap_err();
        assert!(error.contains(expected), "{expression}: {error}");
    }
}

#[tokio::test]
async fn beside_a_column_numbers_are_read_as_the_column_is() {
    let session = session();
    let column = vectors(1, &[Some(vec![1.0 + f32::EPSILON])]);
    session
        .register_batch("t", RecordBatch::try_from_iter([("v", column)]).unwrap())
        .unwrap();
    // a little more than the middle between 1 and the next 32-bit number, and just the middle in 64 bits
    let found = rows(
        &session,
        "SELECT l2_distance(v, '[1.0000000596046447753906250001]'), l2_distance('[1e39]', '[0]') FROM t",
    )
    .await;
    assert_eq!(found.unwrap(), ["0.0|1e39"]);
    for (expression, expected) in [
        ("l2_distance(v, '[1e39]')", "is no vector"),
        (
            "l2_distance([-1e39], v)",
            "l2_distance: -1000000000000000000000000000000000000000 in a vector is not finite in 32 bits",
        ),
        (
            "l2_distance(v, ['nan'::double])",
            "NaN in a vector is not finite in 32 bits",
        ),
    ] {
        let error = rows(&session, &format!("SELECT {expression} FROM t"))
            .await
            .unwrap_err();
        assert!(error.contains(expected), "{expression}: {error}");
    }
}

fn reference(name: &str, a: &[f32], b: &[f32]) -> f64 {
    let pairs = || a.iter().zip(b).map(|(x, y)| (f64::from(*x), f64::from(*y)));
    let dot: f64 = pairs().map(|(x, y)| x * y).sum();
    let square = |v: &[f32]| v.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>();
    match name {
        "l2_distance" => pairs().map(|(x, y)| (x - y) * (x - y)).sum::<f64>().sqrt(),
        "l1_distance" => pairs().map(|(x, y)| (x - y).abs()).sum(),
        "inner_product" => dot,
        "negative_inner_product" => -dot,
        "cosine_distance" => 1.0 - dot / (square(a) * square(b)).sqrt(),
        other => panic!("{other}"),
    }
}

/// Calls `name` on a column and a single value, in this order or swapped.
fn call(name: &str, column: &[Option<Vec<f32>>], single: &[f32], swapped: bool) -> Vec<Option<f64>> {
    let function = elanus_udfs::vector::all()
        .into_iter()
        .find(|function| function.name() == name)
        .unwrap();
    let column = vectors(single.len(), column);
    let scalar = ScalarValue::try_from_array(&vectors(single.len(), &[Some(single.to_vec())]), 0).unwrap();
    let number_rows = column.len();
    let field = Arc::new(Field::new("v", column.data_type().clone(), true));
    let mut args = vec![ColumnarValue::Array(column), ColumnarValue::Scalar(scalar)];
    if swapped {
        args.reverse();
    }
    let args = ScalarFunctionArgs {
        args,
        arg_fields: vec![Arc::clone(&field), field],
        number_rows,
        return_field: Arc::new(Field::new("d", DataType::Float64, true)),
        config_options: Arc::new(ConfigOptions::default()),
    };
    let result = function
        .invoke_with_args(args)
        .unwrap()
        .into_array(number_rows)
        .unwrap();
    result.as_primitive::<Float64Type>().iter().collect()
}

fn rows_and_query() -> impl Strategy<Value = (Vec<Option<Vec<f32>>>, Vec<f32>)> {
    (1usize..70).prop_flat_map(|dim| {
        let vector = prop::collection::vec(-10f32..10.0, dim);
        (
            prop::collection::vec(prop::option::weighted(0.9, vector.clone()), 1..12),
            vector,
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn against_a_value_the_cosine_is_the_one_that_a_search_ranks_by((column, query) in rows_and_query(), swapped in any::<bool>()) {
        let found = call("cosine_distance", &column, &query, swapped);
        for (row, found) in column.iter().zip(found) {
            let similarity = row.as_ref().map(|row| Metric::Cosine.score(Metric::Cosine.distance(&query, row)));
            prop_assert_eq!(found, similarity.map(|similarity| 1.0 - f64::from(similarity)));
        }
    }

    #[test]
    fn columns_against_a_value_agree_with_a_64_bit_reference((column, query) in rows_and_query(), swapped in any::<bool>()) {
        for name in ["l2_distance", "l1_distance", "inner_product", "negative_inner_product", "cosine_distance"] {
            let found = call(name, &column, &query, swapped);
            prop_assert_eq!(found.len(), column.len());
            for (row, found) in column.iter().zip(found) {
                let expected = row.as_ref().map(|row| reference(name, row, &query));
                match (found, expected) {
                    (None, None) => {}
                    (Some(found), Some(expected)) => {
                        let scale = 1.0 + expected.abs() + query.len() as f64;
                        prop_assert!((found - expected).abs() < 1e-4 * scale, "{name}: {found} and not {expected}");
                    }
                    other => prop_assert!(false, "{name}: {other:?}"),
                }
            }
        }
    }
}
