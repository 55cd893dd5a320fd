//! Sessions: DataFusion with our dialect, types, functions, catalog, rules and planner.

use std::sync::Arc;

use datafusion::catalog::{CatalogProviderList, MemoryCatalogProviderList};
use datafusion::config::Dialect;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::optimizer::analyzer::Analyzer;
use datafusion::optimizer::optimizer::Optimizer;
use datafusion::prelude::{SessionConfig, SessionContext};
use elanus_collection::Collections;

use crate::access::SessionUser;
use crate::catalog::{CATALOG, DEFAULT_DATABASE, ElanusCatalog};
use crate::error::Result;
use crate::operators::pause::PauseRule;
use crate::plan::change_rows::ChangeRule;
use crate::plan::lateral::LateralSearchRule;
use crate::plan::milvus_predicate::{MilvusPredicate, MilvusPredicateRule};
use crate::plan::planner::ElanusQueryPlanner;
use crate::plan::rule::AnnSearchRule;
use crate::plan::table_function::SearchCalls;
use crate::plan::values::ValuesRule;
use crate::resources::Resources;
use crate::settings::ElanusSettings;
use crate::sql::arithmetic::CheckedArithmetic;
use crate::sql::dialect::DistanceOperators;
use crate::sql::struct_fields::StructFields;
use crate::sql::types::VectorTypes;
use crate::sql::vector_cast::VectorCastRule;

/// The state that every session starts from; made once, since it registers several hundred functions.
pub(crate) fn base_state(
    collections: Arc<Collections>,
    resources: Arc<Resources>,
    partitions: usize,
    environment: Arc<RuntimeEnv>,
) -> Result<SessionState> {
    let catalogs = MemoryCatalogProviderList::new();
    catalogs.register_catalog(
        CATALOG.to_string(),
        Arc::new(ElanusCatalog::new(
            Arc::clone(&collections),
            Arc::clone(&resources),
        )),
    );
    let functions = elanus_udfs::all();
    let calls = SearchCalls::new(collections, resources, &functions);
    let mut analyzer = Analyzer::new();
    analyzer.rules.insert(0, Arc::new(VectorCastRule));
    analyzer.rules.insert(0, Arc::new(ChangeRule));
    analyzer.rules.insert(0, Arc::new(MilvusPredicateRule));
    analyzer.rules.insert(0, Arc::new(ValuesRule));
    let mut optimizer = Optimizer::new();
    // DataFusion's own rules would take the subqueries apart.
    optimizer.rules.insert(0, Arc::new(LateralSearchRule));
    optimizer.rules.push(Arc::new(AnnSearchRule));
    let mut builder = SessionStateBuilder::new()
        .with_config(config(partitions))
        .with_runtime_env(environment)
        .with_catalog_list(Arc::new(catalogs))
        .with_analyzer_rules(analyzer.rules)
        .with_optimizer_rules(optimizer.rules)
        .with_default_features()
        .with_type_planner(Arc::new(VectorTypes))
        .with_query_planner(Arc::new(ElanusQueryPlanner))
        .with_physical_optimizer_rule(Arc::new(PauseRule));
    builder.expr_planners().get_or_insert_default().splice(
        0..0,
        [
            Arc::new(DistanceOperators::new(functions.clone())) as Arc<dyn ExprPlanner>,
            Arc::new(CheckedArithmetic),
            Arc::new(StructFields),
        ],
    );
    // DataFusion's functions of the same name go, with their aliases.
    let registered = builder.scalar_functions().get_or_insert_default();
    registered.retain(|known| functions.iter().all(|ours| ours.name() != known.name()));
    registered.extend(functions);
    registered.push(MilvusPredicate::function());
    let aggregates = builder.aggregate_functions().get_or_insert_default();
    aggregates.retain(|known| known.name() != elanus_udfs::sum::function().name());
    aggregates.push(elanus_udfs::sum::function());
    let mut state = builder.build();
    state.register_relation_planner(Arc::new(calls))?;
    Ok(state)
}

/// A session whose unqualified names are tables of `database`, of a user if there are any.
pub(crate) fn session(base: &SessionState, database: &str, user: Option<SessionUser>) -> SessionContext {
    let mut config = base.config().clone();
    if let Some(user) = user {
        config.set_extension(Arc::new(user));
    }
    config.options_mut().catalog.default_schema = database.to_string();
    let state = SessionStateBuilder::new_from_existing(base.clone())
        .with_session_id(next_session_id())
        .with_config(config)
        .build();
    SessionContext::new_with_state(state)
}

/// Session ids need to differ, not to be unguessable: they appear in logs only.
fn next_session_id() -> String {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    format!(
        "session-{}",
        NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    )
}

fn config(partitions: usize) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, DEFAULT_DATABASE)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(true)
        .with_target_partitions(partitions.max(1))
        .with_option_extension(ElanusSettings::default());
    let options = config.options_mut();
    options.sql_parser.dialect = Dialect::PostgreSQL;
    // Text is Utf8 everywhere in a collection; views would only be cast back.
    options.sql_parser.map_string_types_to_utf8view = false;
    // Row counts of collections are known: a search result of ten rows is not spread over cores.
    options
        .execution
        .use_row_number_estimates_to_optimize_partitioning = true;
    config
}
