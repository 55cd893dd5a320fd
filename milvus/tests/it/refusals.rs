//! Mistakes and missing features: the code, the words, and never a broken connection.

use milvus::proto::common::{ErrorCode, Status};
use milvus::proto::milvus as wire;
use milvus::proto::schema::i_ds::IdField;
use milvus::proto::schema::{DataType, FieldSchema, SearchResultData};

use crate::rig::{Rig, create, create_with, insert, ok, pairs, query, ready, ready_with, search, searches};

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
        .load_balance(wire::LoadBalanceRequest::default())
        .await
        .unwrap()
        .into_inner();
    refused(Some(status), 10, "not supported: LoadBalance");
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
        ("range_filter", "1", 1100, "range_filter is given without radius"),
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
            "v",
            1100,
            "group by field 'v' is FloatVector: unsupported data type for group by",
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

#[tokio::test]
async fn a_write_by_an_old_schema_is_told_so() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    ready(&mut client, "c").await;
    let describe = wire::DescribeCollectionRequest {
        collection_name: "c".into(),
        ..Default::default()
    };
    let described = client.describe_collection(describe).await.unwrap().into_inner();
    let by = |schema_timestamp: u64| wire::InsertRequest {
        schema_timestamp,
        ..insert("c", &[1])
    };
    let known = client.insert(by(described.update_timestamp)).await.unwrap();
    ok(known.get_ref().status.as_ref());
    let old = client.insert(by(described.update_timestamp - 1)).await.unwrap();
    let status = old.into_inner().status.unwrap();
    #[expect(deprecated, reason = "the code that pymilvus refreshes its schema on")]
    let legacy = status.error_code;
    assert_eq!(legacy, ErrorCode::SchemaMismatch as i32);
    refused(Some(status), 109, "collection schema mismatch[collection=c]");
    let insert = by(1);
    let upsert = wire::UpsertRequest {
        collection_name: "c".into(),
        fields_data: insert.fields_data,
        num_rows: 1,
        schema_timestamp: 1,
        ..Default::default()
    };
    refused(
        client.upsert(upsert).await.unwrap().into_inner().status,
        109,
        "schema",
    );
    rig.stop().await;
}

#[tokio::test]
async fn keys_that_are_no_list_are_not_read_as_one() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    ready(&mut client, "c").await;
    client.insert(insert("c", &[1, 2])).await.unwrap();
    for text in ["id == 1, 2", "id ==", "id == 1,"] {
        let delete = wire::DeleteRequest {
            collection_name: "c".into(),
            expr: text.into(),
            ..Default::default()
        };
        let deleted = client.delete(delete).await.unwrap().into_inner();
        refused(deleted.status, 1100, "cannot parse expression");
        let rows = client.query(query("c", text)).await.unwrap().into_inner();
        refused(rows.status, 1100, "cannot parse expression");
    }
    let found = client.search(search("c", 0.0, "9")).await.unwrap().into_inner();
    assert_eq!(found.results.unwrap().topks, [2]);
    rig.stop().await;
}

#[tokio::test]
async fn partitions_cannot_be_named_beside_a_partition_key() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    let tenant = FieldSchema {
        name: "tenant".into(),
        data_type: DataType::Int64 as i32,
        is_partition_key: true,
        ..Default::default()
    };
    ready_with(&mut client, create_with("c", vec![tenant])).await;
    let words = "not support manually specifying the partition names if partition key mode is used";
    let names = vec!["_default_0".to_string()];
    let found = client.search(wire::SearchRequest {
        partition_names: names.clone(),
        ..search("c", 0.0, "1")
    });
    refused(found.await.unwrap().into_inner().status, 1100, words);
    let rows = client.query(wire::QueryRequest {
        partition_names: names.clone(),
        ..query("c", "id > 0")
    });
    refused(rows.await.unwrap().into_inner().status, 1100, words);
    let load = wire::LoadPartitionsRequest {
        collection_name: "c".into(),
        partition_names: names,
        ..Default::default()
    };
    let loaded = client.load_partitions(load).await.unwrap().into_inner();
    refused(
        Some(loaded),
        1100,
        "disable load partitions if partition key mode is used",
    );
    rig.stop().await;
}

#[tokio::test]
async fn a_namespace_is_not_ignored() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    ready(&mut client, "c").await;
    let words = "not supported: namespaces (namespace=mine)";
    let mine = || Some("mine".to_string());
    let inserted = client.insert(wire::InsertRequest {
        namespace: mine(),
        ..insert("c", &[1])
    });
    refused(inserted.await.unwrap().into_inner().status, 3000, words);
    let found = client.search(wire::SearchRequest {
        namespace: mine(),
        ..search("c", 1.0, "1")
    });
    refused(found.await.unwrap().into_inner().status, 3000, words);
    let rows = client.query(wire::QueryRequest {
        namespace: mine(),
        ..query("c", "id > 0")
    });
    refused(rows.await.unwrap().into_inner().status, 3000, words);
    rig.stop().await;
}

#[tokio::test]
async fn an_answer_above_the_limit_is_refused_before_it_is_made() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    ready(&mut client, "c").await;
    let ids: Vec<i64> = (0..2_000).collect();
    client.insert(insert("c", &ids)).await.unwrap();
    let request = searches("c", &[0.0; 16_384], "16384");
    let found = client.search(request.clone()).await.unwrap().into_inner();
    refused(
        found.status,
        65_535,
        "search results exceed the maxOutputSize Limit 104857600",
    );
    // Few rows match, so the answer is small however much was asked for.
    let filtered = wire::SearchRequest {
        dsl: "id < 3".into(),
        ..request
    };
    let found = client.search(filtered).await.unwrap().into_inner();
    ok(found.status.as_ref());
    let SearchResultData { topks, ids, .. } = found.results.unwrap();
    assert!(topks.len() == 16_384 && topks.iter().all(|topk| *topk == 3));
    let Some(IdField::IntId(ids)) = ids.and_then(|ids| ids.id_field) else {
        panic!("not integer ids")
    };
    assert!(ids.data.chunks(3).all(|of_query| of_query == [0, 1, 2]));
    rig.stop().await;
}

#[tokio::test]
async fn refreshing_what_is_not_loaded_does_not_load_it() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    ready(&mut client, "c").await;
    let refresh = wire::LoadCollectionRequest {
        collection_name: "c".into(),
        refresh: true,
        ..Default::default()
    };
    ok(Some(
        client.load_collection(refresh.clone()).await.unwrap().get_ref(),
    ));
    let release = wire::ReleaseCollectionRequest {
        collection_name: "c".into(),
        ..Default::default()
    };
    client.release_collection(release).await.unwrap();
    let status = client.load_collection(refresh).await.unwrap().into_inner();
    refused(Some(status), 101, "collection not loaded[collection=c]");
    rig.stop().await;
}

#[tokio::test]
async fn a_collection_of_other_parameters_is_not_the_same() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    let tenant = FieldSchema {
        name: "tenant".into(),
        data_type: DataType::Int64 as i32,
        is_partition_key: true,
        ..Default::default()
    };
    let first = wire::CreateCollectionRequest {
        num_partitions: 8,
        properties: pairs(&[("timezone", "Europe/Berlin")]),
        ..create_with("c", vec![tenant])
    };
    for _ in 0..2 {
        ok(Some(
            client.create_collection(first.clone()).await.unwrap().get_ref(),
        ));
    }
    for other in [
        wire::CreateCollectionRequest {
            num_partitions: 16,
            ..first.clone()
        },
        wire::CreateCollectionRequest {
            properties: Vec::new(),
            ..first.clone()
        },
    ] {
        let status = client.create_collection(other).await.unwrap().into_inner();
        refused(
            Some(status),
            65_535,
            "create duplicate collection with different parameters",
        );
    }
    let odd = wire::CreateCollectionRequest {
        consistency_level: 9,
        ..create("d")
    };
    let status = client.create_collection(odd).await.unwrap().into_inner();
    refused(Some(status), 1100, "consistency level 9 does not exist");
    rig.stop().await;
}

#[tokio::test]
async fn the_dynamic_field_is_not_switched_off_in_name_only() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    ready(&mut client, "c").await;
    for (value, code, words) in [
        ("false", 1100, "dynamic schema cannot supported to be disabled"),
        ("true", 3000, "dynamicfield.enabled=true"),
    ] {
        let alter = wire::AlterCollectionRequest {
            collection_name: "c".into(),
            properties: pairs(&[("dynamicfield.enabled", value)]),
            ..Default::default()
        };
        let status = client.alter_collection(alter).await.unwrap().into_inner();
        refused(Some(status), code, words);
    }
    rig.stop().await;
}
