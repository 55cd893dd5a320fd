//! The size of answers: one that would be too large is refused before its rows are read.

use elanus_collection::{Collection, CollectionSchema, DataType};
use elanus_query::QueryRequest;

use crate::convert::typed_vectors;
use crate::door::Door;
use crate::status::{Error, Result};

/// Largest answer of a search or query in bytes, Milvus' default.
const MAX_OUTPUT_BYTES: u64 = 104_857_600;

/// How many rows an answer takes of those that match, and how large they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    /// `search` or `query`, for messages.
    pub kind: &'static str,
    /// Query vectors; each gets rows of its own.
    pub queries: usize,
    /// Most rows for each; `None`: all that match.
    pub limit: Option<usize>,
    /// Rows skipped for each.
    pub offset: usize,
    /// Bytes that a row takes at least.
    pub row_bytes: u64,
}

impl Answer {
    /// Bytes of the answer when so many rows match.
    fn bytes(&self, matching: u64) -> u64 {
        let limit = self.limit.map_or(u64::MAX, |limit| limit as u64);
        matching
            .saturating_sub(self.offset as u64)
            .min(limit)
            .saturating_mul(self.queries as u64)
            .saturating_mul(self.row_bytes)
    }

    /// Refuses an answer that would be too large. Rows are counted only where the answer could be.
    pub async fn expect(
        &self,
        door: &Door,
        collection: &Collection,
        matching: impl FnOnce() -> QueryRequest,
    ) -> Result<()> {
        if self.bytes(u64::MAX) <= MAX_OUTPUT_BYTES || self.bytes(collection.row_count()) <= MAX_OUTPUT_BYTES
        {
            return Ok(());
        }
        self.check(self.bytes(door.engine().count(matching()).await?))
    }

    /// Refuses an answer of so many bytes, in Milvus' words.
    pub fn check(&self, bytes: u64) -> Result<()> {
        if bytes <= MAX_OUTPUT_BYTES {
            return Ok(());
        }
        Err(Error::unexpected(format!(
            "{} results exceed the maxOutputSize Limit {MAX_OUTPUT_BYTES}: the answer would have at least {bytes} bytes, ask for fewer rows or fields",
            self.kind
        )))
    }
}

/// Bytes that the columns of a row take at least.
pub(crate) fn least_row_bytes(schema: &CollectionSchema, columns: &[String]) -> u64 {
    let fields = columns.iter().filter_map(|name| schema.field(name));
    fields
        .map(|field| match &field.data_type {
            DataType::FloatVector { dim } if !field.nullable => u64::from(*dim) * 4,
            DataType::Float => 4,
            DataType::Double => 8,
            DataType::FloatVector { .. } | DataType::SparseFloatVector => 0,
            typed @ (DataType::Float16Vector { .. }
            | DataType::BFloat16Vector { .. }
            | DataType::Int8Vector { .. }
            | DataType::BinaryVector { .. }) => {
                let bytes = typed_vectors::vector_bytes(typed).filter(|_| !field.nullable);
                bytes.map_or(0, |bytes| bytes as u64)
            }
            DataType::Bool
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::VarChar { .. }
            | DataType::Text
            | DataType::Json
            | DataType::Array { .. }
            | DataType::StructArray { .. }
            | DataType::VectorArray { .. }
            | DataType::TimestampTz
            | DataType::Geometry => 1,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use elanus_collection::Field;

    use super::*;

    #[test]
    fn answers_are_measured_by_the_rows_they_take() {
        let answer = Answer {
            kind: "query",
            queries: 2,
            limit: Some(10),
            offset: 5,
            row_bytes: 100,
        };
        assert_eq!(answer.bytes(5), 0);
        assert_eq!(answer.bytes(8), 600);
        assert_eq!(answer.bytes(1_000), 2_000);
        let all = Answer {
            limit: None,
            ..answer
        };
        assert_eq!(all.bytes(1_005), 200_000);
        assert_eq!(all.bytes(u64::MAX), u64::MAX);
        all.check(MAX_OUTPUT_BYTES).unwrap();
        let reason = all.check(MAX_OUTPUT_BYTES + 1).unwrap_err().to_string();
        assert!(
            reason.starts_with("query results exceed the maxOutputSize Limit 104857600"),
            "{reason}"
        );
    }

    #[test]
    fn a_row_is_measured_by_what_it_cannot_do_without() {
        let schema = CollectionSchema::new(vec![
            Field::new("id", DataType::Int64).primary(),
            Field::new("x", DataType::Double),
            Field::new("v", DataType::FloatVector { dim: 8 }),
            Field::new("w", DataType::FloatVector { dim: 8 }).nullable(),
        ]);
        let columns = ["id", "x", "v", "w"].map(String::from);
        assert_eq!(least_row_bytes(&schema, &columns), 1 + 8 + 32);
    }
}
