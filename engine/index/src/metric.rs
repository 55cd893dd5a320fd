//! Metrics: how far two vectors are apart, and how that is shown to clients.

use std::fmt;
use std::str::FromStr;

use crate::error::ParamError;
use crate::kernels::kernels;

/// A vector metric. Inside the engine a distance is always *smaller is better*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Metric {
    /// Squared Euclidean distance.
    L2,
    /// Inner product; the distance is `-dot`.
    Ip,
    /// Cosine similarity; the distance is `-cos`, and `cos = 0` with a zero vector.
    Cosine,
}

impl Metric {
    /// The number shown to clients: the squared distance for L2, the similarity for the others.
    #[inline]
    pub fn score(self, distance: f32) -> f32 {
        match self {
            Self::L2 => distance,
            // `0 - d` rather than `-d`: a similarity of zero is never shown as `-0`.
            Self::Ip | Self::Cosine => 0.0 - distance,
        }
    }

    /// Whether a larger [`Metric::score`] means a better match.
    #[inline]
    pub fn larger_is_better(self) -> bool {
        match self {
            Self::L2 => false,
            Self::Ip | Self::Cosine => true,
        }
    }

    /// Distance of two vectors of equal length; the longer one is cut to the shorter.
    pub fn distance(self, a: &[f32], b: &[f32]) -> f32 {
        let kernels = kernels();
        let shared = a.len().min(b.len());
        let (a, b) = (a.get(..shared).unwrap_or(a), b.get(..shared).unwrap_or(b));
        match self {
            Self::L2 => kernels.l2(a, b),
            Self::Ip => ip_distance(kernels.dot(a, b)),
            Self::Cosine => {
                let (dot, square) = kernels.dot_square(a, b);
                cosine_distance(dot, inverse_norm(kernels.dot(a, a)), inverse_norm(square))
            }
        }
    }
}

/// `-dot`, never `-0.0`; sums that overflowed both ways (NaN) are worst.
#[inline]
pub(crate) fn ip_distance(dot: f32) -> f32 {
    if dot.is_nan() { f32::INFINITY } else { 0.0 - dot }
}

/// `-cos` from a dot product and both inverse norms, kept in `[-1, 1]`.
#[inline]
pub(crate) fn cosine_distance(dot: f32, inverse_a: f32, inverse_b: f32) -> f32 {
    let cosine = dot * inverse_a * inverse_b;
    if cosine.is_nan() {
        0.0
    } else {
        0.0 - cosine.clamp(-1.0, 1.0)
    }
}

/// `1 / |v|` from `v . v`; 0 for the zero vector, which makes every cosine with it 0.
#[inline]
pub(crate) fn inverse_norm(square: f32) -> f32 {
    if square > 0.0 { square.sqrt().recip() } else { 0.0 }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::L2 => "L2",
            Self::Ip => "IP",
            Self::Cosine => "COSINE",
        })
    }
}

impl FromStr for Metric {
    type Err = ParamError;

    fn from_str(text: &str) -> Result<Self, ParamError> {
        [Self::L2, Self::Ip, Self::Cosine]
            .into_iter()
            .find(|metric| metric.to_string().eq_ignore_ascii_case(text))
            .ok_or_else(|| ParamError::UnknownMetric {
                given: text.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_in_any_case_and_print_in_capitals() {
        for (text, metric) in [("l2", Metric::L2), ("Ip", Metric::Ip), ("cosine", Metric::Cosine)] {
            assert_eq!(text.parse(), Ok(metric));
            assert_eq!(metric.to_string(), text.to_uppercase());
        }
        let error = "HAMMING".parse::<Metric>().unwrap_err().to_string();
        assert_eq!(
            error,
            "metric type not found or not supported: HAMMING, supported: [L2 IP COSINE]"
        );
    }

    #[test]
    fn distances_are_smaller_for_better_matches_and_scores_are_the_clients_numbers() {
        let (a, b) = ([3.0, 4.0], [3.0, 0.0]);
        assert_eq!(Metric::L2.distance(&a, &b), 16.0);
        assert_eq!(Metric::Ip.distance(&a, &b), -9.0);
        assert!((Metric::Cosine.distance(&a, &b) + 0.6).abs() < 1e-6);
        assert_eq!(Metric::Ip.score(-9.0), 9.0);
        assert_eq!(Metric::L2.score(16.0), 16.0);
    }

    #[test]
    fn a_zero_vector_has_cosine_zero_and_no_negative_zero_is_shown() {
        let distance = Metric::Cosine.distance(&[0.0, 0.0], &[1.0, 2.0]);
        assert_eq!(distance.to_bits(), 0.0f32.to_bits());
        assert_eq!(Metric::Cosine.score(distance).to_bits(), 0.0f32.to_bits());
        assert_eq!(Metric::Ip.distance(&[0.0], &[1.0]).to_bits(), 0.0f32.to_bits());
    }

    #[test]
    fn overflow_never_gives_nan() {
        let (a, b) = ([f32::MAX, f32::MAX], [f32::MAX, -f32::MAX]);
        for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
            assert!(!metric.distance(&a, &b).is_nan(), "{metric}");
        }
    }
}
