//! The IVF families: rows sorted into lists around k-means centroids; a search scans the lists nearest to the query.
//!
//! ```text
//!   centroids   c0   c1   c2   c3          query: score all centroids, scan the `nprobe` best lists,
//!               |    |    |    |                  then further ones until k allowed rows were found
//!   lists       2,5  0,7  1    3,4,6       lists hold row numbers; the vectors stay in the segment
//!   codes       ##   ##   #    ###         the families with codes scan these, and score the best rows again
//! ```
//!
//! L2 groups rows by Euclidean distance. IP and COSINE group them by direction: centroids have unit length and a row
//! belongs to the one with the largest inner product.
//!
//! | file | part |
//! |---|---|
//! | `assign` | nearest centroid of many rows |
//! | `kmeans` | seeded training on a sample |
//! | `lists` | the lists, and the walk over the nearest of them |
//! | `coarse` | the nearest of many centroids by codes |
//! | `reservoir` | the best by estimates |
//! | this one | IVF_FLAT: lists without codes |
//! | `coded` | IVF_SQ8, IVF_PQ, IVF_RABITQ, SCANN: lists with codes |
//! | [`params`] | the parameters of those |

mod assign;
mod coarse;
mod coded;
mod kmeans;
mod lists;
pub(crate) mod params;
mod reservoir;

use crate::bitset::Bitset;
use crate::blob::Reader;
use crate::error::{BuildError, OpenError};
use crate::index::{IndexKind, SearchStats, VectorIndex};
use crate::indexed_rows::IndexedRows;
use crate::metric::Metric;
use crate::neighbor::{Neighbor, TopK};
use crate::params::{BuildParams, SearchParams};
use crate::progress::BuildOptions;
use crate::scorer::Scorer;
use crate::strategy::{ListsPlan, ListsQuery, Strategy, plan_lists};
use crate::vectors::Vectors;
pub(crate) use coded::IvfCoded;
use lists::{ListScan, Lists, Walk};

/// Rows scored between two looks at the heap.
const CHUNK: usize = 256;
/// What a row of a list costs to score, in distances of a scan: lists know row numbers, and rows lie apart.
const ROW_COST: f64 = 2.0;

#[derive(Debug)]
pub(crate) struct IvfFlat {
    rows: IndexedRows,
    lists: Lists,
}

impl IvfFlat {
    pub(crate) fn build(
        nlist: u32,
        rows: IndexedRows,
        vectors: Vectors<'_>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        let lists = Lists::build(nlist, &rows, vectors, options, options.progress)?;
        Ok(Self { rows, lists })
    }

    pub(crate) fn open(reader: &Reader, nlist: u32, rows: IndexedRows) -> Result<Self, OpenError> {
        let lists = Lists::open(reader, nlist, &rows)?;
        Ok(Self { rows, lists })
    }
}

/// The metric that puts rows into lists.
fn grouping(metric: Metric) -> Metric {
    match metric {
        Metric::L2 => Metric::L2,
        Metric::Ip | Metric::Cosine => Metric::Ip,
    }
}

/// Scores every allowed row of a list.
struct FlatScan<'a> {
    scorer: Scorer<'a>,
    allow: Option<&'a Bitset>,
    top: TopK,
}

impl ListScan for FlatScan<'_> {
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
}

impl VectorIndex for IvfFlat {
    fn kind(&self) -> IndexKind {
        IndexKind::IvfFlat
    }

    fn metric(&self) -> Metric {
        self.rows.metric
    }

    fn dim(&self) -> usize {
        self.rows.dim
    }

    fn rows(&self) -> usize {
        self.rows.len
    }

    fn params(&self) -> BuildParams {
        BuildParams::IvfFlat {
            nlist: self.lists.nlist,
        }
    }

    fn memory_bytes(&self) -> usize {
        self.rows.memory_bytes() + self.lists.memory_bytes()
    }

    fn search(
        &self,
        vectors: Vectors<'_>,
        query: &[f32],
        k: usize,
        params: &SearchParams,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Vec<Neighbor> {
        let Some(candidates) = self.rows.candidates(vectors, query.len(), allow) else {
            return Vec::new();
        };
        let plan = plan_lists(ListsQuery {
            rows: self.lists.rows(),
            allowed: candidates.allowed,
            k,
            nprobe: params.nprobe_for(self.lists.count(), candidates.allowed.is_some()),
            lists: self.lists.count(),
            row_cost: 0.0,
            allowed_cost: ROW_COST,
            rescored: 0,
        });
        // What a late window passes over fills the nearest lists: how many lists to look at, nobody knows.
        if let ListsPlan::Probe { nprobe } = plan
            && !params.within.starts_late()
        {
            let mut scan = FlatScan {
                scorer: candidates.space.scorer(query),
                allow: candidates.filter(),
                top: TopK::within(params.within, k, self.lists.rows()),
            };
            let walk = Walk {
                k,
                nprobe,
                within: params.within,
            };
            if self
                .lists
                .walk(&candidates, query, walk, &mut scan, stats)
                .is_some()
            {
                stats.strategy = Strategy::of_lists(candidates.allowed.is_some());
                return scan.top.into_sorted();
            }
        }
        candidates.scan(query, k, params.within, stats)
    }

    fn serialize(&self) -> Vec<u8> {
        let mut writer = self.rows.writer(self.params());
        self.lists.write(&mut writer);
        writer.finish()
    }
}
