//! BIN_IVF_FLAT: bit vectors sorted into lists around bit vectors.
//!
//! A centroid is found as in k-means, with the mean of a list rounded to bits. Under HAMMING a bit is set where most rows of
//! the list have it, which makes the sum of their distances as small as it gets. Under JACCARD, where rows may have few bits,
//! the most frequent ones are, as many as a row has on average.

use rayon::prelude::*;

use super::assign::group;
use super::members::{Members, Walk};
use super::search::FlatScan;
use crate::any_metric::{AnyMetric, BitMetric};
use crate::bitset::Bitset;
use crate::blob::{Array, Header, Reader, Writer};
use crate::error::{BuildError, OpenError, PairError};
use crate::hnsw::Distances;
use crate::index::{IndexKind, MAX_ROWS, SearchStats, in_pool};
use crate::indexed_rows::Validity;
use crate::neighbor::{Neighbor, TopK};
use crate::params::{BuildParams, SearchParams};
use crate::progress::{BuildOptions, Progress};
use crate::rng::Rng;
use crate::strategy::{ListsPlan, ListsQuery, Strategy, plan_lists};
use crate::typed::{BitPoints, ElementType, Rows, VectorRef, VectorsRef, exact_search_any};

/// Training rows per list.
const SAMPLE_PER_LIST: usize = 64;
const ITERATIONS: usize = 8;
/// Rows that find their list between two looks at the cancel flag.
const SLAB_ROWS: usize = 16_384;
/// What a row of a list costs to score, in distances of a scan.
const ROW_COST: f64 = 2.0;
/// Arrays of a blob before those of the members.
const ARRAYS: usize = 2;

/// An index of lists over bit vectors.
#[derive(Debug)]
pub struct BitLists {
    metric: BitMetric,
    /// Bytes of a row.
    width: usize,
    /// Rows of the segment, those without a vector included.
    len: usize,
    valid: Validity,
    /// As asked for; there are fewer lists when there are fewer rows.
    nlist: u32,
    /// Lists x width.
    centroids: Array<u8>,
    members: Members,
}

impl BitLists {
    /// Builds an index; `None` when it is none of lists without codes, or not of bits, or not with this metric.
    pub(crate) fn build(
        params: &BuildParams,
        metric: AnyMetric,
        vectors: VectorsRef<'_>,
        valid: Option<&Bitset>,
        options: &BuildOptions<'_>,
    ) -> Option<Result<Self, BuildError>> {
        let (BuildParams::IvfFlat { nlist }, AnyMetric::Bits(metric), VectorsRef::Bits(rows)) =
            (params, metric, vectors)
        else {
            return None;
        };
        if let BitMetric::MinHash(_) = metric {
            return None;
        }
        let build = || {
            params.check()?;
            if rows.len() > MAX_ROWS {
                return Err(BuildError::TooManyRows {
                    rows: rows.len(),
                    max: MAX_ROWS,
                });
            }
            in_pool(options, || Self::train(*nlist, metric, rows, valid, options))
        };
        Some(build())
    }

    fn train(
        nlist: u32,
        metric: BitMetric,
        rows: Rows<'_, u8>,
        valid: Option<&Bitset>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        let progress = options.progress;
        let valid = Validity::new(rows.len(), valid);
        let numbers = valid.numbers(rows.len());
        let lists = (nlist as usize).min(numbers.len());
        let mut rng = Rng::new(options.seed);
        let sample = draw(&numbers, lists.saturating_mul(SAMPLE_PER_LIST), &mut rng);
        let seeds = sample.iter().take(lists);
        let mut centroids: Vec<u8> = seeds.flat_map(|&row| rows.row(row as usize).to_vec()).collect();
        for _ in 0..ITERATIONS {
            let assigned = assign(metric, rows, &centroids, &sample, progress, None)?;
            let (offsets, members) = group(&sample, &assigned, lists);
            let spans: Vec<&[u32]> = offsets
                .windows(2)
                .map(|pair| members.get(pair[0] as usize..pair[1] as usize).unwrap_or(&[]))
                .collect();
            let before = centroids.clone();
            centroids
                .par_chunks_exact_mut(rows.width())
                .zip(&spans)
                .for_each(|(centroid, rows_of_list)| middle(metric, rows, rows_of_list, centroid));
            // A list that nobody is in starts again from a row of the fullest.
            if let Some(fullest) = spans.iter().max_by_key(|rows| rows.len())
                && fullest.len() > 1
            {
                for (centroid, of_list) in centroids.chunks_exact_mut(rows.width()).zip(&spans) {
                    if of_list.is_empty()
                        && let Some(&row) = fullest.get(rng.below(fullest.len()))
                    {
                        centroid.copy_from_slice(rows.row(row as usize));
                    }
                }
            }
            if centroids == before {
                break;
            }
        }
        let total = Some(numbers.len());
        let assigned = assign(metric, rows, &centroids, &numbers, progress, total)?;
        if numbers.is_empty() {
            progress.advance(0, 0);
        }
        Ok(Self {
            metric,
            width: rows.width(),
            len: rows.len(),
            valid,
            nlist,
            members: Members::new(group(&numbers, &assigned, lists)),
            centroids: Array::Owned(centroids),
        })
    }

    /// Opens an index of lists of bits; `None` when the blob holds something else.
    pub(crate) fn open(reader: &Reader) -> Option<Result<Self, OpenError>> {
        let header = reader.header();
        let (BuildParams::IvfFlat { nlist }, ElementType::Bit) = (header.params, header.element) else {
            return None;
        };
        Some(Self::open_lists(reader, header, nlist))
    }

    fn open_lists(reader: &Reader, header: &Header, nlist: u32) -> Result<Self, OpenError> {
        let Header {
            metric, dim, rows, ..
        } = *header;
        let AnyMetric::Bits(metric) = metric else {
            return Err(OpenError::corrupt(format!("bit vectors with metric {metric}")));
        };
        if dim == 0 || !dim.is_multiple_of(8) {
            return Err(OpenError::corrupt(format!("bit vectors of dimension {dim}")));
        }
        let valid = Validity::open(reader, rows)?;
        let members = Members::open(reader, ARRAYS, nlist, valid.set(), rows)?;
        let width = dim / 8;
        let bytes = members.lists().saturating_mul(width);
        Ok(Self {
            metric,
            width,
            len: rows,
            valid,
            nlist,
            centroids: reader.array_of(1, bytes, "centroid bytes")?,
            members,
        })
    }

    pub(crate) fn serialize(&self) -> Vec<u8> {
        let mut writer = Writer::new(&Header {
            params: self.params(),
            element: ElementType::Bit,
            metric: self.metric.into(),
            dim: self.width * 8,
            rows: self.len,
        });
        writer.put(self.valid.set().map_or(&[][..], Bitset::words));
        writer.put(&*self.centroids);
        self.members.write(&mut writer);
        writer.finish()
    }

    /// The family.
    pub fn kind(&self) -> IndexKind {
        self.params().kind()
    }

    /// The parameters it was built with.
    pub fn params(&self) -> BuildParams {
        BuildParams::IvfFlat { nlist: self.nlist }
    }

    /// The metric it was built for.
    pub fn metric(&self) -> BitMetric {
        self.metric
    }

    /// Rows of the segment, those without a vector included.
    pub fn rows(&self) -> usize {
        self.len
    }

    /// Bytes the index keeps in memory or mapped; the vectors are not its own.
    pub fn memory_bytes(&self) -> usize {
        self.valid.memory_bytes() + self.centroids.bytes() + self.members.memory_bytes()
    }

    /// The rows nearest to `query`, see [`crate::AnyIndex::search`].
    pub(crate) fn search(
        &self,
        vectors: VectorsRef<'_>,
        query: VectorRef<'_>,
        k: usize,
        params: &SearchParams,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Result<Vec<Neighbor>, PairError> {
        let filter = self.valid.filtered(allow);
        let filter = filter.as_deref();
        if let (VectorsRef::Bits(rows), VectorRef::Bits(query)) = (vectors, query)
            && (rows.width(), rows.len(), query.len()) == (self.width, self.len, self.width)
            && let Some(found) = self.probe(rows, query, k, params, filter, stats)
        {
            return Ok(found);
        }
        let scanned = filter.or(self.valid.set());
        exact_search_any(
            self.metric.into(),
            vectors,
            query,
            k,
            params.within,
            scanned,
            stats,
        )
    }

    /// Scans the nearest lists; `None` when a scan of all is cheaper, or the only way.
    fn probe(
        &self,
        rows: Rows<'_, u8>,
        query: &[u8],
        k: usize,
        params: &SearchParams,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Option<Vec<Neighbor>> {
        let lists = self.members.lists();
        let allowed = allow.map(|allow| allow.count_range(0, self.len));
        let plan = plan_lists(ListsQuery {
            rows: self.members.rows(),
            allowed,
            k,
            nprobe: params.nprobe_for(lists, allowed.is_some()),
            lists,
            row_cost: 0.0,
            allowed_cost: ROW_COST,
            rescored: 0,
        });
        let ListsPlan::Probe { nprobe } = plan else {
            return None;
        };
        let points = BitPoints {
            metric: self.metric,
            rows,
        };
        let mut scan = FlatScan {
            scorer: &points.scorer(query),
            allow,
            top: TopK::within(params.within, k, self.members.rows()),
        };
        let walk = Walk::new(k, nprobe, params, allowed);
        let nearest = |count: usize| nearest(self.metric, &self.centroids, query, count);
        self.members.walk(nearest, walk, &mut scan, stats)?;
        stats.strategy = Strategy::of_lists(allowed.is_some());
        Some(scan.top.into_sorted())
    }
}

/// The `count` centroids nearest to `query`, in order, as keys.
fn nearest(metric: BitMetric, centroids: &[u8], query: &[u8], count: usize) -> Vec<u64> {
    let Ok(rows) = Rows::new(centroids, query.len()) else {
        return Vec::new();
    };
    let numbers: Vec<u32> = (0..rows.len() as u32).collect();
    let mut distances = vec![0.0; numbers.len()];
    BitPoints { metric, rows }
        .scorer(query)
        .gather(&numbers, &mut distances);
    let pairs = distances.iter().zip(numbers);
    let mut keys: Vec<u64> = pairs
        .map(|(&distance, row)| Neighbor { distance, row }.key())
        .collect();
    if count < keys.len() {
        keys.select_nth_unstable(count);
        keys.truncate(count);
    }
    keys.sort_unstable();
    keys
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

/// The nearest centroid of each of `numbers`. Reports rows done when `total` is given.
fn assign(
    metric: BitMetric,
    rows: Rows<'_, u8>,
    centroids: &[u8],
    numbers: &[u32],
    progress: &dyn Progress,
    total: Option<usize>,
) -> Result<Vec<Neighbor>, BuildError> {
    let mut assigned = Vec::with_capacity(numbers.len());
    for slab in numbers.chunks(SLAB_ROWS) {
        if progress.cancelled() {
            return Err(BuildError::Cancelled);
        }
        assigned.par_extend(slab.par_iter().map(|&row| {
            let keys = nearest(metric, centroids, rows.row(row as usize), 1);
            Neighbor::from_key(keys.first().copied().unwrap_or(0))
        }));
        if let Some(total) = total {
            progress.advance(assigned.len() as u64, total as u64);
        }
    }
    if progress.cancelled() {
        return Err(BuildError::Cancelled);
    }
    Ok(assigned)
}

/// Makes `centroid` the middle of some rows; it stays as it is when there are none.
fn middle(metric: BitMetric, rows: Rows<'_, u8>, of_list: &[u32], centroid: &mut [u8]) {
    if of_list.is_empty() {
        return;
    }
    let mut counts = vec![0u32; centroid.len() * 8];
    for &row in of_list {
        for (counts, byte) in counts.chunks_exact_mut(8).zip(rows.row(row as usize)) {
            for (bit, count) in counts.iter_mut().enumerate() {
                *count += u32::from(byte >> bit & 1);
            }
        }
    }
    let members = of_list.len() as u64;
    // The smallest count of a bit that is set.
    let least = match metric {
        BitMetric::Hamming | BitMetric::MinHash(_) => (members / 2 + 1) as u32,
        BitMetric::Jaccard => {
            let all: u64 = counts.iter().map(|&count| u64::from(count)).sum();
            let bits = (all + members / 2) / members;
            let mut sorted = counts.clone();
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            let last = (bits.max(1) as usize - 1).min(sorted.len().saturating_sub(1));
            sorted.get(last).copied().unwrap_or(1).max(1)
        }
    };
    for (byte, counts) in centroid.iter_mut().zip(counts.chunks_exact(8)) {
        let set = |byte, (bit, &count): (usize, &u32)| byte | u8::from(count >= least) << bit;
        *byte = counts.iter().enumerate().fold(0, set);
    }
}
