//! A door on a free port and small builders for requests.

use std::sync::Arc;

use elanus_collection::{Collections, Options};
use elanus_milvus::{DoorMetrics, ServeError};
use elanus_query::{Engine, EngineOptions};
use milvus::proto::common::{KeyValuePair, PlaceholderGroup, PlaceholderType, PlaceholderValue, Status};
use milvus::proto::milvus as wire;
use milvus::proto::milvus::milvus_service_client::MilvusServiceClient;
use milvus::proto::schema::field_data::Field;
use milvus::proto::schema::scalar_field::Data;
use milvus::proto::schema::{
    CollectionSchema, DataType, FieldData, FieldSchema, FloatArray, LongArray, ScalarField, VectorField,
    vector_field,
};
use object_store::memory::InMemory;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

/// A running door.
pub struct Rig {
    address: String,
    pub registry: prometheus::Registry,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), ServeError>>,
    collections: Arc<Collections>,
}

impl Rig {
    pub async fn start() -> Self {
        Self::over(Arc::new(InMemory::new())).await
    }

    /// A door to what is in a store.
    pub async fn over(store: Arc<InMemory>) -> Self {
        let collections = Collections::open(store, Options::default()).await.unwrap();
        let options = EngineOptions {
            query_threads: 1,
            sql_threads: 1,
            ..EngineOptions::default()
        };
        let engine = Arc::new(Engine::new(Arc::clone(&collections), &options).unwrap());
        let registry = prometheus::Registry::new();
        let metrics = Arc::new(DoorMetrics::new(&registry).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(elanus_milvus::serve(engine, listener, metrics, async {
            let _ = stopped.await;
        }));
        Self {
            address,
            registry,
            stop,
            served,
            collections,
        }
    }

    pub async fn client(&self) -> MilvusServiceClient<Channel> {
        MilvusServiceClient::new(self.channel().await)
    }

    pub async fn channel(&self) -> Channel {
        Endpoint::from_shared(self.address.clone())
            .unwrap()
            .connect()
            .await
            .unwrap()
    }

    /// Stops the door and waits until it has drained.
    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap().unwrap();
        self.collections.close().await;
    }
}

pub fn pairs(pairs: &[(&str, &str)]) -> Vec<KeyValuePair> {
    pairs
        .iter()
        .map(|(key, value)| KeyValuePair {
            key: (*key).into(),
            value: (*value).into(),
        })
        .collect()
}

/// Panics with the reason when a status is not a success.
#[track_caller]
pub fn ok(status: Option<&Status>) {
    let status = status.expect("every reply has a status");
    assert_eq!(status.code, 0, "{}", status.reason);
}

/// `id` INT64 key, `v` FLOAT_VECTOR(2), dynamic field on.
pub fn create(name: &str) -> wire::CreateCollectionRequest {
    create_with(name, Vec::new())
}

/// As [`create`], with more fields.
pub fn create_with(name: &str, more: Vec<FieldSchema>) -> wire::CreateCollectionRequest {
    let key = FieldSchema {
        name: "id".into(),
        data_type: DataType::Int64 as i32,
        is_primary_key: true,
        ..Default::default()
    };
    let vector = FieldSchema {
        name: "v".into(),
        data_type: DataType::FloatVector as i32,
        type_params: pairs(&[("dim", "2")]),
        ..Default::default()
    };
    let mut fields = vec![key, vector];
    fields.extend(more);
    let schema = CollectionSchema {
        fields,
        enable_dynamic_field: true,
        ..Default::default()
    };
    wire::CreateCollectionRequest {
        collection_name: name.into(),
        schema: schema.encode_to_vec(),
        ..Default::default()
    }
}

/// Rows with these ids, each at the point `(id, 0)`.
pub fn insert(name: &str, ids: &[i64]) -> wire::InsertRequest {
    let keys = FieldData {
        field_name: "id".into(),
        field: Some(Field::Scalars(ScalarField {
            data: Some(Data::LongData(LongArray { data: ids.to_vec() })),
            ..Default::default()
        })),
        ..Default::default()
    };
    #[expect(clippy::cast_precision_loss, reason = "small ids")]
    let data = ids.iter().flat_map(|id| [*id as f32, 0.0]).collect();
    let vectors = FieldData {
        field_name: "v".into(),
        field: Some(Field::Vectors(VectorField {
            dim: 2,
            data: Some(vector_field::Data::FloatVector(FloatArray { data })),
            ..Default::default()
        })),
        ..Default::default()
    };
    wire::InsertRequest {
        collection_name: name.into(),
        fields_data: vec![keys, vectors],
        num_rows: u32::try_from(ids.len()).unwrap(),
        ..Default::default()
    }
}

/// A search for the neighbours of `(x, 0)`.
pub fn search(name: &str, x: f32, limit: &str) -> wire::SearchRequest {
    searches(name, &[x], limit)
}

/// One request for the neighbours of each `(x, 0)`.
pub fn searches(name: &str, xs: &[f32], limit: &str) -> wire::SearchRequest {
    let values = xs
        .iter()
        .map(|x| [*x, 0.0].iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let placeholder = PlaceholderValue {
        tag: "$0".into(),
        r#type: PlaceholderType::FloatVector as i32,
        values,
        element_level: false,
    };
    let group = PlaceholderGroup {
        placeholders: vec![placeholder],
    }
    .encode_to_vec();
    wire::SearchRequest {
        collection_name: name.into(),
        search_input: Some(wire::search_request::SearchInput::PlaceholderGroup(group)),
        search_params: pairs(&[("topk", limit), ("anns_field", "v"), ("params", "{}")]),
        nq: i64::try_from(xs.len()).unwrap(),
        ..Default::default()
    }
}

pub fn query(name: &str, expr: &str) -> wire::QueryRequest {
    wire::QueryRequest {
        collection_name: name.into(),
        expr: expr.into(),
        output_fields: vec!["id".into()],
        ..Default::default()
    }
}

/// A collection that is indexed with L2 and loaded.
pub async fn ready(client: &mut MilvusServiceClient<Channel>, name: &str) {
    ready_with(client, create(name)).await;
}

/// As [`ready`], of another schema.
pub async fn ready_with(client: &mut MilvusServiceClient<Channel>, create: wire::CreateCollectionRequest) {
    let name = create.collection_name.clone();
    ok(Some(client.create_collection(create).await.unwrap().get_ref()));
    let index = wire::CreateIndexRequest {
        collection_name: name.clone(),
        field_name: "v".into(),
        extra_params: pairs(&[("metric_type", "L2")]),
        ..Default::default()
    };
    ok(Some(client.create_index(index).await.unwrap().get_ref()));
    let load = wire::LoadCollectionRequest {
        collection_name: name,
        ..Default::default()
    };
    ok(Some(client.load_collection(load).await.unwrap().get_ref()));
}
