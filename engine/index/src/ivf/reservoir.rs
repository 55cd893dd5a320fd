//! The best rows of a scan by their estimates: pushes are an append, and now and then the worse half is thrown out, which
//! costs less than a heap where there are some hundred rows to keep.
//!
//! Which rows are left does not depend on the order they came in: of equal estimates the lower rows stay.

use crate::codes::level::Level;
use crate::neighbor::Neighbor;

/// Room for at least so many rows.
const LEAST: usize = 64;
/// Most rows that are appended between two looks at how many there are.
const STEP: usize = 16;

/// Keeps the best `limit` rows.
#[derive(Debug)]
pub(super) struct Reservoir {
    limit: usize,
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(dead_code, reason = "only AVX-512 appends several rows at once")
    )]
    level: Level,
    /// The first `count` are rows; there are `STEP` more than are ever held.
    keys: Vec<u64>,
    count: usize,
    /// What a row must be below to be among the best `limit`, as far as it is known.
    bound: f32,
}

impl Reservoir {
    /// Room for the best `limit` of at most `rows` rows.
    pub(super) fn new(limit: usize, rows: usize) -> Self {
        let limit = limit.min(rows);
        Self {
            limit,
            level: Level::best(),
            keys: vec![0; limit.saturating_mul(2).max(LEAST) + STEP],
            count: 0,
            bound: if limit == 0 {
                f32::NEG_INFINITY
            } else {
                f32::INFINITY
            },
        }
    }

    #[inline]
    pub(super) fn bound(&self) -> f32 {
        self.bound
    }

    #[inline]
    pub(super) fn push(&mut self, distance: f32, row: u32) {
        if distance < self.bound
            && let Some(slot) = self.keys.get_mut(self.count)
        {
            *slot = Neighbor { distance, row }.key();
            self.count += 1;
            self.make_room();
        }
    }

    /// Pushes those of `rows`, at most 64, whose bits are set in `mask`, with their `distances`, of which there may be more.
    #[inline]
    pub(super) fn push_masked(&mut self, mask: u64, distances: &[f32], rows: &[u32]) {
        #[cfg(target_arch = "x86_64")]
        if self.level == Level::Avx512 {
            let mut mask = mask;
            for (distances, rows) in distances.chunks(STEP).zip(rows.chunks(STEP)) {
                let lanes = mask as u16;
                mask >>= STEP;
                if lanes == 0 {
                    continue;
                }
                let Some(slots) = self.keys.get_mut(self.count..self.count + STEP) else {
                    return;
                };
                // SAFETY: the level is one of this machine.
                self.count += unsafe { append(lanes, distances, rows, slots) };
                self.make_room();
            }
            return;
        }
        self.push_each(mask, distances, rows);
    }

    fn push_each(&mut self, mut mask: u64, distances: &[f32], rows: &[u32]) {
        while mask != 0 {
            let lane = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            if let (Some(&distance), Some(&row)) = (distances.get(lane), rows.get(lane)) {
                self.push(distance, row);
            }
        }
    }

    #[inline]
    fn make_room(&mut self) {
        if self.count + STEP >= self.keys.len() {
            self.shrink();
        }
    }

    /// Throws out all but the best `limit`.
    fn shrink(&mut self) {
        let Some(last) = self.limit.checked_sub(1).filter(|&last| last < self.count) else {
            return;
        };
        let held = self.keys.get_mut(..self.count).unwrap_or_default();
        let (_, &mut worst, _) = held.select_nth_unstable(last);
        self.count = self.limit;
        // A row as far as the worst one may have a lower number.
        self.bound = Neighbor::from_key(worst).distance.next_up();
    }

    pub(super) fn len(&self) -> usize {
        self.count.min(self.limit)
    }

    /// The best rows, at most `limit`, in no order.
    pub(super) fn into_rows(mut self) -> Vec<u32> {
        self.shrink();
        let held = self.keys.iter().take(self.count);
        held.map(|&key| Neighbor::from_key(key).row).collect()
    }
}

/// Writes the keys of those of at most 16 rows whose bits are set to the front of `slots`; how many they are.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn append(lanes: u16, distances: &[f32], rows: &[u32], slots: &mut [u64]) -> usize {
    use std::arch::x86_64::{
        _mm512_castsi512_si256, _mm512_cvtepu32_epi64, _mm512_extracti64x4_epi64,
        _mm512_maskz_compress_epi64, _mm512_maskz_loadu_epi32, _mm512_or_si512, _mm512_set1_epi32,
        _mm512_slli_epi64, _mm512_srai_epi32, _mm512_storeu_si512, _mm512_xor_si512,
    };
    let len = distances.len().min(rows.len()).min(STEP);
    let lanes = lanes & (u32::MAX >> (32 - len as u32)) as u16;
    let there = (u32::MAX >> (32 - len as u32)) as u16;
    if slots.len() < STEP {
        return 0;
    }
    // SAFETY: as many numbers as there are bits in `there`.
    let (distances, rows) = unsafe {
        (
            _mm512_maskz_loadu_epi32(there, distances.as_ptr().cast()),
            _mm512_maskz_loadu_epi32(there, rows.as_ptr().cast()),
        )
    };
    // As `ordered_bits`.
    let flips = _mm512_or_si512(_mm512_srai_epi32::<31>(distances), _mm512_set1_epi32(i32::MIN));
    let ordered = _mm512_xor_si512(distances, flips);
    let keys = |ordered, rows| {
        _mm512_or_si512(
            _mm512_slli_epi64::<32>(_mm512_cvtepu32_epi64(ordered)),
            _mm512_cvtepu32_epi64(rows),
        )
    };
    let (low, high) = (lanes as u8, (lanes >> 8) as u8);
    let first = keys(_mm512_castsi512_si256(ordered), _mm512_castsi512_si256(rows));
    let second = keys(
        _mm512_extracti64x4_epi64::<1>(ordered),
        _mm512_extracti64x4_epi64::<1>(rows),
    );
    let of_first = low.count_ones() as usize;
    // SAFETY: 16 slots, of which the first store begins with the first and the second with the ninth at most.
    unsafe {
        _mm512_storeu_si512(slots.as_mut_ptr().cast(), _mm512_maskz_compress_epi64(low, first));
        _mm512_storeu_si512(
            slots.as_mut_ptr().add(of_first).cast(),
            _mm512_maskz_compress_epi64(high, second),
        );
    }
    lanes.count_ones() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_holds_the_best_in_whatever_order_they_come(
            distances in prop::collection::vec(-50i16..50, 0..1_000), limit in 0usize..80, masks in any::<u64>(), plain: bool
        ) {
            let rows: Vec<u32> = (0..distances.len() as u32).rev().collect();
            let distances: Vec<f32> = distances.into_iter().map(f32::from).collect();
            let mut reservoir = Reservoir::new(limit, distances.len());
            if plain {
                reservoir.level = Level::Plain;
            }
            let mut offered = Vec::new();
            for (index, (distances, rows)) in distances.chunks(64).zip(rows.chunks(64)).enumerate() {
                let mut mask = masks.rotate_left(index as u32) & (u64::MAX >> (64 - rows.len()));
                for (lane, (&distance, &row)) in distances.iter().zip(rows).enumerate() {
                    if mask >> lane & 1 == 1 {
                        offered.push(Neighbor { distance, row }.key());
                    }
                    mask &= !(u64::from(distance >= reservoir.bound()) << lane);
                }
                reservoir.push_masked(mask, distances, rows);
                for (lane, (&distance, &row)) in distances.iter().zip(rows).enumerate().step_by(3) {
                    if masks.rotate_left(index as u32) >> lane & 1 == 0 {
                        offered.push(Neighbor { distance, row }.key());
                        reservoir.push(distance, row);
                    }
                }
            }
            let mut found = reservoir.into_rows();
            offered.sort_unstable();
            offered.truncate(limit);
            let mut best: Vec<u32> = offered.into_iter().map(|key| Neighbor::from_key(key).row).collect();
            found.sort_unstable();
            best.sort_unstable();
            prop_assert_eq!(found, best);
        }
    }
}
