//! Segment files: every column type comes back, vectors are views of the file, other tools can read the Parquet.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, FixedSizeListArray, Float32Array,
    Float64Array, Int8Array, Int64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt64Array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Float32Type, Int32Type, Int64Type, Schema};
use elanus_storage::{
    CollectionStore, Error, Fault, FaultStore, KeyRange, OperationKind, SegmentMeta, TIMESTAMP_COLUMN,
    open_root, variable_bytes,
};
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::basic::Compression;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;
use proptest::prelude::*;
use roaring::RoaringBitmap;

use crate::model;

async fn writer(store: Arc<dyn ObjectStore>) -> CollectionStore {
    CollectionStore::create(store, 1, model::schema(), vec![])
        .await
        .unwrap()
}

async fn in_memory() -> CollectionStore {
    writer(Arc::new(InMemory::new())).await
}

fn vectors(rows: usize, dim: i32, valid: impl Fn(usize) -> bool) -> FixedSizeListArray {
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let values: Vec<f32> = (0..rows * dim as usize).map(|value| value as f32).collect();
    let nulls: NullBuffer = (0..rows).map(valid).collect();
    FixedSizeListArray::new(item, dim, Arc::new(Float32Array::from(values)), Some(nulls))
}

/// One column of every kind, with nulls.
fn everything(rows: usize) -> RecordBatch {
    let optional = |row: usize| (!row.is_multiple_of(3)).then_some(row);
    let text = (0..rows).map(|row| optional(row).map(|row| format!("text {row}")));
    let json = (0..rows).map(|row| Some(format!("{{\"n\":{row}}}")));
    let lists = (0..rows).map(|row| optional(row).map(|row| vec![Some(row as i32), None]));
    let moments = (0..rows).map(|row| optional(row).map(|row| row as i64 * 1_000));
    let columns: Vec<(Field, ArrayRef)> = vec![
        (
            Field::new("flag", DataType::Boolean, true),
            Arc::new(BooleanArray::from_iter(
                (0..rows).map(|row| optional(row).map(|row| row % 2 == 0)),
            )),
        ),
        (
            Field::new("tiny", DataType::Int8, true),
            Arc::new(Int8Array::from_iter(
                (0..rows).map(|row| optional(row).map(|row| row as i8)),
            )),
        ),
        (
            Field::new(
                "v",
                DataType::FixedSizeList(Arc::new(Field::new("item", DataType::Float32, false)), 3),
                true,
            ),
            Arc::new(vectors(rows, 3, |row| row % 4 != 1)),
        ),
        (
            Field::new("id", DataType::Int64, false),
            Arc::new(Int64Array::from_iter_values((0..rows).map(|row| row as i64 - 5))),
        ),
        (
            Field::new("double", DataType::Float64, true),
            Arc::new(Float64Array::from_iter(
                (0..rows).map(|row| optional(row).map(|row| row as f64 / 7.0)),
            )),
        ),
        (
            Field::new("text", DataType::Utf8, true),
            Arc::new(StringArray::from_iter(text)),
        ),
        (
            Field::new("json", DataType::Utf8, false)
                .with_metadata([("ARROW:extension:name".to_owned(), "arrow.json".to_owned())].into()),
            Arc::new(StringArray::from_iter(json)),
        ),
        (
            Field::new(
                "list",
                DataType::List(Arc::new(Field::new("item", DataType::Int32, true))),
                true,
            ),
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists)),
        ),
        (
            Field::new(
                "moment",
                DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into())),
                true,
            ),
            Arc::new(TimestampMicrosecondArray::from_iter(moments).with_timezone("UTC")),
        ),
        (
            Field::new(
                "w",
                DataType::FixedSizeList(Arc::new(Field::new("item", DataType::Float32, false)), 8),
                true,
            ),
            Arc::new(vectors(rows, 8, |_| true)),
        ),
        (
            Field::new(TIMESTAMP_COLUMN, DataType::UInt64, false),
            Arc::new(UInt64Array::from_iter_values(
                (0..rows).map(|row| 1000 + row as u64),
            )),
        ),
    ];
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

const SCALARS: [&str; 9] = [
    "moment",
    "flag",
    "tiny",
    "id",
    "double",
    "text",
    "json",
    "list",
    TIMESTAMP_COLUMN,
];

fn names(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|column| (*column).to_owned()).collect()
}

async fn assert_comes_back(writer: &CollectionStore, pieces: &[RecordBatch]) -> SegmentMeta {
    let files = writer.files();
    let batch = &concat_batches(pieces[0].schema_ref(), pieces).unwrap();
    let segment = files.write_segment(9, pieces.to_vec(), "id").await.unwrap();
    assert_eq!((segment.partition, segment.rows as usize), (9, batch.num_rows()));
    assert_eq!(segment.vector_fields, ["v", "w"]);
    assert_eq!(
        segment.bytes,
        segment.files.iter().map(|file| file.bytes).sum::<u64>()
    );
    let read = files.read_columns(&segment, &names(&SCALARS)).await.unwrap();
    for (position, column) in SCALARS.iter().enumerate() {
        let original = batch.column_by_name(column).unwrap();
        assert_eq!(read.column(position), original, "{column}");
        assert_eq!(
            read.schema().field(position),
            batch.schema().field_with_name(column).unwrap()
        );
    }
    for field in ["v", "w"] {
        let mapped = files.map_vectors(&segment, field).await.unwrap();
        assert_eq!(&mapped, batch.column_by_name(field).unwrap(), "{field}");
    }
    segment
}

#[tokio::test]
async fn every_type_comes_back_from_memory_and_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let root = open_root(dir.path().to_str().unwrap()).unwrap();
    for writer in [in_memory().await, writer(Arc::clone(&root.store)).await] {
        for rows in [1, 37] {
            let batch = everything(rows);
            let first = rows.div_ceil(3);
            for pieces in [
                vec![batch.clone()],
                vec![
                    batch.slice(0, first),
                    batch.slice(first, 0),
                    batch.slice(first, rows - first),
                ],
            ] {
                let segment = assert_comes_back(&writer, &pieces).await;
                assert_eq!((segment.min_ts, segment.max_ts), (1000, 999 + rows as u64));
                let widest = batch.columns().iter().map(variable_bytes).max();
                assert!(widest > Some(0));
                assert_eq!(Some(segment.widest_column), widest);
                assert_eq!(segment.key_range, Some(KeyRange::Int64(-5, rows as i64 - 6)));
            }
        }
    }
}

#[tokio::test]
async fn a_slice_of_a_batch_is_written_without_the_rest() {
    let writer = in_memory().await;
    let whole = everything(1000);
    let segment = assert_comes_back(&writer, &[whole.slice(13, 20)]).await;
    let vector_bytes = segment.files.last().unwrap().bytes;
    assert!(
        vector_bytes < 20 * 8 * 4 + 2000,
        "{vector_bytes} bytes for 20 vectors"
    );
}

#[tokio::test]
async fn any_arrow_reader_reads_the_vectors_which_start_at_a_cache_line() {
    let dir = tempfile::tempdir().unwrap();
    let root = open_root(dir.path().to_str().unwrap()).unwrap();
    let writer = writer(Arc::clone(&root.store)).await;
    let files = writer.files();
    let rows = 21;
    let key: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
    let moments: ArrayRef = Arc::new(UInt64Array::from_iter_values(1..=rows as u64));
    let bits = FixedSizeBinaryArray::try_from_iter((0..rows).map(|row| [row as u8, 1, 2])).unwrap();
    let columns: [(&str, ArrayRef); 4] = [
        ("dense", Arc::new(vectors(rows, 5, |_| true))),
        ("with nulls", Arc::new(vectors(rows, 5, |row| row != 9))),
        ("bits", Arc::new(bits)),
        ("one", Arc::new(vectors(rows, 1, |_| true))),
    ];
    for (name, column) in columns {
        let field = Field::new(name, column.data_type().clone(), true)
            .with_metadata([("of the".to_owned(), "field".to_owned())].into());
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new(TIMESTAMP_COLUMN, DataType::UInt64, false),
            field.clone(),
        ]));
        let columns = vec![Arc::clone(&key), Arc::clone(&moments), Arc::clone(&column)];
        let batch = RecordBatch::try_new(schema, columns).unwrap();
        let pieces = vec![batch.slice(0, 4), batch.slice(4, 1), batch.slice(5, rows - 5)];
        let segment = files.write_segment(0, pieces, "id").await.unwrap();
        let mapped = files.map_vectors(&segment, name).await.unwrap();
        assert_eq!(&mapped, &column, "{name}");
        let values = match mapped.as_fixed_size_list_opt() {
            Some(list) => list.values().to_data(),
            None => mapped.to_data(),
        };
        let address = values.buffers()[0].as_ptr();
        assert_eq!(address.align_offset(64), 0, "{name}");

        let path = format!("c/1/segments/{}/{}", segment.id, segment.files[1].name);
        let file = std::fs::File::open(dir.path().join(&path)).unwrap();
        assert_eq!(file.metadata().unwrap().len(), segment.files[1].bytes, "{name}");
        let mut reader = arrow::ipc::reader::FileReader::try_new(file, None).unwrap();
        assert_eq!(reader.schema().field(0), &field);
        let read = reader.next().unwrap().unwrap();
        assert_eq!(read.column(0), &column, "{name}");
        assert!(reader.next().is_none(), "{name}: one batch");
    }
}

#[tokio::test]
async fn chosen_rows_are_read_across_pages_and_row_groups() {
    let writer = in_memory().await;
    let batch = everything(70_000);
    let files = writer.files();
    let segment = files.write_segment(0, vec![batch.clone()], "id").await.unwrap();
    for rows in [
        vec![],
        vec![0],
        vec![69_999],
        vec![0, 1, 4095, 4096, 65_535, 65_536, 65_537, 69_999],
    ] {
        let read = files
            .read_rows(&segment, &names(&["text", "id"]), &rows)
            .await
            .unwrap();
        let ids: Vec<i64> = read.column(1).as_primitive::<Int64Type>().values().to_vec();
        assert_eq!(
            ids,
            rows.iter().map(|row| i64::from(*row) - 5).collect::<Vec<_>>()
        );
        assert_eq!(read.schema().field(0).name(), "text");
    }
    assert!(files.read_rows(&segment, &names(&["id"]), &[2, 1]).await.is_err());
    assert!(
        files
            .read_rows(&segment, &names(&["id"]), &[70_000])
            .await
            .is_err()
    );
    let all = files.read_columns(&segment, &names(&["id"])).await.unwrap();
    assert_eq!(all.num_rows(), 70_000);
    assert_eq!(
        files.read_columns(&segment, &[]).await.unwrap().num_rows(),
        70_000
    );
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn vectors_on_disk_are_views_of_the_mapped_file() {
    let dir = tempfile::tempdir().unwrap();
    let root = open_root(dir.path().to_str().unwrap()).unwrap();
    let writer = writer(Arc::clone(&root.store)).await;
    let files = writer.files();
    let segment = files.write_segment(0, vec![everything(500)], "id").await.unwrap();
    let mapped = files.map_vectors(&segment, "w").await.unwrap();
    let values = mapped
        .as_fixed_size_list()
        .values()
        .as_primitive::<Float32Type>()
        .values();
    let address = values.as_ptr() as usize;
    assert_eq!(address % 64, 0, "values are 64-byte aligned");
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| {
        let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let bounds = usize::from_str_radix(start, 16).unwrap()..usize::from_str_radix(end, 16).unwrap();
        bounds.contains(&address)
    });
    assert!(line.unwrap().ends_with("w.vec.arrow"), "{line:?}");
}

#[tokio::test]
async fn the_parquet_file_has_page_index_bloom_filter_and_lz4() {
    let store = Arc::new(InMemory::new());
    let writer = writer(Arc::clone(&store) as Arc<dyn ObjectStore>).await;
    let segment = writer
        .files()
        .write_segment(0, vec![everything(10_000)], "id")
        .await
        .unwrap();
    let path = Path::from(format!("c/1/segments/{}/data.parquet", segment.id));
    let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
    let options = ReadOptionsBuilder::new().with_page_index().build();
    let reader = SerializedFileReader::new_with_options(bytes, options).unwrap();
    let metadata = reader.metadata();
    assert!(metadata.column_index().is_some() && metadata.offset_index().is_some());
    for column in metadata.row_group(0).columns() {
        assert_eq!(column.compression(), Compression::LZ4_RAW);
        let has_filter = matches!(column.column_path().string().as_str(), "id" | "text");
        assert_eq!(
            column.bloom_filter_offset().is_some(),
            has_filter,
            "{}",
            column.column_path()
        );
    }
    let id_column = metadata
        .row_group(0)
        .columns()
        .iter()
        .position(|column| column.column_path().string() == "id");
    let pages = metadata.offset_index().unwrap()[0][id_column.unwrap()]
        .page_locations()
        .len();
    assert_eq!(pages, 3, "10,000 rows in pages of 4,096");
}

#[tokio::test]
async fn text_keys_have_a_range_and_bad_batches_are_refused() {
    let writer = in_memory().await;
    let files = writer.files();
    let batch = everything(5);
    let segment = files.write_segment(0, vec![batch.clone()], "json").await.unwrap();
    let range = KeyRange::VarChar("{\"n\":0}".to_owned(), "{\"n\":4}".to_owned());
    assert_eq!(segment.key_range, Some(range));
    let no_timestamp = batch.project(&(0..10).collect::<Vec<_>>()).unwrap();
    for (bad, key, names) in [
        (batch.slice(0, 0), "id", "0 rows"),
        (no_timestamp, "id", TIMESTAMP_COLUMN),
        (batch.clone(), "nope", "nope"),
        (batch.clone(), "text", "without nulls"),
    ] {
        let error = files.write_segment(0, vec![bad.clone()], key).await.unwrap_err();
        assert!(
            matches!(&error, Error::Invalid(text) if text.contains(names)),
            "{error}"
        );
    }
    let of_another_schema = batch.project(&(1..11).collect::<Vec<_>>()).unwrap();
    for (bad, names) in [
        (vec![], "0 rows"),
        (vec![batch.clone(), of_another_schema], "columns"),
    ] {
        let error = files.write_segment(0, bad, "id").await.unwrap_err();
        assert!(
            matches!(&error, Error::Invalid(text) if text.contains(names)),
            "{error}"
        );
    }
    let unknown = files.read_columns(&segment, &names(&["v"])).await.unwrap_err();
    assert!(matches!(unknown, Error::Invalid(_)), "{unknown}");
    assert!(files.map_vectors(&segment, "id").await.is_err());
}

#[tokio::test]
async fn field_names_of_any_kind_make_valid_paths() {
    let dir = tempfile::tempdir().unwrap();
    let root = open_root(dir.path().to_str().unwrap()).unwrap();
    let writer = writer(Arc::clone(&root.store)).await;
    for name in ["a/b", "ünï", "x#1", "..", "sp ace"] {
        let batch = model::batch(&[(1, 1), (2, 2)]);
        let mut fields: Vec<Field> = batch
            .schema()
            .fields()
            .iter()
            .map(|field| field.as_ref().clone())
            .collect();
        fields[1] = fields[1].clone().with_name(name);
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), batch.columns().to_vec()).unwrap();
        let files = writer.files();
        let segment = files.write_segment(0, vec![batch.clone()], "id").await.unwrap();
        assert_eq!(
            files.map_vectors(&segment, name).await.unwrap().len(),
            2,
            "{name}"
        );
        let plain = |file: &elanus_storage::FileRef| !file.name.contains(['/', '\\', '#', ' ', '%']);
        assert!(segment.files.iter().all(plain), "{:?}", segment.files);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn delete_bitmaps_come_back(rows in proptest::collection::btree_set(any::<u32>(), 0..300), version in any::<u64>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let writer = in_memory().await;
            let files = writer.files();
            let segment = elanus_storage::SegmentId::generate();
            let bitmap: RoaringBitmap = rows.iter().copied().collect();
            let deletes = files.write_deletes(segment, version, &bitmap).await.unwrap();
            assert_eq!((deletes.version, deletes.count), (version, rows.len() as u64));
            assert_eq!(files.read_deletes(segment, &deletes).await.unwrap(), bitmap);
        });
    }
}

#[tokio::test]
async fn vector_fields_of_the_longest_names_have_files_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let root = open_root(dir.path().to_str().unwrap()).unwrap();
    let writer = writer(Arc::clone(&root.store)).await;
    let (one, two) = (format!("{}1", "v".repeat(254)), format!("{}2", "v".repeat(254)));
    let batch = everything(10);
    let renamed = batch
        .schema()
        .fields()
        .iter()
        .map(|field| {
            let name = match field.name().as_str() {
                "v" => &one,
                "w" => &two,
                other => other,
            };
            Arc::new(field.as_ref().clone().with_name(name))
        })
        .collect::<Vec<_>>();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(renamed)), batch.columns().to_vec()).unwrap();
    let segment = writer
        .files()
        .write_segment(1, vec![batch.clone()], "id")
        .await
        .unwrap();
    for name in [&one, &two] {
        let column = writer.files().map_vectors(&segment, name).await.unwrap();
        assert_eq!(Some(&column), batch.column_by_name(name));
        writer
            .files()
            .write_index(segment.id, name, i64::MAX, "blob".into())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_segment_that_could_not_be_written_leaves_no_files() {
    let faults = FaultStore::new(Arc::new(InMemory::new()));
    let writer = writer(Arc::new(faults.clone())).await;
    for fault in [Fault::FailBefore, Fault::FailAfter] {
        faults.inject_next(OperationKind::Put, "w.vec.arrow", fault);
        writer
            .files()
            .write_segment(1, vec![everything(10)], "id")
            .await
            .unwrap_err();
        let listed: Vec<_> = faults
            .list(Some(&Path::from("c/1/segments")))
            .try_collect()
            .await
            .unwrap();
        assert_eq!(listed, [], "{fault:?}");
    }
}
