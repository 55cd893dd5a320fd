//! Large pages under memory that is read at random: a walk then finds most addresses without asking the page tables.

/// Shorter memory is left as it is: its pages are few.
const LEAST: usize = 4 << 20;

/// Asks for large pages under `bytes`, which stay where they are. Whether there are any is up to the system: on Linux with
/// `transparent_hugepage` at `madvise` or `always`, for memory that is no file. Elsewhere nothing happens.
pub(crate) fn advise<T>(numbers: &[T]) {
    let bytes = size_of_val(numbers);
    if bytes >= LEAST {
        advise_range(numbers.as_ptr().cast::<u8>().cast_mut(), bytes);
    }
}

#[cfg(target_os = "linux")]
fn advise_range(start: *mut u8, bytes: usize) {
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
        libc::madvise(start, length, libc::MADV_COLLAPSE);
    }
}

#[cfg(not(target_os = "linux"))]
fn advise_range(_start: *mut u8, _bytes: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_memory_holds_stays() {
        for bytes in [0, 1, LEAST - 1, LEAST, LEAST + 12_345, 3 * LEAST] {
            let held: Vec<u8> = (0..bytes).map(|at| (at * 7 % 251) as u8).collect();
            advise(&held);
            advise(held.get(3..).unwrap_or(&[]));
            assert!(
                held.iter()
                    .enumerate()
                    .all(|(at, &byte)| byte == (at * 7 % 251) as u8)
            );
        }
    }
}
