//! Well-known binary: a byte for the byte order, a number for the kind, then counts and positions.

use geo::{
    Coord, Geometry, GeometryCollection, LineString, MultiLineString, MultiPoint, MultiPolygon, Point,
    Polygon,
};

use crate::ShapeError;
use crate::build::{self, Result};

const POINT: u32 = 1;
const LINE: u32 = 2;
const POLYGON: u32 = 3;
const POINTS: u32 = 4;
const LINES: u32 = 5;
const POLYGONS: u32 = 6;
const COLLECTION: u32 = 7;

/// Bytes of one position, and the least that a ring and a member of a collection take.
const POSITION: usize = 16;
const RING: usize = 4;
const MEMBER: usize = 9;

pub(crate) fn read(bytes: &[u8]) -> Result<Geometry<f64>> {
    let mut reader = Reader { bytes, big: false };
    let shape = reader.shape(0)?;
    if reader.bytes.is_empty() {
        return Ok(shape);
    }
    Err(ShapeError::new(format!(
        "{} bytes are left after the well-known binary of a shape",
        reader.bytes.len()
    )))
}

struct Reader<'a> {
    bytes: &'a [u8],
    big: bool,
}

impl Reader<'_> {
    fn shape(&mut self, depth: u32) -> Result<Geometry<f64>> {
        build::depth(depth)?;
        let kind = self.head()?;
        Ok(match kind {
            POINT => Point(self.position()?).into(),
            LINE => build::line(self.positions()?)?.into(),
            POLYGON => build::polygon(self.items(RING, Self::positions)?)?.into(),
            POINTS => {
                let member = |reader: &mut Self| reader.member(POINT).and_then(|()| reader.position());
                MultiPoint(self.items(MEMBER, |reader| member(reader).map(Point))?).into()
            }
            LINES => {
                let member = |reader: &mut Self| {
                    reader.member(LINE)?;
                    build::line(reader.positions()?)
                };
                MultiLineString(self.items(MEMBER, member)?).into()
            }
            POLYGONS => {
                let member = |reader: &mut Self| {
                    reader.member(POLYGON)?;
                    build::polygon(reader.items(RING, Self::positions)?)
                };
                MultiPolygon(self.items(MEMBER, member)?).into()
            }
            COLLECTION => Geometry::GeometryCollection(GeometryCollection(
                self.items(MEMBER, |reader| reader.shape(depth + 1))?,
            )),
            other => {
                return Err(ShapeError::new(format!(
                    "not supported: well-known binary of kind {other}; there are 1 (point) to 7 (collection), of two coordinates"
                )));
            }
        })
    }

    /// Byte order and kind.
    fn head(&mut self) -> Result<u32> {
        self.big = match self.take::<1>()? {
            [0] => true,
            [1] => false,
            [other] => {
                return Err(ShapeError::new(format!(
                    "well-known binary begins with 0 or 1 for the byte order, got {other}"
                )));
            }
        };
        self.number()
    }

    /// The head of a member that can only be of one kind.
    fn member(&mut self, wanted: u32) -> Result<()> {
        let kind = self.head()?;
        if kind != wanted {
            return Err(ShapeError::new(format!(
                "a member of the well-known binary is of kind {kind}, where only {wanted} can be"
            )));
        }
        Ok(())
    }

    fn items<T>(&mut self, least: usize, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let count = self.number()? as usize;
        // Before anything is allocated for items that cannot be there.
        if count > self.bytes.len() / least {
            return Err(ends_early());
        }
        (0..count).map(|_| item(self)).collect()
    }

    fn positions(&mut self) -> Result<Vec<Coord<f64>>> {
        self.items(POSITION, Self::position)
    }

    fn position(&mut self) -> Result<Coord<f64>> {
        build::position(self.float()?, self.float()?)
    }

    fn number(&mut self) -> Result<u32> {
        let bytes = self.take()?;
        Ok(if self.big {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    }

    fn float(&mut self) -> Result<f64> {
        let bytes = self.take()?;
        Ok(if self.big {
            f64::from_be_bytes(bytes)
        } else {
            f64::from_le_bytes(bytes)
        })
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or_else(ends_early)?;
        self.bytes = rest;
        Ok(*taken)
    }
}

fn ends_early() -> ShapeError {
    ShapeError::new("the well-known binary ends before the shape does")
}

pub(crate) fn write(shape: &Geometry<f64>) -> Vec<u8> {
    let mut out = Vec::new();
    write_shape(shape, &mut out);
    out
}

fn write_shape(shape: &Geometry<f64>, out: &mut Vec<u8>) {
    match shape {
        Geometry::Point(point) => write_point(point, out),
        Geometry::LineString(line) => write_line(line, out),
        Geometry::Polygon(polygon) => write_polygon(polygon, out),
        Geometry::MultiPoint(points) => {
            head(POINTS, out);
            list(&points.0, out, write_point);
        }
        Geometry::MultiLineString(lines) => {
            head(LINES, out);
            list(&lines.0, out, write_line);
        }
        Geometry::MultiPolygon(polygons) => {
            head(POLYGONS, out);
            list(&polygons.0, out, write_polygon);
        }
        Geometry::GeometryCollection(shapes) => {
            head(COLLECTION, out);
            list(&shapes.0, out, write_shape);
        }
        // Never read, and written as what they are.
        Geometry::Line(line) => write_line(&LineString::from(*line), out),
        Geometry::Rect(rect) => write_polygon(&rect.to_polygon(), out),
        Geometry::Triangle(triangle) => write_polygon(&triangle.to_polygon(), out),
    }
}

fn head(kind: u32, out: &mut Vec<u8>) {
    out.push(1);
    number(kind, out);
}

fn number(value: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn count(items: usize, out: &mut Vec<u8>) {
    number(u32::try_from(items).unwrap_or(u32::MAX), out);
}

fn list<T>(items: &[T], out: &mut Vec<u8>, item: impl Fn(&T, &mut Vec<u8>)) {
    count(items.len(), out);
    items.iter().for_each(|each| item(each, out));
}

fn write_point(point: &Point<f64>, out: &mut Vec<u8>) {
    head(POINT, out);
    write_position(&point.0, out);
}

fn write_line(line: &LineString<f64>, out: &mut Vec<u8>) {
    head(LINE, out);
    list(&line.0, out, write_position);
}

fn write_polygon(polygon: &Polygon<f64>, out: &mut Vec<u8>) {
    head(POLYGON, out);
    if polygon.exterior().0.is_empty() {
        return count(0, out);
    }
    count(1 + polygon.interiors().len(), out);
    for ring in std::iter::once(polygon.exterior()).chain(polygon.interiors()) {
        list(&ring.0, out, write_position);
    }
}

fn write_position(position: &Coord<f64>, out: &mut Vec<u8>) {
    out.extend_from_slice(&position.x.to_le_bytes());
    out.extend_from_slice(&position.y.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::{read, write};
    use crate::wkt;

    #[test]
    fn a_point_is_the_bytes_of_the_standard() {
        let little = [
            1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xF0, 0x3F, 0, 0, 0, 0, 0, 0, 0, 0x40,
        ];
        let big = [
            0, 0, 0, 0, 1, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0,
        ];
        let point = wkt::read("POINT (1 2)").unwrap();
        assert_eq!(write(&point), little);
        assert_eq!(read(&little).unwrap(), point);
        assert_eq!(read(&big).unwrap(), point);
    }

    #[test]
    fn broken_bytes_are_refused() {
        let point = write(&wkt::read("POINT (1 2)").unwrap());
        let mut longer = point.clone();
        longer.push(7);
        let huge_count = [1, 2, 0, 0, 0, 255, 255, 255, 255];
        let kind_with_z = [1, 1, 0, 0, 0x80, 0, 0, 0];
        let wrong_member = [&[1, 5, 0, 0, 0, 1, 0, 0, 0][..], &point].concat();
        let nan = [&point[..13], &f64::NAN.to_le_bytes()].concat();
        for (bytes, expected) in [
            (&[][..], "ends before"),
            (&[2], "0 or 1 for the byte order, got 2"),
            (&point[..20], "ends before"),
            (&longer, "1 bytes are left"),
            (&huge_count, "ends before"),
            (&kind_with_z, "kind 2147483649"),
            (&wrong_member, "of kind 1, where only 2"),
            (&nan, "not finite"),
        ] {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{bytes:?}: {error}");
        }
        let mut nested = [1, 7, 0, 0, 0, 1, 0, 0, 0].repeat(10_000);
        nested.extend(&point);
        assert!(read(&nested).unwrap_err().to_string().contains("deeper than 16"));
    }
}
