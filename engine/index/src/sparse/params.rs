//! Parameters of the inverted index under the names, ranges and defaults of Milvus.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::ParamError;
use crate::params::{Integer, Number};
use crate::typed::{DEFAULT_B, DEFAULT_K1, SparseVector};

const ALGORITHM: &str = "inverted_index_algo";
/// `block_max_block_size`: postings that share a maximum.
const BLOCK: Integer = Integer {
    name: "block_max_block_size",
    range: 1..=65_535,
};
/// Rows of a window of Milvus' SINDI; here windows are as the algorithms need them.
const WINDOW: Integer = Integer {
    name: "sindi_window_size",
    range: 1_024..=65_535,
};
/// How Milvus packs postings; here they have one form.
const CODEC: &str = "inverted_index_codec";
const CODECS: [&str; 3] = ["block_streamvbyte", "block_maskedvbyte", "block_adaptive"];
const REFINE_FACTOR: Integer = Integer {
    name: "refine_factor",
    range: 1..=i32::MAX as u32,
};
const DROP_RATIO_SEARCH: Number = Number {
    name: "drop_ratio_search",
    allowed: "[0, 1)",
    holds: |value| (0.0..1.0).contains(&value),
};
const DROP_RATIO_BUILD: Number = Number {
    name: "drop_ratio_build",
    allowed: "[0, 1)",
    holds: |value| (0.0..1.0).contains(&value),
};
const MAX_SCORE_RATIO: Number = Number {
    name: "dim_max_score_ratio",
    allowed: "[0.5, 1.3]",
    holds: |value| (0.5..=1.3).contains(&value),
};
const K1: Number = Number {
    name: "bm25_k1",
    allowed: "[0, 3]",
    holds: |value| (0.0..=3.0).contains(&value),
};
const B: Number = Number {
    name: "bm25_b",
    allowed: "[0, 1]",
    holds: |value| (0.0..=1.0).contains(&value),
};

const DEFAULT_BLOCK: u32 = 128;
/// Candidates for each wanted row when some terms of a query are dropped.
const DEFAULT_REFINE_FACTOR: u32 = 10;

/// How postings are searched. All find the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SparseAlgorithm {
    /// Windows of rows, with pruning.
    DaatMaxScore,
    /// Row by row, jumping.
    DaatWand,
    /// Windows of rows, every posting read.
    TaatNaive,
    /// The same as [`SparseAlgorithm::DaatMaxScore`], which knows the maxima of blocks anyway.
    BlockMaxMaxScore,
    /// The same as [`SparseAlgorithm::DaatWand`], which knows the maxima of blocks anyway.
    BlockMaxWand,
    /// The same as [`SparseAlgorithm::TaatNaive`], which goes by windows anyway.
    Sindi,
}

impl SparseAlgorithm {
    /// In the order of their codes in a blob.
    pub(crate) const ALL: [Self; 6] = [
        Self::DaatMaxScore,
        Self::DaatWand,
        Self::TaatNaive,
        Self::BlockMaxMaxScore,
        Self::BlockMaxWand,
        Self::Sindi,
    ];
}

impl fmt::Display for SparseAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DaatMaxScore => "DAAT_MAXSCORE",
            Self::DaatWand => "DAAT_WAND",
            Self::TaatNaive => "TAAT_NAIVE",
            Self::BlockMaxMaxScore => "BLOCK_MAX_MAXSCORE",
            Self::BlockMaxWand => "BLOCK_MAX_WAND",
            Self::Sindi => "SINDI",
        })
    }
}

/// What an inverted index is built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SparseParams {
    /// How its postings are searched.
    pub algorithm: SparseAlgorithm,
    /// Postings that share a maximum, 1 to 65535.
    pub block: u32,
}

impl SparseParams {
    /// Reads parameters; `default` is the algorithm when none is named.
    pub(crate) fn parse(
        params: &BTreeMap<String, String>,
        default: SparseAlgorithm,
    ) -> Result<Self, ParamError> {
        let algorithm = match params.get(ALGORITHM) {
            None => default,
            Some(text) => SparseAlgorithm::ALL
                .into_iter()
                .find(|algorithm| algorithm.to_string() == *text)
                .ok_or_else(|| ParamError::UnknownAlgorithm { given: text.clone() })?,
        };
        // Checked, and of no effect.
        DROP_RATIO_BUILD.parse(params)?;
        WINDOW.parse(params)?;
        if let Some(given) = params.get(CODEC)
            && !CODECS.contains(&given.as_str())
        {
            return Err(ParamError::NotOneOf {
                name: CODEC,
                given: given.clone(),
                allowed: "block_streamvbyte, block_maskedvbyte, block_adaptive",
            });
        }
        Bm25Params::parse(params)?;
        Ok(Self {
            algorithm,
            block: BLOCK.parse(params)?.unwrap_or(DEFAULT_BLOCK),
        })
    }

    pub(crate) fn check(&self) -> Result<(), ParamError> {
        BLOCK.check(self.block)
    }

    pub(crate) fn to_map(self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (ALGORITHM.to_owned(), self.algorithm.to_string()),
            (BLOCK.name.to_owned(), self.block.to_string()),
        ])
    }
}

/// The constants of BM25 as an index defines them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bm25Params {
    /// How soon further occurrences of a term stop to matter.
    pub k1: f32,
    /// How much the length of a row matters.
    pub b: f32,
}

impl Bm25Params {
    /// Reads `bm25_k1` and `bm25_b`.
    ///
    /// # Errors
    /// A value that is no number or out of range.
    pub fn parse(params: &BTreeMap<String, String>) -> Result<Self, ParamError> {
        Ok(Self {
            k1: K1.parse(params)?.unwrap_or(DEFAULT_K1),
            b: B.parse(params)?.unwrap_or(DEFAULT_B),
        })
    }
}

/// How to search an inverted index.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SparseSearch {
    /// Part of a query's terms, the lightest ones, that candidates are not searched with.
    pub drop_ratio: f32,
    /// Candidates for each wanted row when terms are dropped, 1 or more.
    pub refine_factor: u32,
    /// Factor on the bounds by which rows are left out; below 1 the search is not exact. 1 leaves out as much as Milvus'
    /// default of 1.05, for the bounds hold.
    pub max_score_ratio: f32,
}

impl Default for SparseSearch {
    fn default() -> Self {
        Self {
            drop_ratio: 0.0,
            refine_factor: DEFAULT_REFINE_FACTOR,
            max_score_ratio: 1.0,
        }
    }
}

impl SparseSearch {
    pub(crate) fn parse(params: &BTreeMap<String, String>) -> Result<Self, ParamError> {
        let default = Self::default();
        Ok(Self {
            drop_ratio: DROP_RATIO_SEARCH.parse(params)?.unwrap_or(default.drop_ratio),
            refine_factor: REFINE_FACTOR.parse(params)?.unwrap_or(default.refine_factor),
            max_score_ratio: MAX_SCORE_RATIO.parse(params)?.unwrap_or(default.max_score_ratio),
        })
    }

    /// The terms of `weights` that are searched with, when that is not all of them: those that are no lighter than the
    /// one at the place of the ratio in ascending order.
    pub(crate) fn heaviest(&self, weights: SparseVector<'_>) -> Option<(Vec<u32>, Vec<f32>)> {
        let mut sizes: Vec<f32> = weights.values().iter().map(|weight| weight.abs()).collect();
        let place = (f64::from(self.drop_ratio) * sizes.len() as f64) as usize;
        if place == 0 || place >= sizes.len() {
            return None;
        }
        let (_, least, _) = sizes.select_nth_unstable_by(place, f32::total_cmp);
        let least = *least;
        let pairs = weights.indices().iter().zip(weights.values());
        Some(pairs.filter(|(_, weight)| weight.abs() >= least).unzip())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::IndexKind;
    use crate::params::{BuildParams, SearchParams};

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn algorithms_have_the_names_of_milvus() {
        let algorithm =
            |index_type: &str, pairs: &[(&str, &str)]| match BuildParams::parse(index_type, &map(pairs)) {
                Ok(BuildParams::Sparse(params)) => params.algorithm.to_string(),
                other => panic!("{other:?}"),
            };
        assert_eq!(algorithm("SPARSE_INVERTED_INDEX", &[]), "DAAT_MAXSCORE");
        assert_eq!(algorithm("SPARSE_WAND", &[]), "DAAT_WAND");
        for known in SparseAlgorithm::ALL {
            let name = known.to_string();
            assert_eq!(
                algorithm("SPARSE_INVERTED_INDEX", &[("inverted_index_algo", &name)]),
                name
            );
        }
        let error = SparseParams::parse(&map(&[("inverted_index_algo", "FAST")]), SparseAlgorithm::Sindi);
        assert_eq!(
            error.unwrap_err().to_string(),
            "sparse inverted index algo FAST not found or not supported, supported: [DAAT_MAXSCORE DAAT_WAND TAAT_NAIVE \
             BLOCK_MAX_MAXSCORE BLOCK_MAX_WAND SINDI]"
        );
    }

    #[test]
    fn numbers_out_of_their_range_are_refused() {
        let search = |name, value| {
            SearchParams::parse(IndexKind::SparseInverted, &map(&[(name, value)]), 3)
                .map_err(|e| e.to_string())
        };
        assert_eq!(
            search("drop_ratio_search", "0.25").unwrap().sparse.drop_ratio,
            0.25
        );
        assert_eq!(
            search("drop_ratio_search", "1").unwrap_err(),
            "param 'drop_ratio_search' (1) should be in range [0, 1)"
        );
        assert_eq!(
            search("dim_max_score_ratio", "0.4").unwrap_err(),
            "param 'dim_max_score_ratio' (0.4) should be in range [0.5, 1.3]"
        );
        assert_eq!(
            search("drop_ratio_search", "nan").unwrap_err(),
            "param 'drop_ratio_search' (nan) should be in range [0, 1)"
        );
        assert_eq!(
            search("drop_ratio_search", "much").unwrap_err(),
            "invalid number, key: 'drop_ratio_search', value: 'much', should be in range [0, 1)"
        );
        let build = |name, value| BuildParams::parse("SPARSE_WAND", &map(&[(name, value)])).is_ok();
        assert!(build("bm25_k1", "3") && !build("bm25_k1", "3.1"));
        assert!(build("bm25_b", "0") && !build("bm25_b", "-0.1"));
        assert!(build("drop_ratio_build", "0.2") && !build("drop_ratio_build", "2"));
        assert!(build("sindi_window_size", "2048") && !build("sindi_window_size", "100"));
        assert!(build("inverted_index_codec", "block_adaptive") && !build("inverted_index_codec", "zip"));
    }

    #[test]
    fn the_lightest_terms_are_dropped() {
        let weights = SparseVector::new(&[1, 2, 3, 4], &[0.5, -4.0, 1.0, 2.0]).unwrap();
        let kept = |drop_ratio| {
            let search = SparseSearch {
                drop_ratio,
                ..SparseSearch::default()
            };
            search.heaviest(weights).map(|(terms, _)| terms)
        };
        assert_eq!(kept(0.0), None);
        assert_eq!(kept(0.2), None);
        assert_eq!(kept(0.25), Some(vec![2, 3, 4]));
        assert_eq!(kept(0.99), Some(vec![2]));
    }
}
