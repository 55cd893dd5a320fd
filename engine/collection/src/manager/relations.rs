//! Views and external tables: names in a database that stand for a definition, not for rows of their own.
//!
//! They share the names of collections and aliases, so that a name means one thing. What a definition says is the
//! business of the layer that reads SQL; here it is text.

use elanus_storage::{Catalog, RelationEntry, RelationKind};

use super::{Collections, free_name, no_database};
use crate::error::{Error, Result};
use crate::names::{NameKind, validate_name};

/// Most views and external tables of one database.
const MAX_RELATIONS: usize = 4_096;

/// A view or an external table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// The database it is in.
    pub database: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: RelationKind,
    /// SQL text: the query of a view, the whole statement of an external table.
    pub definition: String,
    /// The database that unqualified names in the definition mean.
    pub search_database: String,
}

/// What a new relation says.
#[derive(Debug, Clone)]
pub struct RelationSpec {
    /// What it is.
    pub kind: RelationKind,
    /// SQL text, as in [`Relation`].
    pub definition: String,
    /// The database that unqualified names in the definition mean.
    pub search_database: String,
}

impl Collections {
    /// Makes a view or an external table. `replace` puts it in the place of one of the same kind.
    ///
    /// # Errors
    /// A bad name, a name in use, an unknown database, or too many of them.
    pub async fn create_relation(
        &self,
        database: &str,
        name: &str,
        spec: RelationSpec,
        replace: bool,
    ) -> Result<()> {
        validate_name(NameKind::Collection, name)?;
        let _one = self.ddl.lock().await;
        let created_ts = self.context.oracle.next();
        self.catalog
            .update(|catalog| {
                let there = entry(catalog, database, name).map(|entry| entry.kind);
                if !(replace && there == Some(spec.kind)) {
                    free_name(catalog, database, name)?;
                }
                let relations = catalog.relations.entry(database.to_string()).or_default();
                if there.is_none() && relations.len() >= MAX_RELATIONS {
                    return Err(Error::LimitExceeded(format!(
                        "exceeded the limit of {MAX_RELATIONS} views and external tables of a database"
                    )));
                }
                let entry = RelationEntry {
                    kind: spec.kind,
                    definition: spec.definition.clone(),
                    search_database: spec.search_database.clone(),
                    created_ts,
                };
                relations.insert(name.to_string(), entry);
                Ok(())
            })
            .await
    }

    /// Drops a view or an external table, and says whether it was there.
    ///
    /// # Errors
    /// A storage error.
    pub async fn drop_relation(&self, database: &str, name: &str) -> Result<bool> {
        let _one = self.ddl.lock().await;
        self.catalog
            .update(|catalog| {
                let Some(relations) = catalog.relations.get_mut(database) else {
                    return Ok(false);
                };
                let was_there = relations.remove(name).is_some();
                if relations.is_empty() {
                    catalog.relations.remove(database);
                }
                Ok(was_there)
            })
            .await
    }

    /// The view or external table of this name.
    pub fn relation(&self, database: &str, name: &str) -> Option<Relation> {
        let catalog = self.catalog.current();
        entry(&catalog, database, name).map(|entry| relation(database, name, entry))
    }

    /// All views and external tables of a database, by name.
    ///
    /// # Errors
    /// [`Error::DatabaseNotFound`].
    pub fn relations(&self, database: &str) -> Result<Vec<Relation>> {
        let catalog = self.catalog.current();
        if !catalog.databases.contains_key(database) {
            return Err(no_database(database));
        }
        let relations = catalog.relations.get(database);
        Ok(relations
            .into_iter()
            .flatten()
            .map(|(name, entry)| relation(database, name, entry))
            .collect())
    }

    /// A number that is another one after a relation has been made, replaced or dropped: plans have them inside.
    pub fn relations_stamp(&self) -> u64 {
        let catalog = self.catalog.current();
        let all = catalog
            .relations
            .values()
            .flat_map(|relations| relations.values());
        // A creation time is given once, and one that goes away makes the count smaller.
        all.fold(0u64, |stamp, entry| {
            stamp
                .wrapping_mul(31)
                .wrapping_add(entry.created_ts)
                .wrapping_add(1)
        })
    }
}

/// Refuses a name that a view or an external table has.
pub(super) fn not_a_relation(catalog: &Catalog, database: &str, name: &str) -> Result<()> {
    match entry(catalog, database, name) {
        Some(entry) => Err(Error::InvalidParameter(format!(
            "the name '{name}' in database '{database}' is that of {}",
            match entry.kind {
                RelationKind::View => "a view",
                RelationKind::External => "an external table",
            }
        ))),
        None => Ok(()),
    }
}

fn entry<'a>(catalog: &'a Catalog, database: &str, name: &str) -> Option<&'a RelationEntry> {
    catalog.relations.get(database)?.get(name)
}

fn relation(database: &str, name: &str, entry: &RelationEntry) -> Relation {
    Relation {
        database: database.to_string(),
        name: name.to_string(),
        kind: entry.kind,
        definition: entry.definition.clone(),
        search_database: entry.search_database.clone(),
    }
}
