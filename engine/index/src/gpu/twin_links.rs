//! The kernels of a graph's links in plain Rust.

use std::ops::Range;

use super::backend::{LinksOf, NO_ROW};
use super::error::GpuError;
use super::twin::outside;

impl LinksOf<'_, Vec<u32>> {
    fn of(&self, node: usize) -> Result<&[u32], GpuError> {
        let degree = self.degree as usize;
        let places = self.data.get(node * degree..(node + 1) * degree);
        places.ok_or_else(|| outside("links"))
    }
}

pub(super) fn count_detours(
    links: &LinksOf<'_, Vec<u32>>,
    of: Range<u32>,
    detours: &mut [u32],
) -> Result<(), GpuError> {
    for (node, detours) in of.zip(detours.chunks_exact_mut(links.degree as usize)) {
        detours.fill(0);
        let mine = links.of(node as usize)?;
        for (place, &over) in mine.iter().enumerate().filter(|link| *link.1 != NO_ROW) {
            let others = links.of(over as usize)?.iter().enumerate();
            for (next, to) in others.filter(|link| *link.1 != NO_ROW) {
                let later = place.max(next) + 1;
                let rest = mine.get(later..).unwrap_or(&[]);
                let found = rest.iter().position(|link| link == to);
                if let Some(count) = found.and_then(|at| detours.get_mut(later + at)) {
                    *count += 1;
                }
            }
        }
    }
    Ok(())
}

pub(super) fn best_links(
    links: &LinksOf<'_, Vec<u32>>,
    of: Range<u32>,
    detours: &[u32],
    kept: u32,
    best: &mut [u32],
) -> Result<(), GpuError> {
    let kept = kept as usize;
    for (node, detours) in of.zip(detours.chunks_exact(links.degree as usize)) {
        let mine = links.of(node as usize)?.iter().zip(detours);
        let mut order: Vec<(u32, u32)> = mine
            .map(|(&link, &ways)| (if link == NO_ROW { NO_ROW } else { ways }, link))
            .collect();
        // Equal ones stay in their order.
        order.sort_by_key(|&(ways, _)| ways);
        let places = best.get_mut(node as usize * kept..(node as usize + 1) * kept);
        let places = places.ok_or_else(|| outside("best_links"))?;
        for (place, (_, link)) in places.iter_mut().zip(order) {
            *place = link;
        }
    }
    Ok(())
}

pub(super) fn reverse_links(
    links: &LinksOf<'_, Vec<u32>>,
    of: Range<u32>,
    room: u32,
    reverse: &mut [u32],
) -> Result<(), GpuError> {
    reverse.fill(0);
    let mut used = vec![0; of.len()];
    for rank in 0..links.degree {
        for node in 0..links.nodes {
            let to = links.of(node as usize)?.get(rank as usize);
            let Some(&to) = to.filter(|to| of.contains(to)) else {
                continue;
            };
            let to = (to - of.start) as usize;
            let Some(used) = used.get_mut(to).filter(|used| **used < room as usize) else {
                continue;
            };
            let place = 2 * (to * room as usize + *used);
            let words = reverse.get_mut(place..place + 2);
            words
                .ok_or_else(|| outside("reverse_links"))?
                .copy_from_slice(&[!node, !rank]);
            *used += 1;
        }
    }
    Ok(())
}

pub(super) fn join_links(
    links: &LinksOf<'_, Vec<u32>>,
    of: Range<u32>,
    reverse: &[u32],
    room: u32,
    joined: &mut [u32],
) -> Result<(), GpuError> {
    let room = room as usize;
    let places = joined.chunks_exact_mut(room);
    for (node, (places, reverse)) in of.zip(places.zip(reverse.chunks_exact(2 * room))) {
        places.fill(NO_ROW);
        let own = links.of(node as usize)?;
        let (first, rest) = own.split_at(own.len().min(room.div_ceil(2)));
        let reverse = reverse.iter().step_by(2).map(|&word| !word);
        let mut used = 0;
        for link in first.iter().copied().chain(reverse).chain(rest.iter().copied()) {
            if link == NO_ROW || link == node || places.contains(&link) {
                continue;
            }
            if let Some(place) = places.get_mut(used) {
                *place = link;
                used += 1;
            }
        }
    }
    Ok(())
}
