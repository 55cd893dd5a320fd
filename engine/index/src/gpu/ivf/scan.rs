//! The search of lists on a device.

use std::sync::Arc;

use parking_lot::Mutex;
use rayon::prelude::*;

use super::resident::Resident;
use crate::error::BuildError;
use crate::gpu::backend::{Backend, Device, ListsOf, NO_ROW, ProbesOf};
use crate::gpu::error::GpuError;
use crate::gpu::index::{Ask, DeviceSearch};
use crate::gpu::parts::{filter_words, stride_of};
use crate::gpu::queries::Queries;
use crate::gpu::ranges::width;
use crate::gpu::rescore::best_of;
use crate::gpu::tuning::SearchTuning;
use crate::index::SearchStats;
use crate::ivf::IvfFlat;
use crate::neighbor::Neighbor;
use crate::params::SearchParams;
use crate::progress::Progress;
use crate::scorer::Space;
use crate::strategy::Strategy;
use crate::vectors::Vectors;

/// Scans the lists of one index.
#[derive(Debug)]
pub(crate) struct ListScan<B: Backend> {
    device: Arc<Device<B>>,
    tuning: SearchTuning,
    /// Once a search has uploaded them.
    resident: Mutex<Option<Arc<Resident<B>>>>,
}

/// How a batch is searched.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// Lists that are looked at.
    probes: usize,
    /// Candidates of a query.
    width: usize,
    /// Places of a query for the nearest list, and for what comes after it.
    rooms: [usize; 2],
}

/// What the device found of one query.
struct Found {
    rows: Vec<u32>,
    /// As the device knows them.
    distances: Vec<f32>,
    /// Rows of its lists that may be found, and rows of its lists.
    seen: usize,
    members: usize,
}

impl<B: Backend> ListScan<B> {
    pub(crate) fn new(device: Arc<Device<B>>, tuning: SearchTuning) -> Self {
        Self {
            device,
            tuning,
            resident: Mutex::new(None),
        }
    }

    fn resident(&self, host: &IvfFlat, ask: &Ask<'_>) -> Result<Arc<Resident<B>>, GpuError> {
        let mut resident = self.resident.lock();
        if let Some(resident) = resident.as_ref() {
            return Ok(Arc::clone(resident));
        }
        let uploaded = Arc::new(Resident::upload(&self.device, host, ask.vectors)?);
        *resident = Some(Arc::clone(&uploaded));
        Ok(uploaded)
    }

    /// The `k` nearest others of each of `members`, rows of `vectors`, nearest first, out of `probes` lists, as the device sees
    /// it. At most half of them are copies; [`NO_ROW`] fills up.
    pub(in crate::gpu) fn neighbors(
        &self,
        host: &IvfFlat,
        vectors: Vectors<'_>,
        members: &[u32],
        (k, probes): (usize, usize),
        progress: &dyn Progress,
    ) -> Result<Vec<u32>, BuildError> {
        let Some(candidates) = host.indexed().candidates(vectors, vectors.dim(), None) else {
            return Ok(vec![NO_ROW; members.len() * k]);
        };
        let params = SearchParams::default();
        let ask = Ask {
            vectors,
            queries: vectors,
            k,
            params: &params,
            candidates: &candidates,
        };
        let resident = self.resident(host, &ask)?;
        let plan = self.plan(&resident, k + 1, probes);
        let members: Vec<usize> = members.iter().map(|&row| row as usize).collect();
        let mut all = Vec::with_capacity(members.len() * k);
        for batch in members.chunks(self.at_once(&resident, plan, vectors.dim())) {
            if progress.cancelled() {
                return Err(BuildError::Cancelled);
            }
            let found = {
                let _turn = self.device.turn.lock();
                self.nearest(&resident, &ask, batch, plan)?
            };
            all.par_extend(
                batch
                    .par_iter()
                    .zip(&found)
                    .flat_map_iter(|(&row, found)| found.others(&candidates.space, row as u32, k)),
            );
            progress.advance((all.len() / k.max(1)) as u64, members.len() as u64);
        }
        Ok(all)
    }

    fn plan(&self, resident: &Resident<B>, width: usize, probes: usize) -> Plan {
        let probes = probes.min(resident.sizes.len());
        Plan {
            probes,
            width,
            rooms: [resident.most_rows(1), width + resident.most_rows(probes)],
        }
    }

    /// Queries of a batch: as many as have room in a quarter of the memory.
    fn at_once(&self, resident: &Resident<B>, plan: Plan, dim: usize) -> usize {
        let budget = &self.device.budget;
        let share = (budget.limit() / 4).min(budget.free());
        let of_query = query_bytes(plan, resident.sizes.len(), dim);
        (share / of_query).clamp(1, self.tuning.queries.max(1))
    }

    /// Candidates of a batch of queries, the numbers of which are given.
    fn nearest(
        &self,
        resident: &Resident<B>,
        ask: &Ask<'_>,
        batch: &[usize],
        plan: Plan,
    ) -> Result<Vec<Found>, GpuError> {
        let (device, backend) = (&self.device, &self.device.backend);
        let (count, lists) = (batch.len(), resident.sizes.len());
        let [first_room, room] = plan.rooms;
        let metric = ask.candidates.space.metric;
        let dim = ask.vectors.dim();
        let bytes = count * query_bytes(plan, lists, dim);
        let _held = device.budget.reserve("a batch of queries", bytes)?;
        let rows = batch.iter().map(|&query| ask.queries.row(query));
        let mut queries = Queries::upload(backend, metric, dim, rows)?;
        let zeros = vec![0u32; count];
        let mut overflow = backend.allocate(1)?;
        backend.write(&mut overflow, 0, &[0u32])?;

        // The nearest lists, nearest first.
        let mut coarse = ListsOf::allocate(backend, count, lists)?;
        backend.write(&mut coarse.counts, 0, &zeros)?;
        let centroids = resident.centroids();
        let comparison = resident.comparison;
        backend.candidates(
            comparison,
            &centroids,
            0,
            lists as u32,
            &queries.of(),
            &mut coarse,
        )?;
        let mut probes = ListsOf::allocate(backend, count, plan.probes)?;
        let mut unused = backend.allocate(count)?;
        let wanted = plan.probes as u32;
        backend.select(
            &coarse,
            count as u32,
            wanted,
            &mut probes,
            &mut unused,
            &mut overflow,
        )?;
        let numbers = self.order(&mut probes, count)?;

        let words = ask
            .candidates
            .filter()
            .map(|allow| filter_words(allow, 0, ask.vectors.len()));
        let filter_bytes = 4 * words.as_ref().map_or(0, Vec::len);
        let _filter_held = device.budget.reserve("the filter of a search", filter_bytes)?;
        let allow = match &words {
            None => None,
            Some(words) => {
                let mut buffer = backend.allocate(words.len())?;
                backend.write(&mut buffer, 0, words)?;
                Some(buffer)
            }
        };
        let inverted = resident.lists(allow.as_ref());
        let mut seen = backend.allocate(count)?;
        backend.write(&mut seen, 0, &zeros)?;
        let mut best = ListsOf::allocate(backend, count, first_room)?;
        backend.write(&mut best.counts, 0, &zeros)?;
        let mut done = 0;
        // After the nearest list there is a bound that few rows of the others are within.
        for (lists, places) in [(1, room), (plan.probes - 1, plan.width)] {
            let probes = ProbesOf {
                lists: &probes.rows,
                room: wanted,
                first: done,
                count: lists as u32,
            };
            if lists > 0 {
                backend.scan_lists(metric, &inverted, &queries.of(), &probes, &mut seen, &mut best)?;
            }
            let mut kept = ListsOf::allocate(backend, count, places)?;
            backend.select(
                &best,
                count as u32,
                plan.width as u32,
                &mut kept,
                &mut queries.bounds,
                &mut overflow,
            )?;
            best = kept;
            done += lists as u32;
        }
        self.collect(resident, plan, count, &best, &seen, &numbers)
    }

    /// Puts the lists of every query into order; their numbers.
    fn order(&self, probes: &mut ListsOf<B::Buffer>, queries: usize) -> Result<Vec<u32>, GpuError> {
        let backend = &self.device.backend;
        let room = probes.room as usize;
        let (mut distances, mut numbers) = (vec![0.0f32; queries * room], vec![0u32; queries * room]);
        backend.read(&probes.distances, &mut distances)?;
        backend.read(&probes.rows, &mut numbers)?;
        let of_queries = numbers
            .par_chunks_exact_mut(room)
            .zip(distances.par_chunks_exact(room));
        of_queries.for_each(|(numbers, distances)| {
            let pairs = numbers.iter().zip(distances);
            let mut sorted: Vec<Neighbor> = pairs
                .map(|(&row, &distance)| Neighbor { distance, row })
                .collect();
            sorted.sort_unstable();
            for (number, list) in numbers.iter_mut().zip(sorted) {
                *number = list.row;
            }
        });
        backend.write(&mut probes.rows, 0, &numbers)?;
        Ok(numbers)
    }

    fn collect(
        &self,
        resident: &Resident<B>,
        plan: Plan,
        queries: usize,
        best: &ListsOf<B::Buffer>,
        seen: &B::Buffer,
        numbers: &[u32],
    ) -> Result<Vec<Found>, GpuError> {
        let backend = &self.device.backend;
        let (mut rows, mut counts, mut of_filter) = (
            vec![0u32; queries * plan.width],
            vec![0u32; queries],
            vec![0u32; queries],
        );
        let mut distances = vec![0.0f32; queries * plan.width];
        backend.read(&best.distances, &mut distances)?;
        backend.read(&best.rows, &mut rows)?;
        backend.read(&best.counts, &mut counts)?;
        backend.read(seen, &mut of_filter)?;
        let pairs = rows
            .chunks_exact(plan.width)
            .zip(distances.chunks_exact(plan.width));
        let found = pairs.zip(numbers.chunks_exact(plan.probes));
        let found = found.zip(counts.iter().zip(&of_filter));
        let size = |list: &u32| resident.sizes.get(*list as usize).copied().unwrap_or(0) as usize;
        Ok(found
            .map(|(((rows, distances), lists), (&count, &seen))| Found {
                rows: rows.iter().copied().take(count as usize).collect(),
                distances: distances.iter().copied().take(count as usize).collect(),
                seen: seen as usize,
                members: lists.iter().map(size).sum(),
            })
            .collect())
    }
}

impl Found {
    /// The `k` nearest of them but `row` itself, at most half of them copies of it.
    fn others(&self, space: &Space<'_>, row: u32, k: usize) -> impl Iterator<Item = u32> {
        let mut sorted: Vec<Neighbor> = self
            .rows
            .iter()
            .zip(&self.distances)
            .map(|(&row, &distance)| Neighbor { distance, row })
            .filter(|neighbor| neighbor.row != row)
            .collect();
        sorted.sort_unstable();
        let own = space.vectors.row(row as usize);
        let (mut copies, mut kept) = (0, Vec::with_capacity(k));
        for neighbor in sorted {
            let is_copy = space.vectors.row(neighbor.row as usize) == own;
            copies += usize::from(is_copy);
            if kept.len() < k && !(is_copy && copies > k.div_ceil(2)) {
                kept.push(neighbor.row);
            }
        }
        kept.into_iter().chain(std::iter::repeat(NO_ROW)).take(k)
    }
}

/// Bytes on the device for each query of a batch.
fn query_bytes(plan: Plan, lists: usize, dim: usize) -> usize {
    let places = lists + plan.probes + plan.rooms.iter().sum::<usize>() + plan.width;
    4 * (2 * places + stride_of(dim) + 16)
}

impl<B: Backend> DeviceSearch<IvfFlat> for ListScan<B> {
    fn rows_looked_at(&self, host: &IvfFlat, ask: &Ask<'_>) -> usize {
        let rows = host.inverted().rows();
        let allowed = ask.candidates.allowed;
        let probes = host.probes(ask.k, ask.params, allowed);
        allowed.unwrap_or(rows).saturating_mul(probes) / host.inverted().count().max(1)
    }

    fn search(
        &self,
        host: &IvfFlat,
        ask: &Ask<'_>,
        stats: &mut SearchStats,
    ) -> Result<Vec<Option<Vec<Neighbor>>>, GpuError> {
        let (k, lists) = (ask.k, host.inverted().count());
        let (rows, allowed) = (host.inverted().rows(), ask.candidates.allowed);
        let wanted = k.min(allowed.unwrap_or(rows));
        let Some(width) = width(k, 0).filter(|_| wanted > 0) else {
            return Ok(vec![None; ask.queries.len()]);
        };
        let probes = host.probes(k, ask.params, allowed);
        let resident = self.resident(host, ask)?;
        let plan = self.plan(&resident, width, probes);
        let at_once = self.at_once(&resident, plan, ask.vectors.dim());
        let all: Vec<usize> = (0..ask.queries.len()).collect();
        let part = allowed.map_or(0.0, |allowed| allowed as f64 / rows.max(1) as f64);
        let mut results = Vec::with_capacity(all.len());
        for batch in all.chunks(at_once) {
            let found = {
                let _turn = self.device.turn.lock();
                self.nearest(&resident, ask, batch, plan)?
            };
            let best = batch.par_iter().zip(&found).map(|(&query, found)| {
                // As on the processor: where a filter left little near the query, lists are the wrong way to look.
                let few = (found.seen as f64) < found.members as f64 * part / 2.0;
                if few && probes < lists {
                    return None;
                }
                best_of(
                    &ask.candidates.space,
                    ask.queries.row(query),
                    &found.rows,
                    k,
                    wanted,
                )
            });
            let best: Vec<Option<Vec<Neighbor>>> = best.collect();
            for (best, found) in best.iter().zip(&found) {
                if best.is_some() {
                    stats.distances += (lists + found.seen) as u64;
                    stats.lists += probes as u64;
                    stats.strategy = Strategy::of_lists(allowed.is_some());
                }
            }
            results.extend(best);
        }
        Ok(results)
    }
}
