//! Functions of shapes, in SQL and in filters.
//!
//! - `st_equals, st_touches, st_overlaps, st_crosses, st_contains, st_intersects, st_within (a, b)` -> `Boolean`;
//! - `st_dwithin(a, point, metres)` -> `Boolean`: on the sphere, positions being degrees of longitude and latitude;
//! - `st_isvalid(a)` -> `Boolean`;
//! - `st_astext(a)` -> `Utf8`, `st_geomfromtext(text)` -> GEOMETRY.
//!
//! A shape is well-known binary (what a GEOMETRY column holds) or well-known text, in any argument. A literal is read once
//! per batch. NULL gives NULL; so does a relation of a shape that is not valid.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, BinaryArray, BinaryBuilder, BooleanArray, Float64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::cast::{as_binary_array, as_float64_array};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use elanus_geometry::{Relation, Shape};

use crate::arguments::{expect_count, finish, is_text};

/// Which function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Spatial {
    /// `st_equals` and its like.
    Relation(Relation),
    /// `st_dwithin`
    Near,
    /// `st_isvalid`
    IsValid,
    /// `st_astext`
    AsText,
    /// `st_geomfromtext`
    FromText,
}

static FUNCTIONS: LazyLock<Vec<(Spatial, Arc<ScalarUDF>)>> = LazyLock::new(|| {
    let relations = Relation::ALL.into_iter().map(Spatial::Relation);
    let others = [
        Spatial::Near,
        Spatial::IsValid,
        Spatial::AsText,
        Spatial::FromText,
    ];
    relations
        .chain(others)
        .map(|kind| (kind, SpatialFunction::udf(kind)))
        .collect()
});

/// The function of a kind.
pub fn function(kind: Spatial) -> Arc<ScalarUDF> {
    match FUNCTIONS.iter().find(|(found, _)| *found == kind) {
        Some((_, function)) => Arc::clone(function),
        None => SpatialFunction::udf(kind),
    }
}

/// The functions of shapes.
pub fn all() -> Vec<Arc<ScalarUDF>> {
    FUNCTIONS
        .iter()
        .map(|(_, function)| Arc::clone(function))
        .collect()
}

/// The scalar function of a [`Spatial`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct SpatialFunction {
    kind: Spatial,
    signature: Signature,
}

impl SpatialFunction {
    fn udf(kind: Spatial) -> Arc<ScalarUDF> {
        let arguments = match kind {
            Spatial::Relation(_) => 2,
            Spatial::Near => 3,
            Spatial::IsValid | Spatial::AsText | Spatial::FromText => 1,
        };
        Arc::new(ScalarUDF::from(Self {
            kind,
            signature: Signature::any(arguments, Volatility::Immutable),
        }))
    }

    /// For each row whether `holds` of two shapes.
    fn compare(
        &self,
        args: &[ColumnarValue],
        rows: usize,
        holds: impl Fn(usize, &Shape, &Shape) -> Result<Option<bool>>,
    ) -> Result<BooleanArray> {
        let [left, right, ..] = args else {
            return exec_err!("{} takes two shapes", self.name());
        };
        let left = Shapes::new(self.name(), left)?;
        let right = Shapes::new(self.name(), right)?;
        (0..rows)
            .map(|row| match (left.get(row)?, right.get(row)?) {
                (Some(left), Some(right)) => holds(row, &left, &right),
                (_, _) => Ok(None),
            })
            .collect()
    }

    /// Whether shapes lie within so many metres of points.
    fn near(&self, args: &[ColumnarValue], rows: usize) -> Result<BooleanArray> {
        let metres = match args.get(2) {
            Some(metres) => cast(&metres.to_array(rows)?, &DataType::Float64)?,
            None => return exec_err!("{} takes a distance", self.name()),
        };
        let metres: &Float64Array = as_float64_array(&metres)?;
        self.compare(args, rows, |row, shape, point| {
            if !point.is_point() {
                return exec_err!(
                    "{}: argument 2 must be a point, got {}",
                    self.name(),
                    point.to_wkt()
                );
            }
            if metres.is_null(row) {
                return Ok(None);
            }
            let metres = metres.value(row);
            if metres.is_nan() || metres < 0.0 {
                return exec_err!("{}: the distance must be 0 or greater, got {metres}", self.name());
            }
            Ok(Some(shape.metres_to(point).is_some_and(|away| away <= metres)))
        })
    }
}

impl ScalarUDFImpl for SpatialFunction {
    fn name(&self) -> &str {
        match self.kind {
            Spatial::Relation(Relation::Equals) => "st_equals",
            Spatial::Relation(Relation::Touches) => "st_touches",
            Spatial::Relation(Relation::Overlaps) => "st_overlaps",
            Spatial::Relation(Relation::Crosses) => "st_crosses",
            Spatial::Relation(Relation::Contains) => "st_contains",
            Spatial::Relation(Relation::Intersects) => "st_intersects",
            Spatial::Relation(Relation::Within) => "st_within",
            Spatial::Near => "st_dwithin",
            Spatial::IsValid => "st_isvalid",
            Spatial::AsText => "st_astext",
            Spatial::FromText => "st_geomfromtext",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let name = self.name();
        let (shapes, result) = match self.kind {
            Spatial::Relation(_) => (2, DataType::Boolean),
            Spatial::Near => {
                expect_count(name, arg_types, 3)?;
                if let Some(other) = arg_types.get(2).filter(|t| !t.is_numeric() && !t.is_null()) {
                    return plan_err!("{name}: argument 3 must be a number of metres, got {other}");
                }
                (2, DataType::Boolean)
            }
            Spatial::IsValid => (1, DataType::Boolean),
            Spatial::AsText => (1, DataType::Utf8),
            Spatial::FromText => (1, DataType::Binary),
        };
        if arg_types.len() < shapes {
            return plan_err!("{name} takes {shapes} shapes, got {}", arg_types.len());
        }
        for (at, given) in arg_types.iter().take(shapes).enumerate() {
            if !(is_text(given) || is_bytes(given) || given.is_null()) {
                return plan_err!("{name}: argument {} must be a shape, got {given}", at + 1);
            }
        }
        Ok(result)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<DataType> = args
            .arg_fields
            .iter()
            .map(|field| field.data_type().clone())
            .collect();
        let field = Field::new(self.name(), self.return_type(&types)?, true);
        Ok(Arc::new(if self.kind == Spatial::FromText {
            let extension = ("ARROW:extension:name".to_owned(), "geoarrow.wkb".to_owned());
            field.with_metadata(HashMap::from([extension]))
        } else {
            field
        }))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let single = args
            .args
            .iter()
            .all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if single { 1 } else { args.number_rows };
        let one = || match args.args.first() {
            Some(shapes) => Shapes::new(self.name(), shapes),
            None => exec_err!("{} takes a shape", self.name()),
        };
        let result: ArrayRef = match self.kind {
            Spatial::Relation(relation) => {
                Arc::new(self.compare(&args.args, rows, |_, a, b| Ok(relation.holds(a, b)))?)
            }
            Spatial::Near => Arc::new(self.near(&args.args, rows)?),
            Spatial::IsValid => {
                let shapes = one()?;
                let valid = (0..rows).map(|row| Ok(shapes.get(row)?.map(|shape| shape.check().is_ok())));
                Arc::new(valid.collect::<Result<BooleanArray>>()?)
            }
            Spatial::AsText => {
                let shapes = one()?;
                let texts = (0..rows).map(|row| Ok(shapes.get(row)?.map(|shape| shape.to_wkt())));
                Arc::new(texts.collect::<Result<StringArray>>()?)
            }
            Spatial::FromText => {
                let shapes = one()?;
                let mut bytes = BinaryBuilder::new();
                for row in 0..rows {
                    bytes.append_option(shapes.get(row)?.map(|shape| shape.to_wkb()));
                }
                Arc::new(bytes.finish())
            }
        };
        finish(result, single)
    }
}

fn is_bytes(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView
    )
}

/// An argument: the shapes of a column, or one for all rows.
enum Shapes<'a> {
    One(Option<Shape>),
    Each { function: &'a str, bytes: BinaryArray },
}

impl<'a> Shapes<'a> {
    fn new(function: &'a str, argument: &ColumnarValue) -> Result<Self> {
        let (array, single) = match argument {
            ColumnarValue::Array(array) => (Arc::clone(array), false),
            ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
        };
        // Text in its one plain form first: views do not become bytes.
        let array = if is_text(array.data_type()) {
            cast(&array, &DataType::Utf8)?
        } else {
            array
        };
        let bytes = as_binary_array(&cast(&array, &DataType::Binary)?)?.clone();
        let each = Self::Each { function, bytes };
        if !single {
            return Ok(each);
        }
        let one = each.get(0)?.map(Cow::into_owned);
        Ok(Self::One(one))
    }

    fn get(&self, row: usize) -> Result<Option<Cow<'_, Shape>>> {
        match self {
            Self::One(shape) => Ok(shape.as_ref().map(Cow::Borrowed)),
            Self::Each { bytes, .. } if row >= bytes.len() || bytes.is_null(row) => Ok(None),
            Self::Each { function, bytes } => match Shape::from_bytes(bytes.value(row)) {
                Ok(shape) => Ok(Some(Cow::Owned(shape))),
                Err(reason) => exec_err!("{function}: {reason}"),
            },
        }
    }
}
