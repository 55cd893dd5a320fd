//! IVF_FLAT: rows sorted into lists around k-means centroids; a search scans the lists nearest to the query.
//!
//! ```text
//!   centroids   c0   c1   c2   c3          query: score all centroids, scan the `nprobe` best lists,
//!               |    |    |    |                  then further ones until k allowed rows were found
//!   lists       2,5  0,7  1    3,4,6       lists hold row numbers; the vectors stay in the segment
//! ```
//!
//! L2 groups rows by Euclidean distance. IP and COSINE group them by direction: centroids have unit length and a row
//! belongs to the one with the largest inner product.
//!
//! | file | part |
//! |---|---|
//! | `assign` | nearest centroid of many rows |
//! | `kmeans` | seeded training on a sample |

mod assign;
mod kmeans;

use crate::bitset::Bitset;
use crate::blob::{Array, Reader};
use crate::error::{BuildError, OpenError};
use crate::index::{IndexKind, SearchStats, VectorIndex};
use crate::indexed_rows::{Candidates, IndexedRows};
use crate::metric::Metric;
use crate::neighbor::{Neighbor, TopK};
use crate::params::{BuildParams, SearchParams};
use crate::progress::BuildOptions;
use crate::scorer::{Scorer, Space};
use crate::strategy::{ListsPlan, ListsQuery, Strategy, plan_lists};
use crate::vectors::Vectors;
use crate::window::Window;
use assign::{Assigner, group};

/// Rows scored between two looks at the heap.
const CHUNK: usize = 256;
/// Lists without a row of the window, one after the other, that end a range search (Milvus' `max_empty_result_buckets`).
const MAX_EMPTY_LISTS: usize = 2;

#[derive(Debug)]
pub(crate) struct IvfFlat {
    rows: IndexedRows,
    /// As asked for; there are fewer lists when there are fewer rows.
    nlist: u32,
    /// Lists x dim, row-major.
    centroids: Array<f32>,
    /// List `i` is `members[offsets[i]..offsets[i + 1]]`.
    offsets: Array<u32>,
    /// Every row with a vector once; ascending within a list.
    members: Array<u32>,
}

impl IvfFlat {
    pub(crate) fn build(
        nlist: u32,
        rows: IndexedRows,
        vectors: Vectors<'_>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        let (space, numbers) = (rows.space(vectors), rows.numbers());
        let lists = (nlist as usize).min(numbers.len());
        let centroids = kmeans::train(&space, &numbers, lists, options.seed, options.progress)?;
        let assigner = Assigner {
            space: &space,
            centroids: &centroids,
            lists,
        };
        let assigned = assigner.assign(&numbers, options.progress, Some(numbers.len()))?;
        let (offsets, members) = group(&numbers, &assigned, lists);
        Ok(Self {
            rows,
            nlist,
            centroids: Array::Owned(centroids),
            offsets: Array::Owned(offsets),
            members: Array::Owned(members),
        })
    }

    pub(crate) fn open(reader: &Reader, nlist: u32, rows: IndexedRows) -> Result<Self, OpenError> {
        const FIRST: usize = IndexedRows::ARRAYS;
        let offsets = reader.array::<u32>(FIRST + 1, "list offsets")?;
        let lists = offsets.len().saturating_sub(1);
        let centroid_floats = lists.checked_mul(rows.dim).filter(|_| lists <= nlist as usize);
        let Some(centroid_floats) = centroid_floats else {
            return Err(OpenError::corrupt(format!("{lists} lists, asked for {nlist}")));
        };
        let centroids = reader.array_of::<f32>(FIRST, centroid_floats, "centroid floats")?;
        let members = reader.array::<u32>(FIRST + 2, "list members")?;
        let monotone = offsets.is_sorted();
        let ends = (offsets.first().copied(), offsets.last().map(|&end| end as usize));
        if !monotone || ends != (Some(0), Some(members.len())) {
            return Err(OpenError::corrupt(format!(
                "list offsets do not divide {} rows",
                members.len()
            )));
        }
        // Every row with a vector is in exactly one list: what "k rows come back" relies on.
        let mut missing = rows.valid().cloned().unwrap_or_else(|| Bitset::full(rows.len));
        for &row in members.iter() {
            if !missing.get(row as usize) {
                return Err(OpenError::corrupt(format!(
                    "row {row} is listed twice or not in the index"
                )));
            }
            missing.clear(row as usize);
        }
        if missing.count() > 0 {
            return Err(OpenError::corrupt(format!(
                "{} rows are in no list",
                missing.count()
            )));
        }
        Ok(Self {
            rows,
            nlist,
            centroids,
            offsets,
            members,
        })
    }

    fn lists(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    fn list(&self, index: u32) -> &[u32] {
        let bounds = self.offsets.get(index as usize..).unwrap_or(&[]);
        match *bounds {
            [start, end, ..] => self.members.get(start as usize..end as usize).unwrap_or(&[]),
            _ => &[],
        }
    }

    /// All lists, nearest centroid first; only the first `sorted` are in order.
    fn rank_lists(&self, query: &[f32], sorted: usize) -> Vec<u64> {
        let Ok(centroids) = Vectors::new(&self.centroids, self.rows.dim) else {
            return Vec::new();
        };
        let mut distances = vec![0.0; self.lists()];
        Space::new(grouping(self.rows.metric), centroids, None)
            .scorer(query)
            .block(0, &mut distances);
        let mut keys: Vec<u64> = distances
            .iter()
            .zip(0..)
            .map(|(&distance, row)| Neighbor { distance, row }.key())
            .collect();
        if sorted < keys.len() {
            keys.select_nth_unstable(sorted);
        }
        keys.get_mut(..sorted).unwrap_or_default().sort_unstable();
        keys
    }

    /// Scans the `nprobe` nearest lists, and more until `k` rows were found: rows of the window, where there is one, and
    /// then only until [`MAX_EMPTY_LISTS`] lists in a row had none of it.
    ///
    /// A filter may leave little near the query (other languages, other tenants): then the rows that these lists hold by
    /// chance would fill the result while nearer ones lie in lists not looked at. So when the lists hold less than half of
    /// the `share` of allowed rows that the whole index has, the answer is `None`.
    fn probe(
        &self,
        candidates: &Candidates<'_>,
        query: &[f32],
        k: usize,
        nprobe: usize,
        within: Window,
        stats: &mut SearchStats,
    ) -> Option<Vec<Neighbor>> {
        let (scorer, allow) = (candidates.space.scorer(query), candidates.filter());
        let share = candidates
            .allowed
            .map_or(0.0, |allowed| allowed as f64 / self.members.len().max(1) as f64);
        let mut lists = self.rank_lists(query, nprobe);
        stats.distances += lists.len() as u64;
        let mut top = TopK::within(within, k, self.members.len());
        let (mut found, mut seen, mut empty) = (0, 0, 0);
        for index in 0..lists.len() {
            if index == nprobe && (found as f64) < seen as f64 * share / 2.0 {
                stats.distances += found as u64;
                return None;
            }
            let enough = if within.is_open() {
                found >= k
            } else {
                top.len() >= k || empty >= MAX_EMPTY_LISTS
            };
            if index >= nprobe && enough {
                break;
            }
            if index == nprobe {
                // Rare: the nearest lists hold fewer than `k` allowed rows.
                lists.get_mut(nprobe..).unwrap_or_default().sort_unstable();
            }
            let Some(&key) = lists.get(index) else { break };
            let list = self.list(key as u32);
            seen += list.len();
            let held = top.len();
            found += scan_list(&scorer, list, allow, &mut top);
            empty = if top.len() > held { 0 } else { empty + 1 };
            stats.lists += 1;
        }
        stats.distances += found as u64;
        Some(top.into_sorted())
    }
}

/// The metric that puts rows into lists.
fn grouping(metric: Metric) -> Metric {
    match metric {
        Metric::L2 => Metric::L2,
        Metric::Ip | Metric::Cosine => Metric::Ip,
    }
}

/// Offers the allowed rows of a list; returns how many there are.
fn scan_list(scorer: &Scorer<'_>, members: &[u32], allow: Option<&Bitset>, top: &mut TopK) -> usize {
    let mut distances = [0.0f32; CHUNK];
    let mut picked = Vec::with_capacity(if allow.is_some() { CHUNK } else { 0 });
    let mut found = 0;
    for chunk in members.chunks(CHUNK) {
        let rows = match allow {
            None => chunk,
            Some(allow) => {
                picked.clear();
                picked.extend(chunk.iter().copied().filter(|&row| allow.get(row as usize)));
                &picked
            }
        };
        scorer.gather(rows, &mut distances[..rows.len()]);
        for (&row, &distance) in rows.iter().zip(&distances) {
            top.push(distance, row);
        }
        found += rows.len();
    }
    found
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
        BuildParams::IvfFlat { nlist: self.nlist }
    }

    fn memory_bytes(&self) -> usize {
        let arrays = self.centroids.bytes() + self.offsets.bytes() + self.members.bytes();
        self.rows.memory_bytes() + arrays
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
        let lists_query = ListsQuery {
            rows: self.members.len(),
            allowed: candidates.allowed,
            k,
            nprobe: params.nprobe_for(self.lists(), candidates.allowed.is_some()),
            lists: self.lists(),
        };
        // What a late window passes over fills the nearest lists: how many lists to look at, nobody knows.
        if !params.within.starts_late()
            && let ListsPlan::Probe { nprobe } = plan_lists(lists_query)
            && let Some(found) = self.probe(&candidates, query, k, nprobe, params.within, stats)
        {
            stats.strategy = if candidates.allowed.is_some() {
                Strategy::ListsFiltered
            } else {
                Strategy::Lists
            };
            return found;
        }
        candidates.scan(query, k, params.within, stats)
    }

    fn serialize(&self) -> Vec<u8> {
        let mut writer = self.rows.writer(self.params());
        writer.put(&*self.centroids);
        writer.put(&*self.offsets);
        writer.put(&*self.members);
        writer.finish()
    }
}
