//! WAND (Broder et al., 2003) with block maxima (Ding and Suel, 2011): row by row, jumping over rows that cannot be among
//! the best.
//!
//! Cursors are kept in the order of the rows they stand at. The *pivot* is the first one at which the bounds of the
//! cursors up to it, summed up, could make a row of the result: no row before the pivot's can be one. If the maxima of the
//! blocks around that row cannot either, everything up to the end of the nearest block is skipped.

use super::Run;
use super::cursor::{Cursor, Impact};

/// Offers every row that may be among the best.
pub(super) fn search<I: Impact>(run: &mut Run<'_>, cursors: &mut Vec<Cursor<'_>>, impact: I) {
    loop {
        cursors.retain(|cursor| cursor.row().is_some());
        cursors.sort_by_key(|cursor| cursor.row());
        let Some((row, count)) = pivot(run, cursors) else {
            return;
        };
        let (before, after) = cursors.split_at_mut(count);
        if run.is_full() {
            let mut bound = 0.0;
            // Rows from the pivot's to this one are covered by the blocks looked at and by these cursors alone.
            let mut covered = after
                .first()
                .and_then(Cursor::row)
                .map_or(u32::MAX, |row| row - 1);
            for cursor in before.iter() {
                if let Some((of_block, last)) = cursor.block_at(row, impact) {
                    bound += of_block;
                    covered = covered.min(last);
                }
            }
            if !run.may_enter(bound) {
                let Some(next) = covered.checked_add(1) else {
                    return;
                };
                before.iter_mut().for_each(|cursor| cursor.seek(next));
                continue;
            }
        }
        let mut sum = 0.0;
        for cursor in before.iter_mut() {
            cursor.seek(row);
            if cursor.row() == Some(row) {
                sum += cursor.impact(impact);
                cursor.step();
            }
        }
        if run.may_enter(sum) && run.allows(row) {
            run.offer(row);
        }
    }
}

/// The first row that may be among the best, and how many cursors stand at it or before.
fn pivot(run: &Run<'_>, cursors: &[Cursor<'_>]) -> Option<(u32, usize)> {
    let mut sum = 0.0;
    for (place, cursor) in cursors.iter().enumerate() {
        sum += cursor.bound;
        if run.may_enter(sum) {
            let row = cursor.row()?;
            let rest = cursors.get(place + 1..).unwrap_or_default();
            let same = rest.iter().take_while(|cursor| cursor.row() == Some(row)).count();
            return Some((row, place + 1 + same));
        }
    }
    None
}
