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

use super::change_rows::ChangeRows;
use super::vector_search::VectorSearch;
use crate::error::external;
use crate::operators::ann_search::{AnnSearchExec, QuerySource};
use crate::operators::change_rows::ChangeRowsExec;
use crate::operators::collection_scan::CollectionScanExec;
use crate::operators::take_rows::TakeRowsExec;
use crate::operators::{group_units, hit_ordering};
use crate::predicate::Predicate;
use crate::search::{SearchSpec, Undefined};
use crate::settings::ElanusSettings;
use crate::table::StatementSnapshots;

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

/// Plans [`VectorSearch`] and [`ChangeRows`].
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
    let scan = match inputs {
        [input] => input.downcast_ref::<CollectionScanExec>(),
        _ => None,
    };
    let Some(scan) = scan else {
        return internal_err!("VectorSearch needs a scan of a collection below it");
    };
    let schema = search.input.schema();
    let output = scan.schema();
    let physical =
        |expr: &Expr, schema: &DFSchema| planner.create_physical_expr(expr, schema, session, context);

    let mut predicates = scan.predicates().to_vec();
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
    let settings = ElanusSettings::of(session.config_options());
    let spec = SearchSpec {
        metric: parts.metric,
        k: search.k,
        params: settings.search_params(search.k),
        exact: settings.exact,
        undefined: Undefined::Last,
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
    let searched = snapshot.schema.field_with_name(&spec.field)?;
    let data_type = elanus_collection::Field::from_arrow(searched)
        .map_err(external)?
        .data_type;
    let groups = group_units(&snapshot.units, session.config().target_partitions());
    let hits: Arc<dyn ExecutionPlan> = Arc::new(AnnSearchExec::new(
        Arc::clone(&collection),
        Arc::clone(&snapshot),
        groups,
        spec,
        data_type,
        query,
        predicates,
        Arc::clone(scan.resources()),
    ));
    let merged = merge(hits, search.k)?;
    Ok(Arc::new(TakeRowsExec::new(
        merged, collection, snapshot, output, order, search.k,
    )))
}

/// The best `k` of all partitions in one, when there is more than one.
fn merge(hits: Arc<dyn ExecutionPlan>, k: usize) -> Result<Arc<dyn ExecutionPlan>> {
    if hits.output_partitioning().partition_count() == 1 {
        return Ok(hits);
    }
    match hit_ordering(false) {
        Some(ordering) => Ok(Arc::new(
            SortPreservingMergeExec::new(ordering, hits).with_fetch(Some(k)),
        )),
        None => Err(external(crate::QueryError::Internal("hits have no order".into()))),
    }
}
