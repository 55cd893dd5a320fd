//! Where statements run: an engine in this process, or a server over Flight SQL.

use arrow::array::RecordBatch;
use arrow_flight::Action;
use arrow_flight::sql::client::FlightSqlServiceClient;
use datafusion::prelude::SessionContext;
use elanus_collection::access::Credentials;
use elanus_query::{Engine, FileAccess, SqlOutput};
use flight_tonic::transport::{Channel, Endpoint};
use flight_tonic::{Request, Status};
use futures::TryStreamExt;

use crate::server::{Database, Limits};

/// Largest message of an answer, in bytes.
const MAX_MESSAGE_BYTES: usize = 512 << 20;

/// A session on an engine.
pub enum Backend {
    /// The engine is in this process.
    Embedded {
        database: Box<Database>,
        session: Box<SessionContext>,
    },
    /// The engine is a server's.
    Remote {
        client: Box<FlightSqlServiceClient<Channel>>,
        uri: String,
    },
}

impl Backend {
    /// Opens a data directory.
    pub async fn open(directory: &str, name: &str) -> anyhow::Result<Self> {
        // A person's own process may do what that person may.
        let limits = Limits {
            files: FileAccess::Everywhere,
            allow_plugins: true,
            ..Limits::default()
        };
        let database = Database::open(directory, &limits).await.map_err(explain_lock)?;
        match database.engine.session(name) {
            Ok(session) => Ok(Self::Embedded {
                database: Box::new(database),
                session: Box::new(session),
            }),
            Err(error) => {
                database.close().await;
                Err(error.into())
            }
        }
    }

    /// Connects to a server, as a user if one is given.
    pub async fn connect(uri: &str, name: &str, user: Option<&Credentials>) -> anyhow::Result<Self> {
        let address = match uri.split_once("://") {
            Some(("grpc" | "grpc+tcp" | "http", address)) => address,
            None => uri,
            Some((scheme, _)) => {
                anyhow::bail!("not supported: {scheme}://; a server is named as grpc://host:port")
            }
        };
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|_| {
                anyhow::anyhow!("`{uri}` is not the address of a server, such as grpc://127.0.0.1:31337")
            })?
            .connect()
            .await
            .map_err(|error| anyhow::anyhow!("cannot connect to {uri}: {}", root_cause(&error)))?;
        let mut client = FlightSqlServiceClient::new(channel);
        let inner = client.inner_mut();
        *inner = inner.clone().max_decoding_message_size(MAX_MESSAGE_BYTES);
        if let Some(user) = user {
            let token = client.handshake(&user.user, &user.password).await;
            token.map_err(|error| anyhow::anyhow!("{}", message_of(&error)))?;
        }
        let mut backend = Self::Remote {
            client: Box::new(client),
            uri: uri.to_owned(),
        };
        backend
            .run(&format!("USE \"{}\"", name.replace('"', "\"\"")))
            .await?;
        Ok(backend)
    }

    /// What it is, for the prompt's greeting.
    pub fn describe(&self) -> &str {
        match self {
            Self::Embedded { .. } => "this process",
            Self::Remote { uri, .. } => uri,
        }
    }

    /// A way to ask things while a statement runs.
    pub fn beside(&self) -> Beside {
        match self {
            Self::Embedded { database, session } => Beside::Embedded {
                engine: Box::new(Engine::clone(&database.engine)),
                session: session.clone(),
            },
            Self::Remote { client, .. } => {
                let mut beside = FlightSqlServiceClient::new_from_inner(client.inner().clone());
                if let Some(token) = client.token() {
                    beside.set_token(token.clone());
                }
                Beside::Remote(Box::new(beside))
            }
        }
    }

    /// Runs one statement.
    pub async fn run(&mut self, statement: &str) -> anyhow::Result<SqlOutput> {
        match self {
            Self::Embedded { database, session } => {
                Ok(Box::pin(database.engine.sql_in(session, statement)).await?)
            }
            Self::Remote { client, .. } => Box::pin(run_remote(client, statement))
                .await
                .map_err(|error| anyhow::anyhow!("{}", message_of(&error))),
        }
    }

    /// Sends the file of a plugin, and gives the path that statements register it by.
    pub async fn upload_plugin(&mut self, file: Vec<u8>) -> anyhow::Result<String> {
        match self {
            Self::Embedded { database, session } => {
                let digest = database.engine.upload_plugin(session, file.into()).await?;
                Ok(format!("sha256:{digest}"))
            }
            Self::Remote { client, .. } => {
                let mut action = Request::new(Action::new("elanus.UploadPlugin", file));
                if let Some(token) = client.token() {
                    let token = format!("Bearer {token}").parse()?;
                    action.metadata_mut().insert("authorization", token);
                }
                let answers = client.inner_mut().do_action(action).await;
                let refused = |status: Status| anyhow::anyhow!("{}", status.message());
                let mut answers = answers.map_err(refused)?.into_inner();
                let answer = answers.message().await.map_err(refused)?;
                let answer =
                    answer.ok_or_else(|| anyhow::anyhow!("the server has not answered an upload"))?;
                Ok(String::from_utf8(answer.body.to_vec())?)
            }
        }
    }

    /// Closes the data directory or the connection.
    pub async fn close(self) {
        match self {
            Self::Embedded { database, .. } => database.close().await,
            Self::Remote { .. } => {}
        }
    }
}

/// The same engine as a [`Backend`]'s, while that is busy.
pub enum Beside {
    Embedded {
        engine: Box<Engine>,
        session: Box<SessionContext>,
    },
    Remote(Box<FlightSqlServiceClient<Channel>>),
}

impl Beside {
    /// The rows of one query.
    pub async fn rows(&mut self, query: &str) -> anyhow::Result<Vec<RecordBatch>> {
        let output = match self {
            Self::Embedded { engine, session } => Box::pin(engine.sql_in(session, query)).await?,
            Self::Remote(client) => Box::pin(run_remote(client, query)).await?,
        };
        Ok(output.batches)
    }
}

async fn run_remote(
    client: &mut FlightSqlServiceClient<Channel>,
    statement: &str,
) -> arrow_flight::error::Result<SqlOutput> {
    let mut prepared = client.prepare(statement.to_owned(), None).await?;
    if prepared.dataset_schema()?.fields().is_empty() {
        let affected = prepared.execute_update().await;
        // Also one that failed takes room on the server.
        prepared.close().await?;
        let affected = affected?;
        return Ok(match u64::try_from(affected) {
            Ok(rows) if rows > 0 || writes(statement) => SqlOutput::affected(rows),
            Ok(_) | Err(_) => SqlOutput::done(),
        });
    }
    let info = prepared.execute().await;
    prepared.close().await?;
    let info = info?;
    let schema = std::sync::Arc::new(info.clone().try_decode_schema()?);
    let mut batches: Vec<RecordBatch> = Vec::new();
    for endpoint in info.endpoint {
        if let Some(ticket) = endpoint.ticket {
            batches.extend(client.do_get(ticket).await?.try_collect::<Vec<_>>().await?);
        }
    }
    Ok(SqlOutput {
        schema,
        batches,
        affected: None,
    })
}

/// Whether a statement that gives no rows counts them: the protocol tells 0 for definitions too.
fn writes(statement: &str) -> bool {
    let first = statement.split_whitespace().next().unwrap_or_default();
    ["INSERT", "UPDATE", "DELETE", "MERGE", "COPY", "EXECUTE"]
        .iter()
        .any(|word| first.eq_ignore_ascii_case(word))
}

/// The server's words, without the names of the layers that carried them.
fn message_of(error: &arrow_flight::error::FlightError) -> String {
    match error {
        arrow_flight::error::FlightError::Tonic(status) => status.message().to_owned(),
        other @ (arrow_flight::error::FlightError::Arrow(_)
        | arrow_flight::error::FlightError::NotYetImplemented(_)
        | arrow_flight::error::FlightError::ProtocolError(_)
        | arrow_flight::error::FlightError::DecodeError(_)
        | arrow_flight::error::FlightError::ExternalError(_)) => other.to_string(),
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// A locked directory most often means that a server is up: say what to do.
fn explain_lock(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<elanus_storage::Error>() {
        Some(elanus_storage::Error::Locked { .. }) => {
            anyhow::anyhow!("{error}; stop that process, or connect to it with --connect grpc://host:port")
        }
        _other => error,
    }
}
