//! Well-known text.
//!
//! ```text
//!   shape    = WORD ( "EMPTY" | "(" item { "," item } ")" )     what an item is depends on the word
//!   position = number number
//! ```

use std::fmt::Write;

use geo::{
    Coord, Geometry, GeometryCollection, LineString, MultiLineString, MultiPoint, MultiPolygon, Point,
    Polygon,
};

use crate::ShapeError;
use crate::build::{self, Result};

const WORDS: &str =
    "POINT, LINESTRING, POLYGON, MULTIPOINT, MULTILINESTRING, MULTIPOLYGON or GEOMETRYCOLLECTION";

pub(crate) fn read(text: &str) -> Result<Geometry<f64>> {
    let mut reader = Reader { text, at: 0 };
    let shape = reader.shape(0)?;
    if reader.rest().is_empty() {
        return Ok(shape);
    }
    Err(reader.expected("the end"))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn shape(&mut self, depth: u32) -> Result<Geometry<f64>> {
        build::depth(depth)?;
        let before = self.at;
        let word = self.word().to_ascii_uppercase();
        Ok(match word.as_str() {
            "POINT" => {
                let [position] = self.positions()?.try_into().map_err(|_| {
                    ShapeError::new("a point has exactly one position; an empty one has no place")
                })?;
                Point(position).into()
            }
            "LINESTRING" => build::line(self.positions()?)?.into(),
            "POLYGON" => build::polygon(self.items(Self::positions)?)?.into(),
            "MULTIPOINT" => MultiPoint(self.items(Self::member_point)?).into(),
            "MULTILINESTRING" => {
                MultiLineString(self.items(|reader| build::line(reader.positions()?))?).into()
            }
            "MULTIPOLYGON" => {
                let polygon = |reader: &mut Self| build::polygon(reader.items(Self::positions)?);
                MultiPolygon(self.items(polygon)?).into()
            }
            "GEOMETRYCOLLECTION" => Geometry::GeometryCollection(GeometryCollection(
                self.items(|reader| reader.shape(depth + 1))?,
            )),
            _ => {
                self.at = before;
                return Err(self.expected(WORDS));
            }
        })
    }

    /// `EMPTY`, or items in parentheses.
    fn items<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let before = self.at;
        let word = self.word();
        if word.eq_ignore_ascii_case("EMPTY") {
            return Ok(Vec::new());
        }
        if ["Z", "M", "ZM"]
            .iter()
            .any(|more| word.eq_ignore_ascii_case(more))
        {
            return Err(more_coordinates());
        }
        self.at = before;
        if !self.take('(') {
            return Err(self.expected("'(' or EMPTY"));
        }
        let mut items = vec![item(self)?];
        while self.take(',') {
            items.push(item(self)?);
        }
        if !self.take(')') {
            return Err(self.expected("',' or ')'"));
        }
        Ok(items)
    }

    fn positions(&mut self) -> Result<Vec<Coord<f64>>> {
        self.items(Self::position)
    }

    fn position(&mut self) -> Result<Coord<f64>> {
        let (x, y) = (self.number()?, self.number()?);
        if self.rest().starts_with(is_of_number) {
            return Err(more_coordinates());
        }
        build::position(x, y)
    }

    /// A point among others may be in parentheses of its own or not.
    fn member_point(&mut self) -> Result<Point<f64>> {
        if !self.take('(') {
            return self.position().map(Point);
        }
        let position = self.position()?;
        if !self.take(')') {
            return Err(self.expected("')'"));
        }
        Ok(Point(position))
    }

    fn number(&mut self) -> Result<f64> {
        let rest = self.rest();
        let length = rest.find(|c| !is_of_number(c)).unwrap_or(rest.len());
        let digits = rest.get(..length).unwrap_or_default();
        let Ok(number) = digits.parse() else {
            return Err(self.expected("a number"));
        };
        self.at += length;
        Ok(number)
    }

    /// The letters that come next, perhaps none.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let length = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn take(&mut self, symbol: char) -> bool {
        let found = self.rest().starts_with(symbol);
        if found {
            self.at += symbol.len_utf8();
        }
        found
    }

    /// What is left after blanks.
    fn rest(&mut self) -> &'a str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let trimmed = rest.trim_ascii_start();
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    fn expected(&mut self, what: &str) -> ShapeError {
        let found = self
            .rest()
            .chars()
            .next()
            .map_or("the end".to_owned(), |c| format!("{c:?}"));
        ShapeError::new(format!("expected {what} at byte {}, found {found}", self.at))
    }
}

fn is_of_number(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E')
}

fn more_coordinates() -> ShapeError {
    ShapeError::new("not supported: positions of more than two coordinates")
}

pub(crate) fn write(shape: &Geometry<f64>) -> String {
    let mut out = String::new();
    write_shape(shape, &mut out);
    out
}

fn write_shape(shape: &Geometry<f64>, out: &mut String) {
    match shape {
        Geometry::Point(point) => {
            out.push_str("POINT ");
            list(out, [point], |point, out| write_position(&point.0, out));
        }
        Geometry::LineString(line) => {
            out.push_str("LINESTRING ");
            write_line(line, out);
        }
        Geometry::Polygon(polygon) => {
            out.push_str("POLYGON ");
            write_polygon(polygon, out);
        }
        Geometry::MultiPoint(points) => {
            out.push_str("MULTIPOINT ");
            list(out, points, |point, out| {
                list(out, [point], |point, out| write_position(&point.0, out));
            });
        }
        Geometry::MultiLineString(lines) => {
            out.push_str("MULTILINESTRING ");
            list(out, lines, write_line);
        }
        Geometry::MultiPolygon(polygons) => {
            out.push_str("MULTIPOLYGON ");
            list(out, polygons, write_polygon);
        }
        Geometry::GeometryCollection(shapes) => {
            out.push_str("GEOMETRYCOLLECTION ");
            list(out, shapes, write_shape);
        }
        // Never read, and written as what they are.
        Geometry::Line(line) => write_shape(&LineString::from(*line).into(), out),
        Geometry::Rect(rect) => write_shape(&rect.to_polygon().into(), out),
        Geometry::Triangle(triangle) => write_shape(&triangle.to_polygon().into(), out),
    }
}

fn write_line(line: &LineString<f64>, out: &mut String) {
    list(out, &line.0, write_position);
}

fn write_polygon(polygon: &Polygon<f64>, out: &mut String) {
    let outer = (!polygon.exterior().0.is_empty()).then(|| polygon.exterior());
    list(out, outer.into_iter().chain(polygon.interiors()), write_line);
}

fn write_position(position: &Coord<f64>, out: &mut String) {
    // writing to a String cannot fail
    let _ = write!(out, "{} {}", position.x, position.y);
}

fn list<T>(out: &mut String, items: impl IntoIterator<Item = T>, mut item: impl FnMut(T, &mut String)) {
    let mut first = true;
    for each in items {
        out.push_str(if first { "(" } else { ", " });
        first = false;
        item(each, out);
    }
    out.push_str(if first { "EMPTY" } else { ")" });
}

#[cfg(test)]
mod tests {
    use super::{read, write};

    fn canonical(text: &str) -> String {
        match read(text) {
            Ok(shape) => write(&shape),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn every_kind_is_read_and_written() {
        for (text, expected) in [
            ("POINT(1 2)", "POINT (1 2)"),
            (" point\t( -1.50 +2e3 ) ", "POINT (-1.5 2000)"),
            ("LineString(0 0,1 1 , 2 0.1)", "LINESTRING (0 0, 1 1, 2 0.1)"),
            ("POLYGON((0 0,4 0,4 4,0 0))", "POLYGON ((0 0, 4 0, 4 4, 0 0))"),
            (
                "POLYGON((0 0,9 0,9 9,0 9,0 0),(1 1,2 1,2 2,1 1))",
                "POLYGON ((0 0, 9 0, 9 9, 0 9, 0 0), (1 1, 2 1, 2 2, 1 1))",
            ),
            ("MULTIPOINT(1 2,3 4)", "MULTIPOINT ((1 2), (3 4))"),
            ("MULTIPOINT((1 2),(3 4))", "MULTIPOINT ((1 2), (3 4))"),
            (
                "MULTILINESTRING((0 0,1 1),(2 2,3 3))",
                "MULTILINESTRING ((0 0, 1 1), (2 2, 3 3))",
            ),
            (
                "MULTIPOLYGON(((0 0,1 0,1 1,0 0)),((5 5,6 5,6 6,5 5)))",
                "MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)), ((5 5, 6 5, 6 6, 5 5)))",
            ),
            (
                "GEOMETRYCOLLECTION(POINT(1 2),LINESTRING EMPTY)",
                "GEOMETRYCOLLECTION (POINT (1 2), LINESTRING EMPTY)",
            ),
            ("POLYGON EMPTY", "POLYGON EMPTY"),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
            assert_eq!(canonical(expected), expected);
        }
    }

    #[test]
    fn what_is_no_shape_is_refused_with_the_place() {
        let words = super::WORDS;
        for (text, expected) in [
            ("", format!("expected {words} at byte 0, found the end")),
            ("CIRCLE(1 2)", format!("expected {words} at byte 0, found 'C'")),
            ("POINT", "expected '(' or EMPTY at byte 5, found the end".into()),
            ("POINT(1)", "expected a number at byte 7, found ')'".into()),
            ("POINT(1 2) x", "expected the end at byte 11, found 'x'".into()),
            ("POINT(1 2", "expected ',' or ')' at byte 9, found the end".into()),
            ("POINT(1 x)", "expected a number at byte 8, found 'x'".into()),
            ("POINT(1 2é", "expected ',' or ')' at byte 9, found 'é'".into()),
            (
                "POINT(1 1e999)",
                "the position 1 inf is not finite; an empty point has no place either".into(),
            ),
            (
                "POINT EMPTY",
                "a point has exactly one position; an empty one has no place".into(),
            ),
            (
                "POINT(1 2,3 4)",
                "a point has exactly one position; an empty one has no place".into(),
            ),
            (
                "POINT Z (1 2 3)",
                "not supported: positions of more than two coordinates".into(),
            ),
            (
                "POINT(1 2 3)",
                "not supported: positions of more than two coordinates".into(),
            ),
            ("LINESTRING(1 2)", "a line has at least 2 positions, got 1".into()),
            (
                "POLYGON((0 0,1 1,0 0))",
                "a ring of a polygon has at least 4 positions, got 3".into(),
            ),
            (
                "POLYGON((0 0,1 1,2 0,3 3))",
                "a ring of a polygon ends where it begins, this one is not closed".into(),
            ),
        ] {
            assert_eq!(canonical(text), format!("error: {expected}"), "{text}");
        }
        let nested = |depth| "GEOMETRYCOLLECTION(".repeat(depth) + "POINT(1 2)" + &")".repeat(depth);
        assert!(read(&nested(16)).is_ok());
        assert_eq!(
            canonical(&nested(100_000)),
            "error: collections are nested deeper than 16"
        );
    }
}
