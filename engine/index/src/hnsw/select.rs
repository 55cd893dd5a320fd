//! Which candidates a node links to: the heuristic of Malkov and Yashunin (2018, algorithm 4) without refilling.
//!
//! Candidates come nearest first; one is kept unless it is nearer to a kept one than to the node itself. So links point in
//! different directions and long ones survive, which keeps the graph connected and walks short.
//!
//! With a slack `alpha` above 1 it must be nearer by that factor (Subramanya et al., DiskANN, 2019, algorithm 2): more and
//! longer links, so that a walk gets there in fewer hops. That needs distances that are not negative.
//!
//! Copies of the node's own vector pass that test always (they are at distance zero of everything that matters), and
//! would fill the list: a group of copies would become an island. They get half of the room at most.

use super::layers::{LayerRef, Link};
use super::points::{Distances, Points};
use crate::neighbor::Neighbor;

/// Writes to `kept` at most `max` of `candidates` (nodes of `layer`, best first) for a node that stores `row`.
pub(crate) fn select<P: Points, L: Link>(
    points: &P,
    layer: LayerRef<'_, L>,
    row: u32,
    candidates: &[Neighbor],
    max: usize,
    alpha: f32,
    kept: &mut Vec<Neighbor>,
) {
    kept.clear();
    if candidates.len() < max {
        kept.extend_from_slice(candidates);
        return;
    }
    add(points, layer, row, candidates, max, alpha, kept);
}

/// Adds to `kept`, nodes that stay, what [`select`] keeps of `candidates` beside them.
pub(crate) fn add<P: Points, L: Link>(
    points: &P,
    layer: LayerRef<'_, L>,
    row: u32,
    candidates: &[Neighbor],
    max: usize,
    alpha: f32,
    kept: &mut Vec<Neighbor>,
) {
    let own_distance = points.row(row).one(row);
    let max_copies = max / 2;
    let mut copies = kept.iter().filter(|other| other.distance <= own_distance).count();
    for &candidate in candidates {
        if kept.len() >= max {
            return;
        }
        let is_copy = candidate.distance <= own_distance;
        if is_copy && copies >= max_copies {
            continue;
        }
        let scorer = points.row(layer.row(candidate.row));
        if kept
            .iter()
            .all(|other| alpha * scorer.one(layer.row(other.row)) >= candidate.distance)
        {
            copies += usize::from(is_copy);
            kept.push(candidate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Metric;
    use crate::scorer::Space;
    use crate::vectors::Vectors;

    fn kept(data: &[f32], max: usize) -> Vec<u32> {
        kept_with(1.0, data, max)
    }

    fn kept_with(alpha: f32, data: &[f32], max: usize) -> Vec<u32> {
        let vectors = Vectors::new(data, 2).unwrap();
        let space = Space::new(Metric::L2, vectors, None);
        let layer = LayerRef::<u32> {
            links: &[],
            stride: 0,
            rows: None,
        };
        let scorer = space.row_scorer(0);
        let mut candidates: Vec<Neighbor> = (1..vectors.len() as u32)
            .map(|row| Neighbor {
                distance: scorer.one(row),
                row,
            })
            .collect();
        candidates.sort();
        let mut kept = Vec::new();
        select(&space, layer, 0, &candidates, max, alpha, &mut kept);
        kept.iter().map(|neighbor| neighbor.row).collect()
    }

    #[test]
    fn a_candidate_behind_a_kept_one_is_left_out() {
        // Rows 1 and 2 lie in one direction, row 3 in another.
        assert_eq!(kept(&[0.0, 0.0, 1.0, 0.0, 2.0, 0.1, 0.0, 3.0], 3), [1, 3]);
    }

    #[test]
    fn slack_keeps_a_candidate_that_is_hardly_nearer_to_a_kept_one() {
        // Row 2 is at 9 of the node and at 8 of row 1.
        let data = [0.0, 0.0, 1.0, 0.0, 1.0, 2.83, 0.0, -4.0];
        assert_eq!(kept(&data, 3), [1, 3]);
        assert_eq!(kept_with(1.2, &data, 3), [1, 2, 3]);
    }

    #[test]
    fn fewer_candidates_than_room_are_all_kept() {
        assert_eq!(kept(&[0.0, 0.0, 1.0, 0.0, 2.0, 0.1, 0.0, 3.0], 4), [1, 2, 3]);
    }

    #[test]
    fn copies_take_half_of_the_room_at_most() {
        let mut data = vec![5.0; 2 * 9];
        data.extend([6.0, 5.0, 5.0, 7.0]);
        assert_eq!(kept(&data, 4), [1, 2, 9, 10]);
    }
}
