//! Altering a collection, and finding the handle with its newest schema.

use std::sync::Arc;

use super::Collections;
use crate::alteration::Alteration;
use crate::collection::Collection;
use crate::error::{Error, Result};

/// How often a change is tried on top of another one.
const ATTEMPTS: usize = 16;

impl Collections {
    /// Makes these changes of a collection's schema and properties, all or none, and gives the handle with the result.
    ///
    /// Every row is put into segments first; requests wait meanwhile. Those that were made ready for the old schema are
    /// refused with [`Error::SchemaChanged`].
    ///
    /// # Errors
    /// [`Error::CollectionNotFound`]; what the changes break, see [`Alteration`]; a storage error, after which the schema
    /// is the old one or the new one.
    pub async fn alter_collection(
        &self,
        database: &str,
        name: &str,
        mut changes: Vec<Alteration>,
    ) -> Result<Arc<Collection>> {
        for change in &mut changes {
            if let Alteration::AddField { field, .. } = change {
                self.read_words(field).await?;
            }
        }
        for _ in 1..ATTEMPTS {
            match self.collection(database, name)?.alter(changes.clone()).await {
                // Another change came first: the rules are looked at again.
                Err(Error::SchemaChanged(_)) => {}
                altered => return altered.and_then(|()| self.collection(database, name)),
            }
        }
        Err(Error::SchemaChanged(name.to_string()))
    }

    /// The collection of this id as it is now, or why it cannot be opened.
    pub(super) fn current(&self, id: i64) -> Option<std::result::Result<Arc<Collection>, String>> {
        let found = self.open.read().get(&id).cloned()?;
        if !matches!(&found, Ok(collection) if !collection.is_current()) {
            return Some(found);
        }
        let mut open = self.open.write();
        let found = open.get_mut(&id)?;
        if let Ok(collection) = found {
            while let Some(next) = collection.successor() {
                *collection = next;
            }
        }
        Some(found.clone())
    }
}
