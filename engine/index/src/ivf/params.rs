//! Parameters of the IVF families with codes, under their names, ranges, defaults and errors in Milvus.
//!
//! | type | code | parameters besides `nlist` |
//! |---|---|---|
//! | IVF_SQ8 | 4, 6 or 8 bits per dimension | `sq_type`, `refine`, `refine_type` |
//! | IVF_PQ | one of `2^nbits` codewords for each of `m` groups of dimensions | `m`, `nbits`, `refine`, `refine_type` |
//! | IVF_RABITQ, IVF_RABITQ_FASTSCAN | 1 to 9 bits per rotated dimension | `rbq_bits`, `refine`, `refine_type` |
//! | SCANN | 4-bit codewords for groups of `sub_dim` dimensions | `sub_dim`, `with_raw_data` |
//!
//! The rows that a scan of codes finds best are scored again from the stored vectors: distances are always exact, and
//! `refine` asks for nothing to be stored. It says whether a search may ask for more rows to be scored again, see
//! [`CodedParams::rescored`]; `refine_type`, the precision of what Milvus stores, is checked and kept.

use std::collections::BTreeMap;

use crate::error::ParamError;
use crate::index::IndexKind;
use crate::params::{Integer, Number, SearchParams, spare_rows};

const M: Integer = Integer {
    name: "m",
    range: 1..=65_536,
};
const NBITS: Integer = Integer {
    name: "nbits",
    range: 1..=24,
};
const RBQ_BITS: Integer = Integer {
    name: "rbq_bits",
    range: 1..=9,
};
const SUB_DIM: Integer = Integer {
    name: "sub_dim",
    range: 1..=65_536,
};
pub(crate) const SQ_TYPE: &str = "sq_type";
pub(crate) const REFINE: &str = "refine";
pub(crate) const REFINE_TYPE: &str = "refine_type";
const WITH_RAW_DATA: &str = "with_raw_data";
const DEFAULT_NBITS: u32 = 8;
const DEFAULT_SUB_DIM: u32 = 2;

pub(crate) const REFINE_K: Number = Number {
    name: "refine_k",
    allowed: "[1, 3.40282347e+38]",
    holds: |value| value >= 1.0 && value.is_finite(),
};
/// What a search of GPU_IVF_PQ calls it, on a processor too where that stands in.
const REFINE_RATIO: Number = Number {
    name: "refine_ratio",
    ..REFINE_K
};
const REORDER_K: Integer = Integer {
    name: "reorder_k",
    range: 1..=i32::MAX as u32,
};
const RBQ_BITS_QUERY: Integer = Integer {
    name: "rbq_bits_query",
    range: 0..=8,
};
/// What Milvus' documentation calls it.
const RBQ_QUERY_BITS: Integer = Integer {
    name: "rbq_query_bits",
    range: 0..=8,
};

/// Scalar types by their bits.
const SQ_TYPES: [(&str, u32); 3] = [("SQ4", 4), ("SQ6", 6), ("SQ8", 8)];

/// How a row is written as a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// IVF_SQ8: levels per dimension.
    Scalar {
        /// 4, 6 or 8.
        bits: u32,
    },
    /// IVF_PQ: codewords for groups of dimensions.
    Product {
        /// Groups; divides the dimension.
        m: u32,
        /// Bits of a codeword's number, 1 to 24; more than 8 are used where there is a row for each codeword.
        nbits: u32,
    },
    /// IVF_RABITQ and IVF_RABITQ_FASTSCAN: bits of rotated dimensions. Both are scanned in registers, and are the same but
    /// for the name.
    Rabitq {
        /// 1 to 9.
        bits: u32,
        /// Whether the name has FASTSCAN.
        fast_scan: bool,
    },
    /// SCANN: codewords of 4 bits for groups of `sub_dim` dimensions.
    Scann {
        /// Dimensions of a group; divides the dimension.
        sub_dim: u32,
    },
}

/// The precision in which Milvus keeps rows for scoring them again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "names of formats")]
pub enum Precision {
    Sq6,
    Sq8,
    Fp16,
    Bf16,
    Fp32,
    Flat,
}

impl Precision {
    pub(crate) const ALL: [(Self, &'static str); 6] = [
        (Self::Sq6, "sq6"),
        (Self::Sq8, "sq8"),
        (Self::Fp16, "fp16"),
        (Self::Bf16, "bf16"),
        (Self::Fp32, "fp32"),
        (Self::Flat, "flat"),
    ];
}

/// What to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CodedParams {
    /// Number of lists, 1 to 65536.
    pub nlist: u32,
    /// The code.
    pub code: Code,
    /// `refine`; of SCANN `with_raw_data`: whether searches say how many rows are scored again.
    pub refine: bool,
    /// `refine_type`. Rows are scored from the stored vectors, whatever it says.
    pub refine_type: Option<Precision>,
}

impl CodedParams {
    /// Reads the parameters of an index type; `None` when it is not one of this family.
    pub(crate) fn parse(
        index_type: &str,
        nlist: u32,
        params: &BTreeMap<String, String>,
    ) -> Result<Option<Self>, ParamError> {
        let code = match index_type {
            "IVF_SQ8" => Code::Scalar {
                bits: sq_bits(params)?,
            },
            "IVF_PQ" => Code::Product {
                m: M.parse(params)?.ok_or(ParamError::Missing { name: M.name })?,
                nbits: NBITS.parse(params)?.unwrap_or(DEFAULT_NBITS),
            },
            "IVF_RABITQ" | "IVF_RABITQ_FASTSCAN" => Code::Rabitq {
                bits: RBQ_BITS.parse(params)?.unwrap_or(1),
                fast_scan: index_type == "IVF_RABITQ_FASTSCAN",
            },
            "SCANN" => Code::Scann {
                sub_dim: SUB_DIM.parse(params)?.unwrap_or(DEFAULT_SUB_DIM),
            },
            _ => return Ok(None),
        };
        let parsed = match code {
            Code::Scann { .. } => Self {
                nlist,
                code,
                refine: flag(params, WITH_RAW_DATA)?.unwrap_or(true),
                refine_type: None,
            },
            Code::Scalar { .. } | Code::Product { .. } | Code::Rabitq { .. } => Self {
                nlist,
                code,
                refine: flag(params, REFINE)?.unwrap_or(false),
                refine_type: refine_type(params)?,
            },
        };
        parsed.check()?;
        Ok(Some(parsed))
    }

    pub(crate) fn check(&self) -> Result<(), ParamError> {
        match self.code {
            Code::Scalar { bits } => {
                if SQ_TYPES.iter().any(|&(_, known)| known == bits) {
                    Ok(())
                } else {
                    Err(ParamError::NotOneOf {
                        name: SQ_TYPE,
                        given: format!("SQ{bits}"),
                        allowed: "[SQ4, SQ6, SQ8]",
                    })
                }
            }
            Code::Product { m, nbits } => {
                M.check(m)?;
                NBITS.check(nbits)
            }
            Code::Rabitq { bits, .. } => RBQ_BITS.check(bits),
            Code::Scann { sub_dim } => SUB_DIM.check(sub_dim),
        }
    }

    /// Checks what depends on the dimension.
    pub(crate) fn check_dim(&self, dim: usize) -> Result<(), ParamError> {
        let (name, value) = match self.code {
            Code::Product { m, .. } => (M.name, m),
            Code::Scann { sub_dim } => (SUB_DIM.name, sub_dim),
            Code::Scalar { .. } | Code::Rabitq { .. } => return Ok(()),
        };
        if dim.is_multiple_of(value.max(1) as usize) {
            return Ok(());
        }
        Err(ParamError::Divisor { name, value, dim })
    }

    /// The index type.
    pub(crate) fn kind(&self) -> IndexKind {
        match self.code {
            Code::Scalar { .. } => IndexKind::IvfSq8,
            Code::Product { .. } => IndexKind::IvfPq,
            Code::Rabitq { fast_scan: false, .. } => IndexKind::IvfRabitq,
            Code::Rabitq { fast_scan: true, .. } => IndexKind::IvfRabitqFastScan,
            Code::Scann { .. } => IndexKind::Scann,
        }
    }

    /// The parameters besides `nlist` under their client names.
    pub(crate) fn to_pairs(self) -> Vec<(&'static str, String)> {
        let mut pairs = match self.code {
            Code::Scalar { bits } => vec![(SQ_TYPE, format!("SQ{bits}"))],
            Code::Product { m, nbits } => vec![(M.name, m.to_string()), (NBITS.name, nbits.to_string())],
            Code::Rabitq { bits, .. } => vec![(RBQ_BITS.name, bits.to_string())],
            Code::Scann { sub_dim } => {
                return vec![
                    (SUB_DIM.name, sub_dim.to_string()),
                    (WITH_RAW_DATA, self.refine.to_string()),
                ];
            }
        };
        pairs.push((REFINE, self.refine.to_string()));
        let names = Precision::ALL.into_iter();
        pairs.extend(
            names
                .filter(|&(known, _)| Some(known) == self.refine_type)
                .map(|(_, name)| (REFINE_TYPE, name.to_owned())),
        );
        pairs
    }

    /// The best rows by their codes that are scored again from the stored vectors, for `k` results: some multiple of `k`
    /// that the code needs, at most 1,024 more than `k`; with `refine` also `k * refine_k`, and `reorder_k` of SCANN.
    pub(crate) fn rescored(&self, k: usize, search: &SearchParams) -> usize {
        let times = match self.code {
            Code::Scalar { bits: 6.. } => 2,
            Code::Scalar { .. } => 4,
            Code::Product { .. } | Code::Scann { .. } => 4,
            Code::Rabitq { bits: 1, .. } => 8,
            Code::Rabitq { bits: 2..=3, .. } => 4,
            Code::Rabitq { .. } => 2,
        };
        let asked = match self.code {
            _ if !self.refine => 0,
            Code::Scann { .. } => search.reorder_k.map_or(0, |rows| rows as usize),
            Code::Scalar { .. } | Code::Product { .. } | Code::Rabitq { .. } => search.refined(k),
        };
        spare_rows(k, times).max(asked)
    }
}

/// Reads the search parameters of one of these families besides `nprobe`.
pub(crate) fn parse_search(
    kind: IndexKind,
    params: &BTreeMap<String, String>,
    k: usize,
) -> Result<SearchParams, ParamError> {
    let mut search = SearchParams::default();
    match kind {
        IndexKind::Scann => {
            search.reorder_k = REORDER_K.parse(params)?;
            if let Some(reorder_k) = search.reorder_k
                && (reorder_k as usize) < k
            {
                return Err(ParamError::ReorderBelowK { reorder_k, k });
            }
        }
        IndexKind::IvfSq8 => search.refine_k = REFINE_K.parse(params)?,
        IndexKind::IvfPq | IndexKind::GpuIvfPq => {
            search.refine_k = match REFINE_K.parse(params)? {
                None => REFINE_RATIO.parse(params)?,
                given => given,
            };
        }
        IndexKind::IvfRabitq | IndexKind::IvfRabitqFastScan => {
            search.refine_k = REFINE_K.parse(params)?;
            search.rbq_bits_query = match RBQ_BITS_QUERY.parse(params)? {
                Some(bits) => Some(bits),
                None => RBQ_QUERY_BITS.parse(params)?,
            };
        }
        IndexKind::Flat
        | IndexKind::GpuBruteForce
        | IndexKind::GpuIvfFlat
        | IndexKind::GpuCagra
        | IndexKind::IvfFlat
        | IndexKind::Hnsw
        | IndexKind::HnswSq
        | IndexKind::HnswPq
        | IndexKind::HnswPrq
        | IndexKind::DiskAnn
        | IndexKind::SparseInverted
        | IndexKind::MinHashLsh => {}
    }
    Ok(search)
}

fn sq_bits(params: &BTreeMap<String, String>) -> Result<u32, ParamError> {
    let Some(given) = params.get(SQ_TYPE) else {
        return Ok(8);
    };
    let known = SQ_TYPES
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(given.trim()));
    known.map(|(_, bits)| bits).ok_or_else(|| ParamError::NotOneOf {
        name: SQ_TYPE,
        given: given.clone(),
        allowed: "[SQ4, SQ6, SQ8]",
    })
}

pub(crate) fn refine_type(params: &BTreeMap<String, String>) -> Result<Option<Precision>, ParamError> {
    let Some(given) = params.get(REFINE_TYPE) else {
        return Ok(None);
    };
    let known = Precision::ALL
        .into_iter()
        .find(|(_, name)| name.eq_ignore_ascii_case(given.trim()));
    match known {
        Some((precision, _)) => Ok(Some(precision)),
        None => Err(ParamError::NotOneOf {
            name: REFINE_TYPE,
            given: given.clone(),
            allowed: "[sq6, sq8, fp16, bf16, fp32, flat]",
        }),
    }
}

pub(crate) fn flag(
    params: &BTreeMap<String, String>,
    name: &'static str,
) -> Result<Option<bool>, ParamError> {
    let Some(given) = params.get(name) else {
        return Ok(None);
    };
    match given.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(Some(true)),
        "false" => Ok(Some(false)),
        _ => Err(ParamError::NotOneOf {
            name,
            given: given.clone(),
            allowed: "[true, false]",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::BuildParams;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = pairs.iter();
        owned
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn parse(index_type: &str, pairs: &[(&str, &str)]) -> Result<CodedParams, String> {
        match BuildParams::parse(index_type, &map(pairs)) {
            Ok(BuildParams::IvfCoded(params)) => Ok(params),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn types_have_the_usual_defaults() {
        let of = |code, refine| CodedParams {
            nlist: 128,
            code,
            refine,
            refine_type: None,
        };
        assert_eq!(parse("IVF_SQ8", &[]), Ok(of(Code::Scalar { bits: 8 }, false)));
        assert_eq!(
            parse("IVF_PQ", &[("m", "16")]),
            Ok(of(Code::Product { m: 16, nbits: 8 }, false))
        );
        for (name, fast_scan) in [("IVF_RABITQ", false), ("IVF_RABITQ_FASTSCAN", true)] {
            assert_eq!(
                parse(name, &[]),
                Ok(of(Code::Rabitq { bits: 1, fast_scan }, false))
            );
        }
        assert_eq!(parse("SCANN", &[]), Ok(of(Code::Scann { sub_dim: 2 }, true)));
    }

    #[test]
    fn a_map_of_parameters_reads_back() {
        for (index_type, pairs) in [
            (
                "IVF_SQ8",
                &[("sq_type", "sq4"), ("refine", "True"), ("refine_type", "FP16")][..],
            ),
            ("IVF_PQ", &[("m", "3"), ("nbits", "4"), ("nlist", "9")]),
            ("IVF_PQ", &[("m", "3"), ("nbits", "24")]),
            ("IVF_RABITQ", &[("rbq_bits", "9"), ("refine", "true")]),
            ("IVF_RABITQ_FASTSCAN", &[("rbq_bits", "2")]),
            ("SCANN", &[("sub_dim", "4"), ("with_raw_data", "false")]),
        ] {
            let params = BuildParams::parse(index_type, &map(pairs)).unwrap();
            assert_eq!(params.kind().to_string(), index_type);
            assert_eq!(BuildParams::parse(index_type, &params.to_map()), Ok(params));
        }
    }

    #[test]
    fn errors_name_parameter_value_and_what_is_allowed() {
        let error = |index_type: &str, pairs: &[(&str, &str)]| parse(index_type, pairs).unwrap_err();
        assert_eq!(error("IVF_PQ", &[]), "param 'm' not exist in json");
        assert_eq!(
            error("IVF_PQ", &[("m", "0")]),
            "param 'm' (0) should be in range [1, 65536]"
        );
        assert_eq!(
            error("IVF_PQ", &[("m", "4"), ("nbits", "25")]),
            "param 'nbits' (25) should be in range [1, 24]"
        );
        assert_eq!(
            error("IVF_SQ8", &[("sq_type", "SQ5")]),
            "param 'sq_type' (SQ5) should be one of [SQ4, SQ6, SQ8]"
        );
        assert_eq!(
            error("IVF_SQ8", &[("refine", "maybe")]),
            "param 'refine' (maybe) should be one of [true, false]"
        );
        assert_eq!(
            error("IVF_RABITQ", &[("refine_type", "fp8")]),
            "param 'refine_type' (fp8) should be one of [sq6, sq8, fp16, bf16, fp32, flat]"
        );
        assert_eq!(
            error("IVF_RABITQ", &[("rbq_bits", "10")]),
            "param 'rbq_bits' (10) should be in range [1, 9]"
        );
        let params = BuildParams::parse("IVF_PQ", &map(&[("m", "7")])).unwrap();
        assert_eq!(
            params.check_dim(16).unwrap_err().to_string(),
            "the dimension should be a multiple of 'm': dimension 16, m 7"
        );
        assert!(params.check_dim(14).is_ok());
    }

    #[test]
    fn search_parameters_are_read_for_their_family() {
        let parse = |kind, pairs: &[(&str, &str)], k| {
            SearchParams::parse(kind, &map(pairs), k).map_err(|error| error.to_string())
        };
        let found = parse(IndexKind::IvfPq, &[("nprobe", "3"), ("refine_k", "2.5")], 10).unwrap();
        assert_eq!((found.nprobe, found.refine_k), (Some(3), Some(2.5)));
        assert_eq!(
            parse(IndexKind::IvfSq8, &[("refine_k", "0.5")], 10).unwrap_err(),
            "param 'refine_k' (0.5) should be in range [1, 3.40282347e+38]"
        );
        assert_eq!(
            parse(IndexKind::Scann, &[("reorder_k", "5")], 10).unwrap_err(),
            "reorder_k(5) should be larger than k(10)"
        );
        for name in ["rbq_bits_query", "rbq_query_bits"] {
            let found = parse(IndexKind::IvfRabitq, &[(name, "4")], 10).unwrap();
            assert_eq!(found.rbq_bits_query, Some(4));
            assert!(parse(IndexKind::IvfRabitqFastScan, &[(name, "9")], 10).is_err());
        }
        let scann = parse(IndexKind::Scann, &[("search_k", "x"), ("refine_k", "0")], 10);
        assert_eq!(scann, Ok(SearchParams::default()));
    }

    #[test]
    fn more_rows_are_scored_again_where_that_is_asked_for() {
        let params = |code, refine| CodedParams {
            nlist: 1,
            code,
            refine,
            refine_type: None,
        };
        let search = SearchParams {
            refine_k: Some(12.5),
            reorder_k: Some(77),
            ..SearchParams::default()
        };
        let product = Code::Product { m: 1, nbits: 8 };
        assert_eq!(params(product, false).rescored(10, &search), 40);
        assert_eq!(params(product, true).rescored(10, &search), 125);
        assert_eq!(params(product, true).rescored(10, &SearchParams::default()), 40);
        assert_eq!(params(Code::Scann { sub_dim: 1 }, true).rescored(10, &search), 77);
        assert_eq!(params(product, false).rescored(10_000, &search), 11_024);
        let huge = SearchParams {
            refine_k: Some(f32::MAX),
            ..SearchParams::default()
        };
        assert_eq!(params(product, true).rescored(usize::MAX, &huge), usize::MAX);
    }
}
