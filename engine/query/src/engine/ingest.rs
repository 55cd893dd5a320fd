//! Bulk ingest: a stream of Arrow batches into a table that may be made for it.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Schema, SchemaRef, TimeUnit};
use elanus_collection::{
    Collection, CollectionSchema, CollectionSpec, DataType, Error, Field, SubField, metadata_keys,
};
use elanus_udfs::vector::VectorKind;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};

use super::Engine;
use crate::error::{QueryError, Result};
use crate::sql::types::collection_type;

/// Elements of an ARRAY column made for lists.
const ARRAY_ELEMENTS: u32 = 4_096;
/// Name of the key column that is added when the rows have none.
const ROW_ID: &str = "row_id";

/// Rows on their way into a table.
type Rows = BoxStream<'static, Result<RecordBatch>>;

/// What to do about the table that rows are ingested into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IngestMode {
    /// Make it; it must not be there.
    Create,
    /// Add to it; it must be there.
    Append,
    /// Make it in the place of one that may be there.
    Replace,
    /// Add to it, and make it when it is not there.
    CreateAppend,
}

impl Engine {
    /// Writes all rows as one atomic, durable write, and returns how many there were. Columns are
    /// matched by name; see [`schema_for`] for the table that is made. Rows go to disk while more of
    /// them come; a table that is made for them is empty until all are there.
    ///
    /// # Errors
    /// The first error among `batches`. The table is there and should not be, or the other way round;
    /// rows that do not fit. A table that was made is dropped again, a table that was there is as it was.
    pub async fn ingest(
        &self,
        database: &str,
        table: &str,
        mode: IngestMode,
        schema: SchemaRef,
        batches: impl Stream<Item = Result<RecordBatch>> + Send + 'static,
    ) -> Result<u64> {
        let batches = batches.boxed();
        // A client that goes away does not leave it half done.
        let (engine, database, table) = (self.clone(), database.to_string(), table.to_string());
        let whole = async move {
            engine
                .ingest_whole(&database, &table, mode, schema, batches)
                .await
        };
        tokio::spawn(whole)
            .await
            .map_err(|e| QueryError::Internal(format!("an ingest stopped unexpectedly: {e}")))?
    }

    async fn ingest_whole(
        &self,
        database: &str,
        table: &str,
        mode: IngestMode,
        schema: SchemaRef,
        batches: Rows,
    ) -> Result<u64> {
        let collections = &self.inner.collections;
        let there = match collections.collection(database, table) {
            Ok(collection) => Some(collection),
            Err(Error::CollectionNotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        match (mode, there) {
            (IngestMode::Append, None) => Err(Error::CollectionNotFound {
                database: database.to_string(),
                name: table.to_string(),
            }
            .into()),
            (IngestMode::Create, Some(_)) => Err(Error::CollectionExists {
                database: database.to_string(),
                name: table.to_string(),
            }
            .into()),
            (IngestMode::Append | IngestMode::CreateAppend, Some(collection)) => {
                write(&collection, batches).await
            }
            (IngestMode::Create | IngestMode::CreateAppend | IngestMode::Replace, None) => {
                self.create_filled(database, table, &schema, batches).await
            }
            (IngestMode::Replace, Some(old)) => {
                self.replace(database, table, old.id(), &schema, batches).await
            }
        }
    }

    /// The new table is complete before the old one goes; for a moment between the two there is none.
    async fn replace(
        &self,
        database: &str,
        table: &str,
        old: i64,
        schema: &SchemaRef,
        batches: Rows,
    ) -> Result<u64> {
        let collections = &self.inner.collections;
        let stem: String = table.chars().take(200).collect();
        let draft = format!("{stem}_{old}_{}", collections.oracle().next());
        let rows = self.create_filled(database, &draft, schema, batches).await?;
        // One with aliases is not dropped.
        if let Err(error) = collections.drop_collection(database, table).await {
            collections.drop_collection(database, &draft).await?;
            return Err(error.into());
        }
        let renamed = collections
            .rename_collection(database, &draft, database, table)
            .await;
        renamed.map(|()| rows).map_err(|error| {
            QueryError::Execution(format!(
                "'{table}' was dropped, and its new rows are in '{draft}', which could not be renamed: {error}"
            ))
        })
    }

    async fn create_filled(
        &self,
        database: &str,
        table: &str,
        schema: &SchemaRef,
        batches: Rows,
    ) -> Result<u64> {
        let spec = CollectionSpec {
            schema: schema_for(schema)?,
            shards: 1,
            ..CollectionSpec::default()
        };
        let collections = &self.inner.collections;
        let collection = collections.create_collection(database, table, spec).await?;
        let written = write(&collection, batches).await;
        if written.is_err() {
            collections.drop_collection(database, table).await?;
        }
        written
    }
}

async fn write(collection: &Collection, batches: Rows) -> Result<u64> {
    Ok(collection.insert_all(batches, None).await?.rows)
}

/// The table for rows of an Arrow schema.
///
/// The primary key is the column with the field metadata `elanus.primary_key`, else a column `id` of
/// integers or text; else a column `row_id` is added, whose values the engine assigns. Fixed-size
/// lists of floats or 8-bit integers become vectors, lists of `(index, value)` sparse ones.
///
/// # Errors
/// [`QueryError::Unsupported`] naming the column whose type has no place in a table.
pub(crate) fn schema_for(schema: &Schema) -> Result<CollectionSchema> {
    let marked = |field: &&Arc<ArrowField>| {
        field
            .metadata()
            .get(metadata_keys::PRIMARY_KEY)
            .is_some_and(|value| value == "true")
    };
    let named = |field: &&Arc<ArrowField>| field.name() == "id" && can_be_key(field.data_type());
    let fields = schema.fields();
    let key = fields.iter().find(marked).or_else(|| fields.iter().find(named));
    let mut made = Vec::with_capacity(fields.len() + 1);
    if key.is_none() {
        if schema.index_of(ROW_ID).is_ok() {
            return Err(QueryError::Plan(format!(
                "the rows have no primary key: call an integer or text column 'id', or mark one with the field metadata {}",
                metadata_keys::PRIMARY_KEY
            )));
        }
        made.push(Field::new(ROW_ID, DataType::Int64).primary().auto_id());
    }
    for field in fields {
        let mut column = Field::new(field.name(), column_type(field)?);
        if key.is_some_and(|key| key.name() == field.name()) {
            column.primary_key = true;
            column.data_type = column.data_type.bounded();
            match &column.data_type {
                DataType::VarChar { .. } => {}
                DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
                    column.data_type = DataType::Int64;
                }
                other => {
                    return Err(QueryError::Plan(format!(
                        "column '{}' of type {} cannot be the primary key: allowed are integers and text",
                        field.name(),
                        other.name()
                    )));
                }
            }
        } else {
            column.nullable = field.is_nullable();
        }
        made.push(column);
    }
    Ok(CollectionSchema::new(made))
}

fn can_be_key(data_type: &ArrowType) -> bool {
    match data_type {
        ArrowType::Dictionary(_, value) => can_be_key(value),
        other => other.is_integer() || is_text(other),
    }
}

fn is_text(data_type: &ArrowType) -> bool {
    matches!(
        data_type,
        ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View
    )
}

fn column_type(field: &ArrowField) -> Result<DataType> {
    // Rows that came out of a table have its exact types with them.
    if field.metadata().contains_key(metadata_keys::TYPE) {
        return Ok(Field::from_arrow(field)?.data_type);
    }
    if is_text(field.data_type()) && field.extension_type_name() == Some(metadata_keys::JSON_EXTENSION) {
        return Ok(DataType::Json);
    }
    if field.data_type().is_binary() && field.extension_type_name() == Some(metadata_keys::GEOMETRY_EXTENSION)
    {
        return Ok(DataType::Geometry);
    }
    match VectorKind::of(field) {
        // Bytes without a name may be anything.
        None | Some(VectorKind::Bit(_)) => {}
        Some(kind) => return Ok(collection_type(kind)),
    }
    of_arrow(field.data_type()).ok_or_else(|| {
        QueryError::Unsupported(format!(
            "column '{}' of type {}; a table made from Arrow rows has booleans, integers, floats, text, timestamps, \
             lists of these and of structs of them, fixed-size lists of floats or of 8-bit integers, and sparse vectors",
            field.name(),
            field.data_type()
        ))
    })
}

fn of_arrow(data_type: &ArrowType) -> Option<DataType> {
    Some(match data_type {
        ArrowType::Boolean => DataType::Bool,
        ArrowType::Int8 => DataType::Int8,
        ArrowType::Int16 | ArrowType::UInt8 => DataType::Int16,
        ArrowType::Int32 | ArrowType::UInt16 => DataType::Int32,
        ArrowType::Int64 | ArrowType::UInt32 | ArrowType::UInt64 => DataType::Int64,
        ArrowType::Float16 | ArrowType::Float32 => DataType::Float,
        ArrowType::Float64 => DataType::Double,
        ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => DataType::Text,
        ArrowType::Dictionary(_, value) => of_arrow(value)?,
        ArrowType::Timestamp(
            TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Microsecond | TimeUnit::Nanosecond,
            Some(_),
        ) => DataType::TimestampTz,
        ArrowType::FixedSizeList(item, dim) if item.data_type().is_floating() => DataType::FloatVector {
            dim: u32::try_from(*dim).ok()?,
        },
        ArrowType::List(item) | ArrowType::LargeList(item) if item.data_type().is_nested() => {
            let ArrowType::Struct(children) = item.data_type() else {
                return None;
            };
            let children = children.iter();
            let sub_field =
                |child: &Arc<ArrowField>| Some(SubField::new(child.name(), of_arrow(child.data_type())?));
            DataType::StructArray {
                fields: children.map(sub_field).collect::<Option<_>>()?,
                max_capacity: ARRAY_ELEMENTS,
            }
        }
        ArrowType::List(item) | ArrowType::LargeList(item) => DataType::Array {
            element: Box::new(of_arrow(item.data_type())?.bounded()),
            max_capacity: ARRAY_ELEMENTS,
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_id_becomes_the_key_and_lists_of_floats_vectors() {
        let item = Arc::new(ArrowField::new("item", ArrowType::Float32, true));
        let schema = Schema::new(vec![
            ArrowField::new("id", ArrowType::Int32, true),
            ArrowField::new("v", ArrowType::FixedSizeList(item, 3), true),
        ]);
        let made = schema_for(&schema).unwrap();
        assert_eq!(made.primary_key().unwrap().name, "id");
        assert_eq!(made.primary_key().unwrap().data_type, DataType::Int64);
        assert_eq!(
            made.field("v").unwrap().data_type,
            DataType::FloatVector { dim: 3 }
        );
    }

    #[test]
    fn rows_without_a_key_get_one() {
        let schema = Schema::new(vec![ArrowField::new("x", ArrowType::Float64, true)]);
        let made = schema_for(&schema).unwrap();
        assert!(made.primary_key().unwrap().auto_id);
        let schema = Schema::new(vec![ArrowField::new("d", ArrowType::Decimal128(5, 2), true)]);
        assert!(
            schema_for(&schema)
                .unwrap_err()
                .to_string()
                .contains("column 'd'")
        );
    }
}
