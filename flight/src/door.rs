//! [`Door`]: the calls of plain Flight around [`Service`]. `arrow-flight` answers the commands of Flight
//! SQL from the service; schemas, session options, cancellation and listing are added here.

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, Criteria, Empty,
    FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse, PollInfo, PutResult,
    RenewFlightEndpointRequest, SchemaResult, Ticket,
};
use flight_prost::Message;
use flight_tonic::{Request, Response, Status, Streaming};
use futures::StreamExt;

use crate::results::Cancelled;
use crate::service::{Answers, Service, part_of};
use crate::session_options;
use crate::status::malformed;

const CANCEL_FLIGHT_INFO: &str = "CancelFlightInfo";
const RENEW_FLIGHT_ENDPOINT: &str = "RenewFlightEndpoint";
const SET_SESSION_OPTIONS: &str = "SetSessionOptions";
const GET_SESSION_OPTIONS: &str = "GetSessionOptions";
const CLOSE_SESSION: &str = "CloseSession";

/// Actions beyond those of Flight SQL, with what they are for.
const ACTIONS: [(&str, &str); 5] = [
    (CANCEL_FLIGHT_INFO, "End a query by its flight info"),
    (RENEW_FLIGHT_ENDPOINT, "Keep a result longer"),
    (
        SET_SESSION_OPTIONS,
        "Set options of the connection: schema and elanus.*",
    ),
    (GET_SESSION_OPTIONS, "Read the options of the connection"),
    (
        CLOSE_SESSION,
        "Forget the options and prepared statements of the connection",
    ),
];

/// The gRPC service.
pub(crate) struct Door(Service);

impl Door {
    pub fn new(service: Service) -> Self {
        Self(service)
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
        let status = match self.0.cancel(&info)? {
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
        match self.0.results().renew(part.result()) {
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
        self.0.handshake(request).await
    }

    /// Nothing is there without being asked for: tables are found with the catalog commands.
    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        Ok(Response::new(futures::stream::empty().boxed()))
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.0.get_flight_info(request).await
    }

    /// Queries start when their parts are fetched, so that the first poll has the whole answer.
    async fn poll_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        let info = self.0.get_flight_info(request).await?.into_inner();
        Ok(Response::new(PollInfo {
            info: Some(info),
            flight_descriptor: None,
            progress: Some(1.0),
            expiration_time: None,
        }))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        self.0.schema(request).await.map(Response::new)
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        self.0.do_get(request).await
    }

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        self.0.do_put(request).await
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let action = request.get_ref();
        match action.r#type.as_str() {
            CANCEL_FLIGHT_INFO => self.cancel(action),
            RENEW_FLIGHT_ENDPOINT => self.renew(action),
            SET_SESSION_OPTIONS => {
                let (_, session) = self.0.client(&request)?;
                let set = session_options::SetRequest::decode(&*action.body)
                    .map_err(|e| malformed("the session options", e))?;
                Ok(Self::one_result(&session_options::set(
                    self.0.engine(),
                    &session,
                    &set,
                )))
            }
            GET_SESSION_OPTIONS => {
                let (_, session) = self.0.client(&request)?;
                Ok(Self::one_result(&session_options::get(&session)))
            }
            CLOSE_SESSION => {
                let (client, _) = self.0.client(&request)?;
                client.reset();
                Ok(Self::one_result(&session_options::CloseResult::closed()))
            }
            _ => self.0.do_action(request).await,
        }
    }

    async fn list_actions(
        &self,
        request: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        let of_sql = self.0.list_actions(request).await?.into_inner();
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
