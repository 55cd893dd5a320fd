//! [`Door`]: the calls of plain Flight around [`Service`]. `arrow-flight` answers the commands of Flight
//! SQL from the service; schemas, session options, cancellation and listing are added here.

use std::sync::Arc;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{Any, Command};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, Criteria, Empty,
    FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse, PollInfo, PutResult,
    RenewFlightEndpointRequest, SchemaResult, Ticket,
};
use datafusion::prelude::SessionContext;
use flight_prost::Message;
use flight_tonic::{Request, Response, Status, Streaming};
use futures::StreamExt;

use crate::results::Cancelled;
use crate::service::{Answers, Service, part_of};
use crate::session_options;
use crate::sessions::Sessions;
use crate::status::{self, malformed};

const CANCEL_FLIGHT_INFO: &str = "CancelFlightInfo";
const RENEW_FLIGHT_ENDPOINT: &str = "RenewFlightEndpoint";
const SET_SESSION_OPTIONS: &str = "SetSessionOptions";
const GET_SESSION_OPTIONS: &str = "GetSessionOptions";
const CLOSE_SESSION: &str = "CloseSession";
const UPLOAD_PLUGIN: &str = "elanus.UploadPlugin";

/// Actions beyond those of Flight SQL, with what they are for.
const ACTIONS: [(&str, &str); 6] = [
    (CANCEL_FLIGHT_INFO, "End a query by its flight info"),
    (RENEW_FLIGHT_ENDPOINT, "Keep a result longer"),
    (
        SET_SESSION_OPTIONS,
        "Set options of the session: schema and elanus.*",
    ),
    (GET_SESSION_OPTIONS, "Read the options of the session"),
    (
        CLOSE_SESSION,
        "Forget the options and prepared statements of the session",
    ),
    (
        UPLOAD_PLUGIN,
        "Keep the WebAssembly component in the body; answers with the path for CREATE RERANKER or CREATE FUNCTION",
    ),
];

const TRANSACTIONS: &str = "transactions of several statements; every statement is one of its own";
const SUBSTRAIT: &str = "Substrait plans; send SQL";

/// Actions of Flight SQL that are not there, with what is said of them.
const REFUSED: [(&str, &str); 5] = [
    ("BeginTransaction", TRANSACTIONS),
    ("EndTransaction", TRANSACTIONS),
    ("BeginSavepoint", TRANSACTIONS),
    ("EndSavepoint", TRANSACTIONS),
    ("CreatePreparedSubstraitPlan", SUBSTRAIT),
];

/// Checks that bytes are a command of Flight SQL: `arrow-flight` takes those that are not for its own fault.
fn check_command(bytes: &[u8], what: &str) -> Result<(), Status> {
    let any = Any::decode(bytes).map_err(|e| malformed(what, e))?;
    let command = Command::try_from(any).map_err(|e| malformed(what, e))?;
    if let Command::Unknown(any) = command {
        return Err(Status::invalid_argument(format!(
            "{what} is not a command of Flight SQL but '{}'",
            any.type_url
        )));
    }
    Ok(())
}

/// The gRPC service.
pub(crate) struct Door {
    service: Service,
    sessions: Arc<Sessions>,
}

impl Door {
    pub fn new(service: Service, sessions: Arc<Sessions>) -> Self {
        Self { service, sessions }
    }

    fn one_result(message: &impl Message) -> Response<Answers<arrow_flight::Result>> {
        let result = arrow_flight::Result {
            body: message.encode_to_vec().into(),
        };
        Response::new(futures::stream::once(async { Ok(result) }).boxed())
    }

    fn cancel(&self, action: &Action) -> Result<Response<Answers<arrow_flight::Result>>, Status> {
        let request =
            CancelFlightInfoRequest::decode(&*action.body).map_err(|e| malformed("the request", e))?;
        let info: FlightInfo = request
            .info
            .ok_or_else(|| Status::invalid_argument("the flight info to cancel is missing"))?;
        let status = match self.service.cancel(&info)? {
            Cancelled::Yes => CancelStatus::Cancelled,
            Cancelled::Gone => CancelStatus::NotCancellable,
        };
        Ok(Self::one_result(&CancelFlightInfoResult {
            status: status.into(),
        }))
    }

    fn renew(&self, action: &Action) -> Result<Response<Answers<arrow_flight::Result>>, Status> {
        let request =
            RenewFlightEndpointRequest::decode(&*action.body).map_err(|e| malformed("the request", e))?;
        let mut endpoint = request
            .endpoint
            .ok_or_else(|| Status::invalid_argument("the endpoint to renew is missing"))?;
        let ticket = endpoint
            .ticket
            .as_ref()
            .ok_or_else(|| Status::invalid_argument("the endpoint to renew has no ticket"))?;
        let part = part_of(ticket)?;
        match self.service.results().renew(part.result()) {
            Some(until) => endpoint.expiration_time = Some(until),
            // Computed again for whoever asks: it does not expire.
            None if part.parts == 1 => {}
            None => {
                return Err(Status::not_found(
                    "the result has expired: run the statement again",
                ));
            }
        }
        Ok(Self::one_result(&endpoint))
    }

    /// The body is the file; the answer is the path that statements register it by, as text.
    async fn upload_plugin(
        &self,
        session: &SessionContext,
        action: &Action,
    ) -> Result<Response<Answers<arrow_flight::Result>>, Status> {
        let engine = self.service.engine();
        let uploaded = engine.upload_plugin(session, action.body.clone()).await;
        let digest = uploaded.map_err(status::of)?;
        let result = arrow_flight::Result {
            body: format!("sha256:{digest}").into(),
        };
        Ok(Response::new(futures::stream::once(async { Ok(result) }).boxed()))
    }

    async fn act(&self, request: Request<Action>) -> Result<Response<Answers<arrow_flight::Result>>, Status> {
        let action = request.get_ref();
        if let Some((_, what)) = REFUSED.iter().find(|(name, _)| *name == action.r#type) {
            return Err(Status::unimplemented(format!("not supported: {what}")));
        }
        match action.r#type.as_str() {
            CANCEL_FLIGHT_INFO => self.cancel(action),
            RENEW_FLIGHT_ENDPOINT => self.renew(action),
            UPLOAD_PLUGIN => {
                let (_, session) = self.service.client(&request)?;
                self.upload_plugin(&session, action).await
            }
            SET_SESSION_OPTIONS => {
                let (client, session) = self.service.client(&request)?;
                let set = session_options::SetRequest::decode(&*action.body)
                    .map_err(|e| malformed("the session options", e))?;
                client.change();
                Ok(Self::one_result(&session_options::set(
                    self.service.engine(),
                    &session,
                    &set,
                )))
            }
            GET_SESSION_OPTIONS => {
                let (_, session) = self.service.client(&request)?;
                Ok(Self::one_result(&session_options::get(&session)))
            }
            _ => self.service.do_action(request).await,
        }
    }
}

#[flight_tonic::async_trait]
impl FlightService for Door {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;
    type DoExchangeStream = Answers<FlightData>;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        let mut request = request;
        let visit = match self.sessions.enter(&mut request) {
            Ok(visit) => visit,
            // Who says hello with the cookie of a session that is gone begins a new one.
            Err(_) => {
                request.metadata_mut().remove("cookie");
                self.sessions.enter(&mut request)?
            }
        };
        let mut response = self.service.handshake(request).await?;
        self.sessions.hand_out(visit.client(), response.metadata_mut());
        Ok(response)
    }

    /// Nothing is there without being asked for: tables are found with the catalog commands.
    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        Ok(Response::new(futures::stream::empty().boxed()))
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let mut request = request;
        let visit = self.sessions.enter(&mut request)?;
        check_command(&request.get_ref().cmd, "the descriptor")?;
        let response = self.service.get_flight_info(request).await?;
        Ok(self.sessions.leave(&visit, response))
    }

    /// Queries start when their parts are fetched, so that the first poll has the whole answer.
    async fn poll_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        let response = self.get_flight_info(request).await?;
        Ok(response.map(|info| PollInfo {
            info: Some(info),
            flight_descriptor: None,
            progress: Some(1.0),
            expiration_time: None,
        }))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let mut request = request;
        let visit = self.sessions.enter(&mut request)?;
        let response = self.service.schema(request).await.map(Response::new)?;
        Ok(self.sessions.leave(&visit, response))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let mut request = request;
        let visit = self.sessions.enter(&mut request)?;
        check_command(&request.get_ref().ticket, "the ticket")?;
        let response = self.service.do_get(request).await?;
        Ok(self.sessions.leave(&visit, response))
    }

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        let mut request = request;
        let visit = self.sessions.enter(&mut request)?;
        let response = self.service.do_put(request).await?;
        Ok(self.sessions.leave(&visit, response))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let mut request = request;
        let visit = self.sessions.enter(&mut request)?;
        if request.get_ref().r#type == CLOSE_SESSION {
            let closed = Self::one_result(&session_options::CloseResult::closed());
            return Ok(self.sessions.close(&visit, closed));
        }
        let response = self.act(request).await?;
        Ok(self.sessions.leave(&visit, response))
    }

    async fn list_actions(
        &self,
        request: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        let is_here = |action: &Result<ActionType, Status>| {
            let refused = |action: &ActionType| REFUSED.iter().any(|(name, _)| *name == action.r#type);
            futures::future::ready(!action.as_ref().is_ok_and(refused))
        };
        let of_sql = self.service.list_actions(request).await?.into_inner();
        let of_sql = of_sql.filter(is_here);
        let ours = ACTIONS.map(|(name, description)| {
            Ok(ActionType {
                r#type: name.to_string(),
                description: description.to_string(),
            })
        });
        Ok(Response::new(of_sql.chain(futures::stream::iter(ours)).boxed()))
    }

    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(Status::unimplemented("not supported: DoExchange"))
    }
}
