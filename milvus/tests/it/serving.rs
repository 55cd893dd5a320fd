//! The socket: requests that are too large or compressed, telemetry, metrics, stopping.

use elanus_milvus::{MAX_REQUEST_BYTES, SERVER_VERSION};
use milvus::proto::milvus as wire;
use milvus::proto::milvus::client_telemetry_service_client::ClientTelemetryServiceClient;
use tonic::Code;
use tonic::codec::CompressionEncoding;

use crate::rig::{Rig, create, insert, ok, ready, search};

#[tokio::test]
async fn a_compressed_request_is_refused_before_it_unfolds() {
    let rig = Rig::start().await;
    let mut client = rig.client().await.send_compressed(CompressionEncoding::Gzip);
    let error = client.create_collection(create("c")).await.unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented, "{error}");
    assert!(error.message().contains("gzip"), "{error}");
    rig.stop().await;
}

#[tokio::test]
async fn a_request_above_the_limit_is_refused_with_the_code_that_is_not_tried_again() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    let large = wire::InsertRequest {
        collection_name: "x".repeat(MAX_REQUEST_BYTES + 1),
        ..Default::default()
    };
    let error = client.insert(large).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
    assert!(
        error.message().contains("the limit is: 67108864 bytes"),
        "{error}"
    );
    let version = client.get_version(wire::GetVersionRequest {}).await;
    version.expect("the door goes on");
    rig.stop().await;
}

#[tokio::test]
async fn clients_may_report_how_they_fare() {
    let rig = Rig::start().await;
    let mut telemetry = ClientTelemetryServiceClient::new(rig.channel().await);
    let beat = telemetry
        .client_heartbeat(wire::ClientHeartbeatRequest::default())
        .await
        .unwrap()
        .into_inner();
    ok(beat.status.as_ref());
    assert!(beat.server_timestamp > 0 && beat.commands.is_empty());
    let asked = telemetry
        .get_client_telemetry(wire::GetClientTelemetryRequest::default())
        .await
        .unwrap();
    assert_eq!(asked.into_inner().status.unwrap().code, 10);
    rig.stop().await;
}

#[tokio::test]
async fn calls_and_rows_are_counted() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    ready(&mut client, "c").await;
    client.insert(insert("c", &[1, 2, 3])).await.unwrap();
    client.search(search("c", 1.0, "1")).await.unwrap();
    client.search(search("nope", 1.0, "1")).await.unwrap();
    let families = rig.registry.gather();
    let value = |name: &str, labels: &[(&str, &str)]| {
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let metric = family.get_metric().iter().find(|metric| {
            labels.iter().all(|(key, value)| {
                metric
                    .get_label()
                    .iter()
                    .any(|label| label.name() == *key && label.value() == *value)
            })
        });
        metric.map_or(0.0, |metric| metric.get_counter().get_value())
    };
    assert_eq!(
        value("milvus_proxy_insert_vectors_count", &[("collection_name", "c")]),
        3.0
    );
    assert_eq!(
        value("milvus_proxy_search_vectors_count", &[("collection_name", "c")]),
        1.0
    );
    let searches = |status: &str| {
        value(
            "milvus_proxy_req_count",
            &[("function_name", "Search"), ("status", status)],
        )
    };
    assert_eq!(
        (searches("total"), searches("success"), searches("fail")),
        (2.0, 1.0, 1.0)
    );
    rig.stop().await;
}

#[tokio::test]
async fn a_stopped_door_returns_with_clients_still_connected() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    let version = client
        .get_version(wire::GetVersionRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(version.version, SERVER_VERSION);
    rig.stop().await;
    client.get_version(wire::GetVersionRequest {}).await.unwrap_err();
}
