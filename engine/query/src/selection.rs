//! Which rows of a unit a predicate selects: evaluated once, kept while rows and deletes stay the same.
//!
//! ```text
//!   predicate pins the primary key?  -> key index -> rows -> rest of the predicate on those rows only
//!   bits known for (unit, deletes, predicate)?  -> as they are
//!   otherwise -> the predicate's columns of the whole unit, in slices on the query threads -> bits, kept
//! ```

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::Expr;
use elanus_collection::{Unit, UnitId};
use elanus_index::Bitset;
use lru::LruCache;
use parking_lot::Mutex;
use rayon::prelude::*;

use crate::compute::Compute;
use crate::error::external;
use crate::predicate::Predicate;

/// Rows evaluated at a time.
const SLICE_ROWS: usize = 1 << 16;
/// Elementary steps that one value of a filter is reckoned at.
const STEPS_PER_VALUE: u64 = 4;

/// Rows of one unit: all that are not deleted, or the ones in a bitset (which has no deleted rows).
#[derive(Debug, Clone)]
pub(crate) enum Selection {
    /// Every row that is not deleted.
    Live,
    /// These rows.
    Rows(Arc<Bitset>),
}

impl Selection {
    /// The bitset; `None` means every row that is not deleted.
    pub fn bits(&self) -> Option<&Bitset> {
        match self {
            Self::Live => None,
            Self::Rows(bits) => Some(bits),
        }
    }

    /// How many rows are selected.
    pub fn count(&self, unit: &Unit) -> u64 {
        match self {
            Self::Live => unit.live_rows(),
            Self::Rows(bits) => bits.count() as u64,
        }
    }

    /// The selected rows, ascending.
    pub fn rows(&self, unit: &Unit) -> Vec<u32> {
        let row = |row: usize| u32::try_from(row).unwrap_or(u32::MAX);
        match (self.bits(), unit.live_rows_set()) {
            (Some(bits), _) | (None, Some(bits)) => bits.iter().map(row).collect(),
            (None, None) => (0..unit.rows()).collect(),
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Live, selection) | (selection, Self::Live) => selection,
            (Self::Rows(a), Self::Rows(b)) => {
                let mut bits = Arc::unwrap_or_clone(a);
                bits.and(&b);
                Self::Rows(Arc::new(bits))
            }
        }
    }
}

/// Unit, its rows, its deletes, the predicate's name.
type Key = (UnitId, u32, u64, u64);

/// Bitsets of recently used predicates, bounded by their bytes.
#[derive(Debug)]
pub(crate) struct SelectionCache {
    inner: Mutex<Inner>,
    capacity: usize,
    names: Mutex<LruCache<Expr, u64>>,
    next_name: AtomicU64,
}

/// Predicates that keep their name while others come and go.
const NAMED_PREDICATES: usize = 4_096;

#[derive(Debug)]
struct Inner {
    entries: LruCache<Key, Arc<Bitset>>,
    bytes: usize,
}

impl SelectionCache {
    /// A cache that holds at most `capacity` bytes of bits.
    pub fn new(capacity: usize) -> Self {
        Self {
            inner: Mutex::new(Inner {
                entries: LruCache::unbounded(),
                bytes: 0,
            }),
            capacity,
            names: bounded(NAMED_PREDICATES),
            next_name: AtomicU64::new(0),
        }
    }

    /// A short name for a filter: equal expressions have the same one. The text of an expression
    /// would not do, it is the same for the lists `['a, b']` and `['a', 'b']`. A filter that was
    /// forgotten gets a new name, never one that another had.
    pub fn name(&self, filter: &Expr) -> u64 {
        let mut names = self.names.lock();
        if let Some(name) = names.get(filter) {
            return *name;
        }
        let name = self.next_name.fetch_add(1, Ordering::Relaxed);
        names.put(filter.clone(), name);
        name
    }

    fn get(&self, key: &Key) -> Option<Arc<Bitset>> {
        self.inner.lock().entries.get(key).cloned()
    }

    fn put(&self, key: Key, bits: Arc<Bitset>) {
        let mut inner = self.inner.lock();
        inner.bytes += size_of_bits(&bits);
        if let Some((_, old)) = inner.entries.push(key, bits) {
            inner.bytes -= size_of_bits(&old).min(inner.bytes);
        }
        while inner.bytes > self.capacity {
            let Some((_, old)) = inner.entries.pop_lru() else {
                break;
            };
            inner.bytes -= size_of_bits(&old).min(inner.bytes);
        }
    }
}

/// Bits and the bookkeeping around them.
fn size_of_bits(bits: &Bitset) -> usize {
    size_of_val(bits.words()) + 160
}

/// The rows of `unit` that are live and true for every predicate.
pub(crate) async fn select(
    unit: &Arc<Unit>,
    predicates: &[Arc<Predicate>],
    cache: &SelectionCache,
    compute: &Compute,
) -> Result<Selection, DataFusionError> {
    let mut selection = Selection::Live;
    for predicate in predicates {
        selection = selection.and(select_one(unit, predicate, cache, compute).await?);
    }
    Ok(selection)
}

async fn select_one(
    unit: &Arc<Unit>,
    predicate: &Arc<Predicate>,
    cache: &SelectionCache,
    compute: &Compute,
) -> Result<Selection, DataFusionError> {
    if let Some(keys) = predicate.keys() {
        let rows = unit.find_keys(keys).await.map_err(external)?;
        return select_among(unit, predicate, rows).await;
    }
    let key = predicate
        .cache_key()
        .map(|name| (unit.id(), unit.rows(), unit.deletes_version(), name));
    if let Some(bits) = key.as_ref().and_then(|key| cache.get(key)) {
        return Ok(Selection::Rows(bits));
    }
    let batch = read(unit, predicate).await?;
    let cost = unit.rows() as u64 * (batch.num_columns() as u64 + 1) * STEPS_PER_VALUE;
    let (unit, predicate) = (Arc::clone(unit), Arc::clone(predicate));
    let bits = compute
        .run(cost, move || evaluate_all(&unit, &predicate, &batch))
        .await
        .map_err(external)??;
    let bits = Arc::new(bits);
    if let Some(key) = key {
        cache.put(key, Arc::clone(&bits));
    }
    Ok(Selection::Rows(bits))
}

async fn read(unit: &Unit, predicate: &Predicate) -> Result<RecordBatch, DataFusionError> {
    read_columns(unit, &predicate.columns()).await
}

/// All rows of some columns; with no columns, the right number of rows all the same.
pub(crate) async fn read_columns(unit: &Unit, names: &[&str]) -> Result<RecordBatch, DataFusionError> {
    if names.is_empty() {
        return rows_without_columns(unit.rows() as usize);
    }
    match unit.columns_in_memory(names) {
        Some(batch) => batch.map_err(external),
        None => unit.columns(names).await.map_err(external),
    }
}

/// A batch of `rows` rows and no columns.
pub(crate) fn rows_without_columns(rows: usize) -> Result<RecordBatch, DataFusionError> {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    let schema = Arc::new(arrow::datatypes::Schema::empty());
    Ok(RecordBatch::try_new_with_options(schema, Vec::new(), &options)?)
}

fn evaluate_all(unit: &Unit, predicate: &Predicate, batch: &RecordBatch) -> Result<Bitset, DataFusionError> {
    let rows = batch.num_rows();
    let starts: Vec<usize> = (0..rows).step_by(SLICE_ROWS).collect();
    let evaluate = |start: usize| predicate.evaluate(&batch.slice(start, SLICE_ROWS.min(rows - start)));
    let slices: Vec<BooleanBuffer> = if starts.len() > 1 && rayon::current_thread_index().is_some() {
        starts
            .par_iter()
            .map(|start| evaluate(*start))
            .collect::<Result<_, _>>()?
    } else {
        starts
            .iter()
            .map(|start| evaluate(*start))
            .collect::<Result<_, _>>()?
    };
    let mut bits = Bitset::new(rows);
    for (start, slice) in starts.into_iter().zip(slices) {
        for row in slice.set_indices() {
            bits.set(start + row);
        }
    }
    if let Some(live) = unit.live_rows_set() {
        bits.and(live);
    }
    Ok(bits)
}

/// The rows of `candidates` (live already) that are true for `predicate`.
async fn select_among(
    unit: &Unit,
    predicate: &Predicate,
    candidates: Vec<u32>,
) -> Result<Selection, DataFusionError> {
    let mut bits = Bitset::new(unit.rows() as usize);
    if !candidates.is_empty() {
        let names = predicate.columns();
        let batch = unit.take(&names, &candidates).await.map_err(external)?;
        for position in predicate.evaluate(&batch)?.set_indices() {
            if let Some(row) = candidates.get(position) {
                bits.set(*row as usize);
            }
        }
    }
    Ok(Selection::Rows(Arc::new(bits)))
}

/// A bounded map for things that are cheap to make again.
pub(crate) fn bounded<K: std::hash::Hash + Eq, V>(capacity: usize) -> Mutex<LruCache<K, V>> {
    Mutex::new(LruCache::new(
        NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN),
    ))
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;

    #[test]
    fn filters_that_read_alike_have_different_names() {
        let cache = SelectionCache::new(1_000);
        let list = |values: &[&str]| {
            let values: Vec<_> = values.iter().map(|value| (*value).into()).collect();
            let list = datafusion::common::ScalarValue::new_list_nullable(
                &values,
                &arrow::datatypes::DataType::Utf8,
            );
            col("tags").eq(lit(datafusion::common::ScalarValue::List(list)))
        };
        let (one, two) = (list(&["a, b"]), list(&["a", "b"]));
        assert_eq!(one.to_string(), two.to_string());
        assert_ne!(cache.name(&one), cache.name(&two));
        assert_eq!(cache.name(&one), cache.name(&list(&["a, b"])));
    }

    #[test]
    fn the_cache_forgets_the_oldest_bits_when_it_is_full() {
        let cache = SelectionCache::new(2 * size_of_bits(&Bitset::new(640)));
        let key = |name| (UnitId::Growing(1), 640, 0, name);
        for name in 0..3 {
            cache.put(key(name), Arc::new(Bitset::new(640)));
        }
        assert!(cache.get(&key(0)).is_none());
        assert!(cache.get(&key(1)).is_some() && cache.get(&key(2)).is_some());
    }
}
