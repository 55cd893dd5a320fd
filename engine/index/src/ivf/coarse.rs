//! The nearest of many centroids by their codes: 8 bits per dimension say which few centroids are worth an exact distance.
//! Reading all of them would be a large part of a search of lists that are themselves scanned by codes.

use crate::codes::Operand;
use crate::codes::estimate::{Line, Terms, below, distances};
use crate::codes::level::Level;
use crate::codes::packing::{Packing, TOGETHER};
use crate::codes::scalar::ScalarQuantizer;
use crate::metric::Metric;
use crate::neighbor::Neighbor;
use crate::scorer::Space;

use super::reservoir::Reservoir;

/// With fewer centroids all are scored.
const MIN_LISTS: usize = 256;
/// Centroids whose sums are made together.
const CHUNK: usize = 256;
/// Those that are compared together.
const GROUP: usize = 64;

/// A query, and the centroids that are nearest to it of those that were looked at.
#[derive(Debug)]
struct Nearest<'q> {
    query: &'q [f32],
    operand: Operand,
    line: Line,
    best: Reservoir,
    /// Rows that `best` keeps.
    limit: usize,
}

/// Codes of all centroids; made when an index is built or opened, not stored.
#[derive(Debug)]
pub(super) struct Coarse {
    quantizer: ScalarQuantizer,
    lists: usize,
    /// Taken from centroids and queries under L2.
    mean: Vec<f32>,
    codes: Vec<u8>,
    /// Squared length of every centroid under L2, less the mean; else empty.
    adds: Vec<f32>,
}

impl Coarse {
    /// Codes of `centroids`, rows of `dim` floats that are compared by `metric`; none where there are few.
    pub(super) fn new(metric: Metric, centroids: &[f32], dim: usize) -> Option<Self> {
        let lists = centroids.len() / dim.max(1);
        if lists < MIN_LISTS {
            return None;
        }
        let is_l2 = metric == Metric::L2;
        let mut mean = vec![0.0f64; if is_l2 { dim } else { 0 }];
        for row in centroids.chunks_exact(dim) {
            for (sum, &value) in mean.iter_mut().zip(row) {
                *sum += f64::from(value);
            }
        }
        let mean: Vec<f32> = mean.into_iter().map(|sum| (sum / lists as f64) as f32).collect();
        let mut centred = centroids.to_vec();
        for row in centred.chunks_exact_mut(dim) {
            for (value, mean) in row.iter_mut().zip(&mean) {
                *value -= mean;
            }
        }
        let quantizer = ScalarQuantizer::train(8, dim, &centred);
        let packing = quantizer.packing();
        let (unit, unit_bytes) = (packing.unit(), packing.unit_bytes());
        let units = lists.div_ceil(unit);
        let mut codes = vec![0; units * unit_bytes];
        let mut adds = vec![0.0; if is_l2 { units * unit } else { 0 }];
        let (mut code, mut decoded) = (Vec::new(), Vec::new());
        for (list, row) in centred.chunks_exact(dim).enumerate() {
            quantizer.encode(row, &mut code);
            if let Some(bytes) = codes.get_mut(list / unit * unit_bytes..(list / unit + 1) * unit_bytes) {
                packing.put(bytes, list % unit, &code);
            }
            if let Some(add) = adds.get_mut(list) {
                quantizer.decode(&code, &mut decoded);
                *add = decoded.iter().map(|value| value * value).sum();
            }
        }
        Some(Self {
            quantizer,
            lists,
            mean,
            codes,
            adds,
        })
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let numbers = self.mean.len() + self.adds.len();
        let [lows, steps] = self.quantizer.arrays();
        self.codes.len() + 4 * (numbers + lows.len() + steps.len())
    }

    /// About the `count` nearest of the centroids in `space`, as keys of their exact distances, in order; `None` when so
    /// many are wanted that reading all is as quick.
    pub(super) fn nearest(&self, space: &Space<'_>, query: &[f32], count: usize) -> Option<Vec<u64>> {
        let mut look = self.look(query, count)?;
        let mut sums = [0i32; CHUNK];
        for (first, codes) in self.chunks() {
            let sums = sums.get_mut(..self.places(codes))?;
            self.packing()
                .sums(Level::best(), codes, &look.operand.bytes, sums);
            self.take(&mut look, first, sums);
        }
        finish(look, space, count)
    }

    /// [`Coarse::nearest`] for several queries.
    pub(super) fn nearest_of(
        &self,
        space: &Space<'_>,
        queries: [&[f32]; TOGETHER],
        count: usize,
    ) -> Option<[Option<Vec<u64>>; TOGETHER]> {
        let looks = queries.map(|query| self.look(query, count));
        let [Some(a), Some(b), Some(c), Some(d)] = looks else {
            return None;
        };
        let mut looks = [a, b, c, d];
        let mut sums = [[0i32; CHUNK]; TOGETHER];
        for (first, codes) in self.chunks() {
            let places = self.places(codes);
            let operands = looks.each_ref().map(|look| look.operand.bytes.as_slice());
            let slots = sums
                .each_mut()
                .map(|sums| sums.get_mut(..places).unwrap_or_default());
            self.packing().sums_of(Level::best(), codes, operands, slots);
            for (look, sums) in looks.iter_mut().zip(&sums) {
                self.take(look, first, sums.get(..places)?);
            }
        }
        Some(looks.map(|look| finish(look, space, count)))
    }

    fn packing(&self) -> Packing {
        self.quantizer.packing()
    }

    /// Centroids whose sums are made together: the first, and the codes of all.
    fn chunks(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let packing = self.packing();
        let bytes = CHUNK / packing.unit() * packing.unit_bytes();
        (0..).step_by(CHUNK).zip(self.codes.chunks(bytes))
    }

    /// Places of whole units of codes.
    fn places(&self, codes: &[u8]) -> usize {
        codes.len() / self.packing().unit_bytes() * self.packing().unit()
    }

    /// A search that has looked at nothing yet.
    fn look<'q>(&self, query: &'q [f32], count: usize) -> Option<Nearest<'q>> {
        let limit = count + count / 2 + 8;
        if limit * 2 > self.lists {
            return None;
        }
        let centred: Vec<f32>;
        let (query_of_codes, times) = if self.mean.is_empty() {
            (query, -1.0)
        } else {
            centred = query.iter().zip(&self.mean).map(|(q, mean)| q - mean).collect();
            (centred.as_slice(), -2.0)
        };
        let operand = self.quantizer.operand(query_of_codes);
        Some(Nearest {
            query,
            line: Line {
                scale: operand.scale * times,
                bias: operand.bias * times,
                ..Line::default()
            },
            operand,
            best: Reservoir::new(limit, self.lists),
            limit,
        })
    }

    /// Looks at the centroids from `first` on, whose sums are made.
    fn take(&self, look: &mut Nearest<'_>, first: usize, sums: &[i32]) {
        let terms = Terms {
            adds: &self.adds,
            ..Terms::default()
        };
        let level = Level::best();
        let mut estimates = [0.0f32; CHUNK];
        let Some(estimates) = estimates.get_mut(..sums.len()) else {
            return;
        };
        distances(level, sums, look.line, terms.of(first, sums.len()), estimates);
        for (group, estimates) in estimates.chunks(GROUP).enumerate() {
            let first = first + group * GROUP;
            let there = self.lists.saturating_sub(first).min(GROUP);
            let mask = below(level, estimates, look.best.bound());
            if mask != 0 && there > 0 {
                let numbers: [u32; GROUP] = std::array::from_fn(|lane| (first + lane) as u32);
                let numbers = numbers.get(..there).unwrap_or(&[]);
                look.best
                    .push_masked(mask & (u64::MAX >> (GROUP - there)), estimates, numbers);
            }
        }
    }
}

/// The exact distances of what a look found.
fn finish(look: Nearest<'_>, space: &Space<'_>, count: usize) -> Option<Vec<u64>> {
    let lists = look.best.into_rows();
    if lists.len() < look.limit {
        // Estimates that are no numbers.
        return None;
    }
    let mut exact = vec![0.0f32; lists.len()];
    space.scorer(look.query).gather(&lists, &mut exact);
    let pairs = lists.iter().zip(&exact);
    let mut keys: Vec<u64> = pairs
        .map(|(&row, &distance)| Neighbor { distance, row }.key())
        .collect();
    if count < keys.len() {
        keys.select_nth_unstable(count);
        keys.truncate(count);
    }
    keys.sort_unstable();
    Some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use crate::vectors::Vectors;

    #[test]
    fn nearly_all_of_the_nearest_are_found_with_exact_distances() {
        let (dim, lists) = (40, 500);
        let mut rng = Rng::new(3);
        for offset in [0.0, 200.0] {
            let centroids: Vec<f32> = (0..lists * dim).map(|_| rng.normal() + offset).collect();
            let vectors = Vectors::new(&centroids, dim).unwrap();
            for metric in [Metric::L2, Metric::Ip] {
                let space = Space::new(metric, vectors, None);
                let coarse = Coarse::new(metric, &centroids, dim).unwrap();
                let mut missed = 0;
                for _ in 0..20 {
                    let query: Vec<f32> = (0..dim).map(|_| rng.normal() + offset).collect();
                    let mut distances = vec![0.0; lists];
                    space.scorer(&query).block(0, &mut distances);
                    let mut all: Vec<u64> = (0..)
                        .zip(&distances)
                        .map(|(row, &distance)| Neighbor { distance, row }.key())
                        .collect();
                    all.sort_unstable();
                    let found = coarse.nearest(&space, &query, 16).unwrap();
                    let other: Vec<f32> = query.iter().map(|value| -value).collect();
                    let of_four = [&*query, &*other, &*query, &*query];
                    let [first, turned, .., last] = coarse.nearest_of(&space, of_four, 16).unwrap();
                    assert_eq!((first.as_ref(), last.as_ref()), (Some(&found), Some(&found)));
                    assert_eq!(turned, coarse.nearest(&space, &other, 16));
                    assert!(found.is_sorted() && found.iter().all(|key| all.contains(key)));
                    missed += all[..16].iter().filter(|key| !found.contains(key)).count();
                }
                // Of an inner product with a common offset, little is left that tells centroids apart.
                let allowed = if metric == Metric::Ip && offset > 0.0 {
                    60
                } else {
                    2
                };
                assert!(missed <= allowed, "{metric} {offset}: {missed} of 320");
            }
        }
    }

    #[test]
    fn few_centroids_or_many_wanted_are_left_to_exact_distances() {
        let centroids = vec![1.0f32; 300 * 4];
        assert!(Coarse::new(Metric::L2, &centroids[..100 * 4], 4).is_none());
        let coarse = Coarse::new(Metric::L2, &centroids, 4).unwrap();
        let vectors = Vectors::new(&centroids, 4).unwrap();
        let space = Space::new(Metric::L2, vectors, None);
        assert!(coarse.nearest(&space, &[0.0; 4], 200).is_none());
        assert_eq!(coarse.nearest(&space, &[0.0; 4], 10).unwrap().len(), 10);
        let endless = [f32::INFINITY; 4];
        assert!(coarse.nearest(&space, &endless, 10).is_none());
        let of_four = coarse.nearest_of(&space, [&[0.0; 4], &endless, &[1.0; 4], &[2.0; 4]], 10);
        assert_eq!(
            of_four.unwrap().map(|found| found.is_some()),
            [true, false, true, true]
        );
        assert!(coarse.nearest_of(&space, [&[0.0; 4]; TOGETHER], 200).is_none());
    }
}
