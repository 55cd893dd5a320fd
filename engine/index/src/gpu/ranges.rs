//! Which rows are compared at a time, and how many candidates are kept.
//!
//! Only the first rows are compared without a bound. From then on each query has one, the distance of the worst of the `k`
//! best so far; of rows in no special order, as many as were seen before bring about `k` better ones. So each range may be
//! many times as long as all before it, and few ranges do.

use crate::bitset::Bitset;

/// Most entries that are selected from a list, and more than a search may ask for.
pub(crate) const MAX_SELECT: usize = 32 * 1024;

/// How many candidates a search for `k` rows looks at more closely: some more, so that what rounding put into the wrong order
/// is among them; many more in the second `attempt`. `None` when a device should not be asked.
pub(crate) fn width(k: usize, attempt: u32) -> Option<usize> {
    let width = match attempt {
        0 => k + k / 8 + 22,
        1 => (4 * k + 256).min(MAX_SELECT),
        _ => return None,
    };
    (width > k && width <= MAX_SELECT).then_some(width)
}

/// Rows to compare next, counted in rows that may be found, when `seen` of them have been and lists of `room` places keep
/// `width` entries.
pub(crate) fn next_count(seen: usize, room: usize, width: usize) -> usize {
    let free = room - width;
    if seen == 0 {
        // Everything is kept, and fits.
        return room;
    }
    // Half of the room is for what is not as even as all that.
    let expected = (seen as u128 * free as u128 / (2 * width as u128)).min(usize::MAX as u128) as usize;
    expected.max(free)
}

/// The end of the shortest range from row `from` on that holds `count` rows that may be found, or of the longest one before
/// `end`; and how many it holds.
pub(crate) fn range_end(allow: Option<&Bitset>, from: usize, end: usize, count: usize) -> (usize, usize) {
    let Some(allow) = allow else {
        let to = from.saturating_add(count).min(end);
        return (to, to - from);
    };
    let mut held = 0;
    let mut at = from;
    while at < end {
        let word_end = (at / 64 * 64 + 64).min(end);
        let more = allow.count_range(at, word_end);
        if held + more > count {
            // The word is cut behind the last row that fits.
            let wanted = count - held;
            let cut = allow.iter_range(at, word_end).nth(wanted).unwrap_or(word_end);
            return (cut, count);
        }
        held += more;
        at = word_end;
        if held == count {
            break;
        }
    }
    (at, held)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_range_holds_what_was_asked_for_and_ends_as_soon_as_it_does(
            bits in prop::collection::vec(any::<bool>(), 1..400), from in 0usize..400, count in 1usize..200
        ) {
            let from = from % bits.len();
            let allow = Bitset::from_fn(bits.len(), |row| bits[row]);
            let (to, held) = range_end(Some(&allow), from, bits.len(), count);
            prop_assert!(to > from && to <= bits.len());
            prop_assert_eq!(held, allow.count_range(from, to));
            prop_assert!(held == count || (held < count && to == bits.len()));
        }
    }

    #[test]
    fn ranges_grow_and_there_are_few_of_them() {
        let (rows, width, room) = (10_000_000, 33, 8192);
        let (mut seen, mut ranges) = (0, 0);
        while seen < rows {
            seen += next_count(seen, room, width);
            ranges += 1;
        }
        assert!(ranges <= 4, "{ranges} ranges");
    }

    #[test]
    fn the_largest_search_of_milvus_fits_and_larger_ones_are_not_tried() {
        assert!(width(16_384, 0).is_some());
        assert!(width(16_384, 1).is_some());
        assert!(width(MAX_SELECT, 0).is_none());
        assert!(width(10, 2).is_none());
    }
}
