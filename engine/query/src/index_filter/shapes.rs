//! Conditions on shapes: where a shape must be for them to be true.
//!
//! Shapes that are apart stand in no relation, which the rectangles around them tell without a look at the shapes. Which
//! shapes may lie near a point is told on the sphere, from the rectangle and how far the shape may bulge out of it.

use arrow::datatypes::DataType as ArrowType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::ScalarFunction;
use elanus_collection::IndexTarget;
use elanus_geometry::{Relation, Shape, Surroundings};
use elanus_index::scalar::Extent;
use elanus_udfs::geometry::{Spatial, function};

use super::{IndexFilter, Question};

/// Where a shape is asked for.
#[derive(Debug)]
pub(crate) enum Place {
    /// Nowhere: an empty shape is in no relation.
    Nowhere,
    /// Where it shares a point with this.
    Rectangle(Extent),
    /// Near a point.
    Near(Surroundings),
}

impl Place {
    /// Whether a shape of this extent, or any within it, may be here.
    pub(super) fn may_have(&self, extent: &Extent) -> bool {
        match self {
            Self::Nowhere => false,
            Self::Rectangle(rectangle) => rectangle.meets(extent),
            Self::Near(surroundings) => surroundings.may_have((extent.min, extent.max), extent.bulge),
        }
    }
}

/// What an index on shapes is asked for a relation of a column and a literal, or for the distance of a column from one.
/// A literal that is no shape or no distance is an error for the condition itself to tell.
pub(super) fn lower(call: &ScalarFunction, text: &str) -> Option<IndexFilter> {
    let is_relation = || {
        Relation::ALL
            .into_iter()
            .any(|relation| call.func == function(Spatial::Relation(relation)))
    };
    let (column, place) = match call.args.as_slice() {
        [Expr::Column(column), Expr::Literal(literal, _)]
        | [Expr::Literal(literal, _), Expr::Column(column)]
            if is_relation() =>
        {
            let place = match shape(literal)?.bounds() {
                None => Place::Nowhere,
                Some((min, max)) => Place::Rectangle(Extent { min, max, bulge: 0.0 }),
            };
            (column, place)
        }
        [
            Expr::Column(column),
            Expr::Literal(point, _),
            Expr::Literal(metres, _),
        ] if call.func == function(Spatial::Near) => {
            let ScalarValue::Float64(Some(metres)) = metres.cast_to(&ArrowType::Float64).ok()? else {
                return None;
            };
            (column, Place::Near(Surroundings::of(&shape(point)?, metres)?))
        }
        _ => return None,
    };
    Some(IndexFilter::Test {
        target: IndexTarget {
            field: column.name.clone(),
            analyzer: None,
            json: None,
        },
        question: Question::Place(place),
        text: text.to_owned(),
    })
}

fn shape(literal: &ScalarValue) -> Option<Shape> {
    let bytes = match literal {
        ScalarValue::Binary(Some(bytes))
        | ScalarValue::LargeBinary(Some(bytes))
        | ScalarValue::BinaryView(Some(bytes)) => bytes.as_slice(),
        text => text.try_as_str()??.as_bytes(),
    };
    Shape::from_bytes(bytes).ok()
}
