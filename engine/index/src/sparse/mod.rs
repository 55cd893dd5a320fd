//! SPARSE_INVERTED_INDEX: for every index of a sparse vector (a *term*) the rows that have it.
//!
//! ```text
//!   query  3: 0.5, 17: 2
//!            |      |
//!   postings of 3   postings of 17          rows that may be among the k best are found with the postings alone,
//!            \      /                       then scored from the stored vectors: a score never depends on the index
//!          rows that may be among the best ──> stored vectors ──> k best
//! ```
//!
//! A search is exact, unless its parameters ask for less: `drop_ratio_search` looks for candidates with the heaviest
//! terms of the query only, and a `dim_max_score_ratio` below 1 gives up rows early.
//!
//! | file | part |
//! |---|---|
//! | `params` | algorithms and parameters under their client names |
//! | `postings` | the lists and their blocks, built, written, opened |
//! | `cursor` | reading a list, and bounds of what is unread |
//! | `windows` | term at a time in windows of rows, with or without pruning (MaxScore) |
//! | `wand` | row at a time, jumping (WAND) |

mod cursor;
pub(crate) mod params;
mod postings;
mod wand;
mod windows;

use crate::any_metric::AnyMetric;
use crate::bitset::Bitset;
use crate::blob::{Header, Reader, Writer};
use crate::error::{BuildError, OpenError, PairError};
use crate::index::SearchStats;
use crate::indexed_rows::Validity;
use crate::metric::Metric;
use crate::neighbor::{Neighbor, TopK};
use crate::params::{BuildParams, SearchParams};
use crate::progress::BuildOptions;
use crate::strategy::{PostingsQuery, Strategy, scan_instead_of_postings};
use crate::typed::{
    Bm25Query, ElementType, Scorer, SparseVector, SparseVectors, VectorRef, VectorsRef, exact_search_any,
};
use cursor::{Cursor, Impact, Product, Saturated};
use params::{SparseAlgorithm, SparseParams};
use postings::Postings;

/// An inverted index over the sparse vectors of one segment.
#[derive(Debug)]
pub struct SparseIndex {
    params: SparseParams,
    metric: AnyMetric,
    rows: usize,
    valid: Validity,
    postings: Postings,
    /// Sum of the lengths of all rows.
    total_length: f64,
}

/// The weights of the terms of a query, whatever the metric.
fn weights_of<'a>(query: &VectorRef<'a>) -> Option<SparseVector<'a>> {
    match query {
        VectorRef::Sparse(vector) => Some(*vector),
        VectorRef::Terms(query) => Some(query.weights),
        VectorRef::Floats(_)
        | VectorRef::Halves(_)
        | VectorRef::BFloat16s(_)
        | VectorRef::Int8s(_)
        | VectorRef::Bits(_)
        | VectorRef::List(_) => None,
    }
}

/// Sum of the lengths of all rows; 0 unless for BM25.
fn total(postings: &Postings) -> f64 {
    postings.lengths().iter().map(|length| f64::from(*length)).sum()
}

impl SparseIndex {
    pub(crate) fn build(
        params: SparseParams,
        metric: AnyMetric,
        vectors: SparseVectors<'_>,
        valid: Option<&Bitset>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        let with_lengths = match metric {
            AnyMetric::Numbers(Metric::Ip) => false,
            AnyMetric::Bm25 => true,
            AnyMetric::Numbers(Metric::L2 | Metric::Cosine) | AnyMetric::Bits(_) | AnyMetric::MaxSim(_) => {
                return Err(BuildError::Metric {
                    kind: "an inverted index",
                    metric: metric.to_string(),
                    allowed: "IP, BM25",
                });
            }
        };
        let valid = Validity::new(vectors.len(), valid);
        let numbers = valid.numbers(vectors.len());
        let block = params.block as usize;
        let postings = Postings::build(vectors, &numbers, block, with_lengths, options.progress)?;
        Ok(Self {
            params,
            metric,
            rows: vectors.len(),
            valid,
            total_length: total(&postings),
            postings,
        })
    }

    pub(crate) fn open(reader: &Reader, params: SparseParams) -> Result<Self, OpenError> {
        let Header { metric, rows, .. } = *reader.header();
        let with_lengths = metric == AnyMetric::Bm25;
        if !with_lengths && metric != Metric::Ip {
            return Err(OpenError::corrupt(format!(
                "an inverted index of metric {metric}"
            )));
        }
        let postings = Postings::open(reader, 1, rows, params.block as usize, with_lengths)?;
        Ok(Self {
            params,
            metric,
            rows,
            valid: Validity::open(reader, rows)?,
            total_length: total(&postings),
            postings,
        })
    }

    /// The index as bytes, the same for equal indexes.
    pub(crate) fn serialize(&self) -> Vec<u8> {
        let mut writer = Writer::new(&Header {
            params: BuildParams::Sparse(self.params),
            element: ElementType::Float,
            metric: self.metric,
            dim: 0,
            rows: self.rows,
        });
        writer.put(self.valid.set().map_or(&[][..], Bitset::words));
        self.postings.put(&mut writer);
        writer.finish()
    }

    /// IP or BM25.
    pub fn metric(&self) -> AnyMetric {
        self.metric
    }

    /// What it was built with.
    pub fn params(&self) -> SparseParams {
        self.params
    }

    /// Rows of the segment, those without a vector included.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Rows that have a vector.
    pub fn count(&self) -> usize {
        self.valid.count()
    }

    /// Rows that have this term.
    pub fn rows_with(&self, term: u32) -> usize {
        self.postings.list(term).map_or(0, |list| list.rows.len())
    }

    /// Sum of the lengths of all rows; 0 unless for BM25.
    pub fn total_length(&self) -> f64 {
        self.total_length
    }

    /// Bytes the index keeps in memory or mapped.
    pub fn memory_bytes(&self) -> usize {
        self.valid.memory_bytes() + self.postings.memory_bytes()
    }

    /// The `min(k, allowed rows)` rows nearest to `query`, best first, with exact distances. `vectors` are the rows the
    /// index was built from.
    ///
    /// # Errors
    /// [`PairError`] when the query is not of the index's metric.
    pub fn search(
        &self,
        vectors: SparseVectors<'_>,
        query: VectorRef<'_>,
        k: usize,
        params: &SearchParams,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Result<Vec<Neighbor>, PairError> {
        let stored = VectorsRef::Sparse(vectors);
        let scorer = Scorer::new(self.metric, query)?;
        let Some(weights) = weights_of(&query) else {
            return Err(PairError::Types {
                left: query.kind(),
                right: "sparse",
            });
        };
        let both;
        let allow = match (allow, self.valid.set()) {
            (Some(allow), Some(valid)) => {
                let mut set = valid.clone();
                set.and(allow);
                both = set;
                Some(&both)
            }
            (Some(allow), None) => Some(allow),
            (None, valid) => valid,
        };
        let postings = weights.indices().iter().map(|term| self.rows_with(*term)).sum();
        let scan = scan_instead_of_postings(PostingsQuery {
            allowed: allow.map_or(self.rows, |allow| allow.count_range(0, self.rows)),
            row: vectors.mean_len(),
            postings,
        });
        let fits = vectors.len() == self.rows && weights.values().iter().all(|weight| weight.is_finite());
        // Postings do not tell how far a row is before it is scored, which a window asks for.
        if scan || !fits || k == 0 || !params.within.is_open() {
            return exact_search_any(self.metric, stored, query, k, params.within, allow, stats);
        }
        stats.strategy = if allow.is_some() {
            Strategy::PostingsFiltered
        } else {
            Strategy::Postings
        };
        let run = |kept: VectorRef<'_>, k: usize, stats: &mut SearchStats| {
            let scorer = Scorer::new(self.metric, kept)?;
            Ok(self.traverse(&scorer, stored, kept, k, params, allow, stats))
        };
        let Some((terms, values)) = params.sparse.heaviest(weights) else {
            return run(query, k, stats);
        };
        let kept = SparseVector::new(&terms, &values).unwrap_or(SparseVector::empty());
        let kept = match query {
            VectorRef::Terms(query) => VectorRef::Terms(Bm25Query {
                weights: kept,
                ..query
            }),
            VectorRef::Sparse(_)
            | VectorRef::Floats(_)
            | VectorRef::Halves(_)
            | VectorRef::BFloat16s(_)
            | VectorRef::Int8s(_)
            | VectorRef::Bits(_)
            | VectorRef::List(_) => VectorRef::Sparse(kept),
        };
        let candidates = run(
            kept,
            k.saturating_mul(params.sparse.refine_factor as usize),
            stats,
        )?;
        stats.distances += candidates.len() as u64;
        let mut top = TopK::new(k, candidates.len());
        for candidate in candidates {
            top.push(scorer.one(stored.row(candidate.row as usize)), candidate.row);
        }
        Ok(top.into_sorted())
    }

    /// The best rows by the postings of the query's terms.
    #[expect(clippy::too_many_arguments, reason = "all that a search is about")]
    fn traverse(
        &self,
        scorer: &Scorer<'_>,
        stored: VectorsRef<'_>,
        query: VectorRef<'_>,
        k: usize,
        params: &SearchParams,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Vec<Neighbor> {
        match query {
            VectorRef::Terms(terms) => {
                let impact = Saturated {
                    bm25: terms.bm25,
                    lengths: self.postings.lengths(),
                };
                self.traverse_with(impact, scorer, stored, terms.weights, k, params, allow, stats)
            }
            VectorRef::Sparse(weights) => {
                self.traverse_with(Product, scorer, stored, weights, k, params, allow, stats)
            }
            VectorRef::Floats(_)
            | VectorRef::Halves(_)
            | VectorRef::BFloat16s(_)
            | VectorRef::Int8s(_)
            | VectorRef::Bits(_)
            | VectorRef::List(_) => Vec::new(),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all that a search is about")]
    fn traverse_with<I: Impact>(
        &self,
        impact: I,
        scorer: &Scorer<'_>,
        stored: VectorsRef<'_>,
        weights: SparseVector<'_>,
        k: usize,
        params: &SearchParams,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Vec<Neighbor> {
        let terms = weights.indices().iter().zip(weights.values());
        let mut cursors: Vec<Cursor<'_>> = terms
            .filter(|(_, weight)| **weight != 0.0)
            .filter_map(|(term, weight)| {
                let list = self.postings.list(*term)?;
                Some(Cursor::new(*weight, list, params.sparse.max_score_ratio, impact))
            })
            .collect();
        stats.lists += cursors.len() as u64;
        let total: f32 = cursors.iter().map(|cursor| cursor.bound).sum();
        let mut run = Run {
            top: TopK::new(k, self.rows),
            k,
            slack: 4.0 * (cursors.len() + 4) as f32 * f32::EPSILON * total,
            scorer,
            stored,
            allow,
            scored: 0,
        };
        match self.params.algorithm {
            SparseAlgorithm::TaatNaive | SparseAlgorithm::Sindi => {
                windows::search(&mut run, &mut cursors, impact, false);
            }
            SparseAlgorithm::DaatMaxScore | SparseAlgorithm::BlockMaxMaxScore => {
                windows::search(&mut run, &mut cursors, impact, true);
            }
            SparseAlgorithm::DaatWand | SparseAlgorithm::BlockMaxWand => {
                wand::search(&mut run, &mut cursors, impact);
            }
        }
        stats.distances += run.scored;
        let mut top = run.top;
        if top.len() < k || top.bound() >= 0.0 {
            self.fill(&mut top, weights, k, allow);
        }
        top.into_sorted()
    }

    /// Offers rows without any term of the query: their distance is 0, and they come by row number.
    fn fill(&self, top: &mut TopK, weights: SparseVector<'_>, k: usize, allow: Option<&Bitset>) {
        let mut touched = Bitset::new(self.rows);
        for (term, weight) in weights.indices().iter().zip(weights.values()) {
            if let Some(list) = self.postings.list(*term).filter(|_| *weight != 0.0) {
                list.rows.iter().for_each(|row| touched.set(*row as usize));
            }
        }
        let allows = |row: &usize| allow.is_none_or(|allow| allow.get(*row));
        let others = (0..self.rows).filter(|row| !touched.get(*row) && allows(row));
        for row in others.take(k) {
            top.push(0.0, row as u32);
        }
    }
}

/// A search in progress: what was found, and what may still be.
struct Run<'a> {
    top: TopK,
    k: usize,
    /// More than sums of 32-bit floats are off by.
    slack: f32,
    scorer: &'a Scorer<'a>,
    stored: VectorsRef<'a>,
    allow: Option<&'a Bitset>,
    scored: u64,
}

impl Run<'_> {
    /// Whether the result has as many rows as are wanted: from here on rows can be left out.
    #[inline]
    fn is_full(&self) -> bool {
        self.top.len() == self.k
    }

    /// Whether a row whose score is no more than this can be among the best. Rows come in ascending order, so that one
    /// with the worst score of the result comes after it.
    #[inline]
    fn may_enter(&self, score: f32) -> bool {
        // The bound is infinite until the result is full. A score that is no number rules nothing out.
        let beaten = score + self.slack <= -self.top.bound();
        !beaten
    }

    #[inline]
    fn allows(&self, row: u32) -> bool {
        self.allow.is_none_or(|allow| allow.get(row as usize))
    }

    /// Scores a row from its stored vector.
    #[inline]
    fn offer(&mut self, row: u32) {
        self.scored += 1;
        self.top.push(self.scorer.one(self.stored.row(row as usize)), row);
    }
}
