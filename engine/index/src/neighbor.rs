//! A found row, its place in the one total order, and the best-`k` heap.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::window::Window;

/// A row with its distance; ordered by distance, then row, so that every search has exactly one right answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbor {
    /// Smaller is better.
    pub distance: f32,
    /// Row number in the segment.
    pub row: u32,
}

impl Eq for Neighbor {}

impl Ord for Neighbor {
    fn cmp(&self, other: &Self) -> Ordering {
        self.distance
            .total_cmp(&other.distance)
            .then(self.row.cmp(&other.row))
    }
}

impl PartialOrd for Neighbor {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Neighbor {
    /// Packs the neighbour into an integer of the same order: one compare instead of two.
    #[inline]
    pub(crate) fn key(self) -> u64 {
        u64::from(ordered_bits(self.distance)) << 32 | u64::from(self.row)
    }

    /// The neighbour that [`Neighbor::key`] packed.
    #[inline]
    pub(crate) fn from_key(key: u64) -> Self {
        Self {
            distance: from_ordered_bits((key >> 32) as u32),
            row: key as u32,
        }
    }
}

/// Bits of `value` as an integer with the order of `f32::total_cmp`.
#[inline]
pub(crate) fn ordered_bits(value: f32) -> u32 {
    let bits = value.to_bits();
    // Negative numbers: flip all, so that more negative is smaller. Others: set the top bit, so that they follow.
    bits ^ (((bits as i32 >> 31) as u32) | 0x8000_0000)
}

/// Undoes [`ordered_bits`].
#[inline]
pub(crate) fn from_ordered_bits(bits: u32) -> f32 {
    f32::from_bits(bits ^ (((!bits as i32 >> 31) as u32) | 0x8000_0000))
}

/// Keeps the best `k` neighbours, within a window of distances, of all that are pushed.
#[derive(Debug, Clone)]
pub struct TopK {
    k: usize,
    heap: BinaryHeap<u64>,
    /// Smallest distance that can enter.
    first: f32,
    /// Largest distance that can still enter: the end of the window while the heap is not full.
    bound: f32,
    /// Rows that lie nearer than the window.
    passed: usize,
}

impl TopK {
    /// An empty heap for `k` results out of at most `candidates` rows.
    pub fn new(k: usize, candidates: usize) -> Self {
        Self::within(Window::default(), k, candidates)
    }

    /// An empty heap for `k` results within `window` out of at most `candidates` rows.
    pub fn within(window: Window, k: usize, candidates: usize) -> Self {
        let capacity = k.min(candidates);
        Self {
            k,
            heap: BinaryHeap::with_capacity(capacity),
            first: window.first(),
            bound: if k == 0 { f32::NEG_INFINITY } else { window.last() },
            passed: 0,
        }
    }

    /// Offers a row; it stays when it is among the best `k` so far.
    #[inline]
    pub fn push(&mut self, distance: f32, row: u32) {
        // Few rows get past the first comparison, so the second costs little.
        if distance > self.bound {
            return;
        }
        if distance < self.first {
            self.passed += 1;
            return;
        }
        self.push_key(Neighbor { distance, row }.key());
    }

    fn push_key(&mut self, key: u64) {
        if self.heap.len() < self.k {
            self.heap.push(key);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && key < *worst
        {
            *worst = key;
        }
        if self.heap.len() == self.k
            && let Some(&worst) = self.heap.peek()
        {
            self.bound = Neighbor::from_key(worst).distance;
        }
    }

    /// Rows offered that lie nearer than the window.
    pub(crate) fn passed(&self) -> usize {
        self.passed
    }

    /// Largest distance that can still enter; the end of the window while fewer than `k` rows are held.
    #[inline]
    pub fn bound(&self) -> f32 {
        self.bound
    }

    /// Rows held.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether no row is held.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Takes over what `other`, of the same window, holds.
    pub fn merge(&mut self, other: Self) {
        self.passed += other.passed;
        for key in other.heap {
            self.push_key(key);
        }
    }

    /// The held rows, best first.
    pub fn into_sorted(self) -> Vec<Neighbor> {
        let mut keys = self.heap.into_vec();
        keys.sort_unstable();
        keys.into_iter().map(Neighbor::from_key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_keep_the_order_and_come_back(a in any::<f32>(), b in any::<f32>(), rows in any::<(u32, u32)>()) {
            let (a, b) = (Neighbor { distance: a, row: rows.0 }, Neighbor { distance: b, row: rows.1 });
            prop_assert_eq!(a.key().cmp(&b.key()), a.cmp(&b));
            prop_assert_eq!(Neighbor::from_key(a.key()).distance.to_bits(), a.distance.to_bits());
        }

        #[test]
        fn the_best_k_are_the_sorted_head(distances in prop::collection::vec(-5i8..5, 0..200), k in 0usize..20) {
            let mut all: Vec<Neighbor> = distances.iter().zip(0..)
                .map(|(&distance, row)| Neighbor { distance: f32::from(distance), row }).collect();
            let (mut first, mut second) = (TopK::new(k, all.len()), TopK::new(k, all.len()));
            for neighbor in &all {
                let heap = if neighbor.row % 3 == 0 { &mut first } else { &mut second };
                heap.push(neighbor.distance, neighbor.row);
            }
            first.merge(second);
            all.sort();
            all.truncate(k);
            prop_assert_eq!(first.into_sorted(), all);
        }

        #[test]
        fn a_window_leaves_out_what_lies_nearer_and_farther(
            distances in prop::collection::vec(-5i8..5, 0..100), k in 0usize..20, from in -6i8..6, to in -6i8..6
        ) {
            let window = Window::new(Some(from.into()), Some(to.into()));
            let mut top = TopK::within(window, k, distances.len());
            let mut expected = Vec::new();
            for (&distance, row) in distances.iter().zip(0..) {
                top.push(f32::from(distance), row);
                if from <= distance && distance < to {
                    expected.push(Neighbor { distance: f32::from(distance), row });
                }
            }
            expected.sort();
            expected.truncate(k);
            prop_assert_eq!(top.into_sorted(), expected);
        }
    }
}
