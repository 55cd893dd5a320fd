//! A batch of reads as one call of the kernel.

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::AsRawFd;

use io_uring::{IoUring, opcode, types};
use parking_lot::Mutex;

use super::pages::Pages;

/// Reads that a ring has room for.
const ENTRIES: u32 = 128;

/// Rings of as many batches as ever ran at once.
pub(crate) struct Rings {
    idle: Mutex<Vec<IoUring>>,
}

impl std::fmt::Debug for Rings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rings").finish_non_exhaustive()
    }
}

impl Rings {
    /// `None` where the kernel gives no rings.
    pub(crate) fn new() -> Option<Self> {
        let first = IoUring::new(ENTRIES).ok()?;
        Some(Self {
            idle: Mutex::new(vec![first]),
        })
    }

    /// Reads `size` bytes from each of `places` of a file to the start of `pages`, one after the other. What a ring does not
    /// read to the end, `read` does.
    pub(crate) fn read(
        &self,
        file: &File,
        places: &[u64],
        size: usize,
        pages: &mut Pages,
        read: impl Fn(u64, &mut [u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let idle = self.idle.lock().pop();
        let ring = idle.map_or_else(|| IoUring::new(ENTRIES), Ok);
        let Ok(mut ring) = ring else {
            // Out of file numbers or locked memory, for now.
            let rooms = pages.bytes_mut().chunks_exact_mut(size.max(1));
            return rooms.zip(places).try_for_each(|(room, &place)| read(place, room));
        };
        let mut first = 0;
        for some in places.chunks(ENTRIES as usize) {
            let rooms = pages.bytes_mut().get_mut(first * size..).unwrap_or_default();
            match batch(&mut ring, file, some, size, rooms) {
                Ok(unread) => {
                    for index in unread {
                        let room = rooms.get_mut(index * size..(index + 1) * size);
                        if let (Some(room), Some(&place)) = (room, some.get(index)) {
                            read(place, room)?;
                        }
                    }
                }
                Err(error) => {
                    // The kernel may still write to these pages: nobody else may ever have them.
                    mem::forget(mem::take(pages));
                    return Err(error);
                }
            }
            first += some.len();
        }
        self.idle.lock().push(ring);
        Ok(())
    }
}

/// Reads at most [`ENTRIES`] places to `rooms`; returns those that were not read to the end. After an error, reads may still
/// go on.
fn batch(
    ring: &mut IoUring,
    file: &File,
    places: &[u64],
    size: usize,
    rooms: &mut [u8],
) -> io::Result<Vec<usize>> {
    let fd = types::Fd(file.as_raw_fd());
    let length = u32::try_from(size).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut queue = ring.submission();
    let mut asked = 0;
    for (index, (room, &place)) in rooms.chunks_exact_mut(size.max(1)).zip(places).enumerate() {
        let entry = opcode::Read::new(fd, room.as_mut_ptr(), length)
            .offset(place)
            .build()
            .user_data(index as u64);
        // SAFETY: file and room outlive the read: this returns only when all reads are over, or with an error, upon which
        // the caller gives the memory up for good. No room is given twice.
        let pushed = unsafe { queue.push(&entry) };
        pushed.map_err(|_| io::ErrorKind::OutOfMemory)?;
        asked += 1;
    }
    drop(queue);
    let (mut unread, mut done) = (Vec::new(), 0);
    while done < asked {
        match ring.submit_and_wait(asked - done) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        for completion in ring.completion() {
            done += 1;
            if usize::try_from(completion.result()) != Ok(size) {
                unread.push(completion.user_data() as usize);
            }
        }
    }
    Ok(unread)
}
