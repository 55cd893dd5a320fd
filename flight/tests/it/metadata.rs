//! What clients ask before they ask for rows.

use arrow::array::{AsArray, RecordBatch};
use arrow_flight::FlightInfo;
use arrow_flight::sql::{
    CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetTables, CommandGetXdbcTypeInfo, SqlInfo,
};

use crate::support::{Client, Server, fetch, texts};

async fn rows(client: &mut Client, info: arrow_flight::error::Result<FlightInfo>) -> Vec<RecordBatch> {
    let info = info.unwrap();
    let announced = info.clone().try_decode_schema().unwrap();
    let batches = fetch(client, info).await.unwrap();
    for batch in &batches {
        assert_eq!(*batch.schema(), announced);
    }
    batches
}

fn column(batches: &[RecordBatch], name: &str) -> Vec<String> {
    let column = |batch: &RecordBatch| batch.project(&[batch.schema().index_of(name).unwrap()]).unwrap();
    texts(&batches.iter().map(column).collect::<Vec<_>>())
}

/// Database, table and kind of every table that is listed.
async fn listed(client: &mut Client, request: CommandGetTables) -> Vec<(String, String, String)> {
    let info = client.get_tables(request).await;
    let batches = rows(client, info).await;
    let databases = column(&batches, "db_schema_name").into_iter();
    let tables = column(&batches, "table_name").into_iter();
    let kinds = column(&batches, "table_type").into_iter();
    databases
        .zip(tables)
        .zip(kinds)
        .map(|((a, b), c)| (a, b, c))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn catalogs_and_databases_are_listed() {
    let server = Server::start().await;
    server.sql("CREATE SCHEMA shop").await;
    let mut client = server.client().await;
    let info = client.get_catalogs().await;
    assert_eq!(column(&rows(&mut client, info).await, "catalog_name"), ["elanus"]);
    let info = client.get_db_schemas(CommandGetDbSchemas::default()).await;
    let all = column(&rows(&mut client, info).await, "db_schema_name");
    assert_eq!(all, ["default", "elanus_catalog", "information_schema", "shop"]);
    let filtered = CommandGetDbSchemas {
        catalog: None,
        db_schema_filter_pattern: Some("sh%".to_string()),
    };
    let info = client.get_db_schemas(filtered).await;
    assert_eq!(column(&rows(&mut client, info).await, "db_schema_name"), ["shop"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_listed_with_their_kind() {
    let server = Server::start().await;
    server.sql("CREATE SCHEMA shop").await;
    server
        .sql("CREATE TABLE docs (id BIGINT PRIMARY KEY, v VECTOR(2))")
        .await;
    server
        .sql("CREATE TABLE shop.items (id BIGINT PRIMARY KEY)")
        .await;
    let mut client = server.client().await;
    let all = listed(&mut client, CommandGetTables::default()).await;
    let of = |database: &str, table: &str| {
        let found = all.iter().find(|(d, t, _)| d == database && t == table);
        found.map(|(_, _, kind)| kind.as_str())
    };
    assert_eq!(of("default", "docs"), Some("TABLE"));
    assert_eq!(of("elanus_catalog", "queries"), Some("SYSTEM TABLE"));
    assert_eq!(of("information_schema", "columns"), Some("SYSTEM TABLE"));
    // Every kind that occurs is one that the list of kinds has.
    let info = client.get_table_types().await;
    let kinds = column(&rows(&mut client, info).await, "table_type");
    assert_eq!(kinds, ["LOCAL TEMPORARY", "SYSTEM TABLE", "TABLE", "VIEW"]);
    assert!(all.iter().all(|(_, _, kind)| kinds.contains(kind)));

    let tables = CommandGetTables {
        table_types: vec!["TABLE".to_string()],
        ..CommandGetTables::default()
    };
    let tables = listed(&mut client, tables).await;
    assert!(tables.iter().all(|(_, _, kind)| kind == "TABLE"));
    assert!(tables.iter().any(|(_, table, _)| table == "docs"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_columns_of_a_table_come_along_when_asked_for() {
    let server = Server::start().await;
    server
        .sql("CREATE TABLE docs (id BIGINT PRIMARY KEY, v VECTOR(2), name VARCHAR(9))")
        .await;
    let mut client = server.client().await;
    let request = CommandGetTables {
        table_name_filter_pattern: Some("doc_".to_string()),
        include_schema: true,
        ..CommandGetTables::default()
    };
    let info = client.get_tables(request).await;
    let batches = rows(&mut client, info).await;
    let schema = batches[0].column_by_name("table_schema").unwrap();
    let bytes = bytes::Bytes::copy_from_slice(schema.as_binary::<i32>().value(0));
    let schema = arrow::datatypes::Schema::try_from(arrow_flight::IpcMessage(bytes)).unwrap();
    let names: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(names, ["id", "v", "name"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_types_and_capabilities_are_told() {
    let server = Server::start().await;
    server
        .sql("CREATE TABLE docs (code VARCHAR(9) PRIMARY KEY, v VECTOR(2))")
        .await;
    let mut client = server.client().await;
    let of = |table: &str| CommandGetPrimaryKeys {
        catalog: None,
        db_schema: None,
        table: table.to_string(),
    };
    let info = client.get_primary_keys(of("docs")).await;
    assert_eq!(column(&rows(&mut client, info).await, "column_name"), ["code"]);
    let info = client.get_primary_keys(of("nowhere")).await;
    assert!(column(&rows(&mut client, info).await, "column_name").is_empty());
    let info = client.get_exported_keys(CommandGetExportedKeys::default()).await;
    assert!(column(&rows(&mut client, info).await, "fk_table_name").is_empty());
    let info = client.get_imported_keys(CommandGetImportedKeys::default()).await;
    assert!(column(&rows(&mut client, info).await, "fk_table_name").is_empty());
    let info = client
        .get_cross_reference(CommandGetCrossReference::default())
        .await;
    assert!(column(&rows(&mut client, info).await, "fk_table_name").is_empty());
    let info = client.get_xdbc_type_info(CommandGetXdbcTypeInfo::default()).await;
    let types = column(&rows(&mut client, info).await, "type_name");
    assert!(types.iter().any(|name| name.contains("VARCHAR")), "{types:?}");
    let info = client.get_sql_info(vec![SqlInfo::FlightSqlServerName]).await;
    assert_eq!(rows(&mut client, info).await[0].num_rows(), 1);
}
