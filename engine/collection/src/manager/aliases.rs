//! Aliases: second names of collections.

use super::{Collections, aliases_of, find, named, no_database};
use crate::error::{Error, Result};
use crate::names::{NameKind, validate_name};

impl Collections {
    /// Gives a collection a second name.
    ///
    /// # Errors
    /// A bad name, a name in use, or an unknown collection.
    pub async fn create_alias(&self, database: &str, alias: &str, collection: &str) -> Result<()> {
        validate_name(NameKind::Alias, alias)?;
        let _one = self.ddl.lock().await;
        self.catalog
            .update(|catalog| {
                let id = find(catalog, database, collection)?;
                super::relations::not_a_relation(catalog, database, alias)?;
                if named(catalog, database, alias).is_some() {
                    return Err(Error::AliasCollectionNameConflict {
                        database: database.to_string(),
                        name: alias.to_string(),
                    });
                }
                let aliases = catalog.aliases.entry(database.to_string()).or_default();
                match aliases.get(alias) {
                    Some(other) if *other != id => {
                        let collection = catalog.collections.get(other).map(|entry| entry.name.clone());
                        Err(Error::AliasExists {
                            database: database.to_string(),
                            alias: alias.to_string(),
                            collection: collection.unwrap_or_default(),
                        })
                    }
                    Some(_) => Ok(()),
                    None => {
                        aliases.insert(alias.to_string(), id);
                        Ok(())
                    }
                }
            })
            .await
    }

    /// Takes a second name away; one that is not there is no error.
    ///
    /// # Errors
    /// [`Error::DatabaseNotFound`].
    pub async fn drop_alias(&self, database: &str, alias: &str) -> Result<()> {
        let _one = self.ddl.lock().await;
        self.catalog
            .update(|catalog| {
                if !catalog.databases.contains_key(database) {
                    return Err(no_database(database));
                }
                if let Some(aliases) = catalog.aliases.get_mut(database) {
                    aliases.remove(alias);
                }
                Ok(())
            })
            .await
    }

    /// Moves an alias to another collection in one step.
    ///
    /// # Errors
    /// [`Error::AliasNotFound`], [`Error::CollectionNotFound`].
    pub async fn alter_alias(&self, database: &str, alias: &str, collection: &str) -> Result<()> {
        let _one = self.ddl.lock().await;
        self.catalog
            .update(|catalog| {
                let id = find(catalog, database, collection)?;
                let slot = catalog
                    .aliases
                    .get_mut(database)
                    .and_then(|aliases| aliases.get_mut(alias));
                *slot.ok_or_else(|| no_alias(database, alias))? = id;
                Ok(())
            })
            .await
    }

    /// The name of the collection that an alias stands for.
    ///
    /// # Errors
    /// [`Error::AliasNotFound`].
    pub fn alias(&self, database: &str, alias: &str) -> Result<String> {
        let catalog = self.catalog.current();
        let id = catalog
            .aliases
            .get(database)
            .and_then(|aliases| aliases.get(alias));
        id.and_then(|id| catalog.collections.get(id))
            .map(|entry| entry.name.clone())
            .ok_or_else(|| no_alias(database, alias))
    }

    /// The aliases of a collection, or of the whole database, sorted.
    ///
    /// # Errors
    /// [`Error::DatabaseNotFound`], [`Error::CollectionNotFound`].
    pub fn aliases(&self, database: &str, collection: Option<&str>) -> Result<Vec<String>> {
        let catalog = self.catalog.current();
        match collection {
            Some(name) => Ok(aliases_of(&catalog, database, find(&catalog, database, name)?)),
            None if !catalog.databases.contains_key(database) => Err(no_database(database)),
            None => Ok(catalog
                .aliases
                .get(database)
                .map(|aliases| aliases.keys().cloned().collect())
                .unwrap_or_default()),
        }
    }
}

fn no_alias(database: &str, alias: &str) -> Error {
    Error::AliasNotFound {
        database: database.to_string(),
        alias: alias.to_string(),
    }
}
