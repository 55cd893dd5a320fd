//! Loops on several threads, for what is done while a lock is held.
//!
//! A thread of a pool that waits for the rest of its loop takes up other work of the pool, another search say, which may want the
//! very lock that the thread holds, and would wait for ever. Threads of these loops do nothing else.

/// Values below which starting threads takes longer than the loop.
const LEAST: usize = 1 << 16;

/// Calls `work` with the number of each chunk of `chunk` values and the chunk; what is left over stays as it is.
pub(super) fn for_chunks<T: Send>(values: &mut [T], chunk: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let chunk = chunk.max(1);
    let chunks = values.len() / chunk;
    let threads = rayon::current_num_threads().clamp(1, chunks.max(1));
    let whole = values.get_mut(..chunks * chunk).unwrap_or_default();
    let run = |first: usize, part: &mut [T]| {
        for (at, values) in part.chunks_exact_mut(chunk).enumerate() {
            work(first + at, values);
        }
    };
    if threads == 1 || whole.len() < LEAST {
        return run(0, whole);
    }
    let per_thread = chunks.div_ceil(threads);
    let run = &run;
    std::thread::scope(|scope| {
        for (thread, part) in whole.chunks_mut(per_thread * chunk).enumerate() {
            scope.spawn(move || run(thread * per_thread, part));
        }
    });
}

/// What `work` gives for each item, all of them at the same time.
pub(super) fn at_once<T: Sync, R: Send>(items: &[T], work: impl Fn(usize, &T) -> R + Sync) -> Vec<Option<R>> {
    let mut results: Vec<Option<R>> = items.iter().map(|_| None).collect();
    let work = &work;
    if let ([item], [result]) = (items, results.as_mut_slice()) {
        *result = Some(work(0, item));
        return results;
    }
    std::thread::scope(|scope| {
        for ((at, item), result) in items.iter().enumerate().zip(&mut results) {
            scope.spawn(move || *result = Some(work(at, item)));
        }
    });
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_is_met_once_with_its_number() {
        for (length, chunk) in [(0, 3), (7, 7), (10, 3), (1 << 17, 1), ((1 << 17) + 5, 1000)] {
            let mut values = vec![usize::MAX; length];
            for_chunks(&mut values, chunk, |number, values| {
                assert!(values.iter().all(|&value| value == usize::MAX));
                values.fill(number);
            });
            for (at, &value) in values.iter().enumerate() {
                let whole = at < length / chunk * chunk;
                assert_eq!(value, if whole { at / chunk } else { usize::MAX });
            }
        }
    }

    #[test]
    fn results_come_in_the_order_of_their_items() {
        for items in [vec![], vec![4], vec![3, 1, 2]] {
            let found = at_once(&items, |at, item| (at, item * 10));
            let expected: Vec<_> = items
                .iter()
                .enumerate()
                .map(|(at, item)| Some((at, item * 10)))
                .collect();
            assert_eq!(found, expected);
        }
    }
}
