//! Which shapes may lie near a point, told from the rectangle around them.
//!
//! Near is meant on the sphere ([`Shape::metres_to`]), where a line between two positions is an arc of a great circle: off
//! the equator it bulges towards the pole, out of the rectangle around its ends.
//!
//! ```text
//!        .- ~ ~ - .         no point of the arc is further from the nearer end than half of its length:
//!      o-----------o        so much wider, to the north and to the south, the rectangle has the whole arc
//!      └── bounds ─┘
//! ```
//!
//! An arc never leaves the longitudes between its ends, as long as they are less than half of a turn apart.

use geo::{BoundingRect, CoordsIter, Distance, Geometry, Haversine, Line};

use crate::Shape;
use crate::sphere::each_line;

/// Arcs of which half is longer than this many degrees are not reckoned with: what has one may be anywhere.
const LONGEST_HALF: f64 = 5.0;
/// Ends this many degrees of longitude apart may be joined over a pole, or on the other side of the earth.
const WIDEST: f64 = 170.0;
/// Degrees that distances may be wrong by where they are computed: about a metre, and far more than it is.
const MARGIN: f64 = 1e-5;

impl Shape {
    /// The smallest rectangle around the shape: its lower and its upper corner; none around an empty one.
    pub fn bounds(&self) -> Option<([f64; 2], [f64; 2])> {
        let rect = self.0.bounding_rect()?;
        let (min, max) = (rect.min(), rect.max());
        Some(([min.x, min.y], [max.x, max.y]))
    }

    /// Degrees by which the shape's lines may leave its rectangle, to the north and to the south, when they are drawn on
    /// the sphere. Infinite for a shape that may be anywhere: with longer lines, or positions that are no degrees of
    /// longitude and latitude.
    pub fn bulge(&self) -> f64 {
        let on_earth = |x: f64, y: f64| x.abs() <= 180.0 && y.abs() <= 90.0;
        if !self.0.coords_iter().all(|corner| on_earth(corner.x, corner.y)) {
            return f64::INFINITY;
        }
        let mut bulge: f64 = 0.0;
        each_line(&self.0, &mut |line| bulge = bulge.max(half_length(line)));
        bulge
    }
}

/// Half of the length of an arc in degrees.
fn half_length(line: Line<f64>) -> f64 {
    if line.dx().abs() > WIDEST {
        return f64::INFINITY;
    }
    let metres = Haversine.distance(line.start_point(), line.end_point());
    let half = degrees(metres) / 2.0;
    // Rounding may leave no number of the distance of two ends that are half of the earth apart.
    if half <= LONGEST_HALF { half } else { f64::INFINITY }
}

fn degrees(metres: f64) -> f64 {
    (metres / Haversine.radius()).to_degrees()
}

/// The part of the earth within so many metres of a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Surroundings {
    longitude: f64,
    latitude: f64,
    /// Degrees of a great circle from the point to the rim.
    radius: f64,
    /// Degrees of longitude from the point to the easternmost position.
    half_width: f64,
}

impl Surroundings {
    /// What is within `metres` of a point; none when `point` is no point on the earth, or the distance is none.
    pub fn of(point: &Shape, metres: f64) -> Option<Self> {
        let Geometry::Point(point) = point.0 else {
            return None;
        };
        let latitude = point.y();
        if latitude.abs() > 90.0 || metres.is_nan() || metres < 0.0 {
            return None;
        }
        let radius = degrees(metres) + MARGIN;
        let half_width = if latitude.abs() + radius >= 90.0 {
            // There is a pole in it, where all longitudes meet.
            180.0
        } else {
            let sine = radius.to_radians().sin() / latitude.to_radians().cos();
            sine.min(1.0).asin().to_degrees() + MARGIN
        };
        Some(Self {
            longitude: (point.x() + 180.0).rem_euclid(360.0) - 180.0,
            latitude,
            radius,
            half_width,
        })
    }

    /// Whether a shape of these [`Shape::bounds`] and this [`Shape::bulge`] may be in here. False is certain.
    pub fn may_have(&self, (min, max): ([f64; 2], [f64; 2]), bulge: f64) -> bool {
        if bulge.is_infinite() {
            return true;
        }
        let ([west, south], [east, north]) = (min, max);
        let latitudes =
            self.latitude + self.radius >= south - bulge && self.latitude - self.radius <= north + bulge;
        latitudes
            && [-360.0, 0.0, 360.0].into_iter().any(|turn| {
                let here = self.longitude + turn;
                here + self.half_width >= west && here - self.half_width <= east
            })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shape(text: &str) -> Shape {
        Shape::from_wkt(text).unwrap()
    }

    fn may_be_near(text: &str, point: &str, metres: f64) -> bool {
        let (shape, around) = (shape(text), Surroundings::of(&shape(point), metres).unwrap());
        around.may_have(shape.bounds().unwrap(), shape.bulge())
    }

    #[test]
    fn far_shapes_are_told_from_near_ones() {
        for (text, point, metres, expected) in [
            ("POINT (1 0)", "POINT (0 0)", 112_000.0, true),
            ("POINT (1 0)", "POINT (0 0)", 110_000.0, false),
            ("POINT (179.9 10)", "POINT (-179.9 10)", 30_000.0, true),
            ("POINT (179.9 10)", "POINT (180.1 10)", 30_000.0, true),
            ("POINT (179.9 10)", "POINT (-179.9 10)", 20_000.0, false),
            ("POINT (90 89.9)", "POINT (-90 89.9)", 23_000.0, true),
            ("POINT (90 89.9)", "POINT (-90 89)", 23_000.0, false),
            ("POINT (0 60)", "POINT (1 60)", 56_000.0, true),
            ("POINT (0 60)", "POINT (1 60)", 55_000.0, false),
            // it bulges by a twentieth of a degree
            ("LINESTRING (-3 60, 3 60)", "POINT (0 60.1)", 6_000.0, true),
            ("LINESTRING (-3 60, 3 60)", "POINT (0 64)", 6_000.0, false),
            ("LINESTRING (179 0, -179 0)", "POINT (180 0)", 1.0, true),
            ("POINT (500 0)", "POINT (0 0)", 1.0, true),
        ] {
            assert_eq!(
                may_be_near(text, point, metres),
                expected,
                "{text} {point} {metres}"
            );
        }
        assert_eq!(Surroundings::of(&shape("POINT (0 91)"), 1.0), None);
        assert_eq!(Surroundings::of(&shape("POINT (0 0)"), f64::NAN), None);
        assert_eq!(Surroundings::of(&shape("LINESTRING (0 0, 1 1)"), 1.0), None);
    }

    /// Positions all over the earth, many of them where its ends meet, and some beyond.
    fn position() -> impl Strategy<Value = (f64, f64)> {
        let longitude = prop_oneof![
            4 => -180.0..180.0,
            2 => prop::sample::select(vec![-180.0, 180.0, 0.0, 90.0, -179.9, 179.9]),
            1 => -400.0..400.0,
        ];
        let latitude = prop_oneof![
            4 => -90.0..90.0,
            2 => prop::sample::select(vec![-90.0, 90.0, 0.0, 89.9, -89.9, 60.0]),
        ];
        (longitude, latitude)
    }

    /// Shapes from a point to a whole continent.
    fn any_shape() -> impl Strategy<Value = String> {
        let corners = prop::collection::vec((-1.0..1.0, -1.0..1.0), 1..5);
        let size = prop::sample::select(vec![0.01, 0.5, 3.0, 40.0, 170.0]);
        (position(), corners, size, 0..4).prop_map(|((x, y), corners, size, kind)| {
            let written: Vec<String> = corners
                .iter()
                .map(|(dx, dy)| {
                    let y: f64 = y + dy * size / 2.0;
                    format!("{} {}", x + dx * size, y.clamp(-90.0, 90.0))
                })
                .collect();
            let (all, first) = (written.join(", "), &written[0]);
            match kind {
                0 => format!("POINT ({first})"),
                1 => format!("MULTIPOINT ({all})"),
                2 => format!("LINESTRING ({all}, {first})"),
                _ => format!("POLYGON (({all}, {first}, {first}, {first}))"),
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

        #[test]
        fn no_shape_that_is_near_is_told_to_be_far(text in any_shape(), point in position(), share in 0.0f64..1.5) {
            let shape = shape(&text);
            let point = Shape::from_wkt(&format!("POINT ({} {})", point.0, point.1)).unwrap();
            let Some(away) = shape.metres_to(&point).filter(|away| away.is_finite()) else {
                return Ok(());
            };
            // Right at the distance, and around it.
            for metres in [away, away * (1.0 + share)] {
                let around = Surroundings::of(&point, metres).unwrap();
                prop_assert!(around.may_have(shape.bounds().unwrap(), shape.bulge()), "{} is {} from {}", text, away, point.to_wkt());
            }
        }
    }
}
