//! Queries that are ended before their end, and readers that are slower than the server.

use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::{
    CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo, flight_service_client,
};
use flight_prost::Message;
use flight_tonic::Code;
use flight_tonic::transport::Endpoint;
use futures::{StreamExt, TryStreamExt};

use crate::support::{ENDLESS, Server, action, fetch, get, ints, query, refused, status};

type Plain = flight_service_client::FlightServiceClient<flight_tonic::transport::Channel>;

async fn cancel(plain: &mut Plain, info: &FlightInfo) -> CancelStatus {
    let request = action("CancelFlightInfo", &CancelFlightInfoRequest::new(info.clone()));
    let answer = plain.do_action(request).await.unwrap().into_inner();
    let answer: Vec<_> = answer.try_collect().await.unwrap();
    CancelFlightInfoResult::decode(&*answer[0].body).unwrap().status()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_cancelled_before_it_is_read_is_not_read_any_more() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let info = client.execute("SELECT 1".to_string(), None).await.unwrap();
    let mut plain = server.plain().await;
    assert_eq!(cancel(&mut plain, &info).await, CancelStatus::Cancelled);
    refused(fetch(&mut client, info).await, Code::Cancelled, "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_was_read_cannot_be_cancelled() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let info = client.execute("SELECT 1".to_string(), None).await.unwrap();
    fetch(&mut client, info.clone()).await.unwrap();
    let mut plain = server.plain().await;
    assert_eq!(cancel(&mut plain, &info).await, CancelStatus::NotCancellable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_query_is_cancelled_and_its_thread_is_free() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let info = client.execute(ENDLESS.to_string(), None).await.unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let reading = tokio::spawn(async move { get(&mut client, ticket).await });
    server.until_running("generate_series(1, 100000)", 1).await;
    let mut plain = server.plain().await;
    assert_eq!(cancel(&mut plain, &info).await, CancelStatus::Cancelled);
    refused(reading.await.unwrap(), Code::Cancelled, "the query was cancelled");
    server.until_running("generate_series(1, 100000)", 0).await;
    // The one SQL thread does other work again.
    let mut other = server.client().await;
    assert_eq!(
        ints(
            &query(&mut other, "SELECT sum(value) FROM generate_series(1, 1000)")
                .await
                .unwrap()
        ),
        [500_500]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_whose_reader_has_gone_ends() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let info = client.execute(ENDLESS.to_string(), None).await.unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let reading = tokio::spawn(async move { get(&mut client, ticket).await });
    server.until_running("generate_series(1, 100000)", 1).await;
    reading.abort();
    server.until_running("generate_series(1, 100000)", 0).await;
    assert_eq!(server.int("SELECT 1").await, 1);
}

/// A server that computed ahead would have ended the query, and hold all of its rows.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_computed_as_they_are_read() {
    let server = Server::start().await;
    let endpoint = Endpoint::new(server.address()).unwrap();
    let small_window = endpoint
        .initial_stream_window_size(64 << 10)
        .initial_connection_window_size(64 << 10);
    let mut client = FlightSqlServiceClient::new(small_window.connect().await.unwrap());
    let sql = "SELECT a.value, repeat('x', 100) AS wide FROM generate_series(1, 400000) a";
    let info = client.execute(sql.to_string(), None).await.unwrap();
    let mut rows = client
        .do_get(info.endpoint[0].ticket.clone().unwrap())
        .await
        .unwrap();
    let mut read = rows.next().await.unwrap().unwrap().num_rows();
    // Other work goes on meanwhile, on the only thread.
    for _ in 0..50 {
        assert_eq!(
            server
                .int("SELECT count(*) FROM generate_series(1, 100000)")
                .await,
            100_000
        );
    }
    server.until_running("repeat", 1).await;
    while let Some(batch) = rows.next().await {
        read += batch.map_err(status).unwrap().num_rows();
    }
    assert_eq!(read, 400_000);
    server.until_running("repeat", 0).await;
}
