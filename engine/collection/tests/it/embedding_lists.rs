//! Vectors in arrays of structs: through log, memory, files, indexes, changes of the schema and compaction, searched as lists.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float32Array, ListArray, RecordBatch, StringArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Fields, Int64Type, Schema};
use elanus_collection::{
    Alteration, Collection, CollectionSpec, DataType, Error, Field, IndexSpec, IndexState, Keys, SubField,
};
use elanus_index::{AnyMetric, Elements, IndexKind, SearchParams, SearchStats, VectorRef, Vectors};
use object_store::ObjectStore;
use object_store::memory::InMemory;

use crate::support::{self, manual, open};

const DIM: usize = 3;
const ROWS: i64 = 900;

fn spec() -> CollectionSpec {
    let mut spec = support::spec();
    let data_type = DataType::StructArray {
        fields: vec![
            SubField::new("text", DataType::VarChar { max_length: 8 }),
            SubField::new("emb", DataType::FloatVector { dim: DIM as u32 }),
            SubField::new("b", DataType::BFloat16Vector { dim: 2 }),
        ],
        max_capacity: 4,
    };
    spec.schema
        .fields
        .push(Field::new("chunks", data_type).nullable());
    spec
}

/// What belongs to a key: NULL, nothing, or some vectors.
fn list_of(key: i64) -> Option<Vec<[f32; DIM]>> {
    let vector = |n: i64| [key as f32, ((key * 7 + n) % 11) as f32, n as f32];
    (key % 9 != 4).then(|| (0..key % 4).map(vector).collect())
}

fn rows(keys: impl Iterator<Item = i64> + Clone) -> RecordBatch {
    let batch = support::rows(&keys.clone().map(|key| (key, 0)).collect::<Vec<_>>());
    let lists: Vec<_> = keys.map(list_of).collect();
    let vectors: Vec<[f32; DIM]> = lists.iter().flatten().flatten().copied().collect();
    let list_column = |width: usize, numbers: Vec<f32>| -> ArrayRef {
        let item = Arc::new(ArrowField::new_list_field(ArrowType::Float32, true));
        let lengths = std::iter::repeat_n(width, vectors.len());
        let numbers = Arc::new(Float32Array::from(numbers));
        Arc::new(ListArray::new(
            item,
            OffsetBuffer::from_lengths(lengths),
            numbers,
            None,
        ))
    };
    let embeddings = list_column(DIM, vectors.concat());
    let narrow = list_column(2, vectors.iter().flat_map(|vector| [vector[0], 0.5]).collect());
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(
        vectors.iter().map(|vector| format!("t{}", vector[0])),
    ));
    let fields: Fields = [("emb", &embeddings), ("b", &narrow), ("text", &texts)]
        .map(|(name, column)| ArrowField::new(name, column.data_type().clone(), true))
        .to_vec()
        .into();
    let structs = StructArray::new(fields.clone(), vec![embeddings, narrow, texts], None);
    let item = Arc::new(ArrowField::new_list_field(ArrowType::Struct(fields), true));
    let lengths = lists.iter().map(|list| list.as_ref().map_or(0, Vec::len));
    let nulls = NullBuffer::from_iter(lists.iter().map(Option::is_some));
    let chunks = ListArray::new(
        item,
        OffsetBuffer::from_lengths(lengths),
        Arc::new(structs),
        Some(nulls),
    );
    let mut fields: Vec<_> = batch.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(ArrowField::new(
        "chunks",
        chunks.data_type().clone(),
        true,
    )));
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(chunks));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// Keys and distances of the five nearest rows, and how many units were searched by an index.
async fn nearest(collection: &Collection, column: &str, query: &[f32]) -> (Vec<(i64, f32)>, usize) {
    let query = VectorRef::List(Elements::Floats(Vectors::new(query, DIM).unwrap()));
    let metric: AnyMetric = "MAX_SIM_L2".parse().unwrap();
    let (mut all, mut indexed) = (Vec::new(), 0);
    for unit in &collection.snapshot().units {
        let allowed = unit.allow(column, None).unwrap();
        let mut stats = SearchStats::default();
        let found = unit
            .search(
                column,
                metric,
                query,
                5,
                &SearchParams::default(),
                &allowed,
                false,
                &mut stats,
            )
            .unwrap();
        let ids = unit.columns(&["id"]).await.unwrap();
        let ids = ids.column(0).as_primitive::<Int64Type>();
        all.extend(
            found
                .iter()
                .map(|hit| (ids.value(hit.row as usize), hit.distance)),
        );
        indexed += usize::from(unit.index(column).is_some());
    }
    all.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    all.truncate(5);
    (all, indexed)
}

fn expected(query: &[f32], live: impl Fn(i64) -> bool) -> Vec<(i64, f32)> {
    let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
    let of_row = |key: i64| {
        let list = list_of(key).filter(|list| !list.is_empty() && live(key))?;
        let nearest = |vector: &[f32]| {
            list.iter()
                .map(|of| distance(vector, of))
                .fold(f32::INFINITY, f32::min)
        };
        Some((key, query.chunks(DIM).map(nearest).sum::<f32>()))
    };
    let mut all: Vec<_> = (0..ROWS).filter_map(of_row).collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    all.truncate(5);
    all
}

fn index(column: &str, index_type: &str, metric: &str) -> IndexSpec {
    IndexSpec {
        field: column.into(),
        index_type: index_type.into(),
        metric: Some(metric.into()),
        ..IndexSpec::default()
    }
}

#[tokio::test]
async fn lists_are_found_wherever_their_rows_are() {
    let query = [200.2, 5.0, 1.0, 203.0, 7.0, 0.0];
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    collection.insert(rows(0..ROWS - 50), None).await.unwrap();
    assert_eq!(
        nearest(&collection, "chunks[emb]", &query).await.0,
        expected(&query, |key| key < ROWS - 50)
    );
    collection.flush().await.unwrap();
    collection.insert(rows(ROWS - 50..ROWS), None).await.unwrap();
    collection
        .create_index(&index("chunks[emb]", "HNSW", "MAX_SIM_L2"))
        .await
        .unwrap();
    collection.settle().await.unwrap();
    let info = &collection.indexes()[0];
    assert_eq!(
        (info.field.as_str(), info.state),
        ("chunks[emb]", IndexState::Finished)
    );
    let all = expected(&query, |_| true);
    assert_eq!(
        nearest(&collection, "chunks[emb]", &query).await,
        (all.clone(), 1)
    );
    let unit = Arc::clone(&collection.snapshot().units[0]);
    assert_eq!(unit.index("chunks[emb]").unwrap().kind(), IndexKind::Hnsw);

    // Opened again from its files and the log.
    engine.close().await;
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.collection("default", "c").unwrap();
    assert_eq!(
        nearest(&collection, "chunks[emb]", &query).await,
        (all.clone(), 1)
    );
    let chunks = collection.snapshot().units[0].columns(&["chunks"]).await.unwrap();
    let of_row = chunks.column(0).as_list::<i32>().value(203);
    assert_eq!(of_row.len(), list_of(203).unwrap().len());
    assert_eq!(of_row.as_struct().column(0).as_string::<i32>().value(0), "t203");

    // A deleted row is not found; compaction leaves the rest.
    let gone = all[0].0;
    collection.delete(Keys::Int64(vec![gone]), None).await.unwrap();
    collection.flush().await.unwrap();
    collection.compact().await.unwrap();
    collection.settle().await.unwrap();
    let rest = expected(&query, |key| key != gone);
    assert_eq!(
        nearest(&collection, "chunks[emb]", &query).await,
        (rest.clone(), 1)
    );

    // Under a new name, and with an index of that name.
    let rename = Alteration::RenameField {
        from: "chunks".into(),
        to: "parts".into(),
    };
    let collection = engine
        .alter_collection("default", "c", vec![rename])
        .await
        .unwrap();
    assert_eq!(collection.indexes()[0].field, "parts[emb]");
    assert_eq!(nearest(&collection, "parts[emb]", &query).await, (rest, 1));
    assert!(collection.snapshot().units[0].vectors("chunks[emb]").is_err());
    engine.close().await;
}

/// Keys, places and distances of the five nearest elements, and how many units were searched by an index.
/// Keys, places and distances, in thousandths: sums are not taken in one order everywhere.
type Hits = Vec<(i64, u32, i64)>;

fn in_thousandths(mut found: Vec<(i64, u32, f32)>) -> Hits {
    found.sort_by(|a, b| a.2.total_cmp(&b.2).then((a.0, a.1).cmp(&(b.0, b.1))));
    found.truncate(5);
    let of_hit = |(key, place, distance): (i64, u32, f32)| (key, place, (distance * 1e3).round() as i64);
    found.into_iter().map(of_hit).collect()
}

async fn nearest_elements(collection: &Collection, query: &[f32]) -> (Hits, usize) {
    let metric: AnyMetric = "L2".parse().unwrap();
    let (mut all, mut indexed) = (Vec::new(), 0);
    for unit in &collection.snapshot().units {
        let allowed = unit.allow("chunks[emb]", None).unwrap();
        let (params, mut stats) = (SearchParams::default(), SearchStats::default());
        let found = unit
            .search_elements(
                "chunks[emb]",
                metric,
                VectorRef::Floats(query),
                5,
                &params,
                (&allowed, None),
                false,
                &mut stats,
            )
            .unwrap();
        let ids = unit.columns(&["id"]).await.unwrap();
        let ids = ids.column(0).as_primitive::<Int64Type>();
        let key = |row: u32| ids.value(row as usize);
        all.extend(found.iter().map(|hit| (key(hit.row), hit.element, hit.distance)));
        let index = unit.index("chunks[emb]");
        indexed += usize::from(index.is_some_and(|index| index.metric() == metric));
    }
    (in_thousandths(all), indexed)
}

fn expected_elements(query: &[f32], live: impl Fn(i64) -> bool) -> Hits {
    let distance = |a: &[f32]| a.iter().zip(query).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
    let of_row = |key: i64| {
        let list = list_of(key).filter(|_| live(key)).unwrap_or_default();
        let places = list.into_iter().zip(0..);
        places.map(move |(vector, place)| (key, place, distance(&vector)))
    };
    in_thousandths((0..ROWS).flat_map(of_row).collect())
}

#[tokio::test]
async fn elements_are_found_with_their_places_wherever_their_rows_are() {
    let query = [201.3, 5.2, 1.4];
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    collection.insert(rows(0..ROWS - 50), None).await.unwrap();
    let all = expected_elements(&query, |key| key < ROWS - 50);
    assert_eq!(nearest_elements(&collection, &query).await, (all, 0));
    collection.flush().await.unwrap();
    collection.insert(rows(ROWS - 50..ROWS), None).await.unwrap();
    collection
        .create_index(&index("chunks[emb]", "HNSW", "L2"))
        .await
        .unwrap();
    collection.settle().await.unwrap();
    let info = &collection.indexes()[0];
    assert_eq!(
        (
            info.metric.map(|metric| metric.to_string()).as_deref(),
            info.state
        ),
        (Some("L2"), IndexState::Finished)
    );
    let all = expected_elements(&query, |_| true);
    assert!(all.iter().any(|(_, place, _)| *place > 0), "{all:?}");
    assert_eq!(nearest_elements(&collection, &query).await, (all.clone(), 1));
    // An index of elements is no index of lists: these are searched without it.
    let lists = [query, query].concat();
    let rounded = |found: Vec<(i64, f32)>| -> Vec<(i64, i64)> {
        let of_hit = |(key, distance): (i64, f32)| (key, (distance * 1e3).round() as i64);
        found.into_iter().map(of_hit).collect()
    };
    assert_eq!(
        rounded(nearest(&collection, "chunks[emb]", &lists).await.0),
        rounded(expected(&lists, |_| true))
    );

    let gone = all[0].0;
    collection.delete(Keys::Int64(vec![gone]), None).await.unwrap();
    let rest = expected_elements(&query, |key| key != gone);
    assert_eq!(nearest_elements(&collection, &query).await, (rest.clone(), 1));
    engine.close().await;
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.collection("default", "c").unwrap();
    collection.flush().await.unwrap();
    collection.compact().await.unwrap();
    collection.settle().await.unwrap();
    assert_eq!(nearest_elements(&collection, &query).await, (rest, 1));
    let unit = Arc::clone(&collection.snapshot().units[0]);
    assert!(unit.lists("v").is_err() && unit.lists("chunks[text]").is_err());
    engine.close().await;
}

#[tokio::test]
async fn added_and_dropped_lists_go_with_their_indexes() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine
        .create_collection("default", "c", support::spec())
        .await
        .unwrap();
    collection
        .insert(support::rows(&[(1, 1), (2, 1)]), None)
        .await
        .unwrap();
    collection.flush().await.unwrap();
    let field = spec().schema.fields.pop().unwrap();
    let add = Alteration::AddField {
        field: Box::new(field),
        if_not_exists: false,
    };
    let collection = engine.alter_collection("default", "c", vec![add]).await.unwrap();
    assert!(
        nearest(&collection, "chunks[emb]", &[1.0; DIM])
            .await
            .0
            .is_empty()
    );
    collection.insert(rows(3..9), None).await.unwrap();
    assert_eq!(
        nearest(&collection, "chunks[emb]", &[3.0, 10.0, 0.0]).await.0[0].0,
        3
    );
    collection.flush().await.unwrap();
    collection
        .create_index(&index("chunks[emb]", "IVF_FLAT", "max_sim_l2"))
        .await
        .unwrap();
    collection.settle().await.unwrap();
    assert_eq!(
        nearest(&collection, "chunks[emb]", &[3.0, 10.0, 0.0]).await.0[0].0,
        3
    );
    let drop = |with_vector_index| Alteration::DropField {
        name: "chunks".into(),
        if_exists: false,
        with_vector_index,
    };
    let error = engine
        .alter_collection("default", "c", vec![drop(false)])
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("index 'chunks[emb]' is on it"),
        "{error}"
    );
    let collection = engine
        .alter_collection("default", "c", vec![drop(true)])
        .await
        .unwrap();
    assert!(collection.indexes().is_empty());
    engine.close().await;
}

#[tokio::test]
async fn indexes_of_lists_have_metrics_of_lists() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    for (column, index_type, metric, reason) in [
        (
            "chunks[emb]",
            "HNSW",
            "HAMMING",
            "array of vector index does not support metric type: HAMMING",
        ),
        (
            "chunks[emb]",
            "HNSW",
            "MAX_SIM_HAMMING",
            "does not support metric type",
        ),
        (
            "chunks[emb]",
            "DISKANN",
            "MAX_SIM_L2",
            "not supported: index type DISKANN on lists",
        ),
        (
            "chunks[emb]",
            "BIN_IVF_FLAT",
            "MAX_SIM_L2",
            "not supported: index type BIN_IVF_FLAT",
        ),
        ("v", "HNSW", "MAX_SIM_L2", "does not support metric type"),
    ] {
        let error = collection
            .create_index(&index(column, index_type, metric))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::InvalidParameter(_)), "{error}");
        assert!(error.to_string().contains(reason), "{column} {metric}: {error}");
    }
    let mut strategy = index("chunks[emb]", "HNSW", "MAX_SIM");
    strategy
        .params
        .insert("emb_list_strategy".into(), "muvera".into());
    let error = collection.create_index(&strategy).await.unwrap_err().to_string();
    assert!(
        error.contains("not supported: emb_list_strategy muvera"),
        "{error}"
    );
    assert!(
        collection
            .create_index(&index("chunks[text]", "HNSW", "MAX_SIM"))
            .await
            .is_err()
    );
    collection
        .create_index(&index("chunks[b]", "HNSW", "MAX_SIM"))
        .await
        .unwrap();
    assert_eq!(
        collection.indexes()[0].metric.unwrap().to_string(),
        "MAX_SIM_COSINE"
    );
    assert!(collection.load(None).await.is_err(), "chunks[emb] has no index");
    engine.close().await;
}
