//! Mistakes and missing features: the code, the words, and never a broken connection.

use milvus::proto::common::Status;
use milvus::proto::milvus as wire;

use crate::rig::{Rig, insert, pairs, ready, search};

#[track_caller]
fn refused(status: Option<Status>, code: i32, words: &str) {
    let status = status.expect("every reply has a status");
    assert_eq!(status.code, code, "{}", status.reason);
    assert!(status.reason.contains(words), "{}", status.reason);
}

#[tokio::test]
async fn a_call_that_is_not_there_says_its_name() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    let status = client
        .truncate_collection(wire::TruncateCollectionRequest::default())
        .await
        .unwrap()
        .into_inner();
    refused(status.status, 10, "not supported: TruncateCollection");
    let status = client
        .hybrid_search(wire::HybridSearchRequest::default())
        .await
        .unwrap()
        .into_inner();
    refused(status.status, 10, "not supported: HybridSearch");
    let schema = client
        .alter_collection_schema(wire::AlterCollectionSchemaRequest::default())
        .await
        .unwrap();
    refused(
        schema.into_inner().alter_status,
        10,
        "not supported: AlterCollectionSchema",
    );
    let error = client.dummy(wire::DummyRequest::default()).await.unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (tonic::Code::Unimplemented, "not supported: Dummy")
    );
    rig.stop().await;
}

#[tokio::test]
async fn searches_that_cannot_be_are_refused_one_by_one() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    let result = client
        .search(search("nope", 1.0, "1"))
        .await
        .unwrap()
        .into_inner();
    refused(
        result.status,
        100,
        "collection not found[database=default][collection=nope]",
    );
    ready(&mut client, "c").await;
    client.insert(insert("c", &[1])).await.unwrap();
    let cases: [(&str, &str, i32, &str); 5] = [
        ("radius", "1", 3000, "not supported: parameter radius=1"),
        (
            "metric_type",
            "COSINE",
            1100,
            "metric type not match: invalid parameter[expected=L2][actual=COSINE]",
        ),
        ("offset", "16384", 1100, "offset+topk [16385] is invalid"),
        ("round_decimal", "9", 1100, "round_decimal [9] is invalid"),
        (
            "group_by_field",
            "color",
            3000,
            "not supported: parameter group_by_field=color",
        ),
    ];
    for (key, value, code, words) in cases {
        let mut request = search("c", 1.0, "1");
        request.search_params.extend(pairs(&[(key, value)]));
        let result = client.search(request).await.unwrap().into_inner();
        refused(result.status, code, words);
    }
    let mut request = search("c", 1.0, "1");
    request.dsl = "id >".into();
    let result = client.search(request).await.unwrap().into_inner();
    refused(
        result.status,
        1100,
        "failed to create query plan: cannot parse expression: id >",
    );
    let release = wire::ReleaseCollectionRequest {
        collection_name: "c".into(),
        ..Default::default()
    };
    client.release_collection(release).await.unwrap();
    let result = client.search(search("c", 1.0, "1")).await.unwrap().into_inner();
    refused(result.status, 101, "collection not loaded[collection=c]");
    rig.stop().await;
}

#[tokio::test]
async fn bytes_that_are_no_message_are_an_error_of_one_call() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    let garbage = wire::CreateCollectionRequest {
        collection_name: "c".into(),
        schema: vec![0xff; 40],
        ..Default::default()
    };
    let status = client.create_collection(garbage).await.unwrap().into_inner();
    refused(Some(status), 1100, "cannot be decoded");
    ready(&mut client, "c").await;
    let mut request = search("c", 1.0, "1");
    request.search_input = Some(wire::search_request::SearchInput::PlaceholderGroup(vec![
        0xff;
        40
    ]));
    let result = client.search(request).await.unwrap().into_inner();
    refused(result.status, 1100, "cannot be decoded");
    assert!(
        client.get_version(wire::GetVersionRequest {}).await.is_ok(),
        "the connection goes on"
    );
    rig.stop().await;
}
