//! `DELETE` as a plan of our own: [`DeleteRows`] over the primary keys of the matching rows.
//!
//! ```text
//!   Dml: op=[Delete] table=[docs]                 DeleteRows: table=docs
//!     Filter: id IN (<subquery>)             =>     Projection: docs.id
//!       TableScan: docs                               Filter: id IN (<subquery>)
//!                                                       TableScan: docs
//! ```
//!
//! DataFusion hands `DELETE` to a table as a list of filters and drops what it cannot express as
//! one (a subquery that has become a join), which would delete too much. As a query for keys,
//! every condition that SELECT understands works, and the optimizer sees it.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchemaRef, Result, TableReference, internal_err};
use datafusion::config::ConfigOptions;
use datafusion::datasource::DefaultTableSource;
use datafusion::logical_expr::{
    DmlStatement, Expr, Extension, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore, WriteOp,
};
use datafusion::optimizer::AnalyzerRule;
use elanus_collection::Collection;

use crate::error::external;
use crate::table::CollectionTable;

/// Deletes the rows whose primary keys the input gives; one row with their count comes out.
#[derive(Clone)]
pub(crate) struct DeleteRows {
    /// Gives the primary keys in its only column.
    pub input: Arc<LogicalPlan>,
    /// What is deleted from.
    pub collection: Arc<Collection>,
    table: TableReference,
    schema: DFSchemaRef,
}

impl fmt::Debug for DeleteRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeleteRows: table={}", self.table)
    }
}

// A collection has no order; its table's name stands for it.
impl PartialEq for DeleteRows {
    fn eq(&self, other: &Self) -> bool {
        self.table == other.table && self.input == other.input
    }
}

impl Eq for DeleteRows {}

impl PartialOrd for DeleteRows {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.table.partial_cmp(&other.table)
    }
}

impl std::hash::Hash for DeleteRows {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.table.hash(state);
        self.input.hash(state);
    }
}

impl UserDefinedLogicalNodeCore for DeleteRows {
    fn name(&self) -> &str {
        "DeleteRows"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeleteRows: table={}", self.table)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let mut inputs = inputs.into_iter();
        let (Some(input), None) = (inputs.next(), inputs.next()) else {
            return internal_err!("DeleteRows has one input");
        };
        Ok(Self {
            input: Arc::new(input),
            ..self.clone()
        })
    }
}

/// Turns every `DELETE` on a collection into a [`DeleteRows`].
#[derive(Debug, Default)]
pub(crate) struct DeleteRule;

impl AnalyzerRule for DeleteRule {
    fn name(&self) -> &str {
        "delete_by_primary_key"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up(|plan| match &plan {
            LogicalPlan::Dml(dml) if dml.op == WriteOp::Delete => match collection_of(dml) {
                Some(collection) => Ok(Transformed::yes(delete_rows(dml, collection)?)),
                None => Ok(Transformed::no(plan)),
            },
            _ => Ok(Transformed::no(plan)),
        })
        .map(|transformed| transformed.data)
    }
}

fn collection_of(dml: &DmlStatement) -> Option<Arc<Collection>> {
    let source = dml.target.downcast_ref::<DefaultTableSource>()?;
    let table = source.table_provider.downcast_ref::<CollectionTable>()?;
    Some(Arc::clone(table.collection()))
}

fn delete_rows(dml: &DmlStatement, collection: Arc<Collection>) -> Result<LogicalPlan> {
    let schema = collection.schema();
    let key = &schema.primary_key().map_err(external)?.name;
    let columns: Vec<Column> = dml
        .input
        .schema()
        .columns()
        .into_iter()
        .filter(|column| &column.name == key)
        .collect();
    let [column] = columns.as_slice() else {
        return internal_err!(
            "DELETE of {} reads {} columns named '{key}'",
            dml.table_name,
            columns.len()
        );
    };
    let keys = LogicalPlanBuilder::new_from_arc(Arc::clone(&dml.input))
        .project([Expr::Column(column.clone())])?
        .build()?;
    let node = DeleteRows {
        input: Arc::new(keys),
        collection,
        table: dml.table_name.clone(),
        schema: Arc::clone(&dml.output_schema),
    };
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
}
