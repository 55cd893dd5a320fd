//! How two shapes lie to each other.
//!
//! The relations are those of the simple-features standard, read off the intersection matrix of the two shapes (DE-9IM:
//! Egenhofer and Franzosa, 1991): the boundary of a polygon is not inside of it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use geo::{BoundingRect, Geometry, Intersects, Relate, Validation};

use crate::Shape;

/// A question about two shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// Both are the same set of points.
    Equals,
    /// They meet, at their boundaries only.
    Touches,
    /// They are of the same dimension, as is what they share, and neither covers the other.
    Overlaps,
    /// Their insides meet, in less than the larger dimension of the two.
    Crosses,
    /// Nothing of the second is outside of the first, and their insides meet.
    Contains,
    /// They share a point.
    Intersects,
    /// The second contains the first.
    Within,
}

impl Relation {
    /// Every relation.
    pub const ALL: [Self; 7] = [
        Self::Equals,
        Self::Touches,
        Self::Overlaps,
        Self::Crosses,
        Self::Contains,
        Self::Intersects,
        Self::Within,
    ];

    /// Whether `a` stands in this relation to `b`; none when one of them is not valid, for then it has no inside to speak
    /// of. Shapes that are apart stand in no relation, valid or not.
    pub fn holds(self, a: &Shape, b: &Shape) -> Option<bool> {
        let apart = match (a.0.bounding_rect(), b.0.bounding_rect()) {
            (Some(a), Some(b)) => !a.intersects(&b),
            // one of them is empty
            (_, _) => true,
        };
        if apart {
            return Some(false);
        }
        if !a.0.is_valid() || !b.0.is_valid() {
            return None;
        }
        // The library has assertions that rounding could break for shapes which are all but invalid.
        catch_unwind(AssertUnwindSafe(|| self.of(&a.0, &b.0))).ok()
    }

    fn of(self, a: &Geometry<f64>, b: &Geometry<f64>) -> bool {
        let matrix = a.relate(b);
        match self {
            Self::Equals => matrix.is_equal_topo(),
            Self::Touches => matrix.is_touches(),
            Self::Overlaps => matrix.is_overlaps(),
            Self::Crosses => matrix.is_crosses(),
            Self::Contains => matrix.is_contains(),
            Self::Intersects => matrix.is_intersects(),
            Self::Within => matrix.is_within(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Relation::{self, Contains, Crosses, Equals, Intersects, Overlaps, Touches, Within};
    use crate::Shape;

    fn shape(text: &str) -> Shape {
        Shape::from_wkt(text).unwrap()
    }

    #[test]
    fn relations_are_those_of_the_standard() {
        let square = "POLYGON ((0 0, 4 0, 4 4, 0 4, 0 0))";
        let holed = "POLYGON ((0 0, 9 0, 9 9, 0 9, 0 0), (3 3, 6 3, 6 6, 3 6, 3 3))";
        for (a, b, expected) in [
            (square, "POINT (1 1)", &[Contains, Intersects][..]),
            ("POINT (1 1)", square, &[Within, Intersects]),
            (square, "POINT (0 1)", &[Touches, Intersects]),
            (square, "POINT (9 9)", &[]),
            (
                square,
                "POLYGON ((4 4, 0 4, 0 0, 4 0, 4 4))",
                &[Equals, Contains, Within, Intersects],
            ),
            (
                square,
                "POLYGON ((2 2, 6 2, 6 6, 2 6, 2 2))",
                &[Overlaps, Intersects],
            ),
            (
                square,
                "POLYGON ((4 0, 8 0, 8 4, 4 4, 4 0))",
                &[Touches, Intersects],
            ),
            (square, "POLYGON ((1 1, 2 1, 2 2, 1 1))", &[Contains, Intersects]),
            ("LINESTRING (-1 2, 9 2)", square, &[Crosses, Intersects]),
            (
                "LINESTRING (0 0, 2 2)",
                "LINESTRING (0 2, 2 0)",
                &[Crosses, Intersects],
            ),
            (
                "LINESTRING (0 0, 2 0)",
                "LINESTRING (1 0, 3 0)",
                &[Overlaps, Intersects],
            ),
            ("MULTIPOINT (1 1, 9 9)", square, &[Crosses, Intersects]),
            (holed, "POINT (4 4)", &[]),
            (holed, "POINT (3 4)", &[Touches, Intersects]),
            (
                "POINT (1 2)",
                "POINT (1 2)",
                &[Equals, Contains, Within, Intersects],
            ),
            (
                "GEOMETRYCOLLECTION (POINT (1 1), LINESTRING (0 0, 1 0))",
                "POINT (1 1)",
                &[Contains, Intersects],
            ),
            ("POLYGON EMPTY", square, &[]),
        ] {
            let found: Vec<Relation> = Relation::ALL
                .into_iter()
                .filter(|relation| relation.holds(&shape(a), &shape(b)) == Some(true))
                .collect();
            let mut expected = expected.to_vec();
            expected.sort_by_key(|relation| Relation::ALL.iter().position(|known| known == relation));
            assert_eq!(found, expected, "{a} and {b}");
        }
    }

    #[test]
    fn a_shape_that_is_not_valid_has_unknown_relations() {
        let bow_tie = shape("POLYGON ((0 0, 2 2, 2 0, 0 2, 0 0))");
        assert!(bow_tie.check().is_err());
        assert_eq!(Intersects.holds(&bow_tie, &shape("POINT (1 1)")), None);
        assert_eq!(Intersects.holds(&bow_tie, &shape("POINT (9 9)")), Some(false));
    }
}
