//! The catalog `elanus`: databases as schemas, collections (and aliases) as tables.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::error::{DataFusionError, Result};
use elanus_collection::{Collections, Error};

use crate::error::external;
use crate::info::InfoSchema;
use crate::resources::Resources;
use crate::table::CollectionTable;

/// Name of the only catalog.
pub const CATALOG: &str = "elanus";
/// Name of the database that is there from the start.
pub const DEFAULT_DATABASE: &str = "default";
/// Name of the schema with tables about collections, segments and indexes.
pub const INFO_SCHEMA: &str = "elanus_catalog";

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
        if name == INFO_SCHEMA {
            return Some(Arc::new(InfoSchema::new(
                Arc::clone(&self.collections.0),
                Arc::clone(&self.resources.running),
            )));
        }
        self.collections.0.database(name).ok()?;
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
        collections.iter().map(|collection| collection.name()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        match self.collections.0.collection(&self.name, name) {
            Ok(collection) => Ok(Some(Arc::new(CollectionTable::new(
                collection,
                Arc::clone(&self.resources),
            )))),
            Err(Error::CollectionNotFound { .. } | Error::DatabaseNotFound { .. }) => Ok(None),
            Err(error) => Err(external(error)),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.collections.0.collection(&self.name, name).is_ok()
    }
}

/// The manager, in a form that can be shown.
pub(crate) struct Handle(pub Arc<Collections>);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Collections")
    }
}
