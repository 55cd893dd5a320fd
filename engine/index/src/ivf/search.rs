//! The search of lists, of whatever the stored rows are: lists know row numbers, [`Distances`] scores them.

use super::bounds::{Bounded, QueryBounds};
use super::coded::{CodedScan, ListCodes};
use super::lists::Lists;
use super::members::{ListScan, Walk};
use super::params::CodedParams;
use super::reservoir::Reservoir;
use crate::bitset::Bitset;
use crate::hnsw::Distances;
use crate::index::SearchStats;
use crate::metric::Metric;
use crate::neighbor::{Neighbor, TopK};
use crate::params::SearchParams;
use crate::strategy::{ListsPlan, ListsQuery, Strategy, plan_lists};

/// Rows scored between two looks at the heap.
const CHUNK: usize = 256;
/// The same where most rows are not worth it.
const SMALL_CHUNK: usize = 16;
/// What a row of a list costs to score, in distances of a scan: lists know row numbers, and rows lie apart.
const ROW_COST: f64 = 2.0;
/// Rows per result that bounds leave over, about.
const LEFT_OVER: usize = 4;
/// Where fewer than one row in so many may be returned, codes of all are not worth scanning.
const FEW: usize = 8;
/// Rows of fewer dimensions are scored exactly: that is nearly as quick as scanning a code, which would say little.
pub(super) const MIN_DIM: usize = 8;

/// What is searched for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) query: &'a [f32],
    pub(super) k: usize,
    pub(super) params: &'a SearchParams,
    /// Rows that may be returned, those without a vector left out.
    pub(super) allow: Option<&'a Bitset>,
    /// How many they are; `None` without a filter.
    pub(super) allowed: Option<usize>,
}

/// What is searched.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListSearch<'a> {
    pub(super) lists: &'a Lists,
    /// Codes that choose the rows to score.
    pub(super) coded: Option<(&'a CodedParams, &'a ListCodes)>,
    /// Codes that rule rows out, and bounds of their errors.
    pub(super) bounded: Option<(&'a ListCodes, &'a [f32])>,
}

/// Scores every allowed row of a list.
pub(super) struct FlatScan<'a, D> {
    pub(super) scorer: &'a D,
    pub(super) allow: Option<&'a Bitset>,
    pub(super) top: TopK,
}

impl<D: Distances> ListScan for FlatScan<'_, D> {
    fn scan(&mut self, _index: u32, _distance: f32, members: &[u32]) -> usize {
        let mut distances = [0.0f32; CHUNK];
        let mut picked = Vec::with_capacity(if self.allow.is_some() { CHUNK } else { 0 });
        let mut found = 0;
        for chunk in members.chunks(CHUNK) {
            let rows = match self.allow {
                None => chunk,
                Some(allow) => {
                    picked.clear();
                    picked.extend(chunk.iter().copied().filter(|&row| allow.get(row as usize)));
                    &picked
                }
            };
            self.scorer.gather(rows, &mut distances[..rows.len()]);
            for (&row, &distance) in rows.iter().zip(&distances) {
                self.top.push(distance, row);
            }
            found += rows.len();
        }
        found
    }

    fn held(&self) -> usize {
        self.top.len()
    }

    fn passed(&self) -> usize {
        self.top.passed()
    }
}

impl ListSearch<'_> {
    /// What to do for a request.
    pub(super) fn plan(&self, request: &Request<'_>) -> ListsPlan {
        let codes = self
            .coded
            .map(|(_, codes)| codes)
            .filter(|_| self.by_codes(request));
        let bounds = self
            .bounded
            .map(|(codes, _)| codes)
            .filter(|_| self.by_codes(request) && !self.few(request));
        let Request {
            k, params, allowed, ..
        } = *request;
        let (row_cost, allowed_cost, rescored) = match (codes, bounds, self.coded) {
            (Some(codes), _, Some((coded, _))) => (codes.row_cost(), 0.0, coded.rescored(k, params)),
            (_, Some(codes), _) => (codes.row_cost(), 0.0, k.saturating_mul(LEFT_OVER)),
            _ => (0.0, ROW_COST, 0),
        };
        plan_lists(ListsQuery {
            rows: self.lists.rows(),
            allowed,
            k,
            nprobe: params.nprobe_for(self.lists.count(), allowed.is_some()),
            lists: self.lists.count(),
            row_cost,
            allowed_cost,
            rescored,
        })
    }

    /// The ends of a window are exact distances, which an estimate can be on the wrong side of.
    pub(super) fn by_codes(&self, request: &Request<'_>) -> bool {
        request.params.within.is_open() && request.query.len() >= MIN_DIM
    }

    /// Whether a filter leaves so few rows of a list that scoring them costs less than scanning the codes of all.
    pub(super) fn few(&self, request: &Request<'_>) -> bool {
        let most = self.lists.rows() / FEW;
        request.allowed.is_some_and(|allowed| allowed < most)
    }

    /// The best rows of the nearest lists, with the distances that `exact` gives; `None` when a scan of all allowed rows is
    /// cheaper, or the only way.
    pub(super) fn search(
        &self,
        request: Request<'_>,
        exact: &impl Distances,
        stats: &mut SearchStats,
    ) -> Option<Vec<Neighbor>> {
        let Request {
            k, params, allowed, ..
        } = request;
        let ListsPlan::Probe { nprobe } = self.plan(&request) else {
            return None;
        };
        let walk = Walk::new(k, nprobe, params, allowed);
        let found = match (self.coded, self.bounded) {
            (Some(coded), _) if self.by_codes(&request) => {
                self.by_estimates(coded, &request, walk, exact, stats)?
            }
            (_, Some(bounded)) if self.by_codes(&request) && !self.few(&request) => {
                self.by_bounds(bounded, &request, walk, exact, stats)?
            }
            _ => self.exactly(&request, walk, exact, stats)?,
        };
        stats.strategy = Strategy::of_lists(allowed.is_some());
        Some(found)
    }

    /// By exact distances.
    fn exactly(
        &self,
        request: &Request<'_>,
        walk: Walk,
        exact: &impl Distances,
        stats: &mut SearchStats,
    ) -> Option<Vec<Neighbor>> {
        let mut scan = FlatScan {
            scorer: exact,
            allow: request.allow,
            top: TopK::within(walk.within, walk.k, self.lists.rows()),
        };
        self.lists.walk(request.query, walk, &mut scan, stats)?;
        Some(scan.top.into_sorted())
    }

    /// Estimates first, then exact distances of the best of them.
    fn by_estimates(
        &self,
        (params, codes): (&CodedParams, &ListCodes),
        request: &Request<'_>,
        walk: Walk,
        exact: &impl Distances,
        stats: &mut SearchStats,
    ) -> Option<Vec<Neighbor>> {
        let prepared = codes.prepare(request.query, request.params.rbq_bits_query.unwrap_or(0));
        let limit = params.rescored(walk.k, request.params);
        let best = Reservoir::new(limit, self.lists.rows());
        let mut scan = CodedScan::new((codes, self.lists), request.query, &prepared, request.allow, best);
        self.lists.walk(request.query, walk, &mut scan, stats)?;
        self.best_of(scan.best, request, exact, stats)
    }

    /// The best of what was kept by estimates, with exact distances; `None` where that is not all there could be: values
    /// beyond what an estimate can hold are estimated by no number, and were not kept.
    pub(super) fn best_of(
        &self,
        kept: Reservoir,
        request: &Request<'_>,
        exact: &impl Distances,
        stats: &mut SearchStats,
    ) -> Option<Vec<Neighbor>> {
        let rows = kept.into_rows();
        stats.distances += rows.len() as u64;
        let mut top = TopK::new(request.k, rows.len());
        let mut distances = [0.0f32; CHUNK];
        for rows in rows.chunks(CHUNK) {
            exact.gather(rows, &mut distances[..rows.len()]);
            for (&row, &distance) in rows.iter().zip(&distances) {
                top.push(distance, row);
            }
        }
        let all = request
            .k
            .min(request.allowed.unwrap_or_else(|| self.lists.rows()));
        (top.len() >= all).then(|| top.into_sorted())
    }

    /// As [`ListSearch::exactly`], without the rows whose codes say that they are too far.
    fn by_bounds(
        &self,
        (codes, bounds): (&ListCodes, &[f32]),
        request: &Request<'_>,
        walk: Walk,
        exact: &impl Distances,
        stats: &mut SearchStats,
    ) -> Option<Vec<Neighbor>> {
        let query = request.query;
        let prepared = codes.prepare(query, 0);
        let Some(of_query) = codes.query_bounds(query, &prepared) else {
            return self.exactly(request, walk, exact, stats);
        };
        let best = self.bounded_best(bounds, of_query, request);
        let mut scan = CodedScan::new((codes, self.lists), query, &prepared, request.allow, best);
        self.lists.walk(query, walk, &mut scan, stats)?;
        Some(self.best_of_bounded(scan.best, of_query, request, exact, stats))
    }

    /// What keeps rows by bounds.
    pub(super) fn bounded_best<'b>(
        &self,
        bounds: &'b [f32],
        of_query: QueryBounds,
        request: &Request<'_>,
    ) -> Bounded<'b> {
        let (metric, dim, rows) = (self.lists.metric(), request.query.len(), self.lists.rows());
        Bounded::new(metric, bounds, of_query, dim, request.k, rows)
    }

    /// The best of what bounds left over.
    pub(super) fn best_of_bounded(
        &self,
        kept: Bounded<'_>,
        of_query: QueryBounds,
        request: &Request<'_>,
        exact: &impl Distances,
        stats: &mut SearchStats,
    ) -> Vec<Neighbor> {
        let times = if self.lists.metric() == Metric::Cosine {
            of_query.length
        } else {
            1.0
        };
        let rows = kept.into_rows();
        let mut top = TopK::new(request.k, rows.len());
        let mut distances = [0.0f32; SMALL_CHUNK];
        let mut picked = [0u32; SMALL_CHUNK];
        for chunk in rows.chunks(SMALL_CHUNK) {
            let (Some(&(lower, _)), Some(picked)) = (chunk.first(), picked.get_mut(..chunk.len())) else {
                break;
            };
            if top.len() == request.k && lower > top.bound() * times {
                break;
            }
            for (slot, &(_, row)) in picked.iter_mut().zip(chunk) {
                *slot = row;
            }
            stats.distances += chunk.len() as u64;
            exact.gather(picked, &mut distances[..picked.len()]);
            for (&row, &distance) in picked.iter().zip(&distances) {
                top.push(distance, row);
            }
        }
        top.into_sorted()
    }
}
