//! `st_within(g, 'POINT (1 2)')` and its like: a GEOMETRY field against a shape that is given.
//!
//! The shape is read here, once, and goes on as binary. One that is not valid would stand in no relation to anything, so it
//! is refused.

use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, lit};
use elanus_geometry::{Relation, Shape};
use elanus_udfs::geometry::{Spatial, function};

use super::Lowerer;
use super::operand::{call, column, literal, type_name};
use super::value::Value;
use crate::ast::{self, Span, SpatialOp};
use crate::error::{Issue, Result};

/// Whether the column holds shapes.
pub(super) fn is_geometry(field: &Field) -> bool {
    let says = |key: &str, value: &str| field.metadata().get(key).is_some_and(|found| found == value);
    *field.data_type() == DataType::Binary
        && (says("ARROW:extension:name", "geoarrow.wkb") || says("elanus.type", "Geometry"))
}

impl Lowerer<'_> {
    /// `st_*(field, shape)`
    pub(super) fn spatial(&self, op: SpatialOp, field: &str, shape: &ast::Expr, span: Span) -> Result<Expr> {
        let relation = match op {
            SpatialOp::Equals => Relation::Equals,
            SpatialOp::Touches => Relation::Touches,
            SpatialOp::Overlaps => Relation::Overlaps,
            SpatialOp::Crosses => Relation::Crosses,
            SpatialOp::Contains => Relation::Contains,
            SpatialOp::Intersects => Relation::Intersects,
            SpatialOp::Within => Relation::Within,
        };
        let field = self.geometry(op.name(), field, span)?;
        let shape = self.shape(op.name(), shape)?;
        Ok(call(
            function(Spatial::Relation(relation)),
            vec![field, wkb(&shape)],
        ))
    }

    /// `st_dwithin(field, point, metres)`
    pub(super) fn spatial_distance(
        &self,
        field: &str,
        shape: &ast::Expr,
        distance: &ast::Expr,
        span: Span,
    ) -> Result<Expr> {
        let name = "st_dwithin";
        let field = self.geometry(name, field, span)?;
        let point = self.shape(name, shape)?;
        if !point.is_point() {
            return Err(Issue::types(
                shape.span,
                format!("the shape of {name} must be a point, got {}", point.to_wkt()),
            ));
        }
        let operand = self.operand(distance)?;
        let metres = match operand.constant() {
            Some(Value::Int(metres)) => *metres as f64,
            Some(Value::Float(metres)) => *metres,
            _ => {
                let got = operand.type_name();
                return Err(Issue::types(
                    distance.span,
                    format!("the distance of {name} must be a number of metres, got {got}"),
                ));
            }
        };
        if metres < 0.0 {
            return Err(Issue::types(
                distance.span,
                format!("the distance of {name} must be 0 or greater, got {metres}"),
            ));
        }
        Ok(call(
            function(Spatial::Near),
            vec![field, wkb(&point), lit(metres)],
        ))
    }

    /// `st_isvalid(field)`
    pub(super) fn spatial_is_valid(&self, field: &str, span: Span) -> Result<Expr> {
        let field = self.geometry("st_isvalid", field, span)?;
        Ok(call(function(Spatial::IsValid), vec![field]))
    }

    fn geometry(&self, function: &str, name: &str, span: Span) -> Result<Expr> {
        match self.schema.field_with_name(name) {
            Ok(field) if is_geometry(field) => Ok(column(name)),
            Ok(field) => {
                let got = type_name(field.data_type());
                let message = format!("{function} can only be used on a geometry field, {name} is {got}");
                Err(Issue::types(span, message))
            }
            Err(_) => Err(self.not_found(name, span)),
        }
    }

    fn shape(&self, function: &str, tree: &ast::Expr) -> Result<Shape> {
        let operand = self.operand(tree)?;
        let Some(Value::Str(text)) = operand.constant() else {
            let got = operand.type_name();
            let message =
                format!("the shape of {function} must be well-known text or a template with it, got {got}");
            return Err(Issue::types(tree.span, message));
        };
        let shape = Shape::from_wkt(text).and_then(|shape| shape.check().map(|()| shape));
        shape.map_err(|reason| {
            Issue::parse(
                tree.span,
                format!("the shape of {function} is not valid: {reason}"),
            )
        })
    }
}

fn wkb(shape: &Shape) -> Expr {
    literal(ScalarValue::Binary(Some(shape.to_wkb())))
}
