//! `DROP TABLE`, `DROP VIEW`, `DROP INDEX`, `DROP SCHEMA`.

use std::sync::Arc;

use elanus_collection::{Collection, Error, Relation, RelationKind};
use sqlparser::ast::{ObjectName, ObjectType};

use super::create_index::plain_name;
use super::{Router, database_name};
use crate::error::{QueryError, Result};

/// What is to be dropped.
enum Found {
    Table(String, String),
    Index(Arc<Collection>, String),
    Database(String),
    /// A view or an external table.
    Relation(Relation),
}

impl Router<'_> {
    /// Drops all of these or, when one of them is not there, none.
    pub(super) async fn drop(
        &self,
        kind: &ObjectType,
        names: &[ObjectName],
        if_exists: bool,
        table: Option<&ObjectName>,
    ) -> Result<()> {
        let mut there = Vec::with_capacity(names.len());
        for name in names {
            there.extend(self.find(kind, name, if_exists, table)?);
        }
        for found in there {
            match found {
                Found::Table(database, name) => self.collections.drop_collection(&database, &name).await?,
                Found::Index(collection, name) => collection.drop_index(&name).await?,
                Found::Database(name) => self.collections.drop_database(&name).await?,
                Found::Relation(relation) => {
                    self.collections
                        .drop_relation(&relation.database, &relation.name)
                        .await?;
                }
            }
        }
        Ok(())
    }

    /// What a DROP names. A drop of what is not there succeeds at the collections; SQL wants an error.
    fn find(
        &self,
        kind: &ObjectType,
        name: &ObjectName,
        if_exists: bool,
        table: Option<&ObjectName>,
    ) -> Result<Option<Found>> {
        let (found, known) = match kind {
            ObjectType::View => return self.find_view(name, if_exists),
            ObjectType::Table => {
                let (database, name) = self.table_name(name)?;
                if let Some(relation) = self.collections.relation(&database, &name) {
                    return match relation.kind {
                        RelationKind::External => Ok(Some(Found::Relation(relation))),
                        RelationKind::View => Err(QueryError::Plan(format!(
                            "'{name}' is a view: drop it with DROP VIEW"
                        ))),
                    };
                }
                let known = self.collections.collection(&database, &name).map(|_| ());
                (Found::Table(database, name), known)
            }
            ObjectType::Index => return self.find_index(name, if_exists, table),
            ObjectType::Schema | ObjectType::Database => {
                let name = database_name(name)?;
                let known = self.collections.database(&name).map(|_| ());
                (Found::Database(name), known)
            }
            other => return Err(QueryError::Unsupported(format!("DROP {other}"))),
        };
        match known {
            Ok(()) => Ok(Some(found)),
            Err(Error::CollectionNotFound { .. } | Error::DatabaseNotFound { .. }) if if_exists => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn find_view(&self, name: &ObjectName, if_exists: bool) -> Result<Option<Found>> {
        let (database, view) = self.table_name(name)?;
        match self.collections.relation(&database, &view) {
            Some(relation) if relation.kind == RelationKind::View => Ok(Some(Found::Relation(relation))),
            Some(_) => Err(QueryError::Plan(format!(
                "'{view}' is an external table: drop it with DROP TABLE"
            ))),
            None if self.collections.collection(&database, &view).is_ok() => Err(QueryError::Plan(format!(
                "'{view}' is a table: drop it with DROP TABLE"
            ))),
            None if if_exists => Ok(None),
            None => Err(QueryError::Plan(format!(
                "there is no view '{view}' in database '{database}'"
            ))),
        }
    }

    /// Index names live in a collection; without `ON table` the database is searched for the name.
    fn find_index(
        &self,
        name: &ObjectName,
        if_exists: bool,
        table: Option<&ObjectName>,
    ) -> Result<Option<Found>> {
        let index = plain_name(name)?;
        let candidates = match table {
            Some(table) => {
                let (database, table) = self.table_name(table)?;
                vec![self.collections.collection(&database, &table)?]
            }
            None => self.collections.list(&self.database())?,
        };
        let owners: Vec<_> = candidates
            .into_iter()
            .filter(|collection| collection.indexes().iter().any(|known| known.name == index))
            .collect();
        match owners.as_slice() {
            [collection] => Ok(Some(Found::Index(Arc::clone(collection), index))),
            [] if if_exists => Ok(None),
            [] => Err(QueryError::Plan(format!(
                "index '{index}' not found in database '{}'",
                self.database()
            ))),
            [first, second, ..] => Err(QueryError::Plan(format!(
                "index '{index}' is on tables '{}' and '{}': say which with DROP INDEX {index} ON table",
                first.name(),
                second.name()
            ))),
        }
    }
}
