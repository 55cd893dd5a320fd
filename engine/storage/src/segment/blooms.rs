//! The Bloom filters of a column in `data.parquet`: which values a group of rows does not have (Bloom, 1970).

use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::bloom_filter::Sbbf;
use parquet::file::metadata::{ColumnChunkMetaData, PageIndexPolicy};

use crate::error::{Error, Result};

/// The Bloom filters of a column, one for each group of rows.
#[derive(Debug, Clone)]
pub struct ColumnBlooms {
    groups: Vec<Option<Sbbf>>,
}

/// A value that may be in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BloomValue<'a> {
    /// An integer of a column of 64-bit integers.
    Int64(i64),
    /// A text.
    Text(&'a str),
}

impl ColumnBlooms {
    /// Whether any group of rows has a filter.
    pub fn is_empty(&self) -> bool {
        self.groups.iter().all(Option::is_none)
    }

    /// For each group whether it may have the value. False is certain.
    pub fn may_have(&self, value: BloomValue<'_>) -> impl Iterator<Item = bool> {
        let has = move |filter: &Sbbf| match value {
            BloomValue::Int64(number) => filter.check(&number),
            BloomValue::Text(text) => filter.check(text),
        };
        self.groups
            .iter()
            .map(move |filter| filter.as_ref().is_none_or(has))
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        const BLOCK: usize = 32;
        self.groups
            .iter()
            .flatten()
            .map(|filter| filter.num_blocks() * BLOCK)
            .sum()
    }
}

/// The filters of a column; of one that the file has not, or has no filter of, there are none.
pub(super) fn blooms(path: &str, bytes: &Bytes, column: &str) -> Result<ColumnBlooms> {
    let corrupt = |error: parquet::errors::ParquetError| Error::corrupt(path, error.to_string());
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Skip);
    let builder =
        ParquetRecordBatchReaderBuilder::try_new_with_options(bytes.clone(), options).map_err(corrupt)?;
    let groups = builder.metadata().row_groups().iter().map(|group| {
        let is_of_column =
            |chunk: &&ColumnChunkMetaData| matches!(chunk.column_path().parts(), [only] if only == column);
        let Some(chunk) = group.columns().iter().find(is_of_column) else {
            return Ok(None);
        };
        let filter = Sbbf::read_from_column_chunk(chunk, bytes).map_err(corrupt)?;
        Ok(filter.filter(|filter| filter.num_blocks() > 0))
    });
    Ok(ColumnBlooms {
        groups: groups.collect::<Result<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::segment::data::encode;

    #[test]
    fn values_of_a_column_are_told_from_others() {
        // More rows than a group has, every other number, and a text for each hundred of them.
        let rows = 70_000;
        let numbers: Int64Array = (0..rows).map(|row| row * 2).collect();
        let texts = StringArray::from_iter_values((0..rows).map(|row| format!("text {}", row / 100)));
        let json = HashMap::from([("ARROW:extension:name".to_owned(), "arrow.json".to_owned())]);
        let fields = vec![
            Field::new("id", DataType::Int64, false),
            Field::new("text", DataType::Utf8, false),
            Field::new("json", DataType::Utf8, false).with_metadata(json),
            Field::new("n", DataType::Int64, false),
        ];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(numbers.clone()),
            Arc::new(texts.clone()),
            Arc::new(texts),
            Arc::new(numbers),
        ];
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        let bytes = Bytes::from(encode(&batch.schema(), std::slice::from_ref(&batch), "id").unwrap());
        let of = |column: &str| blooms("test", &bytes, column).unwrap();
        let has = |filters: &ColumnBlooms, value: BloomValue<'_>| filters.may_have(value).collect::<Vec<_>>();

        let keys = of("id");
        for number in [0, 2, 131_070] {
            assert_eq!(has(&keys, BloomValue::Int64(number)), [true, false], "{number}");
        }
        assert_eq!(has(&keys, BloomValue::Int64(139_998)), [false, true]);
        let absent = (0..1_000).map(|number| number * 2 + 1);
        let wrong = absent.filter(|number| has(&keys, BloomValue::Int64(*number))[0]);
        assert!(wrong.count() < 30, "one in a hundred is expected");

        let words = of("text");
        assert!(has(&words, BloomValue::Text("text 3"))[0]);
        assert_eq!(has(&words, BloomValue::Text("text")), [false, false]);
        assert!(words.bytes() < 4_096, "{} bytes for 700 texts", words.bytes());
        for without in ["json", "n", "none"] {
            assert!(of(without).is_empty(), "{without}");
            assert!(
                has(&of(without), BloomValue::Text("x"))
                    .into_iter()
                    .all(|may| may)
            );
        }
    }
}
