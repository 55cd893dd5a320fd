//! Window by window: the scores of some thousand rows are summed up term by term in a small array.
//!
//! Without pruning (TAAT_NAIVE, SINDI) every posting is read. With it (MaxScore; Turtle and Flood, 1995, with block maxima
//! of Ding and Suel, 2011) terms are put in order of what they can add to a row of the window. The first ones, which
//! together cannot lift a row into the result, are looked up only for rows that the others have found:
//!
//! ```text
//!   bounds     0.2   0.5   0.9 | 2.1   4.0        the result's worst score: 1.7
//!              ----------------   ---------
//!              looked up          summed up
//! ```

use super::Run;
use super::cursor::{Cursor, Impact};

/// Rows of a window: its sums stay in the first-level cache.
const WINDOW: usize = 4_096;

/// Offers every row that may be among the best.
pub(super) fn search<I: Impact>(run: &mut Run<'_>, cursors: &mut [Cursor<'_>], impact: I, prune: bool) {
    let mut window = Window::new();
    loop {
        let Some(first) = cursors.iter().filter_map(Cursor::row).min() else {
            return;
        };
        let start = first / WINDOW as u32 * WINDOW as u32;
        let end = start.saturating_add(WINDOW as u32);
        let mut looked_up = 0;
        if prune && run.is_full() {
            for cursor in cursors.iter_mut() {
                cursor.window_bound = cursor.bound_until(end, impact);
            }
            cursors.sort_unstable_by(|a, b| a.window_bound.total_cmp(&b.window_bound));
            let mut sum = 0.0;
            for cursor in cursors.iter() {
                sum += cursor.window_bound;
                if run.may_enter(sum) {
                    break;
                }
                looked_up += 1;
            }
        }
        let (rest, summed) = cursors.split_at_mut(looked_up);
        for cursor in summed.iter_mut() {
            let weight = cursor.weight;
            for (row, value) in cursor.take_until(end) {
                window.add((row - start) as usize, impact.of(weight, row, value));
            }
        }
        let bound_of_rest: f32 = rest.iter().map(|cursor| cursor.window_bound).sum();
        window.drain(|place, sum| {
            let row = start + place as u32;
            if run.may_enter(sum + bound_of_rest) && run.allows(row) && complete(run, rest, impact, row, sum)
            {
                run.offer(row);
            }
        });
        for cursor in rest {
            cursor.seek(end);
        }
    }
}

/// Whether a row can still be among the best when the terms that were left are looked up, dearest first.
fn complete<I: Impact>(run: &Run<'_>, rest: &mut [Cursor<'_>], impact: I, row: u32, mut sum: f32) -> bool {
    let mut open: f32 = rest.iter().map(|cursor| cursor.window_bound).sum();
    for cursor in rest.iter_mut().rev() {
        open = (open - cursor.window_bound).max(0.0);
        cursor.seek(row);
        if cursor.row() == Some(row) {
            sum += cursor.impact(impact);
        }
        if !run.may_enter(sum + open) {
            return false;
        }
    }
    true
}

/// Sums of the rows of a window, and which of them have one.
struct Window {
    sums: Vec<f32>,
    touched: Vec<u64>,
}

impl Window {
    fn new() -> Self {
        Self {
            sums: vec![0.0; WINDOW],
            touched: vec![0; WINDOW / 64],
        }
    }

    #[inline]
    fn add(&mut self, place: usize, impact: f32) {
        if let (Some(sum), Some(word)) = (self.sums.get_mut(place), self.touched.get_mut(place / 64)) {
            *sum += impact;
            *word |= 1 << (place % 64);
        }
    }

    /// Hands out the sums in row order and forgets them.
    fn drain(&mut self, mut each: impl FnMut(usize, f32)) {
        for (index, word) in self.touched.iter_mut().enumerate() {
            while *word != 0 {
                let place = index * 64 + word.trailing_zeros() as usize;
                *word &= *word - 1;
                if let Some(sum) = self.sums.get_mut(place) {
                    each(place, std::mem::take(sum));
                }
            }
        }
    }
}
