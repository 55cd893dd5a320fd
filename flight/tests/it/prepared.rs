//! Prepared statements: parameters, and how long a handle is good.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::FlightDescriptor;
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any,
    CommandPreparedStatementQuery, ProstMessageExt,
};
use flight_prost::Message;
use flight_tonic::Code;
use futures::TryStreamExt;

use crate::support::{Server, fetch, ints, refused, status};

fn bound(values: &[i64]) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("p", DataType::Int64, true)]);
    let column = Int64Array::from(values.to_vec());
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(column)]).unwrap()
}

fn with_handle(handle: bytes::Bytes) -> FlightDescriptor {
    let command = CommandPreparedStatementQuery {
        prepared_statement_handle: handle,
    };
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_runs_with_other_values_each_time() {
    let server = Server::start().await;
    server.numbers(100).await;
    let mut client = server.client().await;
    let mut statement = client
        .prepare(
            "SELECT id FROM t WHERE id < $1 AND n = 0 ORDER BY id".to_string(),
            None,
        )
        .await
        .unwrap();
    assert_eq!(statement.dataset_schema().unwrap().field(0).name(), "id");
    assert_eq!(statement.parameter_schema().unwrap().fields().len(), 1);
    for (below, expected) in [(15, vec![0, 10]), (5, vec![0]), (0, vec![])] {
        statement.set_parameters(bound(&[below])).unwrap();
        let info = statement.execute().await.unwrap();
        assert_eq!(ints(&fetch(&mut client, info).await.unwrap()), expected);
    }
    // Rows of values are runs, one after the other.
    statement.set_parameters(bound(&[25, 5])).unwrap();
    let info = statement.execute().await.unwrap();
    assert_eq!(ints(&fetch(&mut client, info).await.unwrap()), [0, 10, 20, 0]);
    statement.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_of_many_rows_of_values_is_one_write() {
    let server = Server::start().await;
    server.numbers(0).await;
    let mut client = server.client().await;
    let mut insert = client
        .prepare("INSERT INTO t VALUES (?, 1)".to_string(), None)
        .await
        .unwrap();
    let ids: Vec<i64> = (0..500).collect();
    insert.set_parameters(bound(&ids)).unwrap();
    assert_eq!(insert.execute_update().await.unwrap(), 500);
    assert_eq!(server.int("SELECT count(DISTINCT id) FROM t").await, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_that_is_closed_or_of_another_session_says_so() {
    let server = Server::start().await;
    let mut plain = server.plain().await;
    let request = ActionCreatePreparedStatementRequest {
        query: "SELECT 1".to_string(),
        transaction_id: None,
    };
    let create = arrow_flight::Action::new("CreatePreparedStatement", request.as_any().encode_to_vec());
    let answer = plain.do_action(create).await.unwrap().into_inner();
    let answer: Vec<_> = answer.try_collect().await.unwrap();
    let made: ActionCreatePreparedStatementResult =
        Any::decode(&*answer[0].body).unwrap().unpack().unwrap().unwrap();
    let handle = made.prepared_statement_handle;

    assert!(plain.get_flight_info(with_handle(handle.clone())).await.is_ok());
    let text = "no such prepared statement in this session";
    let mut other = server.plain().await;
    refused(
        other.get_flight_info(with_handle(handle.clone())).await,
        Code::NotFound,
        text,
    );
    let close = arrow_flight::sql::ActionClosePreparedStatementRequest {
        prepared_statement_handle: handle.clone(),
    };
    let close = arrow_flight::Action::new("ClosePreparedStatement", close.as_any().encode_to_vec());
    let closed = plain.do_action(close).await.unwrap().into_inner();
    closed.try_collect::<Vec<_>>().await.unwrap();
    refused(
        plain.get_flight_info(with_handle(handle)).await,
        Code::NotFound,
        text,
    );
    let garbage = bytes::Bytes::from_static(b"what");
    refused(
        plain.get_flight_info(with_handle(garbage)).await,
        Code::NotFound,
        text,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_planned_again_when_its_table_is_another_one() {
    let server = Server::start().await;
    server.numbers(3).await;
    let mut client = server.client().await;
    let mut statement = client
        .prepare("SELECT count(*) FROM t".to_string(), None)
        .await
        .unwrap();
    let info = statement.execute().await.unwrap();
    assert_eq!(ints(&fetch(&mut client, info).await.unwrap()), [3]);
    server.sql("DROP TABLE t").await;
    refused(
        statement.execute().await.map_err(status),
        Code::InvalidArgument,
        "table 't' not found",
    );
    server.numbers(5).await;
    let info = statement.execute().await.unwrap();
    assert_eq!(ints(&fetch(&mut client, info).await.unwrap()), [5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_are_missing_or_too_many_are_refused() {
    let server = Server::start().await;
    server.numbers(1).await;
    let mut client = server.client().await;
    let mut missing = client
        .prepare("SELECT id FROM t WHERE id = $1".to_string(), None)
        .await
        .unwrap();
    refused(
        missing.execute().await.map_err(status),
        Code::InvalidArgument,
        "1 parameters",
    );
    let mut none = client.prepare("SELECT 1".to_string(), None).await.unwrap();
    none.set_parameters(bound(&[1])).unwrap();
    let error = none.execute().await.map_err(status).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
}
