//! What all lists on a device have, whatever they hold of a row: which row is where, and the centroids. Lists go there with the
//! first search and stay as long as the index.

use super::train::squares;
use crate::gpu::backend::{Backend, Comparison, Device, ElementType, GROUP, InvertedOf, NO_ROW, RowsOf};
use crate::gpu::error::GpuError;
use crate::gpu::parts::{padded, stride_of};
use crate::ivf::lists::Lists;
use crate::metric::Metric;
use crate::panels::lie_far_out;
use crate::vectors::Vectors;

/// Places of lists on the device, in groups of [`GROUP`].
#[derive(Debug)]
pub(crate) struct Places<B: Backend> {
    numbers: B::Buffer,
    starts: B::Buffer,
    centroids: B::Buffer,
    centroid_terms: B::Buffer,
    /// How centroids are compared with queries.
    pub(super) comparison: Comparison,
    /// Rows of each list that are here.
    pub(super) sizes: Vec<u32>,
    /// Place `n`: rows that the `n` longest lists have together.
    longest: Vec<usize>,
}

/// The part of the lists that one of several devices has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    pub(super) device: usize,
    pub(super) devices: usize,
}

impl Share {
    /// Whether each list is in it. Longer lists come first, each to the device that has the fewest rows until then.
    fn holds(self, lists: &Lists) -> Vec<bool> {
        let size = |list: &u32| lists.list(*list).len();
        let mut by_size: Vec<u32> = (0..lists.count() as u32).collect();
        by_size.sort_by_key(|list| std::cmp::Reverse(size(list)));
        let (mut rows, mut holds) = (vec![0usize; self.devices.max(1)], vec![false; by_size.len()]);
        for list in by_size {
            let least = (0..rows.len()).min_by_key(|&device| rows[device]).unwrap_or(0);
            rows[least] += size(&list);
            if let Some(holds) = holds.get_mut(list as usize) {
                *holds = least == self.device;
            }
        }
        holds
    }
}

/// The rows of lists, cut into groups. Lists of other devices are there, and empty.
pub(super) struct Groups<'a> {
    /// List, first place in it, and rows of each group.
    pub(super) members: Vec<(u32, usize, &'a [u32])>,
    starts: Vec<u32>,
    /// Rows of each list.
    sizes: Vec<u32>,
}

impl<'a> Groups<'a> {
    pub(super) fn of(lists: &'a Lists, share: Share) -> Self {
        let (mut members, mut starts, mut sizes) = (Vec::new(), vec![0u32], Vec::new());
        for (list, held) in (0..).zip(share.holds(lists)) {
            let rows = if held { lists.list(list) } else { &[] };
            let groups = rows.chunks(GROUP).enumerate();
            members.extend(groups.map(|(group, rows)| (list, group * GROUP, rows)));
            starts.push(members.len() as u32);
            sizes.push(rows.len() as u32);
        }
        Self {
            members,
            starts,
            sizes,
        }
    }

    /// The row of each place; [`NO_ROW`] where there is none.
    pub(super) fn numbers(&self) -> Vec<u32> {
        let mut numbers = vec![NO_ROW; self.members.len() * GROUP];
        for (places, (_, _, rows)) in numbers.chunks_exact_mut(GROUP).zip(&self.members) {
            for (place, &row) in places.iter_mut().zip(*rows) {
                *place = row;
            }
        }
        numbers
    }
}

/// Bytes of so many rows in lists on a device, at most, with `row_words` of each and `list_words` of each list besides the
/// centroid.
pub(super) fn most_bytes(rows: usize, nlist: u32, dim: usize, row_words: usize, list_words: usize) -> usize {
    let lists = rows.min(nlist as usize);
    bytes(rows / GROUP + lists, lists, dim, row_words, list_words)
}

/// The same of so many groups.
pub(super) fn bytes(groups: usize, lists: usize, dim: usize, row_words: usize, list_words: usize) -> usize {
    let of_groups = groups.saturating_mul(4 * GROUP).saturating_mul(row_words + 1);
    of_groups.saturating_add(4 * lists * (stride_of(dim) + 2 + list_words) + 8)
}

impl<B: Backend> Places<B> {
    /// Uploads what lists of rows of `dim` floats have.
    pub(super) fn upload(
        device: &Device<B>,
        lists: &Lists,
        groups: &Groups<'_>,
        dim: usize,
    ) -> Result<Self, GpuError> {
        let (backend, stride) = (&device.backend, stride_of(dim));
        let places = groups.numbers();
        let mut numbers = backend.allocate(places.len())?;
        backend.write(&mut numbers, 0, &places)?;
        let mut starts = backend.allocate(groups.starts.len())?;
        backend.write(&mut starts, 0, &groups.starts)?;

        let sizes = groups.sizes.clone();
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
            numbers,
            starts,
            centroids,
            centroid_terms,
            comparison: Comparison::new(grouping, far),
            sizes,
            longest,
        })
    }

    /// Rows that `count` lists have together, at most.
    pub(super) fn most_rows(&self, count: usize) -> usize {
        let last = self.longest.len() - 1;
        self.longest.get(count.min(last)).copied().unwrap_or(0)
    }

    /// The lists as kernels take them, with what they hold of rows.
    pub(super) fn inverted<'a>(
        &'a self,
        data: &'a B::Buffer,
        terms: &'a B::Buffer,
        allow: Option<&'a B::Buffer>,
    ) -> InvertedOf<'a, B::Buffer> {
        InvertedOf {
            data,
            terms,
            numbers: &self.numbers,
            starts: &self.starts,
            allow,
            longest: self.most_rows(1).div_ceil(GROUP) as u32,
        }
    }

    /// The centroids, lists x stride.
    pub(super) fn centroids(&self) -> &B::Buffer {
        &self.centroids
    }

    /// The centroids as kernels take them.
    pub(super) fn centroid_rows(&self) -> RowsOf<'_, B::Buffer> {
        RowsOf {
            element: ElementType::Float,
            data: &self.centroids,
            terms: &self.centroid_terms,
            allow: None,
            base: 0,
        }
    }
}
