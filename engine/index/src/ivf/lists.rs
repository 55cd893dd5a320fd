//! The coarse structure of every IVF family: rows sorted into lists around k-means centroids, and the walk over the lists
//! nearest to a query.

use super::assign::group;
use super::coarse::Coarse;
use super::grouping;
use super::kmeans::{self, Clusterer, OnProcessor};
use super::members::{ListScan, Members, Walk};
use crate::blob::{Array, Reader, Writer};
use crate::codes::packing::TOGETHER;
use crate::error::{BuildError, OpenError};
use crate::index::SearchStats;
use crate::indexed_rows::IndexedRows;
use crate::metric::Metric;
use crate::neighbor::Neighbor;
use crate::progress::{BuildOptions, Progress};
use crate::scorer::Space;
use crate::vectors::Vectors;

/// Which rows are in which list.
#[derive(Debug)]
pub(crate) struct Lists {
    metric: Metric,
    dim: usize,
    /// As asked for; there are fewer lists when there are fewer rows.
    pub(super) nlist: u32,
    /// Lists x dim, row-major.
    centroids: Array<f32>,
    members: Members,
    coarse: Option<Coarse>,
}

impl Lists {
    /// Arrays of a blob that [`Lists::write`] puts.
    pub(super) const ARRAYS: usize = 1 + Members::ARRAYS;

    pub(super) fn build(
        nlist: u32,
        rows: &IndexedRows,
        vectors: Vectors<'_>,
        options: &BuildOptions<'_>,
        progress: &dyn Progress,
    ) -> Result<Self, BuildError> {
        Self::build_by(&mut OnProcessor, nlist, rows, vectors, options, progress)
    }

    /// [`Lists::build`] by something else than the processor.
    pub(super) fn build_by(
        clusterer: &mut impl Clusterer,
        nlist: u32,
        rows: &IndexedRows,
        vectors: Vectors<'_>,
        options: &BuildOptions<'_>,
        progress: &dyn Progress,
    ) -> Result<Self, BuildError> {
        let (space, numbers) = (rows.space(vectors), rows.numbers());
        let lists = (nlist as usize).min(numbers.len());
        let centroids = kmeans::train(clusterer, &space, &numbers, lists, options.seed, progress)?;
        let total = Some(numbers.len());
        let assigned = clusterer.assign(&space, &numbers, (&centroids, lists), progress, total)?;
        Ok(Self {
            metric: rows.metric,
            dim: rows.dim,
            nlist,
            coarse: Coarse::new(grouping(rows.metric), &centroids, rows.dim),
            centroids: Array::Owned(centroids),
            members: Members::new(group(&numbers, &assigned, lists)),
        })
    }

    pub(super) fn open(reader: &Reader, nlist: u32, rows: &IndexedRows) -> Result<Self, OpenError> {
        const FIRST: usize = IndexedRows::ARRAYS;
        let members = Members::open(reader, FIRST + 1, nlist, rows.valid(), rows.len)?;
        let centroid_floats = members
            .lists()
            .checked_mul(rows.dim)
            .ok_or_else(|| OpenError::corrupt(format!("{} lists of {} floats", members.lists(), rows.dim)))?;
        let centroids = reader.array_of::<f32>(FIRST, centroid_floats, "centroid floats")?;
        Ok(Self {
            metric: rows.metric,
            dim: rows.dim,
            nlist,
            coarse: Coarse::new(grouping(rows.metric), &centroids, rows.dim),
            centroids,
            members,
        })
    }

    pub(super) fn write<'a>(&'a self, writer: &mut Writer<'a>) {
        writer.put(&*self.centroids);
        self.members.write(writer);
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let coarse = self.coarse.as_ref().map_or(0, Coarse::memory_bytes);
        self.centroids.bytes() + self.members.memory_bytes() + coarse
    }

    /// The metric of the rows.
    pub(crate) fn metric(&self) -> Metric {
        self.metric
    }

    /// Number of lists.
    pub(crate) fn count(&self) -> usize {
        self.members.lists()
    }

    /// Number of rows in all lists.
    pub(crate) fn rows(&self) -> usize {
        self.members.rows()
    }

    /// Rows of a list; empty when there is no such list.
    pub(crate) fn list(&self, index: u32) -> &[u32] {
        self.members.list(index)
    }

    /// Where a list lies among the members.
    pub(super) fn span(&self, index: u32) -> std::ops::Range<usize> {
        self.members.span(index)
    }

    /// Centroid of a list; empty when there is no such list.
    pub(super) fn centroid(&self, index: u32) -> &[f32] {
        let start = index as usize * self.dim;
        self.centroids.get(start..start + self.dim).unwrap_or(&[])
    }

    /// All centroids, lists x dim, row-major, and the metric that groups rows.
    pub(crate) fn centroid_rows(&self) -> (&[f32], Metric) {
        (&self.centroids, grouping(self.metric))
    }

    /// The centroids under the metric that groups rows.
    fn centroids(&self) -> Option<Space<'_>> {
        let centroids = Vectors::new(&self.centroids, self.dim).ok()?;
        Some(Space::new(grouping(self.metric), centroids, None))
    }

    /// The `count` nearest lists, in order, as keys.
    pub(super) fn nearest(&self, query: &[f32], count: usize) -> Vec<u64> {
        let Some(centroids) = self.centroids() else {
            return Vec::new();
        };
        let coarse = self.coarse.as_ref();
        let found = coarse.and_then(|coarse| coarse.nearest(&centroids, query, count));
        found.unwrap_or_else(|| self.nearest_of_all(&centroids, query, count))
    }

    /// [`Lists::nearest`] for each of `queries`.
    pub(super) fn nearest_of_each(&self, queries: Vectors<'_>, count: usize) -> Vec<Vec<u64>> {
        let rows: Vec<&[f32]> = (0..queries.len()).map(|row| queries.row(row)).collect();
        let mut all = Vec::with_capacity(rows.len());
        let centroids = self.centroids();
        for some in rows.chunks(TOGETHER) {
            if let (Some(coarse), Some(centroids)) = (&self.coarse, &centroids)
                && let Ok(some) = <[&[f32]; TOGETHER]>::try_from(some)
                && let Some(found) = coarse.nearest_of(centroids, some, count)
            {
                let pairs = found.into_iter().zip(some);
                all.extend(pairs.map(|(found, query)| {
                    found.unwrap_or_else(|| self.nearest_of_all(centroids, query, count))
                }));
            } else {
                all.extend(some.iter().map(|query| self.nearest(query, count)));
            }
        }
        all
    }

    fn nearest_of_all(&self, centroids: &Space<'_>, query: &[f32], count: usize) -> Vec<u64> {
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

    /// Has the nearest lists scanned, see [`Members::walk`].
    pub(super) fn walk(
        &self,
        query: &[f32],
        walk: Walk,
        scan: &mut impl ListScan,
        stats: &mut SearchStats,
    ) -> Option<usize> {
        self.members
            .walk(|count| self.nearest(query, count), walk, scan, stats)
    }
}
