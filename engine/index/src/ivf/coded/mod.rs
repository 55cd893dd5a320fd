//! IVF_SQ8, IVF_PQ, IVF_RABITQ, IVF_RABITQ_FASTSCAN and SCANN: lists x codes x exact scores of the best.
//!
//! ```text
//!   row = base of its list + residual        base: the centroid under L2, the mean of the list's rows otherwise
//!   residual ~ code                          list after list, in units of rows that are scanned side by side
//!
//!   query ──> nearest lists ──> scan of codes ──> the best R by estimate ──> exact distances ──> the best k
//! ```
//!
//! Codes are written of residuals, but a query is prepared once and not once per list: what depends on both a row and its
//! list's base is a number stored with the row. Under COSINE rows are encoded with unit length.
//!
//! A search within a window of distances scores the rows of the lists exactly, as IVF_FLAT does: the ends of a window are
//! exact distances, which an estimate can be on the wrong side of.
//!
//! | file | part |
//! |---|---|
//! | `quantizer` | the codes behind one face |
//! | `build` | lists, training, encoding |
//! | `scan` | one list |
//! | this one | the index, and its blob |

mod build;
mod quantizer;
mod scan;

use crate::bitset::Bitset;
use crate::blob::{Array, Number, Reader};
use crate::codes::packing::Packing;
use crate::error::OpenError;
use crate::index::{IndexKind, SearchStats, VectorIndex};
use crate::indexed_rows::{Candidates, IndexedRows};
use crate::ivf::lists::{Lists, Walk};
use crate::ivf::params::CodedParams;
use crate::ivf::{FlatScan, ROW_COST};
use crate::metric::Metric;
use crate::neighbor::{Neighbor, TopK};
use crate::params::{BuildParams, SearchParams};
use crate::strategy::{ListsPlan, ListsQuery, Strategy, plan_lists};
use crate::vectors::Vectors;
use quantizer::{Kept, Quantizer};
use scan::CodedScan;

/// Rows of candidates scored between two looks at the heap.
const CHUNK: usize = 256;
/// Rows of fewer dimensions are scored exactly: that is nearly as quick as scanning a code, which would say little.
const MIN_DIM: usize = 8;

#[derive(Debug)]
pub(crate) struct IvfCoded {
    rows: IndexedRows,
    params: CodedParams,
    lists: Lists,
    quantizer: Quantizer,
    /// Lists x dim; empty under L2, where centroids are the bases.
    bases: Array<f32>,
    /// What is taken from queries and bases under L2, see [`quantizer::Encoder::encode`]; else empty.
    mean: Array<f32>,
    /// First unit of every list.
    units: Vec<u32>,
    /// Units of all lists.
    codes: Array<u8>,
    /// Of every place of a unit, or empty.
    adds: Array<f32>,
    muls: Array<f32>,
    errs: Array<f32>,
    /// Of every member, or empty: bits after the first, and add and mul by all bits.
    planes: Array<u8>,
    full: Array<f32>,
}

/// The base of a list.
fn base_of<'a>(lists: &'a Lists, bases: &'a [f32], dim: usize, list: u32) -> &'a [f32] {
    if bases.is_empty() {
        return lists.centroid(list);
    }
    let start = list as usize * dim;
    bases.get(start..start + dim).unwrap_or(&[])
}

impl IvfCoded {
    /// First unit of every list, and the end.
    fn units_of(lists: &Lists, packing: Packing) -> Vec<u32> {
        let mut end = 0;
        let mut units = vec![0];
        units.extend((0..lists.count() as u32).map(|list| {
            end += lists.span(list).len().div_ceil(packing.unit()) as u32;
            end
        }));
        units
    }

    pub(crate) fn open(reader: &Reader, params: CodedParams, rows: IndexedRows) -> Result<Self, OpenError> {
        const FIRST: usize = IndexedRows::ARRAYS + Lists::ARRAYS;
        const CODES: usize = FIRST + 2 + Quantizer::ARRAYS;
        params
            .check_dim(rows.dim)
            .map_err(|error| OpenError::corrupt(error.to_string()))?;
        let lists = Lists::open(reader, params.nlist, &rows)?;
        let is_l2 = rows.metric == Metric::L2;
        let base_floats = if is_l2 { 0 } else { lists.count() * rows.dim };
        let bases = reader.array_of(FIRST, base_floats, "base floats")?;
        let mean = reader.array_of(FIRST + 1, if is_l2 { rows.dim } else { 0 }, "mean floats")?;
        let quantizer = Quantizer::open(reader, FIRST + 2, params.code, rows.dim)?;
        let packing = quantizer.packing();
        let units = Self::units_of(&lists, packing);
        let Kept { adds, muls, planes } = quantizer.kept(rows.metric);
        let total = units.last().map_or(0, |&end| end as usize);
        let code_bytes = total
            .checked_mul(packing.unit_bytes())
            .ok_or_else(|| OpenError::corrupt(format!("{total} units of codes")))?;
        let places = |kept: bool| if kept { total * packing.unit() } else { 0 };
        let members = |bytes: usize| lists.rows().saturating_mul(bytes);
        Ok(Self {
            codes: reader.array_of(CODES, code_bytes, "code bytes")?,
            adds: reader.array_of(CODES + 1, places(adds), "terms of rows")?,
            muls: reader.array_of(CODES + 2, places(muls), "factors of rows")?,
            errs: reader.array_of(CODES + 3, places(planes > 0), "errors of rows")?,
            planes: reader.array_of(CODES + 4, members(planes), "bytes of bits")?,
            full: reader.array_of(
                CODES + 5,
                members(if planes > 0 { 2 } else { 0 }),
                "numbers of rows",
            )?,
            rows,
            params,
            lists,
            quantizer,
            bases,
            mean,
            units,
        })
    }

    fn base(&self, list: u32) -> &[f32] {
        base_of(&self.lists, &self.bases, self.rows.dim, list)
    }

    /// What a row of a list costs to scan, in distances of a scan of vectors: about its part of the bytes.
    fn row_cost(&self) -> f64 {
        let packing = self.quantizer.packing();
        let Kept { adds, muls, planes } = self.quantizer.kept(self.rows.metric);
        let kept = u8::from(adds) + u8::from(muls) + u8::from(planes > 0);
        let bytes = packing.unit_bytes() as f64 / packing.unit() as f64 + 4.0 * f64::from(kept);
        bytes / (4 * self.rows.dim) as f64
    }

    /// The best `k` of the nearest lists: estimates first, then exact distances of the best of them.
    fn probe(
        &self,
        candidates: &Candidates<'_>,
        query: &[f32],
        walk: Walk,
        params: &SearchParams,
        stats: &mut SearchStats,
    ) -> Option<Vec<Neighbor>> {
        let centred: Vec<f32>;
        let prepared_from = if self.mean.is_empty() {
            query
        } else {
            centred = query
                .iter()
                .zip(self.mean.iter())
                .map(|(q, mean)| q - mean)
                .collect();
            &centred
        };
        let query_bits = params.rbq_bits_query.unwrap_or(0);
        let prepared = self
            .quantizer
            .prepare(self.rows.metric, prepared_from, query_bits);
        let limit = self.params.rescored(walk.k, params);
        let mut scan = CodedScan::new(self, query, &prepared, limit, candidates.filter());
        self.lists.walk(candidates, query, walk, &mut scan, stats)?;
        let rows = scan.best.into_rows();
        stats.distances += rows.len() as u64;
        let scorer = candidates.space.scorer(query);
        let mut top = TopK::new(walk.k, rows.len());
        let mut distances = [0.0f32; CHUNK];
        for rows in rows.chunks(CHUNK) {
            scorer.gather(rows, &mut distances[..rows.len()]);
            for (&row, &distance) in rows.iter().zip(&distances) {
                top.push(distance, row);
            }
        }
        Some(top.into_sorted())
    }

    /// The best `k` of the nearest lists, by exact distances.
    fn probe_exactly(
        &self,
        candidates: &Candidates<'_>,
        query: &[f32],
        walk: Walk,
        stats: &mut SearchStats,
    ) -> Option<Vec<Neighbor>> {
        let mut scan = FlatScan {
            scorer: candidates.space.scorer(query),
            allow: candidates.filter(),
            top: TopK::within(walk.within, walk.k, self.lists.rows()),
        };
        self.lists.walk(candidates, query, walk, &mut scan, stats)?;
        Some(scan.top.into_sorted())
    }
}

fn bytes_of<T: Number>(arrays: &[&Array<T>]) -> usize {
    arrays.iter().map(|array| array.bytes()).sum()
}

impl VectorIndex for IvfCoded {
    fn kind(&self) -> IndexKind {
        self.params.kind()
    }

    fn metric(&self) -> Metric {
        self.rows.metric
    }

    fn dim(&self) -> usize {
        self.rows.dim
    }

    fn rows(&self) -> usize {
        self.rows.len
    }

    fn params(&self) -> BuildParams {
        BuildParams::IvfCoded(self.params)
    }

    fn memory_bytes(&self) -> usize {
        let terms = bytes_of(&[
            &self.adds,
            &self.muls,
            &self.errs,
            &self.full,
            &self.bases,
            &self.mean,
        ]);
        let codes = bytes_of(&[&self.codes, &self.planes]) + size_of_val(self.units.as_slice());
        let shared = self.rows.memory_bytes() + self.lists.memory_bytes();
        shared + self.quantizer.memory_bytes() + terms + codes
    }

    fn search(
        &self,
        vectors: Vectors<'_>,
        query: &[f32],
        k: usize,
        params: &SearchParams,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Vec<Neighbor> {
        let Some(candidates) = self.rows.candidates(vectors, query.len(), allow) else {
            return Vec::new();
        };
        let within = params.within;
        let by_codes = within.is_open() && self.rows.dim >= MIN_DIM;
        let (row_cost, allowed_cost, rescored) = if by_codes {
            (self.row_cost(), 0.0, self.params.rescored(k, params))
        } else {
            (0.0, ROW_COST, 0)
        };
        let plan = plan_lists(ListsQuery {
            rows: self.lists.rows(),
            allowed: candidates.allowed,
            k,
            nprobe: params.nprobe_for(self.lists.count(), candidates.allowed.is_some()),
            lists: self.lists.count(),
            row_cost,
            allowed_cost,
            rescored,
        });
        if let ListsPlan::Probe { nprobe } = plan
            && !within.starts_late()
        {
            let walk = Walk { k, nprobe, within };
            let found = if by_codes {
                let found = self.probe(&candidates, query, walk, params, stats);
                // Values beyond what an estimate can hold are estimated by no number, and were not kept.
                let all = k.min(candidates.allowed.unwrap_or_else(|| self.lists.rows()));
                found.filter(|found| found.len() >= all)
            } else {
                self.probe_exactly(&candidates, query, walk, stats)
            };
            if let Some(found) = found {
                stats.strategy = Strategy::of_lists(candidates.allowed.is_some());
                return found;
            }
        }
        candidates.scan(query, k, within, stats)
    }

    fn serialize(&self) -> Vec<u8> {
        let mut writer = self.rows.writer(self.params());
        self.lists.write(&mut writer);
        writer.put(&*self.bases);
        writer.put(&*self.mean);
        self.quantizer.write(&mut writer);
        writer.put(&*self.codes);
        writer.put(&*self.adds);
        writer.put(&*self.muls);
        writer.put(&*self.errs);
        writer.put(&*self.planes);
        writer.put(&*self.full);
        writer.finish()
    }
}
