//! [`CollectionTable`]: a collection as DataFusion sees it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, not_impl_err, project_schema};
use datafusion::datasource::sink::DataSinkExec;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use elanus_collection::{Collection, Error, Snapshot, TIMESTAMP_COLUMN};
use elanus_index::SearchParams;
use parking_lot::Mutex;

use crate::error::external;
use crate::operators::collection_scan::CollectionScanExec;
use crate::operators::insert_sink::CollectionSink;
use crate::plan::change_rows::NewKeys;
use crate::predicate::Predicate;
use crate::resources::Resources;

/// The states that one statement reads: one for each collection, however often it is named.
///
/// Lives as an extension of the session configuration while a statement is planned.
#[derive(Debug, Default)]
pub(crate) struct StatementSnapshots(Mutex<HashMap<i64, Arc<Snapshot>>>);

impl StatementSnapshots {
    fn of(session: &dyn Session, collection: &Collection) -> Arc<Snapshot> {
        match session.config().get_extension::<Self>() {
            // A state of the past has one snapshot alone.
            Some(snapshots) if !collection.is_past() => Arc::clone(
                snapshots
                    .0
                    .lock()
                    .entry(collection.id())
                    .or_insert_with(|| collection.snapshot()),
            ),
            Some(_) | None => collection.snapshot(),
        }
    }
}

/// Column with the place of each row in the state that a statement reads: its unit in the upper 32 bits, its row in the
/// lower ones.
pub(crate) const ADDRESS_COLUMN: &str = "__elanus_row";

/// In the metadata of a table's schema: which of its earlier states it is.
const VERSION_KEY: &str = "elanus.version";

/// How one table of a statement is searched; what it leaves open the session says.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SearchOptions {
    /// Parameters of the index.
    pub params: SearchParams,
    /// Whether indexes are left aside.
    pub exact: bool,
}

/// A collection as a table. Hidden columns are not part of it.
#[derive(Debug, Clone)]
pub(crate) struct CollectionTable {
    collection: Arc<Collection>,
    schema: SchemaRef,
    /// How a statement that is planned with this table adds rows.
    new_keys: NewKeys,
    search: SearchOptions,
    resources: Arc<Resources>,
}

impl CollectionTable {
    /// The table of a collection.
    pub fn new(collection: Arc<Collection>, resources: Arc<Resources>) -> Self {
        let schema = Arc::clone(collection.arrow_schema());
        let schema = match collection.past_version() {
            None => schema,
            // DataFusion takes scans of the same name and schema for the same, whatever they read.
            Some(version) => {
                let mut metadata = schema.metadata().clone();
                metadata.insert(VERSION_KEY.to_string(), version.to_string());
                Arc::new(Schema::new_with_metadata(schema.fields().clone(), metadata))
            }
        };
        Self {
            collection,
            schema,
            new_keys: NewKeys::Any,
            search: SearchOptions::default(),
            resources,
        }
    }

    /// The same table for a statement that adds rows like this.
    pub fn with_new_keys(&self, new_keys: NewKeys) -> Self {
        Self {
            new_keys,
            ..self.clone()
        }
    }

    /// The same table, searched like this.
    pub fn with_search(&self, search: SearchOptions) -> Self {
        Self {
            search,
            ..self.clone()
        }
    }

    /// See [`CollectionTable::with_search`].
    pub fn search(&self) -> SearchOptions {
        self.search
    }

    /// See [`CollectionTable::with_new_keys`].
    pub fn new_keys(&self) -> NewKeys {
        self.new_keys
    }

    /// The same table with the hidden column that names each state of a row, for statements that change rows.
    pub fn with_versions(&self) -> Self {
        let mut fields: Vec<_> = self.schema.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(TIMESTAMP_COLUMN, DataType::UInt64, false)));
        Self {
            schema: Arc::new(Schema::new_with_metadata(fields, self.schema.metadata().clone())),
            ..self.clone()
        }
    }

    /// The same table with the hidden column that names each row's place, for searches among the rows of a plan.
    pub fn with_addresses(&self) -> Self {
        let mut fields: Vec<_> = self.schema.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(ADDRESS_COLUMN, DataType::UInt64, false)));
        Self {
            schema: Arc::new(Schema::new_with_metadata(fields, self.schema.metadata().clone())),
            ..self.clone()
        }
    }

    /// Refuses a plan that was made before the collection was altered: its columns may be others now.
    fn check_current(&self) -> Result<()> {
        if self.collection.is_current() {
            return Ok(());
        }
        Err(external(Error::SchemaChanged(self.collection.name())))
    }

    /// The collection behind the table.
    pub fn collection(&self) -> &Arc<Collection> {
        &self.collection
    }
}

#[async_trait]
impl TableProvider for CollectionTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let pushed = |filter: &&Expr| {
            // A column of an outer query has no value in here.
            if filter.contains_outer() {
                TableProviderFilterPushDown::Unsupported
            } else {
                TableProviderFilterPushDown::Exact
            }
        };
        Ok(filters.iter().map(pushed).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.check_current()?;
        let mut predicates = Vec::with_capacity(1);
        if let Some(filter) = datafusion::logical_expr::utils::conjunction(filters.to_vec()) {
            let selections = &self.resources.selections;
            let predicate = Predicate::new(&filter, &self.collection, selections, |expr, schema| {
                session.create_physical_expr(expr.clone(), schema)
            })?;
            predicates.push(Arc::new(predicate));
        }
        Ok(Arc::new(CollectionScanExec::new(
            Arc::clone(&self.collection),
            StatementSnapshots::of(session, &self.collection),
            project_schema(&self.schema, projection)?,
            predicates,
            limit,
            session.config().target_partitions(),
            Arc::clone(&self.resources),
        )))
    }

    async fn insert_into(
        &self,
        _: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        op: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.check_current()?;
        match op {
            InsertOp::Append => {
                let sink = CollectionSink::new(Arc::clone(&self.collection));
                Ok(Arc::new(DataSinkExec::new(input, Arc::new(sink), None)))
            }
            InsertOp::Overwrite => not_impl_err!("INSERT OVERWRITE"),
            InsertOp::Replace => not_impl_err!("REPLACE INTO"),
        }
    }
}
