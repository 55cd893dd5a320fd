//! What it takes to open an index by mapping its file, as a server does.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::time::Instant;

use bytes::Bytes;
use elanus_index::{AnyIndex, IndexKind};
use memmap2::Mmap;
use serde_json::{Value, json};

use crate::Result;

/// How often it is opened with its pages in memory; the middle one counts.
const TURNS: usize = 5;

/// Bytes of the index's file, and seconds to open it, its pages in memory and on the disk, which the working directory is on.
pub fn open(index: &AnyIndex) -> Result<Value> {
    if index.kind() == IndexKind::DiskAnn {
        return Err("its vectors are gone: it lives in its file".into());
    }
    let mut file = tempfile::tempfile_in(".")?;
    file.write_all(&index.serialize())?;
    time(&file)
}

fn time(file: &File) -> Result<Value> {
    file.sync_all()?;
    let mut warm = (0..TURNS).map(|_| once(file)).collect::<Result<Vec<f64>>>()?;
    warm.sort_by(f64::total_cmp);
    // SAFETY: advice on a file that is open; its pages are on the disk and no longer mapped.
    if unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) } != 0 {
        return Err("the system does not let go of a file's pages".into());
    }
    Ok(json!({
        "bytes": file.metadata()?.len(),
        "seconds": warm[TURNS / 2],
        "seconds_from_disk": once(file)?,
    }))
}

fn once(file: &File) -> Result<f64> {
    let start = Instant::now();
    // SAFETY: the file has no name, and nobody writes to it again.
    let mapping = unsafe { Mmap::map(file) }?;
    let index = AnyIndex::open(Bytes::from_owner(mapping))?;
    let seconds = start.elapsed().as_secs_f64();
    drop(index);
    Ok(seconds)
}
