//! The frontier of a walk: the best `ef` nodes seen, each either still to be expanded or done.
//!
//! A sorted array beats two heaps while `ef` is small: one structure is both queue and result, a push is a binary search
//! and a short `memmove`. For large `ef` the move would dominate, so two heaps take over.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::neighbor::{Neighbor, from_ordered_bits, ordered_bits};

/// The best `ef` nodes of a walk.
pub(crate) trait Frontier {
    /// Offers a node; dropped when `ef` better ones are held.
    fn push(&mut self, distance: f32, node: u32);
    /// The best node not yet expanded, which now counts as expanded; `None` when the walk is over.
    fn pop(&mut self) -> Option<u32>;
    /// What [`Frontier::pop`] would return now, if that is cheap to tell.
    fn next(&self) -> Option<u32>;
    /// How far the walk has looked around: the largest distance held, infinite when nothing had to be dropped.
    fn reach(&self) -> f32;
    /// Appends the best `count` nodes held, best first.
    fn best(&mut self, count: usize, out: &mut Vec<Neighbor>);
}

/// A node packed so that integers sort like (distance, node): ordered distance bits, then the node, then one bit that
/// tells whether it was expanded. Nodes stay below 2^31.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry(u64);

impl Entry {
    const EXPANDED: u64 = 1;

    #[inline]
    fn new(distance: f32, node: u32) -> Self {
        Self(u64::from(ordered_bits(distance)) << 32 | u64::from(node << 1))
    }

    #[inline]
    fn node(self) -> u32 {
        self.0 as u32 >> 1
    }

    fn neighbor(self) -> Neighbor {
        Neighbor {
            distance: from_ordered_bits((self.0 >> 32) as u32),
            row: self.node(),
        }
    }
}

/// Frontier as one sorted array.
#[derive(Debug, Default)]
pub(crate) struct SortedFrontier {
    entries: Vec<Entry>,
    ef: usize,
    /// Everything before it is expanded.
    cursor: usize,
}

impl SortedFrontier {
    /// Longest list that is worth keeping sorted.
    pub(crate) const MAX: usize = 768;

    /// Empties the list for a walk with `ef`.
    pub(crate) fn reset(&mut self, ef: usize) {
        self.entries.clear();
        self.entries.reserve(ef + 1);
        self.ef = ef;
        self.cursor = 0;
    }
}

impl Frontier for SortedFrontier {
    #[inline]
    fn push(&mut self, distance: f32, node: u32) {
        let entry = Entry::new(distance, node);
        if self.entries.len() >= self.ef {
            match self.entries.last() {
                Some(&worst) if entry < worst => self.entries.pop(),
                _ => return,
            };
        }
        let place = self.entries.partition_point(|&held| held < entry);
        self.entries.insert(place, entry);
        self.cursor = self.cursor.min(place);
    }

    #[inline]
    fn pop(&mut self) -> Option<u32> {
        while let Some(entry) = self.entries.get_mut(self.cursor) {
            self.cursor += 1;
            if entry.0 & Entry::EXPANDED == 0 {
                entry.0 |= Entry::EXPANDED;
                return Some(entry.node());
            }
        }
        None
    }

    #[inline]
    fn next(&self) -> Option<u32> {
        let rest = self.entries.get(self.cursor..)?;
        rest.iter()
            .find(|entry| entry.0 & Entry::EXPANDED == 0)
            .map(|entry| entry.node())
    }

    fn reach(&self) -> f32 {
        match self.entries.last() {
            Some(worst) if self.entries.len() >= self.ef => worst.neighbor().distance,
            _ => f32::INFINITY,
        }
    }

    fn best(&mut self, count: usize, out: &mut Vec<Neighbor>) {
        out.extend(self.entries.iter().take(count).map(|entry| entry.neighbor()));
    }
}

/// Frontier as a heap of what is held and a heap of what is still to be expanded.
#[derive(Debug)]
pub(crate) struct HeapFrontier {
    held: BinaryHeap<Entry>,
    open: BinaryHeap<Reverse<Entry>>,
    ef: usize,
}

impl HeapFrontier {
    pub(crate) fn new(ef: usize) -> Self {
        Self {
            held: BinaryHeap::new(),
            open: BinaryHeap::new(),
            ef,
        }
    }
}

impl Frontier for HeapFrontier {
    fn push(&mut self, distance: f32, node: u32) {
        let entry = Entry::new(distance, node);
        if self.held.len() < self.ef {
            self.held.push(entry);
        } else {
            match self.held.peek_mut() {
                Some(mut worst) if entry < *worst => *worst = entry,
                _ => return,
            }
        }
        self.open.push(Reverse(entry));
    }

    fn pop(&mut self) -> Option<u32> {
        let Reverse(entry) = self.open.pop()?;
        let dropped = self.held.len() >= self.ef && self.held.peek().is_some_and(|&worst| entry > worst);
        if dropped { None } else { Some(entry.node()) }
    }

    fn next(&self) -> Option<u32> {
        self.open.peek().map(|Reverse(entry)| entry.node())
    }

    fn reach(&self) -> f32 {
        match self.held.peek() {
            Some(worst) if self.held.len() >= self.ef => worst.neighbor().distance,
            _ => f32::INFINITY,
        }
    }

    fn best(&mut self, count: usize, out: &mut Vec<Neighbor>) {
        let mut entries = std::mem::take(&mut self.held).into_vec();
        entries.sort_unstable();
        out.extend(entries.iter().take(count).map(|entry| entry.neighbor()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_frontiers_expand_and_keep_the_same_nodes(
            steps in prop::collection::vec(prop::collection::vec(0u8..20, 0..6), 1..40),
            ef in 1usize..12,
        ) {
            let mut sorted = SortedFrontier::default();
            sorted.reset(ef);
            let mut heaps = HeapFrontier::new(ef);
            let mut node = 0;
            for step in steps {
                for distance in step {
                    sorted.push(f32::from(distance) - 10.0, node);
                    heaps.push(f32::from(distance) - 10.0, node);
                    node += 1;
                }
                prop_assert_eq!(sorted.pop(), heaps.pop());
            }
            prop_assert_eq!(sorted.reach(), heaps.reach());
            let (mut from_sorted, mut from_heaps) = (Vec::new(), Vec::new());
            sorted.best(ef, &mut from_sorted);
            heaps.best(ef, &mut from_heaps);
            prop_assert_eq!(from_sorted, from_heaps);
        }
    }
}
