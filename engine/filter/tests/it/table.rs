//! The table that filters are evaluated on, and two ways of evaluating one: directly as a physical expression, and
//! through DataFusion's whole planner. Both must agree.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int8Array,
    Int64Array, ListArray, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Float32Type, Int64Type, Schema, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::create_physical_expr;
use datafusion::prelude::SessionContext;
use elanus_filter::{FilterError, Templates, compile};

pub const YEAR_2025: i64 = 1_735_689_600_000_000;

fn json(name: &str) -> Field {
    let metadata = HashMap::from([("ARROW:extension:name".to_owned(), "arrow.json".to_owned())]);
    Field::new(name, DataType::Utf8, true).with_metadata(metadata)
}

/// A text field that filters may match by its terms, with the analyzer `english`.
fn analyzed(name: &str) -> Field {
    let params = r#"{"enable_analyzer": "true", "enable_match": "true", "analyzer_params": "{\"type\": \"english\"}"}"#;
    let metadata = HashMap::from([("elanus.params".to_owned(), params.to_owned())]);
    Field::new(name, DataType::Utf8, true).with_metadata(metadata)
}

/// Lists of the structs `(word, n)`.
fn chunks(lengths: [Option<usize>; 6]) -> ListArray {
    let count = lengths.iter().flatten().sum::<usize>();
    let words = StringArray::from_iter_values((0..count).map(|n| format!("w{n}")));
    let numbers = Int64Array::from_iter_values(0..count as i64);
    let structs = StructArray::from(vec![
        (
            Arc::new(Field::new("word", DataType::Utf8, true)),
            Arc::new(words) as ArrayRef,
        ),
        (
            Arc::new(Field::new("n", DataType::Int64, true)),
            Arc::new(numbers) as ArrayRef,
        ),
    ]);
    let item = Arc::new(Field::new_list_field(structs.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(lengths.map(|length| length.unwrap_or(0)));
    let nulls = NullBuffer::from_iter(lengths.map(|length| length.is_some()));
    ListArray::new(item, offsets, Arc::new(structs), Some(nulls))
}

/// Six rows: `id` is the row number; row 4 is NULL wherever it may be.
pub fn table() -> RecordBatch {
    let day = 86_400_000_000;
    let chunks = chunks([Some(2), Some(0), Some(1), Some(3), None, Some(1)]);
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let texts: ArrayRef = Arc::new(StringArray::from(vec![
        Some("apple"),
        Some("Äpfel_1"),
        Some("50%"),
        Some(""),
        None,
        Some("a\\b\nc"),
    ]));
    let ints = [
        Some(vec![1, 2, 3]),
        Some(vec![]),
        Some(vec![3]),
        Some(vec![-1, 3]),
        None,
        Some(vec![2, 1]),
    ];
    let floats = [
        Some(vec![1.0, 0.5]),
        Some(vec![]),
        Some(vec![0.1]),
        Some(vec![2.0]),
        None,
        Some(vec![0.5]),
    ];
    let words: [Option<&[&str]>; 6] = [
        Some(&["x", "yes"]),
        Some(&[]),
        Some(&["y"]),
        Some(&["x%"]),
        None,
        Some(&["z", "x"]),
    ];
    let mut tags = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
    for row in words {
        row.unwrap_or_default()
            .iter()
            .for_each(|word| tags.values().append_value(word));
        tags.append(row.is_some());
    }
    let ints = ListArray::from_iter_primitive::<Int64Type, _, _>(
        ints.map(|row| row.map(|row| row.into_iter().map(Some))),
    );
    let floats = ListArray::from_iter_primitive::<Float32Type, _, _>(
        floats.map(|row| row.map(|row| row.into_iter().map(Some))),
    );
    let vector_item = Arc::new(Field::new("item", DataType::Float32, false));
    let vectors = FixedSizeListArray::new(
        Arc::clone(&vector_item),
        2,
        Arc::new(Float32Array::from(vec![0.5; 12])),
        None,
    );
    let columns: Vec<(Field, ArrayRef)> = vec![
        (
            Field::new("id", DataType::Int64, false),
            Arc::new(Int64Array::from_iter_values(0..6)),
        ),
        (
            Field::new("small", DataType::Int8, true),
            Arc::new(Int8Array::from(vec![
                Some(1),
                Some(-2),
                Some(127),
                Some(-128),
                None,
                Some(0),
            ])),
        ),
        (
            Field::new("big", DataType::Int64, true),
            Arc::new(Int64Array::from(vec![
                Some(1),
                Some(-7),
                Some(i64::MAX),
                Some(i64::MIN),
                None,
                Some(9_007_199_254_740_993),
            ])),
        ),
        (
            Field::new("real", DataType::Float32, true),
            Arc::new(Float32Array::from(vec![
                Some(0.1),
                Some(-2.5),
                Some(1.0),
                Some(-0.0),
                None,
                Some(127.0),
            ])),
        ),
        (
            Field::new("double", DataType::Float64, true),
            Arc::new(Float64Array::from(vec![
                Some(0.1),
                Some(-2.0),
                Some(1e300),
                Some(0.0),
                None,
                Some(0.5),
            ])),
        ),
        (
            Field::new("flag", DataType::Boolean, true),
            Arc::new(BooleanArray::from(vec![
                Some(true),
                Some(false),
                Some(true),
                Some(false),
                None,
                Some(true),
            ])),
        ),
        (Field::new("text", DataType::Utf8, true), texts),
        (
            Field::new("Text", DataType::Utf8, true),
            Arc::new(StringArray::from(vec![
                Some("apple"),
                Some("z"),
                None,
                Some("z"),
                Some("z"),
                Some("0"),
            ])),
        ),
        (
            analyzed("body"),
            Arc::new(StringArray::from(vec![
                Some("The quick brown fox"),
                Some("Foxes are QUICK"),
                Some("brown bears, quick foxes"),
                Some(""),
                None,
                Some("a fix"),
            ])),
        ),
        (
            Field::new("ts", utc, true),
            Arc::new(
                TimestampMicrosecondArray::from(vec![
                    Some(YEAR_2025),
                    Some(YEAR_2025 - day),
                    Some(YEAR_2025 + 31 * day),
                    Some(0),
                    None,
                    Some(YEAR_2025 + 1),
                ])
                .with_timezone("UTC"),
            ),
        ),
        (Field::new("ints", ints.data_type().clone(), true), Arc::new(ints)),
        (
            Field::new("floats", floats.data_type().clone(), true),
            Arc::new(floats),
        ),
        (
            Field::new(
                "tags",
                DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))),
                true,
            ),
            Arc::new(tags.finish()),
        ),
        (
            json("meta"),
            Arc::new(StringArray::from(vec![
                Some(
                    r#"{"n": 1, "s": "red", "b": true, "list": [1, 2.0, "x", [5]], "deep": {"a": [{"k": 7}]}, "0": "zero"}"#,
                ),
                Some(r#"{"n": 1.5, "s": "blue", "b": false, "list": []}"#),
                Some(r#"{"n": "1", "s": 5, "list": [2, "y"], "deep": {"a": []}}"#),
                Some(r#"{"n": null, "s": "re%d", "list": 7}"#),
                None,
                Some(r#"{"n": -3, "s": "", "list": ["x", 1]}"#),
            ])),
        ),
        (
            json("$meta"),
            Arc::new(StringArray::from(vec![
                Some(r#"{"color": "red", "n": 10, "id": 99, "a/b": 1}"#),
                Some(r#"{"color": "blue", "n": 20.5}"#),
                Some(r#"{"color": 3}"#),
                Some("{}"),
                Some("{}"),
                Some(r#"{"n": 10, "tags": ["p", "q"]}"#),
            ])),
        ),
        (
            Field::new("vec", DataType::FixedSizeList(vector_item, 2), false),
            Arc::new(vectors),
        ),
        (
            Field::new("chunks", chunks.data_type().clone(), true),
            Arc::new(chunks),
        ),
    ];
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

/// Truth of the filter per row, unknown as none, by direct evaluation.
pub fn truth(
    batch: &RecordBatch,
    filter: &str,
    templates: &Templates,
) -> Result<Vec<Option<bool>>, FilterError> {
    let expr = compile(filter, &batch.schema(), templates)?;
    let schema = DFSchema::try_from(batch.schema()).unwrap();
    let physical = create_physical_expr(
        &expr,
        &schema,
        &ExecutionProps::new(),
        &PhysicalPlanningContext::default(),
    )
    .unwrap_or_else(|error| panic!("{filter}: {error}"));
    assert_eq!(
        physical.data_type(&batch.schema()).unwrap(),
        DataType::Boolean,
        "{filter}"
    );
    let result = physical
        .evaluate(batch)
        .unwrap_or_else(|error| panic!("{filter}: {error}"));
    let array = result.into_array(batch.num_rows()).unwrap();
    Ok(array.as_boolean().iter().collect())
}

/// Numbers of the rows that match.
pub fn matching(batch: &RecordBatch, filter: &str, templates: &Templates) -> Result<Vec<usize>, FilterError> {
    let truth = truth(batch, filter, templates)?;
    Ok((0..truth.len()).filter(|row| truth[*row] == Some(true)).collect())
}

/// Numbers of the rows that match, through the analyzer, the optimizer and a filter operator.
pub async fn matching_through_planner(
    batch: &RecordBatch,
    filter: &str,
    templates: &Templates,
) -> Vec<usize> {
    let expr = compile(filter, &batch.schema(), templates).unwrap();
    let session = SessionContext::new();
    let rows = async {
        let id = datafusion::logical_expr::col("id");
        session
            .read_batch(batch.clone())?
            .filter(expr)?
            .select(vec![id])?
            .collect()
            .await
    };
    let rows = rows.await.unwrap_or_else(|error| panic!("{filter}: {error}"));
    let ids = rows
        .iter()
        .flat_map(|rows| rows.column(0).as_primitive::<Int64Type>().values().to_vec());
    ids.map(|id| usize::try_from(id).unwrap()).collect()
}
