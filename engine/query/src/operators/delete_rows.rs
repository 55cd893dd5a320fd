//! [`DeleteRowsExec`]: deletes the rows whose primary keys its input gives.
//!
//! ```text
//!   DeleteRowsExec: table=docs                 one row: count
//!     CollectionScanExec: columns=[id], filter=price < 5
//! ```
//!
//! A primary key names its rows: every row with a key that matched is deleted, as one atomic write.
//! The count is that of the rows that are gone, which are more than the input gave when other rows
//! had the same keys.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{Distribution, EquivalenceProperties};
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, Partitioning, PhysicalExpr,
    PlanProperties, SendableRecordBatchStream,
};
use elanus_collection::{Collection, Keys};
use futures::TryStreamExt;

use super::{one_batch, only_child, write_facts};
use crate::error::{QueryError, external};

/// Deletes rows by the primary keys in the first column of its input.
#[derive(Debug, Clone)]
pub(crate) struct DeleteRowsExec {
    input: Arc<dyn ExecutionPlan>,
    collection: Arc<Collection>,
    properties: Arc<PlanProperties>,
}

impl DeleteRowsExec {
    /// Deletes the keys of `input` from `collection`; `schema` is the one of the count.
    pub fn new(input: Arc<dyn ExecutionPlan>, collection: Arc<Collection>, schema: SchemaRef) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        ));
        Self {
            input,
            collection,
            properties,
        }
    }
}

impl DisplayAs for DeleteRowsExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_facts(format, f, self.name(), &[("table", self.collection.name())])
    }
}

impl ExecutionPlan for DeleteRowsExec {
    fn name(&self) -> &'static str {
        "DeleteRowsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition])
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self {
            input: only_child(children, self.name())?,
            ..self.as_ref().clone()
        }))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(
            children,
            ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute),
        )
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let collection = Arc::clone(&self.collection);
        let schema = self.schema();
        let deleted = async move {
            let batches: Vec<RecordBatch> = input.try_collect().await?;
            let columns: Vec<ArrayRef> = batches
                .iter()
                .filter_map(|batch| batch.columns().first().cloned())
                .collect();
            let rows = if columns.iter().all(|column| column.is_empty()) {
                0
            } else {
                let keys = keys_of(&columns).map_err(external)?;
                collection.delete(keys, None).await.map_err(external)?.deleted
            };
            Ok(RecordBatch::try_new(
                schema,
                vec![Arc::new(UInt64Array::from(vec![rows]))],
            )?)
        };
        Ok(one_batch(self.schema(), deleted))
    }
}

/// The values of primary key columns.
///
/// # Errors
/// [`QueryError::Internal`] when a column is of a type that no primary key has.
pub(crate) fn keys_of(columns: &[ArrayRef]) -> Result<Keys, QueryError> {
    if columns
        .iter()
        .all(|column| column.as_primitive_opt::<Int64Type>().is_some())
    {
        let values = columns
            .iter()
            .flat_map(|column| column.as_primitive::<Int64Type>().values().iter().copied());
        return Ok(Keys::Int64(values.collect()));
    }
    let mut keys = Vec::new();
    for column in columns {
        let Some(texts) = column.as_string_opt::<i32>() else {
            return Err(QueryError::Internal(format!(
                "a primary key cannot be of type {}",
                column.data_type()
            )));
        };
        keys.extend(texts.iter().flatten().map(str::to_string));
    }
    Ok(Keys::VarChar(keys))
}
