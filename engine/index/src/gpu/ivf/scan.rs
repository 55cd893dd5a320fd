//! The search of lists on a device.

use std::fmt;
use std::sync::Arc;

use rayon::prelude::*;

use super::ask::ListAsk;
use super::places::{Places, Share};
use crate::error::BuildError;
use crate::gpu::backend::{Backend, Device, ListsOf, NO_ROW, ProbesOf};
use crate::gpu::error::GpuError;
use crate::gpu::index::{Ask, DeviceSearch, Host};
use crate::gpu::parts::stride_of;
use crate::gpu::queries::Queries;
use crate::gpu::start::{Filter, Resident, queries_at_once};
use crate::gpu::threads::{at_once, for_chunks};
use crate::gpu::tuning::SearchTuning;
use crate::index::SearchStats;
use crate::ivf::lists::Lists;
use crate::metric::Metric;
use crate::neighbor::Neighbor;
use crate::params::SearchParams;
use crate::progress::Progress;
use crate::scorer::Space;
use crate::strategy::Strategy;
use crate::typed::VectorsRef;
use crate::vectors::Vectors;

/// Lists on the processor.
pub(crate) trait ListHost: Host {
    /// Its lists.
    fn inverted(&self) -> &Lists;

    /// How many lists a search looks at, and how many of the best rows that a device finds are compared again; `None` where the
    /// processor should look.
    fn effort(&self, ask: &ListAsk<'_>) -> Option<(usize, usize)>;
}

/// What searches lists of vectors of any type of numbers on a device.
pub(crate) trait ListsSearch<H>: Send + Sync + fmt::Debug {
    /// As [`DeviceSearch::rows_looked_at`].
    fn looked_at(&self, host: &H, ask: &ListAsk<'_>) -> usize;

    /// As [`DeviceSearch::search`].
    ///
    /// # Errors
    /// As there.
    fn search_lists(
        &self,
        host: &H,
        ask: &ListAsk<'_>,
        stats: &mut SearchStats,
    ) -> Result<Vec<Option<Vec<Neighbor>>>, GpuError>;
}

/// Lists on a device, and how they are scanned.
pub(crate) trait OnDeviceLists<B: Backend>: Sized + Send + Sync + fmt::Debug {
    /// The lists on the processor.
    type Host: ListHost;
    /// What a batch of queries needs besides the queries.
    type Prepared;

    /// Uploads a share of the lists of an index over `vectors`.
    fn upload(
        device: &Device<B>,
        host: &Self::Host,
        vectors: VectorsRef<'_>,
        share: Share,
    ) -> Result<Self, GpuError>;

    /// What all lists have.
    fn places(&self) -> &Places<B>;

    /// Words that [`OnDeviceLists::prepare`] needs for a query.
    fn query_words(&self) -> usize;

    /// Makes what a batch of queries needs, the numbers of which are given.
    fn prepare(
        &self,
        backend: &B,
        queries: &Queries<B>,
        asked: (&ListAsk<'_>, &[usize]),
    ) -> Result<Self::Prepared, GpuError>;

    /// Looks at some lists of each query.
    fn scan(&self, backend: &B, prepared: &Self::Prepared, scan: Scan<'_, B>) -> Result<(), GpuError>;
}

/// A scan of some lists of each query.
pub(crate) struct Scan<'a, B: Backend> {
    pub(super) metric: Metric,
    pub(super) allow: Option<&'a B::Buffer>,
    pub(super) queries: &'a Queries<B>,
    pub(super) probes: ProbesOf<'a, B::Buffer>,
    pub(super) seen: &'a mut B::Buffer,
    pub(super) best: &'a mut ListsOf<B::Buffer>,
}

/// Scans the lists of one index, of which each device has some.
#[derive(Debug)]
pub(crate) struct ListScan<B: Backend, R> {
    shards: Vec<Shard<B, R>>,
    tuning: SearchTuning,
}

/// One device, and its lists.
#[derive(Debug)]
struct Shard<B: Backend, R> {
    device: Arc<Device<B>>,
    resident: Resident<R>,
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

impl<B: Backend, R: OnDeviceLists<B>> ListScan<B, R> {
    pub(crate) fn new(device: &Arc<Device<B>>, tuning: SearchTuning) -> Self {
        let of_device = |device| Shard {
            device,
            resident: Resident::default(),
        };
        Self {
            shards: device.all().into_iter().map(of_device).collect(),
            tuning,
        }
    }

    /// What is on each device.
    fn residents(&self, host: &R::Host, vectors: VectorsRef<'_>) -> Result<Vec<Arc<R>>, GpuError> {
        let devices = self.shards.len();
        let of_shard = |(device, shard): (usize, &Shard<B, R>)| {
            let share = Share { device, devices };
            let upload = || R::upload(&shard.device, host, vectors, share);
            shard.resident.get(upload)
        };
        self.shards.iter().enumerate().map(of_shard).collect()
    }

    /// Queries of a batch.
    fn at_once(&self, residents: &[Arc<R>], effort: (usize, usize), dim: usize) -> usize {
        let of_shard = |(shard, resident): (&Shard<B, R>, &Arc<R>)| {
            let of_query = query_bytes(plan(resident.places(), effort), &**resident, dim);
            queries_at_once(&shard.device.budget, of_query, self.tuning)
        };
        self.shards.iter().zip(residents).map(of_shard).min().unwrap_or(1)
    }

    /// Candidates of a batch of queries, the numbers of which are given, from all devices.
    fn nearest(
        &self,
        residents: &[Arc<R>],
        ask: &ListAsk<'_>,
        batch: &[usize],
        effort: (usize, usize),
    ) -> Result<Vec<Found>, GpuError> {
        let found = at_once(&self.shards, |at, shard| {
            let Some(resident) = residents.get(at) else {
                return Ok(Vec::new());
            };
            let _turn = shard.device.turn.lock();
            shard.nearest(resident, ask, batch, plan(resident.places(), effort))
        });
        let mut all: Vec<Found> = Vec::new();
        for found in found.into_iter().flatten() {
            let found = found?;
            if all.is_empty() {
                all = found;
                continue;
            }
            for (all, found) in all.iter_mut().zip(found) {
                all.add(found);
            }
        }
        Ok(all)
    }

    /// The `k` nearest others of each of `members`, rows of `vectors`, nearest first, out of `probes` lists, as the device sees
    /// it. At most half of them are copies; [`NO_ROW`] fills up.
    pub(in crate::gpu) fn neighbors(
        &self,
        host: &R::Host,
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
        let ask = ListAsk::of(host.indexed(), &ask);
        let (residents, effort) = (self.residents(host, ask.vectors)?, (probes, k + 1));
        let members: Vec<usize> = members.iter().map(|&row| row as usize).collect();
        let mut all = Vec::with_capacity(members.len() * k);
        for batch in members.chunks(self.at_once(&residents, effort, vectors.dim())) {
            if progress.cancelled() {
                return Err(BuildError::Cancelled);
            }
            let found = self.nearest(&residents, &ask, batch, effort)?;
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
}

impl<B: Backend, R: OnDeviceLists<B>> Shard<B, R> {
    /// Candidates of a batch of queries, the numbers of which are given.
    fn nearest(
        &self,
        resident: &R,
        ask: &ListAsk<'_>,
        batch: &[usize],
        plan: Plan,
    ) -> Result<Vec<Found>, GpuError> {
        let (device, backend) = (&self.device, &self.device.backend);
        let (count, places) = (batch.len(), resident.places());
        let lists = places.sizes.len();
        let [first_room, room] = plan.rooms;
        let (metric, dim) = (ask.metric, ask.dim);
        let bytes = count * query_bytes(plan, resident, dim);
        let _held = device.budget.reserve("a batch of queries", bytes)?;
        let rows: Vec<_> = batch.iter().map(|&query| ask.wide_query(query)).collect();
        let mut queries = Queries::upload(backend, metric, dim, rows.iter().map(|row| &**row))?;
        let zeros = vec![0u32; count];
        let mut overflow = backend.allocate(1)?;
        backend.write(&mut overflow, 0, &[0u32])?;

        // The nearest lists, nearest first.
        let mut coarse = ListsOf::allocate(backend, count, lists)?;
        backend.write(&mut coarse.counts, 0, &zeros)?;
        backend.candidates(
            places.comparison,
            &places.centroid_rows(),
            0,
            lists as u32,
            &queries.of(),
            &mut coarse,
        )?;
        let mut probes = ListsOf::allocate_to_read(backend, count, plan.probes)?;
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

        let filter = Filter::of(device, ask.filter, ask.vectors.len())?;
        let prepared = resident.prepare(backend, &queries, (ask, batch))?;
        let mut seen = backend.allocate(count)?;
        backend.write(&mut seen, 0, &zeros)?;
        let mut best = ListsOf::allocate(backend, count, first_room)?;
        backend.write(&mut best.counts, 0, &zeros)?;
        let mut done = 0;
        // After the nearest list there is a bound that few rows of the others are within.
        for (lists, room) in [(1, room), (plan.probes - 1, plan.width)] {
            let probes = ProbesOf {
                lists: &probes.rows,
                room: wanted,
                first: done,
                count: lists as u32,
            };
            if lists > 0 {
                let scan = Scan {
                    metric,
                    allow: filter.bits(),
                    queries: &queries,
                    probes,
                    seen: &mut seen,
                    best: &mut best,
                };
                resident.scan(backend, &prepared, scan)?;
            }
            let mut kept = ListsOf::allocate_to_read(backend, count, room)?;
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
        self.collect(places, plan, count, &best, &seen, &numbers)
    }

    /// Puts the lists of every query into order; their numbers.
    fn order(&self, probes: &mut ListsOf<B::Buffer>, queries: usize) -> Result<Vec<u32>, GpuError> {
        let backend = &self.device.backend;
        let room = probes.room as usize;
        let (mut distances, mut numbers) = (vec![0.0f32; queries * room], vec![0u32; queries * room]);
        backend.read(&probes.distances, &mut distances)?;
        backend.read(&probes.rows, &mut numbers)?;
        // The turn is held meanwhile.
        for_chunks(&mut numbers, room, |query, numbers| {
            let distances = distances.iter().skip(query * room);
            let mut sorted: Vec<Neighbor> = numbers
                .iter()
                .zip(distances)
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
        places: &Places<B>,
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
        let size = |list: &u32| places.sizes.get(*list as usize).copied().unwrap_or(0) as usize;
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
    /// Takes what another device found.
    fn add(&mut self, other: Self) {
        self.rows.extend(other.rows);
        self.distances.extend(other.distances);
        self.seen += other.seen;
        self.members += other.members;
    }

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

fn plan<B: Backend>(places: &Places<B>, (probes, width): (usize, usize)) -> Plan {
    let probes = probes.min(places.sizes.len());
    Plan {
        probes,
        width,
        rooms: [places.most_rows(1), width + places.most_rows(probes)],
    }
}

/// Bytes on the device for each query of a batch.
fn query_bytes<B: Backend, R: OnDeviceLists<B>>(plan: Plan, resident: &R, dim: usize) -> usize {
    let lists = resident.places().sizes.len();
    let places = lists + plan.probes + plan.rooms.iter().sum::<usize>() + plan.width;
    4 * (2 * places + stride_of(dim) + resident.query_words() + 16)
}

impl<B: Backend, R: OnDeviceLists<B>> DeviceSearch<R::Host> for ListScan<B, R> {
    fn rows_looked_at(&self, host: &R::Host, ask: &Ask<'_>) -> usize {
        self.looked_at(host, &ListAsk::of(host.indexed(), ask))
    }

    fn search(
        &self,
        host: &R::Host,
        ask: &Ask<'_>,
        stats: &mut SearchStats,
    ) -> Result<Vec<Option<Vec<Neighbor>>>, GpuError> {
        self.search_lists(host, &ListAsk::of(host.indexed(), ask), stats)
    }
}

impl<B: Backend, R: OnDeviceLists<B>> ListsSearch<R::Host> for ListScan<B, R> {
    fn looked_at(&self, host: &R::Host, ask: &ListAsk<'_>) -> usize {
        let (rows, allowed) = (host.inverted().rows(), ask.allowed);
        let of_lists = |(probes, _)| {
            let seen = allowed.unwrap_or(rows).saturating_mul(probes);
            seen / host.inverted().count().max(1)
        };
        host.effort(ask).map_or(0, of_lists)
    }

    fn search_lists(
        &self,
        host: &R::Host,
        ask: &ListAsk<'_>,
        stats: &mut SearchStats,
    ) -> Result<Vec<Option<Vec<Neighbor>>>, GpuError> {
        let (k, lists) = (ask.k, host.inverted().count());
        let (rows, allowed) = (host.inverted().rows(), ask.allowed);
        let wanted = k.min(allowed.unwrap_or(rows));
        let Some((probes, width)) = host.effort(ask).filter(|_| wanted > 0) else {
            return Ok(vec![None; ask.queries.len()]);
        };
        let (residents, effort) = (self.residents(host, ask.vectors)?, (probes, width));
        let at_once = self.at_once(&residents, effort, ask.dim);
        let all: Vec<usize> = (0..ask.queries.len()).collect();
        let part = allowed.map_or(0.0, |allowed| allowed as f64 / rows.max(1) as f64);
        let mut results = Vec::with_capacity(all.len());
        for batch in all.chunks(at_once) {
            let found = self.nearest(&residents, ask, batch, effort)?;
            let best = batch.par_iter().zip(&found).map(|(&query, found)| {
                // As on the processor: where a filter left little near the query, lists are the wrong way to look.
                let few = (found.seen as f64) < found.members as f64 * part / 2.0;
                if few && probes < lists {
                    return None;
                }
                ask.best_of(query, &found.rows, wanted)
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
