//! The calls, one by one, and those that are refused.

use arrow::datatypes::Schema;
use arrow_flight::sql::{
    ActionEndTransactionRequest, CommandStatementSubstraitPlan, CommandStatementUpdate, ProstMessageExt,
};
use arrow_flight::{Criteria, Empty, FlightData, FlightDescriptor, IpcMessage};
use flight_prost::Message;
use flight_tonic::Code;
use futures::TryStreamExt;

use crate::support::{Server, action, fetch, ints, query, refused, statement, status, texts, update};

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_takes_any_name_and_gives_a_token() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.handshake("somebody", "anything").await.unwrap();
    assert!(client.token().is_some());
    assert_eq!(ints(&query(&mut client, "SELECT 1").await.unwrap()), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_announced_with_its_schema_and_fetched() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let info = client
        .execute("SELECT 1 AS one, 'a' AS letter".to_string(), None)
        .await
        .unwrap();
    let schema = info.clone().try_decode_schema().unwrap();
    let batches = fetch(&mut client, info).await.unwrap();
    assert_eq!(*batches[0].schema(), schema);
    assert_eq!(ints(&batches), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn schema_and_poll_say_what_flight_info_says() {
    let server = Server::start().await;
    let mut plain = server.plain().await;
    let info = plain
        .get_flight_info(statement("SELECT 1 AS one"))
        .await
        .unwrap()
        .into_inner();
    let schema = plain.get_schema(statement("SELECT 1 AS one")).await.unwrap();
    let asked = Schema::try_from(IpcMessage(schema.into_inner().schema)).unwrap();
    assert_eq!(asked, info.try_decode_schema().unwrap());
    let poll = plain
        .poll_flight_info(statement("SELECT 1 AS one"))
        .await
        .unwrap()
        .into_inner();
    // Nothing left to poll for.
    assert!(poll.flight_descriptor.is_none());
    let mut client = server.client().await;
    assert_eq!(ints(&fetch(&mut client, poll.info.unwrap()).await.unwrap()), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_for_a_schema_does_not_run_the_statement() {
    let server = Server::start().await;
    server.numbers(3).await;
    let mut plain = server.plain().await;
    plain.get_schema(statement("DELETE FROM t")).await.unwrap();
    assert_eq!(server.int("SELECT count(*) FROM t").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_tell_their_rows_and_have_happened() {
    let server = Server::start().await;
    let mut client = server.client().await;
    assert_eq!(
        update(&mut client, "CREATE TABLE t (id BIGINT PRIMARY KEY)")
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        update(&mut client, "INSERT INTO t VALUES (1), (2), (3)")
            .await
            .unwrap(),
        3
    );
    // A definition or a change sent as a query has run when it is announced.
    client
        .execute("DELETE FROM t WHERE id = 1".to_string(), None)
        .await
        .unwrap();
    assert_eq!(server.int("SELECT count(*) FROM t").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_that_are_listed_are_there() {
    let server = Server::start().await;
    let mut plain = server.plain().await;
    let listed: Vec<_> = plain
        .list_actions(Empty {})
        .await
        .unwrap()
        .into_inner()
        .try_collect()
        .await
        .unwrap();
    let mut names: Vec<_> = listed.iter().map(|action| action.r#type.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "CancelFlightInfo",
            "CancelQuery",
            "ClosePreparedStatement",
            "CloseSession",
            "CreatePreparedStatement",
            "GetSessionOptions",
            "RenewFlightEndpoint",
            "SetSessionOptions",
            "elanus.UploadPlugin",
        ]
    );
    for name in names {
        let answer = plain.do_action(action(name, &Empty {})).await;
        let code = answer.err().map(|error| error.code());
        assert_ne!(code, Some(Code::Unimplemented), "{name}");
    }
    let flights = plain
        .list_flights(Criteria::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(flights.try_collect::<Vec<_>>().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_are_refused_by_name() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let text = "not supported: transactions of several statements";
    refused(
        client.begin_transaction().await.map_err(status),
        Code::Unimplemented,
        text,
    );
    let id = Some(bytes::Bytes::from_static(b"tx"));
    refused(
        client
            .execute("SELECT 1".to_string(), id.clone())
            .await
            .map_err(status),
        Code::Unimplemented,
        text,
    );
    refused(
        client
            .execute_update("CREATE TABLE x (id BIGINT PRIMARY KEY)".to_string(), id)
            .await
            .map_err(status),
        Code::Unimplemented,
        text,
    );
    let mut plain = server.plain().await;
    for name in ["EndTransaction", "BeginSavepoint", "EndSavepoint"] {
        let answer = plain.do_action(action(name, &ActionEndTransactionRequest::default()));
        refused(answer.await, Code::Unimplemented, text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn substrait_and_exchange_are_refused_by_name() {
    let server = Server::start().await;
    let mut plain = server.plain().await;
    let command = CommandStatementSubstraitPlan::default().as_any().encode_to_vec();
    let text = "not supported: Substrait plans; send SQL";
    let info = plain
        .get_flight_info(FlightDescriptor::new_cmd(command.clone()))
        .await;
    refused(info, Code::Unimplemented, text);
    let upload = FlightData::new().with_descriptor(FlightDescriptor::new_cmd(command));
    let put = plain.do_put(futures::stream::iter([upload])).await;
    refused(put, Code::Unimplemented, text);
    let action = plain.do_action(action("CreatePreparedSubstraitPlan", &Empty {}));
    refused(action.await, Code::Unimplemented, text);
    let exchange = plain
        .do_exchange(futures::stream::iter([FlightData::new()]))
        .await;
    refused(exchange, Code::Unimplemented, "not supported: DoExchange");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_command_are_an_error_and_the_connection_lives_on() {
    let server = Server::start().await;
    let mut plain = server.plain().await;
    let garbage = FlightDescriptor::new_cmd(vec![0xff; 40]);
    assert!(plain.get_flight_info(garbage.clone()).await.is_err());
    assert!(plain.get_schema(garbage.clone()).await.is_err());
    let path = FlightDescriptor::new_path(vec!["table".to_string()]);
    assert!(plain.get_flight_info(path).await.is_err());
    let upload = FlightData::new().with_descriptor(garbage);
    assert!(plain.do_put(futures::stream::iter([upload])).await.is_err());
    refused(
        plain.do_put(futures::stream::iter([FlightData::new()])).await,
        Code::InvalidArgument,
        "names what it is for in its first message",
    );
    assert!(plain.do_action(action("Nonsense", &Empty {})).await.is_err());
    assert!(plain.get_flight_info(statement("SELECT 1")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kind_of_a_mistake_is_in_the_code() {
    let server = Server::start().await;
    server.numbers(1).await;
    let mut client = server.client().await;
    let cases = [
        ("SELEC 1", Code::InvalidArgument, "Line: 1, Column: 1"),
        ("SELECT m FROM t", Code::InvalidArgument, "column 'm' not found"),
        ("DROP TABLE nowhere", Code::NotFound, "nowhere"),
        ("CREATE TABLE t (id BIGINT PRIMARY KEY)", Code::AlreadyExists, "t"),
        (
            "SELECT id FROM t FOR UPDATE",
            Code::Unimplemented,
            "not supported",
        ),
        ("SELECT 1; SELECT 2", Code::InvalidArgument, "several statements"),
        ("SELECT 1 / 0", Code::InvalidArgument, "divide by zero"),
    ];
    for (sql, code, part) in cases {
        refused(query(&mut client, sql).await, code, part);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_sent_as_an_update_runs_for_its_errors() {
    let server = Server::start().await;
    let mut plain = server.plain().await;
    let command = CommandStatementUpdate {
        query: "SELECT 1 / 0".to_string(),
        transaction_id: None,
    };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let upload = FlightData::new().with_descriptor(descriptor);
    let put = plain.do_put(futures::stream::iter([upload])).await;
    refused(put, Code::InvalidArgument, "divide by zero");
    let mut client = server.client().await;
    assert_eq!(update(&mut client, "SELECT 1").await.unwrap(), -1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_of_many_batches_comes_whole() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let batches = query(
        &mut client,
        "SELECT value FROM generate_series(1, 50000) ORDER BY value",
    )
    .await
    .unwrap();
    assert!(batches.len() > 1);
    assert!(ints(&batches).into_iter().eq(1..=50_000));
    let names = query(&mut client, "SHOW SCHEMAS").await.unwrap();
    assert!(texts(&names).contains(&"default".to_string()));
}
