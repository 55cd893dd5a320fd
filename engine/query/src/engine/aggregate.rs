//! The aggregate request: numbers out of the rows that a filter selects, for all of them or for each group.
//!
//! The rows are selected as for [`Engine::query`]; DataFusion does the sums, over the columns that they need.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::datasource::MemTable;
use datafusion::functions_aggregate::expr_fn::{avg, count, max, min};
use datafusion::logical_expr::{Expr, ident, lit};
use datafusion::prelude::SessionContext;
use elanus_collection::DataType;
use elanus_udfs::sum::sum;

use super::Engine;
use super::search::output_schema;
use crate::error::{QueryError, Result};
use crate::request::{Aggregate, AggregateKind, AggregateRequest, is_group_key};

/// Most groups of one answer, Milvus' limit.
const MAX_GROUPS: usize = 100_000;

impl Engine {
    /// Computes aggregates: a row for each group with the group's values first, in the order of these values (NULL last);
    /// without groups, one row.
    ///
    /// # Errors
    /// [`QueryError::InvalidParameter`] for fields that cannot be grouped by or aggregated and for more than 100,000
    /// groups, and what [`Engine::query`] says of the rows.
    pub async fn aggregate(&self, request: AggregateRequest) -> Result<RecordBatch> {
        let AggregateRequest {
            rows,
            group_by,
            aggregates,
        } = &request;
        check(&request)?;
        let mut names: Vec<String> = group_by.clone();
        for column in aggregates
            .iter()
            .filter_map(|aggregate| aggregate.column.as_ref())
        {
            if !names.contains(column) {
                names.push(column.clone());
            }
        }
        // Something has to be read even where only rows are counted.
        if names.is_empty() {
            names.push(rows.collection.schema().primary_key()?.name.clone());
        }
        let schema = output_schema(&rows.collection, &names)?;
        let batches = self.selected_columns(rows, &schema).await?;

        let context = SessionContext::new_with_state(self.inner.base.as_ref().clone());
        let keys: Vec<Expr> = group_by.iter().map(ident).collect();
        let numbers: Vec<Expr> = aggregates.iter().map(expression).collect();
        let mut frame = context
            .read_table(Arc::new(MemTable::try_new(schema, vec![batches])?))?
            .aggregate(keys.clone(), numbers)?;
        if !keys.is_empty() {
            frame = frame
                .limit(0, Some(MAX_GROUPS + 1))?
                .sort(keys.into_iter().map(|key| key.sort(true, false)).collect())?;
        }
        let wanted: SchemaRef = Arc::new(Schema::clone(frame.schema().as_arrow()));
        let groups = self.inner.sql_threads.run(frame.collect()).await??;
        let schema = groups.first().map_or(wanted, RecordBatch::schema);
        let all = concat_batches(&schema, &groups)?;
        if all.num_rows() > MAX_GROUPS {
            return Err(QueryError::InvalidParameter(format!(
                "group by {} makes more than {MAX_GROUPS} groups",
                group_by.join(", ")
            )));
        }
        let first = rows.offset.min(all.num_rows());
        let left = all.num_rows() - first;
        Ok(all.slice(first, rows.limit.unwrap_or(left).min(left)))
    }
}

fn expression(aggregate: &Aggregate) -> Expr {
    let column = aggregate.column.as_ref().map(ident);
    let expr = match (aggregate.kind, column) {
        (AggregateKind::Count, Some(column)) => count(column),
        (AggregateKind::Sum, Some(column)) => sum(column),
        (AggregateKind::Avg, Some(column)) => avg(column),
        (AggregateKind::Min, Some(column)) => min(column),
        (AggregateKind::Max, Some(column)) => max(column),
        (_, None) => count(lit(1_i64)),
    };
    expr.alias(&aggregate.name)
}

fn check(request: &AggregateRequest) -> Result<()> {
    let schema = request.rows.collection.schema();
    let invalid = |reason: String| Err(QueryError::InvalidParameter(reason));
    for name in &request.group_by {
        match schema.field(name).map(|field| &field.data_type) {
            Some(key) if is_group_key(key) => {}
            Some(other) => {
                return invalid(format!(
                    "group by field '{name}' is {}: unsupported data type for group by",
                    other.name()
                ));
            }
            None => return invalid(format!("group by field '{name}' not found")),
        }
    }
    for Aggregate { kind, column, name } in &request.aggregates {
        let Some(column) = column else {
            if *kind == AggregateKind::Count {
                continue;
            }
            return invalid(format!("aggregate {name} needs a field"));
        };
        let Some(field) = schema.field(column) else {
            return invalid(format!("field '{column}' of aggregate {name} not found"));
        };
        let number = matches!(
            field.data_type,
            DataType::Int8
                | DataType::Int16
                | DataType::Int32
                | DataType::Int64
                | DataType::Float
                | DataType::Double
        );
        let ordered = number || field.data_type.is_text() || field.data_type == DataType::TimestampTz;
        let fits = match kind {
            AggregateKind::Count => !field.data_type.is_vector(),
            AggregateKind::Sum | AggregateKind::Avg => number,
            AggregateKind::Min | AggregateKind::Max => ordered,
        };
        if !fits {
            return invalid(format!(
                "aggregate {name}: field '{column}' is {}, {}",
                field.data_type.name(),
                match kind {
                    AggregateKind::Count => "count takes any field but vectors",
                    AggregateKind::Sum | AggregateKind::Avg => "sum and avg take numbers",
                    AggregateKind::Min | AggregateKind::Max =>
                        "min and max take numbers, VARCHAR and TIMESTAMPTZ",
                }
            ));
        }
    }
    Ok(())
}
