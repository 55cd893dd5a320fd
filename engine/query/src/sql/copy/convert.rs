//! From the columns of a file to the columns of a table.
//!
//! Text becomes what its column is; lists become vectors of the column's dimension. Everything else goes on as it is:
//! the collection converts between numbers without loss, and says what does not fit.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Schema};
use elanus_collection::{CollectionSchema, DataType, Field};
use serde_json::{Map, Value};

use super::FileBatch;
use super::json::decode;
use crate::error::{QueryError, Result, did_you_mean};
use crate::sql::vector_cast::ToVector;
use elanus_udfs::vector::VectorKind;

/// Which columns of a file go into which columns of the table.
pub(super) struct Mapping {
    schema: Arc<CollectionSchema>,
    /// The columns that the statement names; empty: those of the file.
    columns: Vec<String>,
}

impl Mapping {
    /// For the columns that a statement names (none: all that a file has).
    ///
    /// # Errors
    /// A name that the table does not have, or one given twice.
    pub fn new(schema: Arc<CollectionSchema>, columns: Vec<String>) -> Result<Self> {
        for (place, name) in columns.iter().enumerate() {
            if schema.field(name).is_none() {
                return Err(unknown(&schema, name, "the table has none of this name"));
            }
            if columns.iter().take(place).any(|before| before == name) {
                return Err(QueryError::Plan(format!("column '{name}' is named twice")));
            }
        }
        Ok(Self { schema, columns })
    }

    /// Names for the columns of a file that has none: those of the statement, or all that a row must give.
    pub fn names_by_place(&self) -> Vec<String> {
        if !self.columns.is_empty() {
            return self.columns.clone();
        }
        let given = self
            .schema
            .fields
            .iter()
            .filter(|field| !field.auto_id && !field.dynamic);
        given.map(|field| field.name.clone()).collect()
    }

    /// The rows with the columns of the table.
    ///
    /// # Errors
    /// A column that the table or the file does not have, or a value that does not fit, with its row.
    pub fn rows(&self, batch: &FileBatch) -> Result<RecordBatch> {
        let given = batch.rows.schema();
        let mut fields = Vec::with_capacity(given.fields().len());
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(given.fields().len());
        for name in &self.columns {
            // Of a JSON line a field may be absent.
            if given.index_of(name).is_err()
                && batch.rows.num_columns() > 0
                && !given.metadata().contains_key("sparse")
            {
                let names: Vec<&str> = given.fields().iter().map(|field| field.name().as_str()).collect();
                return Err(QueryError::Execution(format!(
                    "the file has no column '{name}'{}",
                    did_you_mean(name, &names, "its columns")
                )));
            }
        }
        for (field, column) in given.fields().iter().zip(batch.rows.columns()) {
            if !self.columns.is_empty() && !self.columns.contains(field.name()) {
                continue;
            }
            let Some(target) = self.schema.field(field.name()) else {
                let hint = "name the columns to be read: COPY table (a, b) FROM ..";
                return Err(unknown(
                    &self.schema,
                    field.name(),
                    &format!("the file has it, the table has not; {hint}"),
                ));
            };
            let column = by_row(column, batch.first_row, target, |column| convert(target, column))?;
            fields.push(ArrowField::new(field.name(), column.data_type().clone(), true));
            columns.push(column);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(
            Arc::new(Schema::new(fields)),
            columns,
            &options,
        )?)
    }
}

fn unknown(schema: &CollectionSchema, name: &str, what: &str) -> QueryError {
    let names: Vec<&str> = schema.fields.iter().map(|field| field.name.as_str()).collect();
    QueryError::Plan(format!(
        "column '{name}': {what}{}",
        did_you_mean(name, &names, "columns of the table")
    ))
}

/// Converts a column; when that fails, the first row that fails alone is named.
fn by_row(
    column: &ArrayRef,
    first_row: u64,
    field: &Field,
    convert: impl Fn(&ArrayRef) -> Result<ArrayRef>,
) -> Result<ArrayRef> {
    let error = match convert(column) {
        Ok(converted) => return Ok(converted),
        Err(error) => error,
    };
    for (number, row) in (first_row..).zip(0..column.len()) {
        if let Err(error) = convert(&column.slice(row, 1)) {
            return Err(QueryError::Execution(format!(
                "row {number}: column '{}': {error}",
                field.name
            )));
        }
    }
    Err(error)
}

fn convert(field: &Field, column: &ArrayRef) -> Result<ArrayRef> {
    let target = field.data_type.to_arrow();
    if column.data_type() == &target || column.data_type() == &ArrowType::Null {
        return Ok(Arc::clone(column));
    }
    let column = &plain(column)?;
    if let Some(kind) = VectorKind::of(&field.to_arrow()) {
        let from = VectorKind::of_type(column.data_type());
        return Ok(ToVector::new(kind, false).vectors(from, column)?);
    }
    if column.data_type() != &ArrowType::Utf8 {
        return Ok(Arc::clone(column));
    }
    match &field.data_type {
        DataType::VarChar { .. } | DataType::Text | DataType::Json => Ok(Arc::clone(column)),
        DataType::Array { .. } | DataType::StructArray { .. } => lists(column, &target),
        _ => {
            let options = CastOptions {
                safe: false,
                ..CastOptions::default()
            };
            cast_with_options(&trimmed(column), &target, &options).map_err(|_| {
                let shown = column
                    .as_string::<i32>()
                    .iter()
                    .flatten()
                    .next()
                    .unwrap_or_default();
                let shown: String = shown.chars().take(40).collect();
                QueryError::Execution(format!(
                    "'{shown}' is no value of type {}",
                    field.data_type.name()
                ))
            })
        }
    }
}

/// Text in its one plain form, dictionaries unpacked.
fn plain(column: &ArrayRef) -> Result<ArrayRef> {
    let to = match column.data_type() {
        ArrowType::LargeUtf8 | ArrowType::Utf8View => ArrowType::Utf8,
        ArrowType::Dictionary(_, value) => match value.as_ref() {
            ArrowType::LargeUtf8 | ArrowType::Utf8View => ArrowType::Utf8,
            other => other.clone(),
        },
        _ => return Ok(Arc::clone(column)),
    };
    Ok(arrow::compute::cast(column, &to)?)
}

fn trimmed(column: &ArrayRef) -> ArrayRef {
    let texts = column.as_string::<i32>().iter();
    Arc::new(
        texts
            .map(|text| text.map(str::trim))
            .collect::<arrow::array::StringArray>(),
    )
}

/// Texts such as `[1, 2]` as lists.
fn lists(column: &ArrayRef, target: &ArrowType) -> Result<ArrayRef> {
    let schema = Arc::new(Schema::new(vec![ArrowField::new("list", target.clone(), true)]));
    let mut rows = Vec::with_capacity(column.len());
    for text in column.as_string::<i32>() {
        let value = match text {
            None => Value::Null,
            Some(text) => serde_json::from_str(text).map_err(|_| {
                let shown: String = text.chars().take(40).collect();
                QueryError::Execution(format!("'{shown}' is no list: it is written [1, 2, 3]"))
            })?,
        };
        rows.push(Map::from_iter([("list".to_string(), value)]));
    }
    let decoded = decode(&schema, &rows, 1)?;
    let column = decoded.columns().first().cloned();
    column.ok_or_else(|| QueryError::Internal("a decoded column is missing".into()))
}
