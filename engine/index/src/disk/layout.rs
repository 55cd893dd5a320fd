//! How nodes lie on disk.
//!
//! ```text
//!   block: whole pages     node 0 | node 1 | .. | zeros | CRC-32C of what is before it
//!   node:                  row (u32), links (u32) | vector, filled up to 4 bytes | positions of linked nodes (u32 each)
//! ```
//!
//! A block is one page that holds as many nodes as fit, or as many pages as one node needs. All numbers are little-endian.
//! Every node has the same room: where it lies follows from its position.

/// What is read at once at least, and what reads past the page cache must be aligned to.
pub(crate) const PAGE: usize = 4096;
const CHECKSUM: usize = 4;
const HEAD: usize = 8;

/// Sizes of nodes and blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    vector_bytes: usize,
    /// Most links of a node.
    degree: usize,
    node_bytes: usize,
    per_block: usize,
    /// Pages of a block.
    pages: usize,
}

/// A node as it lies in a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node<'a> {
    pub(crate) row: u32,
    pub(crate) vector: &'a [u8],
    links: &'a [u8],
}

impl Layout {
    /// For vectors of `vector_bytes` and at most `degree` links; `None` when that is more than there can be.
    pub(crate) fn new(vector_bytes: usize, degree: usize) -> Option<Self> {
        let node_bytes = vector_bytes
            .checked_next_multiple_of(4)?
            .checked_add(degree.checked_mul(4)?)?
            .checked_add(HEAD)?;
        let pages = node_bytes.checked_add(CHECKSUM)?.div_ceil(PAGE);
        let per_block = (pages.checked_mul(PAGE)? - CHECKSUM) / node_bytes;
        Some(Self {
            vector_bytes,
            degree,
            node_bytes,
            per_block,
            pages,
        })
    }

    /// Most links of a node.
    pub(crate) fn degree(&self) -> usize {
        self.degree
    }

    /// Pages of a block.
    pub(crate) fn pages(&self) -> usize {
        self.pages
    }

    pub(crate) fn block_bytes(&self) -> usize {
        self.pages * PAGE
    }

    /// Blocks of so many nodes.
    pub(crate) fn blocks(&self, nodes: usize) -> usize {
        nodes.div_ceil(self.per_block)
    }

    /// Nodes of a block.
    pub(crate) fn per_block(&self) -> usize {
        self.per_block
    }

    /// The block that a node lies in, and its place there.
    pub(crate) fn place(&self, position: u32) -> (usize, usize) {
        let position = position as usize;
        (position / self.per_block, position % self.per_block)
    }

    /// Writes a node to its place in a block.
    pub(crate) fn write(
        &self,
        block: &mut [u8],
        place: usize,
        row: u32,
        vector: &[u8],
        links: impl Iterator<Item = u32>,
    ) {
        let start = place * self.node_bytes;
        let Some(room) = block.get_mut(start..start + self.node_bytes) else {
            return;
        };
        let (head, rest) = room.split_at_mut(HEAD);
        let (own, after) = rest.split_at_mut(self.vector_bytes.next_multiple_of(4));
        own.iter_mut().zip(vector).for_each(|(slot, &byte)| *slot = byte);
        let mut count = 0u32;
        for (slot, link) in after.chunks_exact_mut(4).zip(links) {
            slot.copy_from_slice(&link.to_le_bytes());
            count += 1;
        }
        head[..4].copy_from_slice(&row.to_le_bytes());
        head[4..].copy_from_slice(&count.to_le_bytes());
    }

    /// The node at a place of a block; `None` where there is none, or one with more links than there can be.
    pub(crate) fn node<'a>(&self, block: &'a [u8], place: usize) -> Option<Node<'a>> {
        let start = place.checked_mul(self.node_bytes)?;
        let bytes = block.get(start..start.checked_add(self.node_bytes)?)?;
        let (row, rest) = bytes.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        let vector = rest.get(..self.vector_bytes)?;
        let count = u32::from_le_bytes(*count) as usize;
        if count > self.degree {
            return None;
        }
        let links = rest.get(self.vector_bytes.next_multiple_of(4)..)?;
        Some(Node {
            row: u32::from_le_bytes(*row),
            vector,
            links: links.get(..count * 4)?,
        })
    }
}

impl Node<'_> {
    /// Positions of the linked nodes.
    pub(crate) fn links(&self) -> impl Iterator<Item = u32> {
        let (links, _) = self.links.as_chunks();
        links.iter().map(|&link| u32::from_le_bytes(link))
    }
}

/// Writes the checksum of a block to its end.
pub(crate) fn seal(block: &mut [u8]) {
    if let Some((content, checksum)) = block.split_last_chunk_mut::<CHECKSUM>() {
        *checksum = crc32c::crc32c(content).to_le_bytes();
    }
}

/// Whether the checksum of a block holds.
pub(crate) fn is_whole(block: &[u8]) -> bool {
    block
        .split_last_chunk::<CHECKSUM>()
        .is_some_and(|(content, checksum)| crc32c::crc32c(content) == u32::from_le_bytes(*checksum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_read_back_from_blocks_of_one_page_and_of_more() {
        for (vector_bytes, degree, per_block, pages) in [
            (512, 48, 5, 1),
            (1, 1, 255, 1),
            (3072, 48, 1, 1),
            (6144, 48, 1, 2),
            (4084, 0, 1, 1),
            (4085, 0, 1, 2),
        ] {
            let layout = Layout::new(vector_bytes, degree).unwrap();
            assert_eq!((layout.per_block(), layout.pages()), (per_block, pages));
            let mut block = vec![0; layout.block_bytes()];
            let vector = |place: usize| vec![place as u8 + 1; vector_bytes];
            let links = |place: usize| (0..degree as u32).take(place).map(|link| link * 7);
            for place in 0..per_block {
                layout.write(&mut block, place, place as u32 + 9, &vector(place), links(place));
            }
            seal(&mut block);
            assert!(is_whole(&block));
            for place in 0..per_block {
                let node = layout.node(&block, place).unwrap();
                assert_eq!((node.row, node.vector), (place as u32 + 9, &*vector(place)));
                assert!(node.links().eq(links(place)));
            }
            assert!(layout.node(&block, per_block + pages * PAGE).is_none());
            block[5] ^= 1;
            assert!(!is_whole(&block));
        }
        assert!(Layout::new(usize::MAX, 2).is_none() && Layout::new(2, usize::MAX).is_none());
    }
}
