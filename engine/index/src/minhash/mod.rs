//! MINHASH_LSH: signatures found by the bands that they share.
//!
//! A signature is cut into bands of some elements each (Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", section
//! 3.4). Rows that have all elements of a band in common with the query are its candidates: of `b` bands of `r` elements a row
//! of similarity `s` shares one with probability `1 - (1 - s^r)^b`. For each band the index has the hashes of all rows, sorted,
//! with the rows; a search looks its own hashes up, and scores what it finds from the stored signatures.
//!
//! ```text
//!   band 0    hashes  03 03 1f 7a ..    rows  2 9 0 4 ..
//!   band 1    hashes  11 5c 5c 90 ..    rows  4 0 2 7 ..
//! ```
//!
//! Its blob holds
//!
//! ```text
//!   0   words of the rows with a vector; none when all have one
//!   1   hashes (u64), band by band, ascending
//!   2   rows (u32) of the hashes
//! ```

mod metric;
mod params;

use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use crate::any_metric::{AnyMetric, BitMetric};
use crate::bitset::Bitset;
use crate::blob::{Array, Header, Reader, Writer};
use crate::error::{BuildError, OpenError, PairError};
use crate::index::{IndexKind, MAX_ROWS, SearchStats, in_pool};
use crate::indexed_rows::Validity;
use crate::neighbor::{Neighbor, TopK};
use crate::params::{BuildParams, SearchParams};
use crate::progress::BuildOptions;
use crate::strategy::Strategy;
use crate::typed::{ElementType, Rows, VectorRef, VectorsRef, exact_search_any};
use crate::window::Window;
use metric::Bands;

pub use metric::MinHash;
pub use params::MinHashParams;

/// An index of the bands of signatures.
#[derive(Debug)]
pub struct MinHashIndex {
    params: MinHashParams,
    /// Bytes of a row.
    width: usize,
    /// Rows of the segment, those without a vector included.
    len: usize,
    valid: Validity,
    /// Bands x rows with a vector.
    hashes: Array<u64>,
    /// As many.
    rows: Array<u32>,
}

impl MinHashIndex {
    /// Builds an index; `None` when it is none of bands, or not of bits, or not with this metric.
    pub(crate) fn build(
        params: &BuildParams,
        metric: AnyMetric,
        vectors: VectorsRef<'_>,
        valid: Option<&Bitset>,
        options: &BuildOptions<'_>,
    ) -> Option<Result<Self, BuildError>> {
        let (&BuildParams::MinHash(of_bands), VectorsRef::Bits(rows)) = (params, vectors) else {
            return None;
        };
        if metric != AnyMetric::from(of_bands.metric()) {
            return None;
        }
        let build = || {
            params.check()?;
            params.check_dim(rows.width() * 8)?;
            if rows.len() > MAX_ROWS {
                return Err(BuildError::TooManyRows {
                    rows: rows.len(),
                    max: MAX_ROWS,
                });
            }
            in_pool(options, || Self::sort(of_bands, rows, valid, options))
        };
        Some(build())
    }

    fn sort(
        params: MinHashParams,
        rows: Rows<'_, u8>,
        valid: Option<&Bitset>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        let valid = Validity::new(rows.len(), valid);
        let numbers = valid.numbers(rows.len());
        let total = numbers.len() as u64;
        let bands = bands_of(params, rows.width());
        let (mut hashes, mut sorted_rows) = (Vec::new(), Vec::new());
        hashes.reserve_exact(bands.count * numbers.len());
        sorted_rows.reserve_exact(bands.count * numbers.len());
        for band in 0..bands.count {
            if options.progress.cancelled() {
                return Err(BuildError::Cancelled);
            }
            let hashed = |&row: &u32| (hash_of(rows.row(row as usize), band, bands), row);
            let mut pairs: Vec<(u64, u32)> = numbers.par_iter().map(hashed).collect();
            pairs.par_sort_unstable();
            hashes.extend(pairs.iter().map(|(hash, _)| *hash));
            sorted_rows.extend(pairs.iter().map(|(_, row)| *row));
            let done = total * (band as u64 + 1) / bands.count as u64;
            options.progress.advance(done, total);
        }
        Ok(Self {
            params,
            width: rows.width(),
            len: rows.len(),
            valid,
            hashes: Array::Owned(hashes),
            rows: Array::Owned(sorted_rows),
        })
    }

    /// Opens an index of bands; `None` when the blob holds something else.
    pub(crate) fn open(reader: &Reader) -> Option<Result<Self, OpenError>> {
        let header = reader.header();
        let BuildParams::MinHash(params) = header.params else {
            return None;
        };
        Some(Self::open_bands(reader, header, params))
    }

    fn open_bands(reader: &Reader, header: &Header, params: MinHashParams) -> Result<Self, OpenError> {
        let Header {
            element,
            metric,
            dim,
            rows: len,
            ..
        } = *header;
        if element != ElementType::Bit || metric != AnyMetric::from(params.metric()) {
            return Err(OpenError::corrupt(format!(
                "{element:?} vectors with metric {metric} in an index of bands"
            )));
        }
        if dim == 0 || params.check_dim(dim).is_err() {
            return Err(OpenError::corrupt(format!(
                "signatures of {dim} bits with elements of {}",
                params.element_bits
            )));
        }
        let valid = Validity::open(reader, len)?;
        let entries = bands_of(params, dim / 8).count.saturating_mul(valid.count());
        let hashes = reader.array_of(1, entries, "hashes of bands")?;
        let rows: Array<u32> = reader.array_of(2, entries, "rows of bands")?;
        let is_there = |row: &u32| match valid.set() {
            Some(valid) => valid.get(*row as usize),
            None => (*row as usize) < len,
        };
        if let Some(row) = rows.iter().find(|row| !is_there(row)) {
            return Err(OpenError::corrupt(format!(
                "row {row} in a band is not in the index of {len} rows"
            )));
        }
        Ok(Self {
            params,
            width: dim / 8,
            len,
            valid,
            hashes,
            rows,
        })
    }

    pub(crate) fn serialize(&self) -> Vec<u8> {
        let mut writer = Writer::new(&Header {
            params: self.params(),
            element: ElementType::Bit,
            metric: self.metric(),
            dim: self.width * 8,
            rows: self.len,
        });
        writer.put(self.valid.set().map_or(&[][..], Bitset::words));
        writer.put(&*self.hashes);
        writer.put(&*self.rows);
        writer.finish()
    }

    /// The family.
    pub fn kind(&self) -> IndexKind {
        self.params().kind()
    }

    /// The parameters it was built with.
    pub fn params(&self) -> BuildParams {
        BuildParams::MinHash(self.params)
    }

    /// The metric it was built for: by equal elements.
    pub fn metric(&self) -> AnyMetric {
        self.params.metric().into()
    }

    /// Whether it has what a search by `metric` looks for: the part of equal elements, or its own bands.
    pub(crate) fn serves(&self, metric: AnyMetric) -> bool {
        let by_elements = self.params.metric();
        metric
            .minhash()
            .is_some_and(|metric| metric == by_elements || metric == by_elements.of_bands(self.params.bands))
    }

    /// Rows of the segment, those without a vector included.
    pub fn rows(&self) -> usize {
        self.len
    }

    /// Bytes the index keeps in memory or mapped; the vectors are not its own.
    pub fn memory_bytes(&self) -> usize {
        self.valid.memory_bytes() + self.hashes.bytes() + self.rows.bytes()
    }

    /// The rows nearest to `query` by `metric`, which the index serves, see [`crate::AnyIndex::search_by`]. A search that
    /// asks for rows that share something (`params.within` ends before 0) finds those that share a band; any other is exact
    /// when there are fewer than `k` of them.
    #[expect(clippy::too_many_arguments, reason = "as the other indexes, and a metric")]
    pub(crate) fn search(
        &self,
        metric: AnyMetric,
        vectors: VectorsRef<'_>,
        query: VectorRef<'_>,
        k: usize,
        params: &SearchParams,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Result<Vec<Neighbor>, PairError> {
        let filter = self.valid.filtered(allow);
        let filter = filter.as_deref();
        if let (VectorsRef::Bits(rows), VectorRef::Bits(query), AnyMetric::Bits(metric)) =
            (vectors, query, metric)
            && (rows.width(), rows.len(), query.len()) == (self.width, self.len, self.width)
        {
            let candidates = self.candidates(query, filter, stats);
            let found = score(metric, rows, query, &candidates, k, params.within);
            if found.len() >= k || params.within.last() < 0.0 {
                stats.distances += candidates.len() as u64;
                stats.strategy = Strategy::of_lists(filter.is_some());
                return Ok(found);
            }
        }
        let scanned = filter.or(self.valid.set());
        exact_search_any(metric, vectors, query, k, params.within, scanned, stats)
    }

    /// The allowed rows that share the hash of a band with `query`, ascending.
    fn candidates(&self, query: &[u8], allow: Option<&Bitset>, stats: &mut SearchStats) -> Vec<u32> {
        let bands = bands_of(self.params, self.width);
        let of_band = self.valid.count();
        let mut found = Vec::new();
        for band in 0..bands.count {
            let range = band * of_band..(band + 1) * of_band;
            let (Some(hashes), Some(rows)) = (self.hashes.get(range.clone()), self.rows.get(range)) else {
                continue;
            };
            let wanted = hash_of(query, band, bands);
            let start = hashes.partition_point(|hash| *hash < wanted);
            let same = hashes.iter().skip(start).take_while(|hash| **hash == wanted);
            let same = rows.iter().skip(start).take(same.count()).copied();
            found.extend(same.filter(|row| allow.is_none_or(|allow| allow.get(*row as usize))));
            stats.lists += 1;
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// The bands of signatures of `width` bytes.
pub(crate) fn bands_of(params: MinHashParams, width: usize) -> Bands {
    Bands::of(width, params.metric().element_bytes(), params.bands)
}

/// The hash of a band of a signature.
fn hash_of(signature: &[u8], band: usize, bands: Bands) -> u64 {
    let range = band * bands.bytes..(band + 1) * bands.bytes;
    xxh3_64(signature.get(range).unwrap_or_default())
}

/// The best of `candidates`, from the stored signatures: two bands of one hash that differ are none that is shared.
fn score(
    metric: BitMetric,
    rows: Rows<'_, u8>,
    query: &[u8],
    candidates: &[u32],
    k: usize,
    within: Window,
) -> Vec<Neighbor> {
    let mut top = TopK::within(within, k, candidates.len());
    for &row in candidates {
        top.push(metric.distance(query, rows.row(row as usize)), row);
    }
    top.into_sorted()
}
