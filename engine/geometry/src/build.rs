//! The rules that text and binary share: what positions, lines and rings must be to make a shape.

use geo::{Coord, LineString, Polygon};

use crate::ShapeError;

/// Collections may be so deep in each other.
pub(crate) const MAX_DEPTH: u32 = 16;

pub(crate) type Result<T> = std::result::Result<T, ShapeError>;

/// Refuses one nesting too many.
pub(crate) fn depth(depth: u32) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(ShapeError::new(format!(
            "collections are nested deeper than {MAX_DEPTH}"
        )));
    }
    Ok(())
}

pub(crate) fn position(x: f64, y: f64) -> Result<Coord<f64>> {
    if x.is_finite() && y.is_finite() {
        return Ok(Coord { x, y });
    }
    Err(ShapeError::new(format!(
        "the position {x} {y} is not finite; an empty point has no place either"
    )))
}

/// No position at all, or two and more.
pub(crate) fn line(positions: Vec<Coord<f64>>) -> Result<LineString<f64>> {
    if positions.len() == 1 {
        return Err(ShapeError::new("a line has at least 2 positions, got 1"));
    }
    Ok(LineString(positions))
}

/// The outer ring and the holes.
pub(crate) fn polygon(rings: Vec<Vec<Coord<f64>>>) -> Result<Polygon<f64>> {
    for ring in &rings {
        if ring.len() < 4 {
            return Err(ShapeError::new(format!(
                "a ring of a polygon has at least 4 positions, got {}",
                ring.len()
            )));
        }
        if ring.first() != ring.last() {
            return Err(ShapeError::new(
                "a ring of a polygon ends where it begins, this one is not closed",
            ));
        }
    }
    let mut rings = rings.into_iter().map(LineString);
    let outer = rings.next().unwrap_or_else(|| LineString(Vec::new()));
    Ok(Polygon::new(outer, rings.collect()))
}
