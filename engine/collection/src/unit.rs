//! What a reader sees of one block of rows: the block, its deletes frozen, its indexes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use elanus_index::{
    AnyMetric, Bitset, Neighbor, SearchParams, SearchStats, VectorIndex, VectorRef, exact_search_any,
};
use elanus_storage::{Keys, SegmentId};
use roaring::RoaringBitmap;

use crate::error::{Error, Result};
use crate::key_index::KeyIndex;
use crate::segment::{GrowingChunk, SealedSegment};

pub use crate::vector_column::VectorColumn;

/// Names a unit for as long as its rows live; the same rows never come back under another id
/// within one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UnitId {
    /// A segment on disk.
    Sealed(SegmentId),
    /// A chunk of rows in memory; all collections of an engine number theirs from one counter.
    Growing(u64),
}

impl fmt::Display for UnitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sealed(id) => write!(f, "{id}"),
            Self::Growing(id) => write!(f, "growing-{id}"),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Block {
    Sealed(Arc<SealedSegment>),
    Growing(Arc<GrowingChunk>),
}

/// The rows that a search of a unit may return. Only [`Unit::allow`] makes one, so that deleted
/// rows and null vectors can never slip in.
#[derive(Debug, Clone)]
pub struct Allowed(Option<Arc<Bitset>>);

impl Allowed {
    /// The rows as a bitset; `None` when every row of the unit is allowed.
    pub fn bitset(&self) -> Option<&Bitset> {
        self.0.as_deref()
    }

    /// How many rows are allowed in a unit of `rows` rows.
    pub fn count(&self, rows: u32) -> usize {
        self.0.as_ref().map_or(rows as usize, |bits| bits.count())
    }
}

/// One block of rows with everything laid over it frozen.
#[derive(Debug)]
pub struct Unit {
    block: Block,
    partition: i64,
    deletes: Arc<RoaringBitmap>,
    indexes: HashMap<String, Arc<dyn VectorIndex>>,
    live: OnceLock<Option<Arc<Bitset>>>,
}

impl Unit {
    pub(crate) fn new(
        block: Block,
        partition: i64,
        deletes: Arc<RoaringBitmap>,
        indexes: HashMap<String, Arc<dyn VectorIndex>>,
    ) -> Self {
        Self {
            block,
            partition,
            deletes,
            indexes,
            live: OnceLock::new(),
        }
    }

    pub(crate) fn deletes(&self) -> &Arc<RoaringBitmap> {
        &self.deletes
    }

    pub(crate) fn block(&self) -> &Block {
        &self.block
    }

    /// Name of the unit.
    pub fn id(&self) -> UnitId {
        match &self.block {
            Block::Sealed(segment) => UnitId::Sealed(segment.meta.id),
            Block::Growing(chunk) => UnitId::Growing(chunk.id),
        }
    }

    /// Whether this is a segment on disk.
    pub fn sealed(&self) -> bool {
        matches!(self.block, Block::Sealed(_))
    }

    /// Partition the rows belong to.
    pub fn partition(&self) -> i64 {
        self.partition
    }

    /// Rows including deleted ones.
    pub fn rows(&self) -> u32 {
        match &self.block {
            Block::Sealed(segment) => segment.meta.rows,
            Block::Growing(chunk) => u32::try_from(chunk.batch.num_rows()).unwrap_or(u32::MAX),
        }
    }

    /// Rows that are not deleted.
    pub fn live_rows(&self) -> u64 {
        u64::from(self.rows()) - self.deletes.len()
    }

    /// Bytes of the unit's files or of its memory.
    pub fn bytes(&self) -> u64 {
        match &self.block {
            Block::Sealed(segment) => segment.meta.bytes,
            Block::Growing(chunk) => chunk.bytes as u64,
        }
    }

    /// Bytes of scalar columns that the unit holds in memory.
    pub fn resident_bytes(&self) -> usize {
        match &self.block {
            Block::Sealed(segment) => segment.resident_bytes(),
            Block::Growing(chunk) => chunk.bytes,
        }
    }

    /// Changes whenever rows of the unit are deleted; with [`Unit::id`] a key for caches.
    pub fn deletes_version(&self) -> u64 {
        // Deletes of a unit only ever grow, so their number names their state.
        self.deletes.len()
    }

    /// The rows that are not deleted; `None` when all are live.
    pub fn live_rows_set(&self) -> Option<&Bitset> {
        let build = || {
            (!self.deletes.is_empty()).then(|| {
                let mut live = Bitset::full(self.rows() as usize);
                for row in self.deletes.iter() {
                    live.clear(row as usize);
                }
                Arc::new(live)
            })
        };
        self.live.get_or_init(build).as_deref()
    }

    /// The rows that are not deleted.
    pub fn live(&self) -> Bitset {
        self.live_rows_set()
            .cloned()
            .unwrap_or_else(|| Bitset::full(self.rows() as usize))
    }

    /// The rows a search of `field` may return: live, with a vector, and passing `filter`.
    ///
    /// # Errors
    /// [`Error::FieldNotFound`] when `field` is not a vector field.
    pub fn allow(&self, field: &str, filter: Option<&Bitset>) -> Result<Allowed> {
        let valid = self.vectors(field)?.valid();
        let live = match (self.live.get(), self.deletes.is_empty()) {
            (_, true) => None,
            (Some(Some(live)), false) if valid.is_none() && filter.is_none() => {
                return Ok(Allowed(Some(Arc::clone(live))));
            }
            _ => self.live_rows_set(),
        };
        let mut parts = [filter, live, valid].into_iter().flatten();
        let Some(first) = parts.next() else {
            return Ok(Allowed(None));
        };
        let mut bits = first.clone();
        for part in parts {
            bits.and(part);
        }
        Ok(Allowed(Some(Arc::new(bits))))
    }

    /// All rows, deleted ones included, of these columns in this order, when no read is needed.
    pub fn columns_in_memory(&self, names: &[&str]) -> Option<Result<RecordBatch>> {
        match &self.block {
            Block::Sealed(segment) => segment.cached(names),
            Block::Growing(chunk) => Some(chunk.columns(names)),
        }
    }

    /// All rows, deleted ones included, of these columns in this order; read once and kept.
    ///
    /// # Errors
    /// [`Error::FieldNotFound`] or a storage error.
    pub async fn columns(&self, names: &[&str]) -> Result<RecordBatch> {
        match &self.block {
            Block::Sealed(segment) => segment.columns(names).await,
            Block::Growing(chunk) => chunk.columns(names),
        }
    }

    /// These rows of these columns, in the order of `rows`.
    ///
    /// # Errors
    /// As [`Unit::columns`]; a row out of range is an error of Arrow.
    pub async fn take(&self, names: &[&str], rows: &[u32]) -> Result<RecordBatch> {
        let all = self.columns(names).await?;
        Ok(take_record_batch(&all, &UInt32Array::from(rows.to_vec()))?)
    }

    /// A vector column.
    ///
    /// # Errors
    /// [`Error::FieldNotFound`] when there is no vector column of this name.
    pub fn vectors(&self, field: &str) -> Result<&VectorColumn> {
        match &self.block {
            Block::Sealed(segment) => segment.vector(field),
            Block::Growing(chunk) => chunk.vector(field),
        }
        .ok_or_else(|| Error::FieldNotFound {
            field: field.to_string(),
            near: Vec::new(),
        })
    }

    /// The index on a field, when one is built.
    pub fn index(&self, field: &str) -> Option<&Arc<dyn VectorIndex>> {
        self.indexes.get(field)
    }

    pub(crate) fn indexes(&self) -> &HashMap<String, Arc<dyn VectorIndex>> {
        &self.indexes
    }

    /// Live rows with any of these keys, ascending.
    ///
    /// # Errors
    /// A storage error when the key column has to be read.
    pub async fn find_keys(&self, keys: &Keys) -> Result<Vec<u32>> {
        let index: &KeyIndex = match &self.block {
            Block::Sealed(segment) => segment.key_index().await?,
            Block::Growing(chunk) => chunk.key_index()?,
        };
        let mut rows = index.find(keys);
        rows.retain(|row| !self.deletes.contains(*row));
        rows.sort_unstable();
        rows.dedup();
        Ok(rows)
    }

    /// The `k` nearest allowed rows, best first. CPU work: not for an I/O thread.
    ///
    /// Searches the field's index when it is of this metric and `exact` is false, else every
    /// allowed row.
    ///
    /// # Errors
    /// [`Error::FieldNotFound`]; [`Error::InvalidParameter`] when the query has another type or dimension,
    /// or the field's type no such metric.
    #[expect(
        clippy::too_many_arguments,
        reason = "the one place where everything about a search meets"
    )]
    pub fn search<'a>(
        &self,
        field: &str,
        metric: impl Into<AnyMetric>,
        query: impl Into<VectorRef<'a>>,
        k: usize,
        params: &SearchParams,
        allowed: &Allowed,
        exact: bool,
        stats: &mut SearchStats,
    ) -> Result<Vec<Neighbor>> {
        let (metric, query) = (metric.into(), query.into());
        let column = self.vectors(field)?;
        if query.dim() != column.dim() {
            return Err(Error::InvalidParameter(format!(
                "query vector has dimension {}, field '{field}' has {}",
                query.dim(),
                column.dim()
            )));
        }
        let index = self
            .index(field)
            .filter(|index| !exact && metric == index.metric());
        if let (Some(index), VectorRef::Floats(query)) = (index, query) {
            let vectors = column.as_vectors()?;
            return Ok(index.search(vectors, query, k, params, allowed.bitset(), stats));
        }
        exact_search_any(metric, column.vectors()?, query, k, allowed.bitset(), stats)
            .map_err(|e| Error::InvalidParameter(format!("field '{field}': {e}")))
    }
}

/// The rows of a unit as they were frozen, deleted ones left out.
pub(crate) async fn live_batch(unit: &Unit, names: &[&str]) -> Result<RecordBatch> {
    let all = unit.columns(names).await?;
    let Some(live) = unit.live_rows_set() else {
        return Ok(all);
    };
    let keep: Vec<u32> = live
        .iter()
        .map(|row| u32::try_from(row).unwrap_or(u32::MAX))
        .collect();
    let keep: ArrayRef = Arc::new(UInt32Array::from(keep));
    Ok(take_record_batch(&all, &keep)?)
}
