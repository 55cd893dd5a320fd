//! The catalog `elanus`: databases as schemas; collections (and aliases), views and external tables as tables.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::TableType;
use elanus_collection::access::{Need, Privilege};
use elanus_collection::{Collections, Error, RelationKind};

use crate::access;
use crate::error::external;
use crate::info::InfoSchema;
use crate::relation;
use crate::resources::Resources;
use crate::table::CollectionTable;

/// Name of the only catalog.
pub const CATALOG: &str = "elanus";
/// Name of the database that is there from the start.
pub const DEFAULT_DATABASE: &str = "default";
/// Name of the schema with tables about collections, segments and indexes.
pub const INFO_SCHEMA: &str = "elanus_catalog";
/// A shorter name of the same schema, `elanus.collections`. It is not listed, so that tools that walk the catalog meet
/// each table once, and it gives way to a database of that name, which other doors can make.
pub const INFO_ALIAS: &str = CATALOG;

/// All databases.
#[derive(Debug)]
pub(crate) struct ElanusCatalog {
    collections: Handle,
    resources: Arc<Resources>,
}

impl ElanusCatalog {
    /// The catalog over the databases of `collections`.
    pub fn new(collections: Arc<Collections>, resources: Arc<Resources>) -> Self {
        Self {
            collections: Handle(collections),
            resources,
        }
    }
}

impl CatalogProvider for ElanusCatalog {
    fn schema_names(&self) -> Vec<String> {
        let databases = self
            .collections
            .0
            .databases()
            .into_iter()
            .map(|database| database.name);
        databases
            .chain(std::iter::once(INFO_SCHEMA.to_string()))
            .collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let is_database = self.collections.0.database(name).is_ok();
        if name == INFO_SCHEMA || (name == INFO_ALIAS && !is_database) {
            return Some(Arc::new(InfoSchema::new(
                Arc::clone(&self.collections.0),
                Arc::clone(&self.resources),
            )));
        }
        if !is_database {
            return None;
        }
        Some(Arc::new(DatabaseSchema {
            name: name.to_string(),
            collections: Handle(Arc::clone(&self.collections.0)),
            resources: Arc::clone(&self.resources),
        }))
    }
}

/// One database.
#[derive(Debug)]
struct DatabaseSchema {
    name: String,
    collections: Handle,
    resources: Arc<Resources>,
}

#[async_trait]
impl SchemaProvider for DatabaseSchema {
    fn table_names(&self) -> Vec<String> {
        let collections = self.collections.0.list(&self.name).unwrap_or_default();
        let relations = self.collections.0.relations(&self.name).unwrap_or_default();
        let mut names: Vec<String> = collections.iter().map(|collection| collection.name()).collect();
        names.extend(relations.into_iter().map(|relation| relation.name));
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        match self.collections.0.collection(&self.name, name) {
            Ok(collection) => {
                access::named(&collection);
                let resources = Arc::clone(&self.resources);
                Ok(Some(Arc::new(CollectionTable::new(collection, resources))))
            }
            Err(Error::CollectionNotFound { .. }) => match self.collections.0.relation(&self.name, name) {
                Some(relation) => {
                    if relation.kind == RelationKind::External {
                        access::needed(Need::collection(
                            Privilege::Query,
                            &relation.database,
                            &relation.name,
                        ));
                    }
                    let table = relation::table(&self.collections.0, &self.resources, &relation);
                    table.await.map(Some)
                }
                None => Ok(None),
            },
            Err(Error::DatabaseNotFound { .. }) => Ok(None),
            Err(error) => Err(external(error)),
        }
    }

    /// Without reading the files of an external table.
    async fn table_type(&self, name: &str) -> Result<Option<TableType>, DataFusionError> {
        if let Some(relation) = self.collections.0.relation(&self.name, name) {
            return Ok(Some(match relation.kind {
                RelationKind::View => TableType::View,
                RelationKind::External => TableType::Base,
            }));
        }
        Ok(self.table_exist(name).then_some(TableType::Base))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.collections.0.collection(&self.name, name).is_ok()
            || self.collections.0.relation(&self.name, name).is_some()
    }
}

/// The manager, in a form that can be shown.
pub(crate) struct Handle(pub Arc<Collections>);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Collections")
    }
}
