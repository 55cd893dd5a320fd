//! Sessions: with the connection, and with a cookie.

use std::time::Duration;

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Action, FlightDescriptor, HandshakeRequest, Ticket};
use elanus_flight::ServeOptions;
use flight_tonic::metadata::MetadataMap;
use flight_tonic::transport::Channel;
use flight_tonic::{Code, Request, Status};
use futures::TryStreamExt;

use crate::support::{Server, get, query, statement, texts, update};

const SHOW: &str = "SHOW elanus.ef_search";

/// A client that keeps the cookie it is given, on a connection of its own.
struct Cookies {
    plain: FlightServiceClient<Channel>,
    cookie: Option<String>,
}

impl Cookies {
    async fn on(server: &Server) -> Self {
        Self {
            plain: server.plain().await,
            cookie: None,
        }
    }

    /// The same session over a new connection.
    async fn reconnected(&self, server: &Server) -> Self {
        Self {
            plain: server.plain().await,
            cookie: self.cookie.clone(),
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(cookie) = &self.cookie {
            let all = format!("other=1; {cookie}; arrow_flight_session_id_2=x");
            request.metadata_mut().insert("cookie", all.parse().unwrap());
        }
        request
    }

    /// Notes what an answer says of the cookie.
    fn learn(&mut self, answer: &MetadataMap) {
        if let Some(set) = answer.get("set-cookie") {
            let set = set.to_str().unwrap();
            assert!(set.starts_with("arrow_flight_session_id="), "{set}");
            self.cookie = (!set.contains("Max-Age=0")).then(|| set.to_string());
        }
    }

    async fn info(&mut self, descriptor: FlightDescriptor) -> Result<Option<Ticket>, Status> {
        let answer = self.plain.get_flight_info(self.request(descriptor)).await;
        match answer {
            Ok(answer) => {
                self.learn(answer.metadata());
                Ok(answer.into_inner().endpoint.remove(0).ticket)
            }
            Err(error) => {
                self.learn(error.metadata());
                Err(error)
            }
        }
    }

    /// The first column of a statement's rows.
    async fn run(&mut self, server: &Server, sql: &str) -> Result<String, Status> {
        let ticket = self.info(statement(sql)).await?;
        let rows = get(&mut server.client().await, ticket.unwrap()).await?;
        let name_and_value = rows.iter().filter(|batch| batch.num_columns() == 2);
        Ok(name_and_value
            .map(|batch| texts(&[batch.project(&[1]).unwrap()]).join(" "))
            .collect())
    }

    async fn act(&mut self, name: &str) {
        let action = Action::new(name, "");
        let answer = self.plain.do_action(self.request(action)).await.unwrap();
        self.learn(answer.metadata());
        answer.into_inner().try_collect::<Vec<_>>().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_cookies_a_session_is_its_connection() {
    let server = Server::start().await;
    let (mut one, mut two) = (server.client().await, server.client().await);
    update(&mut one, "SET elanus.ef_search = 321").await.unwrap();
    let shown = query(&mut one, SHOW).await.unwrap();
    assert_eq!(texts(&[shown[0].project(&[1]).unwrap()]), ["321"]);
    let shown = query(&mut two, SHOW).await.unwrap();
    assert_eq!(texts(&[shown[0].project(&[1]).unwrap()]), ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_comes_with_the_first_thing_that_would_be_lost() {
    let server = Server::start().await;
    server.numbers(1).await;
    let mut client = Cookies::on(&server).await;
    for harmless in [
        "SELECT 1",
        "INSERT INTO t VALUES (7, 7)",
        "DELETE FROM t WHERE id = 7",
        SHOW,
    ] {
        client.run(&server, harmless).await.unwrap();
        assert_eq!(client.cookie, None, "{harmless}");
    }
    for telling in [
        "SET elanus.exact = true",
        "USE \"default\"",
        "RESET elanus.exact",
        "PREPARE p AS SELECT 1",
    ] {
        let mut client = Cookies::on(&server).await;
        client.run(&server, telling).await.unwrap();
        assert!(client.cookie.is_some(), "{telling}");
    }
    let mut client = Cookies::on(&server).await;
    client.act("SetSessionOptions").await;
    assert!(client.cookie.is_some());
    let hello = futures::stream::iter([HandshakeRequest::default()]);
    let mut client = Cookies::on(&server).await;
    let answer = client.plain.handshake(hello).await.unwrap();
    client.learn(answer.metadata());
    assert!(client.cookie.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_database_and_prepared_statements_survive_a_reconnect() {
    let server = Server::start().await;
    server.sql("CREATE SCHEMA shop").await;
    server
        .sql("CREATE TABLE shop.items (id BIGINT PRIMARY KEY)")
        .await;
    let mut client = Cookies::on(&server).await;
    client.run(&server, "SET elanus.ef_search = 321").await.unwrap();
    client.run(&server, "USE shop").await.unwrap();
    client
        .run(&server, "PREPARE counted AS SELECT count(*), 'found' FROM items")
        .await
        .unwrap();
    let mut again = client.reconnected(&server).await;
    drop(client);
    assert_eq!(again.run(&server, SHOW).await.unwrap(), "321");
    assert_eq!(again.run(&server, "EXECUTE counted").await.unwrap(), "found");
    again.run(&server, "SELECT id FROM items").await.unwrap();
    // Two connections at a time are one session.
    let mut third = again.reconnected(&server).await;
    third.run(&server, "SET elanus.ef_search = 5").await.unwrap();
    assert_eq!(again.run(&server, SHOW).await.unwrap(), "5");
    // And no one else's.
    let mut stranger = Cookies::on(&server).await;
    assert_eq!(stranger.run(&server, SHOW).await.unwrap(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_session_takes_its_cookie_back() {
    let server = Server::start().await;
    let mut client = Cookies::on(&server).await;
    client.run(&server, "SET elanus.ef_search = 321").await.unwrap();
    let mut other = client.reconnected(&server).await;
    client.act("CloseSession").await;
    assert_eq!(client.cookie, None);
    assert_eq!(client.run(&server, SHOW).await.unwrap(), "0");
    // The other connection hears of it once, and starts anew.
    let error = other.run(&server, SHOW).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert!(error.message().contains("the session has expired"), "{error:?}");
    assert_eq!(other.run(&server, SHOW).await.unwrap(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_session_expires_but_not_while_its_connection_is_there() {
    let options = ServeOptions {
        session_idle: Duration::ZERO,
        ..ServeOptions::default()
    };
    let server = Server::start_with(options).await;
    let mut client = Cookies::on(&server).await;
    client.run(&server, "SET elanus.ef_search = 321").await.unwrap();
    assert_eq!(client.run(&server, SHOW).await.unwrap(), "321");
    let mut again = client.reconnected(&server).await;
    let error = again.run(&server, SHOW).await.unwrap_err();
    assert!(error.message().contains("the session has expired"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_sessions_is_bounded_and_those_in_use_stay() {
    let options = ServeOptions {
        sessions: 3,
        ..ServeOptions::default()
    };
    let server = Server::start_with(options).await;
    let mut used = Cookies::on(&server).await;
    used.run(&server, "SET elanus.ef_search = 321").await.unwrap();
    used.run(&server, "SELECT 1").await.unwrap();
    let mut kept = Vec::new();
    for _ in 0..10 {
        let mut client = Cookies::on(&server).await;
        client.run(&server, "SET elanus.ef_search = 7").await.unwrap();
        kept.push(client.reconnected(&server).await);
    }
    let mut again = used.reconnected(&server).await;
    assert_eq!(again.run(&server, SHOW).await.unwrap(), "321");
    assert!(kept[0].run(&server, SHOW).await.is_err());
    assert_eq!(kept[9].run(&server, SHOW).await.unwrap(), "7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_made_up_cookie_is_refused_once() {
    let server = Server::start().await;
    let mut client = Cookies::on(&server).await;
    client.cookie = Some("arrow_flight_session_id=guess".to_string());
    assert!(client.run(&server, "SELECT 1").await.is_err());
    assert_eq!(client.cookie, None);
    client.run(&server, "SELECT 1").await.unwrap();
    // A handshake begins a session all the same.
    let hello = futures::stream::iter([HandshakeRequest::default()]);
    client.cookie = Some("arrow_flight_session_id=guess".to_string());
    let answer = client.plain.handshake(client.request(hello)).await.unwrap();
    client.learn(answer.metadata());
    assert_ne!(client.cookie.as_deref(), Some("arrow_flight_session_id=guess"));
    client.run(&server, "SELECT 1").await.unwrap();
}
