//! The metrics of all kinds of vectors: those of numbers ([`Metric`]), those of bits ([`BitMetric`]), and that of texts.

use std::fmt;
use std::str::FromStr;

use crate::error::ParamError;
use crate::kernels::bits;
use crate::metric::Metric;
use crate::minhash::MinHash;

/// A metric of bit vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BitMetric {
    /// Bits that differ.
    Hamming,
    /// `1 - both / either`; 1 when no bit is set in either (as Faiss and pgvector have it).
    Jaccard,
    /// Of MinHash signatures; the distance is `-similarity`, -1 to 0.
    MinHash(MinHash),
}

impl BitMetric {
    /// Distance of two vectors of equal length; the longer one is cut to the shorter.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a count of bits is at most 2^18 in a vector of the largest dimension, and rounded above 2^24"
    )]
    pub fn distance(self, a: &[u8], b: &[u8]) -> f32 {
        match self {
            Self::Hamming => bits::differing(a, b) as f32,
            Self::Jaccard => bits::meeting(a, b).jaccard(),
            Self::MinHash(metric) => metric.distance(a, b),
        }
    }
}

/// A metric of the elements of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ElementMetric {
    /// Of vectors of numbers.
    Numbers(Metric),
    /// Of bit vectors.
    Bits(BitMetric),
}

impl ElementMetric {
    /// The same metric of vectors that are no elements.
    pub fn of_vectors(self) -> AnyMetric {
        match self {
            Self::Numbers(metric) => AnyMetric::Numbers(metric),
            Self::Bits(metric) => AnyMetric::Bits(metric),
        }
    }
}

/// A metric of any kind of vector. A distance is always *smaller is better*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AnyMetric {
    /// Of vectors of numbers, dense or sparse.
    Numbers(Metric),
    /// Of bit vectors.
    Bits(BitMetric),
    /// Of lists of vectors, see [`crate::typed::VectorLists`]: the sum, over the vectors of the query, of the distance to the
    /// nearest vector of the row.
    MaxSim(ElementMetric),
    /// Of texts whose terms are counted in sparse vectors, see [`crate::typed::Bm25`]; the distance is `-score`.
    Bm25,
}

impl AnyMetric {
    const ALL: [Self; 12] = [
        Self::Numbers(Metric::L2),
        Self::Numbers(Metric::Ip),
        Self::Numbers(Metric::Cosine),
        Self::Bits(BitMetric::Hamming),
        Self::Bits(BitMetric::Jaccard),
        Self::Bits(BitMetric::MinHash(MinHash::EIGHT_BITS)),
        Self::Bm25,
        Self::MaxSim(ElementMetric::Numbers(Metric::Cosine)),
        Self::MaxSim(ElementMetric::Numbers(Metric::Ip)),
        Self::MaxSim(ElementMetric::Numbers(Metric::L2)),
        Self::MaxSim(ElementMetric::Bits(BitMetric::Hamming)),
        Self::MaxSim(ElementMetric::Bits(BitMetric::Jaccard)),
    ];

    /// The number shown to clients, see [`Metric::score`]; the distance itself for bits, but for
    /// signatures.
    #[inline]
    pub fn score(self, distance: f32) -> f32 {
        match self {
            Self::Numbers(metric) => metric.score(distance),
            Self::Bits(BitMetric::Hamming | BitMetric::Jaccard) => distance,
            Self::Bm25 | Self::Bits(BitMetric::MinHash(_)) => Metric::Ip.score(distance),
            Self::MaxSim(metric) => metric.of_vectors().score(distance),
        }
    }

    /// How signatures are compared, when it is a metric of them.
    pub fn minhash(self) -> Option<MinHash> {
        match self {
            Self::Bits(BitMetric::MinHash(metric)) => Some(metric),
            Self::Bits(BitMetric::Hamming | BitMetric::Jaccard)
            | Self::Numbers(_)
            | Self::MaxSim(_)
            | Self::Bm25 => None,
        }
    }

    /// Whether a larger [`AnyMetric::score`] means a better match.
    pub fn larger_is_better(self) -> bool {
        match self {
            Self::Numbers(metric) => metric.larger_is_better(),
            Self::Bits(BitMetric::Hamming | BitMetric::Jaccard) => false,
            Self::Bm25 | Self::Bits(BitMetric::MinHash(_)) => true,
            Self::MaxSim(metric) => metric.of_vectors().larger_is_better(),
        }
    }
}

impl From<Metric> for AnyMetric {
    fn from(metric: Metric) -> Self {
        Self::Numbers(metric)
    }
}

impl From<BitMetric> for AnyMetric {
    fn from(metric: BitMetric) -> Self {
        Self::Bits(metric)
    }
}

impl From<MinHash> for AnyMetric {
    fn from(metric: MinHash) -> Self {
        Self::Bits(BitMetric::MinHash(metric))
    }
}

impl PartialEq<Metric> for AnyMetric {
    fn eq(&self, other: &Metric) -> bool {
        *self == Self::Numbers(*other)
    }
}

impl PartialEq<AnyMetric> for Metric {
    fn eq(&self, other: &AnyMetric) -> bool {
        other == self
    }
}

impl fmt::Display for AnyMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbers(metric) => metric.fmt(f),
            Self::Bits(BitMetric::Hamming) => f.write_str("HAMMING"),
            Self::Bits(BitMetric::Jaccard) => f.write_str("JACCARD"),
            Self::Bits(BitMetric::MinHash(_)) => f.write_str("MHJACCARD"),
            Self::Bm25 => f.write_str("BM25"),
            Self::MaxSim(metric) => write!(f, "MAX_SIM_{}", metric.of_vectors()),
        }
    }
}

impl FromStr for AnyMetric {
    type Err = ParamError;

    fn from_str(text: &str) -> Result<Self, ParamError> {
        if text.eq_ignore_ascii_case("MAX_SIM") {
            return Ok(Self::MaxSim(ElementMetric::Numbers(Metric::Cosine)));
        }
        Self::ALL
            .into_iter()
            .find(|metric| metric.to_string().eq_ignore_ascii_case(text))
            .ok_or_else(|| ParamError::UnknownMetricOfAny {
                given: text.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_read_back_from_its_name() {
        for metric in AnyMetric::ALL {
            assert_eq!(metric.to_string().to_lowercase().parse(), Ok(metric));
        }
        let max_sim = AnyMetric::MaxSim(ElementMetric::Numbers(Metric::Cosine));
        assert_eq!("max_sim".parse(), Ok(max_sim));
        let error = "DTW".parse::<AnyMetric>().unwrap_err().to_string();
        assert_eq!(
            error,
            "metric type not found or not supported: DTW, supported: [L2 IP COSINE HAMMING JACCARD MHJACCARD BM25 MAX_SIM \
             MAX_SIM_COSINE MAX_SIM_IP MAX_SIM_L2 MAX_SIM_HAMMING MAX_SIM_JACCARD]"
        );
    }

    #[test]
    fn bit_distances_are_those_of_faiss() {
        let (a, b) = ([0b1100_0000], [0b1010_0000]);
        assert_eq!(BitMetric::Hamming.distance(&a, &b), 2.0);
        assert!((BitMetric::Jaccard.distance(&a, &b) - 2.0 / 3.0).abs() < 1e-7);
        assert_eq!(BitMetric::Jaccard.distance(&[0], &[0]), 1.0);
        assert_eq!(BitMetric::Jaccard.distance(&a, &a), 0.0);
    }
}
