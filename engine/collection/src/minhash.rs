//! MinHash: texts become signatures, see [`elanus_text::minhash`]; the parameters of the function, and of its index.

use std::collections::BTreeMap;
use std::str::FromStr;

use arrow::array::{Array, FixedSizeBinaryArray, StringArray};
use elanus_index::MinHashParams;
use elanus_text::{Analyzer, Hashed, MinHashFunction, ShingleHash};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::types::DataType;

/// Bits of an element of a signature.
pub(crate) const ELEMENT_BITS: u32 = 32;
/// Elements of a band where nobody says how many bands there are.
const BAND_ELEMENTS: u32 = 4;

const NUM_HASHES: &str = "num_hashes";
const SHINGLE_SIZE: &str = "shingle_size";
const HASH_FUNCTION: &str = "hash_function";
const TOKEN_LEVEL: &str = "token_level";
const SEED: &str = "seed";
const DEFAULT_SHINGLE_SIZE: i64 = 3;
const DEFAULT_SEED: i64 = 1234;

/// The function that parameters describe, for signatures of `dim` bits in the field `output`. Names and values are Milvus', and
/// so are the texts of errors.
///
/// # Errors
/// [`Error::InvalidParameter`] for a parameter that is not known or has a value that is not allowed, and a dimension that
/// is not that of the signatures.
pub(crate) fn function_of(
    params: &BTreeMap<String, String>,
    output: &str,
    dim: u32,
) -> Result<MinHashFunction> {
    let bad = Error::InvalidParameter;
    let number = |name: &str| {
        let parse = |text: &String| {
            let number = text.parse::<i64>();
            number.map_err(|_| bad(format!("param {name}:{text} is not a number")))
        };
        params.get(name).map(parse).transpose()
    };
    let positive = |name: &str| match number(name)? {
        Some(value) if value <= 0 => Err(bad(format!("param {name}:{value} must be positive"))),
        value @ (Some(_) | None) => Ok(value),
    };
    let known = [NUM_HASHES, SHINGLE_SIZE, HASH_FUNCTION, TOKEN_LEVEL, SEED];
    if let Some(name) = params.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(bad(format!(
            "MinHash function has no param {name}, allowed are {}",
            known.join(", ")
        )));
    }
    match positive(NUM_HASHES)? {
        Some(hashes) => {
            let expected = hashes.saturating_mul(i64::from(ELEMENT_BITS));
            if expected != i64::from(dim) {
                return Err(bad(format!(
                    "minhash function output field '{output}' dim {dim} does not match expected dim {expected} (numHashes \
                     {hashes} * one minhash signature size of 32bit)"
                )));
            }
        }
        None if !dim.is_multiple_of(ELEMENT_BITS) => {
            return Err(bad(format!(
                "minhash function output field '{output}' dim {dim} is not multiple of 32 (one minhash signature size)"
            )));
        }
        None => {}
    }
    let shingle = positive(SHINGLE_SIZE)?.unwrap_or(DEFAULT_SHINGLE_SIZE);
    Ok(MinHashFunction::new(
        (dim / ELEMENT_BITS) as usize,
        usize::try_from(shingle).unwrap_or(usize::MAX),
        word::<Hashed>(params, TOKEN_LEVEL)?,
        word::<ShingleHash>(params, HASH_FUNCTION)?,
        number(SEED)?.unwrap_or(DEFAULT_SEED),
    ))
}

fn word<T: FromStr<Err = String> + Default>(params: &BTreeMap<String, String>, name: &str) -> Result<T> {
    let parsed = params.get(name).map(|text| text.parse()).transpose();
    Ok(parsed.map_err(Error::InvalidParameter)?.unwrap_or_default())
}

/// The parameters as they are described: those that were given, and the number of hashes.
pub(crate) fn described(params: &BTreeMap<String, String>, dim: u32) -> BTreeMap<String, String> {
    let mut all = params.clone();
    all.entry(NUM_HASHES.to_string())
        .or_insert_with(|| (dim / ELEMENT_BITS).to_string());
    all
}

/// Signatures of texts, each with its analyzer; a NULL is an empty text.
pub(crate) fn signatures<'a>(
    function: &MinHashFunction,
    texts: &StringArray,
    analyzer: impl Fn(usize) -> &'a Analyzer,
) -> Result<FixedSizeBinaryArray> {
    let width = function.signature_bytes();
    let mut bytes = Vec::with_capacity(texts.len() * width);
    for (row, text) in texts.iter().enumerate() {
        function.append(analyzer(row), text.unwrap_or_default(), &mut bytes);
    }
    let width = i32::try_from(width)
        .map_err(|_| Error::InvalidData(format!("signatures of {width} bytes are too large")))?;
    Ok(FixedSizeBinaryArray::try_new(width, bytes.into(), None)?)
}

/// How an index reads signatures, as the manifest keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Signatures {
    element_bits: u32,
    bands: u32,
}

impl Signatures {
    /// Of an index with these parameters on bits of this type. Where nobody says it, elements of signatures that the
    /// MinHash function makes (`computed`) are as wide as they are; `auto` is an index whose bands are not asked for.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for a value that is not allowed.
    pub fn of(
        params: &BTreeMap<String, String>,
        data_type: &DataType,
        computed: bool,
        auto: bool,
    ) -> Result<Self> {
        let refused = |error: elanus_index::ParamError| Error::InvalidParameter(error.to_string());
        let mut read = MinHashParams::parse(params).map_err(refused)?;
        let dim = data_type.dim().unwrap_or(0);
        if computed && !params.contains_key("mh_element_bit_width") {
            read.element_bits = ELEMENT_BITS;
        }
        if auto && !params.contains_key("mh_lsh_band") {
            read.bands = (dim / read.element_bits.max(1) / BAND_ELEMENTS).max(1);
        }
        read.check_dim(dim as usize).map_err(refused)?;
        Ok(Self {
            element_bits: read.element_bits,
            bands: read.bands,
        })
    }

    /// For the index.
    pub fn params(self) -> MinHashParams {
        MinHashParams {
            element_bits: self.element_bits,
            bands: self.bands,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |&(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn parameters_have_milvus_defaults() {
        let expected = MinHashFunction::new(4, 3, Hashed::Words, ShingleHash::XxHash, 1234);
        assert_eq!(function_of(&map(&[]), "sig", 128).unwrap(), expected);
        let all = map(&[
            ("num_hashes", "4"),
            ("shingle_size", "2"),
            ("hash_function", "SHA1"),
            ("token_level", "char"),
            ("seed", "-5"),
        ]);
        let expected = MinHashFunction::new(4, 2, Hashed::Bytes, ShingleHash::Sha1, -5);
        assert_eq!(function_of(&all, "sig", 128).unwrap(), expected);
        assert_eq!(described(&map(&[]), 128), map(&[("num_hashes", "4")]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error =
            |pairs: &[(&str, &str)], dim| function_of(&map(pairs), "sig", dim).unwrap_err().to_string();
        for (name, value, what) in [
            ("num_hashes", "many", "param num_hashes:many is not a number"),
            ("num_hashes", "0", "param num_hashes:0 must be positive"),
            ("shingle_size", "-1", "param shingle_size:-1 must be positive"),
            ("seed", "1.5", "param seed:1.5 is not a number"),
            (
                "hash_function",
                "md5",
                "unknown hash function: md5 (expected 'xxhash64' or 'sha1')",
            ),
            (
                "token_level",
                "line",
                "unknown token_level: line (expected 'char' or 'word')",
            ),
            (
                "bands",
                "4",
                "MinHash function has no param bands, allowed are num_hashes, shingle_size, hash_function, token_level, seed",
            ),
        ] {
            assert!(error(&[(name, value)], 128).contains(what), "{name}");
        }
        assert!(error(&[("num_hashes", "8")], 128).contains(
            "minhash function output field 'sig' dim 128 does not match expected dim 256 (numHashes 8 * one minhash signature size \
             of 32bit)"
        ));
        assert!(error(&[], 40).contains("output field 'sig' dim 40 is not multiple of 32"));
    }

    #[test]
    fn an_index_reads_elements_as_they_are_made() {
        let bits = DataType::BinaryVector { dim: 1024 };
        let of = |pairs: &[(&str, &str)], computed, auto| {
            let read = Signatures::of(&map(pairs), &bits, computed, auto)
                .unwrap()
                .params();
            (read.element_bits, read.bands)
        };
        assert_eq!(of(&[], false, false), (8, 1));
        assert_eq!(of(&[], true, false), (32, 1));
        assert_eq!(of(&[], true, true), (32, 8));
        let given = [("mh_element_bit_width", "64"), ("mh_lsh_band", "2")];
        assert_eq!(of(&given, true, true), (64, 2));
        let error = Signatures::of(&map(&[("mh_element_bit_width", "24")]), &bits, true, false).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("dimension 1024, mh_element_bit_width 24")
        );
    }
}
