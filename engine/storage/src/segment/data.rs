//! `data.parquet`: the scalar columns of a segment, readable with any Parquet reader.
//!
//! LZ4 pages of 4,096 rows, or fewer than twice as many, with a page index, so that a few rows can be read without the
//! rest, and Bloom filters on the primary key and on texts ([`super::blooms`]), so that a search for a value can skip the
//! file.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::Compression;
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::TIMESTAMP_COLUMN;
use crate::error::{Error, Result};

/// Key of the metadata that names what is inside of a plain type.
const EXTENSION_NAME_KEY: &str = "ARROW:extension:name";
const PAGE_ROWS: usize = 4096;
const ROW_GROUP_ROWS: usize = 65_536;

/// Share of absent values that a Bloom filter lets through; it is as large as the distinct values need it to be.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// What a segment says of its columns without their values being read: one entry for each group of rows.
#[derive(Debug, Clone)]
pub struct SegmentStatistics {
    /// Rows of each group.
    pub rows: UInt64Array,
    /// By the name of the column. Columns without an order that all readers agree on are not among them: of floats, NaN is
    /// in no statistics.
    pub columns: HashMap<String, ColumnStatistics>,
}

/// Bounds of the values of a column in each group of rows; NULL where nothing is known.
#[derive(Debug, Clone)]
pub struct ColumnStatistics {
    /// No value of the group is smaller.
    pub min: ArrayRef,
    /// No value of the group is larger.
    pub max: ArrayRef,
    /// How many values are NULL.
    pub nulls: UInt64Array,
}

/// Whether the bounds in a file are bounds in the order of Arrow's comparisons.
fn has_bounds(data_type: &DataType) -> bool {
    let is_ordered = matches!(
        data_type,
        DataType::Boolean | DataType::Utf8 | DataType::Timestamp(..)
    );
    is_ordered || data_type.is_integer()
}

/// The statistics of all columns that have bounds.
pub(crate) fn statistics(path: &str, bytes: Bytes) -> Result<SegmentStatistics> {
    let corrupt = |error: parquet::errors::ParquetError| Error::corrupt(path, error.to_string());
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Skip);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).map_err(corrupt)?;
    let groups = builder.metadata().row_groups();
    let rows = groups
        .iter()
        .map(|group| u64::try_from(group.num_rows()).unwrap_or(0));
    let mut columns = HashMap::new();
    for field in builder
        .schema()
        .fields()
        .iter()
        .filter(|field| has_bounds(field.data_type()))
    {
        let converter =
            StatisticsConverter::try_new(field.name(), builder.schema(), builder.parquet_schema());
        let converter = converter
            .map_err(corrupt)?
            .with_missing_null_counts_as_zero(false);
        let statistics = ColumnStatistics {
            min: converter.row_group_mins(groups).map_err(corrupt)?,
            max: converter.row_group_maxes(groups).map_err(corrupt)?,
            nulls: converter.row_group_null_counts(groups).map_err(corrupt)?,
        };
        columns.insert(field.name().clone(), statistics);
    }
    Ok(SegmentStatistics {
        rows: rows.collect(),
        columns,
    })
}

/// The file of the rows of `batches`, one batch after the other, all of this schema.
pub(crate) fn encode(schema: &SchemaRef, batches: &[RecordBatch], primary_key: &str) -> Result<Vec<u8>> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let mut properties = WriterProperties::builder()
        .set_created_by("elanus".to_owned())
        .set_compression(Compression::LZ4_RAW)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(PAGE_ROWS)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS));
    // Texts that are JSON inside are not compared as a whole.
    let is_text = |field: &Field| {
        *field.data_type() == DataType::Utf8 && !field.metadata().contains_key(EXTENSION_NAME_KEY)
    };
    for field in schema.fields() {
        let column = ColumnPath::new(vec![field.name().clone()]);
        if field.name() == primary_key || field.name() == TIMESTAMP_COLUMN {
            // No two timestamps are equal, and hardly any two keys.
            properties = properties.set_column_dictionary_enabled(column.clone(), false);
        }
        if field.name() == primary_key || is_text(field) {
            properties = properties
                .set_column_bloom_filter_enabled(column.clone(), true)
                .set_column_bloom_filter_fpp(column.clone(), BLOOM_FALSE_POSITIVES)
                .set_column_bloom_filter_max_ndv(column, rows.min(ROW_GROUP_ROWS) as u64);
        }
    }
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties.build()))?;
    for batch in batches {
        writer.write(batch)?;
    }
    Ok(writer.into_inner()?)
}

/// The names of all columns, in file order.
pub(crate) fn column_names(path: &str, bytes: Bytes) -> Result<Vec<String>> {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Skip);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options)
        .map_err(|error| Error::corrupt(path, error.to_string()))?;
    let fields = builder.schema().fields().iter();
    Ok(fields.map(|field| field.name().clone()).collect())
}

/// The named columns in that order, of all rows or of the given ascending, distinct `rows` only.
pub(crate) fn decode(
    path: &str,
    bytes: Bytes,
    columns: &[String],
    total_rows: usize,
    rows: Option<&[u32]>,
) -> Result<RecordBatch> {
    let corrupt = |error: parquet::errors::ParquetError| Error::corrupt(path, error.to_string());
    let policy = if rows.is_some() {
        PageIndexPolicy::Required
    } else {
        PageIndexPolicy::Skip
    };
    let options = ArrowReaderOptions::new().with_page_index_policy(policy);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).map_err(corrupt)?;
    let schema = Arc::clone(builder.schema());
    let mut roots = Vec::with_capacity(columns.len());
    for column in columns {
        let (index, _) = schema.column_with_name(column).ok_or_else(|| {
            Error::Invalid(format!("{path} has no column {column}, only {}", names(&schema)))
        })?;
        roots.push(index);
    }
    let wanted = rows.map_or(total_rows, <[u32]>::len);
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let mut builder = builder.with_projection(mask).with_batch_size(wanted.max(1));
    if let Some(rows) = rows {
        builder = builder.with_row_selection(selection(rows, total_rows));
    }
    let reader = builder.build().map_err(corrupt)?;
    let read_schema = arrow::array::RecordBatchReader::schema(&reader);
    let batches = reader.collect::<Result<Vec<_>, _>>();
    let batches = batches.map_err(|error| Error::corrupt(path, error.to_string()))?;
    let batch = match batches.as_slice() {
        [one] => one.clone(),
        several => concat_batches(&read_schema, several)?,
    };
    if batch.num_rows() != wanted && !columns.is_empty() {
        return Err(Error::corrupt(
            path,
            format!("{} rows, expected {wanted}", batch.num_rows()),
        ));
    }
    reorder(&batch, columns, wanted)
}

fn names(schema: &Schema) -> String {
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    names.join(", ")
}

/// Parquet delivers columns in file order, each once; callers ask in any order.
fn reorder(batch: &RecordBatch, columns: &[String], rows: usize) -> Result<RecordBatch> {
    let schema = batch.schema();
    let mut fields = Vec::with_capacity(columns.len());
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(columns.len());
    for column in columns {
        let index = schema.index_of(column)?;
        fields.push(Arc::new(schema.field(index).clone()));
        arrays.push(Arc::clone(batch.column(index)));
    }
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, arrays, &options)?)
}

fn selection(rows: &[u32], total_rows: usize) -> RowSelection {
    let ranges = rows.chunk_by(|left, right| left.checked_add(1) == Some(*right));
    let ranges = ranges.filter_map(|run| {
        let (first, last) = (run.first()?, run.last()?);
        Some(*first as usize..*last as usize + 1)
    });
    RowSelection::from_consecutive_ranges(ranges, total_rows)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray, Float64Array, Int64Array, StringArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn statistics_bound_the_values_of_each_group_of_rows() {
        let rows = ROW_GROUP_ROWS + 10;
        let keys: Int64Array = (0..rows as i64).collect();
        // Nulls only in the first group, one value in the second.
        let sparse: Int64Array = (0..rows).map(|row| (row == rows - 1).then_some(-7)).collect();
        let texts = StringArray::from_iter_values((0..rows).map(|row| format!("{}{row:06}", "ü".repeat(60))));
        let floats = Float64Array::from_iter_values((0..rows).map(|row| row as f64));
        let fields = vec![
            Field::new("id", DataType::Int64, false),
            Field::new("sparse", DataType::Int64, true),
            Field::new("text", DataType::Utf8, false),
            Field::new("float", DataType::Float64, false),
        ];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(keys),
            Arc::new(sparse),
            Arc::new(texts.clone()),
            Arc::new(floats),
        ];
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        let bytes = Bytes::from(encode(&batch.schema(), &[batch], "id").unwrap());
        let statistics = statistics("test", bytes).unwrap();

        let group_rows: Vec<u64> = statistics.rows.values().to_vec();
        assert_eq!(group_rows, [ROW_GROUP_ROWS as u64, 10]);
        let (key, sparse) = (&statistics.columns["id"], &statistics.columns["sparse"]);
        let last = ROW_GROUP_ROWS as i64;
        assert_eq!(key.min.as_primitive::<Int64Type>().values().to_vec(), [0, last]);
        assert_eq!(
            key.max.as_primitive::<Int64Type>().values().to_vec(),
            [last - 1, last + 9]
        );
        assert_eq!(key.nulls.values().to_vec(), [0, 0]);
        assert!(sparse.min.is_null(0) && sparse.max.is_null(0));
        assert_eq!(sparse.max.as_primitive::<Int64Type>().value(1), -7);
        assert_eq!(sparse.nulls.values().to_vec(), [ROW_GROUP_ROWS as u64, 9]);
        let text = &statistics.columns["text"];
        assert!(text.min.as_string::<i32>().value(0) <= texts.value(0));
        assert!(text.max.as_string::<i32>().value(0) >= texts.value(ROW_GROUP_ROWS - 1));
        assert!(
            !statistics.columns.contains_key("float"),
            "NaN is in no statistics"
        );
    }
}
