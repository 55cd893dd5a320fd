//! k-means on a device, and the list of every row.

use crate::error::BuildError;
use crate::gpu::backend::{Backend, Comparison, Device, ElementType, QueriesOf, RowsOf};
use crate::gpu::budget::Reservation;
use crate::gpu::error::GpuError;
use crate::gpu::parts::{COPY_WORDS, padded, stride_of};
use crate::ivf::kmeans::{Clusterer, weight_of};
use crate::metric::Metric;
use crate::neighbor::Neighbor;
use crate::panels::lie_far_out;
use crate::progress::Progress;
use crate::scorer::Space;
use crate::vectors::Vectors;

/// Most rows that are sorted at a time: as many as a sample for the largest number of lists has.
const PART_ROWS: usize = 128 * 65_536;
/// Words of a row on the device besides its floats: a term, a weight, a key and its place in a list.
const WORDS_BESIDES: usize = 5;

/// Compares rows with centroids, and adds lists up, on a device. What it was last given of rows stays there, so that a sample is
/// uploaded once.
pub(super) struct OnDeviceClusterer<'a, B: Backend> {
    device: &'a Device<B>,
    /// Whether rows are much longer than their differences.
    far: bool,
    held: Option<Held<B>>,
}

/// Rows on the device.
struct Held<B: Backend> {
    rows: Vec<u32>,
    data: B::Buffer,
    terms: B::Buffer,
    weights: B::Buffer,
    _reserved: Reservation,
}

impl<'a, B: Backend> OnDeviceClusterer<'a, B> {
    pub(super) fn new(device: &'a Device<B>, vectors: Vectors<'_>) -> Self {
        Self {
            device,
            far: lie_far_out(vectors),
            held: None,
        }
    }

    /// How rows and centroids are compared.
    fn comparison(&self, metric: Metric) -> Comparison {
        match metric {
            Metric::L2 => Comparison::new(metric, self.far),
            Metric::Ip | Metric::Cosine => Comparison::Ip,
        }
    }

    /// Rows that are sorted at a time.
    fn part_rows(&self, dim: usize) -> usize {
        let held = self.held.as_ref().map_or(0, |held| held._reserved.bytes());
        let half = (self.device.budget.free() + held) / 2;
        (half / row_bytes(dim)).clamp(1, PART_ROWS)
    }

    /// Puts rows on the device, unless they are there.
    fn hold(&mut self, space: &Space<'_>, rows: &[u32]) -> Result<&Held<B>, GpuError> {
        let here = self.held.take().filter(|held| held.rows == rows);
        let held = match here {
            Some(held) => held,
            None => self.upload(space, rows)?,
        };
        Ok(self.held.insert(held))
    }

    fn upload(&self, space: &Space<'_>, rows: &[u32]) -> Result<Held<B>, GpuError> {
        let (backend, dim) = (&self.device.backend, space.vectors.dim());
        let stride = stride_of(dim);
        let reserved = self
            .device
            .budget
            .reserve("rows that are sorted into lists", rows.len() * row_bytes(dim))?;
        let mut data = backend.allocate(rows.len() * stride)?;
        let at_once = (COPY_WORDS / stride).max(1);
        for (turn, some) in rows.chunks(at_once).enumerate() {
            let some = some.iter().map(|&row| space.vectors.row(row as usize));
            backend.write(&mut data, turn * at_once * stride, &padded(some, stride))?;
        }
        let terms = squares(backend, &data, rows.len(), stride)?;
        let mut weights = backend.allocate(rows.len())?;
        let of_rows: Vec<f32> = rows.iter().map(|&row| weight_of(space, row)).collect();
        backend.write(&mut weights, 0, &of_rows)?;
        Ok(Held {
            rows: rows.to_vec(),
            data,
            terms,
            weights,
            _reserved: reserved,
        })
    }
}

fn row_bytes(dim: usize) -> usize {
    4 * (stride_of(dim) + WORDS_BESIDES)
}

/// Squared lengths of rows on the device.
pub(super) fn squares<B: Backend>(
    backend: &B,
    data: &B::Buffer,
    rows: usize,
    stride: usize,
) -> Result<B::Buffer, GpuError> {
    let mut terms = backend.allocate(rows)?;
    let mut largest = backend.allocate(1)?;
    backend.write(&mut largest, 0, &[0u32])?;
    let (rows, stride) = (rows as u32, stride as u32);
    let floats = (ElementType::Float, Comparison::L2);
    backend.row_terms(floats, data, rows, stride, &mut terms, &mut largest)?;
    Ok(terms)
}

impl<B: Backend> Clusterer for OnDeviceClusterer<'_, B> {
    fn assign(
        &mut self,
        space: &Space<'_>,
        rows: &[u32],
        (centroids, lists): (&[f32], usize),
        progress: &dyn Progress,
        total: Option<usize>,
    ) -> Result<Vec<Neighbor>, BuildError> {
        let device = self.device;
        let (backend, dim) = (&device.backend, space.vectors.dim());
        let stride = stride_of(dim);
        let comparison = self.comparison(space.metric);
        let _reserved = device
            .budget
            .reserve("the centroids of an index", 4 * lists * (stride + 1))?;
        let mut data = backend.allocate(lists * stride)?;
        backend.write(&mut data, 0, &padded(centroids.chunks_exact(dim), stride))?;
        let terms = squares(backend, &data, lists, stride)?;
        let centroids = RowsOf {
            element: ElementType::Float,
            data: &data,
            terms: &terms,
            allow: None,
            base: 0,
        };
        let mut assigned = Vec::with_capacity(rows.len());
        for part in rows.chunks(self.part_rows(dim)) {
            if progress.cancelled() {
                return Err(BuildError::Cancelled);
            }
            let _turn = device.turn.lock();
            let held = self.hold(space, part)?;
            let mut keys = backend.allocate(2 * part.len())?;
            let mut words = vec![u32::MAX; 2 * part.len()];
            backend.write(&mut keys, 0, &words)?;
            let queries = QueriesOf {
                data: &held.data,
                terms: &held.terms,
                bounds: &held.terms,
                count: part.len() as u32,
                stride: stride as u32,
            };
            backend.nearest(comparison, &centroids, lists as u32, &queries, &mut keys)?;
            backend.read(&keys, &mut words)?;
            let keys = words.chunks_exact(2);
            assigned.extend(keys.map(|key| Neighbor::from_key(u64::from(key[1]) << 32 | u64::from(key[0]))));
            if let Some(total) = total {
                progress.advance(assigned.len() as u64, total as u64);
            }
        }
        Ok(assigned)
    }

    fn means(
        &mut self,
        space: &Space<'_>,
        rows: &[u32],
        assigned: &[Neighbor],
        centroids: &mut [f32],
    ) -> Result<(), BuildError> {
        let device = self.device;
        let (backend, dim) = (&device.backend, space.vectors.dim());
        let (stride, lists) = (stride_of(dim), centroids.len() / dim);
        // The device knows rows by their place in the sample.
        let places: Vec<u32> = (0..rows.len() as u32).collect();
        let (offsets, members) = crate::ivf::group(&places, assigned, lists);
        let _turn = device.turn.lock();
        let held = self.hold(space, rows)?;
        let _reserved = device
            .budget
            .reserve("the centroids of an index", 4 * lists * (stride + 1))?;
        let mut on_device = (backend.allocate(members.len())?, backend.allocate(offsets.len())?);
        backend.write(&mut on_device.0, 0, &members)?;
        backend.write(&mut on_device.1, 0, &offsets)?;
        let mut words = padded(centroids.chunks_exact(dim), stride);
        let mut means = backend.allocate(words.len())?;
        backend.write(&mut means, 0, &words)?;
        backend.list_means(
            (&held.data, &held.weights),
            (&on_device.0, &on_device.1),
            lists as u32,
            stride as u32,
            &mut means,
        )?;
        backend.read(&means, &mut words)?;
        for (centroid, mean) in centroids.chunks_exact_mut(dim).zip(words.chunks_exact(stride)) {
            for (value, &mean) in centroid.iter_mut().zip(mean) {
                *value = mean;
            }
        }
        Ok(())
    }
}
