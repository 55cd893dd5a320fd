//! [`ChangeRowsExec`]: deletes, updates and adds the rows that its input gives, as one atomic write.
//!
//! ```text
//!   UpdateRowsExec: table=docs, columns=[price]          one row: count
//!     ProjectionExec: action, id, version, price + 1
//!       CollectionScanExec: columns=[id, price, __elanus_ts], filter=price < 5
//! ```
//!
//! Rows are named by key and version. When one of them is not as it was read any more, nothing is written and the
//! statement is run again on the state of then.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{Field, Int32Type, Int64Type, Schema, SchemaRef, UInt64Type};
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
use elanus_collection::{Change, Collection, Keys, RowRefs};
use futures::TryStreamExt;

use super::insert_sink::without_unset;
use super::{one_batch, only_child, write_facts};
use crate::error::{QueryError, external};
use crate::plan::change_rows::{Effect, NewKeys, VALUES_FROM, action};

/// Changes the rows that its input names.
#[derive(Debug, Clone)]
pub(crate) struct ChangeRowsExec {
    input: Arc<dyn ExecutionPlan>,
    collection: Arc<Collection>,
    effect: Arc<Effect>,
    properties: Arc<PlanProperties>,
}

impl ChangeRowsExec {
    /// Changes rows of `collection`; `schema` is the one of the count.
    pub fn new(
        input: Arc<dyn ExecutionPlan>,
        collection: Arc<Collection>,
        effect: Arc<Effect>,
        schema: SchemaRef,
    ) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        ));
        Self {
            input,
            collection,
            effect,
            properties,
        }
    }
}

impl DisplayAs for ChangeRowsExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut facts = vec![("table", self.collection.name())];
        facts.extend(self.effect.writes().map(|columns| ("columns", columns)));
        write_facts(format, f, self.name(), &facts)
    }
}

impl ExecutionPlan for ChangeRowsExec {
    fn name(&self) -> &'static str {
        self.effect.operator
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
        let (collection, effect) = (Arc::clone(&self.collection), Arc::clone(&self.effect));
        let schema = self.schema();
        let changed = async move {
            let rows_schema = input.schema();
            let batches: Vec<RecordBatch> = input.try_collect().await?;
            let rows = concat_batches(&rows_schema, &batches)?;
            drop(batches);
            let count = if rows.num_rows() == 0 {
                0
            } else {
                let change = change_of(&collection, &effect, &rows)?;
                let done = collection.change(change).await.map_err(external)?;
                done.changed + done.inserted
            };
            Ok(RecordBatch::try_new(
                schema,
                vec![Arc::new(UInt64Array::from(vec![count]))],
            )?)
        };
        Ok(one_batch(self.schema(), changed))
    }
}

/// What the rows of the input ask for.
fn change_of(collection: &Collection, effect: &Effect, rows: &RecordBatch) -> Result<Change> {
    let actions = rows
        .columns()
        .first()
        .and_then(|column| column.as_primitive_opt::<Int32Type>())
        .ok_or_else(|| external(QueryError::Internal("rows to change have no action".into())))?;
    let rows_of = |wanted: i32| -> Result<Option<RecordBatch>> {
        let wanted: BooleanArray = actions
            .iter()
            .map(|action| Some(action == Some(wanted)))
            .collect();
        Ok(match wanted.true_count() {
            0 => None,
            all if all == rows.num_rows() => Some(rows.clone()),
            _ => Some(filter_record_batch(rows, &wanted)?),
        })
    };
    let mut change = Change::default();
    if let Some(rows) = rows_of(action::DELETE)? {
        change.remove = Some(refs_of(&rows)?);
    }
    if let Some(rows) = rows_of(action::UPDATE)? {
        let (refs, values) = (refs_of(&rows)?, values_of(effect, &rows)?);
        match &effect.in_place {
            None => change.rewrite = Some((refs, values)),
            Some(columns) => {
                let indices: Vec<usize> = columns
                    .iter()
                    .map(|column| values.schema_ref().index_of(column))
                    .collect::<Result<_, _>>()?;
                change.update = Some((refs, values.project(&indices)?));
            }
        }
    }
    if let Some(rows) = rows_of(action::INSERT)? {
        let rows = without_unset(collection, &values_of(effect, &rows)?)?;
        change.new_keys = effect.keys != NewKeys::Any;
        change.insert = vec![with_new_keys(collection, effect.keys, rows)?];
    }
    Ok(change)
}

fn refs_of(rows: &RecordBatch) -> Result<RowRefs> {
    let [_, key, version, ..] = rows.columns() else {
        return Err(external(QueryError::Internal(
            "rows to change have no versions".into(),
        )));
    };
    let versions = version
        .as_primitive_opt::<UInt64Type>()
        .ok_or_else(|| external(QueryError::Internal("versions are not numbers".into())))?;
    Ok(RowRefs {
        keys: keys_of(std::slice::from_ref(key)).map_err(external)?,
        versions: versions.values().to_vec(),
    })
}

/// The value columns under the names of the table's columns.
fn values_of(effect: &Effect, rows: &RecordBatch) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = rows.columns().iter().skip(VALUES_FROM).cloned().collect();
    let fields: Vec<Field> = effect
        .columns
        .iter()
        .zip(&columns)
        .map(|(name, column)| Field::new(name, column.data_type().clone(), true))
        .collect();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        Arc::new(Schema::new(fields)),
        columns,
        &options,
    )?)
}

/// New rows of which no two have the same key.
fn with_new_keys(collection: &Collection, keys: NewKeys, rows: RecordBatch) -> Result<RecordBatch> {
    let schema = collection.schema();
    let key = &schema.primary_key().map_err(external)?.name;
    let Some(column) = rows.column_by_name(key).filter(|_| keys != NewKeys::Any) else {
        return Ok(rows);
    };
    let first: BooleanArray = match keys_of(std::slice::from_ref(column)).map_err(external)? {
        Keys::Int64(keys) => {
            let mut seen = HashSet::with_capacity(keys.len());
            keys.into_iter().map(|key| Some(seen.insert(key))).collect()
        }
        Keys::VarChar(keys) => {
            let mut seen = HashSet::with_capacity(keys.len());
            keys.into_iter().map(|key| Some(seen.insert(key))).collect()
        }
    };
    if first.true_count() == rows.num_rows() {
        return Ok(rows);
    }
    if keys == NewKeys::Distinct {
        return Err(external(QueryError::Execution(format!(
            "ON CONFLICT DO UPDATE cannot change a row twice: two of the given rows have the same '{key}'"
        ))));
    }
    Ok(filter_record_batch(&rows, &first)?)
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
