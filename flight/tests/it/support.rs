//! A server over an empty store on a free port, its clients, and short ways to ask.

use std::net::SocketAddr;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{Action, FlightDescriptor, FlightInfo, Ticket};
use elanus_collection::{Collections, Options};
use elanus_flight::ServeOptions;
use elanus_query::{DEFAULT_DATABASE, Engine, EngineOptions};
use flight_prost::Message;
use flight_tonic::transport::{Channel, Endpoint};
use flight_tonic::{Code, Status};
use futures::TryStreamExt;
use object_store::memory::InMemory;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub type Client = FlightSqlServiceClient<Channel>;

/// A server; it ends when it is dropped.
pub struct Server {
    pub engine: Arc<Engine>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(ServeOptions::default()).await
    }

    /// One SQL thread, so that a query that does not end would be noticed by the next.
    pub async fn start_with(options: ServeOptions) -> Self {
        let background_off = Options {
            background: false,
            build_threads: 1,
            ..Options::default()
        };
        let collections = Collections::open(Arc::new(InMemory::new()), background_off)
            .await
            .unwrap();
        let threads = EngineOptions {
            query_threads: 2,
            sql_threads: 1,
            ..EngineOptions::default()
        };
        let engine = Arc::new(Engine::new(collections, &threads).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::clone(&engine);
        let task = tokio::spawn(async move {
            elanus_flight::serve_with(served, listener, &options, std::future::pending())
                .await
                .unwrap();
        });
        Self {
            engine,
            address,
            task,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A connection of its own.
    pub async fn channel(&self) -> Channel {
        let endpoint = Endpoint::new(self.address()).unwrap();
        endpoint.connect().await.unwrap()
    }

    /// A client on a connection of its own.
    pub async fn client(&self) -> Client {
        Client::new(self.channel().await)
    }

    /// The calls of plain Flight, on a connection of their own.
    pub async fn plain(&self) -> FlightServiceClient<Channel> {
        FlightServiceClient::new(self.channel().await)
    }

    /// Runs SQL in the engine itself.
    pub async fn sql(&self, text: &str) {
        if let Err(error) = self.engine.sql(DEFAULT_DATABASE, text).await {
            panic!("{text}\n{error}");
        }
    }

    /// The first column of the first row, asked of the engine itself.
    pub async fn int(&self, text: &str) -> i64 {
        let output = self.engine.sql(DEFAULT_DATABASE, text).await.unwrap();
        ints(&output.batches)[0]
    }

    /// Waits until this many statements run whose text has `part` in it.
    pub async fn until_running(&self, part: &str, number: i64) {
        let count = format!(
            "SELECT count(*) FROM elanus_catalog.queries WHERE statement LIKE '%{part}%' AND statement NOT LIKE '%elanus_catalog%'"
        );
        while self.int(&count).await != number {
            tokio::task::yield_now().await;
        }
    }

    /// The table `t(id, n)` with the ids `0..rows`, `n = id % 10`.
    pub async fn numbers(&self, rows: usize) {
        self.sql("CREATE TABLE t (id BIGINT PRIMARY KEY, n INTEGER)")
            .await;
        let last = i64::try_from(rows).unwrap() - 1;
        self.sql(&format!(
            "INSERT INTO t SELECT value, (value % 10)::int FROM generate_series(0, {last})"
        ))
        .await;
    }
}

/// The first column as integers.
pub fn ints(batches: &[RecordBatch]) -> Vec<i64> {
    let values = |batch: &RecordBatch| {
        let column = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Int64).unwrap();
        column.as_primitive::<Int64Type>().values().to_vec()
    };
    batches.iter().flat_map(values).collect()
}

/// The first column as texts.
pub fn texts(batches: &[RecordBatch]) -> Vec<String> {
    let values = |batch: &RecordBatch| {
        let column = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
        let column = column.as_string::<i32>();
        (0..column.len())
            .map(|row| column.value(row).to_string())
            .collect::<Vec<_>>()
    };
    batches.iter().flat_map(values).collect()
}

/// The rows behind one ticket.
pub async fn get(client: &mut Client, ticket: Ticket) -> Result<Vec<RecordBatch>, Status> {
    let rows = client.do_get(ticket).await.map_err(status)?;
    rows.try_collect().await.map_err(status)
}

/// The rows of an announced result.
pub async fn fetch(client: &mut Client, info: FlightInfo) -> Result<Vec<RecordBatch>, Status> {
    let mut batches = Vec::new();
    for endpoint in info.endpoint {
        batches.extend(get(client, endpoint.ticket.unwrap()).await?);
    }
    Ok(batches)
}

/// Runs a statement as a query.
pub async fn query(client: &mut Client, sql: &str) -> Result<Vec<RecordBatch>, Status> {
    let info = client.execute(sql.to_string(), None).await.map_err(status)?;
    fetch(client, info).await
}

/// Runs a statement as an update.
pub async fn update(client: &mut Client, sql: &str) -> Result<i64, Status> {
    client.execute_update(sql.to_string(), None).await.map_err(status)
}

/// What the server said.
pub fn status(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        FlightError::ExternalError(inner) => match inner.downcast::<FlightError>() {
            Ok(inner) => status(*inner),
            Err(inner) => Status::new(Code::Unknown, inner.to_string()),
        },
        other @ (FlightError::Arrow(_)
        | FlightError::NotYetImplemented(_)
        | FlightError::ProtocolError(_)
        | FlightError::DecodeError(_)) => Status::new(Code::Unknown, other.to_string()),
    }
}

/// Checks an error by its code and a part of its message.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, part: &str) {
    let error = answer.unwrap_err();
    assert_eq!(error.code(), code, "{error:?}");
    assert!(error.message().contains(part), "{error:?}");
}

/// A statement as plain Flight describes it.
pub fn statement(sql: &str) -> FlightDescriptor {
    let command = CommandStatementQuery {
        query: sql.to_string(),
        transaction_id: None,
    };
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}

/// An action with a message for its body.
pub fn action(name: &str, body: &impl Message) -> Action {
    Action::new(name, body.encode_to_vec())
}

/// A query that does not end by itself.
pub const ENDLESS: &str = "SELECT count(*) AS n FROM generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 100000) c";
