//! Parameters of MINHASH_LSH under the names, ranges and defaults of Milvus.

use std::collections::BTreeMap;

use super::metric::MinHash;
use crate::error::ParamError;
use crate::ivf::params::flag;
use crate::params::{Integer, Number};

const BAND: Integer = Integer {
    name: "mh_lsh_band",
    range: 1..=i32::MAX as u32,
};
const ELEMENT_BITS: Integer = Integer {
    name: "mh_element_bit_width",
    range: 8..=256,
};
const BLOCK: Integer = Integer {
    name: "mh_lsh_aligned_block_size",
    range: 4096..=i32::MAX as u32,
};
const BLOOM: Number = Number {
    name: "mh_lsh_bloom_false_positive_prob",
    allowed: "[0, 1]",
    holds: |value| (0.0..=1.0).contains(&value),
};
const REFINE_K: Integer = Integer {
    name: "refine_k",
    range: 1..=i32::MAX as u32,
};
const WITH_JACCARD: &str = "mh_search_with_jaccard";

const DEFAULT_BANDS: u32 = 1;
const DEFAULT_ELEMENT_BITS: u32 = 8;

/// How signatures are read, and what MINHASH_LSH is built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MinHashParams {
    /// Bits of an element, 8 to 256 in steps of 8.
    pub element_bits: u32,
    /// Bands that a signature is cut into, at least 1; no more than it has elements are made.
    pub bands: u32,
}

impl Default for MinHashParams {
    fn default() -> Self {
        Self {
            element_bits: DEFAULT_ELEMENT_BITS,
            bands: DEFAULT_BANDS,
        }
    }
}

impl MinHashParams {
    /// Reads the parameters of an index; others are ignored. Blocks, bloom filters and copies of the signatures are what Milvus
    /// has in its files: their parameters are checked and of no effect.
    ///
    /// # Errors
    /// A value of the wrong type or out of range.
    pub fn parse(params: &BTreeMap<String, String>) -> Result<Self, ParamError> {
        for name in [
            "mh_lsh_code_in_mem",
            "with_raw_data",
            "mh_lsh_shared_bloom_filter",
        ] {
            flag(params, name)?;
        }
        BLOCK.parse(params)?;
        BLOOM.parse(params)?;
        let read = Self {
            element_bits: ELEMENT_BITS.parse(params)?.unwrap_or(DEFAULT_ELEMENT_BITS),
            bands: BAND.parse(params)?.unwrap_or(DEFAULT_BANDS),
        };
        read.check().map(|()| read)
    }

    pub(crate) fn check(&self) -> Result<(), ParamError> {
        BAND.check(self.bands)?;
        if ELEMENT_BITS.range.contains(&self.element_bits) && self.element_bits.is_multiple_of(8) {
            return Ok(());
        }
        Err(ParamError::NumberOutOfRange {
            name: ELEMENT_BITS.name,
            given: self.element_bits.to_string(),
            allowed: "[8, 256] in steps of 8",
        })
    }

    /// Refuses elements that do not fill a signature of `dim` bits.
    ///
    /// # Errors
    /// [`ParamError::Divisor`].
    pub fn check_dim(&self, dim: usize) -> Result<(), ParamError> {
        if dim.is_multiple_of((self.element_bits as usize).max(1)) {
            return Ok(());
        }
        Err(ParamError::Divisor {
            name: ELEMENT_BITS.name,
            value: self.element_bits,
            dim,
        })
    }

    pub(crate) fn to_pairs(self) -> Vec<(&'static str, String)> {
        vec![
            (BAND.name, self.bands.to_string()),
            (ELEMENT_BITS.name, self.element_bits.to_string()),
        ]
    }

    /// The metric of the signatures: by the part of their elements that are equal.
    pub fn metric(&self) -> MinHash {
        MinHash::similarity(self.element_bits)
    }

    /// The metric that a search asks for, out of its parameters: by equal elements with `mh_search_with_jaccard`, else by
    /// shared bands. How many bands' hits are scored (`refine_k`: all of them) and in which batches is of no effect.
    ///
    /// # Errors
    /// A value of the wrong type or out of range.
    pub fn searched_by(&self, search: &BTreeMap<String, String>) -> Result<MinHash, ParamError> {
        REFINE_K.parse(search)?;
        flag(search, "mh_lsh_batch_search")?;
        let with_jaccard = flag(search, WITH_JACCARD)?.unwrap_or(false);
        Ok(if with_jaccard {
            self.metric()
        } else {
            self.metric().of_bands(self.bands)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::BuildParams;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn parameters_have_milvus_defaults_and_read_back() {
        assert_eq!(MinHashParams::parse(&map(&[])), Ok(MinHashParams::default()));
        let given = map(&[
            ("mh_lsh_band", "16"),
            ("mh_element_bit_width", "32"),
            ("with_raw_data", "True"),
            ("mh_lsh_code_in_mem", "false"),
            ("mh_lsh_bloom_false_positive_prob", "0.01"),
            ("mh_lsh_aligned_block_size", "4096"),
        ]);
        let read = BuildParams::parse("MINHASH_LSH", &given).unwrap();
        let expected = MinHashParams {
            element_bits: 32,
            bands: 16,
        };
        assert_eq!(read, BuildParams::MinHash(expected));
        assert_eq!(BuildParams::parse("MINHASH_LSH", &read.to_map()), Ok(read));
    }

    #[test]
    fn errors_name_parameter_value_and_range() {
        let error = |name, value| {
            MinHashParams::parse(&map(&[(name, value)]))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            error("mh_lsh_band", "0"),
            "param 'mh_lsh_band' (0) should be in range [1, 2147483647]"
        );
        assert_eq!(
            error("mh_element_bit_width", "12"),
            "param 'mh_element_bit_width' (12) should be in range [8, 256] in steps of 8"
        );
        assert_eq!(
            error("mh_element_bit_width", "512"),
            "param 'mh_element_bit_width' (512) should be in range [8, 256]"
        );
        assert_eq!(
            error("with_raw_data", "maybe"),
            "param 'with_raw_data' (maybe) should be one of [true, false]"
        );
        assert_eq!(
            error("mh_lsh_bloom_false_positive_prob", "2"),
            "param 'mh_lsh_bloom_false_positive_prob' (2) should be in range [0, 1]"
        );
        assert_eq!(
            error("mh_lsh_aligned_block_size", "512"),
            "param 'mh_lsh_aligned_block_size' (512) should be in range [4096, 2147483647]"
        );
        let wide = MinHashParams {
            element_bits: 64,
            bands: 1,
        };
        assert!(wide.check_dim(128).is_ok());
        assert_eq!(
            wide.check_dim(96).unwrap_err().to_string(),
            "the dimension should be a multiple of 'mh_element_bit_width': dimension 96, mh_element_bit_width 64"
        );
    }

    #[test]
    fn a_search_is_by_bands_until_it_asks_for_the_estimate() {
        let params = MinHashParams {
            element_bits: 32,
            bands: 8,
        };
        let by = |pairs: &[(&str, &str)]| params.searched_by(&map(pairs));
        assert_eq!(by(&[]), Ok(params.metric().of_bands(8)));
        assert_eq!(
            by(&[("mh_search_with_jaccard", "True"), ("refine_k", "40")]),
            Ok(params.metric())
        );
        assert_eq!(
            by(&[("refine_k", "0")]).unwrap_err().to_string(),
            "param 'refine_k' (0) should be in range [1, 2147483647]"
        );
    }
}
