//! The links of all layers as flat arrays: the same shape while growing and once frozen.
//!
//! A node of the base layer is a row number. A node of an upper layer is a *slot*: its place in the layer's list of rows.
//! Links of a layer lead to nodes of the same layer; `down` leads from a slot to the node of the same row one layer
//! below. So a walk never looks anything up, and upper layers take memory for their own few rows only. Slots are given
//! in order of insertion, which makes slot 0 of the highest layer the entry of every walk.
//!
//! Every node has room for `stride` links; unused room is [`NONE`].

use std::sync::atomic::{AtomicU32, Ordering};

use crate::bitset::Bitset;
use crate::blob::{Array, Reader, Writer};
use crate::error::OpenError;

/// No node: fills the unused room of a link list.
pub(crate) const NONE: u32 = u32::MAX;

/// Layers above the base that a graph can have; the level of a node is drawn so that more are out of reach.
pub(crate) const MAX_UPPER: usize = 40;

/// A link as it lies in memory. While building, links are atomics: threads write lists of different nodes of one array
/// without any unsafe code, and on every machine a relaxed load is a plain load.
pub(crate) trait Link {
    fn node(&self) -> u32;
}

impl Link for u32 {
    #[inline]
    fn node(&self) -> u32 {
        *self
    }
}

impl Link for AtomicU32 {
    #[inline]
    fn node(&self) -> u32 {
        self.load(Ordering::Relaxed)
    }
}

/// One layer as walks see it.
#[derive(Debug)]
pub(crate) struct LayerRef<'a, L> {
    pub(crate) links: &'a [L],
    pub(crate) stride: usize,
    /// Row of every slot; `None` on the base layer, where a node is its row.
    pub(crate) rows: Option<&'a [u32]>,
}

impl<L> Clone for LayerRef<'_, L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L> Copy for LayerRef<'_, L> {}

impl<'a, L: Link> LayerRef<'a, L> {
    /// Room of `node`, unused room included.
    #[inline]
    pub(crate) fn room(&self, node: u32) -> &'a [L] {
        let start = node as usize * self.stride;
        self.links.get(start..start + self.stride).unwrap_or(&[])
    }

    /// Linked nodes of `node`.
    #[inline]
    pub(crate) fn neighbors(&self, node: u32) -> impl Iterator<Item = u32> + use<'a, L> {
        self.room(node)
            .iter()
            .map(Link::node)
            .take_while(|&node| node != NONE)
    }

    /// Row of `node`; [`NONE`] when there is no such node.
    #[inline]
    pub(crate) fn row(&self, node: u32) -> u32 {
        match self.rows {
            None => node,
            Some(rows) => rows.get(node as usize).copied().unwrap_or(NONE),
        }
    }
}

/// A layer above the base.
#[derive(Debug)]
pub(crate) struct Upper {
    pub(crate) rows: Array<u32>,
    pub(crate) down: Array<u32>,
    pub(crate) links: Array<u32>,
    pub(crate) stride: usize,
}

/// A finished graph.
#[derive(Debug)]
pub(crate) struct Layers {
    pub(crate) base: Array<u32>,
    pub(crate) stride: usize,
    /// Lowest first.
    pub(crate) upper: Vec<Upper>,
    /// Row where walks enter the base when there is no upper layer; [`NONE`] in an empty graph.
    pub(crate) entry: u32,
}

impl Layers {
    pub(crate) fn base(&self) -> LayerRef<'_, u32> {
        LayerRef {
            links: &self.base,
            stride: self.stride,
            rows: None,
        }
    }

    pub(crate) fn upper(&self, index: usize) -> Option<LayerRef<'_, u32>> {
        self.upper.get(index).map(|layer| LayerRef {
            links: &layer.links,
            stride: layer.stride,
            rows: Some(&layer.rows),
        })
    }

    /// Most links of a base node.
    pub(crate) fn base_degree(&self) -> usize {
        self.stride
    }

    /// Arrays that [`Layers::write`] adds.
    pub(crate) fn arrays(&self) -> usize {
        2 + 3 * self.upper.len()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let upper = self
            .upper
            .iter()
            .map(|layer| layer.rows.bytes() + layer.down.bytes() + layer.links.bytes());
        self.base.bytes() + upper.sum::<usize>()
    }

    /// Adds the arrays to a blob: numbers, base links, then rows, down and links of every upper layer.
    pub(crate) fn write<'a>(&'a self, writer: &mut Writer<'a>) {
        writer.put(vec![self.entry, self.stride as u32, self.upper.len() as u32]);
        writer.put(&*self.base);
        for layer in &self.upper {
            writer.put(&*layer.rows);
            writer.put(&*layer.down);
            writer.put(&*layer.links);
        }
    }

    /// Opens what [`Layers::write`] wrote as arrays `first` and following, and checks every number in them: walks rely
    /// on links that lead to existing nodes with a vector. More arrays may follow.
    pub(crate) fn open(reader: &Reader, first: usize, valid: Option<&Bitset>) -> Result<Self, OpenError> {
        let rows = reader.header().rows;
        let numbers = reader.array_of::<u32>(first, 3, "graph numbers")?;
        let &[entry, stride, upper_count] = &*numbers else {
            return Err(OpenError::corrupt("graph numbers"));
        };
        let (stride, upper_count) = (stride as usize, upper_count as usize);
        if upper_count > MAX_UPPER || reader.arrays() < first + 2 + 3 * upper_count {
            return Err(OpenError::corrupt(format!(
                "{upper_count} upper layers in {} arrays",
                reader.arrays()
            )));
        }
        let has_vector = |row: u32| match valid {
            None => (row as usize) < rows,
            Some(valid) => valid.get(row as usize),
        };
        let Some(base_len) = rows.checked_mul(stride) else {
            return Err(OpenError::corrupt(format!(
                "{stride} links for each of {rows} rows"
            )));
        };
        let base = reader.array_of::<u32>(first + 1, base_len, "base links")?;
        check_links(&base, has_vector, "base")?;
        let mut upper: Vec<Upper> = Vec::with_capacity(upper_count);
        for index in 0..upper_count {
            let at = first + 2 + 3 * index;
            let layer_rows = reader.array::<u32>(at, "layer rows")?;
            let count = layer_rows.len();
            let down = reader.array_of::<u32>(at + 1, count, "ways down")?;
            let links = reader.array::<u32>(at + 2, "layer links")?;
            if count == 0 || !links.len().is_multiple_of(count) {
                return Err(OpenError::corrupt(format!(
                    "{} links of {count} nodes",
                    links.len()
                )));
            }
            if !layer_rows.iter().all(|&row| has_vector(row)) {
                return Err(OpenError::corrupt("a layer holds a row that is not in the index"));
            }
            check_links(&links, |node| (node as usize) < count, "layer")?;
            let below = upper.last().map(|layer| &layer.rows);
            let leads_down = |(&down, &row): (&u32, &u32)| match below {
                None => down == row,
                Some(below) => below.get(down as usize) == Some(&row),
            };
            if !down.iter().zip(layer_rows.iter()).all(leads_down) {
                return Err(OpenError::corrupt("a way down leads to another row"));
            }
            let stride = links.len() / count;
            upper.push(Upper {
                rows: layer_rows,
                down,
                links,
                stride,
            });
        }
        if entry != NONE && !has_vector(entry) {
            return Err(OpenError::corrupt(format!(
                "entry row {entry} is not in the index"
            )));
        }
        Ok(Self {
            base,
            stride,
            upper,
            entry,
        })
    }
}

fn check_links(links: &[u32], exists: impl Fn(u32) -> bool, layer: &str) -> Result<(), OpenError> {
    match links.iter().find(|&&node| node != NONE && !exists(node)) {
        None => Ok(()),
        Some(node) => Err(OpenError::corrupt(format!(
            "a {layer} link leads to {node}, which does not exist"
        ))),
    }
}

/// A layer while it grows.
#[derive(Debug)]
pub(crate) struct GrowingLayer {
    links: Vec<AtomicU32>,
    /// Room per node.
    pub(crate) stride: usize,
    rows: Option<Vec<u32>>,
}

impl GrowingLayer {
    /// `rows` for an upper layer; the base has `base_nodes` nodes.
    pub(crate) fn new(base_nodes: usize, stride: usize, rows: Option<Vec<u32>>) -> Self {
        let nodes = rows.as_ref().map_or(base_nodes, Vec::len);
        let links = (0..nodes * stride).map(|_| AtomicU32::new(NONE)).collect();
        Self { links, stride, rows }
    }

    pub(crate) fn view(&self) -> LayerRef<'_, AtomicU32> {
        LayerRef {
            links: &self.links,
            stride: self.stride,
            rows: self.rows.as_deref(),
        }
    }

    /// Replaces the links of `node`; those beyond the room are dropped. At any time only one thread writes a node.
    pub(crate) fn set(&self, node: u32, links: impl Iterator<Item = u32>) {
        let links = links.chain(std::iter::repeat(NONE));
        for (room, link) in self.view().room(node).iter().zip(links) {
            room.store(link, Ordering::Relaxed);
        }
    }

    /// The links with no more room per node than the fullest one uses, and that room.
    pub(crate) fn freeze(self) -> (Vec<u32>, usize, Vec<u32>) {
        let lists = self.links.chunks_exact(self.stride.max(1));
        let used = lists.map(|list| list.iter().take_while(|link| link.node() != NONE).count());
        let stride = used.max().unwrap_or(0);
        let mut links = Vec::with_capacity(self.links.len() / self.stride.max(1) * stride);
        for list in self.links.chunks_exact(self.stride.max(1)) {
            links.extend(list.iter().take(stride).map(Link::node));
        }
        (links, stride, self.rows.unwrap_or_default())
    }
}
