//! Several queries at once: where every row is compared with every query, or with those whose lists it is in, each row is read
//! once for many of them.
//!
//! A graph is walked for each query by itself, so there the queries only share the threads. The hits are the same either
//! way, to the last bit.

use elanus_index::{Neighbor, SearchStats, VectorRef};
use rayon::prelude::*;

use super::{Hit, SearchSpec, Target, Totals, best, hits_of, search_query, search_unit};
use crate::compute::Wanted;
use crate::error::QueryError;

/// Queries that are compared with a unit before anybody is asked whether the search is still wanted.
const STEP: usize = 1024;
/// Rows that all of them may find: each of some tens of tasks keeps as many.
const STEP_ROWS: usize = 1 << 20;

/// As [`super::search_targets`], on a thread of a rayon pool.
pub(super) fn search_together(
    targets: &[Target],
    spec: &SearchSpec,
    queries: &[Option<VectorRef<'_>>],
    wanted: Wanted<'_>,
) -> Result<(Vec<Vec<Hit>>, Totals), QueryError> {
    let batches = |target: &&Target| {
        // How many rows tie, and which are in a window, is another question for each query.
        let for_all_alike = !spec.ties && !spec.elements && spec.params.within.is_open();
        for_all_alike && target.unit.batches(&spec.field, spec.metric, spec.exact)
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
        let of_unit = search_all(target, spec, queries, &mut totals, wanted)?;
        for (all, of_unit) in hits.iter_mut().zip(of_unit) {
            all.extend(of_unit);
            best(all, spec);
        }
    }
    Ok((hits, totals))
}

/// The hits of each query in a unit.
fn search_all(
    target: &Target,
    spec: &SearchSpec,
    queries: &[Option<VectorRef<'_>>],
    totals: &mut Totals,
    wanted: Wanted<'_>,
) -> Result<Vec<Vec<Hit>>, QueryError> {
    let Target { unit, selection, .. } = target;
    let allowed = unit.allow(&spec.field, selection.bits())?;
    // A query that is NULL finds nothing by distance.
    let there: Vec<VectorRef<'_>> = queries.iter().flatten().copied().collect();
    let mut found: Vec<Vec<Neighbor>> = Vec::with_capacity(there.len());
    for step in there.chunks((STEP_ROWS / spec.k.max(1)).clamp(1, STEP)) {
        if !wanted() {
            return Err(QueryError::Internal(
                "nobody waits for the search any more".into(),
            ));
        }
        let mut stats = SearchStats::default();
        found.extend(unit.search_batch(
            &spec.field,
            spec.metric,
            step,
            spec.k,
            &spec.params,
            &allowed,
            spec.exact,
            &mut stats,
        )?);
        totals.add(&stats);
    }
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
