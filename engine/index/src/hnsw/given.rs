//! A hierarchy over base links that were made elsewhere: the layers above are those of a graph over a sample of the rows.

use super::graph::{Degrees, Graph};
use super::layers::{Layers, NONE, Upper};
use super::points::Points;
use super::walkers::ByDistance;
use crate::blob::Array;
use crate::error::BuildError;
use crate::progress::{BuildOptions, Silent};
use crate::rng::Rng;

/// One row in so many is in the first of the layers above.
const SAMPLE: usize = 24;
/// The graph over the sample.
const DEGREES: Degrees = Degrees {
    m: 12,
    ef_construction: 100,
};

/// A graph of `members`, rows of `points`, with the base links given: for each row of the segment `stride` of them, filled up
/// with [`NONE`]. Runs on the current thread pool.
pub(super) fn over<P: Points>(
    points: &P,
    members: &[u32],
    (base, stride): (Vec<u32>, usize),
    options: &BuildOptions<'_>,
) -> Result<Graph, BuildError> {
    let mut rng = Rng::new(options.seed);
    let sample: Vec<u32> = members
        .iter()
        .copied()
        .filter(|_| rng.below(SAMPLE) == 0)
        .collect();
    let (entry, upper) = if sample.is_empty() {
        (members.first().copied().unwrap_or(NONE), Vec::new())
    } else {
        let quiet = BuildOptions {
            progress: &Silent(options.progress),
            ..*options
        };
        let walkers = ByDistance(points);
        let layers = Graph::build(DEGREES, points, &walkers, sample.clone(), None, &quiet)?.into_layers();
        (layers.entry, raised(&layers, &sample))
    };
    let layers = Layers {
        base: Array::Owned(base),
        stride,
        upper,
        entry,
    };
    Ok(Graph::of(points.len(), members.len(), layers))
}

/// The layers of a graph over a sample, one layer up.
fn raised(layers: &Layers, sample: &[u32]) -> Vec<Upper> {
    // A walk enters the highest layer at its first slot.
    let mut rows = vec![layers.entry];
    rows.extend(sample.iter().copied().filter(|&row| row != layers.entry));
    let most = rows.iter().copied().max().unwrap_or(0) as usize;
    let mut slots = vec![NONE; most + 1];
    for (slot, &row) in rows.iter().enumerate() {
        if let Some(place) = slots.get_mut(row as usize) {
            *place = slot as u32;
        }
    }
    let slot_of = |row: u32| slots.get(row as usize).copied().unwrap_or(NONE);
    let (base, stride) = (layers.base(), layers.base_degree());
    let mut links = Vec::with_capacity(rows.len() * stride);
    for (slot, &row) in rows.iter().enumerate() {
        links.extend(base.neighbors(row).map(slot_of));
        links.resize((slot + 1) * stride, NONE);
    }
    let lowest = Upper {
        down: Array::Owned(rows.clone()),
        rows: Array::Owned(rows),
        links: Array::Owned(links),
        stride,
    };
    let higher = layers.upper.iter().enumerate().map(|(index, layer)| Upper {
        rows: Array::Owned(layer.rows.to_vec()),
        // From the lowest of them on the way down led to rows.
        down: Array::Owned(if index == 0 {
            layer.down.iter().map(|&row| slot_of(row)).collect()
        } else {
            layer.down.to_vec()
        }),
        links: Array::Owned(layer.links.to_vec()),
        stride: layer.stride,
    });
    std::iter::once(lowest).chain(higher).collect()
}
