//! Catalogs, databases, tables and keys, from what the session's catalog has.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetTableTypes, CommandGetTables,
};
use datafusion::common::TableReference;
use datafusion::logical_expr::TableType;
use datafusion::prelude::SessionContext;
use elanus_query::{CATALOG, DEFAULT_DATABASE, Engine};
use flight_tonic::Status;

use crate::status;

/// A table of a database, and one that only tells about others.
const TABLE: &str = "TABLE";
const SYSTEM_TABLE: &str = "SYSTEM TABLE";
const VIEW: &str = "VIEW";
/// One that ends with its session.
const TEMPORARY: &str = "LOCAL TEMPORARY";
/// The schema that is in no catalog's list, since it is about all of them.
const INFORMATION_SCHEMA: &str = "information_schema";

/// The schema with the names of catalog and database nullable where the protocol has them so: both of a
/// table, the catalog's of a database, none in the list of catalogs. ADBC checks.
pub(crate) fn nullable_names(schema: &Schema) -> Schema {
    let has = |name: &str| schema.field_with_name(name).is_ok();
    let (of_table, of_database) = (has("table_name"), has("db_schema_name"));
    let fields = schema.fields().iter().map(|field| match field.name().as_str() {
        "catalog_name" => field.as_ref().clone().with_nullable(of_database),
        "db_schema_name" => field.as_ref().clone().with_nullable(of_table),
        _ => field.as_ref().clone(),
    });
    Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone())
}

fn with_nullable_names(batch: Result<RecordBatch, impl Into<Status>>) -> Result<RecordBatch, Status> {
    let batch = batch.map_err(Into::into)?;
    answer(nullable_names(&batch.schema()), batch.columns().to_vec())
}

fn answer(schema: Schema, columns: Vec<ArrayRef>) -> Result<RecordBatch, Status> {
    RecordBatch::try_new(Arc::new(schema), columns)
        .map_err(|e| Status::internal(format!("cannot make the answer: {e}")))
}

pub(crate) fn catalogs(query: CommandGetCatalogs) -> Result<RecordBatch, Status> {
    let mut catalogs = query.into_builder();
    catalogs.append(CATALOG);
    with_nullable_names(catalogs.build())
}

/// Databases, and the schemas that only tell about others.
fn schema_names(session: &SessionContext) -> Vec<String> {
    let catalog = session.catalog(CATALOG);
    let mut names = catalog.map_or_else(Vec::new, |catalog| catalog.schema_names());
    names.push(INFORMATION_SCHEMA.to_string());
    names.sort_unstable();
    names.dedup();
    names
}

pub(crate) fn schemas(engine: &Engine, query: CommandGetDbSchemas) -> Result<RecordBatch, Status> {
    let session = engine.session(DEFAULT_DATABASE).map_err(status::of)?;
    let mut schemas = query.into_builder();
    for name in schema_names(&session) {
        schemas.append(CATALOG, name);
    }
    with_nullable_names(schemas.build())
}

pub(crate) async fn tables(engine: &Engine, query: CommandGetTables) -> Result<RecordBatch, Status> {
    let session = engine.session(DEFAULT_DATABASE).map_err(status::of)?;
    let with_schema = query.include_schema;
    let mut tables = query.into_builder();
    for schema_name in schema_names(&session) {
        let place = TableReference::full(CATALOG, schema_name.as_str(), "");
        // A database that was dropped meanwhile has no tables.
        let Ok(schema) = session.state_ref().read().schema_for_ref(place) else {
            continue;
        };
        let is_database = engine.collections().database(&schema_name).is_ok();
        for name in schema.table_names() {
            let (kind, columns) = match schema.table(&name).await {
                Ok(Some(table)) => (table.table_type(), table.schema()),
                // One that was dropped meanwhile is not listed.
                Ok(None) => continue,
                // One that cannot be planned any more, such as a view of a table that is gone, is there all the same.
                Err(error) => {
                    tracing::debug!(%error, schema_name, name, "a table is listed without its columns");
                    (TableType::View, SchemaRef::new(Schema::empty()))
                }
            };
            let columns = if with_schema {
                columns
            } else {
                SchemaRef::new(Schema::empty())
            };
            let kind = kind_name(kind, is_database);
            tables
                .append(CATALOG, &schema_name, &name, kind, &columns)
                .map_err(Status::from)?;
        }
    }
    with_nullable_names(tables.build())
}

fn kind_name(kind: TableType, is_database: bool) -> &'static str {
    match kind {
        TableType::View if is_database => VIEW,
        TableType::Base if is_database => TABLE,
        TableType::Temporary if is_database => TEMPORARY,
        TableType::View | TableType::Base | TableType::Temporary => SYSTEM_TABLE,
    }
}

pub(crate) fn table_types(query: CommandGetTableTypes) -> Result<RecordBatch, Status> {
    let mut types = query.into_builder();
    for name in [TEMPORARY, SYSTEM_TABLE, TABLE, VIEW] {
        types.append(name);
    }
    types.build().map_err(Status::from)
}

pub(crate) fn primary_key_schema() -> Schema {
    Schema::new(vec![
        Field::new("catalog_name", DataType::Utf8, true),
        Field::new("db_schema_name", DataType::Utf8, true),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("column_name", DataType::Utf8, false),
        Field::new("key_name", DataType::Utf8, true),
        Field::new("key_sequence", DataType::Int32, false),
    ])
}

/// The primary key of one table.
pub(crate) fn primary_keys(engine: &Engine, query: &CommandGetPrimaryKeys) -> Result<RecordBatch, Status> {
    if query
        .catalog
        .as_deref()
        .is_some_and(|name| !name.is_empty() && name != CATALOG)
    {
        return Ok(RecordBatch::new_empty(Arc::new(primary_key_schema())));
    }
    let database = query
        .db_schema
        .as_deref()
        .filter(|name| !name.is_empty())
        .unwrap_or(DEFAULT_DATABASE);
    // Tables that only tell about others have no key.
    let Ok(collection) = engine.collections().collection(database, &query.table) else {
        return Ok(RecordBatch::new_empty(Arc::new(primary_key_schema())));
    };
    let key = collection
        .schema()
        .primary_key()
        .map_err(|e| status::of(e.into()))?
        .name
        .clone();
    let texts = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let columns = vec![
        texts(CATALOG),
        texts(database),
        texts(&query.table),
        texts(&key),
        texts(&format!("{}_pkey", query.table)),
        Arc::new(Int32Array::from(vec![1])) as ArrayRef,
    ];
    answer(primary_key_schema(), columns)
}

pub(crate) fn foreign_key_schema() -> Schema {
    let text = |name: &str, nullable: bool| Field::new(name, DataType::Utf8, nullable);
    Schema::new(vec![
        text("pk_catalog_name", true),
        text("pk_db_schema_name", true),
        text("pk_table_name", false),
        text("pk_column_name", false),
        text("fk_catalog_name", true),
        text("fk_db_schema_name", true),
        text("fk_table_name", false),
        text("fk_column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ])
}

/// Tables have no foreign keys.
pub(crate) fn no_foreign_keys() -> RecordBatch {
    RecordBatch::new_empty(Arc::new(foreign_key_schema()))
}
