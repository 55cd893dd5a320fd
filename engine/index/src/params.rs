//! Index and search parameters as clients write them: names, ranges, defaults and error texts of Milvus.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::disk::params::{DiskParams, DiskSearch};
use crate::error::ParamError;
use crate::gpu::cagra::{CagraParams, CagraSearch};
use crate::gpu::{GpuIndex, PqParams};
use crate::hnsw::params::{HnswCodedParams, refine_k};
use crate::index::IndexKind;
use crate::ivf::params::{Code, CodedParams, parse_search};
use crate::minhash::MinHashParams;
use crate::sparse::params::{SparseAlgorithm, SparseParams, SparseSearch};
use crate::window::Window;

/// `M`: links of a node per layer above the base, half of those on it.
pub(crate) const M: Integer = Integer {
    name: "M",
    range: 2..=2048,
};
/// `efConstruction`: candidate list while building.
pub(crate) const EF_CONSTRUCTION: Integer = Integer {
    name: "efConstruction",
    range: 1..=i32::MAX as u32,
};
/// Rows that are scored from their vectors for each result of a search by codes, about.
const RESCORED: usize = 4;

/// `nlist`: number of lists.
pub(crate) const NLIST: Integer = Integer {
    name: "nlist",
    range: 1..=65_536,
};
/// `ef`: candidate list while searching.
const EF: Integer = Integer {
    name: "ef",
    range: 1..=i32::MAX as u32,
};
/// `itopk_size`: what a search of GPU_CAGRA calls it.
const ITOPK_SIZE: Integer = Integer {
    name: "itopk_size",
    range: 1..=i32::MAX as u32,
};
/// `nprobe`: lists looked at while searching.
const NPROBE: Integer = Integer {
    name: "nprobe",
    range: 1..=65_536,
};
/// `max_empty_result_buckets`: lists without a row of the range, one after the other, that end a range search.
const MAX_EMPTY_RESULT_BUCKETS: Integer = Integer {
    name: "max_empty_result_buckets",
    range: 0..=65_536,
};
/// `seed_ef`: candidate list of the pages of an iterator.
const SEED_EF: Integer = Integer {
    name: "seed_ef",
    range: 1..=i32::MAX as u32,
};

/// `retrieval_ann_ratio`: elements looked for, for each row wanted.
const RETRIEVAL_ANN_RATIO: Number = Number {
    name: "retrieval_ann_ratio",
    allowed: "[1, 1000]",
    holds: |value| (1.0..=1000.0).contains(&value),
};

const DEFAULT_M: u32 = 30;
const DEFAULT_EF_CONSTRUCTION: u32 = 360;
pub(crate) const DEFAULT_NLIST: u32 = 128;
const DEFAULT_NPROBE: u32 = 8;
const DEFAULT_MAX_EMPTY_RESULT_BUCKETS: u32 = 2;
const MIN_DEFAULT_EF: usize = 16;
/// The same for a search of some rows only: those near the query may be few and lie apart.
const FILTERED_NPROBE: u32 = 16;
const FILTERED_EF: usize = 64;
/// The same for a search within a window of distances.
const DEFAULT_RANGE_EF: usize = 512;
/// What `AUTOINDEX` builds.
const AUTOINDEX: BuildParams = BuildParams::Hnsw {
    m: 18,
    ef_construction: 240,
};

/// Float vector index types of Milvus that are not built here.
const KNOWN_ELSEWHERE: &[&str] = &["AISAQ", "FAISS"];

/// A whole number and where it lies.
pub(crate) struct Integer {
    pub(crate) name: &'static str,
    pub(crate) range: RangeInclusive<u32>,
}

impl Integer {
    pub(crate) fn parse(&self, params: &BTreeMap<String, String>) -> Result<Option<u32>, ParamError> {
        let Some(text) = params.get(self.name) else {
            return Ok(None);
        };
        let (name, given, range) = (self.name, text.clone(), self.range.clone());
        let trimmed = text.trim();
        let digits = trimmed.strip_prefix(['-', '+']).unwrap_or(trimmed);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let is_number = trimmed.parse::<f64>().is_ok_and(f64::is_finite);
            return Err(if is_number {
                ParamError::WrongType { name, given, range }
            } else {
                ParamError::NotInteger { name, given, range }
            });
        }
        match trimmed.parse::<u32>() {
            Ok(value) if self.range.contains(&value) => Ok(Some(value)),
            Ok(_) | Err(_) => Err(ParamError::OutOfRange { name, given, range }),
        }
    }

    pub(crate) fn check(&self, value: u32) -> Result<(), ParamError> {
        if self.range.contains(&value) {
            return Ok(());
        }
        Err(ParamError::OutOfRange {
            name: self.name,
            given: value.to_string(),
            range: self.range.clone(),
        })
    }
}

/// A number with a fraction, and which ones are allowed.
pub(crate) struct Number {
    pub(crate) name: &'static str,
    pub(crate) allowed: &'static str,
    pub(crate) holds: fn(f32) -> bool,
}

impl Number {
    pub(crate) fn parse(&self, params: &BTreeMap<String, String>) -> Result<Option<f32>, ParamError> {
        let Some(text) = params.get(self.name) else {
            return Ok(None);
        };
        let (name, given, allowed) = (self.name, text.clone(), self.allowed);
        match text.trim().parse::<f32>() {
            Ok(value) if (self.holds)(value) => Ok(Some(value)),
            Ok(_) => Err(ParamError::NumberOutOfRange { name, given, allowed }),
            Err(_) => Err(ParamError::NotNumber { name, given, allowed }),
        }
    }
}

/// What to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BuildParams {
    /// No structure; every search is exact.
    Flat,
    /// Inverted lists around k-means centroids.
    IvfFlat {
        /// Number of lists, 1 to 65536.
        nlist: u32,
    },
    /// Inverted lists with codes.
    IvfCoded(CodedParams),
    /// Hierarchical navigable small world graph.
    Hnsw {
        /// Links per node and layer, 2 to 2048; the base layer has twice as many.
        m: u32,
        /// Candidate list while building, 1 or more.
        ef_construction: u32,
    },
    /// The same graph with codes, which it is walked by.
    HnswCoded(HnswCodedParams),
    /// Graph on disk, walked by codes in memory.
    Disk(DiskParams),
    /// Inverted index of sparse vectors.
    Sparse(SparseParams),
    /// Bands of MinHash signatures.
    MinHash(MinHashParams),
    /// No structure; every search is exact, on a device where there is one.
    GpuBruteForce,
    /// Inverted lists, made and scanned on a device where there is one.
    GpuIvfFlat {
        /// Number of lists, 1 to 65536.
        nlist: u32,
    },
    /// Inverted lists with codewords, made and scanned on a device where there is one.
    GpuIvfPq(PqParams),
    /// Graph, made and walked on a device where there is one.
    GpuCagra(CagraParams),
}

impl BuildParams {
    /// About how many of `rows` vectors a search compares a query with, see [`crate::AnyIndex::comparisons`].
    pub(crate) fn comparisons(&self, rows: usize, k: usize, search: &SearchParams, allowed: usize) -> usize {
        let filtered = allowed < rows;
        let of_lists = |nlist: u32, code: f64, tables: usize| {
            let lists = (nlist as usize).max(1);
            let scanned = rows.saturating_mul(search.nprobe_for(lists, filtered)) / lists;
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a row more or less is none"
            )]
            let codes = (scanned.max(k) as f64 * code) as usize;
            let rescored = RESCORED.saturating_mul(k);
            (lists + tables).saturating_add(codes).saturating_add(rescored)
        };
        let compared = match self {
            Self::IvfFlat { nlist } => of_lists(*nlist, 1.0, 0),
            Self::IvfCoded(params) => match params.code {
                Code::Product { nbits, .. } if nbits > 8 => of_lists(params.nlist, 4.0, 1 << nbits),
                Code::Product { nbits, .. } => of_lists(params.nlist, 0.25, 1 << nbits),
                Code::Scalar { .. } | Code::Rabitq { .. } | Code::Scann { .. } => {
                    of_lists(params.nlist, 0.25, 16)
                }
            },
            Self::Hnsw { .. } | Self::HnswCoded(_) => search.ef_for(k, filtered).saturating_mul(32),
            Self::Flat | Self::Sparse(_) | Self::MinHash(_) => rows,
            Self::GpuBruteForce
            | Self::GpuIvfFlat { .. }
            | Self::GpuIvfPq(_)
            | Self::GpuCagra(_)
            | Self::Disk(_) => return usize::MAX,
        };
        if k >= allowed || !search.within.is_open() {
            return allowed.min(rows);
        }
        // Fewer rows than that may lie far from the query: then lists and walks give way to a scan of the allowed ones.
        let few = allowed < rows - rows / 8;
        compared.max(if few { allowed } else { 0 }).min(rows)
    }

    /// Reads an index type and its parameters; parameters that the type does not know are ignored, as Milvus does.
    ///
    /// # Errors
    /// An unknown or unsupported type, one that needs a device where there is none, a value that is no integer, or one out of
    /// range.
    pub fn parse(index_type: &str, params: &BTreeMap<String, String>) -> Result<Self, ParamError> {
        if let Some(index) = GpuIndex::parse(index_type, params) {
            return Ok(index?.take()?);
        }
        match index_type {
            "FLAT" | "BIN_FLAT" => Ok(Self::Flat),
            "AUTOINDEX" => Ok(AUTOINDEX),
            "IVF_FLAT" | "BIN_IVF_FLAT" => Ok(Self::IvfFlat {
                nlist: NLIST.parse(params)?.unwrap_or(DEFAULT_NLIST),
            }),
            "HNSW" => {
                let [m, ef_construction] = degrees(params)?;
                Ok(Self::Hnsw { m, ef_construction })
            }
            "MINHASH_LSH" => MinHashParams::parse(params).map(Self::MinHash),
            "DISKANN" => DiskParams::parse(params).map(Self::Disk),
            "SPARSE_INVERTED_INDEX" => {
                SparseParams::parse(params, SparseAlgorithm::DaatMaxScore).map(Self::Sparse)
            }
            "SPARSE_WAND" => SparseParams::parse(params, SparseAlgorithm::DaatWand).map(Self::Sparse),
            _ if KNOWN_ELSEWHERE.contains(&index_type) => Err(ParamError::UnsupportedIndexType {
                given: index_type.to_owned(),
            }),
            _ if index_type.starts_with("HNSW_") => {
                let coded = HnswCodedParams::parse(index_type, degrees(params)?, params)?;
                coded
                    .map(Self::HnswCoded)
                    .ok_or_else(|| ParamError::UnknownIndexType {
                        given: index_type.to_owned(),
                    })
            }
            _ => {
                let nlist = NLIST.parse(params)?.unwrap_or(DEFAULT_NLIST);
                let coded = CodedParams::parse(index_type, nlist, params)?;
                coded
                    .map(Self::IvfCoded)
                    .ok_or_else(|| ParamError::UnknownIndexType {
                        given: index_type.to_owned(),
                    })
            }
        }
    }

    /// Checks what depends on the dimension of the vectors.
    ///
    /// # Errors
    /// A number of groups that does not divide it.
    pub fn check_dim(&self, dim: usize) -> Result<(), ParamError> {
        match self {
            Self::IvfCoded(params) => params.check_dim(dim),
            Self::GpuIvfPq(params) => params.on_processor().check_dim(dim),
            Self::HnswCoded(params) => params.check_dim(dim),
            Self::MinHash(params) => params.check_dim(dim),
            Self::Flat
            | Self::IvfFlat { .. }
            | Self::Hnsw { .. }
            | Self::Disk(_)
            | Self::Sparse(_)
            | Self::GpuBruteForce
            | Self::GpuIvfFlat { .. }
            | Self::GpuCagra(_) => Ok(()),
        }
    }

    /// Checks parameters that were not read by [`BuildParams::parse`].
    ///
    /// # Errors
    /// A value out of range.
    pub fn check(&self) -> Result<(), ParamError> {
        match *self {
            Self::Flat | Self::GpuBruteForce => Ok(()),
            Self::IvfFlat { nlist } | Self::GpuIvfFlat { nlist } => NLIST.check(nlist),
            Self::IvfCoded(params) => NLIST.check(params.nlist).and_then(|()| params.check()),
            Self::Hnsw { m, ef_construction } => {
                M.check(m).and_then(|()| EF_CONSTRUCTION.check(ef_construction))
            }
            Self::HnswCoded(params) => params.check(),
            Self::Disk(params) => params.check(),
            Self::Sparse(params) => params.check(),
            Self::MinHash(params) => params.check(),
            Self::GpuIvfPq(params) => params.check(),
            Self::GpuCagra(params) => params.check(),
        }
    }

    /// The family that these parameters build.
    pub fn kind(&self) -> IndexKind {
        match self {
            Self::Flat => IndexKind::Flat,
            Self::IvfFlat { .. } => IndexKind::IvfFlat,
            Self::IvfCoded(params) => params.kind(),
            Self::Hnsw { .. } => IndexKind::Hnsw,
            Self::HnswCoded(params) => params.kind(),
            Self::Disk(_) => IndexKind::DiskAnn,
            Self::Sparse(_) => IndexKind::SparseInverted,
            Self::MinHash(_) => IndexKind::MinHashLsh,
            Self::GpuBruteForce => IndexKind::GpuBruteForce,
            Self::GpuIvfFlat { .. } => IndexKind::GpuIvfFlat,
            Self::GpuIvfPq(_) => IndexKind::GpuIvfPq,
            Self::GpuCagra(_) => IndexKind::GpuCagra,
        }
    }

    /// The parameters under their client names; [`BuildParams::parse`] reads them back.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        let pairs = match *self {
            Self::Flat | Self::GpuBruteForce => Vec::new(),
            Self::IvfFlat { nlist } | Self::GpuIvfFlat { nlist } => vec![(NLIST.name, nlist.to_string())],
            Self::IvfCoded(params) => {
                let mut pairs = params.to_pairs();
                pairs.push((NLIST.name, params.nlist.to_string()));
                pairs
            }
            Self::Hnsw { m, ef_construction } => vec![
                (M.name, m.to_string()),
                (EF_CONSTRUCTION.name, ef_construction.to_string()),
            ],
            Self::HnswCoded(params) => params.to_pairs(),
            Self::Disk(params) => params.to_pairs(),
            Self::Sparse(params) => return params.to_map(),
            Self::MinHash(params) => params.to_pairs(),
            Self::GpuIvfPq(params) => params.to_pairs(),
            Self::GpuCagra(params) => params.to_pairs(),
        };
        pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

/// `M` and `efConstruction`.
fn degrees(params: &BTreeMap<String, String>) -> Result<[u32; 2], ParamError> {
    Ok([
        M.parse(params)?.unwrap_or(DEFAULT_M),
        EF_CONSTRUCTION.parse(params)?.unwrap_or(DEFAULT_EF_CONSTRUCTION),
    ])
}

/// `ef` of a search for `k` results, or `itopk_size` where a graph on the processor stands in for one on a device.
fn candidate_list(params: &BTreeMap<String, String>, k: usize) -> Result<Option<u32>, ParamError> {
    match EF.parse(params)? {
        Some(ef) if (ef as usize) < k => Err(ParamError::EfBelowK { ef, k }),
        None => Ok(ITOPK_SIZE
            .parse(params)?
            .map(|list| list.max(k.min(i32::MAX as usize) as u32))),
        ef => Ok(ef),
    }
}

/// How to search; `None` means the default of the family.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SearchParams {
    /// HNSW, with codes and without, and GPU_CAGRA, whose name for it is `itopk_size`: candidate list, at least `k`; by default the larger of `k` and 16: and 64 when only some rows may be found,
    /// and 512 within a window.
    pub ef: Option<u32>,
    /// HNSW and GPU_CAGRA: candidate list within a window that begins after the nearest rows, as the pages of an iterator do, instead of
    /// `ef`.
    pub seed_ef: Option<u32>,
    /// IVF: lists to look at, by default 8, or 16 when only some rows may be found.
    pub nprobe: Option<u32>,
    /// IVF, within a window that has a far end: lists without a row of it, one after the other, that end the search, by
    /// default 2; 0 when none do.
    pub max_empty_result_buckets: Option<u32>,
    /// IVF and HNSW with codes and `refine`, and GPU_IVF_PQ, whose name for it is `refine_ratio`: `k * refine_k` rows are scored again from the stored vectors.
    pub refine_k: Option<f32>,
    /// SCANN with `with_raw_data`: rows that are scored again, at least `k`.
    pub reorder_k: Option<u32>,
    /// RaBitQ: bits per dimension that the query is rounded to; 0, and by default, it is not.
    pub rbq_bits_query: Option<u32>,
    /// Lists of vectors: elements looked for with each vector of the query, for each row wanted; by default 32, and 320
    /// at least.
    pub retrieval_ann_ratio: Option<f32>,
    /// DISKANN.
    pub disk: DiskSearch,
    /// GPU_CAGRA on a device.
    pub cagra: CagraSearch,
    /// Inverted index of sparse vectors.
    pub sparse: SparseSearch,
    /// Distances that may be returned; no text says it, the caller sets it.
    pub within: Window,
}

/// More rows than `k` that are scored again unasked.
const MOST_SPARE: usize = 1024;

/// The best rows by estimates that are scored again for `k` results where estimates need `times` as many: at most 1,024 more
/// than `k`.
pub(crate) fn spare_rows(k: usize, times: usize) -> usize {
    k.saturating_add(k.saturating_mul(times - 1).min(MOST_SPARE))
}

impl SearchParams {
    /// Rows that `refine_k` asks to score again for `k` results.
    pub(crate) fn refined(&self, k: usize) -> usize {
        // Saturates at the largest number there is.
        self.refine_k
            .map_or(0, |times| (k as f64 * f64::from(times)).ceil() as usize)
    }

    /// Reads the search parameters of `kind` for `k` results; others are ignored, as Milvus does.
    ///
    /// # Errors
    /// A value that is no integer or out of range, or `ef` below `k`.
    pub fn parse(kind: IndexKind, params: &BTreeMap<String, String>, k: usize) -> Result<Self, ParamError> {
        let of_kind = Self::of_kind(kind, params, k)?;
        Ok(Self {
            retrieval_ann_ratio: RETRIEVAL_ANN_RATIO.parse(params)?,
            ..of_kind
        })
    }

    fn of_kind(kind: IndexKind, params: &BTreeMap<String, String>, k: usize) -> Result<Self, ParamError> {
        match kind {
            // What a search of signatures says is the metric's: `MinHashParams::searched_by`.
            IndexKind::Flat | IndexKind::GpuBruteForce | IndexKind::MinHashLsh => Ok(Self::default()),
            IndexKind::IvfFlat | IndexKind::GpuIvfFlat => Ok(Self {
                nprobe: NPROBE.parse(params)?,
                max_empty_result_buckets: MAX_EMPTY_RESULT_BUCKETS.parse(params)?,
                ..Self::default()
            }),
            IndexKind::IvfSq8
            | IndexKind::IvfPq
            | IndexKind::IvfRabitq
            | IndexKind::IvfRabitqFastScan
            | IndexKind::Scann
            | IndexKind::GpuIvfPq => Ok(Self {
                nprobe: NPROBE.parse(params)?,
                max_empty_result_buckets: MAX_EMPTY_RESULT_BUCKETS.parse(params)?,
                ..parse_search(kind, params, k)?
            }),
            IndexKind::Hnsw => Ok(Self {
                ef: candidate_list(params, k)?,
                seed_ef: SEED_EF.parse(params)?,
                ..Self::default()
            }),
            IndexKind::GpuCagra => Ok(Self {
                ef: candidate_list(params, k)?,
                seed_ef: SEED_EF.parse(params)?,
                cagra: CagraSearch::parse(params)?,
                ..Self::default()
            }),
            IndexKind::HnswSq | IndexKind::HnswPq | IndexKind::HnswPrq => Ok(Self {
                ef: candidate_list(params, k)?,
                seed_ef: SEED_EF.parse(params)?,
                refine_k: refine_k(params)?,
                ..Self::default()
            }),
            IndexKind::DiskAnn => Ok(Self {
                disk: DiskSearch::parse(params, k)?,
                ..Self::default()
            }),
            IndexKind::SparseInverted => Ok(Self {
                sparse: SparseSearch::parse(params)?,
                ..Self::default()
            }),
        }
    }

    /// The candidate list to use for `k` results, of some rows or of all.
    pub(crate) fn ef_for(&self, k: usize, filtered: bool) -> usize {
        let seed = self.seed_ef.filter(|_| self.within.starts_late());
        self.list_for(seed.or(self.ef), k, filtered)
    }

    /// The candidate list of DISKANN to use for `k` results, of some rows or of all.
    pub(crate) fn search_list_for(&self, k: usize, filtered: bool) -> usize {
        self.list_for(self.disk.search_list, k, filtered)
    }

    fn list_for(&self, given: Option<u32>, k: usize, filtered: bool) -> usize {
        let default = match (self.within.is_open(), filtered) {
            (false, _) => DEFAULT_RANGE_EF,
            (true, true) => FILTERED_EF,
            (true, false) => MIN_DEFAULT_EF,
        };
        given.map_or(default, |given| given as usize).max(k)
    }

    /// Lists without a row of a window, one after the other, that end a search.
    pub(crate) fn max_empty_lists(&self) -> usize {
        self.max_empty_result_buckets
            .unwrap_or(DEFAULT_MAX_EMPTY_RESULT_BUCKETS) as usize
    }

    /// The lists to probe out of `lists`, for some rows or for all.
    pub(crate) fn nprobe_for(&self, lists: usize, filtered: bool) -> usize {
        let default = if filtered { FILTERED_NPROBE } else { DEFAULT_NPROBE };
        (self.nprobe.unwrap_or(default) as usize).clamp(1, lists.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_of_few_lists_is_reckoned_short() {
        let sq8 = BuildParams::parse("IVF_SQ8", &map(&[("nlist", "1000")])).unwrap();
        let probing =
            |nprobe: &str| SearchParams::parse(IndexKind::IvfSq8, &map(&[("nprobe", nprobe)]), 10).unwrap();
        let all = 100_000;
        let found = |params: &BuildParams, k, search: &SearchParams, allowed| {
            params.comparisons(all, k, search, allowed)
        };
        let around = 1000 + 16 + 4 * 10;
        assert_eq!(found(&sq8, 10, &probing("4"), all), around + 400 / 4);
        assert_eq!(found(&sq8, 10, &probing("1000"), all), around + all / 4);
        assert_eq!(
            sq8.comparisons(50, 10, &probing("1000"), 50),
            50,
            "no more than there are"
        );
        assert_eq!(
            found(&sq8, all, &probing("4"), all),
            all,
            "as many lists as it takes"
        );
        assert_eq!(
            found(&sq8, 10, &probing("4"), 60_000),
            60_000,
            "at worst the allowed rows are scanned"
        );
        let defaults = SearchParams::default();
        for params in [sq8, AUTOINDEX] {
            assert_eq!(found(&params, usize::MAX, &defaults, all), all);
        }
        let flat = BuildParams::IvfFlat { nlist: 100 };
        assert_eq!(found(&flat, 10, &defaults, all), 100 + 8_000 + 40);
        let range = SearchParams {
            within: Window::new(None, Some(1.0)),
            ..Default::default()
        };
        assert_eq!(found(&flat, 10, &range, all), all, "as many lists as it takes");
        assert_eq!(found(&AUTOINDEX, 10, &range, all), all);
        assert!(found(&AUTOINDEX, 10, &defaults, all) < all / 10);
        assert_eq!(BuildParams::Flat.comparisons(7, 1, &defaults, 7), 7);
        let on_disk = BuildParams::parse("DISKANN", &map(&[])).unwrap();
        assert_eq!(found(&on_disk, 10, &defaults, all), usize::MAX);
        assert_eq!(found(&on_disk, 10, &range, all), usize::MAX);
        assert_eq!(
            found(&sq8, 10, &probing("4"), 7),
            7,
            "all of the allowed rows are found"
        );
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn build_error(index_type: &str, name: &str, value: &str) -> String {
        BuildParams::parse(index_type, &map(&[(name, value)]))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn types_have_the_usual_defaults() {
        let none = BTreeMap::new();
        assert_eq!(BuildParams::parse("FLAT", &none), Ok(BuildParams::Flat));
        assert_eq!(BuildParams::parse("BIN_FLAT", &none), Ok(BuildParams::Flat));
        assert_eq!(
            BuildParams::parse("IVF_FLAT", &none),
            Ok(BuildParams::IvfFlat { nlist: 128 })
        );
        assert_eq!(
            BuildParams::parse("HNSW", &none),
            Ok(BuildParams::Hnsw {
                m: 30,
                ef_construction: 360
            })
        );
        assert_eq!(
            BuildParams::parse("AUTOINDEX", &none),
            Ok(BuildParams::Hnsw {
                m: 18,
                ef_construction: 240
            })
        );
    }

    #[test]
    fn errors_name_parameter_value_and_range() {
        assert_eq!(
            build_error("HNSW", "M", "1"),
            "param 'M' (1) should be in range [2, 2048]"
        );
        assert_eq!(
            build_error("HNSW", "M", "-1"),
            "param 'M' (-1) should be in range [2, 2048]"
        );
        assert_eq!(
            build_error("HNSW", "efConstruction", "99999999999999999999"),
            "param 'efConstruction' (99999999999999999999) should be in range [1, 2147483647]"
        );
        assert_eq!(
            build_error("IVF_FLAT", "nlist", "0"),
            "param 'nlist' (0) should be in range [1, 65536]"
        );
        assert!(
            build_error("HNSW", "M", "16.0").starts_with("wrong data type in json, key: 'M', value: '16.0'")
        );
        assert!(
            build_error("HNSW", "M", "True").starts_with("invalid integer value, key: 'M', value: 'True'")
        );
        assert!(build_error("HNSW", "M", "").starts_with("invalid integer value, key: 'M', value: ''"));
    }

    #[test]
    fn types_from_elsewhere_and_typos_are_told_apart() {
        assert!(build_error("AISAQ", "m", "8").starts_with("not supported: index type AISAQ"));
        assert!(build_error("hnsw", "M", "8").starts_with("invalid index type: hnsw, supported: FLAT"));
    }

    #[test]
    fn a_map_of_parameters_reads_back() {
        for params in [
            BuildParams::Flat,
            BuildParams::IvfFlat { nlist: 7 },
            BuildParams::Hnsw {
                m: 5,
                ef_construction: 9,
            },
        ] {
            assert_eq!(
                BuildParams::parse(&params.kind().to_string(), &params.to_map()),
                Ok(params)
            );
        }
    }

    #[test]
    fn search_parameters_are_read_for_their_family_only() {
        let given = map(&[("ef", "64"), ("nprobe", "abc"), ("other", "1")]);
        let parsed = SearchParams::parse(IndexKind::Hnsw, &given, 10).unwrap();
        assert_eq!(
            parsed,
            SearchParams {
                ef: Some(64),
                ..SearchParams::default()
            }
        );
        assert_eq!(
            SearchParams::parse(IndexKind::Flat, &given, 10).unwrap(),
            SearchParams::default()
        );
        let error = SearchParams::parse(IndexKind::IvfFlat, &given, 10).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("invalid integer value, key: 'nprobe', value: 'abc'")
        );
    }

    #[test]
    fn parameters_of_ranges_and_pages_are_read_checked_and_used() {
        let parse = |kind, name, value| SearchParams::parse(kind, &map(&[(name, value)]), 10);
        let empty = |value| parse(IndexKind::IvfSq8, "max_empty_result_buckets", value);
        assert_eq!(empty("0").unwrap().max_empty_lists(), 0);
        assert_eq!(
            parse(IndexKind::Scann, "nprobe", "3").unwrap().max_empty_lists(),
            2
        );
        assert_eq!(
            empty("65537").unwrap_err().to_string(),
            "param 'max_empty_result_buckets' (65537) should be in range [0, 65536]"
        );
        let seed = |value| parse(IndexKind::HnswSq, "seed_ef", value);
        let mut search = seed("40").unwrap();
        assert_eq!(search.ef_for(10, false), 16);
        search.within = Window::new(Some(1.0), None);
        assert_eq!(search.ef_for(10, false), 40);
        assert_eq!(search.ef_for(50, false), 50);
        assert_eq!(
            seed("0").unwrap_err().to_string(),
            "param 'seed_ef' (0) should be in range [1, 2147483647]"
        );
    }

    #[test]
    fn ef_must_reach_k() {
        let parse = |ef: &str| {
            SearchParams::parse(IndexKind::Hnsw, &map(&[("ef", ef)]), 10).map_err(|e| e.to_string())
        };
        assert_eq!(parse("5").unwrap_err(), "ef(5) should be larger than k(10)");
        assert_eq!(
            parse("0").unwrap_err(),
            "param 'ef' (0) should be in range [1, 2147483647]"
        );
        assert!(parse("10").is_ok());
    }
}
