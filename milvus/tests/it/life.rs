//! What every program does: create, insert, search, query, delete, describe, drop.

use std::sync::Arc;

use milvus::proto::milvus as wire;
use milvus::proto::schema::i_ds::IdField;
use milvus::proto::schema::{IDs, LongArray};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use crate::rig::{Rig, create, insert, ok, pairs, ready, search, searches};

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

#[tokio::test]
async fn a_collection_moves_to_another_database_without_its_aliases() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    ready(&mut client, "c").await;
    client.insert(insert("c", &[1, 2])).await.unwrap();
    for name in ["d", "e"] {
        ok(Some(
            client.create_collection(create(name)).await.unwrap().get_ref(),
        ));
    }
    let database = wire::CreateDatabaseRequest {
        db_name: "books".into(),
        ..Default::default()
    };
    ok(Some(client.create_database(database).await.unwrap().get_ref()));
    for (alias, of) in [("also_c", "c"), ("also_d", "d")] {
        let alias = wire::CreateAliasRequest {
            collection_name: of.into(),
            alias: alias.into(),
            ..Default::default()
        };
        ok(Some(client.create_alias(alias).await.unwrap().get_ref()));
    }
    let rename = |old: &str, new: &str, new_db: &str| wire::RenameCollectionRequest {
        old_name: old.into(),
        new_name: new.into(),
        new_db_name: new_db.into(),
        ..Default::default()
    };
    for (request, words) in [
        (
            rename("c", "c", "books"),
            "fail to rename db name, must drop all aliases of this collection before rename: [also_c]",
        ),
        (
            rename("e", "also_d", ""),
            "duplicated new collection name default:also_d with other collection name or alias",
        ),
        (
            rename("also_c", "x", ""),
            "unsupported use an alias to rename collection",
        ),
        (rename("e", "e", "films"), "database not found[database=films]"),
    ] {
        let refused = client.rename_collection(request).await.unwrap().into_inner();
        assert!(
            refused.code != 0 && refused.reason.contains(words),
            "{}",
            refused.reason
        );
    }
    let unalias = wire::DropAliasRequest {
        alias: "also_c".into(),
        ..Default::default()
    };
    ok(Some(client.drop_alias(unalias).await.unwrap().get_ref()));
    ok(Some(
        client
            .rename_collection(rename("c", "c2", "books"))
            .await
            .unwrap()
            .get_ref(),
    ));
    let moved = wire::SearchRequest {
        db_name: "books".into(),
        ..search("c2", 0.0, "9")
    };
    let found = client.search(moved).await.unwrap().into_inner();
    assert_eq!(ids(found.results.unwrap().ids), [1, 2]);
    let gone = client.search(search("c", 0.0, "9")).await.unwrap().into_inner();
    assert_eq!(gone.status.unwrap().code, 100);
    rig.stop().await;
}

#[tokio::test]
async fn a_damaged_collection_can_be_dropped() {
    let store = Arc::new(InMemory::new());
    let rig = Rig::over(Arc::clone(&store)).await;
    let mut client = rig.client().await;
    ready(&mut client, "whole").await;
    ready(&mut client, "torn").await;
    let describe = wire::DescribeCollectionRequest {
        collection_name: "torn".into(),
        ..Default::default()
    };
    let described = client.describe_collection(describe).await.unwrap().into_inner();
    rig.stop().await;
    let manifests = Path::from(format!("c/{}/manifest", described.collection_id));
    let listed = store.list_with_delimiter(Some(&manifests)).await.unwrap();
    assert!(!listed.objects.is_empty());
    for object in listed.objects {
        store
            .put(&object.location, PutPayload::from_static(b"torn"))
            .await
            .unwrap();
    }

    let rig = Rig::over(store).await;
    let mut client = rig.client().await;
    let found = client
        .search(search("torn", 0.0, "1"))
        .await
        .unwrap()
        .into_inner();
    let reason = found.status.unwrap().reason;
    assert!(reason.contains("cannot be opened"), "{reason}");
    let drop = wire::DropCollectionRequest {
        collection_name: "torn".into(),
        ..Default::default()
    };
    ok(Some(client.drop_collection(drop).await.unwrap().get_ref()));
    let found = client
        .search(search("torn", 0.0, "1"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(found.status.unwrap().code, 100);
    ok(client
        .search(search("whole", 0.0, "1"))
        .await
        .unwrap()
        .get_ref()
        .status
        .as_ref());
    ready(&mut client, "torn").await;
    rig.stop().await;
}

#[tokio::test]
async fn hits_of_several_queries_lie_one_after_the_other() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    ready(&mut client, "c").await;
    client.insert(insert("c", &[1, 2, 3])).await.unwrap();
    let request = wire::SearchRequest {
        output_fields: vec!["id".into(), "v".into(), "id".into()],
        search_params: pairs(&[("topk", "2"), ("offset", "2"), ("round_decimal", "2")]),
        ..searches("c", &[0.9, 3.2], "2")
    };
    let found = client.search(request).await.unwrap().into_inner();
    ok(found.status.as_ref());
    let results = found.results.unwrap();
    assert_eq!((results.num_queries, results.top_k), (2, 2));
    assert_eq!(results.topks, [1, 1], "the third of three, for each");
    assert_eq!(ids(results.ids), [3, 1]);
    assert_eq!(results.scores, [4.41, 4.84]);
    assert_eq!(results.primary_field_name, "id");
    assert_eq!(results.output_fields, ["id", "v"]);
    assert_eq!(results.fields_data.len(), 2);
    rig.stop().await;
}
