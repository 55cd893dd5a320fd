//! The two kinds of row blocks: a sealed segment on disk, a growing chunk in memory.
//!
//! Both are immutable; deletes and indexes are laid over them by [`crate::unit::Unit`].

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field as ArrowField, Schema, SchemaRef};
use elanus_storage::{SegmentFiles, SegmentMeta};
use parking_lot::RwLock;

use crate::error::{Error, Result};
use crate::key_index::KeyIndex;
use crate::types::Field;
use crate::vector_column::VectorColumn;

/// A segment on disk: vectors mapped, scalar columns read on first use and kept.
#[derive(Debug)]
pub(crate) struct SealedSegment {
    pub meta: SegmentMeta,
    files: SegmentFiles,
    schema: SchemaRef,
    vectors: HashMap<String, VectorColumn>,
    columns: RwLock<HashMap<String, ArrayRef>>,
    reading: tokio::sync::Mutex<()>,
    key_index: tokio::sync::OnceCell<KeyIndex>,
    primary_key: String,
}

impl SealedSegment {
    /// Opens a segment: maps its vector files.
    ///
    /// `schema` is the collection's schema with the hidden timestamp column.
    pub async fn open(
        files: SegmentFiles,
        meta: SegmentMeta,
        schema: SchemaRef,
        primary_key: &str,
    ) -> Result<Self> {
        let mut vectors = HashMap::new();
        for field in &meta.vector_fields {
            let array = files.map_vectors(&meta, field).await?;
            if array.len() != meta.rows as usize {
                return Err(Error::InvalidSchema(format!(
                    "segment {} has {} rows, its vector file of '{field}' {}",
                    meta.id,
                    meta.rows,
                    array.len()
                )));
            }
            let mapped = ArrowField::new(field, array.data_type().clone(), true);
            let described = schema.field_with_name(field).unwrap_or(&mapped);
            let data_type = Field::from_arrow(described)?.data_type;
            vectors.insert(field.clone(), VectorColumn::new(&data_type, &array)?);
        }
        Ok(Self {
            meta,
            files,
            schema,
            vectors,
            columns: RwLock::default(),
            reading: tokio::sync::Mutex::new(()),
            key_index: tokio::sync::OnceCell::new(),
            primary_key: primary_key.to_string(),
        })
    }

    /// All rows of these columns when they are in memory already.
    pub fn cached(&self, names: &[&str]) -> Option<Result<RecordBatch>> {
        let cache = self.columns.read();
        let arrays: Option<Vec<ArrayRef>> = names
            .iter()
            .map(|name| match self.vectors.get(*name) {
                Some(vector) => Some(Arc::clone(vector.array())),
                None => cache.get(*name).cloned(),
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
                let is_absent =
                    |name: &&&str| !self.vectors.contains_key(**name) && !cache.contains_key(**name);
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
            let batch = self.files.read_columns(&self.meta, &absent).await?;
            let mut cache = self.columns.write();
            for name in absent {
                let array = batch.column_by_name(&name).cloned().ok_or_else(|| {
                    Error::InvalidSchema(format!("segment {} has no column '{name}'", self.meta.id))
                })?;
                cache.insert(name, array);
            }
        }
    }

    /// Forgets the scalar columns; they are read again when needed.
    pub fn release(&self) {
        self.columns.write().clear();
    }

    /// Bytes of scalar columns held in memory.
    pub fn resident_bytes(&self) -> usize {
        self.columns
            .read()
            .values()
            .map(|array| array.get_array_memory_size())
            .sum()
    }

    pub async fn key_index(&self) -> Result<&KeyIndex> {
        self.key_index
            .get_or_try_init(|| async {
                let batch = self.columns(&[&self.primary_key]).await?;
                KeyIndex::new(batch.column(0))
            })
            .await
    }

    pub fn vector(&self, field: &str) -> Option<&VectorColumn> {
        self.vectors.get(field)
    }
}

/// Rows in memory, one batch of every column including the hidden timestamp.
#[derive(Debug)]
pub(crate) struct GrowingChunk {
    pub id: u64,
    pub batch: RecordBatch,
    /// Bytes of the rows.
    pub bytes: usize,
    vectors: HashMap<String, VectorColumn>,
    key_index: OnceLock<Option<KeyIndex>>,
    primary_key: String,
}

impl GrowingChunk {
    pub fn new(id: u64, batch: RecordBatch, primary_key: &str) -> Result<Self> {
        let mut vectors = HashMap::new();
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            // Hidden columns are of no field's type.
            if let Ok(field) = Field::from_arrow(field)
                && field.data_type.is_vector()
            {
                let vector = VectorColumn::new(&field.data_type, column)?;
                vectors.insert(field.name, vector);
            }
        }
        let bytes = batch.columns().iter().map(bytes_of).sum();
        Ok(Self {
            id,
            batch,
            bytes,
            vectors,
            key_index: OnceLock::new(),
            primary_key: primary_key.to_string(),
        })
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

    pub fn vector(&self, field: &str) -> Option<&VectorColumn> {
        self.vectors.get(field)
    }
}

/// Bytes of the values of a column. Arrow's own count is of whole buffers, and all columns of a batch that came from the
/// log share one.
fn bytes_of(column: &ArrayRef) -> usize {
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
