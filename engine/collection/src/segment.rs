//! The two kinds of row blocks: a sealed segment on disk, a growing chunk in memory.
//!
//! Both are immutable; deletes and indexes are laid over them by [`crate::unit::Unit`].

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::datatypes::{Schema, SchemaRef, UInt64Type};
use elanus_storage::{
    ColumnBlooms, SegmentFiles, SegmentMeta, SegmentStatistics, TIMESTAMP_COLUMN, variable_bytes,
};
use parking_lot::{Mutex, RwLock};

use crate::error::{Error, Result};
use crate::key_index::KeyIndex;
use crate::stored_names::{StoredNames, may_be_missing, missing_column};
use crate::structs::{split_sub_field_name, values_of, vector_columns};
use crate::types::Field;
use crate::vector_column::VectorColumn;

/// The Bloom filters of a column, once they are read.
type BloomCell = Arc<tokio::sync::OnceCell<Arc<ColumnBlooms>>>;

/// A segment on disk: vectors mapped, scalar columns read on first use and kept. Its columns go by their stored names; the
/// ones it is older than are filled in.
#[derive(Debug)]
pub(crate) struct SealedSegment {
    pub meta: SegmentMeta,
    files: SegmentFiles,
    schema: SchemaRef,
    /// Those in arrays of structs go by names like `chunks[embedding]`.
    vectors: HashMap<String, VectorColumn>,
    /// Arrays of structs that hold vectors, mapped as a whole.
    structs: HashMap<String, ArrayRef>,
    columns: RwLock<HashMap<String, ArrayRef>>,
    reading: tokio::sync::Mutex<()>,
    key_index: Arc<tokio::sync::OnceCell<KeyIndex>>,
    timestamps: Arc<tokio::sync::OnceCell<UInt64Array>>,
    statistics: Arc<tokio::sync::OnceCell<SegmentStatistics>>,
    blooms: Arc<Mutex<HashMap<String, BloomCell>>>,
    primary_key: String,
    names: StoredNames,
}

impl SealedSegment {
    /// Opens a segment: maps its vector files.
    ///
    /// `schema` is the stored form of the collection's schema, with the hidden timestamp column.
    pub async fn open(
        files: SegmentFiles,
        meta: SegmentMeta,
        schema: SchemaRef,
        primary_key: &str,
    ) -> Result<Self> {
        let (mut vectors, mut structs) = (HashMap::new(), HashMap::new());
        let wanted = |field: &&String| schema.column_with_name(field).is_some();
        for field in meta.vector_fields.iter().filter(wanted) {
            let array = files.map_vectors(&meta, field).await?;
            if array.len() != meta.rows as usize {
                return Err(Error::InvalidSchema(format!(
                    "segment {} has {} rows, its vector file of '{field}' {}",
                    meta.id,
                    meta.rows,
                    array.len()
                )));
            }
            let field = Field::from_arrow(schema.field_with_name(field)?)?;
            add_vectors(&field, array, &mut vectors, &mut structs)?;
        }
        add_missing_vectors(&schema, &meta, &mut vectors, &mut structs)?;
        let names = StoredNames::of(&schema);
        Ok(Self {
            meta,
            files,
            schema,
            vectors,
            structs,
            columns: RwLock::default(),
            reading: tokio::sync::Mutex::new(()),
            key_index: Arc::default(),
            timestamps: Arc::default(),
            statistics: Arc::default(),
            blooms: Arc::default(),
            primary_key: primary_key.to_string(),
            names,
        })
    }

    /// Whether the vectors of its files that `schema` has are open: those of a field that was dropped are not.
    pub fn holds_vectors_of(&self, schema: &SchemaRef) -> bool {
        let mut stored = schema.fields().iter().map(|field| field.name());
        stored.all(|name| {
            !self.meta.vector_fields.contains(name)
                || self.vectors.contains_key(name)
                || self.structs.contains_key(name)
        })
    }

    /// The same segment as another schema of its collection sees it. What is in memory is shared.
    pub fn with_schema(&self, schema: &SchemaRef) -> Result<Self> {
        let is_there = |name: &String| schema.column_with_name(name).is_some();
        let (mut vectors, mut structs) = (self.vectors.clone(), self.structs.clone());
        vectors.retain(|name, _| match split_sub_field_name(name) {
            Some((field, _)) => schema.column_with_name(field).is_some(),
            None => is_there(name),
        });
        structs.retain(|name, _| is_there(name));
        add_missing_vectors(schema, &self.meta, &mut vectors, &mut structs)?;
        let mut columns = self.columns.read().clone();
        columns.retain(|name, _| is_there(name));
        Ok(Self {
            meta: self.meta.clone(),
            files: self.files.clone(),
            schema: Arc::clone(schema),
            vectors,
            structs,
            columns: RwLock::new(columns),
            reading: tokio::sync::Mutex::new(()),
            key_index: Arc::clone(&self.key_index),
            timestamps: Arc::clone(&self.timestamps),
            statistics: Arc::clone(&self.statistics),
            blooms: Arc::clone(&self.blooms),
            primary_key: self.primary_key.clone(),
            names: StoredNames::of(schema),
        })
    }

    /// The schema that the segment is seen with.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What statements call the columns.
    pub fn names(&self) -> &StoredNames {
        &self.names
    }

    /// All rows of these columns when they are in memory already.
    pub fn cached(&self, names: &[&str]) -> Option<Result<RecordBatch>> {
        let cache = self.columns.read();
        let arrays: Option<Vec<ArrayRef>> = names
            .iter()
            .map(|name| match self.vectors.get(*name) {
                Some(vector) => Some(Arc::clone(vector.array())),
                None => self.structs.get(*name).or_else(|| cache.get(*name)).cloned(),
            })
            .collect();
        Some(batch_of(&self.schema, names, arrays?, self.meta.rows as usize))
    }

    /// All rows of these columns, read from disk where needed and kept.
    pub async fn columns(&self, names: &[&str]) -> Result<RecordBatch> {
        loop {
            if let Some(batch) = self.cached(names) {
                return batch;
            }
            let _one_reader = self.reading.lock().await;
            let absent: Vec<String> = {
                let cache = self.columns.read();
                let is_absent = |name: &&&str| {
                    !self.vectors.contains_key(**name)
                        && !self.structs.contains_key(**name)
                        && !cache.contains_key(**name)
                };
                names.iter().filter(is_absent).map(ToString::to_string).collect()
            };
            if absent.is_empty() {
                continue;
            }
            for name in &absent {
                if self.schema.column_with_name(name).is_none() {
                    return Err(Error::FieldNotFound {
                        field: name.clone(),
                        near: Vec::new(),
                    });
                }
            }
            let (absent, missing) = self.divide(absent).await?;
            let batch = self.files.read_columns(&self.meta, &absent).await?;
            let mut cache = self.columns.write();
            cache.extend(missing);
            for name in absent {
                let array = batch.column_by_name(&name).cloned().ok_or_else(|| {
                    Error::InvalidSchema(format!("segment {} has no column '{name}'", self.meta.id))
                })?;
                cache.insert(name, array);
            }
        }
    }

    /// All rows of a scalar column; what is read for it is not kept.
    pub async fn column_once(&self, name: &str) -> Result<ArrayRef> {
        if let Some(batch) = self.cached(&[name]) {
            return Ok(Arc::clone(batch?.column(0)));
        }
        let (there, missing) = self.divide(vec![name.to_string()]).await?;
        if let Some(column) = missing.into_values().next() {
            return Ok(column);
        }
        let batch = self.files.read_columns(&self.meta, &there).await?;
        Ok(Arc::clone(batch.column(0)))
    }

    /// Of these columns, the ones to be read, and the ones that the segment is older than.
    async fn divide(&self, names: Vec<String>) -> Result<(Vec<String>, HashMap<String, ArrayRef>)> {
        let may_lack = |name: &String| self.schema.field_with_name(name).is_ok_and(may_be_missing);
        if !names.iter().any(may_lack) {
            return Ok((names, HashMap::new()));
        }
        let written = self.files.column_names(&self.meta).await?;
        let (there, lacking): (Vec<_>, Vec<_>) = names
            .into_iter()
            .partition(|name| written.contains(name) || !may_lack(name));
        let missing = lacking.into_iter().map(|name| {
            let column = missing_column(self.schema.field_with_name(&name)?, self.meta.rows as usize)?;
            Ok((name, column))
        });
        Ok((there, missing.collect::<Result<_>>()?))
    }

    /// Forgets the scalar columns; they are read again when needed.
    pub fn release(&self) {
        self.columns.write().clear();
    }

    /// Bytes of scalar columns and of their Bloom filters held in memory.
    pub fn resident_bytes(&self) -> usize {
        let columns = self.columns.read();
        let columns = columns.values().map(|array| array.get_array_memory_size());
        let blooms = self.blooms.lock();
        let blooms = blooms.values().filter_map(|cell| Some(cell.get()?.bytes()));
        columns.sum::<usize>() + blooms.sum::<usize>()
    }

    pub async fn key_index(&self) -> Result<&KeyIndex> {
        self.key_index
            .get_or_try_init(|| async {
                let batch = self.columns(&[&self.primary_key]).await?;
                KeyIndex::new(batch.column(0))
            })
            .await
    }

    /// The timestamps that the rows were written with.
    pub async fn timestamps(&self) -> Result<&UInt64Array> {
        self.timestamps
            .get_or_try_init(|| async {
                let batch = self.columns(&[TIMESTAMP_COLUMN]).await?;
                timestamps_of(&batch).cloned()
            })
            .await
    }

    /// Bounds of the values that the rows were written with.
    pub async fn statistics(&self) -> Result<&SegmentStatistics> {
        let read = || async { Ok(self.files.statistics(&self.meta).await?) };
        self.statistics.get_or_try_init(read).await
    }

    /// The Bloom filters of a column, of the values that the rows were written with; read once and kept.
    pub async fn blooms(&self, name: &str) -> Result<Arc<ColumnBlooms>> {
        let cell = Arc::clone(self.blooms.lock().entry(name.to_owned()).or_default());
        let read = || async { Ok::<_, Error>(Arc::new(self.files.blooms(&self.meta, name).await?)) };
        cell.get_or_try_init(read).await.map(Arc::clone)
    }

    pub fn vector(&self, field: &str) -> Option<&VectorColumn> {
        self.vectors.get(field)
    }
}

fn timestamps_of(batch: &RecordBatch) -> Result<&UInt64Array> {
    batch
        .column_by_name(TIMESTAMP_COLUMN)
        .and_then(|column| column.as_primitive_opt::<UInt64Type>())
        .ok_or_else(|| Error::InvalidSchema("a block of rows has no timestamps".into()))
}

/// Rows in memory, one batch of every column including the hidden timestamp.
#[derive(Debug)]
pub(crate) struct GrowingChunk {
    pub id: u64,
    pub batch: RecordBatch,
    /// Bytes of the rows.
    pub bytes: usize,
    /// As [`SegmentMeta::widest_column`].
    pub widest_column: u64,
    vectors: HashMap<String, VectorColumn>,
    key_index: OnceLock<Option<KeyIndex>>,
    primary_key: String,
    names: StoredNames,
}

impl GrowingChunk {
    pub fn new(id: u64, batch: RecordBatch, primary_key: &str) -> Result<Self> {
        let mut vectors = HashMap::new();
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            // Hidden columns are of no field's type.
            if let Ok(field) = Field::from_arrow(field) {
                add_vectors(&field, Arc::clone(column), &mut vectors, &mut HashMap::new())?;
            }
        }
        let bytes = batch.columns().iter().map(bytes_of).sum();
        let widest_column = batch.columns().iter().map(variable_bytes).max().unwrap_or(0);
        let names = StoredNames::of(batch.schema_ref());
        Ok(Self {
            id,
            names,
            batch,
            bytes,
            widest_column,
            vectors,
            key_index: OnceLock::new(),
            primary_key: primary_key.to_string(),
        })
    }

    /// What statements call the columns.
    pub fn names(&self) -> &StoredNames {
        &self.names
    }

    pub fn columns(&self, names: &[&str]) -> Result<RecordBatch> {
        let arrays = names
            .iter()
            .map(|name| {
                self.batch
                    .column_by_name(name)
                    .cloned()
                    .ok_or_else(|| Error::FieldNotFound {
                        field: (*name).to_string(),
                        near: Vec::new(),
                    })
            })
            .collect::<Result<Vec<_>>>()?;
        batch_of(&self.batch.schema(), names, arrays, self.batch.num_rows())
    }

    pub fn key_index(&self) -> Result<&KeyIndex> {
        let build = || {
            self.batch
                .column_by_name(&self.primary_key)
                .and_then(|column| KeyIndex::new(column).ok())
        };
        self.key_index.get_or_init(build).as_ref().ok_or_else(|| {
            Error::InvalidSchema(format!("chunk has no usable key column '{}'", self.primary_key))
        })
    }

    /// The timestamps that the rows were written with.
    pub fn timestamps(&self) -> Result<&UInt64Array> {
        timestamps_of(&self.batch)
    }

    pub fn vector(&self, field: &str) -> Option<&VectorColumn> {
        self.vectors.get(field)
    }
}

/// Adds the vectors of a column to those that are searched; arrays of structs that hold some are kept as well.
fn add_vectors(
    field: &Field,
    array: ArrayRef,
    vectors: &mut HashMap<String, VectorColumn>,
    structs: &mut HashMap<String, ArrayRef>,
) -> Result<()> {
    if field.data_type.is_vector() {
        vectors.insert(field.name.clone(), VectorColumn::new(&field.data_type, &array)?);
        return Ok(());
    }
    let mut holds = false;
    for column in vector_columns(field) {
        let Some((_, sub)) = split_sub_field_name(&column.name) else {
            continue;
        };
        let lists = VectorColumn::new(&column.data_type, &values_of(&array, sub)?)?;
        vectors.insert(column.name.clone(), lists);
        holds = true;
    }
    if holds {
        structs.insert(field.name.clone(), array);
    }
    Ok(())
}

/// Columns of NULLs for the vector fields that a segment is older than.
fn add_missing_vectors(
    schema: &SchemaRef,
    meta: &SegmentMeta,
    vectors: &mut HashMap<String, VectorColumn>,
    structs: &mut HashMap<String, ArrayRef>,
) -> Result<()> {
    for column in schema.fields().iter().filter(|field| may_be_missing(field)) {
        let name = column.name();
        let is_there = vectors.contains_key(name) || structs.contains_key(name);
        if meta.vector_fields.contains(name) || is_there {
            continue;
        }
        let field = Field::from_arrow(column)?;
        if field.data_type.is_vector() || vector_columns(&field).next().is_some() {
            let nulls = missing_column(column, meta.rows as usize)?;
            add_vectors(&field, nulls, vectors, structs)?;
        }
    }
    Ok(())
}

/// Bytes of the values of a column. Arrow's own count is of whole buffers, and all columns of a batch that came from the
/// log share one.
pub(crate) fn bytes_of(column: &ArrayRef) -> usize {
    let sliced = column.to_data().get_slice_memory_size();
    sliced.unwrap_or_else(|_| column.get_array_memory_size())
}

fn batch_of(schema: &SchemaRef, names: &[&str], arrays: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let fields = names
        .iter()
        .map(|name| schema.field_with_name(name).cloned().map_err(Error::from))
        .collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    Ok(RecordBatch::try_new_with_options(schema, arrays, &options)?)
}
