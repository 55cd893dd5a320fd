//! Tests of the functions through SQL and against plain reference computations, one binary.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod arrays;
mod distances;
mod geometry;
mod json;

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field};
use arrow::util::display::array_value_to_string;
use datafusion::prelude::SessionContext;

/// A session with the functions over DataFusion's own.
pub fn session() -> SessionContext {
    let mut session = SessionContext::new();
    elanus_udfs::register(&mut session).unwrap();
    session
}

/// Rows of one statement, columns joined by `|`, NULL as `null`.
pub async fn rows(session: &SessionContext, statement: &str) -> Result<Vec<String>, String> {
    let batches = async { session.sql(statement).await?.collect().await }
        .await
        .map_err(|error| error.to_string())?;
    let mut rows = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let cells: Vec<String> = batch
                .columns()
                .iter()
                .map(|column| {
                    if column.is_null(row) {
                        "null".to_owned()
                    } else {
                        array_value_to_string(column, row).unwrap()
                    }
                })
                .collect();
            rows.push(cells.join("|"));
        }
    }
    Ok(rows)
}

/// Vectors as the engine stores them.
pub fn vectors(dim: usize, rows: &[Option<Vec<f32>>]) -> ArrayRef {
    let data: Vec<f32> = rows
        .iter()
        .flat_map(|row| row.clone().unwrap_or_else(|| vec![0.0; dim]))
        .collect();
    let nulls: NullBuffer = rows.iter().map(Option::is_some).collect();
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    Arc::new(FixedSizeListArray::new(
        item,
        dim as i32,
        Arc::new(Float32Array::from(data)),
        Some(nulls),
    ))
}
