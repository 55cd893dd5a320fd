//! Reflection and health, as `grpcurl` and load balancers ask for them.

use flight_prost::Message;
use futures::TryStreamExt;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1alpha;

use crate::support::Server;

const FLIGHT: &str = "arrow.flight.protocol.FlightService";
const HEALTH: &str = "grpc.health.v1.Health";

async fn ask(server: &Server, question: MessageRequest) -> MessageResponse {
    let mut client = ServerReflectionClient::new(server.channel().await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(question),
    };
    let answers = client
        .server_reflection_info(futures::stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    let mut answers: Vec<_> = answers.try_collect().await.unwrap();
    answers.remove(0).message_response.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_services_are_listed() {
    let server = Server::start().await;
    let answer = ask(&server, MessageRequest::ListServices(String::new())).await;
    let MessageResponse::ListServicesResponse(list) = answer else {
        panic!("{answer:?}");
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&FLIGHT) && names.contains(&HEALTH), "{names:?}");

    // Under the older name of the service, too.
    let mut old = v1alpha::server_reflection_client::ServerReflectionClient::new(server.channel().await);
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let answers = old
        .server_reflection_info(futures::stream::iter([request]))
        .await
        .unwrap();
    assert_eq!(
        answers.into_inner().try_collect::<Vec<_>>().await.unwrap().len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_messages_are_described() {
    let server = Server::start().await;
    let calls = [
        "Handshake",
        "GetFlightInfo",
        "PollFlightInfo",
        "GetSchema",
        "DoGet",
        "DoPut",
        "DoAction",
    ];
    let messages = [
        "FlightInfo",
        "Ticket",
        "SetSessionOptionsRequest",
        "sql.CommandStatementQuery",
    ];
    let symbols = calls
        .iter()
        .map(|call| format!("{FLIGHT}.{call}"))
        .chain(
            messages
                .iter()
                .map(|message| format!("arrow.flight.protocol.{message}")),
        )
        .chain([HEALTH.to_string()]);
    for symbol in symbols {
        let answer = ask(&server, MessageRequest::FileContainingSymbol(symbol.clone())).await;
        let MessageResponse::FileDescriptorResponse(files) = answer else {
            panic!("{symbol}: {answer:?}");
        };
        let file = &files.file_descriptor_proto[0];
        let file = flight_prost_types::FileDescriptorProto::decode(file.as_slice()).unwrap();
        // What it imports can be asked for by its file's name.
        for import in file.dependency {
            let answer = ask(&server, MessageRequest::FileByFilename(import.clone())).await;
            assert!(
                matches!(answer, MessageResponse::FileDescriptorResponse(_)),
                "{import}: {answer:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_says_that_it_serves() {
    let server = Server::start().await;
    let mut health = HealthClient::new(server.channel().await);
    for service in ["", FLIGHT] {
        let request = HealthCheckRequest {
            service: service.to_string(),
        };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
}
