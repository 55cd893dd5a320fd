//! `VACUUM [t]`: flush, merge and collect garbage now instead of some time later, and say what that gave.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use elanus_collection::{Collection, Error};
use sqlparser::ast::{ObjectName, VacuumStatement};

use super::Router;
use crate::error::{QueryError, Result};
use crate::request::SqlOutput;

/// A row for each table.
pub(super) fn schema() -> SchemaRef {
    let count = |name: &str| Field::new(name, DataType::UInt64, false);
    Arc::new(Schema::new(vec![
        Field::new("table", DataType::Utf8, false),
        count("segments_before"),
        count("segments_after"),
        count("deleted_rows_dropped"),
        Field::new("bytes_reclaimed", DataType::Int64, false),
    ]))
}

/// What a table takes.
struct Size {
    segments: u64,
    deleted: u64,
    bytes: u64,
}

impl Size {
    fn of(collection: &Collection) -> Self {
        let snapshot = collection.snapshot();
        let units = || snapshot.units.iter();
        Self {
            segments: units().filter(|unit| unit.sealed()).count() as u64,
            deleted: units()
                .map(|unit| u64::from(unit.rows()) - unit.live_rows())
                .sum(),
            bytes: units().map(|unit| unit.bytes()).sum(),
        }
    }
}

impl Router<'_> {
    /// Vacuums one table, or every table of the database.
    pub(super) async fn vacuum(&self, vacuum: &VacuumStatement) -> Result<SqlOutput> {
        let refused = [
            (
                vacuum.full,
                "FULL; a VACUUM always rewrites what has deleted rows",
            ),
            (vacuum.sort_only, "SORT ONLY"),
            (vacuum.delete_only, "DELETE ONLY"),
            (vacuum.reindex, "REINDEX"),
            (vacuum.recluster, "RECLUSTER"),
            (vacuum.threshold.is_some(), "TO .. PERCENT"),
            (vacuum.boost, "BOOST"),
        ];
        if let Some((_, clause)) = refused.iter().find(|(given, _)| *given) {
            return Err(QueryError::Unsupported(format!("VACUUM {clause}")));
        }
        let collections = self.one_or_all(vacuum.table_name.as_ref())?;
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for collection in &collections {
            // A flush leaves out what was deleted in memory, and what is in memory has no size on disk before it.
            let deleted = Size::of(collection).deleted;
            collection.flush().await?;
            before.push(Size {
                deleted,
                ..Size::of(collection)
            });
            collection.compact().await?;
            collection.settle().await?;
            after.push(Size::of(collection));
        }
        let sizes = || before.iter().zip(&after);
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let rows = RecordBatch::try_new(
            schema(),
            vec![
                Arc::new(
                    collections
                        .iter()
                        .map(|table| Some(table.name()))
                        .collect::<StringArray>(),
                ),
                Arc::new(
                    before
                        .iter()
                        .map(|size| Some(size.segments))
                        .collect::<UInt64Array>(),
                ),
                Arc::new(
                    after
                        .iter()
                        .map(|size| Some(size.segments))
                        .collect::<UInt64Array>(),
                ),
                Arc::new(
                    sizes()
                        .map(|(before, after)| Some(before.deleted.saturating_sub(after.deleted)))
                        .collect::<UInt64Array>(),
                ),
                Arc::new(
                    sizes()
                        .map(|(before, after)| Some(signed(before.bytes) - signed(after.bytes)))
                        .collect::<Int64Array>(),
                ),
            ],
        )?;
        Ok(SqlOutput::rows(rows))
    }

    /// The table of this name, or all of the database.
    pub(super) fn one_or_all(&self, name: Option<&ObjectName>) -> Result<Vec<Arc<Collection>>> {
        match name {
            Some(name) => {
                let (database, table) = self.written_table(name)?;
                match self.collections.collection(&database, &table) {
                    Ok(collection) => Ok(vec![collection]),
                    Err(Error::CollectionNotFound { .. }) => Err(self.unknown_table(&database, &table)),
                    Err(error) => Err(error.into()),
                }
            }
            None => Ok(self.collections.list(&self.database())?),
        }
    }
}
