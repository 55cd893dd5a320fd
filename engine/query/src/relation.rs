//! Views and external tables as tables of DataFusion.
//!
//! The catalog keeps their definitions as SQL text; the plan of a view and the files of an external table are found anew
//! whenever a statement names them. So a view sees its tables as they are now, and the optimizer sees through it.
//!
//! A definition that does not work any more (a table was dropped) makes statements that name it fail, with its name. It
//! must not make the lists of `information_schema` fail, which ask for every table: there it is a table without columns.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::ViewTable;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{DdlStatement, Expr, LogicalPlan, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::parser::Statement;
use elanus_collection::{Collections, Relation, RelationKind};
use sqlparser::ast::{Ident, ObjectName};

use crate::error::{QueryError, Result, external};
use crate::resources::Resources;
use crate::sql::as_of;
use crate::sql::copy::FileFormat as Format;
use crate::sql::parse_one;

/// Views over views, at most.
const MAX_DEPTH: usize = 32;

tokio::task_local! {
    /// How many views deep the planning of a statement is. Absent: somebody lists tables.
    static DEPTH: usize;
}

/// Plans a statement, with tables that are there in name only as errors.
pub(crate) async fn planning<T>(work: impl Future<Output = T>) -> T {
    DEPTH.scope(0, work).await
}

/// The table that a relation is.
///
/// # Errors
/// Within [`planning`], what is wrong with its definition.
pub(crate) async fn table(
    collections: &Collections,
    resources: &Resources,
    relation: &Relation,
) -> DataFusionResult<Arc<dyn TableProvider>> {
    let depth = DEPTH.try_with(|depth| *depth).ok();
    match made(collections, resources, relation, depth.unwrap_or_default()).await {
        Ok(table) => Ok(table),
        Err(error) if depth.is_none() => Ok(Arc::new(Broken {
            kind: relation.kind,
            definition: relation.definition.clone(),
            reason: error.to_string(),
        })),
        Err(error) => Err(external(error)),
    }
}

async fn made(
    collections: &Collections,
    resources: &Resources,
    relation: &Relation,
    depth: usize,
) -> Result<Arc<dyn TableProvider>> {
    let named = |error| about(relation, error);
    if depth >= MAX_DEPTH {
        return Err(named(QueryError::Plan(format!(
            "views are more than {MAX_DEPTH} deep in each other"
        ))));
    }
    let state = state_in(resources.planner()?.as_ref(), &relation.search_database);
    let statement = parse_one(&relation.definition).map_err(named)?;
    match relation.kind {
        RelationKind::View => {
            let past = as_of::open(collections, &relation.search_database, &statement).await;
            let _held = past.map_err(named)?;
            // Whoever lists tables has named no function that would have been loaded before.
            let definition = || vec![relation.definition.clone()];
            resources.plugins.make_ready(collections, definition).await;
            let state = resources
                .plugins
                .with_functions(collections, state)
                .map_err(named)?;
            let plan = DEPTH.scope(depth + 1, state.statement_to_plan(statement));
            let plan = Box::pin(plan).await.map_err(|error| named(error.into()))?;
            Ok(Arc::new(ViewTable::new(plan, Some(relation.definition.clone()))))
        }
        RelationKind::External => files(resources, &state, statement, &relation.definition)
            .await
            .map_err(named),
    }
}

/// The error with the name of the view or table whose definition it is in.
fn about(relation: &Relation, error: QueryError) -> QueryError {
    let what = match relation.kind {
        RelationKind::View => "view",
        RelationKind::External => "external table",
    };
    let name = &relation.name;
    match error {
        QueryError::Unsupported(text) => QueryError::Unsupported(format!("{text} ({what} '{name}')")),
        QueryError::InvalidParameter(text) => {
            QueryError::InvalidParameter(format!("{what} '{name}': {text}"))
        }
        // Its own catalog is no news.
        error => QueryError::Plan(format!(
            "{what} '{name}': {}",
            error.to_string().replace("'elanus.", "'")
        )),
    }
}

/// The state that plans in another database.
pub(crate) fn state_in(base: &SessionState, database: &str) -> SessionState {
    let mut config = base.config().clone();
    config.options_mut().catalog.default_schema = database.to_string();
    SessionStateBuilder::new_from_existing(base.clone())
        .with_config(config)
        .build()
}

/// The files of a `CREATE EXTERNAL TABLE`, as they are now.
async fn files(
    resources: &Resources,
    state: &SessionState,
    statement: Statement,
    definition: &str,
) -> Result<Arc<dyn TableProvider>> {
    let mut statement = statement;
    if let Statement::CreateExternalTable(create) = &mut statement {
        // The planner looks up every name in a statement: its own would lead here again. No table has a blank in its.
        create.name = ObjectName::from(vec![Ident::with_quote('"', "its files")]);
    }
    let plan = state.statement_to_plan(statement).await?;
    let LogicalPlan::Ddl(DdlStatement::CreateExternalTable(create)) = plan else {
        return Err(QueryError::Internal(
            "the definition of an external table is another statement".into(),
        ));
    };
    let format = Format::named(&create.file_type)?;
    let mut paths = Vec::new();
    for location in &create.locations {
        let is_source = |path: &Path| Format::of_name(path) == Some(format);
        for path in resources.files.sources(location, is_source)? {
            paths.push(url_of(&path)?);
        }
    }
    let factory = state
        .get_file_format_factory(&create.file_type)
        .ok_or_else(|| QueryError::Internal(format!("no reader for {} files", create.file_type)))?;
    let reader: Arc<dyn FileFormat> = factory.create(state, &create.options)?;
    let options = ListingOptions::new(reader).with_file_extension("");
    let config = ListingTableConfig::new_with_multi_paths(paths).with_listing_options(options);
    let declared = create.schema.inner();
    let config = if declared.fields().is_empty() {
        config.infer_schema(state).await?
    } else {
        config.with_schema(Arc::clone(declared))
    };
    let table = ListingTable::try_new(config)?.with_definition(Some(definition.to_string()));
    Ok(Arc::new(table))
}

/// A path as a URL, so that no character of it means anything else.
fn url_of(path: &Path) -> Result<ListingTableUrl> {
    let text = path.to_str().ok_or_else(|| {
        QueryError::Unsupported(format!("the file name {}, which is not UTF-8", path.display()))
    })?;
    let mut url = String::from("file://");
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(ListingTableUrl::parse(url)?)
}

/// A relation whose definition does not work now.
#[derive(Debug)]
struct Broken {
    kind: RelationKind,
    definition: String,
    reason: String,
}

#[async_trait]
impl TableProvider for Broken {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::empty())
    }

    fn table_type(&self) -> TableType {
        match self.kind {
            RelationKind::View => TableType::View,
            RelationKind::External => TableType::Base,
        }
    }

    fn get_table_definition(&self) -> Option<&str> {
        Some(&self.definition)
    }

    async fn scan(
        &self,
        _: &dyn Session,
        _: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Err(DataFusionError::Plan(self.reason.clone()))
    }
}
