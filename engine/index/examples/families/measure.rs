//! What an index finds, next to exact search.

use std::fmt;

use elanus_index::{
    AnyIndex, AnyMetric, Bitset, BuildError, BuildOptions, BuildParams, Neighbor, PairError, SearchParams,
    SearchStats, Strategy, VectorRef, VectorsRef, Window, exact_search_any, exact_search_any_batch,
};

use crate::data::{allow_percent, recall};
use crate::family::Family;
use crate::{IN_RANGE, K};

/// A metric on base and queries, and what exact search finds.
pub struct Exact<'a> {
    metric: AnyMetric,
    base: VectorsRef<'a>,
    queries: &'a [VectorRef<'a>],
    /// Half of the rows.
    half: Bitset,
    /// Of each query.
    found: Vec<Found>,
}

/// What exact search finds.
struct Found {
    all: Vec<Neighbor>,
    half: Vec<Neighbor>,
    /// Within `window`.
    inside: Vec<Neighbor>,
    window: Window,
}

/// Recall, and how many of the searches were scans of all allowed rows.
pub struct Recall {
    mean: f64,
    scans: usize,
    searches: usize,
}

impl<'a> Exact<'a> {
    pub fn new(metric: AnyMetric, base: VectorsRef<'a>, queries: &'a [VectorRef<'a>]) -> Self {
        let half = allow_percent(base.len(), 50.0, 3);
        let search = |query: &VectorRef<'a>, k: usize, allow: Option<&Bitset>| {
            let (open, mut stats) = (Window::default(), SearchStats::default());
            exact_search_any(metric, base, *query, k, open, allow, &mut stats).unwrap()
        };
        let found = |query: &VectorRef<'a>| {
            let mut inside = search(query, IN_RANGE + 1, None);
            let window = Window::new(None, inside.last().map(|hit| hit.distance));
            // The end of a range is not in it, and rows may be equally far.
            inside.retain(|hit| window.contains(hit.distance));
            Found {
                all: search(query, K, None),
                half: search(query, K, Some(&half)),
                inside,
                window,
            }
        };
        let found = queries.iter().map(found).collect();
        Self {
            metric,
            base,
            queries,
            half,
            found,
        }
    }

    /// Among all rows, among the half that a filter leaves, and within a range of distances.
    pub fn measure(&self, family: &Family) -> [Recall; 3] {
        let index = self.built(&family.params());
        let params = |k: usize, within: Window| {
            let index = index.as_ref()?;
            let params = SearchParams::parse(index.kind(), &family.search(), k).unwrap();
            Some(SearchParams { within, ..params })
        };
        let search = |query: usize, k: usize, within: Window, allow: Option<&Bitset>| {
            let (query, mut stats) = (self.queries[query], SearchStats::default());
            let found = match (&index, params(k, within)) {
                (Some(index), Some(params)) => index.search(self.base, query, k, &params, allow, &mut stats),
                _ => self.without_index(query, k, within, allow, &mut stats),
            };
            (found.unwrap(), stats.strategy)
        };
        let open = Window::default();
        let of_each = |one: &dyn Fn(usize) -> (f64, Strategy)| {
            let each: Vec<(f64, Strategy)> = (0..self.queries.len()).map(one).collect();
            Recall::of(&each)
        };
        [
            of_each(&|query| {
                let (found, strategy) = search(query, K, open, None);
                (recall(&found, &self.found[query].all), strategy)
            }),
            of_each(&|query| {
                let (found, strategy) = search(query, K, open, Some(&self.half));
                (recall(&found, &self.found[query].half), strategy)
            }),
            of_each(&|query| {
                let Found { inside, window, .. } = &self.found[query];
                let (found, strategy) = search(query, IN_RANGE, *window, None);
                (recall(&found, inside), strategy)
            }),
        ]
    }

    /// The index, if there is one: on vectors where FLAT is none, a search reads the rows without.
    fn built(&self, params: &BuildParams) -> Option<AnyIndex> {
        match AnyIndex::build(params, self.metric, self.base, None, &BuildOptions::default()) {
            Err(BuildError::Kind { .. }) if *params == BuildParams::Flat => None,
            built => Some(built.unwrap()),
        }
    }

    fn without_index(
        &self,
        query: VectorRef<'_>,
        k: usize,
        within: Window,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Result<Vec<Neighbor>, PairError> {
        if !within.is_open() {
            return exact_search_any(self.metric, self.base, query, k, within, allow, stats);
        }
        let found = exact_search_any_batch(self.metric, self.base, &[query], k, allow, stats)?;
        Ok(found.into_iter().flatten().collect())
    }
}

impl Recall {
    fn of(each: &[(f64, Strategy)]) -> Self {
        let is_scan =
            |(_, strategy): &&(f64, Strategy)| matches!(strategy, Strategy::Exact | Strategy::ExactFiltered);
        Self {
            mean: each.iter().map(|(recall, _)| recall).sum::<f64>() / each.len() as f64,
            scans: each.iter().filter(is_scan).count(),
            searches: each.len(),
        }
    }
}

/// In brackets where every search was a scan, and with their number where some were.
impl fmt::Display for Recall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.3}", self.mean);
        let text = match text.trim_end_matches('0').trim_end_matches('.') {
            "1" if self.mean < 1.0 - 1e-9 => format!("{:.4}", self.mean),
            text => text.to_owned(),
        };
        match self.scans {
            0 => write!(f, "{text}"),
            scans if scans == self.searches => write!(f, "({text})"),
            scans => write!(f, "{text} [{scans}]"),
        }
    }
}
