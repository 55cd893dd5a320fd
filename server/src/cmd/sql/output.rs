//! Results as a table, CSV, JSON or Arrow.

use std::fmt::Write as _;
use std::io::Write;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float32Type, Schema, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches_with_options;
use clap::ValueEnum;
use elanus_query::SqlOutput;

use crate::console;

/// Most elements of a vector that a person is shown.
const SHOWN_ELEMENTS: usize = 4;

/// How results are printed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table with lines around it
    #[default]
    Table,
    /// Comma-separated values with a header line
    Csv,
    /// An object for each row, one to a line
    Json,
    /// An Arrow IPC stream
    Arrow,
}

/// Prints results to standard output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Printer {
    pub format: Format,
    /// Whether long vectors are shortened.
    pub shorten: bool,
}

impl Printer {
    pub fn new(format: Format, shorten: bool) -> Self {
        Self { format, shorten }
    }

    /// Prints what statements of a script gave. An Arrow stream holds one schema: the last result's.
    pub fn print_all(self, results: &[SqlOutput]) -> anyhow::Result<()> {
        if self.format == Format::Arrow {
            let last = results.iter().rev().find(|result| has_rows(result));
            return last.map_or(Ok(()), |result| self.print(result));
        }
        results.iter().try_for_each(|result| self.print(result))
    }

    /// Prints one result.
    pub fn print(self, result: &SqlOutput) -> anyhow::Result<()> {
        match self.format {
            Format::Table => console::result(&table(result, self.shorten)?),
            // Programs read these: what has no rows prints nothing.
            Format::Csv | Format::Json | Format::Arrow if !has_rows(result) => Ok(()),
            Format::Csv => console::result(csv(result)?.trim_end_matches('\n')),
            Format::Json => {
                let lines = json(result)?;
                if lines.is_empty() {
                    return Ok(());
                }
                console::result(lines.trim_end_matches('\n'))
            }
            Format::Arrow => console::bytes(&arrow_stream(result)?),
        }
    }
}

fn has_rows(result: &SqlOutput) -> bool {
    result.affected.is_none() && !result.schema.fields().is_empty()
}

/// A table with its number of rows, or how many rows were changed.
pub(super) fn table(result: &SqlOutput, shorten: bool) -> anyhow::Result<String> {
    if let Some(affected) = result.affected {
        return Ok(format!("{} affected", counted(affected)));
    }
    if result.schema.fields().is_empty() {
        return Ok("OK".to_owned());
    }
    let options = FormatOptions::default().with_null("NULL");
    let rows: usize = result.batches.iter().map(RecordBatch::num_rows).sum();
    let mut batches = result.batches.clone();
    // The header is that of the first batch, so that there must be one.
    if batches.is_empty() {
        batches.push(RecordBatch::new_empty(SchemaRef::clone(&result.schema)));
    }
    if shorten {
        batches = batches.iter().map(shortened).collect::<Result<_, _>>()?;
    }
    let table = pretty_format_batches_with_options(&batches, &options)?;
    Ok(format!("{table}\n({})", counted(rows as u64)))
}

fn counted(rows: u64) -> String {
    if rows == 1 {
        "1 row".to_owned()
    } else {
        format!("{rows} rows")
    }
}

/// The batch with its long vectors as texts such as `[0.1, 0.2, 0.3, 0.4, .. 764 more]`.
fn shortened(batch: &RecordBatch) -> Result<RecordBatch, arrow::error::ArrowError> {
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        match vector_texts(column) {
            Some(texts) => {
                fields.push(Field::new(field.name(), DataType::Utf8, true));
                columns.push(std::sync::Arc::new(texts));
            }
            None => {
                fields.push(field.as_ref().clone());
                columns.push(ArrayRef::clone(column));
            }
        }
    }
    RecordBatch::try_new(std::sync::Arc::new(Schema::new(fields)), columns)
}

fn vector_texts(column: &ArrayRef) -> Option<StringArray> {
    let DataType::FixedSizeList(item, dim) = column.data_type() else {
        return None;
    };
    let dim = usize::try_from(*dim).ok()?;
    if item.data_type() != &DataType::Float32 || dim <= SHOWN_ELEMENTS {
        return None;
    }
    let vectors = column.as_fixed_size_list();
    let text = |row: usize| {
        vectors.is_valid(row).then(|| {
            let values = vectors.value(row);
            let first = values
                .as_primitive::<Float32Type>()
                .values()
                .iter()
                .take(SHOWN_ELEMENTS);
            let mut text = String::from("[");
            for value in first {
                // Writing to a string does not fail.
                let _written = write!(text, "{value}, ");
            }
            let _written = write!(text, ".. {} more]", dim - SHOWN_ELEMENTS);
            text
        })
    };
    Some((0..vectors.len()).map(text).collect())
}

fn csv(result: &SqlOutput) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(result.schema.fields().iter().map(|field| field.name()))?;
    let options = FormatOptions::default();
    for batch in &result.batches {
        let formatters = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options))
            .collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let cells = formatters
                .iter()
                .map(|formatter| formatter.value(row).try_to_string());
            writer.write_record(cells.collect::<Result<Vec<_>, _>>()?)?;
        }
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

fn json(result: &SqlOutput) -> anyhow::Result<String> {
    let mut writer = arrow_json::writer::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow_json::writer::LineDelimited>(Vec::new());
    for batch in &result.batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    Ok(String::from_utf8(writer.into_inner())?)
}

fn arrow_stream(result: &SqlOutput) -> anyhow::Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), &result.schema)?;
    for batch in &result.batches {
        writer.write(batch)?;
    }
    let mut bytes = writer.into_inner()?;
    bytes.flush()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{FixedSizeListArray, Int64Array};

    use super::*;

    fn result() -> SqlOutput {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a,\"b\"", "c"]));
        let vectors: ArrayRef = Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
            [Some([0.5f32, 1.0, 2.0, 3.0, 4.0, 5.0].map(Some)), None],
            6,
        ));
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("id", ids, true),
            ("t", texts, true),
            ("v", vectors, true),
        ])
        .unwrap();
        SqlOutput {
            schema: batch.schema(),
            batches: vec![batch],
            affected: None,
        }
    }

    #[test]
    fn csv_quotes_and_leaves_null_empty() {
        let text = csv(&result()).unwrap();
        assert_eq!(
            text,
            "id,t,v\n1,\"a,\"\"b\"\"\",\"[0.5, 1.0, 2.0, 3.0, 4.0, 5.0]\"\n,c,\n"
        );
    }

    #[test]
    fn json_has_an_object_for_each_row() {
        let text = json(&result()).unwrap();
        let rows: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(rows[0]["v"][1], 1.0);
        assert!(rows[1]["id"].is_null() && rows[1]["t"] == "c");
    }

    #[test]
    fn a_person_sees_the_first_elements_of_a_vector() {
        let text = table(&result(), true).unwrap();
        assert!(text.contains("[0.5, 1, 2, 3, .. 2 more]"), "{text}");
        assert!(text.contains("NULL") && text.ends_with("(2 rows)"), "{text}");
        assert!(table(&result(), false).unwrap().contains("4.0, 5.0]"));
    }

    #[test]
    fn arrow_is_an_ipc_stream() {
        let bytes = arrow_stream(&result()).unwrap();
        let mut reader = arrow::ipc::reader::StreamReader::try_new(&bytes[..], None).unwrap();
        assert_eq!(reader.next().unwrap().unwrap(), result().batches[0]);
    }
}
