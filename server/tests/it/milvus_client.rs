//! A bare Milvus client: the generated stub, no retries, so that a reply is an acknowledgement and nothing else is.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use milvus::proto::common::{KeyValuePair, Status};
use milvus::proto::milvus::milvus_service_client::MilvusServiceClient;
use milvus::proto::milvus::{
    CreateCollectionRequest, CreateIndexRequest, InsertRequest, LoadCollectionRequest, MutationResult,
    QueryRequest, QueryResults,
};
use milvus::proto::schema::{
    CollectionSchema, DataType, FieldData, FieldSchema, FloatArray, LongArray, ScalarField, VectorField,
    field_data, scalar_field, vector_field,
};
use prost::Message;
use tonic::transport::{Channel, Endpoint};

/// Dimension of the vectors of [`Client::create`].
pub const DIM: usize = 8;

/// A client of one collection with the fields `id` and `vector`.
#[derive(Clone)]
pub struct Client {
    stub: MilvusServiceClient<Channel>,
    collection: &'static str,
}

impl Client {
    /// Connects.
    pub async fn connect(address: SocketAddr, collection: &'static str) -> Self {
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .unwrap()
            .connect()
            .await
            .unwrap();
        let stub = MilvusServiceClient::new(channel);
        Self {
            stub: stub.max_decoding_message_size(usize::MAX),
            collection,
        }
    }

    /// Creates, indexes and loads the collection.
    pub async fn create(&mut self) {
        let schema = CollectionSchema {
            name: self.collection.to_owned(),
            fields: vec![
                FieldSchema {
                    name: "id".to_owned(),
                    is_primary_key: true,
                    data_type: DataType::Int64.into(),
                    ..FieldSchema::default()
                },
                FieldSchema {
                    name: "vector".to_owned(),
                    data_type: DataType::FloatVector.into(),
                    type_params: vec![pair("dim", &DIM.to_string())],
                    ..FieldSchema::default()
                },
            ],
            ..CollectionSchema::default()
        };
        let request = CreateCollectionRequest {
            collection_name: self.collection.to_owned(),
            schema: schema.encode_to_vec(),
            ..CreateCollectionRequest::default()
        };
        accepted(&self.stub.create_collection(request).await.unwrap().into_inner());
        let request = CreateIndexRequest {
            collection_name: self.collection.to_owned(),
            field_name: "vector".to_owned(),
            extra_params: vec![pair("index_type", "FLAT"), pair("metric_type", "L2")],
            ..CreateIndexRequest::default()
        };
        accepted(&self.stub.create_index(request).await.unwrap().into_inner());
        self.load().await;
    }

    /// Loads the collection.
    pub async fn load(&mut self) {
        let request = LoadCollectionRequest {
            collection_name: self.collection.to_owned(),
            replica_number: 1,
            ..LoadCollectionRequest::default()
        };
        accepted(&self.stub.load_collection(request).await.unwrap().into_inner());
    }

    /// Inserts rows of the given ids, each with [`vector_of`] its id.
    ///
    /// # Errors
    /// The connection broke: nobody knows whether the rows are there.
    pub async fn insert(&mut self, ids: &[i64]) -> Result<(), tonic::Status> {
        let vectors = ids.iter().flat_map(|id| vector_of(*id)).collect();
        let request = InsertRequest {
            collection_name: self.collection.to_owned(),
            fields_data: vec![
                FieldData {
                    r#type: DataType::Int64.into(),
                    field_name: "id".to_owned(),
                    field: Some(field_data::Field::Scalars(ScalarField {
                        data: Some(scalar_field::Data::LongData(LongArray { data: ids.to_vec() })),
                        ..ScalarField::default()
                    })),
                    ..FieldData::default()
                },
                FieldData {
                    r#type: DataType::FloatVector.into(),
                    field_name: "vector".to_owned(),
                    field: Some(field_data::Field::Vectors(VectorField {
                        dim: DIM as i64,
                        data: Some(vector_field::Data::FloatVector(FloatArray { data: vectors })),
                        ..VectorField::default()
                    })),
                    ..FieldData::default()
                },
            ],
            num_rows: u32::try_from(ids.len()).unwrap(),
            ..InsertRequest::default()
        };
        let reply: MutationResult = self.stub.insert(request).await?.into_inner();
        accepted(&reply.status.unwrap());
        assert_eq!(reply.insert_cnt, ids.len() as i64);
        Ok(())
    }

    /// The rows with these ids that exist: id and vector.
    pub async fn get(&mut self, ids: &[i64]) -> BTreeMap<i64, Vec<f32>> {
        let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
        let reply = self
            .query(&format!("id in [{}]", ids.join(",")), &["id", "vector"])
            .await;
        let column = |name: &str| {
            reply
                .fields_data
                .iter()
                .find(|field| field.field_name == name)
                .unwrap()
        };
        let keys = longs(column("id"));
        let vectors = floats(column("vector"));
        assert_eq!(keys.len() * DIM, vectors.len());
        let rows = keys.len();
        let found: BTreeMap<_, _> = keys
            .into_iter()
            .zip(vectors.chunks(DIM).map(<[f32]>::to_vec))
            .collect();
        assert_eq!(found.len(), rows, "a row came back twice");
        found
    }

    /// `count(*)`.
    pub async fn count(&mut self) -> i64 {
        longs(&self.query("", &["count(*)"]).await.fields_data[0])[0]
    }

    async fn query(&mut self, expr: &str, output: &[&str]) -> QueryResults {
        let request = QueryRequest {
            collection_name: self.collection.to_owned(),
            expr: expr.to_owned(),
            output_fields: output.iter().map(ToString::to_string).collect(),
            ..QueryRequest::default()
        };
        let reply = self.stub.query(request).await.unwrap().into_inner();
        accepted(reply.status.as_ref().unwrap());
        reply
    }
}

/// The vector that the row of this id has.
pub fn vector_of(id: i64) -> [f32; DIM] {
    std::array::from_fn(|i| (id % 1_000_003) as f32 + i as f32)
}

fn longs(field: &FieldData) -> Vec<i64> {
    let Some(field_data::Field::Scalars(scalars)) = &field.field else {
        panic!("not a scalar column: {field:?}")
    };
    let Some(scalar_field::Data::LongData(longs)) = &scalars.data else {
        panic!("not INT64: {field:?}")
    };
    longs.data.clone()
}

fn floats(field: &FieldData) -> Vec<f32> {
    let Some(field_data::Field::Vectors(vectors)) = &field.field else {
        panic!("not a vector column: {field:?}")
    };
    let Some(vector_field::Data::FloatVector(floats)) = &vectors.data else {
        panic!("not FLOAT_VECTOR: {field:?}")
    };
    floats.data.clone()
}

fn pair(key: &str, value: &str) -> KeyValuePair {
    KeyValuePair {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

fn accepted(status: &Status) {
    assert_eq!(status.code, 0, "{}", status.reason);
}
