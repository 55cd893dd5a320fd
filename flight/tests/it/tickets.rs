//! Tickets: who may read them, how often, how long, and what a damaged one does.

use arrow_flight::{CancelFlightInfoRequest, FlightEndpoint, FlightInfo, RenewFlightEndpointRequest, Ticket};
use flight_prost::Message;
use flight_tonic::Code;
use futures::TryStreamExt;

use crate::support::{Server, action, fetch, get, ints, query, refused};

const SQL: &str = "SELECT id FROM t WHERE n < 5 ORDER BY id";

/// A result in several parts: rows of a segment, and rows written after it.
async fn in_parts(server: &Server) -> FlightInfo {
    server.numbers(9_000).await;
    server.sql("CREATE INDEX ON t (n)").await;
    server
        .sql("INSERT INTO t SELECT value, (value % 10)::int FROM generate_series(9000, 11999)")
        .await;
    let mut client = server.client().await;
    let info = client
        .execute("SELECT id FROM t WHERE n < 5".to_string(), None)
        .await
        .unwrap();
    assert!(info.endpoint.len() > 1, "{} parts", info.endpoint.len());
    info
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_read_by_another_connection_after_its_own_is_closed() {
    let server = Server::start().await;
    server.numbers(100).await;
    let mut client = server.client().await;
    // What the session says goes along.
    query(&mut client, "SET elanus.exact = true").await.unwrap();
    let info = client.execute(SQL.to_string(), None).await.unwrap();
    drop(client);
    for _ in 0..3 {
        let mut other = server.client().await;
        let rows = fetch(&mut other, info.clone()).await.unwrap();
        assert_eq!(ints(&rows).len(), 50);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_of_one_moment_and_read_in_any_order_more_than_once() {
    let server = Server::start().await;
    let info = in_parts(&server).await;
    server.sql("DELETE FROM t WHERE id < 6000").await;
    for _ in 0..2 {
        let mut found = Vec::new();
        for endpoint in info.endpoint.iter().rev() {
            let mut client = server.client().await;
            let ticket = endpoint.ticket.clone().unwrap();
            found.extend(ints(&get(&mut client, ticket).await.unwrap()));
        }
        found.sort_unstable();
        assert!(found.into_iter().eq((0..12_000).filter(|id| id % 10 < 5)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_renewed_until_it_is_gone() {
    let server = Server::start().await;
    let info = in_parts(&server).await;
    let mut plain = server.plain().await;
    let renew = |endpoint: &FlightEndpoint| {
        let request = RenewFlightEndpointRequest {
            endpoint: Some(endpoint.clone()),
        };
        action("RenewFlightEndpoint", &request)
    };
    let endpoint = &info.endpoint[0];
    let answer = plain.do_action(renew(endpoint)).await.unwrap().into_inner();
    let answer: Vec<_> = answer.try_collect().await.unwrap();
    let renewed = FlightEndpoint::decode(&*answer[0].body).unwrap();
    assert_eq!(renewed.ticket, endpoint.ticket);
    let seconds = |endpoint: &FlightEndpoint| endpoint.expiration_time.unwrap().seconds;
    assert!(seconds(&renewed) >= seconds(endpoint));

    let cancel = CancelFlightInfoRequest::new(info.clone());
    plain
        .do_action(action("CancelFlightInfo", &cancel))
        .await
        .unwrap();
    refused(
        plain.do_action(renew(endpoint)).await,
        Code::NotFound,
        "the result has expired: run the statement again",
    );
    let empty = RenewFlightEndpointRequest { endpoint: None };
    refused(
        plain.do_action(action("RenewFlightEndpoint", &empty)).await,
        Code::InvalidArgument,
        "the endpoint to renew is missing",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_of_another_server_is_computed_when_it_says_all_and_expired_when_not() {
    let (server, other) = (Server::start().await, Server::start().await);
    let parts = in_parts(&server).await;
    let mut theirs = other.client().await;
    let ticket = parts.endpoint[0].ticket.clone().unwrap();
    refused(
        get(&mut theirs, ticket).await,
        Code::NotFound,
        "the result has expired: run the statement again",
    );
    let mut client = server.client().await;
    let one = client.execute(SQL.to_string(), None).await.unwrap();
    let ticket = one.endpoint[0].ticket.clone().unwrap();
    refused(
        get(&mut theirs, ticket.clone()).await,
        Code::InvalidArgument,
        "table 't' not found",
    );
    other.numbers(10).await;
    assert_eq!(ints(&get(&mut theirs, ticket).await.unwrap()), [0, 1, 2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_truncated_ticket_is_an_error() {
    let server = Server::start().await;
    server.numbers(10).await;
    let mut client = server.client().await;
    let info = client.execute(SQL.to_string(), None).await.unwrap();
    let whole = info.endpoint[0].ticket.clone().unwrap().ticket;
    for length in 0..whole.len() {
        let answer = get(&mut client, Ticket::new(whole.slice(..length))).await;
        let error = answer.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{length}: {error:?}");
    }
    assert_eq!(
        ints(&get(&mut client, Ticket::new(whole)).await.unwrap()).len(),
        5
    );
}

/// A flipped bit may still be a statement; it never breaks the server, and it never writes.
#[tokio::test(flavor = "multi_thread")]
async fn no_flipped_bit_of_a_ticket_breaks_the_server() {
    let server = Server::start().await;
    server.numbers(10).await;
    let mut client = server.client().await;
    let info = client.execute(SQL.to_string(), None).await.unwrap();
    let whole = info.endpoint[0].ticket.clone().unwrap().ticket.to_vec();
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        if let Err(error) = get(&mut client, Ticket::new(damaged)).await {
            let is_internal = matches!(error.code(), Code::Internal | Code::Unknown | Code::Unavailable);
            assert!(!is_internal, "bit {bit}: {error:?}");
        }
    }
    assert_eq!(ints(&query(&mut client, SQL).await.unwrap()).len(), 5);
    assert_eq!(server.int("SELECT count(*) FROM t").await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_is_none_is_an_error() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for bytes in [vec![], b"not a ticket".to_vec(), vec![0xff; 100]] {
        let error = get(&mut client, Ticket::new(bytes)).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
    }
}
