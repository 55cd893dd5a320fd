//! The best rows of a scan by their estimates: pushes are an append, and now and then the worse half is thrown out, which
//! costs less than a heap where there are some hundred rows to keep.

use crate::neighbor::Neighbor;

/// Keeps at least the best `limit` rows.
#[derive(Debug)]
pub(super) struct Reservoir {
    limit: usize,
    keys: Vec<u64>,
    /// What a row must be below to be among the best `limit`, as far as it is known.
    bound: f32,
}

impl Reservoir {
    /// Room for the best `limit` of at most `rows` rows.
    pub(super) fn new(limit: usize, rows: usize) -> Self {
        Self {
            limit,
            keys: Vec::with_capacity(limit.min(rows).saturating_mul(2).min(1 << 16)),
            bound: f32::INFINITY,
        }
    }

    #[inline]
    pub(super) fn bound(&self) -> f32 {
        self.bound
    }

    #[inline]
    pub(super) fn push(&mut self, distance: f32, row: u32) {
        if distance >= self.bound {
            return;
        }
        self.keys.push(Neighbor { distance, row }.key());
        if self.keys.len() >= self.limit.saturating_mul(2).max(64) {
            self.shrink();
        }
    }

    /// Throws out all but the best `limit`.
    fn shrink(&mut self) {
        let Some(last) = self.limit.checked_sub(1).filter(|&last| last < self.keys.len()) else {
            return;
        };
        let (_, &mut worst, _) = self.keys.select_nth_unstable(last);
        self.keys.truncate(self.limit);
        self.bound = Neighbor::from_key(worst).distance;
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len().min(self.limit)
    }

    /// The best rows, at most `limit`, best first.
    pub(super) fn into_rows(mut self) -> Vec<u32> {
        self.shrink();
        self.keys.truncate(self.limit);
        self.keys.sort_unstable();
        self.keys
            .into_iter()
            .map(|key| Neighbor::from_key(key).row)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_holds_the_sorted_head(distances in prop::collection::vec(-50i16..50, 0..1_000), limit in 0usize..80) {
            let mut reservoir = Reservoir::new(limit, distances.len());
            for (&distance, row) in distances.iter().zip(0..) {
                reservoir.push(f32::from(distance), row);
            }
            let rows = reservoir.into_rows();
            let mut sorted = distances.clone();
            sorted.sort_unstable();
            sorted.truncate(limit);
            let found: Vec<i16> = rows.iter().map(|&row| distances[row as usize]).collect();
            prop_assert_eq!(found, sorted);
        }
    }
}
