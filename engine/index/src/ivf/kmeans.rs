//! k-means on a sample: seeded like k-means++ (Arthur and Vassilvitskii, 2007), refined with Lloyd's iterations.
//!
//! The result depends on the seed alone: sums run in the order of the sample, whichever thread adds them up.

use rayon::prelude::*;

use super::assign::{Assigner, group};
use crate::error::BuildError;
use crate::metric::Metric;
use crate::neighbor::Neighbor;
use crate::progress::Progress;
use crate::rng::Rng;
use crate::scorer::Space;

/// Training rows per list; more improve centroids very little.
const SAMPLE_PER_LIST: usize = 128;
const ITERATIONS: usize = 10;
/// Iterations end when the summed distance improves by less than this part.
const ENOUGH: f64 = 1e-4;
/// Up to so many lists the seeds are spread out; beyond, drawing them at random is as good after a few iterations and
/// spares a pass over the candidates for every list.
const SPREAD_LISTS: usize = 1024;
/// Candidates per list for a spread-out seed.
const SPREAD_CANDIDATES: usize = 4;
/// How far the two halves of a split list are pushed apart, relative to the centroid.
const SPLIT: f32 = 1.0 / 1024.0;

/// Who does the two things that take the time of k-means and of a build of lists: the processor, or a device.
pub(crate) trait Clusterer {
    /// The nearest of `lists` centroids (`row`, under the metric that groups rows) of each of `rows`, with its distance.
    /// Reports rows done when `total` is given.
    fn assign(
        &mut self,
        space: &Space<'_>,
        rows: &[u32],
        centroids_and_lists: (&[f32], usize),
        progress: &dyn Progress,
        total: Option<usize>,
    ) -> Result<Vec<Neighbor>, BuildError>;

    /// Puts the mean of each list of `rows` into its centroid; centroids of empty lists stay. Rows count by direction under
    /// COSINE. Sums run in the order of `rows` and in 64 bits.
    fn means(
        &mut self,
        space: &Space<'_>,
        rows: &[u32],
        assigned: &[Neighbor],
        centroids: &mut [f32],
    ) -> Result<(), BuildError>;
}

/// The threads of the processor.
#[derive(Debug)]
pub(crate) struct OnProcessor;

impl Clusterer for OnProcessor {
    fn assign(
        &mut self,
        space: &Space<'_>,
        rows: &[u32],
        (centroids, lists): (&[f32], usize),
        progress: &dyn Progress,
        total: Option<usize>,
    ) -> Result<Vec<Neighbor>, BuildError> {
        let assigner = Assigner {
            space,
            centroids,
            lists,
        };
        assigner.assign(rows, progress, total)
    }

    fn means(
        &mut self,
        space: &Space<'_>,
        rows: &[u32],
        assigned: &[Neighbor],
        centroids: &mut [f32],
    ) -> Result<(), BuildError> {
        let dim = space.vectors.dim();
        let (offsets, members) = group(rows, assigned, centroids.len() / dim);
        let means = centroids.par_chunks_exact_mut(dim).zip(offsets.par_windows(2));
        means.for_each(|(centroid, span)| {
            let rows = members.get(span[0] as usize..span[1] as usize).unwrap_or(&[]);
            if rows.is_empty() {
                return;
            }
            let mut sums = vec![0.0f64; dim];
            for &row in rows {
                let weight = weight_of(space, row);
                for (sum, &value) in sums.iter_mut().zip(space.vectors.row(row as usize)) {
                    *sum += f64::from(value * weight);
                }
            }
            for (value, sum) in centroid.iter_mut().zip(&sums) {
                *value = (sum / rows.len() as f64) as f32;
            }
        });
        Ok(())
    }
}

/// What a row is multiplied by in the mean of its list.
pub(crate) fn weight_of(space: &Space<'_>, row: u32) -> f32 {
    match space.metric {
        Metric::L2 | Metric::Ip => 1.0,
        Metric::Cosine => space.row_scorer(row).inverse_query(),
    }
}

/// Centroids (lists x dim, row-major) of the rows `rows` of `space`; `lists` is at most their number.
pub(super) fn train(
    clusterer: &mut impl Clusterer,
    space: &Space<'_>,
    rows: &[u32],
    lists: usize,
    seed: u64,
    progress: &dyn Progress,
) -> Result<Vec<f32>, BuildError> {
    let mut rng = Rng::new(seed);
    let sample = draw(rows, lists.saturating_mul(SAMPLE_PER_LIST), &mut rng);
    let seeds = if lists <= SPREAD_LISTS {
        spread_seeds(space, &sample, lists, &mut rng, progress)?
    } else {
        sample.iter().copied().take(lists).collect()
    };
    let mut centroids: Vec<f32> = seeds
        .iter()
        .flat_map(|&row| space.vectors.row(row as usize).iter().copied())
        .collect();
    normalize(space, &mut centroids);
    let mut last = f64::INFINITY;
    for _ in 0..ITERATIONS {
        let assigned = clusterer.assign(space, &sample, (&centroids, lists), progress, None)?;
        let total: f64 = assigned.iter().map(|nearest| f64::from(nearest.distance)).sum();
        clusterer.means(space, &sample, &assigned, &mut centroids)?;
        split_fullest(&assigned, space.vectors.dim(), &mut centroids);
        normalize(space, &mut centroids);
        if (last - total).abs() <= ENOUGH * total.abs() {
            break;
        }
        last = total;
    }
    Ok(centroids)
}

/// At most `count` of `rows` in random order.
fn draw(rows: &[u32], count: usize, rng: &mut Rng) -> Vec<u32> {
    let mut rows = rows.to_vec();
    let count = count.min(rows.len());
    for place in 0..count {
        let other = place + rng.below(rows.len() - place);
        rows.swap(place, other);
    }
    rows.truncate(count);
    rows
}

/// Draws `lists` rows, each with a chance that grows with its distance to those already drawn.
fn spread_seeds(
    space: &Space<'_>,
    sample: &[u32],
    lists: usize,
    rng: &mut Rng,
    progress: &dyn Progress,
) -> Result<Vec<u32>, BuildError> {
    let candidates = sample.get(..lists * SPREAD_CANDIDATES).unwrap_or(sample);
    let directions = Space::new(
        if space.metric == Metric::L2 {
            Metric::L2
        } else {
            Metric::Cosine
        },
        space.vectors,
        None,
    );
    let mut nearest = vec![f32::INFINITY; candidates.len()];
    let mut seeds: Vec<u32> = candidates.first().copied().into_iter().take(lists).collect();
    while let Some(&last) = seeds.last()
        && seeds.len() < lists
    {
        if progress.cancelled() {
            return Err(BuildError::Cancelled);
        }
        let scorer = directions.row_scorer(last);
        nearest
            .par_iter_mut()
            .zip(candidates)
            .with_min_len(1024)
            .for_each(|(nearest, &row)| {
                // A cosine distance runs from -1; as a weight it must start at 0.
                let offset = if directions.metric == Metric::L2 { 0.0 } else { 1.0 };
                *nearest = nearest.min((scorer.one(row) + offset).max(0.0));
            });
        let total: f64 = nearest.iter().map(|&distance| f64::from(distance)).sum();
        let drawn = if total > 0.0 && total.is_finite() {
            pick(&nearest, total * rng.unit())
        } else {
            None
        };
        // Only copies of the seeds are left: any row will do.
        let place = drawn.unwrap_or_else(|| rng.below(candidates.len()));
        seeds.extend(candidates.get(place));
    }
    Ok(seeds)
}

/// First place where the running sum of `weights` reaches `target`.
fn pick(weights: &[f32], target: f64) -> Option<usize> {
    let mut sum = 0.0;
    weights.iter().position(|&weight| {
        sum += f64::from(weight);
        sum >= target && weight > 0.0
    })
}

/// An empty list takes half of the fullest one.
fn split_fullest(assigned: &[Neighbor], dim: usize, centroids: &mut [f32]) {
    let lists = centroids.len() / dim;
    let mut sizes = vec![0usize; lists];
    for list in assigned {
        if let Some(size) = sizes.get_mut(list.row as usize) {
            *size += 1;
        }
    }
    for empty in 0..lists {
        if sizes[empty] > 0 {
            continue;
        }
        let fullest = (0..lists).max_by_key(|&list| (sizes[list], std::cmp::Reverse(list)));
        let Some(fullest) = fullest.filter(|&fullest| sizes[fullest] > 1) else {
            break;
        };
        sizes[empty] = sizes[fullest] / 2;
        sizes[fullest] -= sizes[empty];
        for axis in 0..dim {
            let push = if axis % 2 == 0 { SPLIT } else { -SPLIT };
            let value = centroids[fullest * dim + axis];
            centroids[empty * dim + axis] = value * (1.0 + push);
            centroids[fullest * dim + axis] = value * (1.0 - push);
        }
    }
}

/// Gives centroids unit length where rows are grouped by direction.
fn normalize(space: &Space<'_>, centroids: &mut [f32]) {
    if space.metric == Metric::L2 {
        return;
    }
    for centroid in centroids.chunks_exact_mut(space.vectors.dim()) {
        let norm = centroid
            .iter()
            .map(|&value| f64::from(value) * f64::from(value))
            .sum::<f64>()
            .sqrt();
        if norm > 0.0 {
            centroid
                .iter_mut()
                .for_each(|value| *value = (f64::from(*value) / norm) as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::Vectors;

    #[test]
    fn well_separated_groups_get_a_centroid_each() {
        let groups = [[0.0, 0.0], [100.0, 0.0], [0.0, 100.0], [100.0, 100.0]];
        let data: Vec<f32> = (0..400)
            .flat_map(|i| {
                let [x, y] = groups[i % 4];
                [x + (i % 7) as f32 / 7.0, y + (i % 5) as f32 / 5.0]
            })
            .collect();
        let space = Space::new(Metric::L2, Vectors::new(&data, 2).unwrap(), None);
        let rows: Vec<u32> = (0..400).collect();
        let centroids = train(&mut OnProcessor, &space, &rows, 4, 1, &()).unwrap();
        for [x, y] in groups {
            let near = |c: &[f32]| (c[0] - x).abs() < 1.0 && (c[1] - y).abs() < 1.0;
            assert_eq!(
                centroids.chunks(2).filter(|c| near(c)).count(),
                1,
                "{centroids:?}"
            );
        }
    }

    #[test]
    fn more_lists_than_different_rows_still_train() {
        let data = [1.0f32, 2.0].repeat(50);
        for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
            let space = Space::new(metric, Vectors::new(&data, 2).unwrap(), None);
            let rows: Vec<u32> = (0..50).collect();
            let centroids = train(&mut OnProcessor, &space, &rows, 8, 1, &()).unwrap();
            assert_eq!(centroids.len(), 16);
            assert!(centroids.iter().all(|value| value.is_finite()));
        }
    }
}
