//! Arrays of structs: from the caller's columns through log, memory, files and changes, and back.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Fields, Int32Type, Int64Type, Schema};
use elanus_collection::{
    Alteration, Collection, CollectionSchema, CollectionSpec, DataType, Field, Keys, SubField,
};
use object_store::ObjectStore;
use object_store::memory::InMemory;

use crate::support::{self, manual, open};

/// The elements of a row.
type Chunks = Option<Vec<(String, i32)>>;

fn chunks_type() -> DataType {
    DataType::StructArray {
        fields: vec![
            SubField::new("text", DataType::VarChar { max_length: 8 }),
            SubField::new("n", DataType::Int32),
        ],
        max_capacity: 3,
    }
}

fn spec() -> CollectionSpec {
    let mut spec = support::spec();
    spec.schema
        .fields
        .push(Field::new("chunks", chunks_type()).nullable());
    spec
}

/// What belongs to a key: NULL, nothing, or some elements.
fn chunks_of(key: i64) -> Chunks {
    match key % 4 {
        0 => None,
        length => Some(
            (1..length)
                .map(|n| (format!("c{key}"), (key + n) as i32))
                .collect(),
        ),
    }
}

/// Sub-fields in another order than the schema's.
fn column(rows: &[Chunks]) -> ArrayRef {
    let elements: Vec<_> = rows.iter().flatten().flatten().cloned().collect();
    let fields = Fields::from(vec![
        ArrowField::new("n", ArrowType::Int64, false),
        ArrowField::new("text", ArrowType::Utf8, false),
    ]);
    let children: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(
            elements.iter().map(|(_, n)| i64::from(*n)),
        )),
        Arc::new(StringArray::from_iter_values(
            elements.iter().map(|(text, _)| text),
        )),
    ];
    list(fields, children, rows)
}

fn list(fields: Fields, children: Vec<ArrayRef>, rows: &[Chunks]) -> ArrayRef {
    let structs = StructArray::new(fields.clone(), children, None);
    let lengths = rows.iter().map(|row| row.as_ref().map_or(0, Vec::len));
    let nulls = NullBuffer::from_iter(rows.iter().map(Option::is_some));
    let item = Arc::new(ArrowField::new_list_field(ArrowType::Struct(fields), false));
    Arc::new(ListArray::new(
        item,
        OffsetBuffer::from_lengths(lengths),
        Arc::new(structs),
        Some(nulls),
    ))
}

fn with_column(batch: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let field = ArrowField::new(name, column.data_type().clone(), true);
    let fields: Vec<_> = batch
        .schema()
        .fields()
        .iter()
        .map(|field| field.as_ref().clone())
        .chain([field])
        .collect();
    let columns = batch.columns().iter().cloned().chain([column]).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn rows(keys: &[i64]) -> RecordBatch {
    let versions: Vec<_> = keys.iter().map(|key| (*key, 1)).collect();
    let chunks: Vec<_> = keys.iter().map(|key| chunks_of(*key)).collect();
    with_column(&support::rows(&versions), "chunks", column(&chunks))
}

fn decoded(column: &ArrayRef, row: usize) -> Chunks {
    let lists = column.as_list::<i32>();
    lists.is_valid(row).then(|| {
        let structs = lists.value(row);
        let structs = structs.as_struct();
        let texts = structs.column_by_name("text").unwrap().as_string::<i32>();
        let numbers: &Int32Array = structs.column_by_name("n").unwrap().as_primitive::<Int32Type>();
        texts
            .iter()
            .flatten()
            .map(ToString::to_string)
            .zip(numbers.values().iter().copied())
            .collect()
    })
}

async fn contents(collection: &Collection, name: &str) -> BTreeMap<i64, Chunks> {
    let mut found = BTreeMap::new();
    for unit in &collection.snapshot().units {
        let batch = unit.columns(&["id", name]).await.unwrap();
        let live: Vec<u32> = unit.live().iter().map(|row| row as u32).collect();
        let taken = unit.take(&["id", name], &live).await.unwrap();
        for (position, row) in live.iter().enumerate() {
            let id = batch.column(0).as_primitive::<Int64Type>().value(*row as usize);
            let chunks = decoded(batch.column(1), *row as usize);
            assert_eq!(
                decoded(taken.column(1), position),
                chunks,
                "both ways of reading agree"
            );
            assert_eq!(found.insert(id, chunks), None);
        }
    }
    found
}

fn expected(keys: impl IntoIterator<Item = i64>) -> BTreeMap<i64, Chunks> {
    keys.into_iter().map(|key| (key, chunks_of(key))).collect()
}

#[tokio::test]
async fn structs_survive_the_log_files_changes_and_compaction() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    let keys: Vec<i64> = (0..40).collect();
    collection.insert(rows(&keys[..20]), None).await.unwrap();
    collection.flush().await.unwrap();
    collection.insert(rows(&keys[20..]), None).await.unwrap();
    assert_eq!(contents(&collection, "chunks").await, expected(0..40));
    // What is in the log alone is there again after a restart.
    engine.close().await;
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.collection("default", "c").unwrap();
    assert_eq!(contents(&collection, "chunks").await, expected(0..40));
    // An upsert replaces whole rows, a delete removes them.
    let mut state = expected(0..40);
    let changed = with_column(
        &support::rows(&[(5, 2), (25, 2)]),
        "chunks",
        column(&[None, chunks_of(7)]),
    );
    collection.upsert(changed, None).await.unwrap();
    state.insert(5, None);
    state.insert(25, chunks_of(7));
    let gone = Keys::Int64(vec![3, 23]);
    collection.delete(gone, None).await.unwrap();
    state.retain(|key, _| ![3, 23].contains(key));
    assert_eq!(contents(&collection, "chunks").await, state);
    collection.flush().await.unwrap();
    collection.compact().await.unwrap();
    assert_eq!(contents(&collection, "chunks").await, state);
    engine.close().await;
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.collection("default", "c").unwrap();
    assert_eq!(contents(&collection, "chunks").await, state);
    let schema = collection.schema();
    let field = schema.field("chunks").unwrap();
    let ids: Vec<_> = field.sub_fields().iter().map(|sub| sub.id).collect();
    assert_eq!((field.id, ids), (103, vec![104, 105]));
    engine.close().await;
}

#[tokio::test]
async fn an_added_struct_array_is_null_in_old_rows_and_its_ids_are_new() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    collection.insert(rows(&[1, 2]), None).await.unwrap();
    collection.flush().await.unwrap();
    let add = |name: &str| Alteration::AddField {
        field: Box::new(Field::new(name, chunks_type()).nullable()),
        if_not_exists: false,
    };
    let drop = Alteration::DropField {
        name: "chunks".into(),
        if_exists: false,
        with_vector_index: false,
    };
    let grow = Alteration::SetMaxCapacity {
        field: "more".into(),
        max_capacity: 4,
    };
    let collection = engine
        .alter_collection("default", "c", vec![add("more"), drop, grow])
        .await
        .unwrap();
    let four: Chunks = Some((0..4).map(|n| ("x".to_string(), n)).collect());
    let row = with_column(
        &support::rows(&[(3, 1)]),
        "more",
        column(std::slice::from_ref(&four)),
    );
    collection.insert(row, None).await.unwrap();
    let state = BTreeMap::from([(1, None), (2, None), (3, four)]);
    assert_eq!(contents(&collection, "more").await, state);
    collection.flush().await.unwrap();
    collection.compact().await.unwrap();
    assert_eq!(contents(&collection, "more").await, state);
    let schema = collection.schema();
    let field = schema.field("more").unwrap();
    let ids: Vec<_> = field.sub_fields().iter().map(|sub| sub.id).collect();
    assert_eq!(
        (field.id, ids),
        (106, vec![107, 108]),
        "ids are never given twice"
    );
    engine.close().await;
}

#[tokio::test]
async fn rows_that_break_a_rule_are_refused() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let engine = open(&store, manual()).await.unwrap();
    let collection = engine.create_collection("default", "c", spec()).await.unwrap();
    let element = |text: &str, n: i32| (text.to_string(), n);
    let of = |chunks: Chunks| column(&[chunks]);
    let named = |names: &[&str]| {
        let fields: Fields = names
            .iter()
            .map(|name| ArrowField::new(*name, ArrowType::Utf8, true))
            .collect();
        let child: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
        list(
            fields,
            names.iter().map(|_| Arc::clone(&child)).collect(),
            &[Some(vec![element("1", 1)])],
        )
    };
    let null_child = {
        let fields: Fields = vec![
            ArrowField::new("n", ArrowType::Int32, true),
            ArrowField::new("text", ArrowType::Utf8, true),
        ]
        .into();
        let children: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(vec![None])),
            Arc::new(StringArray::from(vec!["1"])),
        ];
        list(fields, children, &[Some(vec![element("1", 1)])])
    };
    for (column, reason) in [
        (
            of(Some(vec![element("a", 1); 4])),
            "the length (4) of 0th array exceeds max capacity (3) of field 'chunks'",
        ),
        (
            of(Some(vec![element("far too long", 1)])),
            "length of varchar field chunks[text] exceeds max length",
        ),
        (
            named(&["text"]),
            "sub-field 'n' of struct array field 'chunks' is missing",
        ),
        (
            named(&["text", "n", "m"]),
            "struct array field 'chunks' has no sub-field 'm'; its sub-fields are text, n",
        ),
        (
            null_child,
            "'chunks[n]' of row 0 is null: only the whole of a struct array can be",
        ),
        (
            Arc::new(Int64Array::from(vec![1])),
            "field 'chunks' is of type ArrayOfStruct",
        ),
    ] {
        let row = with_column(&support::rows(&[(1, 1)]), "chunks", column);
        let error = collection.insert(row, None).await.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    // What fits after a conversion is taken.
    let row = with_column(&support::rows(&[(1, 1)]), "chunks", named(&["text", "n"]));
    collection.insert(row, None).await.unwrap();
    assert_eq!(
        contents(&collection, "chunks").await[&1],
        Some(vec![element("1", 1)])
    );
    engine.close().await;
}

#[test]
fn schemas_with_structs_are_checked_numbered_and_survive_their_arrow_form() {
    let with = |fields: Vec<SubField>, max_capacity| {
        let data_type = DataType::StructArray { fields, max_capacity };
        let mut schema = CollectionSchema::new(vec![
            Field::new("id", DataType::Int64).primary(),
            Field::new("chunks", data_type).nullable(),
            Field::new("v", DataType::FloatVector { dim: 4 }),
        ])
        .with_dynamic_field();
        schema.validate().map(|()| schema)
    };
    let sub = |name: &str| SubField::new(name, DataType::Bool);
    let schema = with(
        vec![
            SubField {
                description: "words".into(),
                ..SubField::new("text", DataType::VarChar { max_length: 9 })
            },
            sub("b"),
        ],
        4096,
    )
    .unwrap();
    assert_eq!(CollectionSchema::from_arrow(&schema.to_arrow()).unwrap(), schema);
    // Arrays of structs come after everything else, as Milvus numbers them.
    let ids: Vec<_> = schema.fields.iter().map(|field| field.id).collect();
    assert_eq!(ids, [100, 103, 101, 102]);
    assert_eq!(schema.fields[1].sub_fields()[1].id, 105);
    let error = |fields, capacity| with(fields, capacity).unwrap_err().to_string();
    assert!(error(vec![], 4).contains("struct array field chunks has no sub-fields"));
    assert!(error(vec![sub("a"), sub("a")], 4).contains("duplicated sub-field name 'a'"));
    assert!(error(vec![sub("a b")], 4).contains("a b"));
    assert!(error(vec![sub("a")], 4097).contains("range [1, 4096]"));
    assert!(
        error(vec![SubField::new("v", DataType::SparseFloatVector)], 4)
            .contains("'chunks[v]': sub-fields of type SparseFloatVector")
    );
    assert!(
        error(vec![SubField::new("t", DataType::VarChar { max_length: 0 })], 4)
            .contains("'chunks[t]': the maximum length 0")
    );
    let many = (0..62).map(|n| sub(&format!("s{n}"))).collect();
    assert!(error(many, 4).contains("limited to 64, got 65"));
}
