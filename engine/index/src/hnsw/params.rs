//! Parameters of the graphs with codes, under their names, ranges, defaults and errors in Milvus.
//!
//! | type | code of a row | parameters besides `M` and `efConstruction` |
//! |---|---|---|
//! | HNSW_SQ | 4, 6 or 8 bits or a 16-bit float per dimension | `sq_type`, `refine`, `refine_type` |
//! | HNSW_PQ | one of `2^nbits` codewords for each of `m` groups of dimensions | `m`, `nbits`, `refine`, `refine_type` |
//! | HNSW_PRQ | `nrq` codewords for each group, which is their sum | `m`, `nrq`, `nbits`, `refine`, `refine_type` |
//!
//! As with the lists that have codes (see [`crate::ivf::params`]), the best rows are scored again from the stored vectors:
//! distances are exact, `refine` says whether a search may ask for more of that, and `refine_type` is checked and kept.

use std::collections::BTreeMap;

use crate::codes::wide::used_bits;
use crate::error::ParamError;
use crate::index::IndexKind;
use crate::ivf::params::{Precision, REFINE, REFINE_K, REFINE_TYPE, SQ_TYPE, flag, refine_type};
use crate::params::{EF_CONSTRUCTION, Integer, M, SearchParams, spare_rows};

const GROUPS: Integer = Integer {
    name: "m",
    range: 1..=65_536,
};
const NBITS: Integer = Integer {
    name: "nbits",
    range: 1..=24,
};
const NRQ: Integer = Integer {
    name: "nrq",
    range: 1..=16,
};
const DEFAULT_GROUPS: u32 = 32;
const DEFAULT_RESIDUAL_GROUPS: u32 = 2;
const DEFAULT_NRQ: u32 = 2;
const DEFAULT_NBITS: u32 = 8;
const SQ_TYPES: &str = "[SQ4U, SQ6, SQ8, BF16, FP16]";

/// How HNSW_SQ writes a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "names of formats")]
pub enum ScalarFormat {
    /// 16 levels, the same in every dimension.
    Sq4u,
    Sq6,
    Sq8,
    Bf16,
    Fp16,
}

impl ScalarFormat {
    /// By their codes in a blob.
    pub(crate) const ALL: [(Self, &'static str); 5] = [
        (Self::Sq4u, "SQ4U"),
        (Self::Sq6, "SQ6"),
        (Self::Sq8, "SQ8"),
        (Self::Bf16, "BF16"),
        (Self::Fp16, "FP16"),
    ];

    fn parse(params: &BTreeMap<String, String>) -> Result<Self, ParamError> {
        let Some(given) = params.get(SQ_TYPE) else {
            return Ok(Self::Sq8);
        };
        let mut known = Self::ALL.into_iter();
        let known = known.find(|(_, name)| name.eq_ignore_ascii_case(given.trim()));
        known
            .map(|(format, _)| format)
            .ok_or_else(|| ParamError::NotOneOf {
                name: SQ_TYPE,
                given: given.clone(),
                allowed: SQ_TYPES,
            })
    }

    fn name(self) -> &'static str {
        let mut known = Self::ALL.into_iter();
        known
            .find(|(known, _)| *known == self)
            .map_or("", |(_, name)| name)
    }
}

/// How a row of a graph is written as a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GraphCode {
    /// HNSW_SQ: every dimension by itself.
    Scalar(ScalarFormat),
    /// HNSW_PQ: codewords for groups of dimensions.
    Product {
        /// Groups; divides the dimension.
        m: u32,
        /// Bits of a codeword's number, 1 to 24; more than 8 are used where there is a row for each codeword.
        nbits: u32,
    },
    /// HNSW_PRQ: sums of codewords for groups of dimensions.
    Residual {
        /// Groups; divides the dimension.
        m: u32,
        /// Codewords of a group, 1 to 16.
        nrq: u32,
        /// Bits of a codeword's number, 1 to 24; more than 8 are used where there is a row for each codeword.
        nbits: u32,
    },
}

impl GraphCode {
    /// The code that is used when it is learnt from so many rows.
    pub(crate) fn used(self, rows: usize) -> Self {
        match self {
            Self::Scalar(_) => self,
            Self::Product { m, nbits } => Self::Product {
                m,
                nbits: used_bits(nbits, rows),
            },
            Self::Residual { m, nrq, nbits } => Self::Residual {
                m,
                nrq,
                nbits: used_bits(nbits, rows),
            },
        }
    }

    /// Groups, codewords of each and bits of their numbers, of a code with codewords.
    pub(crate) fn words(self) -> Option<(usize, usize, u32)> {
        match self {
            Self::Scalar(_) => None,
            Self::Product { m, nbits } => Some((m as usize, 1, nbits)),
            Self::Residual { m, nrq, nbits } => Some((m as usize, nrq as usize, nbits)),
        }
    }
}

/// What to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HnswCodedParams {
    /// Links per node and layer, 2 to 2048; the base layer has twice as many.
    pub m: u32,
    /// Candidate list while building, 1 or more.
    pub ef_construction: u32,
    /// The code.
    pub code: GraphCode,
    /// Whether searches say how many rows are scored again.
    pub refine: bool,
    /// Checked and kept; rows are scored from the stored vectors, whatever it says.
    pub refine_type: Option<Precision>,
}

impl HnswCodedParams {
    /// Reads the parameters of an index type besides `M` and `efConstruction`; `None` when it is not one of this family.
    pub(crate) fn parse(
        index_type: &str,
        [m, ef_construction]: [u32; 2],
        params: &BTreeMap<String, String>,
    ) -> Result<Option<Self>, ParamError> {
        let groups = |default| GROUPS.parse(params).map(|given| given.unwrap_or(default));
        let nbits = || NBITS.parse(params).map(|given| given.unwrap_or(DEFAULT_NBITS));
        let code = match index_type {
            "HNSW_SQ" => GraphCode::Scalar(ScalarFormat::parse(params)?),
            "HNSW_PQ" => GraphCode::Product {
                m: groups(DEFAULT_GROUPS)?,
                nbits: nbits()?,
            },
            "HNSW_PRQ" => GraphCode::Residual {
                m: groups(DEFAULT_RESIDUAL_GROUPS)?,
                nrq: NRQ.parse(params)?.unwrap_or(DEFAULT_NRQ),
                nbits: nbits()?,
            },
            _ => return Ok(None),
        };
        let parsed = Self {
            m,
            ef_construction,
            code,
            refine: flag(params, REFINE)?.unwrap_or(false),
            refine_type: refine_type(params)?,
        };
        parsed.check()?;
        Ok(Some(parsed))
    }

    pub(crate) fn check(&self) -> Result<(), ParamError> {
        M.check(self.m)?;
        EF_CONSTRUCTION.check(self.ef_construction)?;
        if let GraphCode::Residual { nrq, .. } = self.code {
            NRQ.check(nrq)?;
        }
        if let GraphCode::Product { m, nbits } | GraphCode::Residual { m, nbits, .. } = self.code {
            GROUPS.check(m)?;
            NBITS.check(nbits)?;
        }
        Ok(())
    }

    /// Checks what depends on the dimension.
    pub(crate) fn check_dim(&self, dim: usize) -> Result<(), ParamError> {
        match self.code {
            GraphCode::Product { m, .. } | GraphCode::Residual { m, .. }
                if !dim.is_multiple_of(m.max(1) as usize) =>
            {
                Err(ParamError::Divisor {
                    name: GROUPS.name,
                    value: m,
                    dim,
                })
            }
            GraphCode::Scalar(_) | GraphCode::Product { .. } | GraphCode::Residual { .. } => Ok(()),
        }
    }

    /// The index type.
    pub(crate) fn kind(&self) -> IndexKind {
        match self.code {
            GraphCode::Scalar(_) => IndexKind::HnswSq,
            GraphCode::Product { .. } => IndexKind::HnswPq,
            GraphCode::Residual { .. } => IndexKind::HnswPrq,
        }
    }

    /// The parameters under their client names.
    pub(crate) fn to_pairs(self) -> Vec<(&'static str, String)> {
        let mut pairs = vec![
            (M.name, self.m.to_string()),
            (EF_CONSTRUCTION.name, self.ef_construction.to_string()),
            (REFINE, self.refine.to_string()),
        ];
        match self.code {
            GraphCode::Scalar(format) => pairs.push((SQ_TYPE, format.name().to_owned())),
            GraphCode::Product { m, nbits } => {
                pairs.extend([(GROUPS.name, m.to_string()), (NBITS.name, nbits.to_string())]);
            }
            GraphCode::Residual { m, nrq, nbits } => pairs.extend([
                (GROUPS.name, m.to_string()),
                (NRQ.name, nrq.to_string()),
                (NBITS.name, nbits.to_string()),
            ]),
        }
        let mut names = Precision::ALL.into_iter();
        let name = names.find(|&(known, _)| Some(known) == self.refine_type);
        pairs.extend(name.map(|(_, name)| (REFINE_TYPE, name.to_owned())));
        pairs
    }

    /// The best rows by their codes that are scored again from the stored vectors, for `k` results: some multiple of `k`
    /// that the code needs, at most 1,024 more than `k`; with `refine` also `k * refine_k`.
    pub(crate) fn rescored(&self, k: usize, search: &SearchParams) -> usize {
        let times = match self.code {
            GraphCode::Scalar(ScalarFormat::Sq4u) => 4,
            GraphCode::Scalar(_) => 2,
            GraphCode::Product { .. } | GraphCode::Residual { .. } => 4,
        };
        let asked = if self.refine { search.refined(k) } else { 0 };
        spare_rows(k, times).max(asked)
    }
}

/// Reads `refine_k`.
pub(crate) fn refine_k(params: &BTreeMap<String, String>) -> Result<Option<f32>, ParamError> {
    REFINE_K.parse(params)
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

    fn parse(index_type: &str, pairs: &[(&str, &str)]) -> Result<HnswCodedParams, String> {
        match BuildParams::parse(index_type, &map(pairs)) {
            Ok(BuildParams::HnswCoded(params)) => Ok(params),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn types_have_the_usual_defaults() {
        for (index_type, code) in [
            ("HNSW_SQ", GraphCode::Scalar(ScalarFormat::Sq8)),
            ("HNSW_PQ", GraphCode::Product { m: 32, nbits: 8 }),
            (
                "HNSW_PRQ",
                GraphCode::Residual {
                    m: 2,
                    nrq: 2,
                    nbits: 8,
                },
            ),
        ] {
            let expected = HnswCodedParams {
                m: 30,
                ef_construction: 360,
                code,
                refine: false,
                refine_type: None,
            };
            assert_eq!(parse(index_type, &[]), Ok(expected));
        }
    }

    #[test]
    fn a_map_of_parameters_reads_back() {
        let mut cases = vec![
            ("HNSW_PQ", vec![("M", "5"), ("m", "3"), ("nbits", "4")]),
            ("HNSW_PRQ", vec![("m", "4"), ("nbits", "24")]),
            (
                "HNSW_PRQ",
                vec![("m", "4"), ("nrq", "3"), ("nbits", "6"), ("refine", "true")],
            ),
            ("HNSW_SQ", vec![("refine_type", "FP32"), ("refine", "True")]),
        ];
        let formats = ScalarFormat::ALL.into_iter();
        cases.extend(formats.map(|(_, name)| ("HNSW_SQ", vec![("sq_type", name)])));
        for (index_type, pairs) in cases {
            let params = BuildParams::parse(index_type, &map(&pairs)).unwrap();
            assert_eq!(params.kind().to_string(), index_type);
            assert_eq!(BuildParams::parse(index_type, &params.to_map()), Ok(params));
        }
    }

    #[test]
    fn errors_name_parameter_value_and_what_is_allowed() {
        let error = |index_type: &str, pairs: &[(&str, &str)]| parse(index_type, pairs).unwrap_err();
        assert_eq!(
            error("HNSW_SQ", &[("sq_type", "SQ4")]),
            "param 'sq_type' (SQ4) should be one of [SQ4U, SQ6, SQ8, BF16, FP16]"
        );
        assert_eq!(
            error("HNSW_PRQ", &[("nrq", "17")]),
            "param 'nrq' (17) should be in range [1, 16]"
        );
        assert_eq!(
            error("HNSW_PQ", &[("nbits", "25")]),
            "param 'nbits' (25) should be in range [1, 24]"
        );
        assert_eq!(
            error("HNSW_PQ", &[("M", "1")]),
            "param 'M' (1) should be in range [2, 2048]"
        );
        let params = parse("HNSW_PQ", &[("m", "7")]).unwrap();
        assert!(params.check_dim(14).is_ok());
        assert!(params.check_dim(16).unwrap_err().to_string().contains("16"));
    }

    #[test]
    fn refining_is_asked_for_by_the_index_and_by_the_search() {
        let search = |refine_k| SearchParams {
            refine_k,
            ..SearchParams::default()
        };
        let of = |refine: &str| parse("HNSW_SQ", &[("refine", refine)]).unwrap();
        assert_eq!(of("true").rescored(10, &search(Some(7.0))), 70);
        assert_eq!(of("true").rescored(10, &search(None)), 20);
        assert_eq!(of("false").rescored(10, &search(Some(7.0))), 20);
    }
}
