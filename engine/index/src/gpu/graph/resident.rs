//! The graph on the device, or a part of it. It goes there with the first search and stays as long as the index.

use super::host::HostGraph;
use crate::gpu::backend::{Backend, Device, ElementType, GraphOf, NO_ROW};
use crate::gpu::budget::Reservation;
use crate::gpu::error::GpuError;
use crate::gpu::parts::COPY_WORDS;
use crate::gpu::sides::Sides;
use crate::gpu::threads::for_chunks;
use crate::gpu::units::pack;

/// A graph on the device.
#[derive(Debug)]
pub(super) struct GraphOnDevice<B: Backend> {
    element: ElementType,
    data: B::Buffer,
    terms: B::Buffer,
    numbers: B::Buffer,
    links: B::Buffer,
    pub(super) nodes: u32,
    pub(super) degree: u32,
    _reserved: Reservation,
}

/// Every node whose number leaves `number` when it is divided by `of`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) number: usize,
    pub(super) of: usize,
}

/// Links of the rows of a graph as those of the nodes of a part of it.
struct LinksOfPart<'a> {
    /// Of all rows, `degree` each.
    base: &'a [u32],
    degree: usize,
    /// The node of each row, [`NO_ROW`] where there is none in the part.
    node_of: &'a [u32],
    /// Whether the part is all of the graph.
    is_whole: bool,
}

impl LinksOfPart<'_> {
    fn of_row(&self, row: u32) -> &[u32] {
        let start = row as usize * self.degree;
        self.base.get(start..start + self.degree).unwrap_or(&[])
    }

    fn node(&self, row: u32) -> Option<u32> {
        let node = self.node_of.get(row as usize);
        node.copied().filter(|&node| node != NO_ROW)
    }

    /// Fills the places of a row's node: links that stay in the part, then those of rows outside that it has links to, then
    /// [`NO_ROW`].
    fn fill(&self, row: u32, places: &mut [u32]) {
        let own = self.of_row(row);
        if self.is_whole {
            for (place, &to) in places.iter_mut().zip(own) {
                *place = self.node(to).unwrap_or(NO_ROW);
            }
            return;
        }
        let stay = own.iter().filter_map(|&to| self.node(to));
        let outside = own.iter().filter(|&&to| to != NO_ROW && self.node(to).is_none());
        let bridged = outside
            .flat_map(|&over| self.of_row(over))
            .filter(|&&to| to != row);
        let bridged = bridged.filter_map(|&to| self.node(to));
        let mut used = 0;
        for node in stay.chain(bridged) {
            let (taken, free) = places.split_at_mut(used);
            let Some(place) = free.first_mut() else { return };
            if !taken.contains(&node) {
                *place = node;
                used += 1;
            }
        }
        for place in places.iter_mut().skip(used) {
            *place = NO_ROW;
        }
    }
}

/// Bytes of a graph on a device, over rows of `dim` elements.
pub(super) fn bytes(nodes: usize, (element, dim): (ElementType, usize), degree: usize) -> usize {
    let row_words = element.row_words(element.stride(dim));
    nodes.saturating_mul(4 * (row_words + degree + 2))
}

impl<B: Backend> GraphOnDevice<B> {
    /// Uploads a part of the base layer of a graph over the rows of `sides`.
    pub(super) fn upload(
        device: &Device<B>,
        host: &HostGraph<'_>,
        sides: &Sides<'_>,
        part: Part,
    ) -> Result<Self, GpuError> {
        let (backend, vectors, element) = (&device.backend, sides.vectors, sides.element);
        let members = host.numbers(vectors.len());
        let members: Vec<u32> = members.into_iter().skip(part.number).step_by(part.of).collect();
        let degree = host.degree;
        let row_words = element.row_words(sides.stride());
        let needed = bytes(members.len(), (element, sides.dim), degree);
        let reserved = device.budget.reserve("the graph of an index", needed)?;
        let mut node_of = vec![NO_ROW; vectors.len()];
        for (node, &row) in members.iter().enumerate() {
            if let Some(place) = node_of.get_mut(row as usize) {
                *place = node as u32;
            }
        }
        let of_part = LinksOfPart {
            base: host.base,
            degree,
            node_of: &node_of,
            is_whole: part.of == 1,
        };
        let mut data = backend.allocate(members.len() * row_words)?;
        let mut links = backend.allocate(members.len() * degree)?;
        let at_once = (COPY_WORDS / row_words.max(degree).max(1)).max(1);
        for (turn, some) in members.chunks(at_once).enumerate() {
            let first = turn * at_once;
            let mut rows = vec![0u32; some.len() * row_words];
            for_chunks(&mut rows, row_words, |at, words| {
                if let Some(&row) = some.get(at) {
                    pack(vectors.row(row as usize), words);
                }
            });
            backend.write(&mut data, first * row_words, &rows)?;
            let mut nodes = vec![NO_ROW; some.len() * degree];
            for_chunks(&mut nodes, degree, |at, places| {
                if let Some(&row) = some.get(at) {
                    of_part.fill(row, places);
                }
            });
            backend.write(&mut links, first * degree, &nodes)?;
        }
        let terms = terms(backend, host, sides, &members, &data)?;
        let mut numbers = backend.allocate(members.len())?;
        backend.write(&mut numbers, 0, &members)?;
        Ok(Self {
            element,
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
            element: self.element,
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

/// What a comparison needs of the nodes' rows, which are on the device: of integers and bits worked out there, exactly.
fn terms<B: Backend>(
    backend: &B,
    host: &HostGraph<'_>,
    sides: &Sides<'_>,
    members: &[u32],
    data: &B::Buffer,
) -> Result<B::Buffer, GpuError> {
    if sides.element.is_exact() {
        let mut terms = backend.allocate(members.len())?;
        let mut largest = backend.allocate(1)?;
        backend.write(&mut largest, 0, &[0u32])?;
        let of_rows = (sides.element, sides.comparison);
        let (count, stride) = (members.len() as u32, sides.stride() as u32);
        backend.row_terms(of_rows, data, count, stride, &mut terms, &mut largest)?;
        return Ok(terms);
    }
    let of_nodes: Vec<f32> = match host.inverse_norms {
        [] => vec![0.0],
        norms => {
            let norm = |row: &u32| norms.get(*row as usize).copied().unwrap_or(0.0);
            members.iter().map(norm).collect()
        }
    };
    let mut terms = backend.allocate(of_nodes.len())?;
    backend.write(&mut terms, 0, &of_nodes)?;
    Ok(terms)
}
