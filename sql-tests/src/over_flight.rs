//! The engine behind its Flight SQL door: a server on a free port of this machine, and one connection to it.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::FlightInfo;
use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use async_trait::async_trait;
use elanus_collection::Collections;
use flight_tonic::transport::{Channel, Endpoint};
use futures::TryStreamExt;
use sqllogictest::{AsyncDB, DBOutput};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::embedded::{EngineError, open};
use crate::format::{ColumnKind, rows_of, types_of};

impl From<FlightError> for EngineError {
    /// The message of the server, without what the client says around it.
    fn from(error: FlightError) -> Self {
        match error {
            FlightError::Tonic(status) => Self::new(status.message()),
            FlightError::Arrow(error) => Self::new(error),
            FlightError::NotYetImplemented(text)
            | FlightError::ProtocolError(text)
            | FlightError::DecodeError(text) => Self::new(text),
            FlightError::ExternalError(error) => Self::new(error),
        }
    }
}

/// A server over an empty engine, with one client.
pub struct OverFlight {
    collections: Arc<Collections>,
    client: FlightSqlServiceClient<Channel>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<Result<(), EngineError>>,
}

impl OverFlight {
    /// Starts a server whose statements may use the files in `files`, and connects to it.
    ///
    /// # Errors
    /// When the engine cannot be opened, or the server not be reached.
    pub async fn start(files: PathBuf) -> Result<Self, EngineError> {
        let (collections, engine) = open(files).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(EngineError::new)?;
        let address = listener.local_addr().map_err(EngineError::new)?;
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(async move {
            let stopped = async {
                // A sender that is gone means the same.
                let _gone = stopped.await;
            };
            let served = elanus_flight::serve(Arc::new(engine), listener, stopped).await;
            served.map_err(EngineError::new)
        });
        let endpoint = Endpoint::new(format!("http://{address}")).map_err(EngineError::new)?;
        let channel = endpoint.connect().await.map_err(EngineError::new)?;
        Ok(Self {
            collections,
            client: FlightSqlServiceClient::new(channel),
            stop: Some(stop),
            server,
        })
    }

    /// Whether a statement has rows, as drivers find out: by preparing it.
    async fn has_rows(&mut self, sql: &str) -> Result<bool, EngineError> {
        let prepared = self.client.prepare(sql.to_string(), None).await?;
        let has_rows = prepared.dataset_schema()? != &Schema::empty();
        prepared.close().await?;
        Ok(has_rows)
    }

    async fn fetch(&mut self, info: FlightInfo) -> Result<(SchemaRef, Vec<RecordBatch>), EngineError> {
        let schema = Arc::new(info.clone().try_decode_schema().map_err(EngineError::new)?);
        let mut batches = Vec::new();
        for endpoint in info.endpoint {
            let ticket = endpoint
                .ticket
                .ok_or_else(|| EngineError::new("an endpoint without a ticket"))?;
            let rows = self.client.do_get(ticket).await?;
            batches.extend(rows.try_collect::<Vec<_>>().await?);
        }
        Ok((schema, batches))
    }
}

#[async_trait]
impl AsyncDB for OverFlight {
    type Error = EngineError;
    type ColumnType = ColumnKind;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<ColumnKind>, EngineError> {
        if !self.has_rows(sql).await? {
            let rows = self.client.execute_update(sql.to_string(), None).await?;
            return Ok(DBOutput::StatementComplete(u64::try_from(rows).unwrap_or(0)));
        }
        let info = self.client.execute(sql.to_string(), None).await?;
        let (schema, batches) = self.fetch(info).await?;
        let rows = rows_of(&schema, &batches).map_err(EngineError::new)?;
        Ok(DBOutput::Rows {
            types: types_of(&schema),
            rows,
        })
    }

    async fn shutdown(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The server that has ended by itself is heard of below.
            let _ended = stop.send(());
        }
        // Open connections would keep the server: a test that ends has no use for its drain.
        self.server.abort();
        self.collections.close().await;
    }

    fn engine_name(&self) -> &str {
        "flight"
    }
}
