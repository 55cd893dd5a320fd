//! The demo as a Milvus user: the official Milvus SDK over gRPC on loopback, as any program would use it.

use std::collections::HashMap;
use std::net::SocketAddr;

use anyhow::Context;
use milvus::v2::prelude::{
    ClientV2, ConnectConfig, FieldData, FlushRequest, Ids, InsertRequest, LoadCollectionRequest,
    SearchRequest, SearchVectors, SingleResult,
};

use super::digits::Digits;

/// A connected client that knows one collection.
pub struct Client {
    milvus: ClientV2,
    collection: &'static str,
}

/// The neighbours of one query, best first.
pub struct Hits {
    /// Primary keys.
    pub ids: Vec<i64>,
    /// Milvus scores; for L2 the squared distance.
    pub scores: Vec<f32>,
}

impl Client {
    /// Connects to the Milvus door.
    pub async fn connect(address: SocketAddr, collection: &'static str) -> anyhow::Result<Self> {
        let config = ConnectConfig::new().uri(format!("http://{address}"));
        let milvus = ClientV2::new(&config)
            .await
            .context("the Milvus SDK cannot connect")?;
        Ok(Self { milvus, collection })
    }

    /// Inserts all digits by columns and makes them a sealed segment; the number of rows that the server took.
    pub async fn insert(&self, digits: &Digits) -> anyhow::Result<i64> {
        let columns = vec![
            FieldData::Int64 {
                name: "id".into(),
                values: (0..digits.len() as i64).collect(),
            },
            FieldData::Int64 {
                name: "label".into(),
                values: digits.labels.clone(),
            },
            FieldData::FloatVector {
                name: "vector".into(),
                values: digits.images().map(<[f32]>::to_vec).collect(),
            },
        ];
        let request = InsertRequest::builder()
            .collection_name(self.collection)
            .columns(columns)
            .build()?;
        let inserted = self.milvus.insert(request).await?.insert_count();
        self.milvus
            .flush(
                FlushRequest::builder()
                    .collection_names([self.collection])
                    .build()?,
            )
            .await?;
        Ok(inserted)
    }

    /// Makes the collection searchable.
    pub async fn load(&self) -> anyhow::Result<()> {
        let request = LoadCollectionRequest::builder()
            .collection_name(self.collection)
            .build()?;
        self.milvus.load_collection(request).await?;
        Ok(())
    }

    /// The `limit` nearest rows of each query, among those that `filter` (a Milvus expression) lets through.
    pub async fn search(
        &self,
        queries: Vec<Vec<f32>>,
        limit: usize,
        ef: usize,
        filter: &str,
    ) -> anyhow::Result<Vec<Hits>> {
        let request = SearchRequest::builder()
            .collection_name(self.collection)
            .vector_field("vector")
            .vectors(SearchVectors::Float(queries))
            .filter(filter)
            .limit(limit as i64)
            .extra_params(HashMap::from([("ef".to_owned(), ef.to_string())]))
            .build()?;
        let response = self.milvus.search(request).await?;
        let hits = |result: &SingleResult| {
            let Ids::Int64(ids) = result.get_ids() else {
                anyhow::bail!("the server answered with keys that are not integers");
            };
            Ok(Hits {
                ids: ids.clone(),
                scores: result.get_scores().to_vec(),
            })
        };
        response.results().iter().map(hits).collect()
    }
}
