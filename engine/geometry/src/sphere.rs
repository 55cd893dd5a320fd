//! Distances in metres on a sphere of the earth's mean radius, positions being degrees of longitude and latitude.
//!
//! A line between two positions is the shorter arc of the great circle through them. Positions are vectors from the middle of
//! the earth here, so that no longitude and no pole is a special case.

use geo::{Contains, Coord, CoordsIter, Distance, Geometry, Haversine, Line, LinesIter, Point};

use crate::Shape;

impl Shape {
    /// Metres from the shape to a point, 0 when the point is on or in it; none for an empty shape, or when `point` is none.
    /// A polygon has in it what it has on the plane.
    pub fn metres_to(&self, point: &Shape) -> Option<f64> {
        let Geometry::Point(point) = point.0 else {
            return None;
        };
        if has_inside(&self.0, point) {
            return Some(0.0);
        }
        let corners = self
            .0
            .coords_iter()
            .map(|corner| Haversine.distance(Point(corner), point));
        let mut metres = corners.reduce(f64::min)?;
        let to = vector(point.0);
        each_line(&self.0, &mut |line| {
            if let Some(angle) = angle_beside(line, to) {
                metres = metres.min(angle * Haversine.radius());
            }
        });
        Some(metres)
    }
}

/// Calls `visit` with every line of a shape.
pub(crate) fn each_line(shape: &Geometry<f64>, visit: &mut impl FnMut(Line<f64>)) {
    match shape {
        Geometry::Point(_) | Geometry::MultiPoint(_) => {}
        Geometry::Line(line) => visit(*line),
        Geometry::LineString(line) => line.lines().for_each(visit),
        Geometry::MultiLineString(lines) => lines.lines_iter().for_each(visit),
        Geometry::Polygon(polygon) => polygon.lines_iter().for_each(visit),
        Geometry::MultiPolygon(polygons) => polygons.lines_iter().for_each(visit),
        Geometry::Rect(rect) => rect.lines_iter().for_each(visit),
        Geometry::Triangle(triangle) => triangle.lines_iter().for_each(visit),
        Geometry::GeometryCollection(parts) => parts.iter().for_each(|part| each_line(part, visit)),
    }
}

/// Whether a point is inside of a polygon of the shape.
fn has_inside(shape: &Geometry<f64>, point: Point) -> bool {
    match shape {
        Geometry::Polygon(polygon) => polygon.contains(&point),
        Geometry::MultiPolygon(polygons) => polygons.iter().any(|polygon| polygon.contains(&point)),
        Geometry::Rect(rect) => rect.contains(&point),
        Geometry::Triangle(triangle) => triangle.contains(&point),
        Geometry::GeometryCollection(parts) => parts.iter().any(|part| has_inside(part, point)),
        Geometry::Point(_)
        | Geometry::MultiPoint(_)
        | Geometry::Line(_)
        | Geometry::LineString(_)
        | Geometry::MultiLineString(_) => false,
    }
}

type Vector = [f64; 3];

/// A position as the vector of length 1 that points to it.
fn vector(position: Coord<f64>) -> Vector {
    let (longitude, latitude) = (position.x.to_radians(), position.y.to_radians());
    [
        latitude.cos() * longitude.cos(),
        latitude.cos() * longitude.sin(),
        latitude.sin(),
    ]
}

fn minus([a, b, c]: Vector, [x, y, z]: Vector) -> Vector {
    [a - x, b - y, c - z]
}

fn dot([a, b, c]: Vector, [x, y, z]: Vector) -> f64 {
    a * x + b * y + c * z
}

fn cross([a, b, c]: Vector, [x, y, z]: Vector) -> Vector {
    [b * z - c * y, c * x - a * z, a * y - b * x]
}

/// The angle between a point and an arc; none where one of the arc's ends is the nearest of it.
fn angle_beside(line: Line<f64>, to: Vector) -> Option<f64> {
    let (start, end) = (vector(line.start), vector(line.end));
    // Of differences, so that little is lost to rounding when all three are close together.
    let normal = cross(start, minus(end, start));
    let is_beside = dot(cross(normal, start), to) > 0.0 && dot(cross(end, normal), to) > 0.0;
    let length = dot(normal, normal).sqrt();
    let sine = dot(minus(to, start), normal).abs() / length;
    (is_beside && sine.is_finite()).then(|| sine.min(1.0).asin())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shape(text: &str) -> Shape {
        Shape::from_wkt(text).unwrap()
    }

    #[test]
    fn distances_are_metres_on_the_sphere() {
        let degree = 6_371_008.8_f64.to_radians();
        for (a, point, expected) in [
            ("POINT (0 0)", "POINT (1 0)", degree),
            ("POINT (10 60)", "POINT (10 61)", degree),
            ("POINT (179.5 0)", "POINT (-179.5 0)", degree),
            ("LINESTRING (0 0, 2 0)", "POINT (1 1)", degree),
            ("LINESTRING (0 0, 2 0)", "POINT (3 0)", degree),
            ("POLYGON ((0 0, 4 0, 4 4, 0 4, 0 0))", "POINT (1 1)", 0.0),
            ("POLYGON ((0 0, 4 0, 4 4, 0 4, 0 0))", "POINT (2 -1)", degree),
            ("MULTIPOINT (5 5, 0 1)", "POINT (0 0)", degree),
            (
                "GEOMETRYCOLLECTION (POINT (40 40), LINESTRING (0 1, 0 3))",
                "POINT (0 0)",
                degree,
            ),
            ("LINESTRING (0 1, 0 1)", "POINT (0 0)", degree),
        ] {
            let metres = shape(a).metres_to(&shape(point)).unwrap();
            assert!(
                (metres - expected).abs() < 0.5,
                "{a} to {point}: {metres}, not {expected}"
            );
        }
        assert_eq!(shape("LINESTRING EMPTY").metres_to(&shape("POINT (0 0)")), None);
        assert_eq!(
            shape("POINT (0 0)").metres_to(&shape("LINESTRING (0 0, 1 1)")),
            None
        );
    }

    /// A place on an arc, a share of the angle from its start.
    fn on_arc(a: Vector, b: Vector, share: f64) -> Vector {
        let angle = dot(a, b).clamp(-1.0, 1.0).acos();
        let weight = |share: f64| (share * angle).sin() / angle.sin();
        let (of_a, of_b) = (weight(1.0 - share), weight(share));
        [0, 1, 2].map(|at| of_a * a[at] + of_b * b[at])
    }

    proptest! {
        #[test]
        fn the_distance_to_an_arc_is_that_to_the_nearest_of_many_places_on_it(
            start in (-180.0..180.0, -90.0..90.0),
            end in (-180.0..180.0, -90.0..90.0),
            point in (-180.0..180.0, -90.0..90.0),
        ) {
            let (a, b) = (vector(start.into()), vector(end.into()));
            prop_assume!(dot(a, b).abs() < 0.999);
            let to = vector(point.into());
            let steps = 2_000;
            let angles = (0..=steps).map(|step| {
                let chord = minus(on_arc(a, b, f64::from(step) / f64::from(steps)), to);
                2.0 * (dot(chord, chord).sqrt() / 2.0).min(1.0).asin()
            });
            let nearest = angles.fold(f64::INFINITY, f64::min) * Haversine.radius();
            let line = Shape(Geometry::Line(Line::new(start, end)));
            let metres = line.metres_to(&Shape(Geometry::Point(point.into()))).unwrap();
            // Between two of the places are at most 10 km.
            prop_assert!(metres <= nearest + 1.0 && metres >= nearest - 5_000.0, "{} and {}", metres, nearest);
        }
    }
}
