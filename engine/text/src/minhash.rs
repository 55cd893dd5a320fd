//! MinHash signatures of texts: texts that share many runs of words or bytes have many elements in common.
//!
//! ```text
//!   "a quick brown fox"   --tokens-->  a | quick | brown | fox
//!     --shingles of 3-->  "aquickbrown", "quickbrownfox"
//!     --hashes-->         h1, h2                                   32 bits each
//!     --permutations-->   min(p1(h1), p1(h2)), min(p2(h1), p2(h2)), ..
//! ```
//!
//! Every step is that of Milvus 3.0, so that signatures are the same bits:
//!
//! - tokens are those of the analyzer, joined without anything between them, or the bytes of the text; a text with fewer of
//!   them than a shingle has is one shingle, and one without any has all bits set;
//! - a hash is the lower half of XXH3, or the first four bytes of SHA-1 as a signed number;
//! - permutation `i` is `(a * h + b) mod 2^64 mod (2^61 - 1)`, of which the lower 32 bits count; `a` and `b` are drawn in
//!   turn by the 64-bit Mersenne Twister from the seed.

mod twister;

use std::fmt;
use std::str::FromStr;

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use xxhash_rust::xxh3::xxh3_64;

use crate::analyzer::Analyzer;
use twister::Twister;

/// 2^61 - 1.
const PRIME: u64 = (1 << 61) - 1;
/// Bytes of an element of a signature.
const ELEMENT: usize = 4;

/// What shingles are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hashed {
    /// The terms of an analyzer.
    #[default]
    Words,
    /// The bytes of the text in UTF-8, as they are.
    Bytes,
}

impl fmt::Display for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Words => "word",
            Self::Bytes => "char",
        })
    }
}

impl FromStr for Hashed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "word" => Ok(Self::Words),
            "char" | "character" => Ok(Self::Bytes),
            _ => Err(format!("unknown token_level: {text} (expected 'char' or 'word')")),
        }
    }
}

/// How a shingle becomes a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ShingleHash {
    /// XXH3.
    #[default]
    XxHash,
    /// SHA-1.
    Sha1,
}

impl fmt::Display for ShingleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::XxHash => "xxhash64",
            Self::Sha1 => "sha1",
        })
    }
}

impl FromStr for ShingleHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "xxhash" | "xxhash64" => Ok(Self::XxHash),
            "sha1" => Ok(Self::Sha1),
            _ => Err(format!(
                "unknown hash function: {text} (expected 'xxhash64' or 'sha1')"
            )),
        }
    }
}

impl ShingleHash {
    fn of(self, shingle: &[u8]) -> u64 {
        match self {
            Self::XxHash => xxh3_64(shingle) & u64::from(u32::MAX),
            Self::Sha1 => {
                let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, shingle);
                let first = hash.as_ref().first_chunk::<ELEMENT>().copied();
                // Widened with its sign, as Milvus does it.
                i64::from(i32::from_le_bytes(first.unwrap_or_default())).cast_unsigned()
            }
        }
    }
}

/// Makes signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinHashFunction {
    /// `a` and `b` of each permutation.
    permutations: Vec<(u64, u64)>,
    shingle: usize,
    hashed: Hashed,
    hash: ShingleHash,
}

impl MinHashFunction {
    /// Signatures of `hashes` elements over shingles of `shingle` words or bytes; both are at least 1.
    pub fn new(hashes: usize, shingle: usize, hashed: Hashed, hash: ShingleHash, seed: i64) -> Self {
        let mut random = Twister::new(seed.cast_unsigned());
        let mut draw = || {
            let (a, b) = (random.next(), random.next());
            (a % (PRIME - 1) + 1, b % PRIME)
        };
        Self {
            permutations: (0..hashes.max(1)).map(|_| draw()).collect(),
            shingle: shingle.max(1),
            hashed,
            hash,
        }
    }

    /// Bytes of a signature.
    pub fn signature_bytes(&self) -> usize {
        self.permutations.len() * ELEMENT
    }

    /// Appends the signature of a text to `out`, its elements as 32-bit little-endian numbers. `analyzer` makes the words.
    pub fn append(&self, analyzer: &Analyzer, text: &str, out: &mut Vec<u8>) {
        let hashes = self.hashes(analyzer, text);
        for &(a, b) in &self.permutations {
            let permuted = hashes.iter().map(|&hash| permuted(a, b, hash));
            let smallest = permuted.min().unwrap_or(u32::MAX);
            out.extend_from_slice(&smallest.to_le_bytes());
        }
    }

    /// The hashes of all shingles.
    fn hashes(&self, analyzer: &Analyzer, text: &str) -> Vec<u64> {
        match self.hashed {
            Hashed::Bytes => {
                let bytes = text.as_bytes();
                let shingle = self.shingle.min(bytes.len());
                match shingle {
                    0 => Vec::new(),
                    _ => bytes
                        .windows(shingle)
                        .map(|shingle| self.hash.of(shingle))
                        .collect(),
                }
            }
            Hashed::Words => {
                let tokens = analyzer.tokens(text);
                let shingle = self.shingle.min(tokens.len());
                if shingle == 0 {
                    return Vec::new();
                }
                let mut joined = Vec::new();
                let mut hash = |words: &[crate::Token]| {
                    joined.clear();
                    for word in words {
                        joined.extend_from_slice(word.text.as_bytes());
                    }
                    self.hash.of(&joined)
                };
                tokens.windows(shingle).map(&mut hash).collect()
            }
        }
    }
}

/// A permutation of a hash.
#[inline]
fn permuted(a: u64, b: u64, hash: u64) -> u32 {
    let product = a.wrapping_mul(hash).wrapping_add(b);
    let folded = (product & PRIME) + (product >> 61);
    let reduced = if folded >= PRIME { folded - PRIME } else { folded };
    (reduced & u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests;
