//! What is too large is refused, and says so.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_flight::sql::TableDefinitionOptions;
use arrow_flight::sql::{CommandStatementIngest, TableExistsOption, TableNotExistOption};
use elanus_flight::ServeOptions;
use flight_tonic::Code;

use crate::support::{Server, ints, query, refused, status};

async fn small() -> Server {
    let options = ServeOptions {
        message_bytes: 1 << 20,
        ..ServeOptions::default()
    };
    Server::start_with(options).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_over_the_limit_is_refused_and_nothing_is_written() {
    let server = small().await;
    server
        .sql("CREATE TABLE docs (id BIGINT PRIMARY KEY, body TEXT)")
        .await;
    let wide = "x".repeat(1 << 20);
    let batch = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
        ("body", Arc::new(StringArray::from(vec![wide])) as ArrayRef),
    ])
    .unwrap();
    let command = CommandStatementIngest {
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: TableNotExistOption::Fail.into(),
            if_exists: TableExistsOption::Append.into(),
        }),
        table: "docs".to_string(),
        ..CommandStatementIngest::default()
    };
    let mut client = server.client().await;
    let put = client
        .execute_ingest(command, futures::stream::iter([Ok(batch)]))
        .await;
    refused(put.map_err(status), Code::OutOfRange, "message length too large");
    assert_eq!(server.int("SELECT count(*) FROM docs").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_over_the_limit_is_an_error_of_its_result() {
    let server = small().await;
    let mut client = server.client().await;
    let error = query(&mut client, "SELECT repeat('x', 2000000) AS wide")
        .await
        .unwrap_err();
    assert!(error.message().contains("message length too large"), "{error:?}");
    assert_eq!(ints(&query(&mut client, "SELECT 1").await.unwrap()), [1]);
}
