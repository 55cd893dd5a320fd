//! BM25 (Robertson and Zaragoza, 2009): how well a text answers a query, from counts of terms alone.
//!
//! A row is a sparse vector that counts its terms, and its length is the sum of the counts. A query is a sparse vector of
//! term weights: the inverse document frequency ([`idf`]) of the term, times how often the query has it.
//!
//! ```text
//!   score = sum over the terms of the query:  weight * tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / mean_length))
//! ```

use super::SparseVector;

/// `k1` unless an index says otherwise.
pub const DEFAULT_K1: f32 = 1.2;
/// `b` unless an index says otherwise.
pub const DEFAULT_B: f32 = 0.75;

/// How the count of a term in a row counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bm25 {
    /// How soon further occurrences of a term stop to matter; 0: the first one says all.
    pub k1: f32,
    /// How much the length of a row matters, 0 (not at all) to 1.
    pub b: f32,
    /// Mean length of all rows.
    pub mean_length: f64,
}

impl Bm25 {
    /// `k1 * (1 - b + b * length / mean_length)` of a row.
    #[inline]
    pub(crate) fn norm(&self, length: f64) -> f64 {
        let (k1, b) = (f64::from(self.k1), f64::from(self.b));
        let relative = if self.mean_length > 0.0 {
            length / self.mean_length
        } else {
            1.0
        };
        k1 * (1.0 - b + b * relative)
    }

    /// What a term with this count adds to the score of a row with this norm, for a weight of 1.
    #[inline]
    pub(crate) fn saturated(&self, count: f64, norm: f64) -> f64 {
        if count > 0.0 {
            count * (f64::from(self.k1) + 1.0) / (count + norm)
        } else {
            0.0
        }
    }
}

/// Weights of the terms of a query, and how counts count.
#[derive(Debug, Clone, Copy)]
pub struct Bm25Query<'a> {
    /// A weight for each term, ascending by term.
    pub weights: SparseVector<'a>,
    /// How counts count.
    pub bm25: Bm25,
}

impl Bm25Query<'_> {
    /// The score of a row of counts.
    pub fn score(&self, counts: SparseVector<'_>) -> f64 {
        let length: f64 = counts.values().iter().map(|count| f64::from(*count)).sum();
        let norm = self.bm25.norm(length);
        let (terms, mut place, mut sum) = (counts.indices(), 0, 0.0);
        for (term, weight) in self.weights.indices().iter().zip(self.weights.values()) {
            // A query has few terms, a row may have many.
            let rest = terms.get(place..).unwrap_or_default();
            place += rest.partition_point(|other| other < term);
            if let Some((found, count)) = counts.get(place)
                && found == *term
            {
                sum += f64::from(*weight) * self.bm25.saturated(f64::from(count), norm);
            }
        }
        sum
    }
}

/// Inverse document frequency of a term that `with_term` of `rows` rows have: never negative.
#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
pub fn idf(rows: u64, with_term: u64) -> f64 {
    let (all, with) = (rows as f64, with_term.min(rows) as f64);
    ((all - with + 0.5) / (with + 0.5)).ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_is_the_formula() {
        let bm25 = Bm25 {
            k1: 1.2,
            b: 0.75,
            mean_length: 4.0,
        };
        let query = Bm25Query {
            weights: SparseVector::new(&[2, 5, 9], &[0.5, 1.0, 2.0]).unwrap(),
            bm25,
        };
        // Terms 2 and 9 are there, twice and once; the row has 6 words.
        let counts = SparseVector::new(&[2, 3, 9], &[2.0, 3.0, 1.0]).unwrap();
        let norm = 1.2 * (0.25 + 0.75 * 6.0 / 4.0);
        let expected = 0.5 * 2.0 * 2.2 / (2.0 + norm) + 2.0 * 2.2 / (1.0 + norm);
        assert!((query.score(counts) - expected).abs() < 1e-6);
        assert_eq!(query.score(SparseVector::empty()), 0.0);
    }

    #[test]
    fn rare_terms_weigh_more_and_none_is_negative() {
        assert!((idf(10, 1) - (9.5f64 / 1.5 + 1.0).ln()).abs() < 1e-12);
        assert!(idf(10, 1) > idf(10, 5) && idf(10, 10) > 0.0);
        assert!(idf(0, 0).is_finite() && idf(3, 9).is_finite());
    }

    #[test]
    fn no_saturation_and_no_length_are_whole_counts() {
        let bm25 = Bm25 {
            k1: 0.0,
            b: 0.0,
            mean_length: 0.0,
        };
        assert_eq!(bm25.saturated(3.0, bm25.norm(7.0)), 1.0);
        assert_eq!(bm25.saturated(0.0, bm25.norm(7.0)), 0.0);
    }
}
