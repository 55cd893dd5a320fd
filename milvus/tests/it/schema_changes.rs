//! Fields added, dropped and altered through the Milvus door.

use milvus::proto::common::Status;
use milvus::proto::milvus as wire;
use milvus::proto::milvus::alter_collection_schema_request as alter;
use milvus::proto::schema::value_field::Data;
use milvus::proto::schema::{DataType, FieldSchema, ValueField};
use prost::Message;

use crate::rig::{Rig, create_with, insert, ok, pairs, query, ready_with, search};

fn number(name: &str, default: i64) -> FieldSchema {
    FieldSchema {
        name: name.into(),
        data_type: DataType::Int64 as i32,
        nullable: true,
        default_value: Some(ValueField {
            data: Some(Data::LongData(default)),
        }),
        ..Default::default()
    }
}

fn add(field: FieldSchema) -> wire::AlterCollectionSchemaRequest {
    let info = alter::FieldInfo {
        field_schema: Some(field),
        ..Default::default()
    };
    request(alter::action::Op::AddRequest(alter::AddRequest {
        field_infos: vec![info],
        ..Default::default()
    }))
}

fn drop_field(name: &str) -> wire::AlterCollectionSchemaRequest {
    request(alter::action::Op::DropRequest(alter::DropRequest {
        identifier: Some(alter::drop_request::Identifier::FieldName(name.into())),
        ..Default::default()
    }))
}

fn request(op: alter::action::Op) -> wire::AlterCollectionSchemaRequest {
    wire::AlterCollectionSchemaRequest {
        collection_name: "c".into(),
        action: Some(alter::Action { op: Some(op) }),
        ..Default::default()
    }
}

#[track_caller]
fn refused(status: Option<&Status>, code: i32, said: &str) {
    let status = status.expect("every reply has a status");
    assert_eq!(status.code, code, "{}", status.reason);
    assert!(status.reason.contains(said), "{}", status.reason);
}

#[tokio::test]
async fn fields_come_and_go_while_rows_and_the_load_stay() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    ready_with(&mut client, create_with("c", vec![number("a", 1)])).await;
    ok(client
        .insert(insert("c", &[1, 2, 3]))
        .await
        .unwrap()
        .get_ref()
        .status
        .as_ref());
    let describe = wire::DescribeCollectionRequest {
        collection_name: "c".into(),
        ..Default::default()
    };
    let before = client
        .describe_collection(describe.clone())
        .await
        .unwrap()
        .into_inner();

    let legacy = wire::AddCollectionFieldRequest {
        collection_name: "c".into(),
        schema: number("b", 7).encode_to_vec(),
        ..Default::default()
    };
    ok(Some(client.add_collection_field(legacy).await.unwrap().get_ref()));
    let added = client.alter_collection_schema(add(number("d", 8))).await.unwrap();
    ok(added.get_ref().alter_status.as_ref());
    let dropped = client.alter_collection_schema(drop_field("a")).await.unwrap();
    ok(dropped.get_ref().alter_status.as_ref());

    let after = client.describe_collection(describe).await.unwrap().into_inner();
    assert!(after.update_timestamp > before.update_timestamp);
    let names: Vec<_> = after
        .schema
        .unwrap()
        .fields
        .into_iter()
        .map(|field| field.name)
        .collect();
    assert_eq!(names, ["id", "v", "b", "d"]);
    // Old rows have the default, for filters too, and are still loaded.
    let rows = client
        .query(query("c", "b == 7 and d == 8"))
        .await
        .unwrap()
        .into_inner();
    ok(rows.status.as_ref());
    assert_eq!(rows.fields_data.len(), 1);
    let found = client.search(search("c", 2.0, "3")).await.unwrap().into_inner();
    ok(found.status.as_ref());
    assert_eq!(found.results.unwrap().topks, [3]);
    // A client with the schema of before learns of it, and pymilvus reads it again then.
    let mut late = insert("c", &[4]);
    late.schema_timestamp = before.update_timestamp;
    let status = client.insert(late.clone()).await.unwrap().into_inner().status;
    refused(status.as_ref(), 109, "collection schema mismatch[collection=c]");
    late.schema_timestamp = after.update_timestamp;
    ok(client.insert(late).await.unwrap().get_ref().status.as_ref());
    rig.stop().await;
}

#[tokio::test]
async fn what_may_not_be_added_or_dropped_is_refused_as_in_milvus() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    ready_with(&mut client, create_with("c", vec![number("a", 1)])).await;
    let required = FieldSchema {
        nullable: false,
        ..number("b", 1)
    };
    for (change, code, said) in [
        (
            add(required),
            1100,
            "added field must be nullable, please check it, field name = b",
        ),
        (add(number("a", 1)), 1100, "duplicated field name a"),
        (add(number("like", 1)), 1701, "field name invalid[field=like]"),
        (drop_field("id"), 1100, "it is the primary key"),
        (drop_field("v"), 1100, "the last vector field"),
        (drop_field("nope"), 1700, "field not found[field=nope]"),
        (
            wire::AlterCollectionSchemaRequest {
                action: None,
                ..add(number("b", 1))
            },
            1100,
            "no action given",
        ),
    ] {
        let reply = client.alter_collection_schema(change).await.unwrap().into_inner();
        refused(reply.alter_status.as_ref(), code, said);
    }
    rig.stop().await;
}

#[tokio::test]
async fn limits_of_a_field_are_altered() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    let text = FieldSchema {
        name: "s".into(),
        data_type: DataType::VarChar as i32,
        type_params: pairs(&[("max_length", "4")]),
        nullable: true,
        ..Default::default()
    };
    ready_with(&mut client, create_with("c", vec![text])).await;
    let alter = |field: &str, set: &[(&str, &str)]| wire::AlterCollectionFieldRequest {
        collection_name: "c".into(),
        field_name: field.into(),
        properties: pairs(set),
        ..Default::default()
    };
    ok(Some(
        client
            .alter_collection_field(alter("s", &[("max_length", "40"), ("mmap.enabled", "true")]))
            .await
            .unwrap()
            .get_ref(),
    ));
    let describe = wire::DescribeCollectionRequest {
        collection_name: "c".into(),
        ..Default::default()
    };
    let described = client.describe_collection(describe).await.unwrap().into_inner();
    let field = described.schema.unwrap().fields.remove(2);
    let mut params: Vec<_> = field
        .type_params
        .iter()
        .map(|pair| (pair.key.as_str(), pair.value.as_str()))
        .collect();
    params.sort_unstable();
    assert_eq!(params, [("max_length", "40"), ("mmap.enabled", "true")]);
    for (change, code, said) in [
        (
            alter("s", &[("max_length", "70000")]),
            1100,
            "should be in (0, 65535]",
        ),
        (
            alter("id", &[("max_length", "7")]),
            1100,
            "id can not modify the maxlength for non-string types",
        ),
        (
            alter("s", &[("max_capacity", "7")]),
            1100,
            "s can not modify the maxcapacity for non-array types",
        ),
        (
            alter("s", &[("dim", "7")]),
            1100,
            "dim does not allow update in collection field param",
        ),
        (
            alter("nope", &[("max_length", "7")]),
            1700,
            "field not found[field=nope]",
        ),
        (alter("s", &[]), 1100, "no properties or delete keys provided"),
    ] {
        let status = client.alter_collection_field(change).await.unwrap().into_inner();
        refused(Some(&status), code, said);
    }
    rig.stop().await;
}
