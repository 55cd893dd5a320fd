//! The graph on the device. It goes there with the first search and stays as long as the index.

use crate::gpu::backend::{Backend, Device, GraphOf, NO_ROW};
use crate::gpu::budget::Reservation;
use crate::gpu::error::GpuError;
use crate::gpu::parts::{COPY_WORDS, padded, stride_of};
use crate::hnsw::Hnsw;
use crate::vectors::Vectors;

/// A graph on the device.
#[derive(Debug)]
pub(super) struct GraphOnDevice<B: Backend> {
    data: B::Buffer,
    terms: B::Buffer,
    numbers: B::Buffer,
    links: B::Buffer,
    pub(super) nodes: u32,
    pub(super) degree: u32,
    _reserved: Reservation,
}

/// Bytes of a graph on a device.
pub(super) fn bytes(nodes: usize, dim: usize, degree: usize) -> usize {
    nodes.saturating_mul(4 * (stride_of(dim) + degree + 2))
}

impl<B: Backend> GraphOnDevice<B> {
    /// Uploads the base layer of a graph over `vectors`.
    pub(super) fn upload(device: &Device<B>, host: &Hnsw, vectors: Vectors<'_>) -> Result<Self, GpuError> {
        let (backend, dim) = (&device.backend, vectors.dim());
        let members = host.indexed().numbers();
        let (base, degree) = host.base();
        let stride = stride_of(dim);
        let reserved = device
            .budget
            .reserve("the graph of an index", bytes(members.len(), dim, degree))?;
        let mut node_of = vec![NO_ROW; vectors.len()];
        for (node, &row) in members.iter().enumerate() {
            if let Some(place) = node_of.get_mut(row as usize) {
                *place = node as u32;
            }
        }
        let mut data = backend.allocate(members.len() * stride)?;
        let mut links = backend.allocate(members.len() * degree)?;
        let at_once = (COPY_WORDS / stride.max(degree).max(1)).max(1);
        for (turn, some) in members.chunks(at_once).enumerate() {
            let first = turn * at_once;
            let rows = some.iter().map(|&row| vectors.row(row as usize));
            backend.write(&mut data, first * stride, &padded(rows, stride))?;
            let of_rows = some
                .iter()
                .flat_map(|&row| base.get(row as usize * degree..(row as usize + 1) * degree))
                .flatten();
            let nodes: Vec<u32> = of_rows
                .map(|&row| node_of.get(row as usize).copied().unwrap_or(NO_ROW))
                .collect();
            backend.write(&mut links, first * degree, &nodes)?;
        }
        let of_nodes: Vec<f32> = match host.indexed().inverse_norms() {
            [] => vec![0.0],
            norms => {
                let norm = |row: &u32| norms.get(*row as usize).copied().unwrap_or(0.0);
                members.iter().map(norm).collect()
            }
        };
        let mut terms = backend.allocate(of_nodes.len())?;
        backend.write(&mut terms, 0, &of_nodes)?;
        let mut numbers = backend.allocate(members.len())?;
        backend.write(&mut numbers, 0, &members)?;
        Ok(Self {
            data,
            terms,
            numbers,
            links,
            nodes: members.len() as u32,
            degree: degree as u32,
            _reserved: reserved,
        })
    }

    /// The graph as kernels take it.
    pub(super) fn graph<'a>(&'a self, allow: Option<&'a B::Buffer>) -> GraphOf<'a, B::Buffer> {
        GraphOf {
            data: &self.data,
            terms: &self.terms,
            numbers: &self.numbers,
            links: &self.links,
            nodes: self.nodes,
            degree: self.degree,
            allow,
        }
    }
}
