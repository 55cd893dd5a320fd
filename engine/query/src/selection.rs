//! Which rows of a unit a predicate selects: evaluated once, kept while rows and deletes stay the same.
//!
//! ```text
//!   the bounds of the unit's values leave no row?  -> none
//!   predicate pins the primary key?  -> key index -> rows -> rest of the predicate on those rows only
//!   bits known for (unit, deletes, predicate)?  -> as they are
//!   scalar indexes know most of it?  -> their rows, the predicate on those that they leave open -> bits, kept
//!   otherwise -> the predicate's columns of the whole unit, in slices on the query threads -> bits, kept
//! ```
//!
//! Of several predicates all are asked of the indexes first; the first that they do not answer is evaluated so, and each of
//! the others on the rows that are left.

mod elements;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::take_record_batch;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::Expr;
use elanus_collection::{Unit, UnitId};
use elanus_index::Bitset;
use lru::LruCache;
use parking_lot::Mutex;
use rayon::prelude::*;

use crate::compute::{Compute, Wanted};
use crate::error::external;
use crate::index_filter::IndexUse;
use crate::predicate::Predicate;
use crate::resources::Resources;

pub(crate) use elements::ElementFilter;

/// Rows evaluated at a time.
const SLICE_ROWS: usize = 1 << 16;
/// Elementary steps that one value of a filter is reckoned at.
const STEPS_PER_VALUE: u64 = 4;
/// What it costs to pick a row out of its columns and evaluate it, by that of a row among all.
const PICKED_ROW_COST: usize = 4;

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

    /// These rows of a unit of `len` rows, none of them deleted.
    pub fn of_rows(len: u32, rows: impl IntoIterator<Item = u32>) -> Self {
        let mut bits = Bitset::new(len as usize);
        for row in rows {
            bits.set(row as usize);
        }
        Self::Rows(Arc::new(bits))
    }
}

/// Names a filter of a collection in the cache. Units of different collections may have the same
/// id (rows in memory are numbered in each), so the collection is part of the name; a column's name may
/// mean another column once the collection is altered, so its schema is, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FilterName {
    collection: i64,
    schema: u64,
    number: u64,
}

/// Unit, its rows, its deletes and updates, the predicate's name.
type Key = (UnitId, u32, (u64, u64), FilterName);

/// Bitsets of recently used predicates, bounded by their bytes.
#[derive(Debug)]
pub(crate) struct SelectionCache {
    inner: Mutex<Inner>,
    capacity: usize,
    names: Mutex<LruCache<Expr, u64>>,
    next_name: AtomicU64,
}

/// A filter of more nodes than this is not remembered; it could be a list of a million values.
const LARGE_FILTER: usize = 1_000;

fn is_large(filter: &Expr) -> bool {
    let mut nodes = 0;
    // The walk cannot fail: the closure does not.
    let walked = filter.apply(|_| {
        nodes += 1;
        Ok(if nodes > LARGE_FILTER {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    });
    walked.is_err() || nodes > LARGE_FILTER
}

/// Predicates that keep their name while others come and go.
const NAMED_PREDICATES: usize = 1_024;

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

    /// A short name for a filter of a collection, which is given by its id and the version of its schema: equal expressions have the same one. The text of
    /// an expression would not do, it is the same for the lists `['a, b']` and `['a', 'b']`. A filter
    /// that was forgotten gets a new name, never one that another had.
    pub fn name(&self, (collection, schema): (i64, u64), filter: &Expr) -> FilterName {
        let fresh = || self.next_name.fetch_add(1, Ordering::Relaxed);
        let number = if is_large(filter) {
            fresh()
        } else {
            *self.names.lock().get_or_insert(filter.clone(), fresh)
        };
        FilterName {
            collection,
            schema,
            number,
        }
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

/// The rows of `from` that are true for every predicate. `used` hears what scalar indexes did.
///
/// A predicate fails when the value of a row makes it fail (`10 / n`). Rows that are deleted, or that
/// a predicate before it or an index has left out, are never the reason.
pub(crate) async fn select(
    unit: &Arc<Unit>,
    from: Selection,
    predicates: &[Arc<Predicate>],
    resources: &Resources,
    used: &mut IndexUse,
) -> Result<Selection, DataFusionError> {
    // The bits of one predicate over all live rows are worth keeping.
    let kept = match (&from, predicates) {
        (Selection::Live, [predicate]) => cache_key(unit, predicate),
        _ => None,
    };
    for predicate in predicates {
        if let Some(pruning) = predicate.pruning()
            && cached(unit, predicate, resources).is_none()
            && pruning.leaves_out(unit).await?
        {
            used.add_pruned();
            return Ok(Selection::of_rows(unit.rows(), []));
        }
    }
    let mut selection = from;
    let mut left = Vec::with_capacity(predicates.len());
    for predicate in predicates {
        let answered = by_index(unit, &selection, predicate, resources).await?;
        let open = match answered {
            None => None,
            Some(Answered { rows, open, by }) => {
                used.add(by, open.count());
                selection = Selection::Rows(Arc::new(rows));
                Some(open)
            }
        };
        left.push((predicate, open));
    }
    for (predicate, open) in left {
        selection = match (open, selection) {
            (None, Selection::Live) => select_live(unit, predicate, resources).await?,
            (None, from @ Selection::Rows(_)) => {
                select_among(unit, predicate, from.rows(unit), &resources.compute).await?
            }
            (Some(open), from) => {
                let rows = from.bits().cloned().unwrap_or_else(|| unit.live());
                let selected = Arc::new(select_open(unit, predicate, rows, open, resources).await?);
                if let Some(key) = &kept {
                    resources.selections.put(*key, Arc::clone(&selected));
                }
                Selection::Rows(selected)
            }
        };
    }
    Ok(selection)
}

/// What indexes say of a predicate.
struct Answered {
    /// Rows of the selection where it may be true.
    rows: Bitset,
    /// Those of them where it may be not.
    open: Bitset,
    /// Who says so: index and condition.
    by: Vec<(Arc<str>, String)>,
}

/// Asks the scalar indexes of a unit; `None` when they do not know enough to help.
async fn by_index(
    unit: &Arc<Unit>,
    selection: &Selection,
    predicate: &Arc<Predicate>,
    resources: &Resources,
) -> Result<Option<Answered>, DataFusionError> {
    let is_live = matches!(selection, Selection::Live);
    if !predicate.index().is_some_and(|filter| filter.applies_to(unit)) {
        return Ok(None);
    }
    if is_live && (predicate.keys().is_some() || cached(unit, predicate, resources).is_some()) {
        return Ok(None);
    }
    let (unit, predicate, selection) = (Arc::clone(unit), Arc::clone(predicate), selection.clone());
    let steps = u64::from(unit.rows());
    let ask = move |_: Wanted<'_>| {
        let mut by = Vec::new();
        let verdict = predicate.index()?.ask(&unit, &mut by)?;
        let mut rows = match (selection.bits(), unit.live_rows_set()) {
            (Some(bits), _) | (None, Some(bits)) => bits.clone(),
            (None, None) => Bitset::full(unit.rows() as usize),
        };
        let candidates = rows.count();
        rows.and(&verdict.yes);
        let mut open = verdict.open();
        open.and(&rows);
        // Rows that are picked out of their columns cost more than rows in a run.
        let pays = open.count() * PICKED_ROW_COST <= candidates;
        (pays && !by.is_empty()).then_some(Answered { rows, open, by })
    };
    resources.compute.run(steps, ask).await.map_err(external)
}

/// The rows of `rows` that are true for a predicate, of which all but the `open` ones are known to be.
async fn select_open(
    unit: &Arc<Unit>,
    predicate: &Arc<Predicate>,
    mut rows: Bitset,
    mut open: Bitset,
    resources: &Resources,
) -> Result<Bitset, DataFusionError> {
    open.and(&rows);
    if open.count() > 0 {
        let candidates = Selection::Rows(Arc::new(open.clone())).rows(unit);
        let passed = select_among(unit, predicate, candidates, &resources.compute).await?;
        rows.and_not(&open);
        if let Some(passed) = passed.bits() {
            rows.or(passed);
        }
    }
    Ok(rows)
}

/// How the cache knows the bits of a predicate over the live rows of a unit.
fn cache_key(unit: &Unit, predicate: &Predicate) -> Option<Key> {
    let name = predicate.cache_key()?;
    let values = unit.values_version(&predicate.columns());
    Some((unit.id(), unit.rows(), (unit.deletes_version(), values), name))
}

fn cached(unit: &Unit, predicate: &Predicate, resources: &Resources) -> Option<Arc<Bitset>> {
    resources.selections.get(&cache_key(unit, predicate)?)
}

async fn select_live(
    unit: &Arc<Unit>,
    predicate: &Arc<Predicate>,
    resources: &Resources,
) -> Result<Selection, DataFusionError> {
    if let Some(keys) = predicate.keys() {
        let rows = unit.find_keys(keys).await.map_err(external)?;
        return select_among(unit, predicate, rows, &resources.compute).await;
    }
    if let Some(bits) = cached(unit, predicate, resources) {
        return Ok(Selection::Rows(bits));
    }
    let key = cache_key(unit, predicate);
    let batch = read_columns(unit, &predicate.columns()).await?;
    let cost = cost(unit.rows() as usize, &batch);
    let (unit, predicate) = (Arc::clone(unit), Arc::clone(predicate));
    let bits = resources
        .compute
        .run(cost, move |_| evaluate_live(&unit, &predicate, &batch))
        .await
        .map_err(external)??;
    let bits = Arc::new(bits);
    if let Some(key) = key {
        resources.selections.put(key, Arc::clone(&bits));
    }
    Ok(Selection::Rows(bits))
}

/// The rows of `candidates` (live already) that are true for `predicate`.
async fn select_among(
    unit: &Unit,
    predicate: &Arc<Predicate>,
    candidates: Vec<u32>,
    compute: &Compute,
) -> Result<Selection, DataFusionError> {
    if candidates.is_empty() {
        return Ok(Selection::of_rows(unit.rows(), []));
    }
    let names = predicate.columns();
    let predicate = Arc::clone(predicate);
    if candidates.len() <= FEW_ROWS && !names.is_empty() {
        // Whole columns may have to be made anew for the updates in them.
        let batch = unit.take(&names, &candidates).await.map_err(external)?;
        let passed = predicate.evaluate(&batch)?;
        let rows = passed
            .set_indices()
            .filter_map(|position| candidates.get(position));
        return Ok(Selection::of_rows(unit.rows(), rows.copied()));
    }
    let batch = read_columns(unit, &names).await?;
    let cost = cost(candidates.len(), &batch);
    let bits = compute
        .run(cost, move |_| evaluate_rows(&predicate, &batch, &candidates))
        .await
        .map_err(external)??;
    Ok(Selection::Rows(Arc::new(bits)))
}

/// So many rows are taken out of their columns before anything is computed.
pub(crate) const FEW_ROWS: usize = 1_024;

/// Elementary steps of a predicate over the columns of `batch`, for so many rows.
fn cost(rows: usize, batch: &RecordBatch) -> u64 {
    rows as u64 * (batch.num_columns() as u64 + 1) * STEPS_PER_VALUE
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

fn evaluate_live(unit: &Unit, predicate: &Predicate, batch: &RecordBatch) -> Result<Bitset, DataFusionError> {
    match (evaluate_all(predicate, batch), unit.live_rows_set()) {
        (Ok(mut bits), Some(live)) => {
            bits.and(live);
            Ok(bits)
        }
        // It may have been the value of a deleted row.
        (Err(_), Some(_)) => evaluate_rows(predicate, batch, &Selection::Live.rows(unit)),
        (all, None) => all,
    }
}

fn evaluate_all(predicate: &Predicate, batch: &RecordBatch) -> Result<Bitset, DataFusionError> {
    let rows = batch.num_rows();
    let starts: Vec<usize> = (0..rows).step_by(SLICE_ROWS).collect();
    let slices: Vec<BooleanBuffer> = in_parallel(&starts, |start| {
        predicate.evaluate(&batch.slice(*start, SLICE_ROWS.min(rows - start)))
    })?;
    let mut bits = Bitset::new(rows);
    for (start, slice) in starts.into_iter().zip(slices) {
        for row in slice.set_indices() {
            bits.set(start + row);
        }
    }
    Ok(bits)
}

/// The predicate on some rows of `batch` only.
fn evaluate_rows(
    predicate: &Predicate,
    batch: &RecordBatch,
    rows: &[u32],
) -> Result<Bitset, DataFusionError> {
    let slices: Vec<&[u32]> = rows.chunks(SLICE_ROWS).collect();
    let passed: Vec<BooleanBuffer> = in_parallel(&slices, |rows| {
        let taken = if batch.num_columns() == 0 {
            rows_without_columns(rows.len())?
        } else {
            take_record_batch(batch, &UInt32Array::from(rows.to_vec()))?
        };
        predicate.evaluate(&taken)
    })?;
    let mut bits = Bitset::new(batch.num_rows());
    for (slice, passed) in slices.into_iter().zip(passed) {
        for row in passed.set_indices().filter_map(|position| slice.get(position)) {
            bits.set(*row as usize);
        }
    }
    Ok(bits)
}

/// `work` for each slice; on all threads of the query pool when it is called on one of them.
fn in_parallel<S: Sync, T: Send>(
    slices: &[S],
    work: impl Fn(&S) -> Result<T, DataFusionError> + Sync + Send,
) -> Result<Vec<T>, DataFusionError> {
    if slices.len() > 1 && rayon::current_thread_index().is_some() {
        slices.par_iter().map(work).collect()
    } else {
        slices.iter().map(work).collect()
    }
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
        assert_ne!(cache.name((1, 0), &one), cache.name((1, 0), &two));
        assert_eq!(cache.name((1, 0), &one), cache.name((1, 0), &list(&["a, b"])));
        assert_ne!(cache.name((1, 0), &one), cache.name((2, 0), &one));
        assert_ne!(cache.name((1, 0), &one), cache.name((1, 1), &one));
    }

    #[test]
    fn the_cache_forgets_the_oldest_bits_when_it_is_full() {
        let cache = SelectionCache::new(2 * size_of_bits(&Bitset::new(640)));
        let key = |number| {
            let name = FilterName {
                collection: 1,
                schema: 0,
                number,
            };
            (UnitId::Growing(1), 640, (0, 0), name)
        };
        for number in 0..3 {
            cache.put(key(number), Arc::new(Bitset::new(640)));
        }
        assert!(cache.get(&key(0)).is_none());
        assert!(cache.get(&key(1)).is_some() && cache.get(&key(2)).is_some());
    }
}
