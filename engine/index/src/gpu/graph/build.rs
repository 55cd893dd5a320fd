//! The links of GPU_CAGRA.
//!
//! Each row starts with its nearest rows, found in the lists nearest to it. Of two links, one that another node makes
//! up for, being on a way whose two links are both shorter in rank, is worth less: links are ordered by how many such ways there are, and
//! the best are kept. Half of them may give way to links in the other direction, so that no row is hard to find.

use std::sync::Arc;

use rayon::prelude::*;

use crate::error::BuildError;
use crate::gpu::backend::{Backend, Device, NO_ROW};
use crate::gpu::cagra::CagraParams;
use crate::gpu::error::GpuError;
use crate::gpu::ivf;
use crate::gpu::tuning::SearchTuning;
use crate::indexed_rows::IndexedRows;
use crate::progress::{BuildOptions, Progress, Silent};
use crate::rng::Rng;
use crate::vectors::Vectors;

/// Lists for each square root of the number of rows, and the least rows of a list, about.
const LISTS: f64 = 4.0;
const LIST_ROWS: usize = 64;
/// Lists that are looked at for the nearest rows of a row, and rows that they should hold for each of those, about.
const PROBES: usize = 16;
const ROWS_PER_LINK: usize = 16;
/// Nodes whose links are ordered at a time.
const PART: usize = 1 << 18;

/// Links of every row of the segment, `degree` each, filled up with [`NO_ROW`]; and `degree`.
pub(super) fn links<B: Backend>(
    device: &Arc<Device<B>>,
    params: CagraParams,
    rows: &IndexedRows,
    vectors: Vectors<'_>,
    options: &BuildOptions<'_>,
) -> Result<(Vec<u32>, usize), BuildError> {
    let (members, degree) = (rows.numbers(), params.degree as usize);
    let mut base = vec![NO_ROW; rows.len * degree];
    if members.len() < 2 {
        return Ok((base, degree));
    }
    let nearest = nearest(device, params, rows, &members, vectors, options)?;
    let kept = ordered(device, &nearest, degree, options)?;
    let linked = with_reverse(&kept, degree, options.seed);
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

/// Nodes' links, as many places for each.
struct Lists {
    links: Vec<u32>,
    degree: usize,
}

/// The nearest nodes of each node, nearest first.
fn nearest<B: Backend>(
    device: &Arc<Device<B>>,
    params: CagraParams,
    rows: &IndexedRows,
    members: &[u32],
    vectors: Vectors<'_>,
    options: &BuildOptions<'_>,
) -> Result<Lists, BuildError> {
    let degree = (params.intermediate_degree as usize).min(members.len() - 1);
    let most = (members.len() / LIST_ROWS).clamp(1, 65_536);
    let nlist = (((members.len() as f64).sqrt() * LISTS) as usize).clamp(1, most) as u32;
    let per_list = (members.len() / nlist as usize).max(1);
    let probes = (ROWS_PER_LINK * degree).div_ceil(per_list).max(PROBES);
    let indexed = IndexedRows::new(rows.metric, vectors, rows.valid());
    let tuning = SearchTuning::default();
    // Progress is told in rows that have their nearest.
    let quiet = BuildOptions {
        progress: &Silent(options.progress),
        ..*options
    };
    let lists = ivf::build(device, nlist, indexed, vectors, &quiet, tuning)?;
    let mut node_of = vec![NO_ROW; rows.len];
    for (node, &row) in members.iter().enumerate() {
        if let Some(place) = node_of.get_mut(row as usize) {
            *place = node as u32;
        }
    }
    let mut links = lists.neighbors(vectors, members, degree, probes, options.progress)?;
    links.par_iter_mut().for_each(|link| {
        *link = node_of.get(*link as usize).copied().unwrap_or(NO_ROW);
    });
    Ok(Lists { links, degree })
}

/// At most `wanted` links of each node, those with the fewest detours first.
fn ordered<B: Backend>(
    device: &Arc<Device<B>>,
    nearest: &Lists,
    wanted: usize,
    options: &BuildOptions<'_>,
) -> Result<Lists, BuildError> {
    let (backend, degree) = (&device.backend, nearest.degree);
    let nodes = nearest.links.len() / degree;
    let part = PART.min(nodes);
    let bytes = 4 * (nearest.links.len() + part * degree);
    let _turn = device.turn.lock();
    let _held = device.budget.reserve("the links of an index GPU_CAGRA", bytes)?;
    let mut links = backend.allocate(nearest.links.len())?;
    backend.write(&mut links, 0, &nearest.links)?;
    let mut counts = backend.allocate(part * degree)?;
    let mut detours = vec![0u32; part * degree];
    let kept_degree = wanted.min(degree);
    let mut kept = Vec::with_capacity(nodes * kept_degree);
    for (turn, links_of_part) in nearest.links.chunks(part * degree).enumerate() {
        if options.progress.cancelled() {
            return Err(BuildError::Cancelled);
        }
        let count = links_of_part.len() / degree;
        backend.count_detours(
            &links,
            (turn * part) as u32,
            count as u32,
            degree as u32,
            &mut counts,
        )?;
        let Some(detours) = detours.get_mut(..links_of_part.len()) else {
            continue;
        };
        backend.read(&counts, detours)?;
        let best = links_of_part
            .par_chunks_exact(degree)
            .zip(detours.par_chunks_exact(degree))
            .flat_map_iter(|(links, detours)| {
                let mut order: Vec<(u32, usize)> = detours
                    .iter()
                    .zip(0..)
                    .map(|(&count, place): (_, usize)| {
                        let is_link = links.get(place).is_some_and(|&link| link != NO_ROW);
                        (if is_link { count } else { u32::MAX }, place)
                    })
                    .collect();
                order.sort_unstable();
                let link = |(_, place): (u32, usize)| links.get(place).copied().unwrap_or(NO_ROW);
                order.into_iter().take(kept_degree).map(link)
            });
        kept.par_extend(best);
    }
    Ok(Lists {
        links: kept,
        degree: kept_degree,
    })
}

/// `degree` links of each node: the better half of its own, then links in the other direction, then the rest of its own, then
/// drawn nodes where there are too few.
fn with_reverse(kept: &Lists, degree: usize, seed: u64) -> Vec<u32> {
    let nodes = kept.links.len() / kept.degree.max(1);
    let mut reverse = vec![NO_ROW; nodes * degree];
    let mut counts = vec![0usize; nodes];
    // By rank, so that a node gets its best reverse links when they are many.
    for rank in 0..kept.degree {
        for (node, links) in kept.links.chunks_exact(kept.degree).enumerate() {
            let Some(&to) = links.get(rank).filter(|&&to| to != NO_ROW) else {
                continue;
            };
            let Some(count) = counts.get_mut(to as usize).filter(|count| **count < degree) else {
                continue;
            };
            if let Some(place) = reverse.get_mut(to as usize * degree + *count) {
                *place = node as u32;
            }
            *count += 1;
        }
    }
    let mut linked = vec![NO_ROW; nodes * degree];
    let own = kept.links.par_chunks_exact(kept.degree);
    let all = linked.par_chunks_exact_mut(degree).enumerate();
    all.zip(own.zip(reverse.par_chunks_exact(degree)))
        .for_each(|((node, places), (own, reverse))| {
            let half = own.len().min(degree.div_ceil(2));
            let (first, rest) = own.split_at(half);
            let mut rng = Rng::new(seed ^ (node as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            // Few nodes may be too few to fill a list with.
            let drawn: Vec<u32> = (0..2 * degree).map(|_| rng.below(nodes) as u32).collect();
            let mut taken = std::collections::HashSet::from([node as u32, NO_ROW]);
            let links = first.iter().chain(reverse).chain(rest).chain(&drawn);
            let links = links.copied().filter(|&link| taken.insert(link));
            for (place, link) in places.iter_mut().zip(links) {
                *place = link;
            }
        });
    linked
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
