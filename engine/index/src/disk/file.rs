//! Positioned reads of a file, many at once.
//!
//! On Linux the file is opened for direct reads where its file system has them: blocks go to our memory and nowhere else, so
//! that what an index takes does not depend on what the page cache happens to hold. A batch is one call of the kernel by
//! io_uring. Where there is none (an old kernel, a sandbox that forbids it, another system), a batch is spread over the
//! thread pool.

use std::fs::File;
use std::io;
use std::path::Path;

use rayon::prelude::*;

use super::pages::Pages;
#[cfg(target_os = "linux")]
use super::uring::Rings;

/// The part of a file that holds blocks.
#[derive(Debug)]
pub(crate) struct NodeFile {
    file: File,
    /// Where the first block starts.
    offset: u64,
    #[cfg(target_os = "linux")]
    rings: Option<Rings>,
}

impl NodeFile {
    /// # Errors
    /// When the file cannot be opened.
    pub(crate) fn open(path: &Path, offset: u64) -> io::Result<Self> {
        Self::open_as(path, offset, true, true)
    }

    /// Opens it for `direct` reads and batches by `rings` where both can be had.
    pub(crate) fn open_as(path: &Path, offset: u64, direct: bool, rings: bool) -> io::Result<Self> {
        let file = if direct { open_direct(path, offset) } else { None };
        #[cfg(not(target_os = "linux"))]
        let _ = rings;
        Ok(Self {
            file: file.map_or_else(|| File::open(path), Ok)?,
            offset,
            #[cfg(target_os = "linux")]
            rings: rings.then(Rings::new).flatten(),
        })
    }

    /// Reads `blocks` of `size` bytes to the start of `pages`, one after the other.
    pub(crate) fn read(&self, blocks: &[usize], size: usize, pages: &mut Pages) -> io::Result<()> {
        let place = |&block: &usize| -> io::Result<u64> {
            let start = (block as u64).checked_mul(size as u64);
            let start = start.and_then(|start| start.checked_add(self.offset));
            start.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        };
        let places: Vec<u64> = blocks.iter().map(place).collect::<io::Result<_>>()?;
        #[cfg(target_os = "linux")]
        if let Some(rings) = &self.rings
            && places.len() > 1
        {
            return rings.read(&self.file, &places, size, pages, |place, room| {
                read_at(&self.file, place, room)
            });
        }
        let rooms = pages.bytes_mut();
        if let ([place], Some(room)) = (places.as_slice(), rooms.get_mut(..size)) {
            return read_at(&self.file, *place, room);
        }
        rooms
            .par_chunks_exact_mut(size.max(1))
            .zip(&places)
            .try_for_each(|(room, &place)| read_at(&self.file, place, room))
    }
}

/// `None` where the file system has no direct reads.
#[cfg(target_os = "linux")]
fn open_direct(path: &Path, offset: u64) -> Option<File> {
    use std::os::unix::fs::OpenOptionsExt;

    let mut options = File::options();
    let file = options.read(true).custom_flags(libc::O_DIRECT).open(path).ok()?;
    // Some file systems open such a file and then refuse to read from it.
    let mut pages = Pages::default();
    pages.resize(1);
    let refused = read_at(&file, offset, pages.bytes_mut())
        .is_err_and(|error| error.kind() != io::ErrorKind::UnexpectedEof);
    (!refused).then_some(file)
}

#[cfg(not(target_os = "linux"))]
fn open_direct(_path: &Path, _offset: u64) -> Option<File> {
    None
}

#[cfg(unix)]
fn read_at(file: &File, place: u64, room: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, room, place)
}

#[cfg(windows)]
fn read_at(file: &File, mut place: u64, mut room: &mut [u8]) -> io::Result<()> {
    while !room.is_empty() {
        let count = std::os::windows::fs::FileExt::seek_read(file, room, place)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        room = room.get_mut(count..).unwrap_or_default();
        place += count as u64;
    }
    Ok(())
}
