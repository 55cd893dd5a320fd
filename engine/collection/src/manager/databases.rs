//! Databases: named groups of collections.

use std::collections::BTreeMap;

use elanus_storage::{DEFAULT_DATABASE, DatabaseEntry};

use super::{Collections, no_database, take_id};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::names::{NameKind, validate_name};

/// Most databases of one root.
const MAX_DATABASES: usize = 64;

/// A database.
#[derive(Debug, Clone)]
pub struct DatabaseInfo {
    /// Name.
    pub name: String,
    /// Id, never reused.
    pub id: i64,
    /// When it was made; 0 for the default database.
    pub created_ts: Timestamp,
    /// Properties by name.
    pub properties: BTreeMap<String, String>,
}

impl Collections {
    /// All databases by name.
    pub fn databases(&self) -> Vec<DatabaseInfo> {
        self.catalog
            .current()
            .databases
            .iter()
            .map(|(name, entry)| info(name, entry))
            .collect()
    }

    /// The database of this name.
    ///
    /// # Errors
    /// [`Error::DatabaseNotFound`].
    pub fn database(&self, name: &str) -> Result<DatabaseInfo> {
        let catalog = self.catalog.current();
        let entry = catalog.databases.get(name).ok_or_else(|| no_database(name))?;
        Ok(info(name, entry))
    }

    /// Makes a database.
    ///
    /// # Errors
    /// A bad name, a name in use, or too many databases.
    pub async fn create_database(&self, name: &str, properties: BTreeMap<String, String>) -> Result<()> {
        validate_name(NameKind::Database, name)?;
        let _one = self.ddl.lock().await;
        let created_ts = self.context.oracle.next();
        self.catalog
            .update(|catalog| {
                if catalog.databases.contains_key(name) {
                    return Err(Error::DatabaseExists {
                        database: name.to_string(),
                    });
                }
                if catalog.databases.len() >= MAX_DATABASES {
                    return Err(Error::LimitExceeded(format!(
                        "exceeds max database number: {MAX_DATABASES}, drop one first"
                    )));
                }
                let id = take_id(catalog);
                let entry = DatabaseEntry {
                    id,
                    created_ts,
                    properties: properties.clone(),
                };
                catalog.databases.insert(name.to_string(), entry);
                Ok(())
            })
            .await
    }

    /// Drops an empty database.
    ///
    /// # Errors
    /// The default database, an unknown name, or one that still has collections.
    pub async fn drop_database(&self, name: &str) -> Result<()> {
        if name == DEFAULT_DATABASE {
            return Err(Error::InvalidParameter("can not drop default database".into()));
        }
        let _one = self.ddl.lock().await;
        self.catalog
            .update(|catalog| {
                if !catalog.databases.contains_key(name) {
                    return Err(no_database(name));
                }
                let has_relations = catalog.relations.contains_key(name);
                if has_relations || catalog.collections.values().any(|entry| entry.database == name) {
                    return Err(Error::DatabaseNotEmpty {
                        database: name.to_string(),
                    });
                }
                catalog.databases.remove(name);
                catalog.aliases.remove(name);
                Ok(())
            })
            .await
    }

    /// Sets and removes properties of a database.
    ///
    /// # Errors
    /// [`Error::DatabaseNotFound`].
    pub async fn alter_database(
        &self,
        name: &str,
        set: BTreeMap<String, String>,
        unset: &[String],
    ) -> Result<()> {
        let _one = self.ddl.lock().await;
        self.catalog
            .update(|catalog| {
                let entry = catalog.databases.get_mut(name).ok_or_else(|| no_database(name))?;
                entry.properties.extend(set.clone());
                entry.properties.retain(|key, _| !unset.contains(key));
                Ok(())
            })
            .await
    }
}

fn info(name: &str, entry: &DatabaseEntry) -> DatabaseInfo {
    DatabaseInfo {
        name: name.to_string(),
        id: entry.id,
        created_ts: entry.created_ts,
        properties: entry.properties.clone(),
    }
}
