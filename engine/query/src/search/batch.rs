//! Several queries at once: where every row is compared with every query, each row is read once for many of them.
//!
//! A graph or a list is walked for each query by itself, so there the queries only share the threads. The hits are the
//! same either way, to the last bit.

use elanus_index::{AnyMetric, Metric, Neighbor, SearchStats, VectorRef, Vectors};
use rayon::prelude::*;

use super::{Hit, SearchSpec, Target, Totals, best, hits_of, search_query, search_unit};
use crate::compute::Wanted;
use crate::error::QueryError;

/// Queries that are compared with a unit before anybody is asked whether the search is still wanted.
const STEP: usize = 256;

/// As [`super::search_targets`], on a thread of a rayon pool.
pub(super) fn search_together(
    targets: &[Target],
    spec: &SearchSpec,
    queries: &[Option<VectorRef<'_>>],
    wanted: Wanted<'_>,
) -> Result<(Vec<Vec<Hit>>, Totals), QueryError> {
    let floats = match spec.metric {
        AnyMetric::Numbers(metric) => Floats::of(queries).map(|floats| (metric, floats)),
        AnyMetric::Bits(_) | AnyMetric::Bm25 | AnyMetric::MaxSim(_) => None,
    };
    let batches = |target: &&Target| {
        let metric = floats.as_ref().map(|(metric, _)| *metric);
        // How many rows tie, and which are in a window, is another question for each query.
        let for_all_alike = !spec.ties && !spec.elements && spec.params.within.is_open();
        for_all_alike
            && match metric {
                Some(metric) => target.unit.batches(&spec.field, metric, spec.exact),
                None => target.unit.batches_typed(&spec.field, spec.metric, spec.exact),
            }
    };
    let (together, singly): (Vec<&Target>, Vec<&Target>) = targets.iter().partition(batches);
    let singly: Vec<Target> = singly.into_iter().cloned().collect();
    let found: Vec<(Vec<Hit>, Totals)> = queries
        .par_iter()
        .map(|query| search_query(&singly, spec, *query, wanted))
        .collect::<Result<_, _>>()?;
    let mut totals = Totals::default();
    let mut hits = Vec::with_capacity(found.len());
    for (of_query, its_totals) in found {
        totals = totals.merge(its_totals);
        hits.push(of_query);
    }
    for target in together {
        let of_unit = match &floats {
            Some((metric, floats)) => floats.search(target, *metric, spec, queries, &mut totals, wanted)?,
            None => search_typed(target, spec, queries, &mut totals, wanted)?,
        };
        for (all, of_unit) in hits.iter_mut().zip(of_unit) {
            all.extend(of_unit);
            best(all, spec);
        }
    }
    Ok((hits, totals))
}

/// Queries of 32-bit floats, row-major; a query that is NULL has no row.
struct Floats {
    values: Vec<f32>,
    dim: usize,
}

impl Floats {
    /// `None` when one of them is of another type or dimension than the first, or all are NULL.
    fn of(queries: &[Option<VectorRef<'_>>]) -> Option<Self> {
        let mut values = Vec::new();
        let mut dim = None;
        for query in queries.iter().flatten() {
            let VectorRef::Floats(query) = query else {
                return None;
            };
            if *dim.get_or_insert(query.len()) != query.len() {
                return None;
            }
            values.extend_from_slice(query);
        }
        dim.map(|dim| Self { values, dim })
    }

    /// The hits of each query in a unit.
    fn search(
        &self,
        target: &Target,
        metric: Metric,
        spec: &SearchSpec,
        queries: &[Option<VectorRef<'_>>],
        totals: &mut Totals,
        wanted: Wanted<'_>,
    ) -> Result<Vec<Vec<Hit>>, QueryError> {
        let Target { unit, selection, .. } = target;
        let allowed = unit.allow(&spec.field, selection.bits())?;
        let mut found: Vec<Vec<Neighbor>> = Vec::with_capacity(queries.len());
        for step in self.values.chunks(self.dim.max(1) * STEP) {
            check_wanted(wanted)?;
            let vectors = Vectors::new(step, self.dim).map_err(|e| QueryError::Internal(e.to_string()))?;
            let mut stats = SearchStats::default();
            found.extend(unit.search_batch(
                &spec.field,
                metric,
                vectors,
                spec.k,
                &spec.params,
                &allowed,
                spec.exact,
                &mut stats,
            )?);
            totals.add(&stats);
        }
        hits_of_all(target, spec, queries, found, totals)
    }
}

/// The hits of each query of another type than 32-bit floats in a unit.
fn search_typed(
    target: &Target,
    spec: &SearchSpec,
    queries: &[Option<VectorRef<'_>>],
    totals: &mut Totals,
    wanted: Wanted<'_>,
) -> Result<Vec<Vec<Hit>>, QueryError> {
    let Target { unit, selection, .. } = target;
    let allowed = unit.allow(&spec.field, selection.bits())?;
    let given: Vec<VectorRef<'_>> = queries.iter().flatten().copied().collect();
    let mut found: Vec<Vec<Neighbor>> = Vec::with_capacity(given.len());
    for step in given.chunks(STEP) {
        check_wanted(wanted)?;
        let mut stats = SearchStats::default();
        found.extend(unit.search_typed(
            &spec.field,
            spec.metric,
            step,
            spec.k,
            &spec.params,
            &allowed,
            &mut stats,
        )?);
        totals.add(&stats);
    }
    hits_of_all(target, spec, queries, found, totals)
}

/// The hits of what was found for each query that is not NULL.
fn hits_of_all(
    target: &Target,
    spec: &SearchSpec,
    queries: &[Option<VectorRef<'_>>],
    found: Vec<Vec<Neighbor>>,
    totals: &mut Totals,
) -> Result<Vec<Vec<Hit>>, QueryError> {
    let mut found = found.into_iter();
    let mut hits = Vec::with_capacity(queries.len());
    for query in queries {
        hits.push(match query {
            Some(query) => hits_of(target, spec, *query, found.next().unwrap_or_default(), totals)?,
            None => search_unit(target, spec, None, totals)?,
        });
    }
    Ok(hits)
}

fn check_wanted(wanted: Wanted<'_>) -> Result<(), QueryError> {
    if wanted() {
        return Ok(());
    }
    Err(QueryError::Internal(
        "nobody waits for the search any more".into(),
    ))
}
