//! JSON files: an object on each line, a field for each column.
//!
//! A value of a JSON column is any JSON, kept as its text (a text which is JSON itself is taken for that); a vector is an array of numbers or a text `'[1, 2, 3]'`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use elanus_collection::{CollectionSchema, DataType};
use serde_json::{Map, Value};

use super::{BATCH_ROWS, FileBatch};
use crate::error::{QueryError, Result};

/// Reads a file into columns of the table's types; vectors come as lists of any length.
pub(super) struct JsonFile {
    lines: BufReader<File>,
    file: usize,
    next_row: u64,
    line: String,
}

impl JsonFile {
    pub fn open(input: File, file: usize) -> Self {
        Self {
            lines: BufReader::with_capacity(1 << 20, input),
            file,
            next_row: 1,
            line: String::new(),
        }
    }

    /// The next rows. Fields that `schema` does not know stay, as text, for their names to be refused.
    pub fn next(&mut self, schema: &CollectionSchema) -> Result<Option<FileBatch>> {
        let first_row = self.next_row;
        let mut rows: Vec<Map<String, Value>> = Vec::with_capacity(BATCH_ROWS);
        let mut names: BTreeSet<String> = BTreeSet::new();
        while rows.len() < BATCH_ROWS {
            let Some(mut row) = self.object()? else { break };
            for (name, value) in &mut row {
                if !names.contains(name) {
                    names.insert(name.clone());
                }
                let kind = schema.field(name).map(|field| &field.data_type);
                prepare(kind, value).map_err(|what| {
                    QueryError::Execution(format!("row {}: column '{name}': {what}", self.next_row))
                })?;
            }
            rows.push(row);
            self.next_row += 1;
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let fields: Vec<Field> = names
            .iter()
            .map(|name| {
                Field::new(
                    name,
                    read_type(schema.field(name).map(|field| &field.data_type)),
                    true,
                )
            })
            .collect();
        Ok(Some(FileBatch {
            file: self.file,
            first_row,
            rows: decode(&Arc::new(Schema::new(fields)), &rows, first_row)?,
        }))
    }

    /// The object on the next line that has something on it.
    fn object(&mut self) -> Result<Option<Map<String, Value>>> {
        loop {
            self.line.clear();
            let row = self.next_row;
            let read = self.lines.read_line(&mut self.line);
            if read.map_err(|error| QueryError::Execution(format!("row {row}: {error}")))? == 0 {
                return Ok(None);
            }
            let text = self.line.trim();
            if text.is_empty() {
                continue;
            }
            if row == 1 && text.starts_with('[') {
                return Err(QueryError::Unsupported(
                    "a JSON file that is one array; an object on each line is".into(),
                ));
            }
            return serde_json::from_str(text)
                .map(Some)
                .map_err(|error| QueryError::Execution(format!("row {row}: it is no JSON object: {error}")));
        }
    }
}

/// The type that a column is read as.
fn read_type(kind: Option<&DataType>) -> arrow::datatypes::DataType {
    use arrow::datatypes::DataType as Arrow;
    match kind {
        Some(vector) if vector.is_vector() => match vector.to_arrow() {
            Arrow::FixedSizeList(item, _) => {
                Arrow::List(Arc::new(Field::new_list_field(item.data_type().clone(), true)))
            }
            other => other,
        },
        Some(kind) => kind.to_arrow(),
        None => Arrow::Utf8,
    }
}

/// Brings a value into the form that the decoder takes for its column.
fn prepare(kind: Option<&DataType>, value: &mut Value) -> Result<(), String> {
    match (kind, &*value) {
        (_, Value::Null) => {}
        // As a COPY .. TO writes a JSON column.
        (Some(DataType::Json), Value::String(text)) if serde_json::from_str::<Value>(text).is_ok() => {}
        (Some(DataType::Json), given) => *value = Value::String(given.to_string()),
        (Some(kind), Value::String(text))
            if kind.is_vector() || matches!(kind, DataType::Array { .. } | DataType::StructArray { .. }) =>
        {
            let parsed: Value = serde_json::from_str(text)
                .map_err(|_| format!("'{}' is no list: it is written [1, 2, 3]", shortened(text)))?;
            *value = parsed;
        }
        (None, given) => *value = Value::String(given.to_string()),
        (Some(_), _) => {}
    }
    Ok(())
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

/// The rows as columns. Of rows that cannot be decoded, the first one is named.
///
/// # Errors
/// A value that does not fit its column.
pub(super) fn decode(
    schema: &Arc<Schema>,
    rows: &[Map<String, Value>],
    first_row: u64,
) -> Result<RecordBatch> {
    match decode_all(schema, rows) {
        Ok(batch) => Ok(batch),
        Err(error) => {
            for (number, row) in (first_row..).zip(rows) {
                if let Err(error) = decode_all(schema, std::slice::from_ref(row)) {
                    return Err(QueryError::Execution(format!("row {number}: {error}")));
                }
            }
            Err(error)
        }
    }
}

fn decode_all(schema: &Arc<Schema>, rows: &[Map<String, Value>]) -> Result<RecordBatch> {
    let mut decoder = arrow_json::ReaderBuilder::new(Arc::clone(schema))
        .with_batch_size(rows.len().max(1))
        .build_decoder()?;
    decoder.serialize(rows)?;
    let batch = decoder.flush()?;
    Ok(batch.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(schema))))
}
