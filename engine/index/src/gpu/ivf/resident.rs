//! The lists on the device, see [`InvertedOf`]. They go there with the first search and stay as long as the index.

use rayon::prelude::*;

use super::train::squares;
use crate::gpu::backend::{Backend, Comparison, Device, GROUP, InvertedOf, NO_ROW, RowsOf};
use crate::gpu::budget::Reservation;
use crate::gpu::error::GpuError;
use crate::gpu::parts::{COPY_WORDS, padded, stride_of};
use crate::ivf::IvfFlat;
use crate::metric::Metric;
use crate::panels::lie_far_out;
use crate::vectors::Vectors;

/// Lists on the device.
#[derive(Debug)]
pub(super) struct Resident<B: Backend> {
    data: B::Buffer,
    terms: B::Buffer,
    numbers: B::Buffer,
    starts: B::Buffer,
    centroids: B::Buffer,
    centroid_terms: B::Buffer,
    /// How centroids are compared with queries.
    pub(super) comparison: Comparison,
    /// Rows of each list.
    pub(super) sizes: Vec<u32>,
    /// Place `n`: rows that the `n` longest lists have together.
    longest: Vec<usize>,
    _reserved: Reservation,
}

/// Bytes of so many rows in lists on a device, at most.
pub(super) fn most_bytes(rows: usize, nlist: u32, dim: usize) -> usize {
    let lists = rows.min(nlist as usize);
    let groups = rows / GROUP + lists;
    bytes(groups, lists, stride_of(dim))
}

fn bytes(groups: usize, lists: usize, stride: usize) -> usize {
    let of_groups = groups.saturating_mul(4 * GROUP).saturating_mul(stride + 2);
    of_groups.saturating_add(4 * lists * (stride + 2) + 8)
}

impl<B: Backend> Resident<B> {
    /// Uploads the lists of an index over `vectors`.
    pub(super) fn upload(device: &Device<B>, host: &IvfFlat, vectors: Vectors<'_>) -> Result<Self, GpuError> {
        let (backend, lists, dim) = (&device.backend, host.inverted(), vectors.dim());
        let stride = stride_of(dim);
        let sizes: Vec<u32> = (0..lists.count() as u32)
            .map(|list| lists.list(list).len() as u32)
            .collect();
        let mut starts = vec![0u32];
        starts.extend(sizes.iter().scan(0, |end, size| {
            *end += size.div_ceil(GROUP as u32);
            Some(*end)
        }));
        let groups = starts.last().copied().unwrap_or(0) as usize;
        let needed = bytes(groups, sizes.len(), stride);
        let reserved = device.budget.reserve("the lists of an index", needed)?;

        // Groups of rows, with the list that each belongs to.
        let members: Vec<&[u32]> = (0..sizes.len() as u32)
            .flat_map(|list| lists.list(list).chunks(GROUP))
            .collect();
        let mut numbers = vec![NO_ROW; groups * GROUP];
        for (places, members) in numbers.chunks_exact_mut(GROUP).zip(&members) {
            for (place, &row) in places.iter_mut().zip(*members) {
                *place = row;
            }
        }
        let words = GROUP * stride;
        let mut data = backend.allocate(groups * words)?;
        let at_once = (COPY_WORDS / words).max(1);
        for (turn, some) in members.chunks(at_once).enumerate() {
            let mut interleaved = vec![0.0f32; some.len() * words];
            interleaved
                .par_chunks_exact_mut(words)
                .zip(some)
                .for_each(|(group, members)| interleave(group, members, vectors));
            backend.write(&mut data, turn * at_once * words, &interleaved)?;
        }
        let of_places: Vec<f32> = match host.indexed().inverse_norms() {
            [] => vec![0.0],
            norms => {
                let norm = |row: &u32| norms.get(*row as usize).copied().unwrap_or(0.0);
                numbers.iter().map(norm).collect()
            }
        };
        let mut terms = backend.allocate(of_places.len())?;
        backend.write(&mut terms, 0, &of_places)?;
        let mut on_device = (backend.allocate(numbers.len())?, backend.allocate(starts.len())?);
        backend.write(&mut on_device.0, 0, &numbers)?;
        backend.write(&mut on_device.1, 0, &starts)?;

        let (rows, grouping) = lists.centroid_rows();
        let mut centroids = backend.allocate(sizes.len() * stride)?;
        backend.write(&mut centroids, 0, &padded(rows.chunks_exact(dim), stride))?;
        let centroid_terms = squares(backend, &centroids, sizes.len(), stride)?;
        let far = grouping == Metric::L2 && Vectors::new(rows, dim).is_ok_and(lie_far_out);
        let mut by_size = sizes.clone();
        by_size.sort_unstable_by(|a, b| b.cmp(a));
        let mut longest = vec![0];
        longest.extend(by_size.iter().scan(0, |sum, &size| {
            *sum += size as usize;
            Some(*sum)
        }));
        Ok(Self {
            data,
            terms,
            numbers: on_device.0,
            starts: on_device.1,
            centroids,
            centroid_terms,
            comparison: Comparison::new(grouping, far),
            sizes,
            longest,
            _reserved: reserved,
        })
    }

    /// Rows that `count` lists have together, at most.
    pub(super) fn most_rows(&self, count: usize) -> usize {
        let last = self.longest.len() - 1;
        self.longest.get(count.min(last)).copied().unwrap_or(0)
    }

    /// The lists as kernels take them.
    pub(super) fn lists<'a>(&'a self, allow: Option<&'a B::Buffer>) -> InvertedOf<'a, B::Buffer> {
        InvertedOf {
            data: &self.data,
            terms: &self.terms,
            numbers: &self.numbers,
            starts: &self.starts,
            allow,
            longest: self.most_rows(1).div_ceil(GROUP) as u32,
        }
    }

    /// The centroids as kernels take them.
    pub(super) fn centroids(&self) -> RowsOf<'_, B::Buffer> {
        RowsOf {
            data: &self.centroids,
            terms: &self.centroid_terms,
            allow: None,
            base: 0,
        }
    }
}

/// Puts rows into a group, four numbers of each after the other; zeros stay where there is nothing.
fn interleave(group: &mut [f32], members: &[u32], vectors: Vectors<'_>) {
    for (lane, &row) in members.iter().enumerate() {
        for (chunk, four) in vectors.row(row as usize).chunks(4).enumerate() {
            let at = 4 * (chunk * GROUP + lane);
            if let Some(places) = group.get_mut(at..at + four.len()) {
                places.copy_from_slice(four);
            }
        }
    }
}
