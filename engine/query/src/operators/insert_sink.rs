//! [`CollectionSink`]: the end of `INSERT INTO`, one atomic write of all rows of the statement.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::datasource::sink::DataSink;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, SendableRecordBatchStream};
use elanus_collection::Collection;
use futures::TryStreamExt;

use super::write_facts;
use crate::error::external;

/// Writes all rows of a stream into a collection.
#[derive(Debug)]
pub(crate) struct CollectionSink {
    collection: Arc<Collection>,
    schema: SchemaRef,
}

impl CollectionSink {
    /// A sink for rows of `collection`. A column that the statement does not name arrives as NULL, so
    /// the sink takes NULL in every column and leaves the check to the collection.
    pub fn new(collection: Arc<Collection>) -> Self {
        let fields = collection.arrow_schema().fields().iter();
        let nullable: Vec<_> = fields
            .map(|field| field.as_ref().clone().with_nullable(true))
            .collect();
        Self {
            collection,
            schema: Arc::new(Schema::new(nullable)),
        }
    }
}

impl DisplayAs for CollectionSink {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_facts(format, f, "CollectionSink", &[("table", self.collection.name())])
    }
}

#[async_trait]
impl DataSink for CollectionSink {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    async fn write_all(&self, data: SendableRecordBatchStream, _: &Arc<TaskContext>) -> Result<u64> {
        let schema = data.schema();
        let batches: Vec<RecordBatch> = data.try_collect().await?;
        let rows = concat_batches(&schema, &batches)?;
        if rows.num_rows() == 0 {
            return Ok(0);
        }
        let rows = without_unset(&self.collection, &rows)?;
        let written = self.collection.insert(rows, None).await.map_err(external)?;
        Ok(written.rows)
    }
}

/// Leaves out the columns that the statement did not name: they arrive as all NULL, and the
/// collection fills in what belongs there (an assigned key, a default, NULL) or says what is missing.
pub(crate) fn without_unset(collection: &Collection, rows: &RecordBatch) -> Result<RecordBatch> {
    let schema = collection.schema();
    let unset = |index: usize| {
        let field = schema.field(rows.schema().field(index).name());
        let all_null = rows.column(index).logical_null_count() == rows.num_rows();
        all_null && field.is_some_and(|field| field.auto_id || field.default.is_some() || !field.nullable)
    };
    let kept: Vec<usize> = (0..rows.num_columns()).filter(|index| !unset(*index)).collect();
    Ok(rows.project(&kept)?)
}
