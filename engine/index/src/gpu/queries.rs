//! A batch of queries on the device.

use super::backend::{Backend, QueriesOf, Word};
use super::error::GpuError;
use super::parts::{padded, stride_of};
use crate::kernels::kernels;
use crate::metric::{Metric, inverse_norm};

/// A batch of queries on the device, of which nothing is ruled out yet.
pub(crate) struct Queries<B: Backend> {
    data: B::Buffer,
    terms: B::Buffer,
    /// What a distance must not exceed.
    pub(super) bounds: B::Buffer,
    count: u32,
    stride: u32,
}

impl<B: Backend> Queries<B> {
    /// Uploads rows of `dim` floats.
    pub(super) fn upload<'a>(
        backend: &B,
        metric: Metric,
        dim: usize,
        rows: impl ExactSizeIterator<Item = &'a [f32]> + Clone,
    ) -> Result<Self, GpuError> {
        let stride = stride_of(dim);
        let of_query = |row: &[f32]| {
            let square = kernels().dot(row, row);
            match metric {
                Metric::L2 | Metric::Ip => square,
                Metric::Cosine => inverse_norm(square),
            }
        };
        let units = padded(rows.clone(), stride);
        Self::of_units(backend, stride, &units, &rows.map(of_query).collect::<Vec<f32>>())
    }

    /// Uploads queries of `stride` units, and the term of each.
    pub(super) fn of_units<W: Word>(
        backend: &B,
        stride: usize,
        units: &[W],
        of_queries: &[W],
    ) -> Result<Self, GpuError> {
        let count = of_queries.len();
        let mut data = backend.allocate(units.len())?;
        backend.write(&mut data, 0, units)?;
        let mut terms = backend.allocate(count)?;
        backend.write(&mut terms, 0, of_queries)?;
        let mut bounds = backend.allocate(count)?;
        backend.write(&mut bounds, 0, &vec![f32::INFINITY; count])?;
        Ok(Self {
            data,
            terms,
            bounds,
            count: count as u32,
            stride: stride as u32,
        })
    }

    /// As kernels take them.
    pub(super) fn of(&self) -> QueriesOf<'_, B::Buffer> {
        QueriesOf {
            data: &self.data,
            terms: &self.terms,
            bounds: &self.bounds,
            count: self.count,
            stride: self.stride,
        }
    }
}
