//! What memory gives: the ceiling of a search that looks at every row.

use std::hint::black_box;
use std::time::Instant;

use crate::Result;
use crate::contender::processor_seconds;

/// Bytes that a pass reads: many times the last-level cache of most processors.
const BYTES: usize = 512 << 20;
/// Words of a small and of a large block that is read in four places at once, and of a cache line.
const SMALL: usize = (512 << 10) / 8;
const LARGE: usize = (4 << 20) / 8;
const LINE: usize = 8;

/// Bytes for each second of the processor, of passes within about `seconds`. They go from the first byte to the last, and
/// through four places of a block at once, in turns: processors differ in which is the fastest, which counts.
pub fn read(seconds: f64) -> Result<f64> {
    // Written, or every page would be the one page of zeros.
    let words: Vec<u64> = (0..(BYTES / 8) as u64).collect();
    let (mut passes, mut times, start) = (0.0, [0.0; 3], Instant::now());
    while passes == 0.0 || start.elapsed().as_secs_f64() < seconds {
        let ways = [one_place, four_places::<SMALL>, four_places::<LARGE>];
        for (way, time) in ways.into_iter().zip(&mut times) {
            let before = processor_seconds()?;
            black_box(way(black_box(&words)));
            *time += processor_seconds()? - before;
        }
        passes += 1.0;
    }
    let fastest = times.into_iter().fold(f64::INFINITY, f64::min);
    Ok(passes * BYTES as f64 / fastest)
}

fn one_place(words: &[u64]) -> [u64; LINE] {
    let mut sums = [0; LINE];
    for line in words.as_chunks().0 {
        add(&mut sums, line);
    }
    sums
}

fn four_places<const BLOCK: usize>(words: &[u64]) -> [u64; LINE] {
    let mut sums = [[0; LINE]; 4];
    for block in words.chunks_exact(BLOCK) {
        let (lines, _) = block.as_chunks();
        let (left, right) = lines.split_at(lines.len() / 2);
        let (first, second) = left.split_at(left.len() / 2);
        let (third, fourth) = right.split_at(right.len() / 2);
        for (((first, second), third), fourth) in first.iter().zip(second).zip(third).zip(fourth) {
            let [a, b, c, d] = &mut sums;
            add(a, first);
            add(b, second);
            add(c, third);
            add(d, fourth);
        }
    }
    let [mut all, rest @ ..] = sums;
    for sums in &rest {
        add(&mut all, sums);
    }
    all
}

/// Eight sums at once: no addition waits for another.
#[inline(always)]
fn add(sums: &mut [u64; LINE], line: &[u64; LINE]) {
    for (sum, word) in sums.iter_mut().zip(line) {
        *sum = sum.wrapping_add(*word);
    }
}
