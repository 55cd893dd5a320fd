//! The coarse structure of every IVF family: rows sorted into lists around k-means centroids, and the walk over the lists
//! nearest to a query.

use super::assign::{Assigner, group};
use super::coarse::Coarse;
use super::{grouping, kmeans};
use crate::bitset::Bitset;
use crate::blob::{Array, Reader, Writer};
use crate::error::{BuildError, OpenError};
use crate::index::SearchStats;
use crate::indexed_rows::{Candidates, IndexedRows};
use crate::metric::Metric;
use crate::neighbor::Neighbor;
use crate::progress::{BuildOptions, Progress};
use crate::scorer::Space;
use crate::vectors::Vectors;
use crate::window::Window;

/// Lists without a row of the window, one after the other, that end a range search (Milvus' `max_empty_result_buckets`).
const MAX_EMPTY_LISTS: usize = 2;

/// Which rows are in which list.
#[derive(Debug)]
pub(super) struct Lists {
    metric: Metric,
    dim: usize,
    /// As asked for; there are fewer lists when there are fewer rows.
    pub(super) nlist: u32,
    /// Lists x dim, row-major.
    centroids: Array<f32>,
    /// List `i` is `members[offsets[i]..offsets[i + 1]]`.
    offsets: Array<u32>,
    /// Every row with a vector once; ascending within a list.
    members: Array<u32>,
    coarse: Option<Coarse>,
}

/// What looks through the lists that a walk comes to.
pub(super) trait ListScan {
    /// Looks through list `index`, whose centroid is `distance` away; gives the number of its allowed rows.
    fn scan(&mut self, index: u32, distance: f32, members: &[u32]) -> usize;

    /// Hears that a list is likely the next.
    fn expect(&self, _index: u32) {}

    /// Rows held; more of them after a list that had some of the window.
    fn held(&self) -> usize;
}

/// How far a walk goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    pub(super) k: usize,
    pub(super) nprobe: usize,
    pub(super) within: Window,
}

impl Lists {
    /// Arrays of a blob that [`Lists::write`] puts.
    pub(super) const ARRAYS: usize = 3;

    pub(super) fn build(
        nlist: u32,
        rows: &IndexedRows,
        vectors: Vectors<'_>,
        options: &BuildOptions<'_>,
        progress: &dyn Progress,
    ) -> Result<Self, BuildError> {
        let (space, numbers) = (rows.space(vectors), rows.numbers());
        let lists = (nlist as usize).min(numbers.len());
        let centroids = kmeans::train(&space, &numbers, lists, options.seed, progress)?;
        let assigner = Assigner {
            space: &space,
            centroids: &centroids,
            lists,
        };
        let assigned = assigner.assign(&numbers, progress, Some(numbers.len()))?;
        let (offsets, members) = group(&numbers, &assigned, lists);
        Ok(Self {
            metric: rows.metric,
            dim: rows.dim,
            nlist,
            coarse: Coarse::new(grouping(rows.metric), &centroids, rows.dim),
            centroids: Array::Owned(centroids),
            offsets: Array::Owned(offsets),
            members: Array::Owned(members),
        })
    }

    pub(super) fn open(reader: &Reader, nlist: u32, rows: &IndexedRows) -> Result<Self, OpenError> {
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
            metric: rows.metric,
            dim: rows.dim,
            nlist,
            coarse: Coarse::new(grouping(rows.metric), &centroids, rows.dim),
            centroids,
            offsets,
            members,
        })
    }

    pub(super) fn write<'a>(&'a self, writer: &mut Writer<'a>) {
        writer.put(&*self.centroids);
        writer.put(&*self.offsets);
        writer.put(&*self.members);
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let coarse = self.coarse.as_ref().map_or(0, Coarse::memory_bytes);
        self.centroids.bytes() + self.offsets.bytes() + self.members.bytes() + coarse
    }

    /// Number of lists.
    pub(super) fn count(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Number of rows in all lists.
    pub(super) fn rows(&self) -> usize {
        self.members.len()
    }

    /// Rows of a list; empty when there is no such list.
    pub(super) fn list(&self, index: u32) -> &[u32] {
        self.members.get(self.span(index)).unwrap_or(&[])
    }

    /// Where a list lies among the members.
    pub(super) fn span(&self, index: u32) -> std::ops::Range<usize> {
        match *self.offsets.get(index as usize..).unwrap_or(&[]) {
            [start, end, ..] => start as usize..end as usize,
            _ => 0..0,
        }
    }

    /// Centroid of a list; empty when there is no such list.
    pub(super) fn centroid(&self, index: u32) -> &[f32] {
        let start = index as usize * self.dim;
        self.centroids.get(start..start + self.dim).unwrap_or(&[])
    }

    /// The centroids under the metric that groups rows.
    fn centroids(&self) -> Option<Space<'_>> {
        let centroids = Vectors::new(&self.centroids, self.dim).ok()?;
        Some(Space::new(grouping(self.metric), centroids, None))
    }

    /// The `count` nearest lists, in order, as keys.
    fn nearest(&self, query: &[f32], count: usize) -> Vec<u64> {
        let Some(centroids) = self.centroids() else {
            return Vec::new();
        };
        let coarse = self.coarse.as_ref();
        if let Some(keys) = coarse.and_then(|coarse| coarse.nearest(&centroids, query, count)) {
            return keys;
        }
        let mut distances = vec![0.0; self.count()];
        centroids.scorer(query).block(0, &mut distances);
        let mut keys: Vec<u64> = distances
            .iter()
            .zip(0..)
            .map(|(&distance, row)| Neighbor { distance, row }.key())
            .collect();
        if count < keys.len() {
            keys.select_nth_unstable(count);
            keys.truncate(count);
        }
        keys.sort_unstable();
        keys
    }

    /// Has the `nprobe` nearest lists scanned, and more until `k` rows were found: rows of the window, where there is one,
    /// and then only until [`MAX_EMPTY_LISTS`] lists in a row had none of it. Gives the number of allowed rows in them.
    ///
    /// A filter may leave little near the query (other languages, other tenants): then the rows that these lists hold by
    /// chance would fill the result while nearer ones lie in lists not looked at. So when the lists hold less than half of
    /// the share of allowed rows that the whole index has, the answer is `None`.
    pub(super) fn walk(
        &self,
        candidates: &Candidates<'_>,
        query: &[f32],
        walk: Walk,
        scan: &mut impl ListScan,
        stats: &mut SearchStats,
    ) -> Option<usize> {
        let Walk { k, nprobe, within } = walk;
        let share = candidates
            .allowed
            .map_or(0.0, |allowed| allowed as f64 / self.rows().max(1) as f64);
        let mut lists = self.nearest(query, nprobe);
        stats.distances += self.count() as u64;
        let (mut found, mut seen, mut empty) = (0, 0, 0);
        for index in 0..self.count() {
            if index == nprobe && (found as f64) < seen as f64 * share / 2.0 {
                stats.distances += found as u64;
                return None;
            }
            let enough = if within.is_open() {
                found >= k
            } else {
                scan.held() >= k || empty >= MAX_EMPTY_LISTS
            };
            if index >= nprobe && enough {
                break;
            }
            if index == nprobe {
                // Rare: the nearest lists hold fewer than `k` allowed rows. Those looked at stay in front.
                let mut looked_at = Bitset::new(self.count());
                for &key in &lists {
                    looked_at.set(Neighbor::from_key(key).row as usize);
                }
                let mut all = self.nearest(query, self.count());
                all.retain(|&key| !looked_at.get(Neighbor::from_key(key).row as usize));
                lists.extend(all);
            }
            let Some(&key) = lists.get(index) else { break };
            let nearest = Neighbor::from_key(key);
            if let Some(&next) = lists.get(index + 1) {
                scan.expect(Neighbor::from_key(next).row);
            }
            let list = self.list(nearest.row);
            seen += list.len();
            let held = scan.held();
            found += scan.scan(nearest.row, nearest.distance, list);
            empty = if scan.held() > held { 0 } else { empty + 1 };
            stats.lists += 1;
        }
        stats.distances += found as u64;
        Some(found)
    }
}
