//! Reading blocks of nodes, many at once: from a file past the page cache, or from bytes in memory.

use std::io;

use bytes::Bytes;
use parking_lot::Mutex;

use super::file::NodeFile;
use super::layout::{Layout, PAGE, is_whole};

/// One page of memory, aligned as reads past the page cache ask for.
#[derive(Debug, Clone)]
#[repr(C, align(4096))]
pub(crate) struct Page(pub(crate) [u8; PAGE]);

/// Whole pages, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Pages(Vec<Page>);

impl Pages {
    /// Makes room for `count` pages; what is in them is unspecified.
    pub(crate) fn resize(&mut self, count: usize) {
        if self.0.len() < count {
            self.0.resize(count, Page([0; PAGE]));
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: a `Page` is an array of bytes without padding, and any byte is a `u8`.
        let (_, bytes, _) = unsafe { self.0.align_to::<u8>() };
        bytes
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and any bytes are a `Page`.
        let (_, bytes, _) = unsafe { self.0.align_to_mut::<u8>() };
        bytes
    }
}

/// Where the blocks are.
#[derive(Debug)]
enum Source {
    Memory(Bytes),
    File(NodeFile),
}

/// All blocks of an index; the first of them may be kept in memory.
#[derive(Debug)]
pub(crate) struct Blocks {
    layout: Layout,
    source: Source,
    /// The first blocks.
    cache: Pages,
    cached: usize,
    idle: Mutex<Vec<Pages>>,
}

impl Blocks {
    /// Blocks that lie in memory, or in a mapped file.
    pub(crate) fn in_memory(layout: Layout, bytes: Bytes) -> Self {
        Self::new(layout, Source::Memory(bytes))
    }

    /// Blocks of a file.
    pub(crate) fn in_file(layout: Layout, file: NodeFile) -> Self {
        Self::new(layout, Source::File(file))
    }

    fn new(layout: Layout, source: Source) -> Self {
        Self {
            layout,
            source,
            cache: Pages::default(),
            cached: 0,
            idle: Mutex::default(),
        }
    }

    /// The bytes of all blocks, where they are in memory.
    pub(crate) fn in_one(&self) -> Option<&Bytes> {
        match &self.source {
            Source::Memory(bytes) => Some(bytes),
            Source::File(_) => None,
        }
    }

    /// Reads the first `count` blocks and keeps them.
    pub(crate) fn keep_first(&mut self, count: usize) -> io::Result<()> {
        if matches!(self.source, Source::Memory(_)) {
            return Ok(());
        }
        let mut pages = Pages::default();
        // Exactly the room that is needed, for it stays.
        pages.0.reserve_exact(count * self.layout.pages());
        let blocks: Vec<usize> = (0..count).collect();
        self.fetch(&blocks, &mut pages)?;
        self.cache = pages;
        self.cached = count;
        Ok(())
    }

    /// Bytes in memory, or mapped.
    pub(crate) fn memory_bytes(&self) -> usize {
        let idle: usize = self.idle.lock().iter().map(|pages| pages.bytes().len()).sum();
        self.in_one().map_or(0, Bytes::len) + self.cache.bytes().len() + idle
    }

    /// Memory for reads that run one after the other.
    pub(crate) fn take(&self) -> Pages {
        self.idle.lock().pop().unwrap_or_default()
    }

    pub(crate) fn give_back(&self, pages: Pages) {
        self.idle.lock().push(pages);
    }

    /// Block `block`, where it is kept in memory.
    pub(crate) fn kept(&self, block: usize) -> Option<&[u8]> {
        if block >= self.cached {
            return None;
        }
        let bytes = self.layout.block_bytes();
        self.cache.bytes().get(block * bytes..(block + 1) * bytes)
    }

    /// Reads `blocks` at once to the start of `pages`, one after the other.
    ///
    /// # Errors
    /// When the file cannot be read, ends early, or a checksum differs.
    pub(crate) fn fetch(&self, blocks: &[usize], pages: &mut Pages) -> io::Result<()> {
        let size = self.layout.block_bytes();
        pages.resize(blocks.len() * self.layout.pages());
        match &self.source {
            Source::Memory(bytes) => {
                for (room, &block) in pages.bytes_mut().chunks_exact_mut(size).zip(blocks) {
                    let found = block
                        .checked_mul(size)
                        .and_then(|start| bytes.get(start..start.checked_add(size)?));
                    room.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
                }
            }
            Source::File(file) => file.read(blocks, size, pages)?,
        }
        for (content, block) in pages.bytes().chunks_exact(size).zip(blocks) {
            if !is_whole(content) {
                let text = format!("checksum of block {block} differs");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
        Ok(())
    }

    /// Reads everything once.
    ///
    /// # Errors
    /// As [`Blocks::fetch`].
    pub(crate) fn check(&self, count: usize) -> io::Result<()> {
        let mut pages = Pages::default();
        for block in 0..count {
            self.fetch(&[block], &mut pages)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::layout::seal;

    fn sealed(blocks: usize, layout: Layout) -> Vec<u8> {
        let mut all: Vec<u8> = (0..blocks * layout.block_bytes())
            .map(|at| (at / layout.block_bytes() * 31 + at % 251) as u8)
            .collect();
        all.chunks_mut(layout.block_bytes()).for_each(seal);
        all
    }

    fn check(blocks: &Blocks, content: &[u8], size: usize) {
        let mut pages = blocks.take();
        for wanted in [vec![0], vec![7, 3, 3, 19], (0..20).rev().collect()] {
            blocks.fetch(&wanted, &mut pages).unwrap();
            for (found, &block) in pages.bytes().chunks_exact(size).zip(&wanted) {
                assert!(found == &content[block * size..][..size], "block {block}");
            }
        }
        assert!(blocks.fetch(&[20], &mut pages).is_err(), "there is no such block");
        assert!(blocks.fetch(&[usize::MAX], &mut pages).is_err());
        blocks.give_back(pages);
    }

    #[test]
    fn blocks_come_back_from_memory_and_from_files_however_they_are_read() {
        for vector_bytes in [512, 6_000] {
            let layout = Layout::new(vector_bytes, 20).unwrap();
            let (size, content) = (layout.block_bytes(), sealed(20, layout));
            let memory = Blocks::in_memory(layout, Bytes::from(content.clone()));
            check(&memory, &content, size);
            let path = std::env::temp_dir().join(format!("elanus-pages-{}-{size}", std::process::id()));
            std::fs::write(&path, [vec![9; PAGE], content.clone()].concat()).unwrap();
            for ways in 0..4 {
                let file = NodeFile::open_as(&path, PAGE as u64, ways & 1 == 1, ways & 2 == 2).unwrap();
                let mut blocks = Blocks::in_file(layout, file);
                check(&blocks, &content, size);
                blocks.keep_first(4).unwrap();
                assert_eq!(blocks.kept(3), Some(&content[3 * size..4 * size]));
                assert_eq!(blocks.kept(4), None);
                blocks.check(20).unwrap();
            }
            let mut damaged = content.clone();
            damaged[5 * size + 9] ^= 1;
            std::fs::write(&path, [vec![9; PAGE], damaged].concat()).unwrap();
            let blocks = Blocks::in_file(layout, NodeFile::open(&path, PAGE as u64).unwrap());
            let error = blocks.fetch(&[4, 5], &mut Pages::default()).unwrap_err();
            assert_eq!(error.to_string(), "checksum of block 5 differs");
            std::fs::remove_file(path).unwrap();
        }
    }
}
