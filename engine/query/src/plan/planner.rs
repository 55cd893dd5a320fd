//! From our logical nodes to operators.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::compute::SortOptions;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, Result, internal_err};
use datafusion::execution::SessionState;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use elanus_collection::{DataType, Snapshot};

use super::change_rows::ChangeRows;
use super::rule::collection_of;
use super::vector_join::VectorJoin;
use super::vector_search::VectorSearch;
use crate::error::external;
use crate::operators::ann_search::{AnnSearchExec, QuerySource};
use crate::operators::change_rows::ChangeRowsExec;
use crate::operators::collection_scan::CollectionScanExec;
use crate::operators::take_rows::TakeRowsExec;
use crate::operators::vector_join::{Searched, VectorJoinExec};
use crate::operators::{group_units, hit_ordering};
use crate::predicate::Predicate;
use crate::search::{SearchSpec, Undefined};
use crate::settings::ElanusSettings;
use crate::table::{CollectionTable, SearchOptions, StatementSnapshots};

/// DataFusion's planner with our nodes added. Every statement sees one state of each collection.
#[derive(Debug, Default)]
pub(crate) struct ElanusQueryPlanner;

#[async_trait]
impl QueryPlanner for ElanusQueryPlanner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(ElanusExtensionPlanner)]);
        match session.as_any().downcast_ref::<SessionState>() {
            // The statement of several runs has brought its own.
            Some(state) if state.config().get_extension::<StatementSnapshots>().is_none() => {
                let mut state = state.clone();
                state
                    .config_mut()
                    .set_extension(Arc::new(StatementSnapshots::default()));
                planner.create_physical_plan(plan, &state).await
            }
            Some(_) | None => planner.create_physical_plan(plan, session).await,
        }
    }
}

/// Plans [`VectorSearch`], [`VectorJoin`] and [`ChangeRows`].
#[derive(Debug)]
struct ElanusExtensionPlanner;

#[async_trait]
impl ExtensionPlanner for ElanusExtensionPlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if let Some(search) = node.as_any().downcast_ref::<VectorSearch>() {
            return plan_search(planner, search, inputs, session, context).map(Some);
        }
        if let Some(join) = node.as_any().downcast_ref::<VectorJoin>() {
            return plan_join(planner, join, inputs, session, context).map(Some);
        }
        if let Some(change) = node.as_any().downcast_ref::<ChangeRows>() {
            let [input] = inputs else {
                return internal_err!("{} has one input", change.effect.node);
            };
            let schema = Arc::clone(UserDefinedLogicalNode::schema(change).inner());
            let (collection, effect) = (Arc::clone(&change.collection), Arc::clone(&change.effect));
            let exec = ChangeRowsExec::new(Arc::clone(input), collection, effect, schema);
            return Ok(Some(Arc::new(exec)));
        }
        Ok(None)
    }
}

fn plan_search(
    planner: &dyn PhysicalPlanner,
    search: &VectorSearch,
    inputs: &[Arc<dyn ExecutionPlan>],
    session: &dyn Session,
    context: &PhysicalPlanningContext,
) -> Result<Arc<dyn ExecutionPlan>> {
    let (scan, allowed) = match inputs {
        [input] => (input.downcast_ref::<CollectionScanExec>(), None),
        [input, allowed] => (input.downcast_ref::<CollectionScanExec>(), Some(allowed)),
        _ => (None, None),
    };
    let Some(scan) = scan else {
        return internal_err!("VectorSearch needs a scan of a collection below it");
    };
    let schema = search.input.schema();
    let output = scan.schema();
    let physical =
        |expr: &Expr, schema: &DFSchema| planner.create_physical_expr(expr, schema, session, context);

    // The rows that are allowed have passed the scan's own filters.
    let mut predicates = match allowed {
        None => scan.predicates().to_vec(),
        Some(_) => Vec::new(),
    };
    for filter in &search.filters {
        let expr = physical(filter, schema)?;
        predicates.push(Arc::new(Predicate::from_physical(
            expr,
            &output,
            filter.to_string(),
        )?));
    }
    let parts = search.parts()?;
    let query = QuerySource::Expr(physical(&parts.query, &DFSchema::empty())?);
    let field = parts.column.name.clone();
    let options = search_options(&search.input);
    let settings = ElanusSettings::of(session.config_options());
    let spec = SearchSpec {
        metric: parts.metric,
        k: search.k,
        params: settings.search_params(options.params, search.k),
        exact: settings.exact || options.exact,
        undefined: Undefined::Last,
        ties: search.ties,
        group: None,
        field,
    };
    let order = PhysicalSortExpr::new(
        physical(&search.distance, schema)?,
        SortOptions {
            descending: parts.descending,
            nulls_first: search.nulls_first,
        },
    );
    let collection = Arc::clone(scan.collection());
    let snapshot = Arc::clone(scan.snapshot());
    let data_type = field_type(&snapshot, &spec.field)?;
    let groups = group_units(&snapshot.units, session.config().target_partitions());
    let hits = AnnSearchExec::new(
        Arc::clone(&collection),
        Arc::clone(&snapshot),
        groups,
        spec,
        data_type,
        query,
        predicates,
        Arc::clone(scan.resources()),
    );
    let hits = match allowed {
        Some(allowed) => hits.among(Arc::clone(allowed)),
        None => hits,
    };
    let fetch = (!search.ties).then_some(search.k);
    let merged = merge(Arc::new(hits), fetch)?;
    Ok(Arc::new(TakeRowsExec::new(
        merged,
        collection,
        snapshot,
        output,
        order,
        fetch.unwrap_or(usize::MAX),
    )))
}

fn plan_join(
    planner: &dyn PhysicalPlanner,
    join: &VectorJoin,
    inputs: &[Arc<dyn ExecutionPlan>],
    session: &dyn Session,
    context: &PhysicalPlanningContext,
) -> Result<Arc<dyn ExecutionPlan>> {
    let (left, scan) = match inputs {
        [left, right] => (left, right.downcast_ref::<CollectionScanExec>()),
        _ => return internal_err!("VectorJoin has two inputs"),
    };
    let Some(scan) = scan else {
        return internal_err!("VectorJoin needs a scan of a collection on its right");
    };
    let physical =
        |expr: &Expr, schema: &DFSchema| planner.create_physical_expr(expr, schema, session, context);
    let columns = scan.schema();
    let mut predicates = scan.predicates().to_vec();
    for filter in &join.filters {
        let expr = physical(filter, join.right.schema())?;
        let predicate = Predicate::from_physical(expr, &columns, filter.to_string())?;
        predicates.push(Arc::new(predicate));
    }
    let parts = join.parts()?;
    let query = physical(&parts.query, join.left.schema())?;
    let schema = UserDefinedLogicalNode::schema(join);
    let mut order = Vec::new();
    if join.keys.len() > 1 {
        for key in &join.keys {
            let options = SortOptions {
                descending: !key.asc,
                nulls_first: key.nulls_first,
            };
            order.push(PhysicalSortExpr::new(physical(&key.expr, schema)?, options));
        }
    }
    let k = join.rows_wanted()?;
    let settings = ElanusSettings::of(session.config_options());
    let options = search_options(&join.right);
    let spec = SearchSpec {
        metric: parts.metric,
        k,
        params: settings.search_params(options.params, k),
        exact: settings.exact || options.exact,
        undefined: Undefined::Last,
        ties: !order.is_empty(),
        group: None,
        field: parts.column.name,
    };
    let snapshot = Arc::clone(scan.snapshot());
    let searched = Searched {
        collection: Arc::clone(scan.collection()),
        data_type: field_type(&snapshot, &spec.field)?,
        snapshot,
        columns,
        predicates,
        spec,
        resources: Arc::clone(scan.resources()),
    };
    Ok(Arc::new(VectorJoinExec::new(
        Arc::clone(left),
        searched,
        query,
        order,
        join.outer,
        Arc::clone(schema.inner()),
    )))
}

/// How the table that is scanned wants to be searched.
fn search_options(scan: &LogicalPlan) -> SearchOptions {
    let table = match scan {
        LogicalPlan::TableScan(scan) => collection_of(scan),
        _ => None,
    };
    table.map(CollectionTable::search).unwrap_or_default()
}

fn field_type(snapshot: &Snapshot, name: &str) -> Result<DataType> {
    let field = snapshot.schema.field_with_name(name)?;
    let field = elanus_collection::Field::from_arrow(field).map_err(external)?;
    Ok(field.data_type)
}

/// The best of all partitions in one, when there is more than one.
fn merge(hits: Arc<dyn ExecutionPlan>, fetch: Option<usize>) -> Result<Arc<dyn ExecutionPlan>> {
    if hits.output_partitioning().partition_count() == 1 {
        return Ok(hits);
    }
    match hit_ordering(false) {
        Some(ordering) => Ok(Arc::new(
            SortPreservingMergeExec::new(ordering, hits).with_fetch(fetch),
        )),
        None => Err(external(crate::QueryError::Internal("hits have no order".into()))),
    }
}
