#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]
//! Shapes on the plane: what a GEOMETRY field holds.
//!
//! ```text
//!   WKT "POINT (1 2)" ──┐                ┌──▶ WKT, in one canonical form
//!                       ├──▶  Shape  ──┤
//!   WKB 01 01000000 ..──┘   │            └──▶ WKB, little-endian: the form at rest
//!                           ▼
//!               Relation (DE-9IM), distance on the sphere; the rectangle around it, for indexes
//! ```
//!
//! Two coordinates to a position; points, lines, polygons, collections of them. Reading is strict and bounded: rings are
//! closed, numbers finite, nesting shallow, and a count that the input cannot hold is refused before anything is allocated.
//! Whether a shape is also *valid* (a ring that does not cross itself, ..) is another question, [`Shape::check`]: data has
//! such shapes, and keeps them.
//!
//! The geometry itself is the `geo` crate's.

mod build;
mod relation;
mod sphere;
mod surroundings;
mod wkb;
mod wkt;

use geo::{Geometry, Validation};
use thiserror::Error;

pub use relation::Relation;
pub use surroundings::Surroundings;

/// Why text or bytes are no shape.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ShapeError(String);

impl ShapeError {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// A point, line, polygon, or a collection of shapes.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape(Geometry<f64>);

impl Shape {
    /// Reads well-known text, `POINT (1 2)`: words in any case, blanks where one likes.
    ///
    /// # Errors
    /// [`ShapeError`] with the byte where the text stops being a shape.
    pub fn from_wkt(text: &str) -> Result<Self, ShapeError> {
        wkt::read(text).map(Self)
    }

    /// Reads well-known binary of either byte order.
    ///
    /// # Errors
    /// [`ShapeError`] when the bytes are none, or more than one shape.
    pub fn from_wkb(bytes: &[u8]) -> Result<Self, ShapeError> {
        wkb::read(bytes).map(Self)
    }

    /// Reads well-known binary, or the bytes of well-known text. The first byte tells: binary begins with 0 or 1.
    ///
    /// # Errors
    /// [`ShapeError`] when the bytes are neither.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ShapeError> {
        match (bytes.first(), std::str::from_utf8(bytes)) {
            (Some(0 | 1), _) => Self::from_wkb(bytes),
            (_, Ok(text)) => Self::from_wkt(text),
            (_, Err(_)) => Err(ShapeError::new("neither well-known text nor well-known binary")),
        }
    }

    /// Well-known text in canonical form: `POLYGON ((0 0, 1 0, 1 1, 0 0))`.
    pub fn to_wkt(&self) -> String {
        wkt::write(&self.0)
    }

    /// Well-known binary, little-endian.
    pub fn to_wkb(&self) -> Vec<u8> {
        wkb::write(&self.0)
    }

    /// Whether the shape is valid in the sense of the simple-features standard.
    ///
    /// # Errors
    /// [`ShapeError`] with the first reason why it is not.
    pub fn check(&self) -> Result<(), ShapeError> {
        self.0
            .check_validation()
            .map_err(|reason| ShapeError::new(reason.to_string()))
    }

    /// Whether this is one point.
    pub fn is_point(&self) -> bool {
        matches!(self.0, Geometry::Point(_))
    }
}
