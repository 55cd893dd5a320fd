//! The work behind a vector search: units are searched one by one, their hits merged, rows fetched.
//!
//! These functions know no plan and no stream. The operators (`operators::ann_search`,
//! `operators::top_k_per_query`, `operators::take_rows`) call them one stage at a time; the engine's
//! search request calls the same stages directly, without a plan in between.

mod batch;
mod elements;
mod ties;

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::error::DataFusionError;
use elanus_collection::{Snapshot, Unit};
use elanus_index::{AnyMetric, Bitset, Metric, Neighbor, SearchParams, SearchStats, Strategy, VectorRef};
use rayon::prelude::*;

use crate::compute::Wanted;
use crate::error::{QueryError, external};
use crate::grouping::GroupSpec;
use crate::index_filter::IndexUse;
use crate::predicate::Predicate;
use crate::resources::Resources;
use crate::selection::{Selection, select};

pub(crate) use elements::{findable, restrict_elements};

/// Largest `k` (limit and offset together) that is searched through an index.
pub const MAX_NEIGHBOURS: usize = 16_384;

/// What happens to rows that have no distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undefined {
    /// They are never found (Milvus).
    Skip,
    /// They come after all others: first zero vectors under cosine (NaN), then NULL (SQL).
    Last,
}

/// What is searched for, the same in every unit.
#[derive(Debug, Clone)]
pub(crate) struct SearchSpec {
    /// Vector field.
    pub field: String,
    /// Metric of the distances.
    pub metric: AnyMetric,
    /// Neighbours wanted of each query.
    pub k: usize,
    /// Search parameters of the index, and the distances wanted.
    pub params: SearchParams,
    /// Whether indexes are left aside.
    pub exact: bool,
    /// What happens to rows without a distance.
    pub undefined: Undefined,
    /// Whether rows as near as the `k`-th are found beyond `k`.
    pub ties: bool,
    /// Whether the vectors of lists are searched one by one: `k` counts elements then.
    pub elements: bool,
    /// Groups wanted instead of rows; `k` then bounds the rows of one query.
    pub group: Option<GroupSpec>,
}

/// One row found for one query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Hit {
    /// Position of the unit in the snapshot.
    pub unit: u32,
    /// Row in the unit.
    pub row: u32,
    /// Place in the list of the row, where elements are searched.
    pub element: Option<u32>,
    /// Smaller is better; `None` when the row has no vector.
    pub distance: Option<f32>,
}

impl Hit {
    /// Best first: NaN after every number, no distance after NaN.
    pub fn by_distance(&self, other: &Self) -> Ordering {
        match (self.distance, other.distance) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }
    }

    /// Best first; equal distances in the order of their addresses.
    pub fn total(&self, other: &Self) -> Ordering {
        self.by_distance(other)
            .then(self.unit.cmp(&other.unit))
            .then(self.row.cmp(&other.row))
            .then(self.element.cmp(&other.element))
    }
}

/// One unit to search, with the rows that may be found.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Position of the unit in the snapshot.
    pub number: u32,
    /// The unit.
    pub unit: Arc<Unit>,
    /// Its rows that may be found.
    pub selection: Selection,
    /// The elements that may be found, where elements are searched and not all of these rows may be.
    pub elements: Option<Arc<Bitset>>,
}

/// What searching cost, summed over units and queries.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals {
    /// Distances computed.
    pub distances: u64,
    /// How often each strategy ran.
    pub strategies: Vec<(Strategy, u64)>,
}

impl Totals {
    fn add(&mut self, stats: &SearchStats) {
        self.distances += stats.distances;
        self.count(stats.strategy, 1);
    }

    fn count(&mut self, strategy: Strategy, times: u64) {
        match self.strategies.iter_mut().find(|(known, _)| *known == strategy) {
            Some((_, count)) => *count += times,
            None => self.strategies.push((strategy, times)),
        }
    }

    /// The sums.
    pub fn merge(mut self, other: Self) -> Self {
        self.distances += other.distances;
        for (strategy, times) in other.strategies {
            self.count(strategy, times);
        }
        self
    }
}

/// The units of `numbers` that have a row to find, with these rows: those of `among` (live ones, by unit) when it is there.
/// `used` hears what scalar indexes did for it.
pub(crate) async fn select_targets(
    snapshot: &Snapshot,
    numbers: &[u32],
    among: Option<&HashMap<u32, Arc<Bitset>>>,
    predicates: &[Arc<Predicate>],
    resources: &Resources,
    used: &mut IndexUse,
) -> Result<Vec<Target>, DataFusionError> {
    let mut targets = Vec::with_capacity(numbers.len());
    for number in numbers {
        let Some(unit) = snapshot.units.get(*number as usize) else {
            continue;
        };
        let from = match among {
            None => Selection::Live,
            Some(units) => match units.get(number) {
                Some(bits) => Selection::Rows(Arc::clone(bits)),
                None => continue,
            },
        };
        let selection = select(unit, from, predicates, resources, used).await?;
        if selection.count(unit) > 0 {
            targets.push(Target {
                number: *number,
                unit: Arc::clone(unit),
                selection,
                elements: None,
            });
        }
    }
    Ok(targets)
}

/// About how many float operations a search of `targets` for `nq` queries takes.
pub(crate) fn cost(targets: &[Target], spec: &SearchSpec, nq: usize) -> u64 {
    let of_one_query: u64 = targets
        .iter()
        .map(|target| {
            let vectors = target
                .unit
                .vectors(&spec.field)
                .and_then(|column| column.vectors());
            let dim = vectors.map_or(0, |vectors| vectors.row_cost()) as u64;
            let index = target
                .unit
                .index(&spec.field)
                .filter(|index| !spec.exact && index.serves(spec.metric));
            let compared = match index {
                Some(index) => {
                    let allowed = match &target.elements {
                        Some(elements) => elements.count(),
                        None if spec.elements => index.rows(),
                        None => usize::try_from(target.selection.count(&target.unit)).unwrap_or(usize::MAX),
                    };
                    // Ties are looked for among more rows.
                    let k = if spec.ties {
                        spec.k.saturating_mul(2)
                    } else {
                        spec.k
                    };
                    index.comparisons(k, &spec.params, allowed)
                }
                None => target.unit.rows() as usize,
            };
            dim.saturating_mul(compared as u64)
        })
        .fold(0, u64::saturating_add);
    of_one_query.saturating_mul(nq as u64)
}

/// Searches every target for every query (`None`: a query that is NULL, every distance undefined).
/// On a thread of a rayon pool it spreads over the pool. Gives the `k` best of each query, best first.
///
/// # Errors
/// What a unit says; [`QueryError::Internal`] when the search was given up because it is not
/// `wanted` any more.
pub(crate) fn search_targets(
    targets: &[Target],
    spec: &SearchSpec,
    queries: &[Option<VectorRef<'_>>],
    wanted: Wanted<'_>,
) -> Result<(Vec<Vec<Hit>>, Totals), QueryError> {
    if queries.len() > 1 && on_pool() {
        return batch::search_together(targets, spec, queries, wanted);
    }
    let search = |query: &Option<VectorRef<'_>>| search_query(targets, spec, *query, wanted);
    let found: Vec<(Vec<Hit>, Totals)> = queries.iter().map(search).collect::<Result<_, _>>()?;
    let mut totals = Totals::default();
    let mut hits = Vec::with_capacity(found.len());
    for (of_query, its_totals) in found {
        totals = totals.merge(its_totals);
        hits.push(of_query);
    }
    Ok((hits, totals))
}

fn on_pool() -> bool {
    rayon::current_thread_index().is_some()
}

/// The `k` best hits of one query over all targets.
fn search_query(
    targets: &[Target],
    spec: &SearchSpec,
    query: Option<VectorRef<'_>>,
    wanted: Wanted<'_>,
) -> Result<(Vec<Hit>, Totals), QueryError> {
    let search = |target: &Target| {
        if !wanted() {
            return Err(QueryError::Internal(
                "nobody waits for the search any more".into(),
            ));
        }
        let mut totals = Totals::default();
        let hits = if spec.ties {
            ties::search(target, spec, query, &mut totals)?
        } else {
            search_unit(target, spec, query, &mut totals)?
        };
        Ok((hits, totals))
    };
    let found: Vec<(Vec<Hit>, Totals)> = if targets.len() > 1 && on_pool() {
        targets.par_iter().map(search).collect::<Result<_, _>>()?
    } else {
        targets.iter().map(search).collect::<Result<_, _>>()?
    };
    let mut hits = Vec::new();
    let mut totals = Totals::default();
    for (of_unit, its_totals) in found {
        totals = totals.merge(its_totals);
        if hits.is_empty() {
            hits = of_unit;
        } else {
            hits.extend(of_unit);
        }
    }
    best(&mut hits, spec);
    Ok((hits, totals))
}

/// Keeps the `k` best hits, best first, and those that tie with the last of them when they are wanted.
fn best(hits: &mut Vec<Hit>, spec: &SearchSpec) {
    if !hits.is_sorted_by(|a, b| a.total(b).is_le()) {
        hits.sort_unstable_by(Hit::total);
    }
    let kept = if spec.ties {
        ties::count(spec.metric, hits, spec.k)
    } else {
        spec.k
    };
    hits.truncate(kept);
}

fn search_unit(
    target: &Target,
    spec: &SearchSpec,
    query: Option<VectorRef<'_>>,
    totals: &mut Totals,
) -> Result<Vec<Hit>, elanus_collection::Error> {
    let Target {
        number,
        unit,
        selection,
        ..
    } = target;
    let hit = |row: u32, distance: Option<f32>| Hit {
        unit: *number,
        row,
        element: None,
        distance,
    };
    // SQL has no distance to a zero vector under cosine: none that a range could have.
    let has_distances = |query: &VectorRef<'_>| {
        spec.undefined == Undefined::Skip
            || spec.params.within.is_open()
            || spec.metric != Metric::Cosine
            || !query.is_zero()
    };
    let Some(query) = query.filter(has_distances) else {
        return Ok(match spec.undefined {
            Undefined::Last if spec.params.within.is_open() => selection
                .rows(unit)
                .into_iter()
                .take(spec.k)
                .map(|row| hit(row, None))
                .collect(),
            Undefined::Last | Undefined::Skip => Vec::new(),
        });
    };
    if spec.elements {
        return elements::search(target, spec, query, totals);
    }
    let found = search_rows(unit, spec, query, selection.bits(), totals)?;
    hits_of(target, spec, query, found, totals)
}

/// The nearest of these rows that have a vector.
fn search_rows(
    unit: &Unit,
    spec: &SearchSpec,
    query: VectorRef<'_>,
    rows: Option<&Bitset>,
    totals: &mut Totals,
) -> Result<Vec<Neighbor>, elanus_collection::Error> {
    let allowed = unit.allow(&spec.field, rows)?;
    let mut stats = SearchStats::default();
    let found = unit.search(
        &spec.field,
        spec.metric,
        query,
        spec.k,
        &spec.params,
        &allowed,
        spec.exact,
        &mut stats,
    )?;
    totals.add(&stats);
    Ok(found)
}

/// The hits of a query in a unit in which the rows `found` are its nearest: rows without a distance come to them.
fn hits_of(
    target: &Target,
    spec: &SearchSpec,
    query: VectorRef<'_>,
    mut found: Vec<Neighbor>,
    totals: &mut Totals,
) -> Result<Vec<Hit>, elanus_collection::Error> {
    let Target {
        number,
        unit,
        selection,
        ..
    } = target;
    let hit = |row: u32, distance: Option<f32>| Hit {
        unit: *number,
        row,
        element: None,
        distance,
    };
    if spec.undefined == Undefined::Skip {
        // Milvus finds a sparse vector only where it shares something with the query.
        let shares_something = |distance: f32| !is_by_terms(query) || distance < 0.0;
        return Ok(found
            .into_iter()
            .filter(|neighbor| shares_something(neighbor.distance))
            .map(|neighbor| hit(neighbor.row, Some(neighbor.distance)))
            .collect());
    }
    // Rows without a distance are in no window but the open one.
    let open = spec.params.within.is_open();
    let mut last: Vec<u32> = Vec::new();
    // SQL's cosine distance of a zero vector is NaN, after all numbers; the engine's is that of a
    // right angle. It only matters when a right angle or worse is among the hits.
    let angle_is_open = found.len() < spec.k || found.last().is_some_and(|worst| worst.distance >= 0.0);
    if spec.metric == Metric::Cosine && angle_is_open && !query.is_zero() {
        let (zeros, others) = split_zero_vectors(unit, &spec.field, selection)?;
        if !zeros.is_empty() {
            found = search_rows(unit, spec, query, Some(&others), totals)?;
            if open {
                last = zeros;
            }
        }
    }
    let mut hits: Vec<Hit> = found
        .into_iter()
        .map(|neighbor| hit(neighbor.row, Some(neighbor.distance)))
        .collect();
    hits.extend(last.into_iter().map(|row| hit(row, Some(f32::NAN))));
    hits.truncate(spec.k);
    if open
        && hits.len() < spec.k
        && let Some(valid) = unit.vectors(&spec.field)?.valid()
    {
        let mut missing = selection.bits().cloned().unwrap_or_else(|| unit.live());
        missing.and_not(valid);
        let wanted = spec.k - hits.len();
        hits.extend(
            missing
                .iter()
                .take(wanted)
                .map(|row| hit(u32::try_from(row).unwrap_or(u32::MAX), None)),
        );
    }
    Ok(hits)
}

/// Whether a score is made of the terms that query and row share.
fn is_by_terms(query: VectorRef<'_>) -> bool {
    match query {
        VectorRef::Sparse(_) | VectorRef::Terms(_) => true,
        VectorRef::Floats(_)
        | VectorRef::Halves(_)
        | VectorRef::BFloat16s(_)
        | VectorRef::Int8s(_)
        | VectorRef::Bits(_)
        | VectorRef::List(_) => false,
    }
}

/// The selected rows whose vector is all zeros, and the set of the other selected rows.
fn split_zero_vectors(
    unit: &Unit,
    field: &str,
    selection: &Selection,
) -> Result<(Vec<u32>, Bitset), elanus_collection::Error> {
    let vectors = unit.vectors(field)?.vectors()?;
    let allowed = unit.allow(field, selection.bits())?;
    let mut others = allowed
        .bitset()
        .cloned()
        .unwrap_or_else(|| Bitset::full(unit.rows() as usize));
    let zeros: Vec<usize> = others.iter().filter(|row| vectors.row(*row).is_zero()).collect();
    for row in &zeros {
        others.clear(*row);
    }
    Ok((
        zeros
            .into_iter()
            .map(|row| u32::try_from(row).unwrap_or(u32::MAX))
            .collect(),
        others,
    ))
}

/// Puts hits of equal distance in primary key order. Reads keys only where there are equals.
pub(crate) async fn order_equals(
    units: &[Arc<Unit>],
    primary_key: &str,
    hits: &mut [Hit],
) -> Result<(), DataFusionError> {
    order_runs(units, primary_key, equal_runs(hits).collect()).await
}

/// [`order_equals`] in each of these lists; the keys of all are read together.
pub(crate) async fn order_equals_of_each(
    units: &[Arc<Unit>],
    primary_key: &str,
    lists: &mut [Vec<Hit>],
) -> Result<(), DataFusionError> {
    let runs = lists.iter_mut().flat_map(|hits| equal_runs(hits));
    order_runs(units, primary_key, runs.collect()).await
}

/// Where several hits of equal distance follow each other.
fn equal_runs(hits: &mut [Hit]) -> impl Iterator<Item = &mut [Hit]> {
    let runs = hits.chunk_by_mut(|a, b| a.by_distance(b) == Ordering::Equal);
    runs.filter(|run| run.len() > 1)
}

/// Puts each of these runs in primary key order.
async fn order_runs(
    units: &[Arc<Unit>],
    primary_key: &str,
    runs: Vec<&mut [Hit]>,
) -> Result<(), DataFusionError> {
    let tied: Vec<Hit> = runs.iter().flat_map(|run| run.iter().copied()).collect();
    if tied.is_empty() {
        return Ok(());
    }
    let keys = take_rows(units, &[primary_key], None, &tied).await?;
    let keys = keys.column(0);
    let mut seen = 0;
    for run in runs {
        let order = key_order(&keys.slice(seen, run.len()));
        let sorted = order.into_iter().filter_map(|position| tied.get(seen + position));
        for (slot, hit) in run.iter_mut().zip(sorted) {
            *slot = *hit;
        }
        seen += run.len();
    }
    Ok(())
}

/// Positions of a primary key column in ascending key order; equal keys keep their order.
fn key_order(keys: &dyn Array) -> Vec<usize> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    if let Some(keys) = keys.as_primitive_opt::<Int64Type>() {
        order.sort_by_key(|position| keys.value(*position));
    } else if let Some(keys) = keys.as_string_opt::<i32>() {
        order.sort_by_key(|position| keys.value(*position));
    }
    order
}

/// The rows of `hits` in their order: these columns, under `schema` when one is given.
pub(crate) async fn take_rows(
    units: &[Arc<Unit>],
    columns: &[&str],
    schema: Option<&SchemaRef>,
    hits: &[Hit],
) -> Result<RecordBatch, DataFusionError> {
    let batch = if columns.is_empty() {
        crate::selection::rows_without_columns(hits.len())?
    } else {
        take_columns(units, columns, hits, schema).await?
    };
    match schema {
        Some(schema) => {
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            Ok(RecordBatch::try_new_with_options(
                Arc::clone(schema),
                batch.columns().to_vec(),
                &options,
            )?)
        }
        None => Ok(batch),
    }
}

async fn take_columns(
    units: &[Arc<Unit>],
    columns: &[&str],
    hits: &[Hit],
    schema: Option<&SchemaRef>,
) -> Result<RecordBatch, DataFusionError> {
    let unit_of = |number: u32| {
        units
            .get(number as usize)
            .ok_or_else(|| DataFusionError::Internal(format!("hit in unknown unit {number}")))
    };
    let Some(first) = hits.first() else {
        return match (schema, units.first()) {
            (Some(schema), _) => Ok(RecordBatch::new_empty(Arc::clone(schema))),
            (None, Some(unit)) => unit.take(columns, &[]).await.map_err(external),
            (None, None) => crate::selection::rows_without_columns(0),
        };
    };
    if hits.iter().all(|hit| hit.unit == first.unit) {
        let rows: Vec<u32> = hits.iter().map(|hit| hit.row).collect();
        return unit_of(first.unit)?.take(columns, &rows).await.map_err(external);
    }
    let mut numbers: Vec<u32> = hits.iter().map(|hit| hit.unit).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut rows: Vec<Vec<u32>> = vec![Vec::new(); numbers.len()];
    let mut places: Vec<(usize, usize)> = Vec::with_capacity(hits.len());
    for hit in hits {
        let slot = numbers.partition_point(|number| *number < hit.unit);
        if let Some(list) = rows.get_mut(slot) {
            places.push((slot, list.len()));
            list.push(hit.row);
        }
    }
    let mut taken = Vec::with_capacity(numbers.len());
    for (number, rows) in numbers.iter().zip(&rows) {
        taken.push(unit_of(*number)?.take(columns, rows).await.map_err(external)?);
    }
    Ok(interleave_record_batch(
        &taken.iter().collect::<Vec<_>>(),
        &places,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(unit: u32, row: u32, distance: Option<f32>) -> Hit {
        Hit {
            unit,
            row,
            element: None,
            distance,
        }
    }

    #[test]
    fn numbers_come_before_nan_and_nan_before_no_distance() {
        let mut hits = vec![
            hit(0, 0, None),
            hit(0, 1, Some(f32::NAN)),
            hit(1, 2, Some(2.0)),
            hit(0, 3, Some(-1.0)),
            hit(0, 4, Some(2.0)),
        ];
        let spec = SearchSpec {
            field: "v".into(),
            metric: Metric::L2.into(),
            k: 4,
            params: SearchParams::default(),
            exact: false,
            undefined: Undefined::Last,
            ties: false,
            elements: false,
            group: None,
        };
        best(&mut hits, &spec);
        assert_eq!(hits.iter().map(|hit| hit.row).collect::<Vec<_>>(), [3, 4, 2, 1]);
    }

    #[test]
    fn runs_of_equal_distance_are_found() {
        let mut hits = [
            hit(0, 0, Some(1.0)),
            hit(0, 1, Some(2.0)),
            hit(0, 2, Some(2.0)),
            hit(0, 3, Some(3.0)),
            hit(0, 4, None),
            hit(0, 5, None),
        ];
        let runs = equal_runs(&mut hits).map(|run| run.iter().map(|hit| hit.row).collect::<Vec<_>>());
        assert_eq!(runs.collect::<Vec<_>>(), [[1, 2], [4, 5]]);
        assert_eq!(equal_runs(&mut []).count(), 0);
    }
}
