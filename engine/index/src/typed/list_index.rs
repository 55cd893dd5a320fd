//! Search in embedding lists: exact, and over an index of the elements.
//!
//! ```text
//!   for each vector of the query   the index of the elements finds the nearest k * retrieval_ann_ratio of them
//!   the rows that they belong to   are scored exactly, every vector of the query against every element
//! ```
//!
//! Fewer rows than wanted, because near elements share rows, make the search go on with twice as many elements. The blob of an
//! index holds the header of the elements' index under the metric of lists, and that index as its one array.

use rayon::prelude::*;

use super::scorer::{Scorer as AnyScorer, metric_of_elements, sum_of_lists};
use super::{ElementType, Elements, VectorLists, VectorRef};
use crate::any_index::AnyIndex;
use crate::any_metric::{AnyMetric, ElementMetric};
use crate::bitset::Bitset;
use crate::blob::{Header, Reader, Writer};
use crate::error::{BuildError, OpenError, PairError};
use crate::index::{IndexKind, SearchStats};
use crate::neighbor::{Neighbor, TopK};
use crate::params::{BuildParams, SearchParams};
use crate::progress::BuildOptions;
use crate::scorer::{Scorer, Space};
use crate::strategy::Strategy;
use crate::window::Window;

/// Numbers read above which a search uses the thread pool.
const PARALLEL_NUMBERS: usize = 1 << 22;
/// Elements for each row wanted, and the least of them, when nobody says how many. A row whose sum is among the best need not
/// have an element that is among the nearest of any vector: few elements find few of the best rows.
const DEFAULT_ANN_RATIO: f32 = 32.0;
const LEAST_ELEMENTS: usize = 320;
/// Lists of elements that are looked at when nobody says how many: more than for vectors, as more are wanted.
const DEFAULT_NPROBE: u32 = 32;

/// A query against lists.
struct ListScorer<'a> {
    lists: VectorLists<'a>,
    vectors: Vec<ElementScorer<'a>>,
}

/// One vector of the query.
enum ElementScorer<'a> {
    Floats(Scorer<'a>),
    Other(AnyScorer<'a>),
}

impl<'a> ListScorer<'a> {
    fn new(metric: ElementMetric, lists: VectorLists<'a>, query: Elements<'a>) -> Result<Self, PairError> {
        let wanted = VectorRef::List(lists.elements());
        let given = VectorRef::List(query);
        if wanted.kind() != given.kind() {
            return Err(PairError::Types {
                left: given.kind(),
                right: wanted.kind(),
            });
        }
        if wanted.dim() != given.dim() {
            return Err(PairError::Dimensions {
                left: given.dim(),
                right: wanted.dim(),
            });
        }
        let scorer = |vector: VectorRef<'a>| match (metric, lists.elements(), vector) {
            (ElementMetric::Numbers(metric), Elements::Floats(rows), VectorRef::Floats(vector)) => Ok(
                ElementScorer::Floats(Space::new(metric, rows, None).scorer(vector)),
            ),
            _ => AnyScorer::new(metric.of_vectors(), vector).map(ElementScorer::Other),
        };
        let vectors = (0..query.len()).map(|index| scorer(query.element(index)));
        let vectors = vectors.collect::<Result<_, PairError>>()?;
        Ok(Self { lists, vectors })
    }

    /// The distance to row `row`; none to an empty one. `distances` is room to work in.
    fn distance(&self, row: usize, distances: &mut Vec<f32>) -> Option<f32> {
        let range = self.lists.range(row);
        if range.is_empty() {
            return None;
        }
        let elements = self.lists.elements();
        distances.resize(range.len(), 0.0);
        let nearest = self.vectors.iter().map(|vector| {
            match vector {
                ElementScorer::Floats(scorer) => scorer.block(range.start, distances),
                ElementScorer::Other(scorer) => {
                    for (slot, element) in distances.iter_mut().zip(range.clone()) {
                        *slot = scorer.one(elements.element(element));
                    }
                }
            }
            distances.iter().copied().fold(f32::INFINITY, f32::min)
        });
        Some(sum_of_lists(nearest))
    }

    /// Distances that a row takes.
    fn per_row(&self) -> usize {
        self.vectors.len() * self.lists.mean_len()
    }
}

/// [`crate::exact_search_any`] in lists; empty lists are not found.
pub(super) fn exact_lists(
    metric: AnyMetric,
    lists: VectorLists<'_>,
    query: Elements<'_>,
    k: usize,
    within: Window,
    allow: Option<&Bitset>,
    stats: &mut SearchStats,
) -> Result<Vec<Neighbor>, PairError> {
    let scorer = ListScorer::new(metric_of_elements(metric, VectorRef::List(query))?, lists, query)?;
    let rows = lists.len();
    let scored = allow.map_or(rows, |allow| allow.count_range(0, rows));
    stats.strategy = if allow.is_some() {
        Strategy::ExactFiltered
    } else {
        Strategy::Exact
    };
    stats.distances += (scored * scorer.per_row()) as u64;
    if k == 0 || query.is_empty() {
        return Ok(Vec::new());
    }
    let scan = |from: usize, to: usize| {
        let mut top = TopK::within(within, k, scored.min(to - from));
        let mut room = Vec::new();
        let mut offer = |row: usize| {
            if let Some(distance) = scorer.distance(row, &mut room) {
                top.push(distance, row as u32);
            }
        };
        match allow {
            None => (from..to).for_each(&mut offer),
            Some(allow) => allow.iter_range(from, to).for_each(&mut offer),
        }
        top
    };
    let cost = scorer.per_row() * lists.elements().vectors().row_cost();
    let top = if scored.saturating_mul(cost) < PARALLEL_NUMBERS {
        scan(0, rows)
    } else {
        let part = (PARALLEL_NUMBERS / 8 / cost.max(1)).max(1);
        let parts = (0..rows.div_ceil(part)).into_par_iter();
        parts
            .map(|index| scan(index * part, ((index + 1) * part).min(rows)))
            .reduce(
                || TopK::within(within, k, 0),
                |mut left, right| {
                    left.merge(right);
                    left
                },
            )
    };
    Ok(top.into_sorted())
}

/// An index over the elements of lists.
#[derive(Debug)]
pub struct ListIndex {
    metric: ElementMetric,
    element: ElementType,
    dim: usize,
    /// Lists of the segment.
    rows: usize,
    params: BuildParams,
    elements: AnyIndex,
}

impl ListIndex {
    /// Builds an index over the elements of all rows.
    ///
    /// # Errors
    /// As [`AnyIndex::build`] of the elements; more elements than an index can hold are too many rows.
    pub(crate) fn build(
        params: &BuildParams,
        metric: ElementMetric,
        lists: VectorLists<'_>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        let (vectors, dim) = (lists.elements(), lists.elements().dim());
        let elements = AnyIndex::build(params, metric.of_vectors(), vectors.vectors(), None, options)?;
        Ok(Self {
            metric,
            element: element_type(vectors),
            dim,
            rows: lists.len(),
            params: *params,
            elements,
        })
    }

    pub(crate) fn open(reader: &Reader, metric: ElementMetric) -> Result<Self, OpenError> {
        let header = *reader.header();
        let inner: Reader = Reader::new(reader.bytes_of(0, "index of the elements")?)?;
        let Header { element, dim, .. } = *inner.header();
        if (element, dim) != (header.element, header.dim) {
            return Err(OpenError::corrupt(format!(
                "an index of {element:?} vectors of dimension {dim} over elements that are {:?} vectors of dimension {}",
                header.element, header.dim
            )));
        }
        let elements = AnyIndex::open_vectors(&inner)?;
        if elements.metric() != metric.of_vectors() || elements.kind() != header.params.kind() {
            return Err(OpenError::corrupt(format!(
                "an index {} with metric {} over the elements of lists with metric {}",
                elements.kind(),
                elements.metric(),
                header.metric
            )));
        }
        Ok(Self {
            metric,
            element: header.element,
            dim: header.dim,
            rows: header.rows,
            params: header.params,
            elements,
        })
    }

    pub(crate) fn serialize(&self) -> Vec<u8> {
        let mut writer = Writer::new(&Header {
            params: self.params,
            element: self.element,
            metric: self.metric(),
            dim: self.dim,
            rows: self.rows,
        });
        writer.put(self.elements.serialize());
        writer.finish()
    }

    /// The family.
    pub fn kind(&self) -> IndexKind {
        self.params.kind()
    }

    /// The metric it was built for.
    pub fn metric(&self) -> AnyMetric {
        AnyMetric::MaxSim(self.metric)
    }

    /// Rows of the segment.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes the index keeps in memory or mapped; the vectors are not its own.
    pub fn memory_bytes(&self) -> usize {
        self.elements.memory_bytes()
    }

    /// The rows nearest to `query`, see [`AnyIndex::search`].
    pub(crate) fn search(
        &self,
        lists: VectorLists<'_>,
        query: Elements<'_>,
        k: usize,
        params: &SearchParams,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Result<Vec<Neighbor>, PairError> {
        let all = lists.elements().len();
        let fits = lists.len() == self.rows && self.elements.rows() == all && query.dim() == self.dim;
        let exact = |stats: &mut SearchStats| {
            exact_lists(self.metric(), lists, query, k, params.within, allow, stats)
        };
        let mut wanted = match params.retrieval_ann_ratio {
            Some(ratio) => ((k as f32 * ratio) as usize).max(k),
            None => ((k as f32 * DEFAULT_ANN_RATIO) as usize).max(LEAST_ELEMENTS),
        };
        if self.kind() == IndexKind::Flat || k == 0 || !fits || !params.within.is_open() {
            return exact(stats);
        }
        let filter = allow.and_then(|allow| lists.elements_of(Some(allow)));
        let allowed = filter.as_ref().map_or(all, |filter| filter.count());
        let scorer = ListScorer::new(self.metric, lists, query)?;
        let mut room = Vec::new();
        loop {
            // Scoring all that may be found is not dearer than looking for most of them.
            if wanted.saturating_mul(4) >= allowed {
                return exact(stats);
            }
            let rows = self.rows_near(lists, query, wanted, params, filter.as_ref(), stats)?;
            if rows.len() >= k {
                stats.distances += (rows.len() * scorer.per_row()) as u64;
                let mut top = TopK::within(Window::default(), k, rows.len());
                for row in rows {
                    if let Some(distance) = scorer.distance(row as usize, &mut room) {
                        top.push(distance, row);
                    }
                }
                return Ok(top.into_sorted());
            }
            wanted *= 2;
        }
    }

    /// The rows of the `wanted` elements that are nearest to each vector of the query.
    fn rows_near(
        &self,
        lists: VectorLists<'_>,
        query: Elements<'_>,
        wanted: usize,
        params: &SearchParams,
        filter: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Result<Vec<u32>, PairError> {
        let reorder_k = params.reorder_k.map(|reorder_k| reorder_k.max(wanted as u32));
        let params = SearchParams {
            reorder_k,
            nprobe: params.nprobe.or(Some(DEFAULT_NPROBE)),
            ..*params
        };
        let vectors = lists.elements().vectors();
        let mut rows = Vec::new();
        for index in 0..query.len() {
            let vector = query.element(index);
            let found = self
                .elements
                .search(vectors, vector, wanted, &params, filter, stats)?;
            for element in found.iter().map(|near| near.row as usize) {
                let row = lists.row_of(element);
                // Elements outside of all lists belong to no row.
                if lists.range(row).contains(&element) {
                    rows.push(row as u32);
                }
            }
        }
        rows.sort_unstable();
        rows.dedup();
        Ok(rows)
    }
}

fn element_type(elements: Elements<'_>) -> ElementType {
    match elements {
        Elements::Floats(_) => ElementType::Float,
        Elements::Halves(_) => ElementType::Half,
        Elements::BFloat16s(_) => ElementType::BFloat16,
        Elements::Int8s(_) => ElementType::Int8,
        Elements::Bits(_) => ElementType::Bit,
    }
}
