//! [`Service`]: the commands of Flight SQL.

use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{DoPutError, FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, Command,
    CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys,
    CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandGetXdbcTypeInfo, CommandPreparedStatementQuery, CommandPreparedStatementUpdate,
    CommandStatementIngest, CommandStatementQuery, CommandStatementSubstraitPlan, CommandStatementUpdate,
    DoPutPreparedStatementResult, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse,
    IpcMessage, SchemaAsIpc, SchemaResult, Ticket,
};
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::prelude::SessionContext;
use elanus_query::{Answer, Engine, Prepared};
use flight_prost::Message;
use flight_tonic::metadata::MetadataValue;
use flight_tonic::{Request, Response, Status, Streaming};
use futures::{Stream, StreamExt, TryStreamExt};

use crate::access::{Caller, Tokens};
use crate::connection::Client;
use crate::metadata::{self, catalog};
use crate::results::{Cancelled, Results};
use crate::session_options;
use crate::status;
use crate::ticket::{Part, read_values, write_values};

/// A stream of answers.
pub(crate) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
/// Most bytes of bound values that a ticket carries; a result of more is read once.
const MAX_TICKET_VALUES: usize = 64 << 10;
/// Most bytes of one upload, which is kept in memory until it is written.
const MAX_UPLOAD_BYTES: usize = 4 << 30;

/// Results of `ActionCancelQuery`, an enumeration that `arrow-flight` keeps to itself.
const CANCELLED: i32 = 1;
const NOT_CANCELLABLE: i32 = 3;

type Flight = Result<Response<FlightInfo>, Status>;
type Rows = Result<Response<Answers<FlightData>>, Status>;

/// The service behind the door. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Service {
    engine: Arc<Engine>,
    results: Arc<Results>,
    tokens: Arc<Tokens>,
}

impl Service {
    pub fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            results: Arc::default(),
            tokens: Arc::default(),
        }
    }

    /// The results that wait to be fetched.
    pub fn results(&self) -> Arc<Results> {
        Arc::clone(&self.results)
    }

    /// The tokens of users.
    pub fn tokens(&self) -> Arc<Tokens> {
        Arc::clone(&self.tokens)
    }

    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The client behind a request, and its session.
    pub fn client<T>(&self, request: &Request<T>) -> Result<(Arc<Client>, SessionContext), Status> {
        let client = request
            .extensions()
            .get::<Arc<Client>>()
            .map(Arc::clone)
            .ok_or_else(|| Status::internal("a request came over no connection"))?;
        let session = client.session(&self.engine)?;
        Ok((client, session))
    }

    /// Plans a statement.
    pub async fn prepare(&self, session: &SessionContext, sql: &str) -> Result<Prepared, Status> {
        self.engine.prepare(session, sql).await.map_err(status::of)
    }

    /// Runs a statement for [`Service::fetch`]: a query is planned over the state of now and runs as its
    /// parts are fetched; everything else has run when this returns.
    async fn announce(
        &self,
        client: &Client,
        session: &SessionContext,
        sql: &str,
        statement: &Prepared,
        values: Option<RecordBatch>,
        descriptor: FlightDescriptor,
    ) -> Flight {
        let mut part = Part {
            parts: 1,
            ..Part::default()
        };
        if statement.schema().is_none() {
            let answer = self.engine.execute(session, statement, values).await;
            if statement.changes_session() {
                client.change();
            }
            if let Answer::Rows(_) = answer.map_err(status::of)? {
                return Err(Status::internal("a statement without rows has rows"));
            }
            return info(descriptor, &Schema::empty(), vec![endpoint(&part)]);
        }
        part.sql = sql.to_string();
        part.database = session_options::database(session);
        part.settings = session_options::changed(session);
        if let Some(values) = &values {
            part.values = write_values(values)?;
            part.once = part.values.len() > MAX_TICKET_VALUES;
        }
        if part.once {
            part.values = bytes::Bytes::new();
        }
        let pinned = self.engine.pin(session, statement, values).await;
        let pinned = pinned.map_err(status::of)?;
        // Values may have types that the statement alone does not know.
        let schema = Arc::clone(pinned.schema());
        part.parts = u32::try_from(pinned.parts()).unwrap_or(1);
        let (id, until) = self.results.keep(pinned, client.user())?;
        part.set_result(id);
        let expires = (part.parts > 1 || part.once).then_some(until);
        let endpoints = (0..part.parts).map(|number| {
            part.part = number;
            let mut endpoint = endpoint(&part);
            endpoint.expiration_time = expires;
            endpoint
        });
        info(descriptor, &schema, endpoints.collect())
    }

    /// The rows of one part of an announced result.
    async fn fetch(&self, part: &Part, user: Option<&str>) -> Rows {
        if part.sql.is_empty() {
            let schema = Arc::new(Schema::empty());
            return Ok(Response::new(encoded(schema, futures::stream::empty())));
        }
        let id = part.result();
        let reader = self.results.reader(id)?;
        let cancelled = || Status::cancelled("the query was cancelled");
        let rows = tokio::select! {
            rows = self.start(part, user) => rows?,
            () = reader.cancelled() => return Err(cancelled()),
        };
        let schema = rows.schema();
        let rows = rows.map_err(|e| status::of(e.into()));
        // The reader is noted for as long as the rows are read, and hears of a cancellation between two batches.
        let rows = futures::stream::unfold(
            (rows, reader, false),
            move |(mut rows, reader, ended)| async move {
                if ended {
                    return None;
                }
                let batch = tokio::select! {
                    batch = rows.next() => batch?,
                    () = reader.cancelled() => Err(cancelled()),
                };
                let ended = batch.is_err();
                Some((batch, (rows, reader, ended)))
            },
        );
        Ok(Response::new(encoded(schema, rows.boxed())))
    }

    async fn start(&self, part: &Part, user: Option<&str>) -> Result<SendableRecordBatchStream, Status> {
        let Some(pinned) = self.results.read(part.result(), user) else {
            if part.parts > 1 || part.once {
                return Err(Status::not_found(
                    "the result has expired: run the statement again",
                ));
            }
            return self.compute(part, user).await;
        };
        let number = usize::try_from(part.part).unwrap_or(usize::MAX);
        if number >= pinned.parts() {
            return Err(Status::invalid_argument(format!(
                "the ticket asks for part {number} of {}",
                pinned.parts()
            )));
        }
        self.engine.read(&pinned, number).await.map_err(status::of)
    }

    /// Runs the statement in a ticket.
    async fn compute(&self, part: &Part, user: Option<&str>) -> Result<SendableRecordBatchStream, Status> {
        let session = self.engine.session_of(&part.database, user);
        let session = session.map_err(status::of)?;
        session_options::restore(&self.engine, &session, &part.settings).await?;
        let values = read_values(&part.values)?;
        let statement = self.prepare(&session, &part.sql).await?;
        if !statement.is_repeatable() {
            return Err(Status::not_found(
                "the result was read already: run the statement again",
            ));
        }
        match self.engine.execute(&session, &statement, values).await {
            Ok(Answer::Rows(rows)) => Ok(rows),
            Ok(Answer::Affected(_) | Answer::Done) => Err(Status::internal("a query has no rows")),
            Err(error) => Err(status::of(error)),
        }
    }

    /// Runs a statement for the number of rows that it writes.
    async fn update(
        &self,
        client: &Client,
        session: &SessionContext,
        statement: &Prepared,
        values: Option<RecordBatch>,
    ) -> Result<i64, Status> {
        let answer = self.engine.execute(session, statement, values).await;
        if statement.changes_session() {
            client.change();
        }
        match answer.map_err(status::of)? {
            Answer::Affected(rows) => Ok(i64::try_from(rows).unwrap_or(i64::MAX)),
            Answer::Done => Ok(0),
            // A query run as an update: its rows are not wanted, its effects and errors are.
            Answer::Rows(rows) => {
                let drained = rows.try_for_each(|_| futures::future::ok(())).await;
                drained.map_err(|e| status::of(e.into()))?;
                Ok(-1)
            }
        }
    }

    /// The schema of what a command would answer, without running it.
    pub async fn schema(&self, request: Request<FlightDescriptor>) -> Result<SchemaResult, Status> {
        let (client, session) = self.client(&request)?;
        let any = Any::decode(&*request.get_ref().cmd).map_err(|e| status::malformed("the command", e))?;
        let command = Command::try_from(any).map_err(|e| status::malformed("the command", e))?;
        let schema = if let Command::CommandStatementQuery(query) = command {
            self.prepare(&session, &query.query).await?.schema()
        } else if let Command::CommandPreparedStatementQuery(query) = command {
            let bound = client.prepared(&query.prepared_statement_handle)?;
            bound.statement.schema()
        } else {
            let info = self.get_flight_info(request).await?.into_inner();
            return Ok(SchemaResult { schema: info.schema });
        };
        let schema = schema.unwrap_or_else(|| Arc::new(Schema::empty()));
        Ok(SchemaResult {
            schema: ipc(&schema)?,
        })
    }

    /// Ends a result by its tickets.
    pub fn cancel(&self, info: &FlightInfo) -> Result<Cancelled, Status> {
        let mut outcome = Cancelled::Gone;
        for endpoint in &info.endpoint {
            let Some(ticket) = &endpoint.ticket else { continue };
            let part = part_of(ticket)?;
            if self.results.cancel(part.result()) == Cancelled::Yes {
                outcome = Cancelled::Yes;
            }
        }
        Ok(outcome)
    }

    /// The answer to a command whose rows are made at once: its ticket is the command itself.
    fn announce_metadata(schema: &Schema, request: Request<FlightDescriptor>) -> Flight {
        let descriptor = request.into_inner();
        let ticket = Ticket::new(descriptor.cmd.clone());
        let endpoint = FlightEndpoint::new().with_ticket(ticket);
        info(descriptor, schema, vec![endpoint])
    }
}

/// What a ticket of ours says.
pub(crate) fn part_of(ticket: &Ticket) -> Result<Part, Status> {
    let any = Any::decode(&*ticket.ticket).map_err(|e| status::malformed("the ticket", e))?;
    let command = Command::try_from(any).map_err(|e| status::malformed("the ticket", e))?;
    let Command::TicketStatementQuery(ticket) = command else {
        return Err(Status::invalid_argument("the ticket is not one of a statement"));
    };
    Part::read(&ticket.statement_handle)
}

fn endpoint(part: &Part) -> FlightEndpoint {
    FlightEndpoint::new().with_ticket(part.ticket())
}

fn info(descriptor: FlightDescriptor, schema: &Schema, endpoints: Vec<FlightEndpoint>) -> Flight {
    let mut info = FlightInfo::new()
        .try_with_schema(schema)
        .map_err(|e| Status::internal(format!("cannot write a schema: {e}")))?
        .with_descriptor(descriptor);
    info.endpoint = endpoints;
    Ok(Response::new(info))
}

fn encoded(
    schema: SchemaRef,
    rows: impl Stream<Item = Result<RecordBatch, Status>> + Send + 'static,
) -> Answers<FlightData> {
    let rows = rows.map_err(|status| FlightError::Tonic(Box::new(status)));
    FlightDataEncoderBuilder::new()
        .with_schema(schema)
        .build(rows)
        .map_err(Status::from)
        .boxed()
}

fn rows_at_once(batch: Result<RecordBatch, Status>) -> Rows {
    let batch = batch?;
    let schema = batch.schema();
    let rows = futures::stream::once(async { Ok(batch) });
    Ok(Response::new(encoded(schema, rows)))
}

/// The batches that a client uploads, with the schema that they come under; `None` without a schema.
async fn uploaded(
    request: Request<PeekableFlightDataStream>,
) -> Result<Option<(SchemaRef, Answers<RecordBatch>)>, Status> {
    // A message may be there for its descriptor alone.
    let has_data = |data: &FlightData| futures::future::ready(!data.data_header.is_empty());
    let data = request.into_inner().into_peekable().try_filter(has_data);
    let mut batches = FlightRecordBatchStream::new_from_flight_data(data.map_err(FlightError::from));
    // The schema is known when its first batch is, or when there is none.
    let first = batches.next().await.transpose().map_err(Status::from)?;
    let Some(schema) = batches.schema().cloned() else {
        return Ok(None);
    };
    let mut bytes = 0;
    let all = futures::stream::iter(first.map(Ok)).chain(batches.map_err(Status::from));
    let all = all.map(move |batch| {
        let batch = batch?;
        bytes += batch.get_array_memory_size();
        if bytes > MAX_UPLOAD_BYTES {
            return Err(Status::resource_exhausted(format!(
                "more than {} MiB in one upload, which is one write: send the rows in several",
                MAX_UPLOAD_BYTES >> 20
            )));
        }
        Ok(batch)
    });
    Ok(Some((schema, all.boxed())))
}

/// Bound values; none when the client binds no columns.
async fn bound_values(request: Request<PeekableFlightDataStream>) -> Result<Option<RecordBatch>, Status> {
    let Some((schema, batches)) = uploaded(request).await? else {
        return Ok(None);
    };
    if schema.fields().is_empty() {
        return Ok(None);
    }
    let batches: Vec<_> = batches.try_collect().await?;
    concat_batches(&schema, &batches)
        .map(Some)
        .map_err(|e| status::malformed("the bound values", e))
}

fn ipc(schema: &Schema) -> Result<bytes::Bytes, Status> {
    let options = arrow::ipc::writer::IpcWriteOptions::default();
    IpcMessage::try_from(SchemaAsIpc::new(schema, &options))
        .map(|message| message.0)
        .map_err(|e| Status::internal(format!("cannot write a schema: {e}")))
}

fn refuse_transaction(id: Option<&bytes::Bytes>) -> Result<(), Status> {
    match id {
        Some(id) if !id.is_empty() => Err(Status::unimplemented(
            "not supported: transactions of several statements; every statement is one of its own",
        )),
        Some(_) | None => Ok(()),
    }
}

fn no_substrait() -> Status {
    Status::unimplemented("not supported: Substrait plans; send SQL")
}

#[flight_tonic::async_trait]
impl FlightSqlService for Service {
    type FlightService = Self;

    /// A token for the user of the call. Any name and password is accepted while users are not asked for; clients want a token
    /// all the same.
    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Answers<HandshakeResponse>>, Status> {
        let answer = HandshakeResponse::default();
        let mut response = Response::new(futures::stream::once(async { Ok(answer) }).boxed());
        let token = match request.extensions().get::<Caller>() {
            Some(Caller(user)) => format!("Bearer {}", self.tokens.give(&self.engine, user)?),
            None => "Bearer none".to_owned(),
        };
        let token = MetadataValue::try_from(token)
            .map_err(|error| Status::internal(format!("a token cannot be sent: {error}")))?;
        response.metadata_mut().insert("authorization", token);
        Ok(response)
    }

    // ---- statements ----

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Flight {
        refuse_transaction(query.transaction_id.as_ref())?;
        let (client, session) = self.client(&request)?;
        let statement = self.prepare(&session, &query.query).await?;
        let descriptor = request.into_inner();
        self.announce(&client, &session, &query.query, &statement, None, descriptor)
            .await
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Flight {
        let (client, session) = self.client(&request)?;
        let bound = client.prepared(&query.prepared_statement_handle)?;
        let descriptor = request.into_inner();
        let (sql, statement) = (&bound.sql, &bound.statement);
        self.announce(&client, &session, sql, statement, bound.values(), descriptor)
            .await
    }

    async fn get_flight_info_substrait_plan(
        &self,
        _: CommandStatementSubstraitPlan,
        _: Request<FlightDescriptor>,
    ) -> Flight {
        Err(no_substrait())
    }

    async fn do_put_substrait_plan(
        &self,
        _: CommandStatementSubstraitPlan,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(no_substrait())
    }

    async fn do_get_statement(&self, ticket: TicketStatementQuery, request: Request<Ticket>) -> Rows {
        let part = Part::read(&ticket.statement_handle)?;
        let (client, _) = self.client(&request)?;
        self.fetch(&part, client.user()).await
    }

    async fn do_get_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<Ticket>,
    ) -> Rows {
        let (client, session) = self.client(&request)?;
        let bound = client.prepared(&query.prepared_statement_handle)?;
        let answer = self
            .engine
            .execute(&session, &bound.statement, bound.values())
            .await;
        match answer.map_err(status::of)? {
            Answer::Rows(rows) => {
                let schema = rows.schema();
                let rows = rows.map_err(|e| status::of(e.into()));
                Ok(Response::new(encoded(schema, rows)))
            }
            Answer::Affected(_) | Answer::Done => {
                rows_at_once(Ok(RecordBatch::new_empty(Arc::new(Schema::empty()))))
            }
        }
    }

    async fn do_put_statement_update(
        &self,
        command: CommandStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        refuse_transaction(command.transaction_id.as_ref())?;
        let (client, session) = self.client(&request)?;
        let statement = self.prepare(&session, &command.query).await?;
        self.update(&client, &session, &statement, None).await
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let (client, _) = self.client(&request)?;
        let bound = client.prepared(&query.prepared_statement_handle)?;
        bound.bind(bound_values(request).await?);
        Ok(DoPutPreparedStatementResult {
            prepared_statement_handle: Some(query.prepared_statement_handle),
        })
    }

    async fn do_put_prepared_statement_update(
        &self,
        query: CommandPreparedStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let (client, session) = self.client(&request)?;
        let bound = client.prepared(&query.prepared_statement_handle)?;
        let values = bound_values(request).await?.or_else(|| bound.values());
        self.update(&client, &session, &bound.statement, values).await
    }

    async fn do_put_statement_ingest(
        &self,
        command: CommandStatementIngest,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        refuse_transaction(command.transaction_id.as_ref())?;
        let (_, session) = self.client(&request)?;
        let mode = metadata::ingest_mode(&command)?;
        let database = match &command.schema {
            Some(schema) if !schema.is_empty() => schema.clone(),
            Some(_) | None => session_options::database(&session),
        };
        self.engine
            .permit_ingest(&session, &database, &command.table, mode)
            .map_err(status::of)?;
        let (schema, batches) = uploaded(request)
            .await?
            .ok_or_else(|| Status::invalid_argument("no schema was uploaded"))?;
        let rows = self
            .engine
            .ingest(
                &database,
                &command.table,
                mode,
                schema,
                batches.map_err(|e| status::of_upload(&e)),
            )
            .await
            .map_err(status::of)?;
        Ok(i64::try_from(rows).unwrap_or(i64::MAX))
    }

    async fn do_put_error_callback(
        &self,
        _: Request<PeekableFlightDataStream>,
        error: DoPutError,
    ) -> Result<Response<<Self as FlightService>::DoPutStream>, Status> {
        Err(Status::invalid_argument(format!(
            "an upload names what it is for in its first message: {error}"
        )))
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        refuse_transaction(query.transaction_id.as_ref())?;
        let (client, session) = self.client(&request)?;
        let statement = self.prepare(&session, &query.query).await?;
        let dataset_schema = match statement.schema() {
            Some(schema) => ipc(&schema)?,
            None => bytes::Bytes::new(),
        };
        let parameter_schema = ipc(&statement.parameters())?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: client.keep(query.query, statement)?,
            dataset_schema,
            parameter_schema,
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<(), Status> {
        let (client, _) = self.client(&request)?;
        client.forget(&query.prepared_statement_handle);
        Ok(())
    }

    async fn do_action_cancel_query(
        &self,
        query: ActionCancelQueryRequest,
        _: Request<Action>,
    ) -> Result<ActionCancelQueryResult, Status> {
        let info = FlightInfo::decode(&*query.info).map_err(|e| status::malformed("the flight info", e))?;
        let result = match self.cancel(&info)? {
            Cancelled::Yes => CANCELLED,
            Cancelled::Gone => NOT_CANCELLABLE,
        };
        Ok(ActionCancelQueryResult { result })
    }

    // ---- metadata ----

    async fn get_flight_info_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Flight {
        Self::announce_metadata(&catalog::nullable_names(&query.into_builder().schema()), request)
    }

    async fn do_get_catalogs(&self, query: CommandGetCatalogs, _: Request<Ticket>) -> Rows {
        rows_at_once(catalog::catalogs(query))
    }

    async fn get_flight_info_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Flight {
        Self::announce_metadata(&catalog::nullable_names(&query.into_builder().schema()), request)
    }

    async fn do_get_schemas(&self, query: CommandGetDbSchemas, _: Request<Ticket>) -> Rows {
        rows_at_once(catalog::schemas(&self.engine, query))
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Flight {
        Self::announce_metadata(&catalog::nullable_names(&query.into_builder().schema()), request)
    }

    async fn do_get_tables(&self, query: CommandGetTables, _: Request<Ticket>) -> Rows {
        rows_at_once(catalog::tables(&self.engine, query).await)
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Flight {
        Self::announce_metadata(&query.into_builder().schema(), request)
    }

    async fn do_get_table_types(&self, query: CommandGetTableTypes, _: Request<Ticket>) -> Rows {
        rows_at_once(catalog::table_types(query))
    }

    async fn get_flight_info_primary_keys(
        &self,
        _: CommandGetPrimaryKeys,
        request: Request<FlightDescriptor>,
    ) -> Flight {
        Self::announce_metadata(&catalog::primary_key_schema(), request)
    }

    async fn do_get_primary_keys(&self, query: CommandGetPrimaryKeys, _: Request<Ticket>) -> Rows {
        rows_at_once(catalog::primary_keys(&self.engine, &query))
    }

    async fn get_flight_info_exported_keys(
        &self,
        _: CommandGetExportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Flight {
        Self::announce_metadata(&catalog::foreign_key_schema(), request)
    }

    async fn do_get_exported_keys(&self, _: CommandGetExportedKeys, _: Request<Ticket>) -> Rows {
        rows_at_once(Ok(catalog::no_foreign_keys()))
    }

    async fn get_flight_info_imported_keys(
        &self,
        _: CommandGetImportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Flight {
        Self::announce_metadata(&catalog::foreign_key_schema(), request)
    }

    async fn do_get_imported_keys(&self, _: CommandGetImportedKeys, _: Request<Ticket>) -> Rows {
        rows_at_once(Ok(catalog::no_foreign_keys()))
    }

    async fn get_flight_info_cross_reference(
        &self,
        _: CommandGetCrossReference,
        request: Request<FlightDescriptor>,
    ) -> Flight {
        Self::announce_metadata(&catalog::foreign_key_schema(), request)
    }

    async fn do_get_cross_reference(&self, _: CommandGetCrossReference, _: Request<Ticket>) -> Rows {
        rows_at_once(Ok(catalog::no_foreign_keys()))
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Flight {
        let schema = query.into_builder(metadata::sql_info()?).schema();
        Self::announce_metadata(&schema, request)
    }

    async fn do_get_sql_info(&self, query: CommandGetSqlInfo, _: Request<Ticket>) -> Rows {
        let rows = query.into_builder(metadata::sql_info()?).build();
        rows_at_once(rows.map_err(Status::from))
    }

    async fn get_flight_info_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        request: Request<FlightDescriptor>,
    ) -> Flight {
        let schema = query.into_builder(metadata::type_info()?).schema();
        Self::announce_metadata(&schema, request)
    }

    async fn do_get_xdbc_type_info(&self, query: CommandGetXdbcTypeInfo, _: Request<Ticket>) -> Rows {
        let rows = query.into_builder(metadata::type_info()?).build();
        rows_at_once(rows.map_err(Status::from))
    }

    /// `SqlInfo` is built once; nothing registers more.
    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}
}
