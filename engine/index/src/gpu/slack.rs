//! What a device's distances prove. The kernels add up in another order than the exact kernels of this crate, so their distances
//! differ in the last bits, and under L2, where a small difference comes out of large squares, in more than that. With `e` the
//! largest relative error of a sum, `X` the largest length of a row and `t` the device's distance to a row, its exact
//! distance is at least
//!
//! | comparison | at least |
//! |---|---|
//! | L2 | `t - e (q² + X²)` |
//! | L2 by differences | `t - e t` |
//! | IP | `t - e q X` |
//! | COSINE | `t - e` |
//!
//! Sums of integers and bits are whole numbers, so that a device's distances are exact, and what has the same distance comes in
//! the order of the rows on both sides.
//!
//! When the `k`-th of the exact distances among the candidates is below that for the bound beyond which the device passed rows
//! over, no row can be missing.

use super::backend::Comparison;

/// Squares below this can be added and multiplied without overflow.
const LARGE: f32 = 1e37;
/// Squared lengths below this have lost digits.
const LEAST_SQUARE: f32 = 1e-30;

/// How far a query's distances can be trusted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slack {
    relative: f32,
    absolute: f32,
    /// Distances are exact, and equal ones in the order of their rows.
    none: bool,
}

impl Slack {
    /// Of whole numbers.
    pub(crate) const NONE: Self = Self {
        relative: 0.0,
        absolute: 0.0,
        none: true,
    };

    /// Of a query of squared length `square`, over rows of squared lengths up to `largest`, of `dim` dimensions.
    pub(crate) fn new(comparison: Comparison, dim: usize, square: f32, largest: f32) -> Self {
        // Half an ulp for each rounding of the device's sum, and as many of the exact one and of the squared lengths.
        let error = 2.0 * (dim + 64) as f32 * f32::EPSILON;
        let tame = |square: f32| square < LARGE;
        let long_enough = square == 0.0 || square >= LEAST_SQUARE;
        let known = tame(square) && tame(largest) && (comparison != Comparison::Cosine || long_enough);
        if !known {
            return Self {
                relative: 0.0,
                absolute: f32::INFINITY,
                none: false,
            };
        }
        let (relative, absolute) = match comparison {
            Comparison::L2 => (0.0, error * (square + largest)),
            Comparison::L2Direct => (error, 0.0),
            Comparison::Ip => (0.0, error * square.sqrt() * largest.sqrt()),
            Comparison::Cosine => (0.0, error),
            // Of bits, which are counted exactly.
            Comparison::Hamming | Comparison::Jaccard => return Self::NONE,
        };
        Self {
            relative,
            absolute: absolute + f32::MIN_POSITIVE,
            none: false,
        }
    }

    /// Whether a row that the device puts at `bound` or farther is surely farther than `distance`.
    pub(crate) fn proves(&self, distance: f32, bound: f32) -> bool {
        if self.none {
            return distance <= bound;
        }
        distance < bound - bound.abs() * self.relative - self.absolute
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_proves_and_equality_does_not() {
        for comparison in [
            Comparison::L2,
            Comparison::L2Direct,
            Comparison::Ip,
            Comparison::Cosine,
        ] {
            let slack = Slack::new(comparison, 128, 1.0, 4.0);
            assert!(slack.proves(0.5, 0.6), "{comparison:?}");
            assert!(!slack.proves(0.5, 0.5), "{comparison:?}");
            assert!(!slack.proves(0.5, 0.500_001), "{comparison:?}");
            assert!(!slack.proves(f32::INFINITY, f32::INFINITY), "{comparison:?}");
        }
    }

    #[test]
    fn exact_distances_need_no_gap() {
        assert!(Slack::NONE.proves(2.0, 2.0) && !Slack::NONE.proves(2.5, 2.0));
    }

    #[test]
    fn nothing_is_proved_where_squares_overflow_or_vanish() {
        for (square, largest) in [(1e38, 1.0), (1.0, f32::NAN), (1.0, f32::INFINITY)] {
            let slack = Slack::new(Comparison::L2, 4, square, largest);
            assert!(!slack.proves(0.0, 1e30));
        }
        assert!(!Slack::new(Comparison::Cosine, 4, 1e-35, 1.0).proves(-1.0, 0.0));
    }
}
