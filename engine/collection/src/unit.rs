//! What a reader sees of one block of rows: the block, its deletes and newer values frozen, its indexes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use elanus_index::{
    AnyIndex, AnyMetric, Bitset, ElementNeighbor, Neighbor, SearchParams, SearchStats, VectorLists,
    VectorRef, VectorsRef, exact_search_any, exact_search_any_batch, search_elements,
};
use elanus_storage::{ColumnBlooms, Keys, RowRefs, SegmentId, SegmentStatistics, variable_bytes};
use parking_lot::RwLock;
use roaring::RoaringBitmap;

use crate::error::{Error, Result};
use crate::key_index::KeyIndex;
use crate::overlay::Overlay;
use crate::scalar_index::{IndexTarget, ScalarField};
use crate::segment::{GrowingChunk, SealedSegment};
use crate::stored_names::StoredNames;

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

/// What lies over a block that never changes. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Over {
    /// Rows that are gone.
    pub deletes: Arc<RoaringBitmap>,
    /// Newer values.
    pub overlay: Arc<Overlay>,
}

impl From<RoaringBitmap> for Over {
    fn from(deletes: RoaringBitmap) -> Self {
        Self {
            deletes: Arc::new(deletes),
            overlay: Arc::default(),
        }
    }
}

impl Block {
    /// What [`Block::locate`] and [`Block::find`] need to have in memory.
    pub async fn prepare(&self) -> Result<()> {
        if let Self::Sealed(segment) = self {
            segment.key_index().await?;
            segment.timestamps().await?;
        }
        Ok(())
    }

    /// Rows with any of these keys, deleted ones too.
    pub async fn find(&self, keys: &Keys) -> Result<Vec<u32>> {
        Ok(self.key_index().await?.find(keys))
    }

    /// Calls `found` with the position of each key and each row that has it, deleted ones too.
    pub async fn find_each(&self, keys: &Keys, found: impl FnMut(usize, u32)) -> Result<()> {
        self.key_index().await?.find_each(keys, found);
        Ok(())
    }

    /// The live ones among these rows that are here: row number and position in `refs`, ascending by row.
    pub async fn locate(&self, refs: &RowRefs, over: &Over) -> Result<Vec<(u32, usize)>> {
        let written = match self {
            Self::Sealed(segment) => segment.timestamps().await?,
            Self::Growing(chunk) => chunk.timestamps()?,
        };
        let mut rows = Vec::new();
        self.key_index().await?.find_each(&refs.keys, |position, row| {
            let version = over
                .overlay
                .timestamp(row)
                .or_else(|| written.values().get(row as usize).copied());
            if version == refs.versions.get(position).copied() && !over.deletes.contains(row) {
                rows.push((row, position));
            }
        });
        rows.sort_unstable();
        rows.dedup_by_key(|(row, _)| *row);
        Ok(rows)
    }

    async fn key_index(&self) -> Result<&KeyIndex> {
        match self {
            Self::Sealed(segment) => segment.key_index().await,
            Self::Growing(chunk) => chunk.key_index(),
        }
    }
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
    over: Over,
    indexes: UnitIndexes,
    live: OnceLock<Option<Arc<Bitset>>>,
    /// Whole columns with their newer values, as readers asked for them.
    renewed: RwLock<HashMap<String, ArrayRef>>,
}

/// The indexes of a unit.
#[derive(Debug, Default)]
pub(crate) struct UnitIndexes {
    /// On vectors, by the stored name of the field.
    pub vectors: HashMap<String, AnyIndex>,
    /// On scalars.
    pub scalars: Vec<ScalarField>,
}

impl Unit {
    pub(crate) fn new(block: Block, partition: i64, over: Over, indexes: UnitIndexes) -> Self {
        Self {
            block,
            partition,
            over,
            indexes,
            live: OnceLock::new(),
            renewed: RwLock::default(),
        }
    }

    pub(crate) fn over(&self) -> &Over {
        &self.over
    }

    pub(crate) fn deletes(&self) -> &Arc<RoaringBitmap> {
        &self.over.deletes
    }

    pub(crate) fn block(&self) -> &Block {
        &self.block
    }

    /// What statements call the columns. Everything below goes by the stored names.
    pub(crate) fn names(&self) -> &StoredNames {
        match &self.block {
            Block::Sealed(segment) => segment.names(),
            Block::Growing(chunk) => chunk.names(),
        }
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
        u64::from(self.rows()) - self.over.deletes.len()
    }

    /// Bytes of the unit's files or of its memory.
    pub fn bytes(&self) -> u64 {
        match &self.block {
            Block::Sealed(segment) => segment.meta.bytes,
            Block::Growing(chunk) => chunk.bytes as u64,
        }
    }

    /// What the offsets of a column have to count now, and those of its newer values, whichever are more; by its stored name.
    pub(crate) async fn column_width(&self, name: &str) -> Result<u64> {
        let whole = self.stored_columns(&[name]).await?;
        let width = whole.columns().iter().map(variable_bytes).max().unwrap_or(0);
        Ok(width.max(self.over.overlay.width_of(name)))
    }

    /// No column's [`Unit::column_width`] is larger.
    pub(crate) fn widest_column(&self) -> u64 {
        let written = match &self.block {
            Block::Sealed(segment) => segment.meta.widest_column,
            Block::Growing(chunk) => chunk.widest_column,
        };
        written + self.over.overlay.widest_column()
    }

    /// Bytes of scalar columns, and of what tells their values apart, that the unit holds in memory.
    pub fn resident_bytes(&self) -> usize {
        match &self.block {
            Block::Sealed(segment) => segment.resident_bytes() + self.over.overlay.bytes(),
            Block::Growing(chunk) => chunk.bytes,
        }
    }

    /// Changes whenever rows of the unit are deleted; with [`Unit::id`] a key for caches.
    pub fn deletes_version(&self) -> u64 {
        // Deletes of a unit only ever grow, so their number names their state.
        self.over.deletes.len()
    }

    /// Changes whenever a value of one of these columns is updated; with [`Unit::id`] a key for caches.
    pub fn values_version(&self, names: &[&str]) -> u64 {
        match self.names().all_stored(names) {
            Ok(stored) => self.over.overlay.version_of(&stored),
            Err(_) => 0,
        }
    }

    /// The rows that are not deleted; `None` when all are live.
    pub fn live_rows_set(&self) -> Option<&Bitset> {
        let build = || {
            (!self.over.deletes.is_empty()).then(|| {
                let mut live = Bitset::full(self.rows() as usize);
                for row in self.over.deletes.iter() {
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
        let live = match (self.live.get(), self.over.deletes.is_empty()) {
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
        let stored = match self.names().all_stored(names) {
            Ok(stored) => stored,
            Err(error) => return Some(Err(error)),
        };
        let written = match &self.block {
            Block::Sealed(segment) => segment.cached(&stored)?,
            Block::Growing(chunk) => chunk.columns(&stored),
        };
        let batch = written.and_then(|batch| self.renew(&stored, batch));
        Some(batch.and_then(|batch| self.names().named(batch, names)))
    }

    /// All rows, deleted ones included, of these columns in this order; read once and kept.
    ///
    /// # Errors
    /// [`Error::FieldNotFound`] or a storage error.
    pub async fn columns(&self, names: &[&str]) -> Result<RecordBatch> {
        let stored = self.names().all_stored(names)?;
        let batch = self.stored_columns(&stored).await?;
        self.names().named(batch, names)
    }

    /// As [`Unit::columns`], with stored names.
    pub(crate) async fn stored_columns(&self, names: &[&str]) -> Result<RecordBatch> {
        let written = self.written(names).await?;
        self.renew(names, written)
    }

    /// These rows of these columns, in the order of `rows`.
    ///
    /// # Errors
    /// As [`Unit::columns`]; a row out of range is an error of Arrow.
    pub async fn take(&self, names: &[&str], rows: &[u32]) -> Result<RecordBatch> {
        let stored = self.names().all_stored(names)?;
        let written = self.written(&stored).await?;
        let mut taken = take_record_batch(&written, &UInt32Array::from(rows.to_vec()))?;
        let overlay = &self.over.overlay;
        if overlay.touches(&stored) {
            let columns = stored.iter().zip(taken.columns());
            let columns = columns
                .map(|(name, column)| overlay.taken(name, column, rows))
                .collect::<Result<_>>()?;
            taken = RecordBatch::try_new(taken.schema(), columns)?;
        }
        self.names().named(taken, names)
    }

    /// Bounds of the values of these columns, of each group of rows, deleted ones included; `None` for rows in memory.
    /// Columns of which nothing is known or of which values were updated since are left out.
    ///
    /// # Errors
    /// A storage error.
    pub async fn statistics(&self, names: &[&str]) -> Result<Option<SegmentStatistics>> {
        let Block::Sealed(segment) = &self.block else {
            return Ok(None);
        };
        let written = segment.statistics().await?;
        let of_column = |name: &&str| {
            let stored = self.names().stored(name)?;
            let is_current = !self.over.overlay.touches(&[stored]);
            let column = written.columns.get(stored).filter(|_| is_current)?;
            Some(((*name).to_string(), column.clone()))
        };
        Ok(Some(SegmentStatistics {
            rows: written.rows.clone(),
            columns: names.iter().filter_map(of_column).collect(),
        }))
    }

    /// The Bloom filters of a column in each group of rows, as many as [`Unit::statistics`] has; `None` where there are
    /// none, and for a column of which values were updated since.
    ///
    /// # Errors
    /// A storage error.
    pub async fn blooms(&self, name: &str) -> Result<Option<Arc<ColumnBlooms>>> {
        let (Block::Sealed(segment), Some(stored)) = (&self.block, self.names().stored(name)) else {
            return Ok(None);
        };
        if self.over.overlay.touches(&[stored]) {
            return Ok(None);
        }
        let blooms = segment.blooms(stored).await?;
        Ok(Some(blooms).filter(|blooms| !blooms.is_empty()))
    }

    /// All rows of these columns, by their stored names, as they were written.
    async fn written(&self, names: &[&str]) -> Result<RecordBatch> {
        match &self.block {
            Block::Sealed(segment) => segment.columns(names).await,
            Block::Growing(chunk) => chunk.columns(names),
        }
    }

    /// Whole columns with the newer values in them.
    fn renew(&self, names: &[&str], written: RecordBatch) -> Result<RecordBatch> {
        let overlay = &self.over.overlay;
        if !overlay.touches(names) {
            return Ok(written);
        }
        let renew = |(name, column): (&&str, &ArrayRef)| {
            if !overlay.touches(&[name]) {
                return Ok(Arc::clone(column));
            }
            if let Some(kept) = self.renewed.read().get(*name) {
                return Ok(Arc::clone(kept));
            }
            let renewed = overlay.whole(name, column)?;
            self.renewed
                .write()
                .insert((*name).to_string(), Arc::clone(&renewed));
            Ok(renewed)
        };
        let columns = names
            .iter()
            .zip(written.columns())
            .map(renew)
            .collect::<Result<_>>()?;
        Ok(RecordBatch::try_new(written.schema(), columns)?)
    }

    /// A vector column.
    ///
    /// # Errors
    /// [`Error::FieldNotFound`] when there is no vector column of this name.
    pub fn vectors(&self, field: &str) -> Result<&VectorColumn> {
        let stored = self.names().stored(field);
        match &self.block {
            Block::Sealed(segment) => stored.and_then(|field| segment.vector(field)),
            Block::Growing(chunk) => stored.and_then(|field| chunk.vector(field)),
        }
        .ok_or_else(|| Error::FieldNotFound {
            field: field.to_string(),
            near: Vec::new(),
        })
    }

    /// The index on a vector field, when one is built.
    pub fn index(&self, field: &str) -> Option<&AnyIndex> {
        self.indexes.vectors.get(self.names().stored(field)?)
    }

    /// The scalar index on this, when one is built.
    pub(crate) fn scalar_field(&self, target: &IndexTarget) -> Option<&ScalarField> {
        if self.indexes.scalars.is_empty() {
            return None;
        }
        let stored = self.names().stored(&target.field)?;
        let is_on = |scalar: &&ScalarField| {
            scalar.field == stored
                && scalar.json == target.json
                && scalar.analyzer.as_deref() == target.analyzer.as_deref()
        };
        self.indexes.scalars.iter().find(is_on)
    }

    /// Bytes of all indexes in memory or mapped.
    pub(crate) fn index_bytes(&self) -> usize {
        let vectors = self.indexes.vectors.values().map(AnyIndex::memory_bytes);
        let scalars = self
            .indexes
            .scalars
            .iter()
            .map(|scalar| scalar.index.memory_bytes());
        vectors.chain(scalars).sum()
    }

    /// Live rows with any of these keys, ascending.
    ///
    /// # Errors
    /// A storage error when the key column has to be read.
    pub async fn find_keys(&self, keys: &Keys) -> Result<Vec<u32>> {
        let mut rows = self.block.find(keys).await?;
        rows.retain(|row| !self.over.deletes.contains(*row));
        rows.sort_unstable();
        rows.dedup();
        Ok(rows)
    }

    /// The `k` nearest allowed rows within the window of `params`, best first. CPU work: not for an I/O thread.
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
            return Err(dimensions(field, query.dim(), column.dim()));
        }
        let index = self.serving(field, metric, exact);
        let (vectors, allow) = (column.vectors()?, allowed.bitset());
        let found = match index {
            Some(index) => index.search_by(metric, vectors, query, k, params, allow, stats),
            None => exact_search_any(metric, vectors, query, k, params.within, allow, stats),
        };
        found.map_err(|e| Error::InvalidParameter(format!("field '{field}': {e}")))
    }

    /// The `k` nearest vectors of the lists of a field, one by one, within the window of `params`, best first: those of allowed
    /// rows, and out of `elements` where it is given, bits of the elements of [`Unit::lists`]. As [`Unit::search`].
    ///
    /// # Errors
    /// As [`Unit::search`]; [`Error::InvalidParameter`] for a field that has no lists.
    #[expect(clippy::too_many_arguments, reason = "as `search`")]
    pub fn search_elements(
        &self,
        field: &str,
        metric: AnyMetric,
        query: VectorRef<'_>,
        k: usize,
        params: &SearchParams,
        (allowed, elements): (&Allowed, Option<&Bitset>),
        exact: bool,
        stats: &mut SearchStats,
    ) -> Result<Vec<ElementNeighbor>> {
        let lists = self.lists(field)?;
        let mut allow = lists.elements_of(allowed.bitset());
        if let Some(elements) = elements {
            match &mut allow {
                Some(allow) => allow.and(elements),
                None => allow = Some(elements.clone()),
            }
        }
        let index = self.index(field).filter(|_| !exact);
        let found = search_elements(index, metric, lists, query, k, params, allow.as_ref(), stats);
        found.map_err(|e| Error::InvalidParameter(format!("field '{field}': {e}")))
    }

    /// The lists of vectors of a field.
    ///
    /// # Errors
    /// [`Error::FieldNotFound`]; [`Error::InvalidParameter`] for a field whose rows are no lists.
    pub fn lists(&self, field: &str) -> Result<VectorLists<'_>> {
        match self.vectors(field)?.vectors()? {
            VectorsRef::Lists(lists) => Ok(lists),
            VectorsRef::Floats(_)
            | VectorsRef::Halves(_)
            | VectorsRef::BFloat16s(_)
            | VectorsRef::Int8s(_)
            | VectorsRef::Bits(_)
            | VectorsRef::Sparse(_) => Err(Error::InvalidParameter(format!(
                "field '{field}' has one vector in a row, not a list of them"
            ))),
        }
    }

    /// Whether [`Unit::search_batch`] reads each row once for many queries, and is not just one search after the other.
    pub fn batches(&self, field: &str, metric: AnyMetric, exact: bool) -> bool {
        self.serving(field, metric, exact)
            .map_or(!matches!(metric, AnyMetric::MaxSim(_)), AnyIndex::batches)
    }

    /// The index that a search goes to; none when every allowed row is looked at.
    fn serving(&self, field: &str, metric: AnyMetric, exact: bool) -> Option<&AnyIndex> {
        self.index(field).filter(|index| !exact && index.serves(metric))
    }

    /// [`Unit::search`] for each of `queries`, where [`Unit::batches`] and without a window.
    ///
    /// # Errors
    /// As [`Unit::search`].
    #[expect(clippy::too_many_arguments, reason = "as `search`")]
    pub fn search_batch(
        &self,
        field: &str,
        metric: AnyMetric,
        queries: &[VectorRef<'_>],
        k: usize,
        params: &SearchParams,
        allowed: &Allowed,
        exact: bool,
        stats: &mut SearchStats,
    ) -> Result<Vec<Vec<Neighbor>>> {
        let (column, allow) = (self.vectors(field)?, allowed.bitset());
        if let Some(query) = queries.iter().find(|query| query.dim() != column.dim()) {
            return Err(dimensions(field, query.dim(), column.dim()));
        }
        let vectors = column.vectors()?;
        let found = match self.serving(field, metric, exact) {
            Some(index) => index.search_batch(vectors, queries, k, params, allow, stats),
            None => exact_search_any_batch(metric, vectors, queries, k, allow, stats),
        };
        found.map_err(|e| Error::InvalidParameter(format!("field '{field}': {e}")))
    }
}

fn dimensions(field: &str, query: usize, column: usize) -> Error {
    Error::InvalidParameter(format!(
        "query vector has dimension {query}, field '{field}' has {column}"
    ))
}

/// The rows of a unit as they were frozen, deleted ones left out; `names` are stored names.
pub(crate) async fn live_batch(unit: &Unit, names: &[&str]) -> Result<RecordBatch> {
    let all = unit.stored_columns(names).await?;
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
