//! Segment files: scalars in Parquet ([`data`]), vectors in mapped Arrow files ([`vectors`]), index blobs, delete
//! bitmaps and the newer values of updated rows ([`updates`]).
//!
//! A segment becomes part of a collection when a manifest names it; until then its files are an attempt. Every file is
//! checked against the length and CRC32C in the manifest when this process first reads it.

mod blooms;
mod data;
pub(crate) mod fetch;
mod updates;
mod vectors;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{max, max_string, min, min_string};
use arrow::datatypes::{DataType, Int64Type, UInt64Type};
use bytes::Bytes;
use crc32c::crc32c_append;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, PutMode, PutOptions, PutPayload};
use parking_lot::Mutex;
use roaring::RoaringBitmap;
use ulid::Ulid;

use crate::codec::{blocking, check_crc, seal, unseal};
use crate::error::{Error, Result};
use crate::manifest::{
    DeletesRef, FileRef, IndexFile, KeyRange, Manifest, SegmentId, SegmentMeta, UpdatesRef,
};
use crate::versioned::remove_if_present;

pub use self::blooms::{BloomValue, ColumnBlooms};
pub use self::data::{ColumnStatistics, SegmentStatistics};

/// The hidden column with the timestamp of each row: UInt64, no nulls, `(unix milliseconds << 18) | counter`.
pub const TIMESTAMP_COLUMN: &str = "__elanus_ts";

/// Most bytes, or list elements, that the values of one column of a segment may have together: the offsets of Arrow's
/// columns of variable length are `i32`.
pub const MAX_COLUMN_BYTES: u64 = i32::MAX as u64;

const DATA_FILE: &str = "data.parquet";
const DELETES_MAGIC: [u8; 8] = *b"ELANDEL1";

/// Reads and writes the segment files of one collection. Cheap to clone; clones share their state.
#[derive(Debug, Clone)]
pub struct SegmentFiles {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn ObjectStore>,
    /// `c/{id}/segments`
    prefix: Path,
    /// Files whose checksum this process has verified.
    verified: Mutex<HashSet<Path>>,
    /// Files that this process wrote and no manifest names yet; garbage collection leaves them alone.
    uncommitted: Mutex<HashSet<Path>>,
}

impl SegmentFiles {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                prefix,
                verified: Mutex::default(),
                uncommitted: Mutex::default(),
            }),
        }
    }

    /// Writes the rows of `batches`, one batch after the other, as a new segment: vector columns to vector files, everything
    /// else and the timestamp column to `data.parquet`. The segment exists once a commit puts the result into the manifest.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the batches have no row or not the same schema, no [`TIMESTAMP_COLUMN`] or no column
    /// `primary_key`, or nulls in them; when a column has more than [`MAX_COLUMN_BYTES`]; or when the store fails.
    pub async fn write_segment(
        &self,
        partition: i64,
        batches: Vec<RecordBatch>,
        primary_key: &str,
    ) -> Result<SegmentMeta> {
        let id = SegmentId::generate();
        let primary_key = primary_key.to_owned();
        let (mut meta, contents) =
            blocking(move || encode_segment(id, partition, &batches, &primary_key)).await?;
        for (name, content) in contents {
            match self.write(id, name, content).await {
                Ok(file) => {
                    meta.bytes += file.bytes;
                    meta.files.push(file);
                }
                Err(error) => {
                    // On a full disk what is already written would make every further try harder.
                    self.discard(id).await;
                    return Err(error);
                }
            }
        }
        Ok(meta)
    }

    /// The named scalar columns of all rows, in the order asked for.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::NotFound`], [`Error::Invalid`] for a column that is not in `data.parquet`.
    pub async fn read_columns(&self, segment: &SegmentMeta, columns: &[String]) -> Result<RecordBatch> {
        self.read_data(segment, columns, None).await
    }

    /// The named scalar columns of some rows. `rows` must be ascending and distinct; the page index is used, so that
    /// few rows cost few pages.
    ///
    /// # Errors
    /// As [`read_columns`](Self::read_columns), and [`Error::Invalid`] for rows out of order or out of range.
    pub async fn read_rows(
        &self,
        segment: &SegmentMeta,
        columns: &[String],
        rows: &[u32],
    ) -> Result<RecordBatch> {
        let ascending = rows.is_sorted_by(|left, right| left < right);
        if !ascending || rows.last().is_some_and(|last| *last >= segment.rows) {
            return Err(Error::Invalid(format!(
                "rows to read must be ascending, distinct and below {}",
                segment.rows
            )));
        }
        self.read_data(segment, columns, Some(rows.to_vec())).await
    }

    /// The names of the columns in `data.parquet`: a segment that is older than a column of its collection lacks it.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::NotFound`].
    pub async fn column_names(&self, segment: &SegmentMeta) -> Result<Vec<String>> {
        let file = segment.files.first().ok_or_else(|| no_file(segment, DATA_FILE))?;
        let (path, bytes) = self.open(segment.id, file).await?;
        blocking(move || data::column_names(path.as_ref(), bytes)).await
    }

    /// Bounds of the values of the scalar columns, of each group of rows.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::NotFound`].
    pub async fn statistics(&self, segment: &SegmentMeta) -> Result<SegmentStatistics> {
        let file = segment.files.first().ok_or_else(|| no_file(segment, DATA_FILE))?;
        let (path, bytes) = self.open(segment.id, file).await?;
        blocking(move || data::statistics(path.as_ref(), bytes)).await
    }

    /// The Bloom filters of a column, if it has any.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::NotFound`].
    pub async fn blooms(&self, segment: &SegmentMeta, column: &str) -> Result<ColumnBlooms> {
        let file = segment.files.first().ok_or_else(|| no_file(segment, DATA_FILE))?;
        let (path, bytes) = self.open(segment.id, file).await?;
        let column = column.to_owned();
        blocking(move || blooms::blooms(path.as_ref(), &bytes, &column)).await
    }

    async fn read_data(
        &self,
        segment: &SegmentMeta,
        columns: &[String],
        rows: Option<Vec<u32>>,
    ) -> Result<RecordBatch> {
        let file = segment.files.first().ok_or_else(|| no_file(segment, DATA_FILE))?;
        let (path, bytes) = self.open(segment.id, file).await?;
        let columns = columns.to_vec();
        let total_rows = segment.rows as usize;
        blocking(move || data::decode(path.as_ref(), bytes, &columns, total_rows, rows.as_deref())).await
    }

    /// A vector column of all rows; on a local store the array is a view of the mapped file. Null vectors are nulls of
    /// the array.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::NotFound`], [`Error::Invalid`] for a field without vector file.
    pub async fn map_vectors(&self, segment: &SegmentMeta, field: &str) -> Result<ArrayRef> {
        let position = segment.vector_fields.iter().position(|name| name == field);
        let position = position.ok_or_else(|| {
            Error::Invalid(format!(
                "segment {} has no vector field {field}, only {}",
                segment.id,
                segment.vector_fields.join(", ")
            ))
        })?;
        let file = segment
            .files
            .get(position + 1)
            .ok_or_else(|| no_file(segment, field))?;
        let (path, bytes) = self.open(segment.id, file).await?;
        vectors::decode(path.as_ref(), &bytes, field, segment.rows as usize)
    }

    /// Writes an index blob. It counts once a commit puts the result into the segment's `indexes`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn write_index(
        &self,
        segment: SegmentId,
        field: &str,
        index_id: i64,
        blob: Bytes,
    ) -> Result<IndexFile> {
        // The random part keeps a rebuild apart from the attempt of a process that died before its commit.
        let name = format!("{}.{index_id}.{}.idx", file_stem(field), Ulid::new());
        Ok(IndexFile {
            field: field.to_owned(),
            index_id,
            file: self.write(segment, name, blob).await?,
        })
    }

    /// The bytes of an index blob, mapped on a local store.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::NotFound`].
    pub async fn map_index(&self, segment: SegmentId, index: &IndexFile) -> Result<Bytes> {
        let (_, bytes) = self.open(segment, &index.file).await?;
        Ok(bytes)
    }

    /// The file of an index blob, for an index that reads parts of it when it needs them; `None` where the store has no
    /// files.
    ///
    /// # Errors
    /// [`Error::NotFound`], or when the store fails.
    pub async fn index_file(&self, segment: SegmentId, index: &IndexFile) -> Result<Option<PathBuf>> {
        let path = self.path(segment, &index.file.name);
        fetch::file_of(self.shared.store.as_ref(), &path).await
    }

    /// Writes a delete bitmap: the row offsets that are deleted. It counts once a commit puts the result into the
    /// segment's `deletes`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn write_deletes(
        &self,
        segment: SegmentId,
        version: u64,
        rows: &RoaringBitmap,
    ) -> Result<DeletesRef> {
        let mut body = Vec::with_capacity(rows.serialized_size());
        rows.serialize_into(&mut body)
            .map_err(|error| Error::io("delete bitmap", error))?;
        let name = format!("deletes.{version:020}.{}.roar", Ulid::new());
        Ok(DeletesRef {
            version,
            count: rows.len(),
            file: self.write(segment, name, seal(DELETES_MAGIC, &body)).await?,
        })
    }

    /// Reads a delete bitmap.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::NotFound`].
    pub async fn read_deletes(&self, segment: SegmentId, deletes: &DeletesRef) -> Result<RoaringBitmap> {
        let (path, bytes) = self.open(segment, &deletes.file).await?;
        let body = unseal(path.as_ref(), DELETES_MAGIC, bytes)?;
        let mut rest = body.as_ref();
        let rows = RoaringBitmap::deserialize_from(&mut rest)
            .map_err(|error| Error::corrupt(path.as_ref(), error.to_string()))?;
        if !rest.is_empty() || rows.len() != deletes.count {
            return Err(Error::corrupt(
                path.as_ref(),
                format!("{} deleted rows, the manifest says {}", rows.len(), deletes.count),
            ));
        }
        Ok(rows)
    }

    /// Writes the newer values of columns: for each column a batch of row offsets (UInt32) and values. They count once
    /// a commit puts the result into the segment's `updates`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn write_updates(
        &self,
        segment: SegmentId,
        version: u64,
        columns: Vec<RecordBatch>,
    ) -> Result<UpdatesRef> {
        let count = columns.iter().map(|column| column.num_rows() as u64).sum();
        let content = blocking(move || updates::encode(&columns)).await?;
        let name = format!("updates.{version:020}.{}.arrows", Ulid::new());
        Ok(UpdatesRef {
            version,
            count,
            file: self.write(segment, name, content).await?,
        })
    }

    /// Reads what [`write_updates`](Self::write_updates) wrote.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::NotFound`].
    pub async fn read_updates(
        &self,
        segment: &SegmentMeta,
        updates: &UpdatesRef,
    ) -> Result<Vec<RecordBatch>> {
        let (path, bytes) = self.open(segment.id, &updates.file).await?;
        let (rows, count) = (segment.rows, updates.count);
        blocking(move || updates::decode(path.as_ref(), bytes, rows, count)).await
    }

    /// Removes a segment for which no commit was ever tried. What cannot be removed now is left to garbage collection.
    pub async fn discard(&self, segment: SegmentId) {
        self.abandon(segment);
        let store = self.shared.store.as_ref();
        let removed = async {
            let files: Vec<ObjectMeta> = store.list(Some(&self.directory(segment))).try_collect().await?;
            for file in files {
                remove_if_present(store, &file.location).await?;
                self.forget(&file.location);
            }
            Result::<()>::Ok(())
        };
        if let Err(error) = removed.await {
            tracing::debug!(%segment, %error, "files of a given up segment stay until garbage is collected");
        }
    }

    /// Gives up one file that was written and will not be committed, so that garbage collection may remove it.
    pub fn abandon_file(&self, segment: SegmentId, file: &FileRef) {
        let path = self.path(segment, &file.name);
        self.shared.uncommitted.lock().remove(&path);
    }

    /// Gives up a segment that was written and will not be committed, so that garbage collection may remove it.
    pub fn abandon(&self, segment: SegmentId) {
        let directory = self.directory(segment);
        let mut uncommitted = self.shared.uncommitted.lock();
        uncommitted.retain(|path| !path.prefix_matches(&directory));
    }

    pub(crate) fn abandon_all(&self) {
        self.shared.uncommitted.lock().clear();
    }

    pub(crate) fn directory(&self, segment: SegmentId) -> Path {
        self.shared.prefix.clone().join(segment.to_string())
    }

    pub(crate) fn prefix(&self) -> &Path {
        &self.shared.prefix
    }

    pub(crate) fn path(&self, segment: SegmentId, name: &str) -> Path {
        self.directory(segment).join(name)
    }

    pub(crate) fn is_uncommitted(&self, path: &Path) -> bool {
        self.shared.uncommitted.lock().contains(path)
    }

    /// Tells that `manifest` is durable: what it names is no longer an attempt.
    pub(crate) fn committed(&self, manifest: &Manifest) {
        let mut uncommitted = self.shared.uncommitted.lock();
        if uncommitted.is_empty() {
            return;
        }
        for segment in &manifest.segments {
            for file in segment.all_files() {
                uncommitted.remove(&self.path(segment.id, &file.name));
            }
        }
    }

    pub(crate) fn forget(&self, path: &Path) {
        self.shared.verified.lock().remove(path);
    }

    async fn write(
        &self,
        segment: SegmentId,
        name: String,
        content: impl Into<PutPayload>,
    ) -> Result<FileRef> {
        let path = self.path(segment, &name);
        let payload = content.into();
        let bytes = payload.content_length() as u64;
        let content = payload.clone();
        let crc32c =
            blocking(move || Ok(content.iter().fold(0, |crc, chunk| crc32c_append(crc, chunk)))).await?;
        self.shared.uncommitted.lock().insert(path.clone());
        let put = self
            .shared
            .store
            .put_opts(&path, payload, PutOptions::from(PutMode::Create));
        if let Err(error) = put.await {
            // It may be there all the same; then it is garbage.
            self.shared.uncommitted.lock().remove(&path);
            return Err(error.into());
        }
        Ok(FileRef { name, bytes, crc32c })
    }

    /// Maps a file and, the first time, verifies its length and checksum.
    async fn open(&self, segment: SegmentId, file: &FileRef) -> Result<(Path, Bytes)> {
        let path = self.path(segment, &file.name);
        let bytes = fetch::map(self.shared.store.as_ref(), &path).await?;
        if bytes.len() as u64 != file.bytes {
            return Err(Error::corrupt(
                path.as_ref(),
                format!("{} bytes long, the manifest says {}", bytes.len(), file.bytes),
            ));
        }
        if self.shared.verified.lock().contains(&path) {
            return Ok((path, bytes));
        }
        let (content, name, expected) = (bytes.clone(), path.to_string(), file.crc32c);
        blocking(move || check_crc(&name, &content, expected)).await?;
        self.shared.verified.lock().insert(path.clone());
        Ok((path, bytes))
    }
}

fn no_file(segment: &SegmentMeta, what: &str) -> Error {
    Error::Invalid(format!("segment {} names no file for {what}", segment.id))
}

/// The metadata (still without files) and the contents of the files, `data.parquet` first.
fn encode_segment(
    id: SegmentId,
    partition: i64,
    batches: &[RecordBatch],
    primary_key: &str,
) -> Result<(SegmentMeta, Vec<(String, PutPayload)>)> {
    let total: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let rows = u32::try_from(total)
        .ok()
        .filter(|rows| *rows > 0)
        .ok_or_else(|| {
            Error::Invalid(format!(
                "a segment of {total} rows, allowed are 1 to {}",
                u32::MAX
            ))
        })?;
    let Some(schema) = batches.first().map(RecordBatch::schema) else {
        return Err(Error::Invalid("a segment of no batch".to_owned()));
    };
    if let Some(other) = batches.iter().find(|batch| batch.schema() != schema) {
        return Err(Error::Invalid(format!(
            "a segment of batches with the columns {schema} and {}",
            other.schema()
        )));
    }
    let (vectors, scalars): (Vec<usize>, Vec<usize>) =
        (0..schema.fields().len()).partition(|index| vectors::is_vector(schema.field(*index).data_type()));
    let data = batches
        .iter()
        .map(|batch| batch.project(&scalars))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let scalar_schema = Arc::new(schema.project(&scalars)?);
    let widest_column = widest_column(batches)?;
    let (min_ts, max_ts) = timestamps(&data)?;
    let key_range = key_range(&data, primary_key)?;
    let mut vector_fields = Vec::with_capacity(vectors.len());
    let mut contents = vec![(
        DATA_FILE.to_owned(),
        data::encode(&scalar_schema, &data, primary_key)?.into(),
    )];
    for index in vectors {
        let field = Arc::clone(&schema.fields()[index]);
        let pieces: Vec<ArrayRef> = batches
            .iter()
            .map(|batch| Arc::clone(batch.column(index)))
            .collect();
        contents.push((
            format!("{}.vec.arrow", file_stem(field.name())),
            vectors::encode(&field, &pieces)?,
        ));
        vector_fields.push(field.name().clone());
    }
    let meta = SegmentMeta {
        id,
        partition,
        rows,
        bytes: 0,
        vector_fields,
        files: Vec::new(),
        deletes: None,
        updates: None,
        indexes: Vec::new(),
        min_ts,
        max_ts,
        key_range,
        widest_column,
    };
    Ok((meta, contents))
}

/// Bytes of the values of the widest column of variable length.
fn widest_column(batches: &[RecordBatch]) -> Result<u64> {
    let Some(schema) = batches.first().map(RecordBatch::schema) else {
        return Ok(0);
    };
    let mut widest = 0;
    for (index, field) in schema.fields().iter().enumerate() {
        let bytes = batches
            .iter()
            .map(|batch| variable_bytes(batch.column(index)))
            .sum();
        if bytes > MAX_COLUMN_BYTES {
            return Err(Error::Invalid(format!(
                "a segment with {bytes} bytes in the column {}, at most {MAX_COLUMN_BYTES} are allowed",
                field.name()
            )));
        }
        widest = widest.max(bytes);
    }
    Ok(widest)
}

/// What the offsets of a column count, at most [`MAX_COLUMN_BYTES`] in one array: bytes of texts or elements of lists,
/// whichever are more; 0 when all values are of one width.
#[must_use]
pub fn variable_bytes(column: &ArrayRef) -> u64 {
    let counted = |offsets: &[i32]| match offsets {
        [first, .., last] => u64::from(last.abs_diff(*first)),
        [] | [_] => 0,
    };
    if let Some(texts) = column.as_string_opt::<i32>() {
        counted(texts.value_offsets())
    } else if let Some(bytes) = column.as_binary_opt::<i32>() {
        counted(bytes.value_offsets())
    } else if let Some(lists) = column.as_list_opt::<i32>() {
        let elements = counted(lists.value_offsets());
        let first = lists.value_offsets().first().copied().unwrap_or(0);
        let start = usize::try_from(first).unwrap_or(0);
        let length = usize::try_from(elements).unwrap_or(0);
        elements.max(variable_bytes(&lists.values().slice(start, length)))
    } else if let Some(fields) = column.as_struct_opt() {
        fields.columns().iter().map(variable_bytes).max().unwrap_or(0)
    } else {
        0
    }
}

fn timestamps(batches: &[RecordBatch]) -> Result<(u64, u64)> {
    let ends_of = |batch: &RecordBatch| {
        let column = batch.column_by_name(TIMESTAMP_COLUMN)?;
        let column = column.as_primitive_opt::<UInt64Type>()?;
        (column.null_count() == 0).then_some(())?;
        min(column).zip(max(column))
    };
    let with_rows = batches.iter().filter(|batch| batch.num_rows() > 0);
    let ends: Option<Vec<(u64, u64)>> = with_rows.map(ends_of).collect();
    let ends = ends.unwrap_or_default().into_iter();
    let whole = ends.reduce(|(low, high), (min, max)| (low.min(min), high.max(max)));
    whole.ok_or_else(|| {
        Error::Invalid(format!(
            "a segment needs the column {TIMESTAMP_COLUMN}, UInt64 without nulls"
        ))
    })
}

fn key_range(batches: &[RecordBatch], primary_key: &str) -> Result<Option<KeyRange>> {
    let mut whole: Option<KeyRange> = None;
    for batch in batches.iter().filter(|batch| batch.num_rows() > 0) {
        let Some(range) = keys_between(batch, primary_key)? else {
            return Ok(None);
        };
        whole = Some(match whole {
            Some(whole) => whole.with(range),
            None => range,
        });
    }
    Ok(whole)
}

fn keys_between(batch: &RecordBatch, primary_key: &str) -> Result<Option<KeyRange>> {
    let column = batch
        .column_by_name(primary_key)
        .filter(|column| column.null_count() == 0)
        .ok_or_else(|| {
            Error::Invalid(format!(
                "a segment needs the primary key {primary_key} without nulls"
            ))
        })?;
    if *column.data_type() == DataType::Int64 {
        let keys = column.as_primitive::<Int64Type>();
        return Ok(min(keys)
            .zip(max(keys))
            .map(|(low, high)| KeyRange::Int64(low, high)));
    }
    if *column.data_type() == DataType::Utf8 {
        let keys = column.as_string::<i32>();
        let ends = min_string(keys).zip(max_string(keys));
        return Ok(ends.map(|(low, high)| KeyRange::VarChar(low.to_owned(), high.to_owned())));
    }
    Ok(None)
}

/// Longest start of a file name that comes from a field name: with what follows it stays below the 255 bytes that file
/// systems allow.
const MAX_STEM: usize = 100;

/// A field name as the start of a file name: letters, digits, `_` and `-` as they are, any other byte as `=` and two
/// hexadecimal digits. What is too long is cut and ends in `=` and the CRC32C of the whole name.
fn file_stem(field: &str) -> String {
    let mut stem = String::with_capacity(field.len());
    for byte in field.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
            stem.push(char::from(byte));
        } else {
            stem.push_str(&format!("={byte:02x}"));
        }
    }
    if stem.len() > MAX_STEM {
        let checksum = format!("={:08x}", crc32c::crc32c(field.as_bytes()));
        stem.truncate(MAX_STEM - checksum.len());
        stem.push_str(&checksum);
    }
    stem
}

#[cfg(test)]
mod tests {
    use arrow::array::{ListBuilder, StringBuilder, StructArray, UInt32Array};
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn variable_bytes_are_those_of_the_rows_and_not_of_what_they_are_a_slice_of() {
        let mut lists = ListBuilder::new(StringBuilder::new());
        for texts in [
            vec!["a", "bcd"],
            vec![],
            vec!["efghi"],
            vec!["", "", "", "", "", ""],
        ] {
            lists.append_value(texts.into_iter().map(Some));
        }
        let lists: ArrayRef = Arc::new(lists.finish());
        let bytes = |start, length| variable_bytes(&lists.slice(start, length));
        assert_eq!(variable_bytes(&lists), 9, "of the 9 elements and as many bytes");
        assert_eq!(
            (bytes(0, 2), bytes(2, 1), bytes(3, 1), bytes(1, 1), bytes(0, 0)),
            (4, 5, 6, 0, 0)
        );
        let numbers: ArrayRef = Arc::new(UInt32Array::from(vec![1, 2, 3, 4]));
        assert_eq!(variable_bytes(&numbers), 0);
        let field =
            |name: &str, column: &ArrayRef| Arc::new(Field::new(name, column.data_type().clone(), true));
        let both: ArrayRef = Arc::new(StructArray::from(vec![
            (field("numbers", &numbers), Arc::clone(&numbers)),
            (field("lists", &lists), Arc::clone(&lists)),
        ]));
        assert_eq!(variable_bytes(&both), 9);
        assert_eq!(variable_bytes(&both.slice(0, 2)), 4);
    }
}
