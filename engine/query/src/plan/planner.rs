//! From our logical nodes to operators.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::compute::SortOptions;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result, internal_err, not_impl_err, plan_err};
use datafusion::execution::SessionState;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, PhysicalExpr};
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use elanus_collection::{DataType, Snapshot, split_sub_field_name};
use elanus_index::{SearchParams, Window};

use super::change_rows::ChangeRows;
use super::distance::Distance;
use super::hybrid_search::{Arm, Groups, HybridSearch};
use super::range::Range;
use super::rule::collection_of;
use super::vector_join::{VectorJoin, number_of_rows};
use super::vector_search::VectorSearch;
use crate::error::external;
use crate::fusion::Scoring;
use crate::grouping::GroupSpec;
use crate::operators::ann_search::{AnnSearchExec, QuerySource};
use crate::operators::change_rows::ChangeRowsExec;
use crate::operators::collection_scan::CollectionScanExec;
use crate::operators::fuse::FuseExec;
use crate::operators::matching::Matching;
use crate::operators::rerank::RerankExec;
use crate::operators::take_rows::TakeRowsExec;
use crate::operators::vector_join::{Searched, VectorJoinExec};
use crate::operators::{constant, group_units, hit_ordering};
use crate::plugins::{ReadyPlugin, Searched as PluginInput};
use crate::predicate::Predicate;
use crate::rerank::Reranker;
use crate::search::{MAX_NEIGHBOURS, SearchSpec, Undefined};
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

/// Plans [`VectorSearch`], [`HybridSearch`], [`VectorJoin`] and [`ChangeRows`].
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
        if let Some(hybrid) = node.as_any().downcast_ref::<HybridSearch>() {
            return plan_hybrid(planner, hybrid, inputs, session, context).map(Some);
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

/// What a search reads, and the plan of the rows that it may find, where there is one.
fn scan_and_allowed<'a>(
    search: &str,
    inputs: &'a [Arc<dyn ExecutionPlan>],
) -> Result<(&'a CollectionScanExec, Option<&'a Arc<dyn ExecutionPlan>>)> {
    let (scan, allowed) = match inputs {
        [input] => (input.downcast_ref(), None),
        [input, allowed] => (input.downcast_ref(), Some(allowed)),
        _ => (None, None),
    };
    match scan {
        Some(scan) => Ok((scan, allowed)),
        None => internal_err!("{search} needs a scan of a collection below it"),
    }
}

fn plan_search(
    planner: &dyn PhysicalPlanner,
    search: &VectorSearch,
    inputs: &[Arc<dyn ExecutionPlan>],
    session: &dyn Session,
    context: &PhysicalPlanningContext,
) -> Result<Arc<dyn ExecutionPlan>> {
    let (scan, allowed) = scan_and_allowed("VectorSearch", inputs)?;
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
        predicates.push(predicate(filter, scan, schema, physical)?);
    }
    let parts = search.parts()?;
    let query = physical(&parts.query, &DFSchema::empty())?;
    let distance_of = |expr: &Expr| Distance::of(expr, schema);
    let limit = |limit: &Expr| constant(&physical(limit, &DFSchema::empty())?);
    let within = match Range::of(&search.range, &parts, distance_of, limit)? {
        Range::Window(window) => window,
        // No window of distances: the conditions are filters like others.
        Range::Nothing | Range::Numbers => {
            for condition in &search.range {
                predicates.push(Arc::new(Predicate::from_physical(
                    physical(condition, schema)?,
                    &output,
                    condition.to_string(),
                )?));
            }
            Window::default()
        }
    };
    let field = parts.field();
    let options = search_options(&search.input);
    let settings = ElanusSettings::of(session.config_options());
    let k = search.k;
    let spec = SearchSpec {
        metric: parts.metric,
        k,
        params: SearchParams {
            within,
            ..settings.search_params(options.params, k)
        },
        exact: settings.exact || options.exact,
        undefined: Undefined::Last,
        ties: search.ties,
        elements: false,
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
    let fetch = (!search.ties).then_some(k);
    let merged = hits(scan, spec, query, predicates, allowed.map(Arc::clone), session)?;
    Ok(Arc::new(TakeRowsExec::new(
        merged,
        Arc::clone(scan.collection()),
        Arc::clone(scan.snapshot()),
        output,
        order,
        fetch.unwrap_or(usize::MAX),
    )))
}

/// The `k` groups that a search wants, when it wants groups.
fn group_spec(groups: Option<&Groups>, k: usize, scan: &CollectionScanExec) -> Result<Option<GroupSpec>> {
    let Some(groups) = groups else { return Ok(None) };
    if k.saturating_mul(groups.size) > MAX_NEIGHBOURS {
        return plan_err!(
            "k groups of group_size rows are {MAX_NEIGHBOURS} rows at most, not {k} x {}",
            groups.size
        );
    }
    let keys = groups.grouping().keys(scan.collection().schema());
    Ok(Some(GroupSpec {
        keys: keys.map_err(external)?,
        groups: k,
        size: groups.size,
        fill: groups.fill,
    }))
}

/// The operators that give the hits of one search of a scan, best first in one partition.
fn hits(
    scan: &CollectionScanExec,
    spec: SearchSpec,
    query: Arc<dyn PhysicalExpr>,
    predicates: Vec<Arc<Predicate>>,
    allowed: Option<Arc<dyn ExecutionPlan>>,
    session: &dyn Session,
) -> Result<Arc<dyn ExecutionPlan>> {
    let snapshot = Arc::clone(scan.snapshot());
    let data_type = field_type(&snapshot, &spec.field, spec.elements)?;
    // Groups are known only when all units were searched.
    let partitions = match spec.group {
        Some(_) => 1,
        None => session.config().target_partitions(),
    };
    let groups = group_units(&snapshot.units, partitions);
    let fetch = (!spec.ties).then_some(spec.k);
    let hits = AnnSearchExec::new(
        Arc::clone(scan.collection()),
        snapshot,
        groups,
        spec,
        data_type,
        QuerySource::Expr(query),
        predicates,
        Arc::clone(scan.resources()),
    );
    let hits = match allowed {
        Some(allowed) => hits.among(allowed),
        None => hits,
    };
    merge(Arc::new(hits), fetch)
}

fn plan_hybrid(
    planner: &dyn PhysicalPlanner,
    hybrid: &HybridSearch,
    inputs: &[Arc<dyn ExecutionPlan>],
    session: &dyn Session,
    context: &PhysicalPlanningContext,
) -> Result<Arc<dyn ExecutionPlan>> {
    let (scan, allowed) = scan_and_allowed("HybridSearch", inputs)?;
    let schema = hybrid.input.schema();
    let physical =
        |expr: &Expr, schema: &DFSchema| planner.create_physical_expr(expr, schema, session, context);
    let rows = |k: &Expr| match number_of_rows(k)? {
        Some(k) => Ok(k),
        None => plan_err!("a hybrid search and its searches find 1 to {MAX_NEIGHBOURS} rows, not {k}"),
    };
    let predicate = |filter: &Expr| predicate(filter, scan, schema, physical);
    let wanted = rows(&hybrid.k)?;
    let ready = match &hybrid.rerank {
        Some(rerank) => Some((rerank, rerank.plugin.candidates_for(wanted).map_err(external)?)),
        None => None,
    };
    let mut searched = Vec::with_capacity(hybrid.arms.len());
    let common = hybrid.filter.as_ref().map(predicate).transpose()?;
    let settings = ElanusSettings::of(session.config_options());
    let mut arms = Vec::with_capacity(hybrid.arms.len());
    for arm in &hybrid.arms {
        let Some(parts) = Distance::of(&arm.distance, schema) else {
            return plan_err!("{} is no distance that can be searched for", arm.distance);
        };
        let k = match (&hybrid.fusion, &ready) {
            // The one search finds what the reranker sees.
            (None, Some((_, candidates))) => *candidates,
            (Some(_), _) | (None, None) => rows(&arm.k)?,
        };
        let distance_of = |expr: &Expr| Distance::of(expr, schema);
        let limit = |limit: &Expr| constant(&physical(limit, &DFSchema::empty())?);
        let within = match Range::of(&arm.range, &parts, distance_of, limit)? {
            Range::Window(window) => window,
            Range::Nothing => Window::new(Some(f32::INFINITY), Some(f32::NEG_INFINITY)),
            Range::Numbers => Window::default(),
        };
        let group = group_spec(arm.groups.as_ref(), k, scan)?;
        let k = group.as_ref().map_or(k, |group| k.saturating_mul(group.size));
        let spec = SearchSpec {
            field: parts.field(),
            metric: parts.metric,
            k,
            params: SearchParams {
                within,
                ..settings.search_params(arm.options.params, k)
            },
            exact: settings.exact || arm.options.exact,
            // Groups of rows without a distance come last, as such rows do elsewhere in SQL.
            undefined: match group.is_some() && !parts.elements {
                true => Undefined::Last,
                false => Undefined::Skip,
            },
            ties: false,
            elements: parts.elements,
            group,
        };
        let mut predicates = scan.predicates().to_vec();
        predicates.extend(common.clone());
        predicates.extend(arm.filter.as_ref().map(predicate).transpose()?);
        if spec.elements {
            for filter in predicates.iter().filter_map(|predicate| predicate.elements()) {
                filter.check(&spec.field).map_err(external)?;
            }
        }
        let query = physical(&parts.query, &DFSchema::empty())?;
        let data_type = field_type(scan.snapshot(), &spec.field, spec.elements)?;
        searched.push((
            spec.field.clone(),
            data_type,
            QuerySource::Expr(Arc::clone(&query)),
        ));
        // Each search reads it, and a plan cannot be run by two.
        let allowed = match allowed {
            Some(allowed) => Some(reset_plan_states(Arc::clone(allowed))?),
            None => None,
        };
        arms.push((
            hits(scan, spec, query, predicates, allowed, session)?,
            parts.metric,
        ));
    }
    let metrics: Vec<_> = arms.iter().map(|(_, metric)| *metric).collect();
    let (collection, snapshot) = (scan.collection(), scan.snapshot());
    let rows_of_group = |arm: &Arm| arm.groups.as_ref().map_or(1, |groups| groups.size);
    let wanted = match hybrid.arms.as_slice() {
        [arm] => wanted.saturating_mul(rows_of_group(arm)),
        _ => wanted,
    };
    let fetch = ready.as_ref().map_or(wanted, |(_, candidates)| *candidates);
    let (found, scoring): (Arc<dyn ExecutionPlan>, Scoring) = match &hybrid.fusion {
        Some(fusion) => {
            let (of, at) = (Arc::clone(collection), Arc::clone(snapshot));
            let collapses = hybrid.arms.iter().map(|arm| arm.collapse).collect();
            let fused = FuseExec::new(arms, fusion.clone(), of, at, 1, fetch).collapsing(collapses);
            (Arc::new(fused), fusion.scoring(&metrics))
        }
        None => match <[_; 1]>::try_from(arms) {
            Ok([(arm, metric)]) => (arm, Scoring::Metric(metric)),
            Err(arms) => return internal_err!("{} searches and no fusion", arms.len()),
        },
    };
    let Some((rerank, _)) = ready else {
        return Ok(Arc::new(TakeRowsExec::scored(
            found,
            Arc::clone(collection),
            Arc::clone(snapshot),
            scan.schema(),
            (scoring, hybrid.elements),
            wanted,
        )));
    };
    let text = rerank
        .text
        .as_ref()
        .map(|text| physical(text, &DFSchema::empty()));
    let searched = PluginInput {
        arms: searched,
        text: text.transpose()?,
        limit: wanted,
    };
    let plugin = ReadyPlugin::new(&rerank.plugin, collection.schema(), 1, searched).map_err(external)?;
    let reranker = Reranker::Plugin(Box::new(plugin));
    let after = reranker.scoring(scoring);
    let (of, at) = (Arc::clone(collection), Arc::clone(snapshot));
    let reranked = RerankExec::new(found, reranker, scoring, of, at, 1);
    Ok(Arc::new(TakeRowsExec::ranked(
        Arc::new(reranked),
        Arc::clone(collection),
        Arc::clone(snapshot),
        scan.schema(),
        (after, hybrid.elements),
        wanted,
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
    let distance_of = |expr: &Expr| Distance::with_query(expr, join.right.schema(), |_| true);
    let limit = |limit: &Expr| constant(&physical(limit, &DFSchema::empty())?);
    let mut matching = Matching::default();
    for (ours, theirs) in &join.matching {
        matching.ours.push(physical(ours, join.left.schema())?);
        matching.theirs.push(physical(theirs, join.right.schema())?);
    }
    let within = match Range::of(&join.range, &parts, distance_of, limit)? {
        Range::Window(window) => window,
        Range::Nothing => Window::new(Some(f32::INFINITY), Some(f32::NEG_INFINITY)),
        Range::Numbers if join.range.is_empty() => Window::default(),
        Range::Numbers => {
            return not_impl_err!(
                "a range of distances without an end in a search for each row of another table"
            );
        }
    };
    let k = join.rows_wanted()?;
    let settings = ElanusSettings::of(session.config_options());
    let options = search_options(&join.right);
    let spec = SearchSpec {
        metric: parts.metric,
        k,
        params: SearchParams {
            within,
            ..settings.search_params(options.params, k)
        },
        exact: settings.exact || options.exact,
        undefined: Undefined::Last,
        ties: !order.is_empty(),
        elements: false,
        group: None,
        field: parts.field(),
    };
    let snapshot = Arc::clone(scan.snapshot());
    let searched = Searched {
        collection: Arc::clone(scan.collection()),
        data_type: field_type(&snapshot, &spec.field, false)?,
        snapshot,
        columns,
        predicates,
        matching,
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

/// A filter over the columns of a scan.
fn predicate(
    filter: &Expr,
    scan: &CollectionScanExec,
    schema: &DFSchema,
    physical: impl Fn(&Expr, &DFSchema) -> Result<Arc<dyn PhysicalExpr>>,
) -> Result<Arc<Predicate>> {
    let filter = unqualified(filter.clone().unalias_nested().data)?;
    let has_subquery = filter.exists(|expr| Ok(matches!(expr, Expr::ScalarSubquery(_))))?;
    let predicate = if has_subquery {
        let plain = schema.clone().strip_qualifiers();
        Predicate::from_physical(physical(&filter, &plain)?, &scan.schema(), filter.to_string())?
    } else {
        let selections = &scan.resources().selections;
        Predicate::new(&filter, scan.collection(), selections, physical)?
    };
    Ok(Arc::new(predicate))
}

/// `filter` with the plain names of its columns.
fn unqualified(filter: Expr) -> Result<Expr> {
    let plain = filter.transform_up(|expr| {
        Ok(match expr {
            Expr::Column(column) if column.relation.is_some() => {
                Transformed::yes(Expr::Column(Column::new_unqualified(column.name)))
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(plain.data)
}

/// How the table that is scanned wants to be searched.
fn search_options(scan: &LogicalPlan) -> SearchOptions {
    let table = match scan {
        LogicalPlan::TableScan(scan) => collection_of(scan),
        _ => None,
    };
    table.map(CollectionTable::search).unwrap_or_default()
}

/// The type of what is compared with a query: the vectors of a column, or the lists in its structs, or their `elements`.
fn field_type(snapshot: &Snapshot, name: &str, elements: bool) -> Result<DataType> {
    let (column, sub) = match split_sub_field_name(name) {
        Some((column, sub)) => (column, Some(sub)),
        None => (name, None),
    };
    let field = snapshot.schema.field_with_name(column)?;
    let field = elanus_collection::Field::from_arrow(field).map_err(external)?;
    let Some(sub) = sub else {
        return Ok(field.data_type);
    };
    let Some(sub) = field.sub_fields().iter().find(|field| field.name == sub) else {
        return internal_err!("'{name}' is no field");
    };
    let element = sub.data_type.clone();
    Ok(match elements {
        true => element,
        false => DataType::VectorArray {
            element: Box::new(element),
        },
    })
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
