//! Large pages under memory that is read at random: a walk then finds most addresses without asking the page tables.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Shorter memory is left as it is: its pages are few.
const LEAST: usize = 4 << 20;

/// What an advised range should become.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// Large pages when it is touched first, or when the system comes to it.
    Later,
    /// Now: its pages are copied into large ones.
    Now,
}

/// Puts large pages under `numbers`, which were just made and stay where they are. Whether there are any is up to the
/// system: on Linux with `transparent_hugepage` at `madvise` or `always`, for memory that is no file. Elsewhere nothing
/// happens.
pub(crate) fn collapse<T>(numbers: &[T]) {
    advise(numbers, When::Now);
}

/// Asks for large pages as [`collapse`] does, and takes no time for it.
pub(crate) fn hint<T>(numbers: &[T]) {
    advise(numbers, When::Later);
}

/// The bytes of a file, in memory that had the hint before it was touched.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length)?;
    hint(bytes.spare_capacity_mut());
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn advise<T>(numbers: &[T], when: When) {
    let bytes = size_of_val(numbers);
    if bytes >= LEAST {
        advise_range(numbers.as_ptr().cast::<u8>().cast_mut(), bytes, when);
    }
}

#[cfg(target_os = "linux")]
fn advise_range(start: *mut u8, bytes: usize, when: When) {
    // SAFETY: asks for the size of a page.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let Ok(page) = usize::try_from(page) else {
        return;
    };
    let skipped = start.align_offset(page.max(1));
    let Some(length) = bytes.checked_sub(skipped).map(|rest| rest / page.max(1) * page) else {
        return;
    };
    // SAFETY: whole pages inside memory that is borrowed here. Neither call changes what they hold or who may read it; what
    // the system refuses stays as it was.
    unsafe {
        let start = start.add(skipped).cast();
        libc::madvise(start, length, libc::MADV_HUGEPAGE);
        if when == When::Now {
            libc::madvise(start, length, libc::MADV_COLLAPSE);
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn advise_range(_start: *mut u8, _bytes: usize, _when: When) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_memory_holds_stays() {
        for bytes in [0, 1, LEAST - 1, LEAST, LEAST + 12_345, 3 * LEAST] {
            let held: Vec<u8> = (0..bytes).map(|at| (at * 7 % 251) as u8).collect();
            collapse(&held);
            hint(held.get(3..).unwrap_or(&[]));
            assert!(
                held.iter()
                    .enumerate()
                    .all(|(at, &byte)| byte == (at * 7 % 251) as u8)
            );
        }
    }

    #[test]
    fn a_file_is_read_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bytes");
        for bytes in [0, 5, LEAST + 3] {
            let written: Vec<u8> = (0..bytes).map(|at| (at * 7 % 251) as u8).collect();
            std::fs::write(&path, &written).unwrap();
            assert!(read(&path).unwrap() == written);
        }
        assert!(read(&folder.path().join("none")).is_err());
    }
}
