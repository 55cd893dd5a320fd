//! Copies of a vector, linked in a ring.
//!
//! Links are chosen best first, and of rows equally far by number. So every copy of a vector that occurs often links to the
//! same few copies, and these to each other:
//!
//! ```text
//!   chosen    7 -> 1 2 3      8 -> 1 2 3      9 -> 1 2 3      1 -> 2 3 4       nothing leads to 7, 8, 9
//!   ring      6 - 7 - 8 - 9 - 1                                                a walk that meets one meets the next
//! ```
//!
//! The ring is laid over the finished base: while building, no copy is missed but the linked ones. It takes the place of links
//! to other copies, where a node has them.

use rayon::prelude::*;

use super::layers::GrowingLayer;
use super::points::Points;

/// Fewest copies that are linked in a ring: two link to each other.
const LEAST: usize = 3;
/// Links that a node has at least, so that some still lead away from a ring.
const LEAST_LINKS: usize = 4;

/// Links the copies of every vector in a ring; a node keeps at most `max` links.
pub(super) fn link_copies<P: Points>(points: &P, base: &GrowingLayer, max: usize) {
    if max < LEAST_LINKS {
        return;
    }
    let is_linked = |row: &u32| base.view().neighbors(*row).next().is_some();
    let mut marked: Vec<(u64, u32)> = (0..points.len() as u32)
        .into_par_iter()
        .with_min_len(64)
        .filter(is_linked)
        .map(|row| (points.fingerprint(row), row))
        .collect();
    marked.par_sort_unstable();
    let rings: Vec<&[(u64, u32)]> = marked
        .chunk_by(|a, b| a.0 == b.0)
        .filter(|ring| ring.len() >= LEAST)
        .collect();
    rings.into_par_iter().for_each(|ring| link(base, ring, max));
}

/// Links `ring`, rows in ascending order.
fn link(base: &GrowingLayer, ring: &[(u64, u32)], max: usize) {
    let rows = || ring.iter().map(|(_, row)| *row);
    let is_copy = |link: &u32| ring.binary_search_by_key(link, |(_, row)| *row).is_ok();
    let before = rows().cycle().skip(ring.len() - 1);
    let after = rows().cycle().skip(1);
    for ((row, before), after) in rows().zip(before).zip(after) {
        let others = base.view().neighbors(row);
        let (mut copies, others): (Vec<u32>, Vec<u32>) = others
            .filter(|link| ![before, after].contains(link))
            .partition(is_copy);
        copies.sort_unstable();
        let links = [before, after].into_iter().chain(others).chain(copies);
        base.set(row, links.take(max));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Metric;
    use crate::scorer::Space;
    use crate::vectors::Vectors;

    #[test]
    fn copies_lead_to_each_other_and_away() {
        let data = [1., 0., 5., 0., 1., -0., 1., 0., 7., 7., 1., -0., 1., 0.];
        let vectors = Vectors::new(&data, 2).unwrap();
        let base = GrowingLayer::new(7, 4, None);
        let links: [&[u32]; 6] = [&[1, 2, 3], &[0], &[0, 1, 3, 4], &[0, 2, 1, 4], &[1], &[2, 0]];
        for (row, links) in (0..).zip(links) {
            base.set(row, links.iter().copied());
        }
        link_copies(&Space::new(Metric::L2, vectors, None), &base, 4);
        let linked = |row| base.view().neighbors(row).collect::<Vec<u32>>();
        // Row 6 is not in the graph.
        assert_eq!(linked(0), [5, 2, 1, 3]);
        assert_eq!(linked(2), [0, 3, 1, 4]);
        assert_eq!(linked(3), [2, 5, 1, 4]);
        assert_eq!(linked(5), [3, 0, 2]);
        assert_eq!((linked(1), linked(4), linked(6)), (vec![0], vec![1], vec![]));
    }
}
