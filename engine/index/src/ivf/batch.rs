//! Many searches of lists at once, list by list: a list is read from memory once for all queries that look at it.
//!
//! ```text
//!   queries ──> nearest lists of all ──> scans, list by list ──> best rows, query by query
//! ```
//!
//! The nearest lists of every query come first: what they hold tells how little of the others is of interest. What is
//! found is what single searches find, for what is kept does not depend on the order of rows. Where it would, and where
//! codes are so short that there is little to read, each query is searched by itself.

use rayon::prelude::*;

use super::bounds::{Bounded, QueryBounds};
use super::coded::{CodedScan, Keep, ListCodes, Prepared, Room, scan_together};
use super::members::ListScan;
use super::params::CodedParams;
use super::reservoir::Reservoir;
use super::search::{ListSearch, Request};
use crate::codes::packing::TOGETHER;
use crate::hnsw::Distances;
use crate::index::SearchStats;
use crate::indexed_rows::Candidates;
use crate::neighbor::Neighbor;
use crate::params::SearchParams;
use crate::strategy::{ListsPlan, Strategy};
use crate::vectors::Vectors;

/// Queries that are searched together: some tens for a list, and what is kept of each stays in the last-level cache.
const QUERIES: usize = 1024;
/// Rows that a thread keeps for all of them together, where many are scored again.
const MOST_KEPT: usize = 1 << 22;
/// The same where bounds decide what is kept. A query that none of its share suffices for is searched by itself.
const MOST_BOUNDED: usize = 1 << 24;
/// Codes of fewer bytes are as quickly read again for every query as the queries' tables and rows are for every list.
const LEAST_BYTES: usize = 32;
/// The nearest of so many lists come first.
const FIRST_OF: usize = 4;

/// A query's look at a list.
#[derive(Clone, Copy, Default)]
struct Look {
    query: u32,
    /// Of the list's centroid.
    distance: f32,
}

/// What a query's looks came to.
struct Looked<K> {
    best: K,
    /// Allowed rows of its lists.
    found: usize,
    /// Rows of its lists.
    seen: usize,
}

/// The looks at lists `from..to` of every query's nearest, list after list, and where those of each list start.
fn by_list(nearest: &[Vec<u64>], from: usize, to: usize, lists: usize) -> (Vec<usize>, Vec<Look>) {
    let looks = || {
        nearest.iter().zip(0..).flat_map(|(keys, query)| {
            let keys = keys.get(from..to.min(keys.len())).unwrap_or(&[]);
            keys.iter().map(move |&key| {
                let Neighbor { distance, row: list } = Neighbor::from_key(key);
                (list as usize, Look { query, distance })
            })
        })
    };
    // Where the next look at a list goes, one place further on: at the end that is where the list starts.
    let mut starts = vec![0; lists + 2];
    for (list, _) in looks() {
        if let Some(count) = starts.get_mut(list + 2) {
            *count += 1;
        }
    }
    let mut sum = 0;
    for start in &mut starts {
        sum += *start;
        *start = sum;
    }
    let mut sorted = vec![Look::default(); sum];
    for (list, look) in looks() {
        if let Some(place) = starts.get_mut(list + 1) {
            if let Some(slot) = sorted.get_mut(*place) {
                *slot = look;
            }
            *place += 1;
        }
    }
    starts.pop();
    (starts, sorted)
}

/// The best `k` for one query, out of lists or, where those are no help, of all candidates.
pub(super) fn search_one(
    search: ListSearch<'_>,
    candidates: &Candidates<'_>,
    query: &[f32],
    k: usize,
    params: &SearchParams,
    stats: &mut SearchStats,
) -> Vec<Neighbor> {
    let request = request(candidates, query, k, params);
    let found = search.search(request, &candidates.space.scorer(query), stats);
    found.unwrap_or_else(|| candidates.scan(query, k, params.within, stats))
}

fn request<'a>(
    candidates: &'a Candidates<'_>,
    query: &'a [f32],
    k: usize,
    params: &'a SearchParams,
) -> Request<'a> {
    Request {
        query,
        k,
        params,
        allow: candidates.filter(),
        allowed: candidates.allowed,
    }
}

/// [`ListSearch::search`] for every row of `queries`; an exact scan where there is nothing to be gained from lists.
pub(super) fn search_batch(
    search: ListSearch<'_>,
    candidates: &Candidates<'_>,
    queries: Vectors<'_>,
    k: usize,
    params: &SearchParams,
    stats: &mut SearchStats,
) -> Vec<Vec<Neighbor>> {
    let request = |index| request(candidates, queries.row(index), k, params);
    if !queries.is_empty() && matches!(search.plan(&request(0)), ListsPlan::Scan) {
        return candidates.scan_batch(queries, k, params.within, stats);
    }
    let kept = search.kept(&request(0)).clamp(1, MOST_KEPT);
    let part = queries
        .len()
        .div_ceil(rayon::current_num_threads())
        .clamp(1, QUERIES.min(MOST_KEPT / kept));
    let firsts: Vec<usize> = (0..queries.len()).step_by(part).collect();
    let run = |first: usize| {
        let mut stats = SearchStats::default();
        let end = (first + part).min(queries.len());
        let requests: Vec<Request<'_>> = (first..end).map(request).collect();
        let scorers: Vec<_> = requests
            .iter()
            .map(|request| candidates.space.scorer(request.query))
            .collect();
        let found = search.search_together(queries.slice(first, end), &requests, &scorers, &mut stats);
        let found: Vec<_> = found
            .into_iter()
            .zip(&requests)
            .map(|(found, request)| {
                found.unwrap_or_else(|| candidates.scan(request.query, k, params.within, &mut stats))
            })
            .collect();
        (found, stats)
    };
    let parts: Vec<(Vec<Vec<Neighbor>>, SearchStats)> = firsts.into_par_iter().map(run).collect();
    let mut all = Vec::with_capacity(queries.len());
    for (found, of_part) in parts {
        all.extend(found);
        stats.add(&of_part);
    }
    all
}

/// Scans a list for the queries `numbers`, which are `distances` from its base: for [`TOGETHER`] of them at once, for fewer
/// one after the other. How many of its rows each may have.
fn look_at<K: Keep>(
    scans: &mut [CodedScan<'_, K>],
    numbers: &[u32],
    distances: &[f32],
    list: u32,
    members: &[u32],
    room: &mut Room,
) -> usize {
    if let (Ok(numbers), Ok(distances)) = (<[u32; TOGETHER]>::try_from(numbers), distances.try_into())
        && let Ok(scans) = scans.get_disjoint_mut(numbers.map(|number| number as usize))
    {
        return scan_together(scans, list, distances, members, room);
    }
    let mut found = 0;
    for (&number, &distance) in numbers.iter().zip(distances) {
        if let Some(scan) = scans.get_mut(number as usize) {
            found = scan.scan_in(room, list, distance, members);
        }
    }
    found
}

impl ListSearch<'_> {
    /// Rows that are kept of a query.
    fn kept(&self, request: &Request<'_>) -> usize {
        let kept = match self.coded {
            Some((params, _)) => params.rescored(request.k, request.params),
            None => Bounded::held(request.k),
        };
        kept.min(self.lists.rows())
    }

    /// [`ListSearch::search`] for requests that differ in their queries only: each for the row of `queries` in its place.
    fn search_together<D: Distances>(
        &self,
        queries: Vectors<'_>,
        requests: &[Request<'_>],
        exact: &[D],
        stats: &mut SearchStats,
    ) -> Vec<Option<Vec<Neighbor>>> {
        let together = match requests {
            [first, _, ..] if self.by_codes(first) => match (self.plan(first), self.coded, self.bounded) {
                (ListsPlan::Probe { nprobe }, Some(coded), _) => {
                    self.by_estimates_together(coded, nprobe, queries, requests, exact, stats)
                }
                (ListsPlan::Probe { nprobe }, None, Some(bounded)) if !self.few(first) => {
                    self.by_bounds_together(bounded, nprobe, queries, requests, exact, stats)
                }
                _ => None,
            },
            _ => None,
        };
        together.unwrap_or_else(|| {
            let pairs = requests.iter().zip(exact);
            pairs
                .map(|(&request, exact)| self.search(request, exact, stats))
                .collect()
        })
    }

    /// As single searches by estimates; `None` where codes are looked at again depending on what was found before, or too short.
    fn by_estimates_together<D: Distances>(
        &self,
        (params, codes): (&CodedParams, &ListCodes),
        nprobe: usize,
        queries: Vectors<'_>,
        requests: &[Request<'_>],
        exact: &[D],
        stats: &mut SearchStats,
    ) -> Option<Vec<Option<Vec<Neighbor>>>> {
        if codes.refines() || codes.row_bytes() < LEAST_BYTES {
            return None;
        }
        let prepare =
            |request: &Request<'_>| codes.prepare(request.query, request.params.rbq_bits_query.unwrap_or(0));
        let keep = |request: &Request<'_>| {
            let limit = params.rescored(request.k, request.params);
            Reservoir::new(limit, self.lists.rows())
        };
        let prepared: Vec<Prepared> = requests.iter().map(prepare).collect();
        let kept = requests.iter().map(keep).collect();
        let looked = self.look(codes, nprobe, queries, requests, &prepared, kept);
        let finish = |((looked, &request), exact): ((Looked<Reservoir>, &Request<'_>), &D)| {
            if !self.suffices(&looked, nprobe, &request) {
                return self.search(request, exact, stats);
            }
            self.count(&looked, nprobe, &request, stats);
            self.best_of(looked.best, &request, exact, stats)
        };
        Some(looked.into_iter().zip(requests).zip(exact).map(finish).collect())
    }

    /// As single searches by bounds; `None` where a query is too large or too small for them, or codes too short.
    fn by_bounds_together<D: Distances>(
        &self,
        (codes, bounds): (&ListCodes, &[f32]),
        nprobe: usize,
        queries: Vectors<'_>,
        requests: &[Request<'_>],
        exact: &[D],
        stats: &mut SearchStats,
    ) -> Option<Vec<Option<Vec<Neighbor>>>> {
        if codes.row_bytes() < LEAST_BYTES {
            return None;
        }
        let prepared: Vec<Prepared> = requests
            .iter()
            .map(|request| codes.prepare(request.query, 0))
            .collect();
        let of_queries: Vec<QueryBounds> = requests
            .iter()
            .zip(&prepared)
            .map(|(request, prepared)| codes.query_bounds(request.query, prepared))
            .collect::<Option<_>>()?;
        let kept = requests
            .iter()
            .zip(&of_queries)
            .map(|(request, &of_query)| {
                let best = self.bounded_best(bounds, of_query, request);
                best.at_most(MOST_BOUNDED / requests.len().max(1))
            })
            .collect();
        let looked = self.look(codes, nprobe, queries, requests, &prepared, kept);
        let finish = |((looked, of_query), (&request, exact)): (
            (Looked<Bounded<'_>>, QueryBounds),
            (&Request<'_>, &D),
        )| {
            if looked.best.gave_up() || !self.suffices(&looked, nprobe, &request) {
                return self.search(request, exact, stats);
            }
            self.count(&looked, nprobe, &request, stats);
            Some(self.best_of_bounded(looked.best, of_query, &request, exact, stats))
        };
        let pairs = requests.iter().zip(exact);
        Some(
            looked
                .into_iter()
                .zip(of_queries)
                .zip(pairs)
                .map(finish)
                .collect(),
        )
    }

    /// Scans the `nprobe` nearest lists of every request, list by list.
    fn look<K: Keep>(
        &self,
        codes: &ListCodes,
        nprobe: usize,
        queries: Vectors<'_>,
        requests: &[Request<'_>],
        prepared: &[Prepared],
        kept: Vec<K>,
    ) -> Vec<Looked<K>> {
        debug_assert_eq!(queries.len(), requests.len());
        let nearest = self.lists.nearest_of_each(queries, nprobe);
        let first = nprobe.div_ceil(FIRST_OF);
        let rounds = [(0, first), (first, nprobe)];
        let mut counts = vec![(0, 0); requests.len()];
        let mut scans: Vec<CodedScan<'_, K>> = requests
            .iter()
            .zip(prepared)
            .zip(kept)
            .map(|((request, prepared), best)| {
                CodedScan::new((codes, self.lists), request.query, prepared, request.allow, best)
            })
            .collect();
        let mut room = Room::new();
        let (mut numbers, mut distances) = (Vec::new(), Vec::new());
        // Where codes are read again for each, an operand stays in the cache for all of them.
        let together = if codes.shares() { TOGETHER } else { 1 };
        for (from, to) in rounds {
            let (starts, looks) = by_list(&nearest, from, to, self.lists.count());
            for (list, ends) in (0..).zip(starts.windows(2)) {
                let &[start, end] = ends else { break };
                let Some(of_list @ [next, ..]) = looks.get(start..end) else {
                    continue;
                };
                if end < looks.len()
                    && let Some(scan) = scans.get(next.query as usize)
                {
                    // Most lists are looked at by some query.
                    scan.expect(list + 1);
                }
                let members = self.lists.list(list);
                numbers.clear();
                numbers.extend(of_list.iter().map(|look| look.query));
                distances.clear();
                distances.extend(of_list.iter().map(|look| look.distance));
                codes.base_distances(self.lists, list, queries, &numbers, &mut distances);
                let groups = numbers.chunks(together).zip(distances.chunks(together));
                for (numbers, distances) in groups {
                    let found = look_at(&mut scans, numbers, distances, list, members, &mut room);
                    for &number in numbers {
                        if let Some((rows, seen)) = counts.get_mut(number as usize) {
                            *rows += found;
                            *seen += members.len();
                        }
                    }
                }
            }
        }
        let pairs = scans.into_iter().zip(counts);
        pairs
            .map(|(scan, (found, seen))| Looked {
                best: scan.best,
                found,
                seen,
            })
            .collect()
    }

    /// Whether a walk would have ended after these lists, and not in vain, see [`super::members::Members::walk`].
    fn suffices<K>(&self, looked: &Looked<K>, nprobe: usize, request: &Request<'_>) -> bool {
        let rows = self.lists.rows().max(1);
        let share = request
            .allowed
            .map_or(0.0, |allowed| allowed as f64 / rows as f64);
        let all = nprobe >= self.lists.count();
        all || (looked.found >= request.k && looked.found as f64 >= looked.seen as f64 * share / 2.0)
    }

    /// Counts what a walk would have counted.
    fn count<K>(&self, looked: &Looked<K>, nprobe: usize, request: &Request<'_>, stats: &mut SearchStats) {
        stats.distances += (self.lists.count() + looked.found) as u64;
        stats.lists += nprobe.min(self.lists.count()) as u64;
        stats.strategy = Strategy::of_lists(request.allowed.is_some());
    }
}
