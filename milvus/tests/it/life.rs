//! What every program does: create, insert, search, query, delete, describe, drop.

use milvus::proto::milvus as wire;
use milvus::proto::schema::i_ds::IdField;
use milvus::proto::schema::{IDs, LongArray};

use crate::rig::{Rig, create, insert, ok, pairs, ready, search};

fn ids(found: Option<IDs>) -> Vec<i64> {
    match found.and_then(|ids| ids.id_field) {
        Some(IdField::IntId(LongArray { data })) => data,
        other => panic!("not integer ids: {other:?}"),
    }
}

#[tokio::test]
async fn rows_are_found_as_soon_as_they_are_acknowledged() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    ready(&mut client, "c").await;
    let inserted = client
        .insert(insert("c", &[1, 2, 3, 4]))
        .await
        .unwrap()
        .into_inner();
    ok(inserted.status.as_ref());
    assert_eq!((inserted.insert_cnt, ids(inserted.i_ds)), (4, vec![1, 2, 3, 4]));

    let found = client.search(search("c", 2.9, "2")).await.unwrap().into_inner();
    ok(found.status.as_ref());
    let results = found.results.unwrap();
    assert_eq!(results.topks, [2]);
    assert_eq!(ids(results.ids), [3, 2]);
    assert!((results.scores[0] - 0.01).abs() < 1e-5, "{:?}", results.scores);

    let delete = wire::DeleteRequest {
        collection_name: "c".into(),
        expr: "id in [3]".into(),
        ..Default::default()
    };
    let deleted = client.delete(delete).await.unwrap().into_inner();
    ok(deleted.status.as_ref());
    assert_eq!((deleted.delete_cnt, deleted.i_ds), (1, None));
    let found = client.search(search("c", 2.9, "2")).await.unwrap().into_inner();
    assert_eq!(ids(found.results.unwrap().ids), [2, 4]);

    let query = wire::QueryRequest {
        collection_name: "c".into(),
        expr: "id > 1".into(),
        output_fields: vec!["*".into()],
        query_params: pairs(&[("limit", "1"), ("offset", "1")]),
        ..Default::default()
    };
    let rows = client.query(query).await.unwrap().into_inner();
    ok(rows.status.as_ref());
    assert_eq!(rows.output_fields, ["id", "v", "$meta"]);
    assert_eq!(rows.fields_data.len(), 3);
    rig.stop().await;
}

#[tokio::test]
async fn asking_again_for_the_same_is_no_mistake() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    for _ in 0..2 {
        ok(Some(
            client.create_collection(create("c")).await.unwrap().get_ref(),
        ));
    }
    let partition = wire::CreatePartitionRequest {
        collection_name: "c".into(),
        partition_name: "p".into(),
        ..Default::default()
    };
    for _ in 0..2 {
        ok(Some(
            client
                .create_partition(partition.clone())
                .await
                .unwrap()
                .get_ref(),
        ));
    }
    let drop = wire::DropCollectionRequest {
        collection_name: "c".into(),
        ..Default::default()
    };
    for _ in 0..2 {
        ok(Some(
            client.drop_collection(drop.clone()).await.unwrap().get_ref(),
        ));
    }
    let mut other = create("d");
    ok(Some(
        client.create_collection(other.clone()).await.unwrap().get_ref(),
    ));
    other.consistency_level = 2;
    let refused = client.create_collection(other).await.unwrap().into_inner();
    assert!(
        refused
            .reason
            .contains("create duplicate collection with different parameters"),
        "{}",
        refused.reason
    );
    rig.stop().await;
}

#[tokio::test]
async fn the_database_comes_from_the_request_or_the_metadata() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    let database = wire::CreateDatabaseRequest {
        db_name: "books".into(),
        ..Default::default()
    };
    ok(Some(client.create_database(database).await.unwrap().get_ref()));
    let mut request = tonic::Request::new(create("in_books"));
    request.metadata_mut().insert("dbname", "books".parse().unwrap());
    request
        .metadata_mut()
        .insert("authorization", "cm9vdDpNaWx2dXM=".parse().unwrap());
    ok(Some(client.create_collection(request).await.unwrap().get_ref()));
    let show = |db_name: &str| wire::ShowCollectionsRequest {
        db_name: db_name.into(),
        ..Default::default()
    };
    let inside = client.show_collections(show("books")).await.unwrap().into_inner();
    assert_eq!(inside.collection_names, ["in_books"]);
    let outside = client.show_collections(show("")).await.unwrap().into_inner();
    assert!(outside.collection_names.is_empty());
    let mut hello = tonic::Request::new(wire::ConnectRequest::default());
    hello.metadata_mut().insert("dbname", "films".parse().unwrap());
    let refused = client.connect(hello).await.unwrap().into_inner();
    assert_eq!(refused.status.unwrap().code, 800);
    rig.stop().await;
}

#[tokio::test]
async fn a_collection_is_described_as_it_was_made() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    ready(&mut client, "c").await;
    let alias = wire::CreateAliasRequest {
        collection_name: "c".into(),
        alias: "also_c".into(),
        ..Default::default()
    };
    ok(Some(client.create_alias(alias).await.unwrap().get_ref()));
    let describe = wire::DescribeCollectionRequest {
        collection_name: "also_c".into(),
        ..Default::default()
    };
    let described = client.describe_collection(describe).await.unwrap().into_inner();
    ok(described.status.as_ref());
    assert_eq!(
        (described.collection_name.as_str(), described.aliases.as_slice()),
        ("c", ["also_c".to_string()].as_slice())
    );
    let schema = described.schema.unwrap();
    let names: Vec<_> = schema
        .fields
        .iter()
        .map(|field| (field.field_id, field.name.as_str()))
        .collect();
    assert_eq!(names, [(100, "id"), (101, "v")]);
    let index = wire::DescribeIndexRequest {
        collection_name: "c".into(),
        ..Default::default()
    };
    let indexes = client
        .describe_index(index)
        .await
        .unwrap()
        .into_inner()
        .index_descriptions;
    let params: Vec<_> = indexes[0]
        .params
        .iter()
        .map(|pair| (pair.key.as_str(), pair.value.as_str()))
        .collect();
    assert_eq!(params, [("index_type", "AUTOINDEX"), ("metric_type", "L2")]);
    rig.stop().await;
}
