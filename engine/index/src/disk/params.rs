//! Parameters of DISKANN, under their names, ranges, defaults and errors in Milvus.
//!
//! The build parameters have two spellings each, that of an index request and that of Milvus' configuration file, where
//! most people set them. Both are read here; a request's own wins.

use std::collections::BTreeMap;

use crate::error::ParamError;
use crate::params::{Integer, Number};

const MAX_DEGREE: Integer = Integer {
    name: "max_degree",
    range: 1..=2048,
};
const MAX_DEGREE_OF_FILE: Integer = Integer {
    name: "MaxDegree",
    range: 1..=2048,
};
const SEARCH_LIST_SIZE: Integer = Integer {
    name: "search_list_size",
    range: 1..=i32::MAX as u32,
};
const SEARCH_LIST_SIZE_OF_FILE: Integer = Integer {
    name: "SearchListSize",
    range: 1..=i32::MAX as u32,
};
const CODE_RATIO: Number = Number {
    name: "pq_code_budget_gb_ratio",
    allowed: "(0, 1]",
    holds: is_code_ratio,
};
const CODE_RATIO_OF_FILE: Number = Number {
    name: "PQCodeBudgetGBRatio",
    allowed: "(0, 1]",
    holds: is_code_ratio,
};
const CACHE_RATIO: Number = Number {
    name: "search_cache_budget_gb_ratio",
    allowed: "[0, 1]",
    holds: is_cache_ratio,
};
const CACHE_RATIO_OF_FILE: Number = Number {
    name: "SearchCacheBudgetGBRatio",
    allowed: "[0, 1]",
    holds: is_cache_ratio,
};
const SEARCH_LIST: Integer = Integer {
    name: "search_list",
    range: 1..=i32::MAX as u32,
};
const BEAMWIDTH: Integer = Integer {
    name: "beamwidth",
    range: 1..=MAX_BEAMWIDTH,
};

const DEFAULT_MAX_DEGREE: u32 = 48;
const DEFAULT_SEARCH_LIST_SIZE: u32 = 128;
const DEFAULT_CODE_RATIO: Ratio = Ratio(125_000);
const DEFAULT_CACHE_RATIO: Ratio = Ratio(100_000);
pub(crate) const DEFAULT_BEAMWIDTH: u32 = 8;
pub(crate) const MAX_BEAMWIDTH: u32 = 128;
/// Least bytes of a code, if there are as many dimensions: with fewer, most rows would look alike.
const MIN_CODE_BYTES: usize = 8;

fn is_code_ratio(value: f32) -> bool {
    Ratio::of(value).0 > 0 && value <= 1.0
}

fn is_cache_ratio(value: f32) -> bool {
    (0.0..=1.0).contains(&value)
}

/// A part of the bytes of the vectors, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ratio(pub u32);

impl Ratio {
    const ONE: f64 = 1e6;

    /// The ratio nearest to `value`; 0 for what is less or no number.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, which is meant"
    )]
    pub fn of(value: f32) -> Self {
        Self((f64::from(value) * Self::ONE).round() as u32)
    }

    /// The ratio as a number.
    pub fn value(self) -> f64 {
        f64::from(self.0) / Self::ONE
    }

    /// This part of `bytes`.
    pub(crate) fn part_of(self, bytes: usize) -> usize {
        (bytes as f64 * self.value()) as usize
    }
}

/// What to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DiskParams {
    /// Most links of a node, 1 to 2048.
    pub max_degree: u32,
    /// Candidate list while building, 1 or more.
    pub search_list_size: u32,
    /// Bytes of the codes in memory, in parts of those of the vectors; more than 0, at most 1. A code has at least 8 bytes,
    /// or one for each dimension.
    pub code_ratio: Ratio,
    /// Bytes of the nodes that are kept in memory besides, in parts of those of the vectors; at most 1.
    pub cache_ratio: Ratio,
}

impl Default for DiskParams {
    fn default() -> Self {
        Self {
            max_degree: DEFAULT_MAX_DEGREE,
            search_list_size: DEFAULT_SEARCH_LIST_SIZE,
            code_ratio: DEFAULT_CODE_RATIO,
            cache_ratio: DEFAULT_CACHE_RATIO,
        }
    }
}

impl DiskParams {
    pub(crate) fn parse(params: &BTreeMap<String, String>) -> Result<Self, ParamError> {
        let integer = |own: &Integer, of_file: &Integer| match own.parse(params)? {
            Some(value) => Ok(Some(value)),
            None => of_file.parse(params),
        };
        let ratio = |own: &Number, of_file: &Number| match own.parse(params)? {
            Some(value) => Ok(Some(Ratio::of(value))),
            None => of_file.parse(params).map(|value| value.map(Ratio::of)),
        };
        let default = Self::default();
        Ok(Self {
            max_degree: integer(&MAX_DEGREE, &MAX_DEGREE_OF_FILE)?.unwrap_or(default.max_degree),
            search_list_size: integer(&SEARCH_LIST_SIZE, &SEARCH_LIST_SIZE_OF_FILE)?
                .unwrap_or(default.search_list_size),
            code_ratio: ratio(&CODE_RATIO, &CODE_RATIO_OF_FILE)?.unwrap_or(default.code_ratio),
            cache_ratio: ratio(&CACHE_RATIO, &CACHE_RATIO_OF_FILE)?.unwrap_or(default.cache_ratio),
        })
    }

    /// Most bytes of the code of a vector of `vector_bytes`.
    pub(crate) fn code_bytes(&self, vector_bytes: usize) -> usize {
        self.code_ratio.part_of(vector_bytes).max(MIN_CODE_BYTES)
    }

    pub(crate) fn check(&self) -> Result<(), ParamError> {
        MAX_DEGREE.check(self.max_degree)?;
        SEARCH_LIST_SIZE.check(self.search_list_size)?;
        for (number, ratio) in [(CODE_RATIO, self.code_ratio), (CACHE_RATIO, self.cache_ratio)] {
            let value = ratio.value() as f32;
            if !(number.holds)(value) {
                return Err(ParamError::NumberOutOfRange {
                    name: number.name,
                    given: ratio.value().to_string(),
                    allowed: number.allowed,
                });
            }
        }
        Ok(())
    }

    /// The parameters under their client names.
    pub(crate) fn to_pairs(self) -> Vec<(&'static str, String)> {
        vec![
            (MAX_DEGREE.name, self.max_degree.to_string()),
            (SEARCH_LIST_SIZE.name, self.search_list_size.to_string()),
            (CODE_RATIO.name, self.code_ratio.value().to_string()),
            (CACHE_RATIO.name, self.cache_ratio.value().to_string()),
        ]
    }
}

/// How to search; `None` means the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskSearch {
    /// Candidate list, at least `k`; by default the larger of `k` and 16: and 64 when only some rows may be found, and 512
    /// within a window.
    pub search_list: Option<u32>,
    /// Nodes that are read at once, 1 to 128, by default 8.
    pub beamwidth: Option<u32>,
}

impl DiskSearch {
    pub(crate) fn parse(params: &BTreeMap<String, String>, k: usize) -> Result<Self, ParamError> {
        let search_list = SEARCH_LIST.parse(params)?;
        match search_list {
            Some(search_list) if (search_list as usize) < k => {
                Err(ParamError::SearchListBelowK { search_list, k })
            }
            search_list => Ok(Self {
                search_list,
                beamwidth: BEAMWIDTH.parse(params)?,
            }),
        }
    }

    /// Nodes to read at once.
    pub(crate) fn beam(&self) -> usize {
        self.beamwidth
            .unwrap_or(DEFAULT_BEAMWIDTH)
            .clamp(1, MAX_BEAMWIDTH) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::IndexKind;
    use crate::params::{BuildParams, SearchParams};

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = pairs.iter();
        owned
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn built(pairs: &[(&str, &str)]) -> Result<BuildParams, String> {
        BuildParams::parse("DISKANN", &map(pairs)).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_and_both_spellings() {
        assert_eq!(built(&[]), Ok(BuildParams::Disk(DiskParams::default())));
        let given = DiskParams {
            max_degree: 56,
            search_list_size: 100,
            code_ratio: Ratio(62_500),
            cache_ratio: Ratio(0),
        };
        let request = [
            ("max_degree", "56"),
            ("search_list_size", "100"),
            ("pq_code_budget_gb_ratio", "0.0625"),
            ("search_cache_budget_gb_ratio", "0"),
        ];
        let file = [
            ("MaxDegree", "56"),
            ("SearchListSize", "100"),
            ("PQCodeBudgetGBRatio", "0.0625"),
            ("SearchCacheBudgetGBRatio", "0"),
        ];
        assert_eq!(built(&request), Ok(BuildParams::Disk(given)));
        assert_eq!(built(&file), Ok(BuildParams::Disk(given)));
        let params = BuildParams::Disk(given);
        assert_eq!(params.kind(), IndexKind::DiskAnn);
        assert_eq!(BuildParams::parse("DISKANN", &params.to_map()), Ok(params));
        assert!(params.check().is_ok());
    }

    #[test]
    fn errors_name_parameter_value_and_what_is_allowed() {
        let error = |name, value| built(&[(name, value)]).unwrap_err();
        assert_eq!(
            error("max_degree", "2049"),
            "param 'max_degree' (2049) should be in range [1, 2048]"
        );
        assert_eq!(
            error("search_list_size", "0"),
            "param 'search_list_size' (0) should be in range [1, 2147483647]"
        );
        assert_eq!(
            error("PQCodeBudgetGBRatio", "0"),
            "param 'PQCodeBudgetGBRatio' (0) should be in range (0, 1]"
        );
        assert_eq!(
            error("search_cache_budget_gb_ratio", "1.5"),
            "param 'search_cache_budget_gb_ratio' (1.5) should be in range [0, 1]"
        );
        assert!(error("pq_code_budget_gb_ratio", "much").contains("invalid number"));
        let searched = |pairs: &[(&str, &str)]| SearchParams::parse(IndexKind::DiskAnn, &map(pairs), 10);
        assert_eq!(
            searched(&[("search_list", "9")]).unwrap_err().to_string(),
            "search_list_size(9) should be larger than k(10)"
        );
        assert_eq!(
            searched(&[("beamwidth", "129")]).unwrap_err().to_string(),
            "param 'beamwidth' (129) should be in range [1, 128]"
        );
        let params = searched(&[("search_list", "40"), ("beamwidth", "4")]).unwrap();
        assert_eq!((params.disk.search_list, params.disk.beam()), (Some(40), 4));
    }
}
