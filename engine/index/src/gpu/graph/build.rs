//! The links of GPU_CAGRA.
//!
//! Each row starts with its nearest rows:
//!
//! | rows | where they are looked for | what that takes |
//! |---|---|---|
//! | 32-bit floats | in the lists nearest to the row | the rows on the device, in lists; about n^1.5 comparisons |
//! | 16-bit floats, 8-bit integers | the same, of the rows widened to 32-bit floats | a widened copy in memory and another on the device: 4 bytes for each dimension |
//! | bits | among all rows, exactly | the rows on the device; n^2 comparisons of a word for 32 dimensions |
//!
//! Of two links, one that another node makes
//! up for, being on a way whose two links are both shorter in rank, is worth less: links are ordered by how many such ways there are, and
//! the best are kept. Half of them may give way to links in the other direction, so that no row is hard to find.

use std::sync::Arc;

use rayon::prelude::*;

use crate::any_metric::AnyMetric;
use crate::bitset::Bitset;
use crate::error::BuildError;
use crate::gpu::backend::{Backend, Device, LinksOf, NO_ROW};
use crate::gpu::brute::{Rounds, Tuning};
use crate::gpu::cagra::CagraParams;
use crate::gpu::error::GpuError;
use crate::gpu::ivf;
use crate::gpu::shards::Shards;
use crate::gpu::tuning::SearchTuning;
use crate::gpu::units::{shape_of, slice, widened};
use crate::index::{IndexKind, SearchStats};
use crate::indexed_rows::IndexedRows;
use crate::metric::Metric;
use crate::neighbor::Neighbor;
use crate::progress::{BuildOptions, Progress, Silent};
use crate::rng::Rng;
use crate::typed::{Rows, VectorsRef};
use crate::vectors::Vectors;

/// Lists for each square root of the number of rows, and the least rows of a list, about.
const LISTS: f64 = 4.0;
const LIST_ROWS: usize = 64;
/// Lists that are looked at for the nearest rows of a row, and rows that they should hold for each of those, about.
const PROBES: usize = 16;
const ROWS_PER_LINK: usize = 16;
/// Nodes whose links are thinned out at a time, and what the memory for that is called.
const PART: usize = 1 << 18;
const LINKS: &str = "the links of an index GPU_CAGRA";
/// Rows whose nearest are looked for at a time, among all rows.
const BATCH: usize = 4096;

/// The rows of a graph.
#[derive(Debug)]
pub(crate) struct Linked<'a> {
    pub(crate) metric: AnyMetric,
    pub(crate) vectors: VectorsRef<'a>,
    /// Those with a vector, all when `None`; and the same, ascending.
    pub(crate) valid: Option<&'a Bitset>,
    pub(crate) members: Vec<u32>,
}

/// Links of every row of the segment, `degree` each, filled up with [`NO_ROW`]; and `degree`.
pub(super) fn links<B: Backend>(
    device: &Arc<Device<B>>,
    params: CagraParams,
    rows: &Linked<'_>,
    options: &BuildOptions<'_>,
) -> Result<(Vec<u32>, usize), BuildError> {
    let (members, degree) = (&rows.members, params.degree as usize);
    let mut base = vec![NO_ROW; rows.vectors.len() * degree];
    if members.len() < 2 {
        return Ok((base, degree));
    }
    let nearest = nearest(device, params, rows, options)?;
    let linked = thinned(device, nearest, degree, PART, options)?;
    for (&row, links) in members.iter().zip(linked.chunks_exact(degree)) {
        let start = row as usize * degree;
        let Some(places) = base.get_mut(start..start + degree) else {
            continue;
        };
        for (place, &node) in places.iter_mut().zip(links) {
            *place = members.get(node as usize).copied().unwrap_or(NO_ROW);
        }
    }
    Ok((base, degree))
}

/// The nearest nodes of each node: nodes x degree.
struct Nearest {
    links: Vec<u32>,
    degree: usize,
}

/// The nearest nodes of each node, nearest first.
fn nearest<B: Backend>(
    device: &Arc<Device<B>>,
    params: CagraParams,
    rows: &Linked<'_>,
    options: &BuildOptions<'_>,
) -> Result<Nearest, BuildError> {
    let members = &rows.members;
    let degree = (params.intermediate_degree as usize).min(members.len() - 1);
    let mut links = match (rows.metric, rows.vectors) {
        (AnyMetric::Numbers(metric), VectorsRef::Floats(vectors)) => {
            in_lists(device, degree, (metric, vectors), rows, options)?
        }
        (_, VectorsRef::Bits(bits)) => among_all(device, degree, bits, rows, options)?,
        (AnyMetric::Numbers(metric), vectors) => {
            let (wide, dim) = (wide(vectors), shape_of(vectors).map_or(1, |(_, dim)| dim));
            let wide = Vectors::new(&wide, dim).map_err(|_| no_graph(rows.metric))?;
            in_lists(device, degree, (metric, wide), rows, options)?
        }
        (AnyMetric::Bits(_) | AnyMetric::MaxSim(_) | AnyMetric::Bm25, _) => {
            return Err(no_graph(rows.metric));
        }
    };
    let mut node_of = vec![NO_ROW; rows.vectors.len()];
    for (node, &row) in members.iter().enumerate() {
        if let Some(place) = node_of.get_mut(row as usize) {
            *place = node as u32;
        }
    }
    links.par_iter_mut().for_each(|link| {
        *link = node_of.get(*link as usize).copied().unwrap_or(NO_ROW);
    });
    Ok(Nearest { links, degree })
}

fn no_graph(metric: AnyMetric) -> BuildError {
    BuildError::Kind {
        index: IndexKind::GpuCagra.to_string(),
        metric: metric.to_string(),
    }
}

/// All numbers as 32-bit floats.
fn wide(vectors: VectorsRef<'_>) -> Vec<f32> {
    let rows = (0..vectors.len()).into_par_iter().with_min_len(1024);
    rows.flat_map_iter(|row| widened(vectors.row(row))).collect()
}

/// The nearest rows of each of the members, in the lists nearest to it.
fn in_lists<B: Backend>(
    device: &Arc<Device<B>>,
    degree: usize,
    (metric, vectors): (Metric, Vectors<'_>),
    rows: &Linked<'_>,
    options: &BuildOptions<'_>,
) -> Result<Vec<u32>, BuildError> {
    let members = &rows.members;
    let most = (members.len() / LIST_ROWS).clamp(1, 65_536);
    let nlist = (((members.len() as f64).sqrt() * LISTS) as usize).clamp(1, most) as u32;
    let per_list = (members.len() / nlist as usize).max(1);
    let probes = (ROWS_PER_LINK * degree).div_ceil(per_list).max(PROBES);
    let indexed = IndexedRows::new(metric, vectors, rows.valid);
    let tuning = SearchTuning::default();
    // Progress is told in rows that have their nearest.
    let quiet = BuildOptions {
        progress: &Silent(options.progress),
        ..*options
    };
    let lists = ivf::build(device, nlist, indexed, vectors, &quiet, tuning)?;
    lists.neighbors(vectors, members, degree, probes, options.progress)
}

/// The nearest rows of each of the members, all others being compared with it; at most half of them are copies of it.
fn among_all<B: Backend>(
    device: &Arc<Device<B>>,
    degree: usize,
    bits: Rows<'_, u8>,
    rows: &Linked<'_>,
    options: &BuildOptions<'_>,
) -> Result<Vec<u32>, BuildError> {
    let (vectors, members) = (rows.vectors, &rows.members);
    let search = Shards::new(device, rows.metric, Tuning::default());
    let (stats, rounds) = (&mut SearchStats::default(), &mut Rounds::default());
    let mut all = Vec::with_capacity(members.len() * degree);
    let mut done = 0;
    for first in (0..vectors.len()).step_by(BATCH) {
        if options.progress.cancelled() {
            return Err(BuildError::Cancelled);
        }
        let end = (first + BATCH).min(vectors.len());
        let of_batch = slice(vectors, first, end);
        // The row itself is among them, but where it has more copies than that.
        let found = search.search(vectors, of_batch, degree + 1, rows.valid, stats, rounds)?;
        let until = members.partition_point(|&row| (row as usize) < end);
        let batch = members.get(done..until).unwrap_or(&[]);
        let others = batch.par_iter().flat_map_iter(|&row| {
            let near = found.get(row as usize - first).map_or(&[][..], Vec::as_slice);
            others(near, bits, row, degree)
        });
        all.par_extend(others);
        done = until;
        options.progress.advance(done as u64, members.len() as u64);
    }
    Ok(all)
}

/// The `count` nearest of `near` but `row` itself, at most half of them copies of it; [`NO_ROW`] fills up.
fn others(near: &[Neighbor], bits: Rows<'_, u8>, row: u32, count: usize) -> impl Iterator<Item = u32> {
    let own = bits.row(row as usize);
    let (mut copies, mut kept) = (0, Vec::with_capacity(count));
    for neighbor in near.iter().filter(|neighbor| neighbor.row != row) {
        let is_copy = bits.row(neighbor.row as usize) == own;
        copies += usize::from(is_copy);
        if kept.len() < count && !(is_copy && copies > count.div_ceil(2)) {
            kept.push(neighbor.row);
        }
    }
    kept.into_iter().chain(std::iter::repeat(NO_ROW)).take(count)
}

/// `degree` links of each node: the better half of its own, then links in the other direction, then the rest of its own, then
/// drawn nodes where there are too few. `part` nodes at a time.
fn thinned<B: Backend>(
    device: &Arc<Device<B>>,
    nearest: Nearest,
    degree: usize,
    part: usize,
    options: &BuildOptions<'_>,
) -> Result<Vec<u32>, BuildError> {
    let nodes = nearest.links.len() / nearest.degree;
    let mut linked = joined(device, nearest, degree, part.min(nodes), options)?;
    // Few nodes may be too few to fill a list with.
    let lists = linked.par_chunks_exact_mut(degree).enumerate();
    lists
        .filter(|(_, links)| links.last() == Some(&NO_ROW))
        .for_each(|(node, links)| fill_up(node, links, nodes, options.seed));
    Ok(linked)
}

/// [`thinned`] on the device, before nodes are drawn.
fn joined<B: Backend>(
    device: &Arc<Device<B>>,
    nearest: Nearest,
    degree: usize,
    part: usize,
    options: &BuildOptions<'_>,
) -> Result<Vec<u32>, BuildError> {
    let nodes = nearest.links.len() / nearest.degree;
    let own = degree.min(nearest.degree);
    let (backend, budget) = (&device.backend, &device.budget);
    let _turn = device.turn.lock();
    let _held = budget.reserve(LINKS, 4 * nodes * own)?;
    let mut best = backend.allocate(nodes * own)?;
    keep_best(device, &nearest, own, part, &mut best, options)?;
    drop(nearest);
    let best = LinksOf {
        data: &best,
        nodes: nodes as u32,
        degree: own as u32,
    };
    let _held = budget.reserve(LINKS, 4 * 3 * part * degree)?;
    let mut reverse = backend.allocate(2 * part * degree)?;
    let mut joined = backend.allocate(part * degree)?;
    let mut linked = vec![NO_ROW; nodes * degree];
    for (turn, linked) in linked.chunks_mut(part * degree).enumerate() {
        if options.progress.cancelled() {
            return Err(BuildError::Cancelled);
        }
        let first = turn * part;
        let of = || first as u32..(first + linked.len() / degree) as u32;
        backend.reverse_links(&best, of(), degree as u32, &mut reverse)?;
        backend.join_links(&best, of(), &reverse, degree as u32, &mut joined)?;
        backend.read(&joined, linked)?;
    }
    Ok(linked)
}

/// The `kept` nearest nodes of each node with the fewest detours; `part` nodes at a time.
fn keep_best<B: Backend>(
    device: &Arc<Device<B>>,
    nearest: &Nearest,
    kept: usize,
    part: usize,
    best: &mut B::Buffer,
    options: &BuildOptions<'_>,
) -> Result<(), BuildError> {
    let backend = &device.backend;
    let nodes = nearest.links.len() / nearest.degree;
    let words = nearest.links.len() + part * nearest.degree;
    let _held = device.budget.reserve(LINKS, 4 * words)?;
    let mut links = backend.allocate(nearest.links.len())?;
    backend.write(&mut links, 0, &nearest.links)?;
    let links = LinksOf {
        data: &links,
        nodes: nodes as u32,
        degree: nearest.degree as u32,
    };
    let mut detours = backend.allocate(part * nearest.degree)?;
    for first in (0..nodes).step_by(part) {
        if options.progress.cancelled() {
            return Err(BuildError::Cancelled);
        }
        let of = || first as u32..nodes.min(first + part) as u32;
        backend.count_detours(&links, of(), &mut detours)?;
        backend.best_links(&links, of(), &detours, kept as u32, best)?;
        // Waits for the part, so that the next one is only begun when nobody has cancelled.
        backend.read(&detours, &mut [0u32])?;
    }
    Ok(())
}

/// Nodes that are drawn take the places without a link.
fn fill_up(node: usize, links: &mut [u32], nodes: usize, seed: u64) {
    let mut rng = Rng::new(seed ^ (node as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut used = links.iter().take_while(|&&link| link != NO_ROW).count();
    for _ in 0..2 * links.len() {
        let drawn = rng.below(nodes) as u32;
        if drawn as usize == node || links.contains(&drawn) {
            continue;
        }
        let Some(place) = links.get_mut(used) else {
            return;
        };
        *place = drawn;
        used += 1;
    }
}

impl<B: Backend> ivf::IvfFlatOn<B> {
    /// The `k` nearest others of each of `members`, rows of `vectors`, out of `probes` lists; at most half of them are copies.
    fn neighbors(
        &self,
        vectors: Vectors<'_>,
        members: &[u32],
        k: usize,
        probes: usize,
        progress: &dyn Progress,
    ) -> Result<Vec<u32>, BuildError> {
        let missing = || GpuError::NoDevice {
            reason: "an index was built without one".to_owned(),
        };
        let (host, search) = self.parts().ok_or_else(missing)?;
        search.neighbors(host, vectors, members, (k, probes), progress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::twin::Twin;

    /// Links between numbers that differ by 1, 9 or 10; the first and the last nodes have fewer than others.
    fn grid() -> Nearest {
        let nodes = (0..81i32).flat_map(|node| {
            let near = [1, -1, 9, -9, 10, -10].map(|step| node + step);
            near.map(|link| {
                u32::try_from(link)
                    .ok()
                    .filter(|&link| link < 81)
                    .unwrap_or(NO_ROW)
            })
        });
        Nearest {
            links: nodes.collect(),
            degree: 6,
        }
    }

    #[test]
    fn parts_make_the_links_of_the_whole() {
        let device = Device::new(Twin::new(), 1 << 20);
        let options = BuildOptions::default();
        let linked = |degree, part| thinned(&device, grid(), degree, part, &options).unwrap();
        for degree in [1, 3, 6, 9, 100] {
            let whole = linked(degree, PART);
            for part in [1, 7, 80] {
                assert_eq!(linked(degree, part), whole, "{degree} links, {part} at a time");
            }
            for (node, links) in whole.chunks_exact(degree).enumerate() {
                let mut all: Vec<u32> = links.iter().copied().filter(|&link| link != NO_ROW).collect();
                // Drawn ones fill up what six links and those that come back do not, while there are nodes.
                assert!(all.len() >= degree.min(60), "node {node}: {links:?}");
                all.push(node as u32);
                all.sort_unstable();
                assert!(
                    all.windows(2).all(|pair| pair[0] < pair[1]),
                    "node {node}: {links:?}"
                );
            }
        }
        assert_eq!(device.budget.free(), device.budget.limit());
    }

    #[test]
    fn links_that_do_not_fit_the_memory_are_refused_with_both_sizes() {
        // 81 nodes with six links: 1,944 bytes for those that stay, next to them first twice, then three times as many.
        for (limit, needed, free) in [(1900, 1944, 1900), (5000, 3888, 3056), (6000, 5832, 4056)] {
            let device = Device::new(Twin::new(), limit);
            let refused = thinned(&device, grid(), 6, PART, &BuildOptions::default()).unwrap_err();
            let text = refused.to_string();
            let wanted = format!("{LINKS} needs {needed} bytes of GPU memory, ");
            assert!(
                text.contains(&wanted) && text.contains(&free.to_string()),
                "{text}"
            );
            assert_eq!(device.budget.free(), limit);
        }
    }
}
